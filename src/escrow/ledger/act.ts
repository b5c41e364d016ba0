import type { Json } from '../../log/entry/canonical.js';
import type { Act, LentFor } from './means.js';
import { EscrowError } from '../records/errors.js';
import type { GrantId, ImportId, RecoveryId } from '../records/ids.js';
import type { Change, Claim } from '../ports/journal.js';
import type { Subject } from '../../log/entry/entry.js';
import type { KnownCaller } from './knownCaller.js';
import type { AsOf } from '../logged/logFacts.js';
import { DAEMON_ID } from '../records/principals.js';

/** Who acts: a principal by the key that signed the request, or the daemon itself. */
export interface Actor {
  readonly id: string;
  /** The caller, whose policy every attempt claims; the daemon's own acts have none. */
  readonly known?: KnownCaller;
  /** The caller's own signed request; the daemon's own acts have none. */
  readonly request: SignedRequest | undefined;
  /** In its place: the client certificate (`x5t#S256`) by which an app was known. */
  readonly certificate?: string;
}

/** The daemon itself, in the log. */
export const DAEMON: Actor = { id: DAEMON_ID, request: undefined };

/** A request as its caller signed it. */
export interface SignedRequest {
  /** Compact JWS. */
  readonly jws: string;
  readonly kid: string;
  readonly jti: string;
  readonly expiresAt: Date;
}

/** Facts about an act for its log entry: never key material, never message content. */
export type Detail = Readonly<Record<string, Json>>;

/** What was decided before the token is touched. */
export interface Plan<P> {
  readonly detail: Detail;
  /** What must still hold in the transaction that records the attempt. */
  readonly claims: readonly Claim[];
  /** What the log must say when the attempt stands there, besides; throws EscrowError to refuse, before the token is used. */
  readonly holds?: (asOf: AsOf) => void;
  readonly plan: P;
  /** `proven`: the token is not used before a checkpoint covers the attempt. */
  readonly logged?: 'proven';
}

/** An act that is done already, and its answer: nothing is performed or recorded again. */
export interface Repeated<R> {
  readonly repeats: Recorded<R>;
}

/** What came of an act. */
export interface Outcome<R> {
  readonly detail: Detail;
  /** SHA-256 (hex) of what was done. */
  readonly digest: string;
  readonly changes: readonly Change[];
  readonly answer: R;
  /** Takes back what stands in the token when the outcome could not be recorded. */
  readonly undo?: () => Promise<void>;
  /** What nothing needs any more once the outcome is durable. */
  readonly obsolete?: Obsolete;
}

/** Objects to be destroyed in the token: at once when it is there, and else by housekeeping when it is back. */
export interface Obsolete {
  readonly transport?: RecoveryId;
  readonly grant?: GrantId;
  readonly importPair?: ImportId;
}

/**
 * Thrown by `run` when an act that the token has begun comes to nothing: its entry is `failed`, whatever the code, and is
 * recorded together with what follows from that.
 */
export class CameToNothing extends EscrowError {
  constructor(
    { code, detail, cause }: Pick<EscrowError, 'code' | 'detail' | 'cause'>,
    readonly ending: Pick<Outcome<unknown>, 'detail' | 'changes' | 'obsolete'>,
  ) {
    super(code, detail, { cause });
  }
}

/** An act to perform. */
export interface ActOrder<A extends Act, P, R> {
  readonly act: A;
  readonly actor: Actor;
  /**
   * Reads and decides; throws EscrowError to refuse. Says with `about` what the act is about as soon as it knows,
   * so that a refusal is logged with its subject. May run several times, when a claim was lost in a race or another policy
   * has come into force: reads anew what it decides by, the caller too.
   */
  readonly decide: (about: (subject: Subject) => void) => Promise<Plan<P> | Repeated<R>>;
  /** Does it; `asOf` is what held when the attempt was recorded. */
  readonly run: (lent: LentFor<A>, plan: P, asOf: AsOf) => Promise<Outcome<R>>;
}

/** What the caller gets of an act that was done: the answer, and the place of its outcome in the log. */
export interface Recorded<R> {
  readonly answer: R;
  readonly index: number;
}
