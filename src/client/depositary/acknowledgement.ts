import { ACKNOWLEDGEMENT_TYPE } from '../../escrow/records/statementTypes.js';
import type { Signer } from '../identity/signingKey.js';
import { type Validity, signStatement } from '../statement.js';

/** A depositary's statement that they know their duties: a text by its SHA-256 (hex), in a role, under the policy in force. */
export function signAcknowledgement(
  signer: Signer,
  {
    role,
    text,
    policyVersion,
    ...validity
  }: Required<Validity> & { readonly role: string; readonly text: string; readonly policyVersion: number },
): Promise<string> {
  return signStatement(signer, ACKNOWLEDGEMENT_TYPE, validity, { role, text, policyVersion });
}
