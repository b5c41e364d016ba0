import type { Policy } from '../records/policy.js';
import type { SigningKey } from '../records/principals.js';

/** Checks signed statements (JWS, RFC 7515). */
export interface StatementVerifier {
  /** The payload, when `jws` has this `typ` and verifies under one of the keys with that key's one algorithm. */
  verify(jws: string, typ: string, keys: readonly SigningKey[]): Promise<VerifiedStatement | undefined>;
  /** The thumbprint of the key that a statement of this `typ` says it is signed by; nothing is verified. */
  signerOf(jws: string, typ: string): string | undefined;
}

/** A statement whose signature has been checked. */
export interface VerifiedStatement {
  readonly jws: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** Turns a policy document (JSON) into the policy it means. Throws EscrowError `policy-invalid`. */
export type PolicyParser = (document: string, version: number) => Policy;
