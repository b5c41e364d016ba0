import type { Entry, Subject } from '../../log/entry/entry.js';
import type { DepositGroup } from '../records/depositedQuorums.js';
import type { Quorum } from '../records/quorum.js';
import type { ErrorCode } from '../records/errors.js';
import type { Rate } from '../records/rate.js';
import type { DrillFact, DrillsAsOf } from './drills.js';
import type { HeldShares } from './heldShares.js';
import type { DepositFact } from './newestDeposits.js';

/*
 * What the log's entries say, in the order in which they stand there: whether something has not happened, and what is the
 * newest of anything, is decided from this and never from a row or a query.
 */

/** What the log says of an open request. A change makes another object: the same object is the same facts. */
export interface RequestFacts {
  readonly requestHash: string;
  readonly keys: readonly string[];
  readonly owner: string;
  /** SHA-256 (hex) of the attestation. */
  readonly attestation: string;
  /** What was recorded of each depositary's newest approval. */
  readonly approvals: ReadonlyMap<string, ApprovalFact>;
  /** Each depositary's newest intent. */
  readonly intents: ReadonlyMap<string, IntentFact>;
  /** Who was told, since their newest intent, that the delay is over. */
  readonly reminded: ReadonlySet<string>;
  readonly denials: ReadonlySet<string>;
  /** Until when it can be approved; Infinity: its entry does not say. */
  readonly expiresAtMs: number;
  /** Until when the approvals hold that complete its quorums; undefined while they are not complete. */
  readonly holdsUntilMs: number | undefined;
  /** When the delay is over that began with the newest completion of its quorums; undefined: never complete. */
  readonly releasableAtMs: number | undefined;
  readonly scope: ScopeFacts | undefined;
  /** Of a request to seal keys anew: to whom. */
  readonly reseal: ResealFacts | undefined;
  /** Whether a key of it was sealed anew since it was filed: nothing comes of it any more. */
  readonly isSuperseded: boolean;
  /** What each key is, where the request says so. */
  readonly specs: ReadonlyMap<string, string>;
  /** By key. Empty for requests that did not say it. */
  readonly labels: ReadonlyMap<string, string>;
}

/** Whom keys are to be sealed to. */
export interface ResealFacts {
  readonly quorums: readonly Quorum[];
  /** SHA-256 (hex) of the DER SubjectPublicKeyInfo of each depositary's key. */
  readonly recipients: ReadonlyMap<string, string>;
}

/** An approval that is in the log: SHA-256 (hex) of the statement, and the digest of the replies. */
export interface ApprovalFact {
  readonly statement: string;
  readonly replies: string;
}

/** An intent that is in the log: SHA-256 (hex) of the statement, and when it was recorded. */
export interface IntentFact {
  readonly statement: string;
  readonly atMs: number;
}

/** What the log says of keys that were released and are kept for their recipient. */
export interface ReleaseFacts {
  readonly atMs: number;
  readonly owner: string;
  readonly keys: readonly string[];
  /** Of what was released (hex). */
  readonly digest: string;
}

/** What was asked for: what a use is held to, and what the record must say of the rest. */
export interface ScopeFacts {
  readonly app: string;
  readonly operations: readonly string[];
  readonly mechanisms: readonly string[];
  readonly input: string;
  readonly rate: Rate | undefined;
  readonly durationMs: number;
  readonly notBefore: Date | undefined;
  readonly notAfter: Date | undefined;
}

/** What the log says of a grant that has not ended. */
export interface GrantFacts {
  readonly recovery: string;
  readonly key: string;
  readonly owner: string;
  readonly scope: ScopeFacts;
  /** Undefined for those of requests that did not say it. */
  readonly spec: string | undefined;
  /** The label of its key; likewise. */
  readonly label: string | undefined;
  readonly maxUses: number;
  readonly startsAtMs: number;
  readonly expiresAtMs: number;
  /** SHA-256 (hex) of its certificate; undefined for one from before there were any, until it has one. */
  readonly certificate: string | undefined;
  /** Counted when they are attempted, whatever becomes of them. */
  readonly used: number;
}

/** The newest policy; undefined before the first. */
export interface PolicyFacts {
  readonly version: number;
  readonly hash: string;
}

/** What held when an attempt was recorded: with every entry before it, and none behind it. */
export interface AsOf {
  readonly policyVersion: number;
  /** The request that the attempt is about; undefined: there is none that is open. */
  readonly request: RequestFacts | undefined;
  /** Whether another attempt on the same request was without an outcome. */
  readonly isContended: boolean;
  /** Why the grant does not allow the use that was attempted. */
  readonly useRefused: ErrorCode | undefined;
  /** How many uses the grant had left when this attempt had taken its own; below 0 where it had too few, undefined where it takes none. */
  readonly usesLeft: number | undefined;
  /** Whether the caller's signed request stood in the log before. */
  readonly isRepeated: boolean;
  /** Whether the Idempotency-Key of the caller stood for another creation. */
  readonly isKeyTaken: boolean;
  /** Of a key that is to be made, or of keys that are to be sealed anew: whether an attempt to put a policy in force was without an outcome. */
  readonly isPolicyUnderWay: boolean;
  /**
   * Of keys that are to be sealed anew, or that this is asked of: whether an attempt to seal one of them anew was without an outcome;
   * of a policy that is to be put in force, one to seal any.
   */
  readonly isResealUnderWay: boolean;
  /** Of an attempt about an import pair. */
  readonly imports?: ImportsAsOf | undefined;
  /** Of an attempt to drill shares. */
  readonly drills?: DrillsAsOf | undefined;
}

/** What the log says of a pair to import under that was not used yet. */
export interface ImportPairFacts {
  /** Who may use it. */
  readonly by: string;
  readonly expiresAtMs: number;
}

/** What stood of import pairs when an attempt about one was recorded. */
export interface ImportsAsOf {
  /** The one that it is about; undefined: there is none that can be used. */
  readonly pair: ImportPairFacts | undefined;
  /** How many others there were, or were being made: of anybody, and of whoever acts. */
  readonly all: number;
  readonly own: number;
}

/** What an Idempotency-Key stands for. */
export interface CreationFact {
  readonly act: string;
  /** Without an outcome it is not done. */
  readonly isDone: boolean;
  readonly about: Subject;
}

/** What becomes of an outcome that makes nothing. */
export type Secondary = 'void' | 'late';

/** An attempt that has no outcome yet. */
export interface OpenAttempt extends Pick<Entry, 'id' | 'act' | 'actor' | 'subject'> {
  /** The grants that it is to make. */
  readonly grants: readonly string[];
  /** The import pair that it makes, or uses up. */
  readonly importPair?: string | undefined;
}

/** Ids of that about which something is due: each list costs what is in it, not what is open or runs. Instants in milliseconds of the epoch. */
export interface DueFacts {
  /** Open requests that are over, if nobody decides anything more, the earliest first. */
  overRequests(nowMs: number): readonly string[];
  /**
   * Open requests, once approved, that the daemon carries out by itself (for the use of keys, or to seal them anew), whose delay is
   * over. Their approvals may have expired since.
   */
  releasableRequests(nowMs: number): readonly string[];
  /** Open requests of which a key was sealed anew since they were filed. */
  supersededRequests(): readonly string[];
  /** Open requests that somebody intends to approve who was neither told since that the delay is over nor has denied. */
  unremindedRequests(): readonly string[];
  /** Running grants that have expired, the earliest first, and those that are used up. */
  overGrants(nowMs: number): readonly string[];
  /** Running grants without a certificate. */
  uncertifiedGrants(): readonly string[];
  /** What was released at this instant or before and is kept, the earliest first. */
  releasesUntil(ms: number): readonly string[];
}

/** The state that the entries make. */
export interface LogFacts {
  readonly policy: PolicyFacts | undefined;
  request(id: string): RequestFacts | undefined;
  /** The ids of all that have one. */
  openRequestIds(): readonly string[];
  /** Undefined when nothing is kept: never released, or confirmed, or forgotten. */
  keptRelease(id: string): ReleaseFacts | undefined;
  /** What time and uses have made due. */
  readonly due: DueFacts;
  grant(id: string): GrantFacts | undefined;
  /** The ids of those that have not ended by which an app may use a key, which it calls by its id or by its label. */
  grantsNamed(app: string, name: string): readonly string[];
  /** The ids of all that have not ended. */
  runningGrantIds(): readonly string[];
  /** Undefined when it can be used no more. */
  importPair(id: string): ImportPairFacts | undefined;
  /** The ids of all that can be used. */
  importPairIds(): readonly string[];
  /** The newest deposit of a key; undefined when it was never born. */
  deposit(key: string): DepositFact | undefined;
  /** The drills of this depositary's share of the newest deposit of a key; undefined: none. */
  drill(key: string, purpose: string, depositary: string): DrillFact | undefined;
  /**
   * How many keys this depositary has shares of: of all, which are looked at one by one, or of this one. `drilledSinceMs` is from
   * when on a drill is new enough.
   */
  heldBy(depositary: string, drilledSinceMs: number, key?: string): HeldShares;
  /** When a key was last used or handed out; undefined: never. */
  lastUsedMs(key: string): number | undefined;
  /** Every key that was born, with those that were deposited alike. */
  depositGroups(): readonly DepositGroup[];
  /** One for each key that is being made. */
  depositsBeingMade(): readonly DepositGroup[];
  /** Of an attempt that has no outcome yet. */
  asOf(act: string): AsOf | undefined;
  /**
   * Of the entry at this index, one of the newest: that it makes nothing, being the outcome of an act that had one before, or whose
   * request has ended meanwhile (`void`); or the same, and what it ends has ended all the same (`late`).
   */
  secondary(index: number): Secondary | undefined;
  /** The attempt of this act, while it has no outcome. */
  openAttempt(act: string): OpenAttempt | undefined;
  openAttempts(): readonly OpenAttempt[];
  /** What a principal's Idempotency-Key stands for; undefined when it is free. */
  creation(principal: string, key: string): CreationFact | undefined;
}

/** The same, and how far it has followed the log. */
export interface FollowedLog {
  readonly facts: LogFacts;
  /** Resolves when the entry at this index, and all before it, were taken. Throws EscrowError `log-unavailable`. */
  through(index: number): Promise<void>;
  /** The same for all that stand in the log when it is called, whoever wrote them; may cost a query. */
  caughtUp(): Promise<void>;
}
