import { z } from 'zod';

import { parsePrincipalId } from '../escrow/records/ids.js';
import type {
  Brakes,
  OperateTerms,
  QuorumExpression,
  ReleaseTerms,
  RequestTerms,
  Rule,
} from '../escrow/records/policy.js';
import { DISTINCTIONS, usualRequestTerms } from '../escrow/records/policy.js';
import type { Principal } from '../escrow/records/principals.js';
import { INPUTS } from '../escrow/records/scope.js';
import { USUAL_MINIMUM_QUORUM } from '../escrow/rules/minimumQuorum.js';
import { MAX_POLICY_SIGNATURES, POLICY_QUORUM } from '../escrow/rules/policySignatures.js';
import { MAX_QUORUM_MEMBERS } from '../escrow/rules/quorums.js';
import {
  distinct,
  duration,
  keySpec,
  keyUse,
  mechanism,
  operation,
  parsed,
  principalId,
  rate,
  words,
} from './fields.js';
import { deliveryKey, signingKey } from './keys.js';

/*
 * The format of a policy document: the one place where it stands. The server reads documents with it, escrowctl checks
 * them with it before anybody signs, and the JSON Schema for editors is made of it.
 */

const DAY_MS = 24 * 60 * 60 * 1000;
const YEARS_MS = 3660 * DAY_MS;

const attributeName = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'is not the name of an attribute');
const roleName = z.string().regex(/^[a-z][a-z0-9-]{0,63}$/, 'is not the name of a role');
const attributeValue = words({ min: 1, max: 256 });

/** 32 bytes in base64url: the last character has only the bits that belong to them. */
const certificate = z
  .string()
  .regex(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/, 'is not a SHA-256 in base64url (x5t#S256)');

const principal = z
  .strictObject({
    id: principalId.describe('For good: an id is never given to another person or app.'),
    kind: z.enum(['person', 'app']),
    name: words({ min: 1, max: 200 }).describe('For people to read; nothing depends on it.'),
    roles: z
      .array(roleName)
      .max(32)
      .describe('admin, depositary, owner, app, auditor; any other role is a group that rules can name.'),
    attributes: z
      .record(attributeName, attributeValue)
      .default({})
      .describe('What rules look at, such as department, or manager with the id of a depositary.'),
    keys: z.array(signingKey).max(8).describe('Public keys (JWK) that sign requests and approvals.'),
    certificates: z
      .array(certificate)
      .max(8)
      .default([])
      .describe(
        'Apps only: client certificates, as base64url SHA-256 of the DER (x5t#S256, RFC 8705 section 3.1). Whoever ' +
          'connects with one may sign and decrypt as the app, without signing its requests.',
      ),
    depositaryKey: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'is not a SHA-256 in hexadecimal')
      .optional()
      .describe('SHA-256 of the SubjectPublicKeyInfo that shares go to, enrolled in the token.'),
    deliveryKey: deliveryKey.optional().describe("RSA public key (PEM) for an owner's own copies."),
    retired: z.boolean().default(false).describe('Gets no new deposits; decides on those there are.'),
    returns: z
      .int()
      .min(0)
      .optional()
      .describe('Of an id that was removed: the last version that listed it. It is the same principal.'),
  })
  .refine(({ kind, certificates }) => kind === 'app' || certificates.length === 0, {
    message: 'are for apps only',
    path: ['certificates'],
  })
  .transform((found): Principal => ({
    id: found.id,
    kind: found.kind,
    name: found.name,
    roles: found.roles,
    attributes: found.attributes,
    keys: found.keys,
    certificates: found.certificates,
    depositaryKey: found.depositaryKey,
    deliveryKey: found.deliveryKey,
    retired: found.retired,
    returns: found.returns,
  }));

/** `role:<name>`, `person:<id>`, or the name of an attribute of the owner, such as `manager`. */
const word = parsed(80, 'role:<name>, person:<id> or an attribute of the owner', (text) => {
  const [kind, name] = text.includes(':') ? text.split(/:(.*)/s) : ['attribute', text];
  return readWord(kind ?? '', name ?? '');
});

function readWord(kind: string, name: string): QuorumExpression | undefined {
  if (kind === 'role') return roleName.safeParse(name).success ? { role: name } : undefined;
  if (kind === 'attribute') return attributeName.safeParse(name).success ? { attribute: name } : undefined;
  const person = kind === 'person' ? parsePrincipalId(name) : undefined;
  return person === undefined ? undefined : { person };
}

const expression: z.ZodType<QuorumExpression> = z.lazy(() =>
  z.union(
    [
      word,
      z.strictObject({ allOf: choices }),
      z.strictObject({ anyOf: choices }),
      z
        .strictObject({ atLeast: z.int().min(1).max(64), of: choices })
        .refine(({ atLeast, of }) => atLeast <= of.length || of.some((choice) => 'role' in choice)),
    ],
    'must be a name, or one of allOf, anyOf, and atLeast with enough choices in of',
  ),
);
const choices = z.array(expression).min(1).max(64);

/** `{ "owner.<attribute>": value, use, "key.spec" }`: all must hold. */
const when = z.record(z.string().max(80), attributeValue).transform((conditions, context): Rule['when'] => {
  const { use, 'key.spec': spec, ...others } = conditions;
  const attributes = Object.entries(others).map(([name, value]) => {
    const attribute = name.startsWith('owner.') ? name.slice('owner.'.length) : '';
    if (!attributeName.safeParse(attribute).success) refuseCondition(context, name);
    return [attribute, value] as const;
  });
  const known = {
    use: keyUse.optional().safeParse(use).data,
    spec: keySpec.optional().safeParse(spec).data,
  };
  if (known.use !== use) refuseCondition(context, 'use');
  if (known.spec !== spec) refuseCondition(context, 'key.spec');
  return { owner: Object.fromEntries(attributes), use: known.use, spec: known.spec };
});

function refuseCondition(context: z.RefinementCtx, name: string): void {
  context.addIssue({ code: 'custom', path: [name], message: 'is not a condition' });
}

/** What stands between a complete quorum and the key. */
const brakes = {
  delay: duration({ minMs: 0, maxMs: YEARS_MS }).default(0),
  ownerMayVeto: z.boolean().default(false),
  replies: z
    .enum(['atOnce', 'afterDelay'])
    .default('atOnce')
    .describe(
      'When shares leave depositaries: with their approvals, or only when the delay is over that their intents to approve begin.',
    ),
};

/** At once is what is not said. */
function repliesIn(replies: 'atOnce' | 'afterDelay'): Pick<Brakes, 'replies'> {
  return replies === 'atOnce' ? {} : { replies };
}

const operate = z
  .strictObject({
    operations: distinct(operation, 2),
    maxUses: z.int().min(1).max(1_000_000_000),
    maxDuration: duration({ minMs: 1000, maxMs: YEARS_MS }),
    rate: rate.optional(),
    mechanisms: distinct(mechanism, 16).optional(),
    input: z.enum(INPUTS).default('digest'),
    ...brakes,
  })
  .transform((found): OperateTerms => ({
    operations: found.operations,
    maxUses: found.maxUses,
    maxDurationMs: found.maxDuration,
    rate: found.rate,
    mechanisms: found.mechanisms,
    input: found.input,
    delayMs: found.delay,
    ownerMayVeto: found.ownerMayVeto,
    ...repliesIn(found.replies),
  }));

const release = z.strictObject(brakes).transform(({ delay, ownerMayVeto, replies }): ReleaseTerms => ({
  ...{ delayMs: delay, ownerMayVeto },
  ...repliesIn(replies),
}));

/** How requests are decided; what is not given is as `usualRequestTerms` has it. */
const requests = z.strictObject({
  maxValidFor: duration({ minMs: 1000, maxMs: 90 * DAY_MS }).optional(),
  approvalsHold: duration({ minMs: 60_000, maxMs: YEARS_MS }).optional(),
  denialsToEnd: z.int().min(1).max(64).optional(),
  distinct: distinct(z.enum(DISTINCTIONS), DISTINCTIONS.length).optional(),
});

const rule = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'is not the name of a rule'),
    when: when.default({ owner: {}, use: undefined, spec: undefined }),
    depositaries: expression,
    requesters: distinct(z.enum(['depositary', 'admin', 'app']), 3).default(['depositary']),
    deliver: z.boolean().default(false),
    import: z
      .boolean()
      .default(false)
      .describe('Whether such a key may be imported; who else has it then, nobody knows.'),
    requests: requests.default({}),
    operate: operate.optional(),
    release: release.optional(),
    logged: z.literal('proven').optional(),
  })
  .refine((found) => found.operate !== undefined || found.release !== undefined, {
    message: 'has neither operate nor release',
  })
  .refine(
    ({ when: { spec, use }, operate: used }) => used === undefined || (spec !== 'secret' && use !== 'keep'),
    {
      message: 'has operate, and is for secrets, which can be released only',
    },
  )
  .refine(
    (found) => brakesIn(found).every(({ replies, delayMs }) => replies !== 'afterDelay' || delayMs > 0),
    {
      message: 'has replies afterDelay, and no delay',
    },
  )
  .refine(
    (found) =>
      brakesIn(found).every(({ replies }) => replies !== 'afterDelay') ||
      requestTerms(found).maxValidForMs > longestDelayMs(found),
    {
      message:
        'has replies afterDelay, and no request outlives the delay: requests.maxValidFor must be longer',
    },
  )
  .refine((found) => requestTerms(found).approvalsHoldMs > longestDelayMs(found), {
    message: 'has a delay that no approval outlives: requests.approvalsHold must be longer',
  })
  .transform((found): Rule => ({
    name: found.name,
    when: found.when,
    depositaries: found.depositaries,
    requesters: found.requesters,
    deliver: found.deliver,
    ...(found.import ? { import: true as const } : {}),
    requests: requestTerms(found),
    operate: found.operate,
    release: found.release,
    ...(found.logged === undefined ? {} : { logged: found.logged }),
  }));

const signers = z.int().min(POLICY_QUORUM).max(MAX_POLICY_SIGNATURES);
const administration = z
  .strictObject({
    quorum: signers.default(POLICY_QUORUM),
    floor: signers.default(POLICY_QUORUM),
    minimumQuorum: z
      .int()
      .min(1)
      .max(MAX_QUORUM_MEMBERS)
      .default(USUAL_MINIMUM_QUORUM)
      .describe('So many depositaries are in every quorum, at least; 1 lets one person decide alone.'),
  })
  .refine(({ quorum, floor }) => quorum >= floor, { message: 'is below its floor', path: ['quorum'] });

interface TimedRule {
  readonly requests: z.output<typeof requests>;
  readonly operate?: OperateTerms | undefined;
  readonly release?: ReleaseTerms | undefined;
}

function requestTerms(found: TimedRule): RequestTerms {
  const usual = usualRequestTerms(longestDelayMs(found));
  const { maxValidFor, approvalsHold, denialsToEnd, distinct: pairs } = found.requests;
  return {
    maxValidForMs: maxValidFor ?? usual.maxValidForMs,
    approvalsHoldMs: approvalsHold ?? usual.approvalsHoldMs,
    denialsToEnd,
    distinct: pairs ?? usual.distinct,
  };
}

function brakesIn({ operate: use, release: handOut }: TimedRule): readonly Brakes[] {
  return [use, handOut].filter((brakes) => brakes !== undefined);
}

function longestDelayMs(found: TimedRule): number {
  return Math.max(found.operate?.delayMs ?? 0, found.release?.delayMs ?? 0);
}

/** A policy document; what comes out is what it means. What must hold between its parts: see `document.ts`. */
export const policyDocument = z.strictObject({
  version: z.literal(1),
  administration: administration.prefault({}),
  principals: z.array(principal).max(10_000),
  rules: z.array(rule).max(1000),
});
