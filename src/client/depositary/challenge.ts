import { createPublicKey } from 'node:crypto';

import { z } from 'zod';

import { sha256Hex } from '../../escrow/records/digests.js';
import { IdentityError, NotBelieved } from '../errors.js';
import type { DecryptionKey } from '../identity/decryptionKey.js';
import { jsonOrUndefined } from '../../system/json.js';

/** What the ceremony gives a depositary, to see that it holds the private key. */
export type Challenge = Readonly<z.infer<typeof schema>>;

/** What the depositary gives back: the nonce, base64url. */
export interface ChallengeAnswer {
  readonly id: string;
  readonly nonce: string;
}

const schema = z.object({
  id: z.string(),
  /** PEM, or DER in base64, of the depositary key that was handed in. */
  spki: z.string(),
  oaep: z.enum(['RSA-OAEP', 'RSA-OAEP-256']),
  /** The nonce by that OAEP, base64. */
  ciphertext: z.string(),
  /** SHA-256 of the nonce, hex. */
  nonceHash: z.string(),
});

/** Reads a challenge (JSON). @throws IdentityError `record-malformed` */
export function parseChallenge(text: string): Challenge {
  const challenge = schema.safeParse(jsonOrUndefined(text));
  if (!challenge.success) {
    throw new IdentityError('record-malformed', 'not a challenge: {id, spki, oaep, ciphertext, nonceHash}');
  }
  return challenge.data;
}

/**
 * Answers a challenge with this depositary's own key.
 * @throws NotBelieved `challenge-mismatch` when it is for another key, or what it opens to is not what it says: a
 *   ciphertext from elsewhere (a share, say) is never opened for whoever asks
 */
export async function answerChallenge(
  challenge: Challenge,
  id: string,
  depositaryKey: DecryptionKey,
): Promise<ChallengeAnswer> {
  if (challenge.id !== id || !spkiOf(challenge.spki).equals(depositaryKey.publicKey)) {
    throw new NotBelieved(
      'challenge-mismatch',
      `the challenge is for ${challenge.id}, or for another key of yours`,
    );
  }
  const nonce = await depositaryKey.open(Buffer.from(challenge.ciphertext, 'base64'), challenge.oaep);
  if (nonce === undefined || sha256Hex(nonce) !== challenge.nonceHash) {
    throw new NotBelieved('challenge-mismatch', 'the challenge does not open to what it says');
  }
  return { id, nonce: nonce.toString('base64url') };
}

function spkiOf(text: string): Buffer {
  try {
    const key = text.includes('-----BEGIN')
      ? createPublicKey(text)
      : createPublicKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'spki' });
    return key.export({ format: 'der', type: 'spki' });
  } catch {
    return Buffer.alloc(0);
  }
}
