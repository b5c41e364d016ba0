import { z } from 'zod';

import { MAX_REDELIVERED } from '../escrow/acts/redeliverNotices.js';
import type { GrantStatus } from '../escrow/records/grant.js';
import {
  type DrillResult,
  DRILL_RESULTS,
  MAX_DRILLED,
  MAX_DRILL_PAGE,
} from '../escrow/records/drills/drilling.js';
import { KEY_SPEC_NAMES, KEY_USES, OPERATIONS } from '../escrow/records/keySpecs.js';
import { MECHANISM_NAMES } from '../escrow/records/mechanisms.js';
import { NOTICE_KINDS } from '../escrow/records/notice.js';
import { DISTINCTIONS, PURPOSES } from '../escrow/records/policy.js';
import { KEK_STATES } from '../escrow/rules/kekRotation.js';
import { type Inability, COVERAGES, INABILITIES } from '../escrow/rules/liveQuorums.js';
import {
  type LifeStatus,
  ASKED_PURPOSES,
  MAX_RECOVERY_KEYS,
  REQUEST_VERSIONS,
} from '../escrow/records/recovery.js';
import { MAX_DOCUMENTS } from './orders.js';
import { type Reading, MAX_PEOPLE, strictly, tolerantly } from './reading.js';
import { INPUTS } from '../escrow/records/scope.js';
import type { Unchanging } from './unchanging.js';

/*
 * The replies of the API, written once. Binary is base64url without padding unless a name ends in `Pem`; instants are
 * RFC 3339 UTC with milliseconds; durations are ISO 8601 (`PT1H`, `P7D`). Members without a value are absent. A bound
 * says what can come, not what is cut off.
 */
const MAX_TEXT = 64 * 1024;
/** More than the largest body asks for: as many outputs as inputs. */
const MAX_OUTPUTS = 256;
/** Depositaries of a key or a request, over all of its quorums. */
const MAX_DEPOSITARIES = MAX_PEOPLE * 9;
const MAX_PAGE = 1000;
const MAX_ATTRIBUTE = 1024;
const MAX_RULES = 1000;
const MAX_PRINCIPALS = 10_000;
/** Sets of quorums that deposits have, and warnings about them: far more than there are. */
const MAX_QUORUM_SETS = 1_000_000;

const RECOVERY_STATUSES = [
  'pending',
  'approved',
  'active',
  'exhausted',
  'revoked',
  'released',
  'resealed',
  'denied',
  'vetoed',
  'cancelled',
  'expired',
  'failed',
] as const satisfies readonly LifeStatus[];
const GRANT_STATUSES = [
  'active',
  'exhausted',
  'expired',
  'revoked',
] as const satisfies readonly GrantStatus[];

const INABILITY_NAMES = Object.keys(INABILITIES) as readonly Inability[];

const DRILL_RESULT_NAMES = Object.keys(DRILL_RESULTS) as readonly DrillResult[];

const count = z.int().min(0);

/** Every reply, as this reading takes it. */
function repliesBy(reading: Reading) {
  const { object, list, text, oneOf, only, binary, instant, newer } = reading;
  const { principal, quorums, period, hex256, id } = reading;
  const use = oneOf(KEY_USES);
  const operation = oneOf(OPERATIONS);
  const spec = oneOf(KEY_SPEC_NAMES);
  const mechanism = oneOf(MECHANISM_NAMES);
  const purpose = oneOf(PURPOSES);
  const input = oneOf(INPUTS);
  const grantStatus = oneOf(GRANT_STATUSES);
  /** `RSA-OAEP` (SHA-1) or `RSA-OAEP-256`. */
  const oaep: z.ZodType<string> = oneOf(['RSA-OAEP', 'RSA-OAEP-256']);
  const pem = text(4096);
  /** Not given: replies come at once, with the approvals. */
  const replies = z.exactOptional(only('afterDelay'));

  /** True of a key that was imported; absent: it was born in the token. */
  const bornOutside = z.exactOptional(z.boolean());
  /** Of a secret: which it is, by HMAC-SHA-256 under the frame that it is in. Absent for keys. */
  const checkValue = z.exactOptional(binary);

  const release = object({
    /** RSA-OAEP of the AES-256 key X. */
    transferKey: binary,
    /** AES key wrap with padding (RFC 5649) under X: PKCS#8 DER, the raw AES key, or the frame of a secret. */
    wrappedKey: binary,
    oaep,
  });

  const rate = object({ uses: count, per: period });

  const scope = object({
    app: principal,
    operations: list(operation, 2),
    mechanisms: list(mechanism, 16),
    input,
    maxUses: count,
    rate: z.exactOptional(rate),
    /** Counted from activation. */
    duration: period,
    notBefore: z.exactOptional(instant),
    notAfter: z.exactOptional(instant),
  });

  /** To whose key each share was encrypted: SHA-256 (hex) of its DER SubjectPublicKeyInfo. */
  const recipients = list(object({ depositary: principal, fingerprint: hex256 }), MAX_DEPOSITARIES);

  const unable = list(object({ depositary: principal, because: oneOf(INABILITY_NAMES) }), MAX_DEPOSITARIES);

  /** Who can bring a key back for one purpose, as things are. */
  const purposeCoverage = object({
    purpose,
    /** Those of its quorums of which everybody can agree. */
    live: quorums,
    /** Who is in each of those. */
    singlePoints: list(principal, MAX_DEPOSITARIES),
    /** Who cannot agree any more, and why. */
    unable,
    /**
     * What can become of the key where its key-encryption key is concerned: there is no newer one; it goes under the newest when it is
     * sealed anew; it cannot; or the token does not hold it, and nobody brings the key back. Absent while the token is out.
     */
    kekState: z.exactOptional(oneOf(KEK_STATES)),
  });

  /** A key that a policy would leave covered worse. */
  const losingKey = object({
    key: id('key'),
    owner: principal,
    label: text(200),
    /** For each purpose that is worse: how it is covered, and how then. */
    purposes: list(
      object({ before: oneOf(COVERAGES), after: oneOf(COVERAGES), ...purposeCoverage.shape }),
      2,
    ),
  });

  const losses = object({
    /** Keys that it would leave without a live quorum for a purpose, which have one: the number to accept. */
    lost: count,
    /** Those that it would leave with a single one, or with somebody who is in all that are left, where that was not so. */
    oneQuorum: count,
    singlePoint: count,
    /** Whether the token said who is enrolled; else that is not counted. */
    isTokenAsked: z.boolean(),
    /** Each of them, newest first. A key that is being made is counted, and has no record yet. */
    keys: list(losingKey, 200),
    next: z.exactOptional(text(256)),
  });

  const coveredKey = object({
    key: id('key'),
    owner: principal,
    /** Of the owner, where the directory says it now. */
    department: z.exactOptional(text(MAX_ATTRIBUTE)),
    label: text(200),
    spec,
    use,
    /** The name of the rule that it was made by. */
    rule: text(64),
    createdAt: instant,
    /** Which deposit of it is the newest, from 1; more, of one that was sealed anew. */
    generation: count,
    /** When it last signed, decrypted or was handed out; absent: never. */
    lastUsedAt: z.exactOptional(instant),
    /** False: what the database has is not what was made with the key, and opens nothing: it is lost. */
    isAsLogged: z.boolean(),
    /** For the purpose for which it is covered worst. */
    coverage: oneOf(COVERAGES),
    purposes: list(
      object({
        coverage: oneOf(COVERAGES),
        quorums: count,
        /** The key-encryption key that it is under. */
        kek: text(64),
        ...purposeCoverage.shape,
        /** The live quorums of which every share opened when it was drilled last. */
        drilled: newer(quorums),
        /** The last drill of each share of this deposit that was drilled. */
        drills: newer(
          list(
            object({ depositary: principal, at: instant, isOpened: z.boolean(), isProven: z.boolean() }),
            MAX_DEPOSITARIES,
          ),
        ),
      }),
      2,
    ),
  });

  const coverage = object({
    /** By which directory. */
    policyVersion: count,
    /** Whether the token said who is enrolled; else that is not counted. */
    isTokenAsked: z.boolean(),
    purposes: list(purposeCoverage, 2),
  });

  /** RFC 7517; `kid` is its RFC 7638 thumbprint. */
  const jwk = object({
    ...{ kty: text(8), kid: text(64), use: oneOf(['sig', 'enc']) },
    ...{ crv: z.exactOptional(text(16)), x: z.exactOptional(binary), y: z.exactOptional(binary) },
    ...{ n: z.exactOptional(binary), e: z.exactOptional(binary) },
  });

  /** The public half of a key; none of a symmetric one. `der` is its SubjectPublicKeyInfo. */
  const publicKey = object({
    ...{ key: id('key'), label: text(200), spec, use },
    half: z.exactOptional(object({ jwk, pem, der: binary })),
  });

  const key = object({
    key: id('key'),
    owner: principal,
    label: text(200),
    spec,
    use,
    /** SubjectPublicKeyInfo PEM (RFC 7468); absent for symmetric keys. */
    publicKeyPem: z.exactOptional(pem),
    checkValue,
    bornOutside,
    createdAt: instant,
    /** Which deposit of it this is, from 1; more, of one that was sealed anew. */
    generation: newer(count),
    rule: object({ name: text(64), policyVersion: count, policyHash: hex256 }),
    purposes: list(object({ purpose, quorums, recipients }), 2),
    terms: object({
      operate: z.exactOptional(
        object({
          operations: list(operation, 2),
          maxUses: count,
          maxDuration: period,
          rate: z.exactOptional(rate),
          mechanisms: z.exactOptional(list(mechanism, 16)),
          input,
          delay: period,
          ownerMayVeto: z.boolean(),
          replies,
        }),
      ),
      release: z.exactOptional(object({ delay: period, ownerMayVeto: z.boolean(), replies })),
      /** How requests for the key are decided. */
      requests: object({
        maxValidFor: period,
        approvalsHold: period,
        denialsToEnd: z.exactOptional(count),
        distinct: list(oneOf(DISTINCTIONS), DISTINCTIONS.length),
      }),
    }),
    digest: hex256,
    coverage: newer(coverage),
    /** Only to the owner, when a copy was ordered: to the delivery key. */
    ownersCopy: z.exactOptional(release),
  });

  const provenEntry = object({
    index: count,
    /** The entry's exact canonical bytes, as text. */
    entry: text(MAX_TEXT),
    proof: list(binary, 64),
  });
  const proof = provenEntry.extend({
    /** C2SP signed note. */
    checkpoint: text(MAX_TEXT),
  });

  const deposit = object({
    /** 1: the link is bound to key, purpose and depositary alone; 2: to all that is said here as well. */
    version: reading.version([1, 2]),
    /** version 2: counts the deposits of the key, from 1. */
    generation: z.exactOptional(count),
    requesters: list<string>(oneOf(['depositary', 'admin', 'app']), 3),
    delay: period,
    ownerMayVeto: z.boolean(),
    replies,
    recipients,
  });

  /** What keys are to be sealed anew by. */
  const resealing = object({
    /** Which requests belong together. */
    job: id('job'),
    policyVersion: count,
    policyHash: hex256,
    /** The rule that gives the people. */
    rule: text(64),
    /** Who can bring each of the keys back from then on. */
    quorums,
    recipients,
    /** Which generation of the deposit of each key is replaced. */
    from: list(object({ key: id('key'), generation: count }), MAX_RECOVERY_KEYS),
    /** The key-encryption keys that the keys lie under; they stay under those that are not rotated. */
    keks: list(text(64), 2 * MAX_RECOVERY_KEYS),
    /** Which of them are rotated: the keys are put under `to`. Absent: none. */
    rotations: z.exactOptional(list(object({ from: text(64), to: text(64) }), 2 * MAX_RECOVERY_KEYS)),
    /** Those that there is a newer one of, and that cannot be rotated. Absent: none. */
    unrotated: z.exactOptional(list(text(64), 2 * MAX_RECOVERY_KEYS)),
  });

  const share = object({
    key: id('key'),
    /** Of a request to seal keys anew, for which of its purposes the share is. */
    purpose: z.exactOptional(purpose),
    share: binary,
    /** How share was, and reply is to be, encrypted. */
    oaep,
    /** AES-256-GCM under the recovery secret, which the client opens before it sends anything. */
    link: newer(binary),
    deposit: newer(deposit),
    /**
     * The log entry that recorded the birth of the key, and its proof under the checkpoint of `logged`. Absent for a key that was
     * sealed anew since: the entry that recorded that is in `resealed`.
     */
    birth: newer(provenEntry),
  });

  const signedIntent = object({
    depositary: principal,
    /** Compact JWS, typ `escrowd-intent+jwt`, and the public JWK that signed it. */
    statement: text(16_384),
    key: z.record(text(16), text(2048)),
  });

  const forDepositary = object({
    /** Of each key of the request that they are a depositary of, in ascending order. */
    shares: list(share, 2 * MAX_RECOVERY_KEYS),
    /** Each entry by which some of the keys were sealed anew last, and its proof under the checkpoint of `logged`. */
    resealed: z.exactOptional(list(provenEntry, MAX_RECOVERY_KEYS)),
    /** DER SubjectPublicKeyInfo of the one-time key. */
    transportKey: binary,
    requestHash: hex256,
    /** Which version of what is hashed; 3 when it is not given. */
    requestVersion: newer(reading.version(REQUEST_VERSIONS)),
    /** Compact JWS, typ `escrowd-attestation+jwt`, ES256 by the identity key. */
    attestation: text(16_384),
    /** The log entry that recorded the filing, and its proof. */
    logged: proof,
    /** Where replies are taken after the delay: the intents that count. */
    intents: z.exactOptional(list(signedIntent, MAX_DEPOSITARIES)),
  });

  const recoveryKey = object({
    key: id('key'),
    label: text(200),
    spec,
    use,
    publicKeyPem: z.exactOptional(pem),
    checkValue,
    bornOutside,
    /** Who suffices for this key; the request is approved when one quorum of each of its keys has agreed. */
    quorums,
    /** While the request is open: how many of them could still agree, as the directory lists people. With 0 nobody can approve it. */
    quorumsLeft: z.exactOptional(count),
    /** While it is open: who of them cannot agree any more, by the directory, and why. */
    unable: z.exactOptional(unable),
    /** What came of it, to be used by the app. */
    grant: z.exactOptional(object({ grant: id('grant'), status: grantStatus })),
  });

  const releasedKeys = object({
    /** Each in CKM_RSA_AES_KEY_WRAP format, in ascending order. */
    keys: list(object({ key: id('key'), ...release.shape }), MAX_RECOVERY_KEYS),
  });

  const recovery = object({
    recovery: id('rec'),
    owner: principal,
    /** In ascending order. */
    keys: list(recoveryKey, MAX_RECOVERY_KEYS),
    requester: principal,
    reason: text(1000),
    purpose: oneOf(ASKED_PURPOSES),
    scope: z.exactOptional(scope),
    recipient: z.exactOptional(principal),
    /** Of a request to seal keys anew. */
    reseal: z.exactOptional(resealing),
    filedAt: instant,
    /** Until when it can be approved. */
    expiresAt: instant,
    /** How long one approval counts, at most. */
    approvalsHold: period,
    /** SHA-256 (hex) of what is asked, as the server says; servers of before say it to depositaries only. */
    requestHash: z.exactOptional(hex256),
    /**
     * The request in words; a depositary's client makes its own of what is attested. 64 keys, each with a label in which
     * every character may be written out.
     */
    summary: text(256 * 1024),
    /**
     * An active request is what its grants are: `active` as long as one of them is, and then `revoked` or `expired` when
     * one of them is, else `exhausted`.
     */
    status: oneOf(RECOVERY_STATUSES),
    /** Where the rule of a key takes replies after the delay: depositaries send an intent first, and the approval from `repliesFrom` on. */
    replies,
    /** `replies` given: whose intent counts, or counted when the request ended. */
    intendedBy: z.exactOptional(list(principal, MAX_DEPOSITARIES)),
    /**
     * `replies` given: from when approvals are taken, once enough intend to approve. To a depositary whose intent counts,
     * theirs; to everybody else, those of the first whose are.
     */
    repliesFrom: z.exactOptional(instant),
    /** Whose approval counts, or counted when the request ended. */
    approvedBy: list(principal, MAX_DEPOSITARIES),
    deniedBy: list(object({ depositary: principal, reason: text(1000) }), MAX_DEPOSITARIES),
    /** Whether the rules let the owner veto it, which is while it is open. Absent in answers of servers from before. */
    ownerMayVeto: z.exactOptional(z.boolean()),
    /** Why it ended, and who ended it, where somebody did. */
    ended: z.exactOptional(
      object({ by: z.exactOptional(principal), reason: z.exactOptional(text(1000)), at: instant }),
    ),
    /** status approved: when the delay that the rules impose is over. */
    releasableAt: z.exactOptional(instant),
    /** status approved: when the first approval of the quorums expires. */
    holdsUntil: z.exactOptional(instant),
    /** Only to the recipient of a release, until they confirm that they have it, or for a day. */
    release: z.exactOptional(releasedKeys),
    /** Only to a depositary of one of the keys: all that is needed to decide. */
    forDepositary: z.exactOptional(forDepositary),
  });

  const grant = object({
    grant: id('grant'),
    recovery: id('rec'),
    key: id('key'),
    owner: principal,
    spec,
    scope,
    used: count,
    startsAt: instant,
    expiresAt: instant,
    status: grantStatus,
  });

  const server = object({
    origin: text(128),
    /** Public JWK of the token's identity key, which signs attestations. */
    identityKey: z.record(text(16), text(1024)),
    /** C2SP verifier key of the log. */
    logKey: text(256),
    token: object({
      profile: text(64),
      keySpecs: reading.known(KEY_SPEC_NAMES, 16),
      mechanisms: reading.known(MECHANISM_NAMES, 32),
      oaep,
    }),
  });

  const sentence = text(1024);
  const sentences = list(sentence, MAX_RULES);

  const choice = object({
    /** The rules in order, up to the one that holds, with why those before it do not. */
    considered: list(object({ rule: text(64), because: sentences }), MAX_RULES),
    /** Absent when no rule matches. */
    rule: z.exactOptional(text(64)),
    quorums,
    candidates: list(
      object({
        id: principal,
        name: text(200),
        /** RFC 7638 thumbprints. */
        keys: list(text(64), 8),
        /** SHA-256 (hex) of the SubjectPublicKeyInfo. */
        depositaryKey: z.exactOptional(hex256),
        problems: sentences,
      }),
      MAX_DEPOSITARIES,
    ),
    missing: sentences,
    /** The code that generating such a key would be refused with. */
    error: z.exactOptional(text(64)),
  });

  const standing = object({
    version: count,
    hash: hex256,
    /** So many administrators must sign the next policy. */
    signersNeeded: count,
    enrolled: list(object({ id: principal, fingerprint: hex256 }), MAX_PRINCIPALS),
    deposits: list(
      object({ purpose, quorums, recipients: newer(recipients), deposits: count }),
      MAX_QUORUM_SETS,
    ),
  });

  const sink = text(64);
  const notice = id('ntc');
  const outputs = list(binary, MAX_OUTPUTS);
  /** By which grant, and how many uses it has left. */
  const used = { grant: newer(id('grant')), remaining: count };
  const logEntry = object({
    index: count,
    /** Its exact canonical bytes, as text. */
    entry: text(MAX_TEXT),
  });
  const next = z.exactOptional(text(256));

  const givenUp = object({
    notice,
    sink,
    /** Index of the entry that it is about. */
    entry: count,
    to: principal,
    kind: oneOf(NOTICE_KINDS),
    fault: text(256),
    givenUpAt: instant,
  });
  const appliedPolicy = object({
    version: count,
    hash: hex256,
    appliedAt: z.exactOptional(instant),
    signers: list(principal, 8),
  });
  const page = <T>(item: z.ZodType<T>): z.ZodType<PageReply<T>> => object({ items: list(item, 200), next });

  /** A share of the caller, with all that is needed to drill it. */
  const drillShare = object({
    key: id('key'),
    owner: principal,
    label: text(200),
    spec,
    use,
    publicKeyPem: z.exactOptional(pem),
    checkValue,
    bornOutside,
    purpose,
    quorums,
    share: binary,
    oaep,
    link: binary,
    deposit,
    /** Index of the entry that recorded the newest deposit of the key. */
    recordedAt: count,
    /** So many hashes of its chain stand in the log. */
    shown: count,
    /** What came of it last, and whether a hash of the chain proved that. */
    last: z.exactOptional(object({ at: instant, isOpened: z.boolean(), isProven: z.boolean() })),
    /** Whether it was not drilled for too long, never, or without success. */
    isDue: z.boolean(),
  });

  /** The replies, by what they are about. */
  return {
    server,
    key,
    keyPage: page(key),
    importKey: object({
      import: id('imp'),
      /** DER SubjectPublicKeyInfo, RSA-3072. */
      publicKey: binary,
      /** How the AES key is encrypted to it. */
      oaep,
      expiresAt: instant,
      /** Compact JWS, typ `escrowd-import+jwt`, ES256 by the identity key: what the key is, and for whom. */
      attestation: text(16_384),
    }),
    recovery,
    recoveryPage: page(recovery),
    recoveryKey,
    grant,
    grantPage: page(grant),
    grants: object({ grants: list(grant, MAX_RECOVERY_KEYS) }),
    coveredKey,
    coveragePage: object({
      items: list(coveredKey, 200),
      next,
      /** By which directory. */
      policyVersion: count,
      policyHash: hex256,
      /** Whether the token said who is enrolled; else that is not counted. */
      isTokenAsked: z.boolean(),
      /** To those who see all: how many keys there are by the log, and how they are covered. */
      totals: z.exactOptional(
        object({ keys: count, lost: count, oneQuorum: count, singlePoint: count, covered: count }),
      ),
    }),
    drillShare,
    drillPage: object({
      items: list(drillShare, 2 * MAX_DRILL_PAGE),
      next,
      /** The entries that recorded these deposits, each with its proof under the checkpoint. */
      entries: list(provenEntry, MAX_DRILL_PAGE),
      checkpoint: z.exactOptional(text(MAX_TEXT)),
      /** On the first page, and of a key that is named: of how many keys the caller has shares by the log, and of how many one is due. */
      held: z.exactOptional(object({ keys: count, due: count })),
    }),
    /** What came of each share, in the order in which they were drilled. */
    drilled: object({
      results: list(
        object({ key: id('key'), purpose, generation: count, result: oneOf(DRILL_RESULT_NAMES) }),
        MAX_DRILLED,
      ),
    }),
    policy: object({ version: count, hash: hex256, document: z.exactOptional(reading.document) }),
    choice,
    standing,
    policyPlan: object({
      /** Of the document. */
      hash: hex256,
      /** The version in force and its hash: what the document would replace. */
      base: count,
      replaces: hex256,
      /** So many administrators must sign it. */
      signersNeeded: count,
      losses: newer(losses),
    }),
    publicKey,
    /** By this version of the policy; servers of before do not say so. */
    warnings: object({ warnings: list(sentence, MAX_QUORUM_SETS), policyVersion: newer(count) }),
    appliedPolicy,
    appliedPolicyPage: page(appliedPolicy),
    release,
    releasedKeys,
    /** In the order of the inputs, in JOSE form. */
    signatures: object({ signatures: outputs, ...used }),
    /** In the order of the inputs. */
    plaintexts: object({ plaintexts: outputs, ...used }),
    givenUp,
    givenUpPage: page(givenUp),
    redelivery: object({ sink, notices: list(notice, MAX_REDELIVERED) }),
    acknowledgement: object({ role: text(64), text: hex256, policyVersion: count }),
    checkpoint: text(MAX_TEXT),
    consistency: object({ proof: list(reading.base64, 64) }),
    logEntry,
    history: object({
      items: list(logEntry.extend({ proof: list(binary, 64) }), 200),
      next,
      /** Absent only while the log is empty. */
      checkpoint: z.exactOptional(text(MAX_TEXT)),
    }),
    historyStatement: object({ statement: text(8192), checkpoint: text(MAX_TEXT) }),
    entries: object({ items: list(logEntry, MAX_PAGE) }),
    documents: object({
      items: list(object({ version: count, hash: hex256, document: reading.document }), MAX_DOCUMENTS),
      next,
    }),
    /** 256 entries and their lengths are the most that comes. */
    bytes: text(256 * (MAX_TEXT + 1)).meta({ format: 'binary' }),
    rate,
    scope,
    deposit,
    purposeCoverage,
    coverage,
    losingKey,
    resealing,
    share,
    signedIntent,
    provenEntry,
    proof,
    forDepositary,
    /** The reply to a call that changes something. */
    acted: <T>(result: z.ZodType<T>): z.ZodType<Acted<T>> => object({ result, entry: count }),
    /** The reply to a call that takes something away. */
    proven: <T>(result: z.ZodType<T>): z.ZodType<Acted<T>> =>
      object({ result, entry: count, proof: z.exactOptional(proof) }),
  };
}

/** The replies as the server promises them. */
export const REPLIES = repliesBy(strictly);
/** The replies as clients read them: of servers of other versions as well. */
export const TOLERANT_REPLIES = repliesBy(tolerantly);

/** RFC 9457 problem details: what is refused is answered with. */
export const PROBLEM = z.strictObject({
  type: z
    .string()
    .max(128)
    .regex(/^urn:escrowd:problem:[a-z0-9-]+$/),
  title: z.string().max(256),
  status: z.int().min(400).max(599),
  detail: z.string().max(1024),
  /** `urn:uuid:` (RFC 9562) and the request id, by which the operator's log knows this request. */
  instance: z
    .string()
    .max(45)
    .regex(/^urn:uuid:[0-9a-f-]{36}$/),
});
/** That the daemon lives. */
export const HEALTH = z.strictObject({ status: z.enum(['ok']) });
/** Whether the daemon can work. */
export const READINESS = z.strictObject({ status: z.enum(['ready', 'not ready']) });

/*
 * The types, as the tolerant reading gives them: what the server answers is narrower.
 */

/** A reply to a call that changes something. */
export interface Acted<T> {
  readonly result: T;
  /** Index in the log of the entry that recorded the outcome. */
  readonly entry: number;
  /** Only of an act that takes something away: that entry, with its proof. Without one whoever asked is to take it that it was not done. */
  readonly proof?: ProofReply;
}

/** A page of a list, newest first unless its route says otherwise. */
export interface PageReply<T> {
  readonly items: readonly T[];
  /** Cursor of the next page (query parameter `after`); absent on the last. */
  readonly next?: string;
}

/** Every reply by its name, read in one way or the other. */
export type Replies = ReturnType<typeof repliesBy>;
export type ReplyName = { [N in keyof Replies]: Replies[N] extends z.ZodType ? N : never }[keyof Replies];
/** What a reply of this name says. */
export type Answer<N extends ReplyName> = z.output<Replies[N]>;
type Reply<N extends ReplyName> = Unchanging<Answer<N>>;

export function replyOf<N extends ReplyName>(replies: Replies, name: N): z.ZodType<Answer<N>> {
  const schemas: { readonly [M in ReplyName]: z.ZodType<Answer<M>> } = replies;
  return schemas[name];
}

/** The problem details of an answer; `type` is `urn:escrowd:problem:<code>`. */
export type Problem = Readonly<z.output<typeof PROBLEM>>;
/** What a server says it is. Public; clients pin these from the ceremony's record instead. */
export type ServerReply = Reply<'server'>;
/** A deposited key, as anyone who may see it sees it. */
export type KeyReply = Reply<'key'>;
/** A one-time key to import one private key under. */
export type ImportKeyReply = Reply<'importKey'>;
/** At most so many uses in any stretch of time of this length. */
/** Who can bring a key back for one purpose, as things are. */
export type PurposeCoverageReply = Reply<'purposeCoverage'>;
export type RateReply = Reply<'rate'>;
/** What an app may do. */
export type ScopeReply = Reply<'scope'>;
/** One key that a request is for. */
export type RecoveryKeyReply = Reply<'recoveryKey'>;
/** Whom keys are to be sealed to anew. */
export type ResealReply = Reply<'resealing'>;
/** A recovery request, as those who have a part in it see it. */
export type RecoveryReply = Reply<'recovery'>;
/** A depositary's share of one key, and what it was made by. Servers of before show the first three members only. */
export type ShareReply = Reply<'share'>;
/** How a key was deposited for the purpose that is asked for; with what stands in {@link RecoveryKeyReply} the link is bound to it. */
export type DepositReply = Reply<'deposit'>;
/** A share of the caller, as it is shown to be drilled. */
export type DrillShareReply = Reply<'drillShare'>;
/** A page of them. */
export type DrillPageReply = Reply<'drillPage'>;
/** What came of a drill. */
export type DrilledReply = Reply<'drilled'>;
/** An entry of the log with its inclusion proof. */
export type ProvenEntryReply = Reply<'provenEntry'>;
/** What a depositary checks and uses. */
export type ForDepositaryReply = Reply<'forDepositary'>;
/** An intent as other depositaries are shown it. */
export type SignedIntentReply = Reply<'signedIntent'>;
/** An entry with its inclusion proof (RFC 6962) in the newest checkpoint. */
export type ProofReply = Reply<'proof'>;
/** A key in CKM_RSA_AES_KEY_WRAP format (PKCS#11 2.40 section 2.1.21), in its two parts. */
export type ReleaseReply = Reply<'release'>;
export type ReleasedKeysReply = Reply<'releasedKeys'>;
/** A grant for each key of a request, in their order. */
export type GrantsReply = Reply<'grants'>;
/** A grant: for one key. */
export type GrantReply = Reply<'grant'>;
/** Signatures, and how many uses remain. */
export type SignaturesReply = Reply<'signatures'>;
/** Plaintexts, and how many uses remain. */
export type PlaintextsReply = Reply<'plaintexts'>;
export type PolicyReply = Reply<'policy'>;
/** Who would be chosen, and why; see `Explanation` in src/escrow/rules/explain.ts. */
export type ChoiceReply = Reply<'choice'>;
/** The public half of a key. */
export type PublicKeyReply = Reply<'publicKey'>;
/** What administrators would sign, once the document may follow the policy in force. */
export type PolicyPlanReply = Reply<'policyPlan'>;
/** What a new policy is weighed against. */
/** A key that a policy would leave covered worse. */
export type LosingKeyReply = Reply<'losingKey'>;
/** A key, and who can bring it back. */
export type CoveredKeyReply = Reply<'coveredKey'>;
export type CoveragePageReply = Reply<'coveragePage'>;
export type StandingReply = Reply<'standing'>;
/** To administrators and auditors all warnings; to others those about themselves. */
export type WarningsReply = Reply<'warnings'>;
/** A policy that was in force. */
export type AppliedPolicyReply = Reply<'appliedPolicy'>;
/** Directory documents that were in force, for an export: a page. */
export type DocumentsReply = Reply<'documents'>;
/** A notice that a sink did not take. */
export type GivenUpNoticeReply = Reply<'givenUp'>;
/** Notices of a sink that it is told again. */
export type RedeliveryReply = Reply<'redelivery'>;
/** What a depositary has acknowledged: a text, by its SHA-256, in a role, under a version of the policy. */
export type AcknowledgementReply = Reply<'acknowledgement'>;
export type EntryReply = Reply<'logEntry'>;
/** A page of a history, newest first: each entry with its proof in the tree of `checkpoint`, a signed note. */
export type HistoryReply = Reply<'history'>;
/** That a history up to this checkpoint (a signed note) is complete: a compact JWS by the identity key. */
export type HistoryStatementReply = Reply<'historyStatement'>;
