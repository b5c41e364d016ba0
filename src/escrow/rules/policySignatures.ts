import { isForLog } from '../../log/note/audience.js';
import type { PrincipalId } from '../records/ids.js';
import type { Policy } from '../records/policy.js';
import type { StatementVerifier } from '../ports/statements.js';
import { hasRole } from '../records/principals.js';
import { POLICY_SIGNATURE_TYPE } from '../records/statementTypes.js';

/** At least so many different administrators sign a policy: no single one changes rules, roles or keys. */
export const POLICY_QUORUM = 2;
/** At most so many signatures are asked for: they stand in one log entry. */
export const MAX_POLICY_SIGNATURES = 8;

export interface PolicyTrust {
  readonly statements: Pick<StatementVerifier, 'verify'>;
  /** The log's verifier key, which the signatures are for. */
  readonly logKey: string;
}

/** An administrator's word that a document follows the policy of version `base`, whose hash is `replaces`. */
export interface PolicySignature {
  readonly signer: PrincipalId;
  readonly base: unknown;
  readonly replaces: unknown;
  /** Seconds since the epoch: until when it could be handed in. */
  readonly expiresAt: number;
}

/** Of these signatures, those by administrators of `policy` on the document with this hash. */
export async function policySignatures(
  { statements, logKey }: PolicyTrust,
  policy: Policy,
  hash: string,
  signatures: readonly string[],
): Promise<readonly PolicySignature[]> {
  const administrators = [...policy.principals.values()].filter((person) => hasRole(person, 'admin'));
  const found: PolicySignature[] = [];
  for (const jws of signatures) {
    for (const { id, keys } of administrators) {
      const verified = await statements.verify(jws, POLICY_SIGNATURE_TYPE, keys);
      if (verified === undefined) continue;
      const { iss, aud, base, replaces, exp } = verified.payload;
      if (iss !== id || !isForLog(aud, logKey)) continue;
      if (verified.payload['hash'] !== hash || typeof exp !== 'number') continue;
      found.push({ signer: id, base, replaces, expiresAt: exp });
    }
  }
  return found;
}

/** Whether the signature is for the policy that follows this one, and no other of the same version. */
export function isOnTopOf({ version, hash }: Policy, signature: PolicySignature): boolean {
  return signature.base === version && signature.replaces === hash;
}

export function signersOf(signatures: readonly PolicySignature[]): readonly PrincipalId[] {
  return [...new Set(signatures.map(({ signer }) => signer))].sort();
}
