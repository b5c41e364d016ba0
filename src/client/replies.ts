import { z } from 'zod';

import { KEY_SPEC_NAMES } from '../escrow/records/keySpecs.js';
import { MECHANISM_NAMES } from '../escrow/records/mechanisms.js';
import { NOTICE_KINDS } from '../escrow/records/notice.js';
import { DISTINCTIONS, PURPOSES } from '../escrow/records/policy.js';
import { REQUEST_VERSIONS } from '../escrow/records/recovery.js';
import type {
  Acted,
  WireAppliedPolicy,
  WireChoice,
  WireEntry,
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
  WireRecovery,
  WireRedelivery,
  WireRelease,
  WireReleasedKeys,
  WireServer,
  WireSignatures,
  WireStanding,
  WireWarnings,
} from '../api/wire.js';

/*
 * What a reply must look like before anything is made of it. Members that this version does not know are left out,
 * so that a newer server can be talked to.
 */
const text = z.string();
const count = z.int().min(0);
const instant = z.iso.datetime();
const use = z.enum(['sign', 'decrypt']);
const spec = z.enum(KEY_SPEC_NAMES as [(typeof KEY_SPEC_NAMES)[number]]);
const mechanism = z.enum(MECHANISM_NAMES as [(typeof MECHANISM_NAMES)[number]]);
const purpose = z.enum(PURPOSES);
const grantStatus = z.enum(['active', 'exhausted', 'expired', 'revoked']);
const quorums = z.array(z.array(text).readonly()).readonly();
const afterDelay = z.exactOptional(z.literal('afterDelay'));
/** base64url without padding, RFC 4648 section 5. */
const binary = text.regex(/^[A-Za-z0-9_-]*$/);

/** Turns what was received into what is promised, or throws a ZodError. */
export type Reply<T> = z.ZodType<T>;

const releaseOf = z.object({ transferKey: binary, wrappedKey: binary, oaep: text });
const release: Reply<WireRelease> = releaseOf;
const releasedKeys: Reply<WireReleasedKeys> = z.object({
  keys: z.array(releaseOf.extend({ key: text })).readonly(),
});

const rate = z.object({ uses: count, per: text });

const scope = z.object({
  app: text,
  operations: z.array(use).readonly(),
  mechanisms: z.array(mechanism).readonly(),
  input: z.enum(['message', 'digest']),
  maxUses: count,
  rate: z.exactOptional(rate),
  duration: text,
  notBefore: z.exactOptional(instant),
  notAfter: z.exactOptional(instant),
});

const key: Reply<WireKey> = z.object({
  key: text,
  owner: text,
  label: text,
  spec,
  use,
  publicKeyPem: z.exactOptional(text),
  createdAt: instant,
  rule: z.object({ name: text, policyVersion: count, policyHash: text }),
  purposes: z
    .array(
      z.object({
        purpose,
        quorums,
        recipients: z.array(z.object({ depositary: text, fingerprint: text })).readonly(),
      }),
    )
    .readonly(),
  terms: z.object({
    operate: z.exactOptional(
      z.object({
        operations: z.array(use).readonly(),
        maxUses: count,
        maxDuration: text,
        rate: z.exactOptional(rate),
        mechanisms: z.exactOptional(z.array(mechanism).readonly()),
        input: z.enum(['message', 'digest']),
        delay: text,
        ownerMayVeto: z.boolean(),
        replies: afterDelay,
      }),
    ),
    release: z.exactOptional(z.object({ delay: text, ownerMayVeto: z.boolean(), replies: afterDelay })),
    requests: z.object({
      maxValidFor: text,
      approvalsHold: text,
      denialsToEnd: z.exactOptional(count),
      distinct: z.array(z.enum(DISTINCTIONS)).readonly(),
    }),
  }),
  digest: text,
  ownersCopy: z.exactOptional(release),
});

const provenEntry = z.object({ index: count, entry: text, proof: z.array(text).readonly() });
const proof = provenEntry.extend({ checkpoint: text });
const deposit = z.object({
  version: z.literal([1, 2]),
  generation: z.exactOptional(count),
  requesters: z.array(text).readonly(),
  delay: text,
  ownerMayVeto: z.boolean(),
  replies: afterDelay,
  recipients: z.array(z.object({ depositary: text, fingerprint: text })).readonly(),
});

const recovery: Reply<WireRecovery> = z.object({
  recovery: text,
  owner: text,
  keys: z
    .array(
      z.object({
        key: text,
        label: text,
        spec,
        use,
        publicKeyPem: z.exactOptional(text),
        quorums,
        grant: z.exactOptional(z.object({ grant: text, status: grantStatus })),
      }),
    )
    .readonly(),
  requester: text,
  reason: text,
  purpose,
  scope: z.exactOptional(scope),
  recipient: z.exactOptional(text),
  filedAt: instant,
  expiresAt: instant,
  approvalsHold: text,
  requestHash: z.exactOptional(text),
  summary: text,
  status: z.enum([
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
  ]),
  replies: afterDelay,
  intendedBy: z.exactOptional(z.array(text).readonly()),
  repliesFrom: z.exactOptional(instant),
  approvedBy: z.array(text).readonly(),
  deniedBy: z.array(z.object({ depositary: text, reason: text })).readonly(),
  ended: z.exactOptional(z.object({ by: z.exactOptional(text), reason: z.exactOptional(text), at: instant })),
  releasableAt: z.exactOptional(instant),
  holdsUntil: z.exactOptional(instant),
  release: z.exactOptional(releasedKeys),
  forDepositary: z.exactOptional(
    z.object({
      shares: z
        .array(
          z.object({
            key: text,
            share: binary,
            oaep: text,
            link: z.exactOptional(binary),
            deposit: z.exactOptional(deposit),
            birth: z.exactOptional(provenEntry),
          }),
        )
        .readonly(),
      transportKey: binary,
      requestHash: text,
      requestVersion: z.exactOptional(z.literal(REQUEST_VERSIONS)),
      attestation: text,
      logged: proof,
      intents: z.exactOptional(
        z.array(z.object({ depositary: text, statement: text, key: z.record(text, text) })).readonly(),
      ),
    }),
  ),
});

const grant: Reply<WireGrant> = z.object({
  grant: text,
  recovery: text,
  key: text,
  owner: text,
  spec,
  scope,
  used: count,
  startsAt: instant,
  expiresAt: instant,
  status: grantStatus,
});
const grants: Reply<WireGrants> = z.object({ grants: z.array(grant).readonly() });

const server: Reply<WireServer> = z.object({
  origin: text,
  identityKey: z.record(text, text),
  logKey: text,
  token: z.object({
    profile: text,
    // what this version does not know it cannot use
    keySpecs: z.array(text).transform((names) => KEY_SPEC_NAMES.filter((name) => names.includes(name))),
    mechanisms: z.array(text).transform((names) => MECHANISM_NAMES.filter((name) => names.includes(name))),
    oaep: text,
  }),
});

const policy: Reply<WirePolicy> = z.object({
  version: count,
  hash: text,
  document: z.exactOptional(z.unknown()),
});

const texts = z.array(text).readonly();
const choice: Reply<WireChoice> = z.object({
  considered: z.array(z.object({ rule: text, because: texts })).readonly(),
  rule: z.exactOptional(text),
  quorums,
  candidates: z
    .array(
      z.object({ id: text, name: text, keys: texts, depositaryKey: z.exactOptional(text), problems: texts }),
    )
    .readonly(),
  missing: texts,
  error: z.exactOptional(text),
});

const standing: Reply<WireStanding> = z.object({
  version: count,
  hash: text,
  signersNeeded: count,
  enrolled: z.array(z.object({ id: text, fingerprint: text })).readonly(),
  deposits: z
    .array(z.object({ purpose: z.enum(['operate', 'release']), quorums, deposits: count }))
    .readonly(),
});

const policyPlan: Reply<WirePolicyPlan> = z.object({
  hash: text,
  base: count,
  replaces: text,
  signersNeeded: count,
});

const appliedPolicy: Reply<WireAppliedPolicy> = z.object({
  version: count,
  hash: text,
  appliedAt: z.exactOptional(text),
  signers: texts,
});

const entryOf = z.object({ index: count, entry: text });
const entry: Reply<WireEntry> = entryOf;

const givenUp: Reply<WireGivenUpNotice> = z.object({
  notice: text,
  sink: text,
  entry: count,
  to: text,
  kind: z.enum(NOTICE_KINDS),
  fault: text,
  givenUpAt: text,
});

/** A directory document that was in force, for an export. */
export interface AppliedDocument {
  readonly version: number;
  readonly hash: string;
  readonly document: unknown;
}

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
  warnings: z.object({ warnings: texts }) satisfies Reply<WireWarnings>,
  appliedPolicy,
  releasedKeys,
  signatures: z.object({
    signatures: z.array(binary).readonly(),
    remaining: count,
  }) satisfies Reply<WireSignatures>,
  plaintexts: z.object({
    plaintexts: z.array(binary).readonly(),
    remaining: count,
  }) satisfies Reply<WirePlaintexts>,
  givenUp,
  redelivery: z.object({ sink: text, notices: texts }) satisfies Reply<WireRedelivery>,
  consistency: z.object({ proof: z.array(text).readonly() }),
  history: z.object({
    items: z.array(entryOf.extend({ proof: z.array(binary).readonly() })).readonly(),
    next: z.exactOptional(text),
    checkpoint: z.exactOptional(text),
  }) satisfies Reply<WireHistory>,
  historyStatement: z.object({ statement: text, checkpoint: text }) satisfies Reply<WireHistoryStatement>,
  entries: z.object({ items: z.array(entry).readonly() }),
  document: z.object({
    version: count,
    hash: text,
    document: z.unknown(),
  }) satisfies Reply<AppliedDocument>,
} as const;

/** The reply to a call that changed something. */
export function acted<T>(result: Reply<T>): Reply<Acted<T>> {
  return z.object({ result, entry: count, proof: z.exactOptional(proof) });
}

/** One page of a list. */
export function pageOf<T>(item: Reply<T>): Reply<WirePage<T>> {
  return z.object({ items: z.array(item).readonly(), next: z.exactOptional(text) });
}
