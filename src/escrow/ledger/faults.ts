import { NotHeld } from '../ports/journal.js';
import type { ErrorCode } from '../records/errors.js';
import { EscrowError } from '../records/errors.js';

/** Errors that say that something is broken, not that something was refused. */
export const FAULTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'token-unavailable',
  'token-object-missing',
  'log-unavailable',
  'store-unavailable',
  'interrupted',
  'recovery-failed',
  'internal',
]);

/** What says nothing of the caller: the log cannot be written, or nobody knows at which time it would be. */
export const UNRECORDED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['log-unavailable', 'clock-differs']);

/** What whoever asked is told of an error. */
export function asEscrowError(error: unknown): EscrowError {
  if (error instanceof EscrowError) return error;
  if (error instanceof NotHeld) {
    switch (error.what) {
      case 'request-unused':
        return new EscrowError('request-replayed');
      case 'policy-applied':
        return new EscrowError('policy-stale');
      case 'act-open':
        return new EscrowError('interrupted', undefined, { cause: error });
      case 'clocks-agree':
        return new EscrowError('clock-differs', undefined, { cause: error });
      case 'idempotency-key-free':
        return new EscrowError('idempotency-in-progress', undefined, { cause: error });
      case 'alone-on-recovery':
      case 'uses-counted':
      case 'policy-in-force':
      case 'deposit-created':
      case 'deposit-replaced':
      case 'recovery-saved':
      case 'grant-created':
      case 'grant-certified':
      case 'grant-ended':
        return new EscrowError('busy', undefined, { cause: error });
    }
  }
  return new EscrowError('internal', undefined, { cause: error });
}
