import { canonicalHash } from '../../escrow/records/digests.js';
import { newPolicyProblems } from '../../escrow/rules/newPolicy.js';
import type { Policy } from '../../escrow/records/policy.js';
import type { Json } from '../../log/entry/canonical.js';
import { canonicalJson } from '../../log/entry/canonical.js';
import { PolicyProblems, policyOf } from '../../policy/document.js';
import { PolicyDocumentError } from '../errors.js';
import { parseJws } from '../../jose/jws.js';
import type { Signer } from '../identity/signingKey.js';
import { POLICY_SIGNATURE_TYPE } from '../../escrow/records/statementTypes.js';

/** Payload of an administrator's signature: over the canonical hash of the document, on top of version `base`, whose hash is `replaces`. */
interface PolicySignaturePayload {
  readonly iss: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly hash: string;
  readonly base: number;
  readonly replaces: string;
}

/**
 * Reads a document as the server will, without the server, which has the last word when it is applied. The version of
 * what comes out is 0: it is not in force.
 *
 * @throws PolicyDocumentError with every problem and its place
 */
export function checkPolicyDocument(document: unknown): Policy {
  const policy = readPolicyInForce(document);
  const problems = newPolicyProblems(document as Json, policy);
  if (problems.length > 0) throw new PolicyDocumentError(problems);
  return policy;
}

/**
 * Reads a document that is in force already, which may be what a new one may not.
 * @throws PolicyDocumentError as {@link checkPolicyDocument}
 */
export function readPolicyInForce(document: unknown): Policy {
  try {
    canonicalJson(document);
    return policyOf(document as Json, 0);
  } catch (error) {
    if (error instanceof PolicyProblems) throw new PolicyDocumentError(error.problems);
    throw new PolicyDocumentError([error instanceof Error ? error.message : 'not JSON']);
  }
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

/** An administrator's signature: this document, on top of this version with this hash, for this server, for a while. */
export function signPolicy(
  signer: Signer,
  order: {
    readonly hash: string;
    readonly base: number;
    readonly replaces: string;
    /** The C2SP verifier key of the server's log. */
    readonly logKey: string;
    readonly now: Date;
    readonly lifetimeMs: number;
  },
): Promise<string> {
  const iat = Math.floor(order.now.getTime() / 1000);
  const payload: PolicySignaturePayload = {
    iss: signer.id,
    aud: order.logKey,
    iat,
    exp: iat + Math.floor(order.lifetimeMs / 1000),
    hash: order.hash,
    base: order.base,
    replaces: order.replaces,
  };
  return signer.sign(POLICY_SIGNATURE_TYPE, { ...payload });
}

/** What a signature file says it signs, unverified: for telling people before the server is asked. */
export function readPolicySignature(
  jws: string,
):
  | { readonly iss: string; readonly hash: string; readonly base: number; readonly replaces: string }
  | undefined {
  const parsed = parseJws(jws);
  if (parsed?.header['typ'] !== POLICY_SIGNATURE_TYPE) return undefined;
  const { iss, hash, base, replaces } = parsed.payload;
  const isWhole = typeof iss === 'string' && typeof hash === 'string' && typeof replaces === 'string';
  return isWhole && typeof base === 'number' ? { iss, hash, base, replaces } : undefined;
}
