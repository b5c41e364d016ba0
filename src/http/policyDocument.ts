import { z } from 'zod';

import { canonicalHash } from '../escrow/digests.js';
import { EscrowError } from '../escrow/errors.js';
import type { Policy, QuorumExpression, Rule } from '../escrow/policy.js';
import type { PolicyParser } from '../escrow/ports.js';
import type { Principal } from '../escrow/principals.js';
import { hasRole } from '../escrow/principals.js';
import { parsePrincipalId } from '../escrow/ids.js';
import type { Json } from '../log/canonical.js';
import { distinct, duration, firstIssue, keySpec, keyUse, parsed, principalId, words } from './fields.js';
import { deliveryKey, signingKey } from './policyKeys.js';
import { JsonError, parseStrictJson } from './strictJson.js';

/** A policy takes the signatures of two administrators, so there must be two who can sign the next one. */
const MIN_ADMINISTRATORS = 2;
const YEARS_MS = 3660 * 24 * 60 * 60 * 1000;

/**
 * Reads a policy document: the directory and the rules, as administrators sign them. Its hash is that of the
 * canonical form, so that spaces and the order of members mean nothing.
 *
 * @throws EscrowError `policy-invalid`, with a sentence that says where.
 */
export const parsePolicy: PolicyParser = (text, version) => {
  const document = readJson(text);
  const found = policyDocument.safeParse(document);
  if (!found.success) throw new EscrowError('policy-invalid', firstIssue(found.error));
  const { principals, rules } = found.data;
  checkPrincipals(principals);
  checkRules(rules, principals);
  return {
    version,
    hash: canonicalHash(document),
    principals: new Map(principals.map((principal) => [principal.id, principal])),
    rules,
  } satisfies Policy;
};

function readJson(text: string): Json {
  try {
    return parseStrictJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new EscrowError('policy-invalid', `The policy document is not JSON: ${error.message}.`, {
      cause: error,
    });
  }
}

/* ------------------------------------------------------------- the format */

const attributeName = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'is not the name of an attribute');
const roleName = z.string().regex(/^[a-z][a-z0-9-]{0,63}$/, 'is not the name of a role');
const attributeValue = words({ min: 1, max: 256 });

const principal = z
  .strictObject({
    id: principalId,
    kind: z.enum(['person', 'app']),
    name: words({ min: 1, max: 200 }),
    roles: z.array(roleName).max(32),
    attributes: z.record(attributeName, attributeValue).default({}),
    keys: z.array(signingKey).max(8),
    deliveryKey: deliveryKey.optional(),
    retired: z.boolean().default(false),
  })
  .transform((found): Principal => ({
    id: found.id,
    kind: found.kind,
    name: found.name,
    roles: found.roles,
    attributes: found.attributes,
    keys: found.keys,
    deliveryKey: found.deliveryKey,
    retired: found.retired,
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

const operate = z
  .strictObject({
    operations: distinct(keyUse, 2),
    maxUses: z.int().min(1).max(1_000_000_000),
    maxDuration: duration({ minMs: 1000, maxMs: YEARS_MS }),
  })
  .transform(({ operations, maxUses, maxDuration }) => ({ operations, maxUses, maxDurationMs: maxDuration }));

const release = z
  .strictObject({
    delay: duration({ minMs: 0, maxMs: YEARS_MS }).default(0),
    ownerMayVeto: z.boolean().default(false),
  })
  .transform(({ delay, ownerMayVeto }) => ({ delayMs: delay, ownerMayVeto }));

const rule = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'is not the name of a rule'),
    when: when.default({ owner: {}, use: undefined, spec: undefined }),
    depositaries: expression,
    requesters: distinct(z.enum(['depositary', 'admin', 'app']), 3).default(['depositary']),
    deliver: z.boolean().default(false),
    operate: operate.optional(),
    release: release.optional(),
  })
  .refine((found) => found.operate !== undefined || found.release !== undefined, {
    message: 'has neither operate nor release',
  })
  .transform((found): Rule => ({
    name: found.name,
    when: found.when,
    depositaries: found.depositaries,
    requesters: found.requesters,
    deliver: found.deliver,
    operate: found.operate,
    release: found.release,
  }));

const policyDocument = z.strictObject({
  version: z.literal(1),
  principals: z.array(principal).max(10_000),
  rules: z.array(rule).max(1000),
});

/* ------------------------------------------------------------ the meaning */

function checkPrincipals(principals: readonly Principal[]): void {
  const ids = new Set<string>();
  const thumbprints = new Set<string>();
  for (const [index, { id, roles, keys }] of principals.entries()) {
    if (ids.has(id)) refuse(`principals[${index}].id: ${id} stands twice`);
    ids.add(id);
    if (new Set(roles).size !== roles.length) refuse(`principals[${index}].roles: one stands twice`);
    for (const [position, { thumbprint }] of keys.entries()) {
      // a key that two have would make their requests indistinguishable
      if (thumbprints.has(thumbprint)) refuse(`principals[${index}].keys[${position}]: stands twice`);
      thumbprints.add(thumbprint);
    }
  }
  const administrators = principals.filter(
    (one) => hasRole(one, 'admin') && one.keys.length > 0 && !one.retired,
  );
  if (administrators.length < MIN_ADMINISTRATORS)
    refuse('principals: there must be two administrators with keys');
}

function checkRules(rules: readonly Rule[], principals: readonly Principal[]): void {
  const names = new Set<string>();
  const ids = new Set<string>(principals.map(({ id }) => id));
  for (const [index, { name, depositaries }] of rules.entries()) {
    if (names.has(name)) refuse(`rules[${index}].name: ${name} stands twice`);
    names.add(name);
    const stranger = people(depositaries).find((id) => !ids.has(id));
    if (stranger !== undefined) refuse(`rules[${index}].depositaries: there is no principal ${stranger}`);
  }
}

function people(part: QuorumExpression): readonly string[] {
  if ('person' in part) return [part.person];
  if ('allOf' in part) return part.allOf.flatMap(people);
  if ('anyOf' in part) return part.anyOf.flatMap(people);
  return 'of' in part ? part.of.flatMap(people) : [];
}

function refuse(where: string): never {
  throw new EscrowError('policy-invalid', `${where}.`);
}
