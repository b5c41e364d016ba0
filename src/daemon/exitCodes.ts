import { ConfigError } from './start/configError.js';
import { PolicyNotSigned } from '../escrow/directory.js';
import { EscrowError } from '../escrow/records/errors.js';
import { ClusterError, ClusterInUse } from '../privatePostgres/errors.js';
import { DatabaseAway, DatabaseRefused, LogDamaged, UnsafeDatabase } from '../postgres/faults.js';
import { SchemaMissing, SchemaNewer } from '../postgres/schema/migrate.js';
import { AlreadyServing } from './start/addresses.js';
import { TokenNotReady } from '../token/cryptoki/faults.js';
import { TokenNotEnforcing } from './startToken.js';

/** What the daemon's exit code says. Stable: service managers decide by it whether to start the daemon again. */
export const EXIT_CODES = {
  clean: { code: 0, meaning: 'stopped when asked to' },
  unexpected: { code: 1, meaning: 'something unexpected went wrong' },
  usage: {
    code: 2,
    meaning: 'the command line, the configuration, a file or an address that it names is not right',
  },
  token: { code: 3, meaning: 'the token is not ready: module, label or objects of the ceremony are missing' },
  pin: {
    code: 4,
    meaning: 'the token refused the PIN; it was tried once and must not be tried again by itself',
  },
  enforcement: {
    code: 5,
    meaning: 'the token does not enforce what the configuration does not excuse it from',
  },
  database: { code: 6, meaning: 'the database cannot be started, reached or trusted with durable writes' },
  inUse: { code: 7, meaning: 'another daemon runs on the same data directory or at the same address' },
  logDamaged: {
    code: 8,
    meaning:
      'the log contradicts itself, its checkpoint, or what the token or this daemon remembers of it; nothing may be built on it',
  },
  policy: { code: 9, meaning: 'the database holds a policy that its administrators have not signed' },
  hang: { code: 10, meaning: 'a call into the token did not come back (token.hangMs); to be started again' },
} as const satisfies Record<string, { readonly code: number; readonly meaning: string }>;

const OF_DATABASE = [
  ClusterError,
  DatabaseAway,
  DatabaseRefused,
  UnsafeDatabase,
  SchemaMissing,
  SchemaNewer,
] as const;

export function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError) return EXIT_CODES.usage.code;
  if (error instanceof TokenNotReady) {
    return error.reason === 'pin-refused' ? EXIT_CODES.pin.code : EXIT_CODES.token.code;
  }
  if (error instanceof TokenNotEnforcing) return EXIT_CODES.enforcement.code;
  if (error instanceof ClusterInUse || error instanceof AlreadyServing) return EXIT_CODES.inUse.code;
  if (error instanceof PolicyNotSigned) return EXIT_CODES.policy.code;
  if (error instanceof LogDamaged) return EXIT_CODES.logDamaged.code;
  if (OF_DATABASE.some((kind) => error instanceof kind)) return EXIT_CODES.database.code;
  if (error instanceof EscrowError && error.code === 'store-unavailable') return EXIT_CODES.database.code;
  if (error instanceof EscrowError && (error.code === 'token-unavailable' || error.code === 'token-full'))
    return EXIT_CODES.token.code;
  return EXIT_CODES.unexpected.code;
}
