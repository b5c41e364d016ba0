import type { GrantStatus } from '../escrow/records/grant.js';
import type { KeySpec, KeyUse } from '../escrow/records/keySpecs.js';
import type { Mechanism } from '../escrow/records/mechanisms.js';
import type { NoticeKind } from '../escrow/records/notice.js';
import type { HistoryFilter } from '../escrow/records/ownerHistory.js';
import type { Distinction, Purpose } from '../escrow/records/policy.js';
import type { LifeStatus, RequestVersion } from '../escrow/records/recovery.js';

/**
 * The JSON that goes over the wire, for the server and its clients alike. Types only: requests are validated by the
 * schemas of src/http. Binary is base64url without padding unless a name ends in `Pem`; instants are RFC 3339 UTC
 * with milliseconds; durations are ISO 8601 (`PT1H`, `P7D`) in documents and requests.
 *
 * Every reply to a call that changes something is an {@link Acted}: it carries the index of its entry in the log.
 */
export interface Acted<T> {
  readonly result: T;
  /** Index in the log of the entry that recorded the outcome. */
  readonly entry: number;
  /** Only of an act that takes something away: that entry, with its proof. Without one whoever asked is to take it that it was not done. */
  readonly proof?: WireProof;
}

/** A page of a list, newest first unless its route says otherwise. */
export interface WirePage<T> {
  readonly items: readonly T[];
  /** Cursor of the next page (query parameter `after`); absent on the last. */
  readonly next?: string;
}

/** RFC 9457 problem details; `type` is `urn:escrowd:problem:<code>`. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** `urn:uuid:` (RFC 9562) and the request id, by which the operator's log knows this request. */
  readonly instance: string;
}

/** GET /v1/server: what this server says it is. Public; clients pin these from the ceremony's record instead. */
export interface WireServer {
  readonly origin: string;
  /** Public JWK of the token's identity key, which signs attestations. */
  readonly identityKey: Readonly<Record<string, string>>;
  /** C2SP verifier key of the log. */
  readonly logKey: string;
  readonly token: {
    readonly profile: string;
    readonly keySpecs: readonly KeySpec[];
    readonly mechanisms: readonly Mechanism[];
    readonly oaep: string;
  };
}

/** POST /v1/keys */
export interface WireKeyOrder {
  readonly owner: string;
  readonly spec: KeySpec;
  readonly use: KeyUse;
  readonly label?: string;
  readonly deliver?: boolean;
}

/** A deposited key, as anyone who may see it sees it. */
export interface WireKey {
  readonly key: string;
  readonly owner: string;
  readonly label: string;
  readonly spec: KeySpec;
  readonly use: KeyUse;
  /** SubjectPublicKeyInfo PEM (RFC 7468); absent for symmetric keys. */
  readonly publicKeyPem?: string;
  readonly createdAt: string;
  readonly rule: { readonly name: string; readonly policyVersion: number; readonly policyHash: string };
  readonly purposes: readonly {
    readonly purpose: Purpose;
    readonly quorums: readonly (readonly string[])[];
    readonly recipients: readonly { readonly depositary: string; readonly fingerprint: string }[];
  }[];
  readonly terms: {
    readonly operate?: {
      readonly operations: readonly KeyUse[];
      readonly maxUses: number;
      readonly maxDuration: string;
      readonly rate?: WireRate;
      readonly mechanisms?: readonly Mechanism[];
      readonly input: 'message' | 'digest';
      readonly delay: string;
      readonly ownerMayVeto: boolean;
      /** Not given: replies come at once, with the approvals. */
      readonly replies?: 'afterDelay';
    };
    readonly release?: {
      readonly delay: string;
      readonly ownerMayVeto: boolean;
      readonly replies?: 'afterDelay';
    };
    /** How requests for the key are decided. */
    readonly requests: {
      readonly maxValidFor: string;
      readonly approvalsHold: string;
      readonly denialsToEnd?: number;
      readonly distinct: readonly Distinction[];
    };
  };
  readonly digest: string;
  /** Only to the owner, when a copy was ordered: CKM_RSA_AES_KEY_WRAP format, to the delivery key. */
  readonly ownersCopy?: WireRelease;
}

/** At most so many uses in any stretch of time of this length. */
export interface WireRate {
  readonly uses: number;
  readonly per: string;
}

/** What an app may do. `duration` is counted from activation; `notBefore` and `notAfter` are instants. */
export interface WireScope {
  readonly app: string;
  readonly operations: readonly KeyUse[];
  readonly mechanisms: readonly Mechanism[];
  readonly input: 'message' | 'digest';
  readonly maxUses: number;
  /** In an order: the rule's, where it is not given. */
  readonly rate?: WireRate;
  readonly duration: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
}

/** POST /v1/recoveries */
export type WireRecoveryOrder = {
  /** 1 to 64, all of one owner, each once. What is asked is asked for each of them, and decided for all. */
  readonly keys: readonly string[];
  readonly reason: string;
  /** How long the request can be approved. */
  readonly validFor: string;
} & (
  | { readonly purpose: 'operate'; readonly scope: WireScope }
  /** `recipient` defaults to the requester. */
  | { readonly purpose: 'release'; readonly recipient?: string }
);

/** One key that a request is for. */
export interface WireRecoveryKey {
  readonly key: string;
  readonly label: string;
  readonly spec: KeySpec;
  readonly use: KeyUse;
  readonly publicKeyPem?: string;
  /** Who suffices for this key; the request is approved when one quorum of each of its keys has agreed. */
  readonly quorums: readonly (readonly string[])[];
  /** What came of it, to be used by the app. */
  readonly grant?: { readonly grant: string; readonly status: GrantStatus };
}

/** A recovery request, as those who have a part in it see it. */
export interface WireRecovery {
  readonly recovery: string;
  readonly owner: string;
  /** In ascending order. */
  readonly keys: readonly WireRecoveryKey[];
  readonly requester: string;
  readonly reason: string;
  readonly purpose: Purpose;
  readonly scope?: WireScope;
  readonly recipient?: string;
  readonly filedAt: string;
  /** Until when it can be approved. */
  readonly expiresAt: string;
  /** How long one approval counts, at most. */
  readonly approvalsHold: string;
  /** SHA-256 (hex) of what is asked, as the server says; servers of before say it to depositaries only. */
  readonly requestHash?: string;
  /** The request in words; a depositary's client makes its own of what is attested. */
  readonly summary: string;
  /**
   * An active request is what its grants are: `active` as long as one of them is, and then `revoked` or `expired` when one of
   * them is, else `exhausted`.
   */
  readonly status: LifeStatus;
  /** Where the rule of a key takes replies after the delay: depositaries send an intent first, and the approval from `repliesFrom` on. */
  readonly replies?: 'afterDelay';
  /** `replies` given: whose intent counts, or counted when the request ended. */
  readonly intendedBy?: readonly string[];
  /**
   * `replies` given: from when approvals are taken, once enough intend to approve. To a depositary whose intent counts, theirs;
   * to everybody else, those of the first whose are.
   */
  readonly repliesFrom?: string;
  /** Whose approval counts, or counted when the request ended. */
  readonly approvedBy: readonly string[];
  readonly deniedBy: readonly { readonly depositary: string; readonly reason: string }[];
  /** Why it ended, and who ended it, where somebody did. */
  readonly ended?: { readonly by?: string; readonly reason?: string; readonly at: string };
  /** status approved: when the delay that the rules impose is over. */
  readonly releasableAt?: string;
  /** status approved: when the first approval of the quorums expires. */
  readonly holdsUntil?: string;
  /** Only to the recipient of a release, until they confirm that they have it, or for a day. */
  readonly release?: WireReleasedKeys;
  /** Only to a depositary of one of the keys: all that is needed to decide. */
  readonly forDepositary?: WireForDepositary;
}

/** A depositary's share of one key, and what it was made by. Servers of before show the first three members only. */
export interface WireShare {
  readonly key: string;
  readonly share: string;
  /** `RSA-OAEP` (SHA-1) or `RSA-OAEP-256`: how share was, and reply is to be, encrypted. */
  readonly oaep: string;
  /** AES-256-GCM under the recovery secret, which the client opens before it sends anything. */
  readonly link?: string;
  readonly deposit?: WireDeposit;
  /** The log entry that recorded the birth of the key, and its proof under the checkpoint of `logged`. */
  readonly birth?: Omit<WireProof, 'checkpoint'>;
}

/** How a key was deposited for the purpose that is asked for; with what stands in {@link WireRecoveryKey} the link is bound to it. */
export interface WireDeposit {
  /** 1: the link is bound to key, purpose and depositary alone; 2: to all that is said here as well. */
  readonly version: 1 | 2;
  /** version 2: counts the deposits of the key, from 1. */
  readonly generation?: number;
  readonly requesters: readonly string[];
  readonly delay: string;
  readonly ownerMayVeto: boolean;
  /** Not given: at once. */
  readonly replies?: 'afterDelay';
  /** To whose key each share was encrypted: SHA-256 (hex) of its DER SubjectPublicKeyInfo. */
  readonly recipients: readonly { readonly depositary: string; readonly fingerprint: string }[];
}

/** What a depositary checks and uses. */
export interface WireForDepositary {
  /** Of each key of the request that they are a depositary of, in ascending order. */
  readonly shares: readonly WireShare[];
  /** DER SubjectPublicKeyInfo of the one-time key. */
  readonly transportKey: string;
  readonly requestHash: string;
  /** Which version of what is hashed; 3 when it is not given. */
  readonly requestVersion?: RequestVersion;
  /** Compact JWS, typ `escrowd-attestation+jwt`, ES256 by the identity key. */
  readonly attestation: string;
  /** The log entry that recorded the filing, and its proof. */
  readonly logged: WireProof;
  /** Where replies are taken after the delay: the intents that count, each with the public JWK that signed it. */
  readonly intents?: readonly WireSignedIntent[];
}

/** An intent as other depositaries are shown it. */
export interface WireSignedIntent extends WireIntent {
  readonly depositary: string;
  readonly key: Readonly<Record<string, string>>;
}

/** POST /v1/recoveries/{recovery}/intents: statement typ `escrowd-intent+jwt` signed by the caller, with decision `intend`. */
export interface WireIntent {
  readonly statement: string;
}

/** An entry with its inclusion proof (RFC 6962) in the newest checkpoint. */
export interface WireProof {
  readonly index: number;
  /** The entry's exact canonical bytes, as text. */
  readonly entry: string;
  readonly proof: readonly string[];
  /** C2SP signed note. */
  readonly checkpoint: string;
}

/** POST /v1/recoveries/{recovery}/approvals: statement typ `escrowd-approval+jwt` signed by the caller. */
export interface WireApproval {
  readonly statement: string;
  /** OAEP(transport key, R) for each share, in their order. */
  readonly replies: readonly { readonly key: string; readonly reply: string }[];
}

/** POST /v1/recoveries/{recovery}/denials: statement with decision `deny` and a reason. */
export interface WireDenial {
  readonly statement: string;
}

/**
 * Payload of an approval, denial or intent statement. `aud` is the log's verifier key; `iat`, `exp` seconds since the epoch;
 * `transport` is the SHA-256 (hex) of the transport key's DER SubjectPublicKeyInfo, `replies` that of the canonical JSON of an
 * object with the SHA-256 (hex) of each reply by its key.
 */
export interface StatementPayload {
  readonly iss: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly decision: 'approve' | 'intend' | 'deny';
  readonly recovery: string;
  readonly requestHash: string;
  /** All keys of the request, in ascending order, whether the depositary has a share of them or not. */
  readonly keys: readonly string[];
  readonly purpose: Purpose;
  readonly scope: unknown;
  readonly transport: string;
  readonly replies?: string;
  readonly reason?: string;
  /** The checkpoint that the depositary saw: its size and root (base64). */
  readonly checkpoint: { readonly size: number; readonly root: string };
}

/** POST /v1/recoveries/{recovery}/confirmation: statement typ `escrowd-confirmation+jwt` signed by the recipient. */
export interface WireConfirmation {
  readonly statement: string;
}

/** POST /v1/recoveries/{recovery}/stop: each a compact JWS, typ `escrowd-stop+jwt`, by another administrator. */
export interface WireStop {
  readonly statements: readonly string[];
}

/** Payload of an administrator's statement that a request is to end. */
export interface StopPayload {
  readonly iss: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly recovery: string;
  readonly requestHash: string;
  readonly reason: string;
}

/** POST .../veto and .../cancel, POST /v1/grants/{grant}/revoke */
export interface WireReason {
  readonly reason: string;
}

/** Key in CKM_RSA_AES_KEY_WRAP format (PKCS#11 2.40 section 2.1.21), in its two parts. */
export interface WireRelease {
  /** RSA-OAEP of the AES-256 key X. */
  readonly transferKey: string;
  /** AES key wrap with padding (RFC 5649) under X: PKCS#8 DER, or the raw AES key. */
  readonly wrappedKey: string;
  readonly oaep: string;
}

/** The keys of a request, each in this format, in ascending order. */
export interface WireReleasedKeys {
  readonly keys: readonly (WireRelease & { readonly key: string })[];
}

/** POST /v1/recoveries/{recovery}/activate: a grant for each key, in their order. */
export interface WireGrants {
  readonly grants: readonly WireGrant[];
}

/** A grant: for one key. */
export interface WireGrant {
  readonly grant: string;
  readonly recovery: string;
  readonly key: string;
  readonly owner: string;
  readonly spec: KeySpec;
  readonly scope: WireScope;
  readonly used: number;
  readonly startsAt: string;
  readonly expiresAt: string;
  readonly status: GrantStatus;
}

/** POST /v1/grants/{grant}/sign: a batch of messages, or of digests where the grant allows them. */
export type WireSignOrder =
  | { readonly mechanism: Mechanism; readonly messages: readonly string[] }
  | { readonly mechanism: Mechanism; readonly digests: readonly string[] };

/** Signatures in the order of the inputs, in JOSE form; `remaining` uses. */
export interface WireSignatures {
  readonly signatures: readonly string[];
  readonly remaining: number;
}

/** POST /v1/grants/{grant}/decrypt */
export interface WireDecryptOrder {
  readonly mechanism: Mechanism;
  readonly ciphertexts: readonly {
    readonly ciphertext: string;
    readonly iv?: string;
    readonly aad?: string;
  }[];
}

/** Plaintexts in the order of the inputs. */
export interface WirePlaintexts {
  readonly plaintexts: readonly string[];
  readonly remaining: number;
}

/** POST /v1/policy: `document` is JSON; each signature a compact JWS, typ `escrowd-policy+jwt`. */
export interface WirePolicyOrder {
  readonly document: unknown;
  readonly signatures: readonly string[];
}

/** Payload of an administrator's signature: over the canonical hash of the document, on top of version `base`, whose hash is `replaces`. */
export interface PolicySignaturePayload {
  readonly iss: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly hash: string;
  readonly base: number;
  readonly replaces: string;
}

/** GET /v1/policy */
export interface WirePolicy {
  readonly version: number;
  readonly hash: string;
  readonly document?: unknown;
}

/** POST /v1/policy/choice {owner, spec, use, app?}: who would be chosen, and why; see `Explanation` in src/escrow/rules/explain.ts. */
export interface WireChoice {
  /** The rules in order, up to the one that holds, with why those before it do not. */
  readonly considered: readonly { readonly rule: string; readonly because: readonly string[] }[];
  /** Absent when no rule matches. */
  readonly rule?: string;
  readonly quorums: readonly (readonly string[])[];
  readonly candidates: readonly {
    readonly id: string;
    readonly name: string;
    /** RFC 7638 thumbprints. */
    readonly keys: readonly string[];
    /** SHA-256 (hex) of the SubjectPublicKeyInfo. */
    readonly depositaryKey?: string;
    readonly problems: readonly string[];
  }[];
  readonly missing: readonly string[];
  /** The code that generating such a key would be refused with. */
  readonly error?: string;
}

/** POST /v1/policy/plan {document}: what administrators would sign, once the document may follow the policy in force. */
export interface WirePolicyPlan {
  /** Of the document. */
  readonly hash: string;
  /** The version in force and its hash: what the document would replace. */
  readonly base: number;
  readonly replaces: string;
  /** So many administrators must sign it. */
  readonly signersNeeded: number;
}

/** GET /v1/policy/standing: what a new policy is weighed against. */
export interface WireStanding {
  readonly version: number;
  readonly hash: string;
  /** So many administrators must sign the next policy. */
  readonly signersNeeded: number;
  readonly enrolled: readonly { readonly id: string; readonly fingerprint: string }[];
  readonly deposits: readonly {
    readonly purpose: Purpose;
    readonly quorums: readonly (readonly string[])[];
    readonly deposits: number;
  }[];
}

/** GET /v1/policy/warnings: to administrators and auditors all of them; to others those about themselves. */
export interface WireWarnings {
  readonly warnings: readonly string[];
}

/** GET /v1/policy/history: a policy that was in force. */
export interface WireAppliedPolicy {
  readonly version: number;
  readonly hash: string;
  readonly appliedAt?: string;
  readonly signers: readonly string[];
}

/** GET /v1/notifications/given-up: a notice that a sink did not take. */
export interface WireGivenUpNotice {
  readonly notice: string;
  readonly sink: string;
  /** Index of the entry that it is about. */
  readonly entry: number;
  readonly to: string;
  readonly kind: NoticeKind;
  readonly fault: string;
  readonly givenUpAt: string;
}

/** POST /v1/notifications/redeliver, and what it answers: notices of a sink that it is told again. */
export interface WireRedelivery {
  readonly sink: string;
  readonly notices: readonly string[];
}

/** An entry of the log: `entry` is its exact canonical bytes, as text. */
export interface WireEntry {
  readonly index: number;
  readonly entry: string;
}

/**
 * GET /v1/history?key=&act=&since=&until=&upTo=, newest first: each entry with its inclusion proof (base64url) in the
 * tree of `checkpoint`, a signed note. With `upTo`, the size of a checkpoint, the tree is that one.
 */
export interface WireHistory extends WirePage<WireEntry & { readonly proof: readonly string[] }> {
  /** Absent only while the log is empty. */
  readonly checkpoint?: string;
}

/** POST /v1/history/statement: which part of the caller's history. */
export type WireHistoryOrder = HistoryFilter;

/** That a history up to this checkpoint (a signed note) is complete: a compact JWS by the identity key. */
export interface WireHistoryStatement {
  readonly statement: string;
  readonly checkpoint: string;
}
