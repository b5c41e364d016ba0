import { type ApiRoute, ROUTES } from '../api/routes.js';
import type { Entry } from '../log/entry/entry.js';

/*
 * Which signed request asks for which act: what the rows of the API say. Reads are recorded only when they were refused,
 * and have several routes.
 */
const ASKED: readonly ApiRoute[] = Object.values<ApiRoute>(ROUTES).filter(
  ({ act }) => act !== undefined && !act.endsWith('.read'),
);

/** Acts that are recorded with a client certificate in place of a signed request, where the policy binds one to the app. */
export const ACTS_BY_CERTIFICATE = actsOf(({ takesCertificate }) => takesCertificate === true);

/** Reads that an app may be refused by such a certificate; nothing else is recorded of a read. */
export const READS_BY_CERTIFICATE: ReadonlySet<string> = new Set(
  Object.values<ApiRoute>(ROUTES).flatMap(({ act, takesCertificate }) =>
    takesCertificate === true && act?.endsWith('.read') === true ? [act] : [],
  ),
);

/** Acts that are never recorded without a caller's signed request, but for {@link ACTS_BY_CERTIFICATE}. */
export const ACTS_OF_CALLERS = actsOf(({ isAlsoDoneByDaemon }) => isAlsoDoneByDaemon !== true);

function actsOf(which: (route: ApiRoute) => boolean): ReadonlySet<string> {
  return new Set(ASKED.filter(which).flatMap(({ act }) => act ?? []));
}

/**
 * Whether a request to this method and target asks for the act of this entry, on the thing that the entry is about. A key may be
 * called by its label where the thing is a use of it; `labelOf` is the label of the key of a running grant.
 */
export function actFits(
  entry: Entry,
  { method, target }: { readonly method: string; readonly target: string },
  labelOf: (grant: string) => string | undefined,
): boolean {
  const routes = ASKED.filter((route) => route.act === entry.act && isOfKind(route, entry));
  const found = (target.split('?', 1)[0] ?? '').split('/');
  return (
    !ASKED.some(({ act }) => act === entry.act) ||
    routes.some((route) => route.method === method && pathFits(route.path.split('/'), found, entry, labelOf))
  );
}

/** A key and a secret are imported by requests of their own: neither asks for the other. */
function isOfKind({ act, path }: ApiRoute, { detail }: Pick<Entry, 'detail'>): boolean {
  if (act !== 'key.import') return true;
  return (path === ROUTES.importSecret.path) === (detail['spec'] === 'secret');
}

function pathFits(
  wanted: readonly string[],
  found: readonly string[],
  { subject: { key, recovery, grant }, detail, phase }: Pick<Entry, 'subject' | 'detail' | 'phase'>,
  labelOf: (grant: string) => string | undefined,
): boolean {
  const { import: pair } = detail;
  const subjects: Readonly<Record<string, string | undefined>> = {
    ':key': key,
    ':recovery': recovery,
    ':grant': grant,
    ':import': typeof pair === 'string' ? pair : undefined,
  };
  return (
    wanted.length === found.length &&
    wanted.every((step, at) => {
      if (!step.startsWith(':')) return step === found[at];
      const subject = subjects[step];
      if (subject === undefined || encodeURIComponent(subject) === found[at]) return true;
      if (step !== ':key' || grant === undefined) return false;
      const label = labelOf(grant);
      // of one that had ended nothing is known any more, and no use of it came about
      return label === undefined ? phase === 'denied' : label === found[at];
    })
  );
}
