import { DatabaseError } from 'pg';
import { EscrowError } from '../escrow/records/errors.js';

/** The log that stands in the database contradicts itself or its checkpoint. Nothing may be built on it. */
export class LogDamaged extends Error {
  override readonly name = 'LogDamaged';
}

/** The server is set up so that what it has acknowledged can be lost. */
export class UnsafeDatabase extends Error {
  override readonly name = 'UnsafeDatabase';
}

/** Why the database is not to be had as it is set up, or as it is asked for. */
export type RefusalReason =
  'credentials' | 'database-missing' | 'tls' | 'pooler' | 'read-only' | 'rights' | 'not-understood';

/** The database cannot be used before somebody has mended something; another try changes nothing. */
export class DatabaseRefused extends Error {
  override readonly name = 'DatabaseRefused';

  constructor(
    readonly reason: RefusalReason,
    message: string,
    /** What mends it: a clause. */
    readonly remedy: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The database is not there: nobody answers, or a server that cannot serve now. Another try may succeed. */
export class DatabaseAway extends Error {
  override readonly name = 'DatabaseAway';
}

/** A bigint of the database. Throws RangeError when a number cannot hold it. */
export function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} is beyond what a number holds`);
  return value;
}

/**
 * What went wrong, by what is known of the transaction it went wrong in:
 * - `lost`: the connection or the server failed; whether it was committed is to be found out;
 * - `contended`: rolled back for the sake of another transaction; may be tried again as it is;
 * - `refused`: the database will not have it, now or later.
 */
export type Fault = 'lost' | 'contended' | 'refused';

/** Judges what the driver threw (PostgreSQL appendix A, "Error Codes", by class). */
export function faultOf(error: unknown): Fault {
  // The driver says that a connection broke or timed out with errors of other kinds.
  if (!(error instanceof DatabaseError) || error.severity !== 'ERROR') return 'lost';
  const code = error.code ?? '';
  // Serialization failure, deadlock, lock not available; a unique violation is a race that the judge did not see.
  if (['40001', '40P01', '55P03', '23505'].includes(code)) return 'contended';
  // Operator intervention, lack of resources, system errors, a server that is (now) a standby.
  return /^(?:08|53|57|58|XX)|^25006$/.test(code) ? 'lost' : 'refused';
}

/** What to throw for an error of a reading statement: the error itself when the fault is in the program. */
export function unavailable(error: unknown): unknown {
  if (error instanceof EscrowError || faultOf(error) === 'refused') return error;
  return new EscrowError('store-unavailable', undefined, { cause: error });
}
