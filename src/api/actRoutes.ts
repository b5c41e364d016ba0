import type { Act } from '../escrow/ledger/means.js';
import type { Entry } from '../log/entry/entry.js';

/** The route that each act is asked for by. `:key`, `:recovery` and `:grant` stand for the subject of the entry. */
const ROUTES = {
  'policy.apply': 'POST /v1/policy',
  'key.generate': 'POST /v1/keys',
  'recovery.request': 'POST /v1/recoveries',
  'recovery.intend': 'POST /v1/recoveries/:recovery/intents',
  'recovery.approve': 'POST /v1/recoveries/:recovery/approvals',
  'recovery.deny': 'POST /v1/recoveries/:recovery/denials',
  'recovery.veto': 'POST /v1/recoveries/:recovery/veto',
  'recovery.cancel': 'POST /v1/recoveries/:recovery/cancel',
  'recovery.stop': 'POST /v1/recoveries/:recovery/stop',
  'recovery.activate': 'POST /v1/recoveries/:recovery/activate',
  'recovery.release': 'POST /v1/recoveries/:recovery/release',
  'recovery.confirm': 'POST /v1/recoveries/:recovery/confirmation',
  'grant.sign': 'POST /v1/grants/:grant/sign',
  'grant.decrypt': 'POST /v1/grants/:grant/decrypt',
  'grant.revoke': 'POST /v1/grants/:grant/revoke',
  'history.attest': 'POST /v1/history/statement',
  'notification.redeliver': 'POST /v1/notifications/redeliver',
} as const satisfies Partial<Record<Act, string>>;

/** Acts that the daemon may do by itself as well. */
const ALSO_BY_DAEMON: ReadonlySet<string> = new Set<Act>(['recovery.activate']);

/** Acts that are recorded with a client certificate in place of a signed request, where the policy binds one to the app. */
export const ACTS_BY_CERTIFICATE: ReadonlySet<string> = new Set<Act>(['grant.sign', 'grant.decrypt']);

/** Acts that are never recorded without a caller's signed request, but for {@link ACTS_BY_CERTIFICATE}. */
export const ACTS_OF_CALLERS: ReadonlySet<string> = new Set(
  Object.keys(ROUTES).filter((act) => !ALSO_BY_DAEMON.has(act)),
);

/** Whether a request to this method and target asks for the act of this entry, on the thing that the entry is about. */
export function actFits(entry: Entry, method: string, target: string): boolean {
  const route = (ROUTES as Readonly<Record<string, string>>)[entry.act];
  // reads are recorded only when they were refused, and have several routes
  if (route === undefined) return true;
  const { key, recovery, grant } = entry.subject;
  const subjects: Readonly<Record<string, string | undefined>> = {
    ':key': key,
    ':recovery': recovery,
    ':grant': grant,
  };
  const wanted = route.split(/[ /]/);
  const path = target.split('?', 1)[0] ?? '';
  const found = `${method} ${path}`.split(/[ /]/);
  return (
    wanted.length === found.length &&
    wanted.every((part, at) => {
      if (!part.startsWith(':')) return part === found[at];
      const subject = subjects[part];
      return subject === undefined || encodeURIComponent(subject) === found[at];
    })
  );
}
