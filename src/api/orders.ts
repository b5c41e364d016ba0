import { z } from 'zod';

import { MAX_REDELIVERED } from '../escrow/acts/redeliverNotices.js';
import { MAX_POLICY_SIGNATURES } from '../escrow/rules/policySignatures.js';
import {
  GENERATED_SPECS,
  IMPORTABLE_SPECS,
  OPERATIONS,
  CHECK_VALUE_BYTES,
} from '../escrow/records/keySpecs.js';
import { PURPOSES } from '../escrow/records/policy.js';
import { INPUTS } from '../escrow/records/scope.js';
import {
  type DrillFinding,
  DRILL_FINDINGS,
  MAX_DRILLED,
  MAX_DRILL_PAGE,
} from '../escrow/records/drills/drilling.js';
import { MAX_RECOVERY_KEYS } from '../escrow/records/recovery.js';
import { maximumWitnesses } from '../log/note/cosignature.js';
import {
  distinct,
  duration,
  keySpec,
  keyUse,
  mechanism,
  operation,
  parsed,
  principalId,
  newWords,
  rate,
} from '../policy/fields.js';
import {
  binary,
  compactJws,
  decimal,
  grantId,
  importId,
  instant,
  jobId,
  keyId,
  recoveryId,
} from './fields.js';
import type { Unchanging } from './unchanging.js';

/*
 * What requests say, as zod objects: every object is closed, every length bounded, and what comes out is what the use cases
 * take. What clients send is what goes in. Binary is base64url without padding; durations are ISO 8601 (`PT1H`, `P7D`).
 */

type Sent<S extends z.ZodType> = Unchanging<z.input<S>>;

/** Where a page begins: what the one before it said. */
const cursor = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[\x21-\x7e]+$/)
  .optional();

const DAY_MS = 24 * 60 * 60 * 1000;
/** At most so many inputs in one call; the size of a body bounds them further. */
const MAX_BATCH = 256;
/** A message or ciphertext, in bytes; in base64url one of them has room in a body of the usual limit. */
export const MAX_INPUT_BYTES = 256 * 1024;

/** POST /v1/keys */
export const keyOrder = z.strictObject({
  owner: principalId,
  spec: z.enum(GENERATED_SPECS),
  use: z.enum(OPERATIONS),
  label: newWords({ min: 0, max: 200 }).default(''),
  deliver: z.boolean().default(false),
});
export type KeyOrder = Sent<typeof keyOrder>;

/** POST /v1/imports */
export const importKeyOrder = z.strictObject({
  /** How long the import key can be used. */
  validFor: duration({ minMs: 60_000, maxMs: DAY_MS }),
});
/** A one-time key to import one private key under. */
export type ImportKeyOrder = Sent<typeof importKeyOrder>;

/** POST /v1/imports/{import}/key */
export const importOrder = z.strictObject({
  owner: principalId,
  spec: z.enum(IMPORTABLE_SPECS),
  use: z.enum(OPERATIONS),
  label: newWords({ min: 0, max: 200 }).default(''),
  deliver: z.boolean().default(false),
  /** DER SubjectPublicKeyInfo of the key. */
  publicKey: binary({ minBytes: 64, maxBytes: 1024 }),
  /** CKM_RSA_AES_KEY_WRAP: RSA-OAEP of an AES-256 key to the import key, then PKCS#8 under that (RFC 5649). */
  wrapped: binary({ minBytes: 384 + 24, maxBytes: 384 + 4096 }),
});
export type ImportOrder = Sent<typeof importOrder>;

/** POST /v1/imports/{import}/secret */
export const secretOrder = z.strictObject({
  owner: principalId,
  label: newWords({ min: 0, max: 200 }).default(''),
  deliver: z.boolean().default(false),
  /** HMAC-SHA-256 under the frame that the secret is in: docs/protocol.md, "Secrets". */
  checkValue: binary({ minBytes: CHECK_VALUE_BYTES, maxBytes: CHECK_VALUE_BYTES }),
  /** CKM_RSA_AES_KEY_WRAP: RSA-OAEP of an AES-256 key to the import key, then the frame under that (RFC 5649). */
  wrapped: binary({ minBytes: 384 + 128 + 8, maxBytes: 384 + 1088 + 8 }),
});
export type SecretOrder = Sent<typeof secretOrder>;

const scope = z
  .strictObject({
    app: principalId,
    operations: distinct(operation, 2),
    mechanisms: distinct(mechanism, 16),
    input: z.enum(INPUTS),
    maxUses: z.int().min(1).max(1_000_000_000),
    rate: rate.optional(),
    duration: duration({ minMs: 1000, maxMs: 3660 * DAY_MS }),
    notBefore: instant.optional(),
    notAfter: instant.optional(),
  })
  .transform(({ duration: durationMs, rate, notBefore, notAfter, ...rest }) => ({
    ...rest,
    rate,
    durationMs,
    notBefore: notBefore === undefined ? undefined : new Date(notBefore),
    notAfter: notAfter === undefined ? undefined : new Date(notAfter),
  }));

const recoveryCommon = {
  /** All of one owner, each once. What is asked is asked for each of them, and decided for all. */
  keys: distinct(keyId, MAX_RECOVERY_KEYS),
  reason: newWords({ min: 1, max: 1000 }),
  /** How long the request can be approved. */
  validFor: duration({ minMs: 1000, maxMs: 90 * DAY_MS }),
};

/** POST /v1/recoveries */
export const recoveryOrder = z.discriminatedUnion('purpose', [
  z.strictObject({ ...recoveryCommon, purpose: z.literal('operate'), scope }),
  z.strictObject({ ...recoveryCommon, purpose: z.literal('release'), recipient: principalId.optional() }),
  z.strictObject({
    ...recoveryCommon,
    purpose: z.literal('reseal'),
    /** Which requests belong together: as many as the keys take. */
    job: jobId,
    /** Who must not be among those whom the keys are sealed to. */
    leaving: principalId.optional(),
  }),
]);
/** A request to recover keys. `recipient` defaults to the requester; the rate of a scope to the rule's. */
export type RecoveryOrder = Sent<typeof recoveryOrder>;
/** What an app shall be allowed to do. */
export type ScopeOrder = Extract<RecoveryOrder, { readonly purpose: 'operate' }>['scope'];

/** POST /v1/recoveries/{recovery}/approvals */
export const approval = z.strictObject({
  /** typ `escrowd-approval+jwt`, signed by the caller. */
  statement: compactJws,
  /** OAEP(transport key, R) for each share, in their order. */
  replies: z
    .array(
      z.strictObject({
        key: keyId,
        /** Of a request to seal keys anew: one for each purpose of each key. */
        purpose: z.exactOptional(z.enum(PURPOSES)),
        reply: binary({ minBytes: 1, maxBytes: 1024 }),
      }),
    )
    .min(1)
    .max(PURPOSES.length * MAX_RECOVERY_KEYS),
});
export type ApprovalOrder = Sent<typeof approval>;

const hex256 = z
  .string()
  .max(64)
  .regex(/^[0-9a-f]{64}$/);

/** POST /v1/drills: statement typ `escrowd-drill+jwt`, signed by the caller, about these shares in this order. */
export const drillOrder = z.strictObject({
  statement: compactJws,
  /** In ascending order of keys and purposes; all of one owner. */
  drills: z
    .array(
      z.strictObject({
        key: keyId,
        purpose: z.enum(PURPOSES),
        generation: z.int().min(1).max(0xffff_ffff),
        /** SHA-256 of the share and of the link that were shown. */
        share: hex256,
        link: hex256,
        result: z.enum(Object.keys(DRILL_FINDINGS) as [DrillFinding, ...DrillFinding[]]),
        /** The next hash of the chain, base64url; null when nothing opened, or the deposit has no chain. */
        preimage: z
          .string()
          .max(43)
          .regex(/^[A-Za-z0-9_-]{43}$/)
          .nullable(),
      }),
    )
    .min(1)
    .max(MAX_DRILLED),
});
/** What came of opening shares. */
export type DrillOrder = Sent<typeof drillOrder>;

/** POST /v1/recoveries/{recovery}/intents: statement typ `escrowd-intent+jwt` signed by the caller, with decision `intend`. */
export const intent = z.strictObject({ statement: compactJws });
/** A depositary's intent to approve. */
export type IntentOrder = Sent<typeof intent>;

/** POST /v1/recoveries/{recovery}/denials: statement with decision `deny` and a reason. */
export const denial = z.strictObject({ statement: compactJws });
export type DenialOrder = Sent<typeof denial>;

/** POST /v1/recoveries/{recovery}/confirmation: statement typ `escrowd-confirmation+jwt` signed by the recipient. */
export const confirmation = z.strictObject({ statement: compactJws });
/** That released keys are written and open. */
export type ConfirmationOrder = Sent<typeof confirmation>;

/** POST /v1/recoveries/{recovery}/stop: each a compact JWS, typ `escrowd-stop+jwt`, by another administrator. */
export const stop = z.strictObject({
  statements: z.array(compactJws.max(5632)).min(1).max(MAX_POLICY_SIGNATURES),
});
/** Administrators' statements that a request is to end. */
export type StopOrder = Sent<typeof stop>;

/** POST .../veto, .../cancel, .../revoke */
export const reason = z.strictObject({ reason: newWords({ min: 1, max: 1000 }) });

/** POST .../activate, .../release */
export const nothing = z.strictObject({});

/** What a use is for, in the app's words, such as the number of an invoice. It stands in the log, for the owner to read. */
const context = z.exactOptional(newWords({ min: 1, max: 200 }));

/** POST /v1/grants/{grant}/sign: a batch of messages, or of digests where the grant allows them. */
export const signOrder = z.union([
  z.strictObject({
    mechanism,
    context,
    messages: z
      .array(binary({ minBytes: 0, maxBytes: MAX_INPUT_BYTES }))
      .min(1)
      .max(MAX_BATCH),
  }),
  z.strictObject({
    mechanism,
    context,
    digests: z
      .array(binary({ minBytes: 20, maxBytes: 64 }))
      .min(1)
      .max(MAX_BATCH),
  }),
]);
export type SignOrder = Sent<typeof signOrder>;

/** POST /v1/grants/{grant}/decrypt */
export const decryptOrder = z.strictObject({
  mechanism,
  context,
  ciphertexts: z
    .array(
      z.strictObject({
        ciphertext: binary({ minBytes: 1, maxBytes: MAX_INPUT_BYTES }),
        iv: z.exactOptional(binary({ minBytes: 12, maxBytes: 12 })),
        aad: z.exactOptional(binary({ minBytes: 0, maxBytes: MAX_INPUT_BYTES })),
      }),
    )
    .min(1)
    .max(MAX_BATCH),
});
export type DecryptOrder = Sent<typeof decryptOrder>;

/** A document, which is read by `parsePolicy`. */
const policyDraft = z.strictObject({
  document: z.record(
    z
      .string()
      .max(64)
      .regex(/^[$A-Za-z][A-Za-z0-9_-]*$/),
    z.json(),
  ),
});

/** POST /v1/policy/plan: the keys that are covered worse by it come in pages. */
export const policyPlanOrder = policyDraft.extend({
  after: cursor,
  limit: z.int().min(1).max(200).default(200),
});

/** POST /v1/policy: each signature a compact JWS, typ `escrowd-policy+jwt`. */
export const policyOrder = policyDraft.extend({
  signatures: z.array(compactJws.max(2048)).min(1).max(MAX_POLICY_SIGNATURES),
  /** How many keys it may leave without a live quorum that have one: exactly so many. */
  acceptUnrecoverable: z.int().min(0).max(1_000_000_000).default(0),
});
/** A policy that is to be put in force: the document as administrators have signed it. */
export type PolicyOrder = Omit<Sent<typeof policyOrder>, 'document'> & { readonly document: unknown };

/** POST /v1/policy/choice */
export const choiceOrder = z.strictObject({
  owner: principalId,
  spec: keySpec,
  use: keyUse,
  app: principalId.optional(),
});
/** A key that could be made. */
export type ChoiceOrder = Sent<typeof choiceOrder>;

/* what stands in paths and queries */

export const noParameters = z.strictObject({});
export const keyPath = z.strictObject({ key: keyId });
export const importPath = z.strictObject({ import: importId });
export const recoveryPath = z.strictObject({ recovery: recoveryId });
export const grantPath = z.strictObject({ grant: grantId });
/** A key by its id, or by its label where that has no other characters than a path may have here; it begins with no dot, for `.` and `..` are no names there (RFC 3986 section 5.2.4). */
export const namedKeyPath = z.strictObject({
  key: z
    .string()
    .max(200)
    .regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/),
});

/** Levels and tiles as C2SP tlog-tiles spells them: read where the tile is looked for. */
export const tilePath = z.strictObject({
  tile: z.string().max(256).meta({ pattern: '^(?:\\d+/)?(?:x\\d{3}/)*\\d{3}(?:\\.p/\\d{1,3})?$' }),
});

export const pageQuery = z
  .strictObject({
    after: cursor,
    limit: decimal({ min: 1, max: 200 }).default(50),
  })
  .transform(({ after, limit }) => ({ after, limit }));

/** GET /v1/recoveries: those of one job alone, where it is given. */
export const recoveriesQuery = z
  .strictObject({
    job: z.exactOptional(jobId),
    after: cursor,
    limit: decimal({ min: 1, max: 200 }).default(50),
  })
  .transform(({ job, after, limit }) => ({ job, page: { after, limit } }));

/** GET /v1/drills: the shares of one key alone, where it is given. */
export const drillsQuery = z
  .strictObject({
    key: z.exactOptional(keyId),
    after: cursor,
    limit: decimal({ min: 1, max: MAX_DRILL_PAGE }).default(20),
  })
  .transform(({ key, after, limit }) => ({ key, page: { after, limit } }));

/** So many policy documents go into one page: each may have some MiB. */
export const MAX_DOCUMENTS = 20;

/** GET /v1/log/policies */
export const policiesQuery = z
  .strictObject({
    after: cursor,
    limit: decimal({ min: 1, max: MAX_DOCUMENTS }).default(10),
  })
  .transform(({ after, limit }) => ({ after, limit }));

const historyMembers = {
  key: z.exactOptional(keyId),
  act: z.exactOptional(
    z
      .string()
      .max(64)
      .regex(/^[a-z]+\.[a-z-]+$/),
  ),
  since: z.exactOptional(instant),
  until: z.exactOptional(instant),
};

/** POST /v1/history/statement */
export const historyFilter = z.strictObject(historyMembers);
/** Which part of the caller's history. */
export type HistoryOrder = Sent<typeof historyFilter>;

/** GET /v1/history */
export const historyQuery = z
  .strictObject({
    ...historyMembers,
    upTo: decimal({ min: 1, max: Number.MAX_SAFE_INTEGER }).optional(),
    after: cursor,
    limit: decimal({ min: 1, max: 200 }).default(50),
  })
  .transform(({ after, limit, upTo, ...filter }) => ({ filter, upTo, page: { after, limit } }));

/** POST /v1/acknowledgements */
export const acknowledgement = z.strictObject({ statement: compactJws });

/** The name of a sink: `file`, `mail`, or that of a webhook. */
const sinkName = z
  .string()
  .max(64)
  .regex(/^[a-z0-9][a-z0-9:-]*$/);

/** GET /v1/notifications/given-up */
export const givenUpQuery = z
  .strictObject({
    sink: sinkName.optional(),
    after: cursor,
    limit: decimal({ min: 1, max: 200 }).default(50),
  })
  .transform(({ sink, after, limit }) => ({ sink, page: { after, limit } }));

/** POST /v1/notifications/redeliver */
export const redeliveryOrder = z.strictObject({
  sink: sinkName,
  notices: z
    .array(
      z
        .string()
        .max(36)
        .regex(/^ntc_[0-9a-f]{32}$/),
    )
    .min(1)
    .max(MAX_REDELIVERED)
    .refine((ids) => new Set(ids).size === ids.length, 'each notice stands once'),
});
/** Notices that a sink is to be told again. */
export type RedeliveryOrder = Sent<typeof redeliveryOrder>;

/** GET /v1/log/entries */
export const entriesQuery = z.strictObject({
  from: decimal({ min: 0, max: Number.MAX_SAFE_INTEGER }).default(0),
  limit: decimal({ min: 1, max: 1000 }).default(200),
});

/** GET /v1/log/consistency */
export const consistencyQuery = z.strictObject({
  old: decimal({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  new: decimal({ min: 0, max: Number.MAX_SAFE_INTEGER }),
});

/** GET /v1/checkpoint: how many witnesses must have cosigned it, and the key ids of those who count. */
export const checkpointQuery = z
  .strictObject({
    witnessed: decimal({ min: 1, max: maximumWitnesses }).optional(),
    by: parsed(9 * maximumWitnesses, 'key ids of witnesses, separated by commas', keyIdList)
      .meta({ pattern: '^[0-9a-f]{8}(,[0-9a-f]{8})*$' })
      .optional(),
  })
  .refine(({ witnessed, by }) => by === undefined || witnessed !== undefined, 'by stands with witnessed');

function keyIdList(text: string): readonly string[] | undefined {
  const ids = text.split(',');
  return ids.every((id) => /^[0-9a-f]{8}$/.test(id)) ? ids : undefined;
}
