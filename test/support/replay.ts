import type { Json } from '../../src/log/entry/canonical.js';
import type { Entry } from '../../src/log/entry/entry.js';

/** Where everything stands, as far as it is in the records: what the log's replay must give, and the database has. */
export interface Standing {
  /** Version and hash of each policy that was in force, in order. */
  readonly policies: readonly (readonly [version: number, hash: string])[];
  /** The digest of each deposit, by key. */
  readonly deposits: Readonly<Record<string, string>>;
  readonly recoveries: Readonly<Record<string, string>>;
  readonly grants: Readonly<Record<string, readonly [status: string, used: number]>>;
}

const ENDS: Readonly<Record<string, string>> = {
  'recovery.request': 'pending',
  'recovery.activate': 'active',
  'recovery.release': 'released',
  'recovery.veto': 'vetoed',
  'recovery.cancel': 'cancelled',
  'recovery.stop': 'cancelled',
  'recovery.expire': 'expired',
};
const GRANT_ENDS: Readonly<Record<string, string>> = {
  'grant.revoke': 'revoked',
  'grant.expire': 'expired',
  'grant.exhaust': 'exhausted',
};

/** What the log says that there is and where it stands, from its entries alone. */
export function replay(entries: readonly Entry[]): Standing {
  const policies: [number, string][] = [];
  const deposits: Record<string, string> = {};
  const recoveries: Record<string, string> = {};
  const grants: Record<string, [string, number]> = {};
  for (const entry of entries) {
    const { act, phase, subject, detail, error, digest } = entry;
    const { recovery = '', grant = '', key = '' } = subject;
    const known = grants[grant];
    // a use is counted with its attempt, whatever comes of it
    if (phase === 'attempted' && /^grant\.(sign|decrypt)$/.test(act) && known !== undefined)
      known[1] += (detail['inputs'] as readonly unknown[]).length;
    if (phase === 'failed' && error === 'recovery-failed') recoveries[recovery] = 'failed';
    if (phase !== 'done') continue;
    if (act === 'policy.apply') policies.push([Number(detail['version']), textOf(detail['policyHash'])]);
    if (act === 'key.generate') deposits[key] = digest ?? '';
    const end = ENDS[act] ?? (/^recovery\.(approve|deny)$/.test(act) ? textOf(detail['status']) : undefined);
    if (end !== undefined) recoveries[recovery] = end;
    if (act === 'recovery.activate') for (const made of grantsMade(entry)) grants[made] = ['active', 0];
    const ending = GRANT_ENDS[act];
    if (ending !== undefined && known !== undefined) known[0] = ending;
  }
  return { policies, deposits, recoveries, grants };
}

/** The grants that an activation made: its detail names one for each key. */
function grantsMade({ detail }: Entry): readonly string[] {
  const { grants } = detail;
  if (typeof grants !== 'object' || grants === null || Array.isArray(grants))
    throw new Error('an activation names no grants');
  return Object.values(grants).map(textOf);
}

function textOf(fact: Json | undefined): string {
  return typeof fact === 'string' ? fact : 'unknown';
}
