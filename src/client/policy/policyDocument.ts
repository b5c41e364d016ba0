import { z } from 'zod';

import { canonicalHash } from '../../escrow/records/digests.js';
import { newPolicyProblems } from '../../escrow/rules/newPolicy.js';
import type { Policy } from '../../escrow/records/policy.js';
import { type Json, canonicalJson } from '../../log/entry/canonical.js';
import { PolicyProblems, policyOf } from '../../policy/document.js';
import { PolicyDocumentError } from '../errors.js';
import type { Signer } from '../identity/signingKey.js';
import { readStatement, signStatement, type Validity } from '../statement.js';
import { POLICY_SIGNATURE_TYPE } from '../../escrow/records/statementTypes.js';

/** What administrators sign: the canonical hash of the document, on top of version `base`, whose hash is `replaces`. */
const SIGNATURE = z.object({ iss: z.string(), hash: z.string(), base: z.number(), replaces: z.string() });

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
  {
    hash,
    base,
    replaces,
    ...validity
  }: Required<Validity> & Readonly<Omit<z.infer<typeof SIGNATURE>, 'iss'>>,
): Promise<string> {
  return signStatement(signer, POLICY_SIGNATURE_TYPE, validity, { hash, base, replaces });
}

/** What a signature file says it signs, unverified; undefined when it is none. */
export function readPolicySignature(jws: string): z.infer<typeof SIGNATURE> | undefined {
  return readStatement(jws, POLICY_SIGNATURE_TYPE, SIGNATURE);
}
