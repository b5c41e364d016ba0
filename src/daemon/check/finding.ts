import { messageOf } from '../../system/errors.js';
import { PolicyNotSigned } from '../../escrow/directory.js';
import { ConfigError } from '../start/configError.js';
import { exitCodeOf } from '../exitCodes.js';
import type { Fault } from '../start/fault.js';
import { TokenNotEnforcing } from '../startToken.js';
import { DatabaseAway, DatabaseRefused, LogDamaged, UnsafeDatabase } from '../../postgres/faults.js';
import { SchemaMissing, SchemaNewer } from '../../postgres/schema/migrate.js';
import { ClusterError } from '../../privatePostgres/errors.js';
import { TokenNotReady, type NotReadyReason } from '../../token/cryptoki/faults.js';

/** What a finding is about. Stable: programs decide by it. */
export const FINDING_CODES = [
  'config',
  'file',
  'file-mode',
  'place',
  'tls',
  'tls-expiry',
  'address',
  'daemon-runs',
  'database',
  'database-settings',
  'database-pooler',
  'database-rights',
  'schema',
  'cluster',
  'clock',
  'token',
  'token-pin',
  'token-objects',
  'token-test',
  'log',
  'policy',
  'witness',
  'sink',
  'not-looked-into',
] as const;
export type FindingCode = (typeof FINDING_CODES)[number];

/** `error`: a start would end with it. `warning`: it starts, and somebody should see to it. `note`: that is how it is. */
export type Severity = 'error' | 'warning' | 'note';

/** Something that was found before a start. It holds no secret. */
export interface Finding extends Fault {
  readonly code: FindingCode;
  readonly severity: Severity;
}

/** A fault, and with which code the start would end for it. */
export interface FoundError {
  readonly findings: readonly Finding[];
  readonly exitCode: number;
}

const REMEDIES: Readonly<Record<NotReadyReason, string>> = {
  'module-missing': 'install the module, or name it in token.module',
  'module-refused': 'name another module in token.module, or what it needs in token.environment',
  'token-missing': 'correct token.label, or the place of the token in token.environment',
  'token-ambiguous': 'give each token a label of its own',
  'pin-refused':
    'write the right PIN into the file before anything tries again: tokens lock after a few wrong ones',
  'objects-missing': 'see by `scripts/ceremony show` what the token holds',
  'objects-wrong': 'compare `scripts/ceremony show` with the record of the ceremony',
  'keys-changed': 'name the token that the record is of',
  'not-as-claimed': 'try the token by `scripts/token-probe`',
};

/** What the start would have thrown, as findings: one for each fault that it tells of. */
export function found(
  error: unknown,
  about: { readonly code: FindingCode; readonly where: string },
): FoundError {
  const exitCode = exitCodeOf(error);
  const severity = 'error' as const;
  if (error instanceof ConfigError)
    return { exitCode, findings: error.faults.map((fault) => ({ code: about.code, severity, ...fault })) };
  const { code, remedy } = kindOf(error, about.code);
  return { exitCode, findings: [{ code, severity, where: about.where, what: whatOf(error), do: remedy }] };
}

function kindOf(error: unknown, code: FindingCode): { readonly code: FindingCode; readonly remedy: string } {
  if (error instanceof DatabaseRefused) {
    const codes: Partial<Record<DatabaseRefused['reason'], FindingCode>> = {
      pooler: 'database-pooler',
      'read-only': 'database-settings',
      rights: 'database-rights',
    };
    return { code: codes[error.reason] ?? 'database', remedy: error.remedy };
  }
  if (error instanceof DatabaseAway)
    return {
      code: 'database',
      remedy: 'start it, and see that its address and the network between are right',
    };
  if (error instanceof UnsafeDatabase)
    return { code: 'database-settings', remedy: 'set it on the server, or for the role and the database' };
  if (error instanceof SchemaMissing)
    return {
      code: 'schema',
      remedy: 'start once with DATABASE_OWNER_URL set to the role that owns the schema',
    };
  if (error instanceof SchemaNewer) return { code: 'schema', remedy: 'run that version of escrowd here' };
  if (error instanceof ClusterError)
    return { code: 'cluster', remedy: 'see "Database" in docs/operations.md' };
  if (error instanceof LogDamaged)
    return { code: 'log', remedy: 'do not start on it; see "An old database" in docs/operations.md' };
  if (error instanceof PolicyNotSigned)
    return {
      code: 'policy',
      remedy:
        'do not start on it: find out who can write to the database, and whether administrators names the first ones as they were',
    };
  if (error instanceof TokenNotEnforcing)
    return { code: 'token-test', remedy: 'see "acceptUnenforced" in docs/operations.md before you do' };
  if (error instanceof TokenNotReady) {
    const codes: Partial<Record<NotReadyReason, FindingCode>> = {
      'pin-refused': 'token-pin',
      'objects-missing': 'token-objects',
      'objects-wrong': 'token-objects',
      'not-as-claimed': 'token-test',
    };
    return { code: codes[error.reason] ?? 'token', remedy: REMEDIES[error.reason] };
  }
  return { code, remedy: 'see docs/operations.md' };
}

/** The sentence of an error, and that of its cause where it has one of its own. */
function whatOf(error: unknown): string {
  const what = messageOf(error).replace(/\.$/, '');
  const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : '';
  return cause === '' || what.includes(cause) ? what : `${what} (${cause.replace(/\.$/, '')})`;
}
