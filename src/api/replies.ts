import { z } from 'zod';

import type { GrantStatus } from '../escrow/records/grant.js';
import { KEY_SPEC_NAMES } from '../escrow/records/keySpecs.js';
import { MECHANISM_NAMES } from '../escrow/records/mechanisms.js';
import { NOTICE_KINDS } from '../escrow/records/notice.js';
import { MAX_REDELIVERED } from '../escrow/acts/redeliverNotices.js';
import { DISTINCTIONS, PURPOSES } from '../escrow/records/policy.js';
import type { LifeStatus } from '../escrow/records/recovery.js';
import { MAX_RECOVERY_KEYS, REQUEST_VERSIONS } from '../escrow/records/recovery.js';
import type {
  Acted,
  Problem,
  WireAppliedPolicy,
  WireChoice,
  WireDeposit,
  WireEntry,
  WireForDepositary,
  WireGivenUpNotice,
  WireGrant,
  WireGrants,
  WireHistory,
  WireHistoryStatement,
  WireKey,
  WirePage,
  WirePlaintexts,
  WirePolicy,
  WirePolicyPlan,
  WireProof,
  WireRate,
  WireRecovery,
  WireRecoveryKey,
  WireRedelivery,
  WireRelease,
  WireReleasedKeys,
  WireScope,
  WireServer,
  WireShare,
  WireSignatures,
  WireSignedIntent,
  WireStanding,
  WireWarnings,
} from './wire.js';
import { MAX_DOCUMENTS } from './orders.js';

/*
 * The replies of src/api/wire.ts, as zod objects: what openapi.json promises, and what tests hold every answer
 * against. Every object is closed and every length bounded; a bound says what can come, not what is cut off.
 */
const MAX_TEXT = 64 * 1024;
/** More than the largest body asks for: as many outputs as inputs. */
const MAX_OUTPUTS = 256;
const MAX_OUTPUT_CHARACTERS = 512 * 1024;
const MAX_PEOPLE = 64;
const MAX_PAGE = 1000;
const MAX_RULES = 1000;
const MAX_PRINCIPALS = 10_000;
/** Sets of quorums that deposits have, and warnings about them: far more than there are. */
const MAX_QUORUM_SETS = 1_000_000;

const count = z.int().min(0);
const instant = z
  .string()
  .max(24)
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/)
  .meta({ format: 'date-time' });
const period = z
  .string()
  .max(32)
  .regex(/^P[0-9DTHMSW]+$/);
const principal = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/)
  .max(64);
const idOf = (prefix: string): z.ZodString =>
  z
    .string()
    .max(prefix.length + 33)
    .regex(new RegExp(`^${prefix}_[0-9a-f]{32}$`));
const hex256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .max(64);
const binary = z
  .string()
  .max(MAX_OUTPUT_CHARACTERS)
  .regex(/^[A-Za-z0-9_-]*$/);
const base64 = z
  .string()
  .max(64)
  .regex(/^[A-Za-z0-9+/=]*$/);
const text = (max: number): z.ZodString => z.string().max(max);
const use = z.enum(['sign', 'decrypt']);
const spec = z.enum(KEY_SPEC_NAMES);
const mechanism = z.enum(MECHANISM_NAMES);
const purpose = z.enum(PURPOSES);
const oaep = z.enum(['RSA-OAEP', 'RSA-OAEP-256']);
const pem = text(4096);
const quorums = z.array(z.array(principal).max(MAX_PEOPLE)).max(MAX_PEOPLE).readonly();
const entry = count;

const replies = z.exactOptional(z.literal('afterDelay').meta({ type: 'string', enum: ['afterDelay'] }));

const RECOVERY_STATUSES = [
  'pending',
  'approved',
  'active',
  'exhausted',
  'revoked',
  'released',
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

const release = z.strictObject({
  transferKey: binary,
  wrappedKey: binary,
  oaep,
}) satisfies z.ZodType<WireRelease>;

const rate = z.strictObject({ uses: count, per: period }) satisfies z.ZodType<WireRate>;

const scope = z.strictObject({
  app: principal,
  operations: z.array(use).max(2).readonly(),
  mechanisms: z.array(mechanism).max(16).readonly(),
  input: z.enum(['message', 'digest']),
  maxUses: count,
  rate: z.exactOptional(rate),
  duration: period,
  notBefore: z.exactOptional(instant),
  notAfter: z.exactOptional(instant),
}) satisfies z.ZodType<WireScope>;

const recipients = z
  .array(z.strictObject({ depositary: principal, fingerprint: hex256 }))
  .max(MAX_PEOPLE * 9)
  .readonly();

const key = z.strictObject({
  key: idOf('key'),
  owner: principal,
  label: text(200),
  spec,
  use,
  publicKeyPem: z.exactOptional(pem),
  createdAt: instant,
  rule: z.strictObject({ name: text(64), policyVersion: count, policyHash: hex256 }),
  purposes: z
    .array(
      z.strictObject({
        purpose,
        quorums,
        recipients,
      }),
    )
    .max(2)
    .readonly(),
  terms: z.strictObject({
    operate: z.exactOptional(
      z.strictObject({
        operations: z.array(use).max(2).readonly(),
        maxUses: count,
        maxDuration: period,
        rate: z.exactOptional(rate),
        mechanisms: z.exactOptional(z.array(mechanism).max(16).readonly()),
        input: z.enum(['message', 'digest']),
        delay: period,
        ownerMayVeto: z.boolean(),
        replies,
      }),
    ),
    release: z.exactOptional(z.strictObject({ delay: period, ownerMayVeto: z.boolean(), replies })),
    requests: z.strictObject({
      maxValidFor: period,
      approvalsHold: period,
      denialsToEnd: z.exactOptional(count),
      distinct: z.array(z.enum(DISTINCTIONS)).max(DISTINCTIONS.length).readonly(),
    }),
  }),
  digest: hex256,
  ownersCopy: z.exactOptional(release),
}) satisfies z.ZodType<WireKey>;

const provenEntry = z.strictObject({
  index: count,
  entry: text(MAX_TEXT),
  proof: z.array(binary).max(64).readonly(),
});
const proof = provenEntry.extend({ checkpoint: text(MAX_TEXT) }) satisfies z.ZodType<WireProof>;

const deposit = z.strictObject({
  version: z.literal([1, 2]).meta({ type: 'integer', minimum: 1, maximum: 2 }),
  generation: z.exactOptional(count),
  requesters: z
    .array(z.enum(['depositary', 'admin', 'app']))
    .max(3)
    .readonly(),
  delay: period,
  ownerMayVeto: z.boolean(),
  replies,
  recipients,
}) satisfies z.ZodType<WireDeposit>;

const share = z.strictObject({
  key: idOf('key'),
  share: binary,
  oaep,
  link: binary,
  deposit,
  birth: provenEntry,
}) satisfies z.ZodType<WireShare>;

const signedIntent = z.strictObject({
  depositary: principal,
  statement: text(16_384),
  key: z.record(text(16), text(2048)),
}) satisfies z.ZodType<WireSignedIntent>;

const forDepositary = z.strictObject({
  shares: z.array(share).max(MAX_RECOVERY_KEYS).readonly(),
  transportKey: binary,
  requestHash: hex256,
  requestVersion: z.literal(REQUEST_VERSIONS).meta({ type: 'integer', minimum: 3, maximum: 4 }),
  attestation: text(16_384),
  logged: proof,
  intents: z.exactOptional(
    z
      .array(signedIntent)
      .max(MAX_PEOPLE * 9)
      .readonly(),
  ),
}) satisfies z.ZodType<WireForDepositary>;

const recoveryKey = z.strictObject({
  key: idOf('key'),
  label: text(200),
  spec,
  use,
  publicKeyPem: z.exactOptional(pem),
  quorums,
  grant: z.exactOptional(z.strictObject({ grant: idOf('grant'), status: z.enum(GRANT_STATUSES) })),
}) satisfies z.ZodType<WireRecoveryKey>;

const releasedKeys = z.strictObject({
  keys: z
    .array(z.strictObject({ key: idOf('key'), ...release.shape }))
    .max(MAX_RECOVERY_KEYS)
    .readonly(),
}) satisfies z.ZodType<WireReleasedKeys>;

const recovery = z.strictObject({
  recovery: idOf('rec'),
  owner: principal,
  keys: z.array(recoveryKey).max(MAX_RECOVERY_KEYS).readonly(),
  requester: principal,
  reason: text(1000),
  purpose,
  scope: z.exactOptional(scope),
  recipient: z.exactOptional(principal),
  filedAt: instant,
  expiresAt: instant,
  approvalsHold: period,
  // 64 keys, each with a label in which every character may be written out
  requestHash: z.exactOptional(hex256),
  summary: text(256 * 1024),
  status: z.enum(RECOVERY_STATUSES),
  replies,
  intendedBy: z.exactOptional(
    z
      .array(principal)
      .max(MAX_PEOPLE * 9)
      .readonly(),
  ),
  repliesFrom: z.exactOptional(instant),
  approvedBy: z
    .array(principal)
    .max(MAX_PEOPLE * 9)
    .readonly(),
  deniedBy: z
    .array(z.strictObject({ depositary: principal, reason: text(1000) }))
    .max(MAX_PEOPLE * 9)
    .readonly(),
  ended: z.exactOptional(
    z.strictObject({
      by: z.exactOptional(principal),
      reason: z.exactOptional(text(1000)),
      at: instant,
    }),
  ),
  releasableAt: z.exactOptional(instant),
  holdsUntil: z.exactOptional(instant),
  release: z.exactOptional(releasedKeys),
  forDepositary: z.exactOptional(forDepositary),
}) satisfies z.ZodType<WireRecovery>;

const grant = z.strictObject({
  grant: idOf('grant'),
  recovery: idOf('rec'),
  key: idOf('key'),
  owner: principal,
  spec,
  scope,
  used: count,
  startsAt: instant,
  expiresAt: instant,
  status: z.enum(GRANT_STATUSES),
}) satisfies z.ZodType<WireGrant>;

const grants = z.strictObject({
  grants: z.array(grant).max(MAX_RECOVERY_KEYS).readonly(),
}) satisfies z.ZodType<WireGrants>;

const server = z.strictObject({
  origin: text(128),
  identityKey: z.record(text(16), text(1024)),
  logKey: text(256),
  token: z.strictObject({
    profile: text(64),
    keySpecs: z.array(spec).max(16).readonly(),
    mechanisms: z.array(mechanism).max(32).readonly(),
    oaep,
  }),
}) satisfies z.ZodType<WireServer>;

/** A document as administrators signed it; its own form is that of the policy. */
const document: z.ZodType = z.record(text(64), z.unknown());

const policy = z.strictObject({
  version: count,
  hash: hex256,
  document: z.exactOptional(document),
}) satisfies z.ZodType<WirePolicy>;

const sentence = text(1024);
const sentences = z.array(sentence).max(MAX_RULES).readonly();

const choice = z.strictObject({
  considered: z
    .array(z.strictObject({ rule: text(64), because: sentences }))
    .max(MAX_RULES)
    .readonly(),
  rule: z.exactOptional(text(64)),
  quorums,
  candidates: z
    .array(
      z.strictObject({
        id: principal,
        name: text(200),
        keys: z.array(text(64)).max(8).readonly(),
        depositaryKey: z.exactOptional(hex256),
        problems: sentences,
      }),
    )
    .max(MAX_PEOPLE * 9)
    .readonly(),
  missing: sentences,
  error: z.exactOptional(text(64)),
}) satisfies z.ZodType<WireChoice>;

const standing = z.strictObject({
  version: count,
  hash: hex256,
  signersNeeded: count,
  enrolled: z
    .array(z.strictObject({ id: principal, fingerprint: hex256 }))
    .max(MAX_PRINCIPALS)
    .readonly(),
  deposits: z
    .array(z.strictObject({ purpose: z.enum(['operate', 'release']), quorums, deposits: count }))
    .max(MAX_QUORUM_SETS)
    .readonly(),
}) satisfies z.ZodType<WireStanding>;

const policyPlan = z.strictObject({
  hash: hex256,
  base: count,
  replaces: hex256,
  signersNeeded: count,
}) satisfies z.ZodType<WirePolicyPlan>;

const warnings = z.strictObject({
  warnings: z.array(sentence).max(MAX_QUORUM_SETS).readonly(),
}) satisfies z.ZodType<WireWarnings>;

const appliedPolicy = z.strictObject({
  version: count,
  hash: hex256,
  appliedAt: z.exactOptional(instant),
  signers: z.array(principal).max(8).readonly(),
}) satisfies z.ZodType<WireAppliedPolicy>;

const sink = text(64);
const notice = idOf('ntc');
const givenUp = z.strictObject({
  notice,
  sink,
  entry,
  to: principal,
  kind: z.enum(NOTICE_KINDS),
  fault: text(256),
  givenUpAt: instant,
}) satisfies z.ZodType<WireGivenUpNotice>;

const redelivery = z.strictObject({
  sink,
  notices: z.array(notice).max(MAX_REDELIVERED).readonly(),
}) satisfies z.ZodType<WireRedelivery>;

const logEntry = z.strictObject({ index: count, entry: text(MAX_TEXT) }) satisfies z.ZodType<WireEntry>;

const history = z.strictObject({
  items: z
    .array(logEntry.extend({ proof: z.array(binary).max(64).readonly() }))
    .max(200)
    .readonly(),
  next: z.exactOptional(text(256)),
  checkpoint: z.exactOptional(text(MAX_TEXT)),
}) satisfies z.ZodType<WireHistory>;

const historyStatement = z.strictObject({
  statement: text(8192),
  checkpoint: text(MAX_TEXT),
}) satisfies z.ZodType<WireHistoryStatement>;

const outputs = z.array(binary).max(MAX_OUTPUTS).readonly();

const problem = z.strictObject({
  type: text(128).regex(/^urn:escrowd:problem:[a-z0-9-]+$/),
  title: text(256),
  status: z.int().min(400).max(599),
  detail: text(1024),
  instance: text(45).regex(/^urn:uuid:[0-9a-f-]{36}$/),
}) satisfies z.ZodType<Problem>;

/** Attacks that the token does not refuse, and that the configuration accepts. */
const probe = z.strictObject({ status: z.enum(['ok']) });
const readiness = z.strictObject({ status: z.enum(['ready', 'not ready']) });

/** The replies, by what they are about. */
export const REPLIES = {
  server,
  key,
  recovery,
  grant,
  grants,
  policy,
  choice,
  standing,
  policyPlan,
  warnings,
  appliedPolicy,
  releasedKeys,
  signatures: z.strictObject({
    signatures: outputs,
    remaining: count,
  }) satisfies z.ZodType<WireSignatures>,
  plaintexts: z.strictObject({
    plaintexts: outputs,
    remaining: count,
  }) satisfies z.ZodType<WirePlaintexts>,
  givenUp,
  redelivery,
  checkpoint: text(MAX_TEXT),
  consistency: z.strictObject({ proof: z.array(base64).max(64).readonly() }),
  logEntry,
  history,
  historyStatement,
  /** 256 entries and their lengths are the most that comes. */
  bytes: text(256 * (MAX_TEXT + 1)).meta({ format: 'binary' }),
  entries: z.strictObject({ items: z.array(logEntry).max(MAX_PAGE).readonly() }),
  documents: z.strictObject({
    items: z
      .array(z.strictObject({ version: count, hash: hex256, document }))
      .max(MAX_DOCUMENTS)
      .readonly(),
    next: z.exactOptional(text(256)),
  }),
  scope,
  proof,
  forDepositary,
  problem,
  probe,
  readiness,
} as const;

/** The reply to a call that changes something. */
export function actedOf<T>(result: z.ZodType<T>): z.ZodType<Acted<T>> {
  return z.strictObject({ result, entry });
}

/** The reply to a call that takes something away. */
export function provenOf<T>(result: z.ZodType<T>): z.ZodType<Acted<T>> {
  return z.strictObject({ result, entry, proof: z.exactOptional(proof) });
}

/** One page of a list. */
export function pageOf<T>(item: z.ZodType<T>): z.ZodType<WirePage<T>> {
  return z.strictObject({
    items: z.array(item).max(200).readonly(),
    next: z.exactOptional(text(256)),
  });
}
