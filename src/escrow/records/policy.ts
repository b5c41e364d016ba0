import type { KeySpec, KeyUse, Operation } from './keySpecs.js';
import type { Mechanism } from './mechanisms.js';
import type { Rate } from './rate.js';
import type { PrincipalId } from './ids.js';
import type { Principal } from './principals.js';

/** Why a key is recovered: used on the owner's behalf inside the token, or handed out encrypted to a depositary. */
export type Purpose = 'operate' | 'release';
/** Both purposes, in the order in which they are deposited. */
export const PURPOSES = ['operate', 'release'] as const satisfies readonly Purpose[];

/** Who must agree: a person of the directory, or a shape over such. A role stands for each of its members. */
export type QuorumExpression =
  | { readonly person: PrincipalId }
  | { readonly attribute: string } // the principal named by this attribute of the owner, e.g. `manager`
  | { readonly role: string }
  | { readonly allOf: readonly QuorumExpression[] }
  | { readonly anyOf: readonly QuorumExpression[] }
  | { readonly atLeast: number; readonly of: readonly QuorumExpression[] };

/** What a key may be used for on its owner's behalf, at most. */
export interface OperateTerms extends Brakes {
  readonly operations: readonly Operation[];
  readonly maxUses: number;
  /** Counted from activation. */
  readonly maxDurationMs: number;
  /** How fast, at most; undefined: as fast as an app likes. */
  readonly rate: Rate | undefined;
  /** Which mechanisms; undefined: all that fit the key. */
  readonly mechanisms: readonly Mechanism[] | undefined;
  /** Whether an app may be allowed digests, which nobody can read, or messages only. */
  readonly input: 'message' | 'digest';
}

/** How a key may be handed out. */
export type ReleaseTerms = Brakes;

/** What stands between a complete quorum and the key. */
export interface Brakes {
  /** Counted from the approval that completes the quorum, or from the intent: see `replies`. */
  readonly delayMs: number;
  readonly ownerMayVeto: boolean;
  /**
   * `afterDelay`: depositaries say first that they intend to approve, and the delay is counted from the intent that completes
   * the quorum; their replies leave them only when it is over. Not given, replies come with the approvals, and wait here.
   */
  readonly replies?: 'afterDelay';
}

/** The same of something, where it is there: absent, it is neither hashed nor stored. */
export function repliesOf({ replies }: Pick<Brakes, 'replies'>): Pick<Brakes, 'replies'> {
  return replies === undefined ? {} : { replies };
}

/** Who must not be the same person in one request. That the owner is none of the depositaries needs no saying. */
export const DISTINCTIONS = ['requester-depositary', 'requester-owner', 'requester-recipient'] as const;
export type Distinction = (typeof DISTINCTIONS)[number];

/** How a request for a key is decided. */
export interface RequestTerms {
  /** How long a request can be approved, at most. */
  readonly maxValidForMs: number;
  /** How long one approval counts, at most; more than every delay, or nothing could ever come of it. */
  readonly approvalsHoldMs: number;
  /** So many denials end a request; undefined: it ends when no quorum is left that could agree. */
  readonly denialsToEnd: number | undefined;
  readonly distinct: readonly Distinction[];
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** What holds where a rule says nothing about requests. */
export function usualRequestTerms(longestDelayMs: number): RequestTerms {
  return {
    maxValidForMs: 90 * DAY_MS,
    approvalsHoldMs: longestDelayMs + 7 * DAY_MS,
    denialsToEnd: undefined,
    distinct: [],
  };
}

/** One rule: for whom, who decides, and within what bounds. The first that matches holds. */
export interface Rule {
  readonly name: string;
  readonly when: {
    readonly owner: Readonly<Record<string, string>>;
    readonly use: KeyUse | undefined;
    readonly spec: KeySpec | undefined;
  };
  readonly depositaries: QuorumExpression;
  /** Who may file a recovery request. */
  readonly requesters: readonly ('depositary' | 'admin' | 'app')[];
  /** Whether an owner may be given a copy of the key at its birth. */
  readonly deliver: boolean;
  /** Whether such a key may be imported. Not given: it may not, and is born in the token or not at all. */
  readonly import?: true;
  readonly requests: RequestTerms;
  readonly operate: OperateTerms | undefined;
  readonly release: ReleaseTerms | undefined;
  /**
   * `proven`: no such key is used before a checkpoint covers the attempt. Not given, it is enough that the attempt is durable as
   * far as the database says.
   */
  readonly logged?: 'proven';
}

/** How policies come into force. */
export interface Administration {
  /** So many different administrators sign the policy that follows this one. */
  readonly quorum: number;
  /** The quorum may not be less than this; only a policy signed by the quorum in force changes it. */
  readonly floor: number;
  /** No rule of this policy lets fewer depositaries bring a key back. Checked when it comes into force. */
  readonly minimumQuorum: number;
}

/** Directory and rules in force. Version 0 is the bootstrap: the first administrators, and no rule. */
export interface Policy {
  readonly version: number;
  /** SHA-256 (hex) of the canonical JSON (RFC 8785) of the document. */
  readonly hash: string;
  readonly administration: Administration;
  readonly principals: ReadonlyMap<PrincipalId, Principal>;
  readonly rules: readonly Rule[];
}
