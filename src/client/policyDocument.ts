import { z } from 'zod';

import { canonicalHash } from '../escrow/digests.js';
import { parsePrincipalId } from '../escrow/ids.js';
import { KEY_SPEC_NAMES } from '../escrow/keySpecs.js';
import type { PolicySignaturePayload } from '../escrow/wire.js';
import type { Json } from '../log/canonical.js';
import { canonicalJson } from '../log/canonical.js';
import { parseIsoDuration } from './durations.js';
import { PolicyDocumentError } from './errors.js';
import { importJwk, parseJws } from './jws.js';
import type { Signer } from './signingKey.js';

/** The `typ` of an administrator's signature under a policy. */
export const POLICY_SIGNATURE_TYPE = 'escrowd-policy+jwt';

/** Who must agree, as a document writes it. */
export type ExpressionText =
  | string
  | { readonly allOf: readonly ExpressionText[] }
  | { readonly anyOf: readonly ExpressionText[] }
  | { readonly atLeast: number; readonly of: readonly ExpressionText[] };

const nonEmpty = z.string().min(1);
const principalId = nonEmpty.refine((id) => parsePrincipalId(id) !== undefined, 'not an id of a principal');
const duration = nonEmpty.refine(
  (value) => parseIsoDuration(value) !== undefined,
  'not an ISO 8601 duration, such as PT1H or P7D',
);
const jwk = z.record(z.string(), z.string()).superRefine((key, context) => {
  if ('d' in key) context.addIssue({ code: 'custom', message: 'a private key; list public keys only' });
  else if (importJwk(key) === undefined)
    context.addIssue({ code: 'custom', message: 'not a public key (JWK)' });
  else if (!['ES256', 'ES384', 'EdDSA', 'PS256'].includes(key['alg'] ?? '')) {
    context.addIssue({ code: 'custom', message: 'the key has no alg of ES256, ES384, EdDSA or PS256' });
  }
});
const expression: z.ZodType<ExpressionText> = z.lazy(() =>
  z.union([
    nonEmpty.regex(/^(?:[A-Za-z][A-Za-z0-9_-]*|role:\S+|person:\S+)$/, 'neither a word, role:x nor person:x'),
    z.strictObject({ allOf: z.array(expression).min(1).readonly() }),
    z.strictObject({ anyOf: z.array(expression).min(1).readonly() }),
    z.strictObject({ atLeast: z.int().min(1), of: z.array(expression).min(1).readonly() }),
  ]),
);

const principal = z.strictObject({
  id: principalId,
  kind: z.enum(['person', 'app']),
  name: nonEmpty,
  roles: z.array(nonEmpty).readonly(),
  attributes: z.record(z.string(), z.string()).default({}),
  keys: z.array(jwk).readonly(),
  deliveryKey: z.exactOptional(nonEmpty),
  retired: z.exactOptional(z.boolean()),
});

const rule = z.strictObject({
  name: nonEmpty,
  when: z.exactOptional(
    z.record(
      z.string().regex(/^(?:owner\.[A-Za-z0-9_.-]+|use|key\.spec)$/, 'neither owner.x, use nor key.spec'),
      z.string(),
    ),
  ),
  depositaries: expression,
  requesters: z.exactOptional(
    z
      .array(z.enum(['depositary', 'admin', 'app']))
      .min(1)
      .readonly(),
  ),
  deliver: z.exactOptional(z.boolean()),
  operate: z.exactOptional(
    z.strictObject({
      operations: z
        .array(z.enum(['sign', 'decrypt']))
        .min(1)
        .readonly(),
      maxUses: z.int().min(1),
      maxDuration: duration,
    }),
  ),
  release: z.exactOptional(
    z.strictObject({ delay: z.exactOptional(duration), ownerMayVeto: z.exactOptional(z.boolean()) }),
  ),
});

const documentSchema = z
  .strictObject({
    version: z.literal(1),
    principals: z.array(principal).min(1).readonly(),
    rules: z.array(rule).readonly(),
  })
  .superRefine((document, context) => {
    const report = (path: (string | number)[], message: string): void => {
      context.addIssue({ code: 'custom', path, message });
    };
    const ids = document.principals.map(({ id }) => id);
    ids.forEach((id, at) => {
      if (ids.indexOf(id) !== at) report(['principals', at, 'id'], `there are two with the id ${id}`);
    });
    document.rules.forEach(({ when, operate, release }, at) => {
      if (operate === undefined && release === undefined) {
        report(['rules', at], 'it has neither operate nor release: nothing could be recovered');
      }
      const { use, 'key.spec': spec } = when ?? {};
      if (use !== undefined && use !== 'sign' && use !== 'decrypt') {
        report(['rules', at, 'when', 'use'], 'neither sign nor decrypt');
      }
      if (spec !== undefined && !(KEY_SPEC_NAMES as readonly string[]).includes(spec)) {
        report(['rules', at, 'when', 'key.spec'], `not one of ${KEY_SPEC_NAMES.join(', ')}`);
      }
    });
  });

/** A policy document whose form is right, as far as can be said without the server. */
export type PolicyDocument = z.infer<typeof documentSchema>;

/**
 * Checks the form of a document. The server has the last word when it is applied.
 * @throws PolicyDocumentError with every problem and its place
 */
export function checkPolicyDocument(document: unknown): PolicyDocument {
  const result = documentSchema.safeParse(document);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  throw new PolicyDocumentError(problems);
}

/**
 * What administrators sign and the log records: SHA-256 (hex) of the canonical JSON (RFC 8785) of the document.
 * @throws PolicyDocumentError when it holds what canonical JSON does not, such as a fraction
 */
export function policyDocumentHash(document: unknown): string {
  try {
    canonicalJson(document);
  } catch (error) {
    throw new PolicyDocumentError([error instanceof Error ? error.message : 'not JSON']);
  }
  return canonicalHash(document as Json);
}

/** An administrator's signature: this document, on top of this version, for this server, for a while. */
export function signPolicy(
  signer: Signer,
  order: {
    readonly hash: string;
    readonly base: number;
    readonly origin: string;
    readonly now: Date;
    readonly lifetimeMs: number;
  },
): Promise<string> {
  const iat = Math.floor(order.now.getTime() / 1000);
  const payload: PolicySignaturePayload = {
    iss: signer.id,
    aud: order.origin,
    iat,
    exp: iat + Math.floor(order.lifetimeMs / 1000),
    hash: order.hash,
    base: order.base,
  };
  return signer.sign(POLICY_SIGNATURE_TYPE, { ...payload });
}

/** What a signature file says it signs, unverified: for telling people before the server is asked. */
export function readPolicySignature(
  jws: string,
): { readonly iss: string; readonly hash: string; readonly base: number } | undefined {
  const parsed = parseJws(jws);
  if (parsed?.header['typ'] !== POLICY_SIGNATURE_TYPE) return undefined;
  const { iss, hash, base } = parsed.payload;
  return typeof iss === 'string' && typeof hash === 'string' && typeof base === 'number'
    ? { iss, hash, base }
    : undefined;
}
