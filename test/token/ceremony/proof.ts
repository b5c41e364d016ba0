import { constants, privateDecrypt } from 'node:crypto';
import { makeChallenge } from '../../../src/token/ceremony/challenge.js';
import { freshBytes } from '../../support/fresh.js';
import type { TestDepositary } from '../../support/testToken.js';

/** A challenge for a person's key, and what they answer to it. */
export interface Proof {
  readonly id: string;
  /** JSON. */
  readonly challenge: string;
  /** JSON. */
  readonly answer: string;
}

/** What a person answers to the challenge for a key of theirs. */
export function answerOf(
  { id, privateKey }: Pick<TestDepositary, 'id' | 'privateKey'>,
  challenge: { readonly ciphertext: string },
): string {
  const nonce = privateDecrypt(
    { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    Buffer.from(challenge.ciphertext, 'base64'),
  );
  return JSON.stringify({ id, nonce: nonce.toString('base64url') });
}

/** Both, as files of the ceremony have them. */
export function proofOf(person: Pick<TestDepositary, 'id' | 'privateKey' | 'publicKeyPem'>): Proof {
  const challenge = makeChallenge(person.id, person.publicKeyPem, freshBytes(32));
  return { id: person.id, challenge: JSON.stringify(challenge), answer: answerOf(person, challenge) };
}
