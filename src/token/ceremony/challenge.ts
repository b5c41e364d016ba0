import { constants, createHash, createPublicKey, publicEncrypt, timingSafeEqual } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { type PrincipalId, parsePrincipalId } from '../../escrow/records/ids.js';
import { readSpki, rsaNumbers } from '../cryptoki/spki.js';
import { CeremonyRefused } from './ceremonySession.js';
import { jsonOrUndefined } from '../../system/json.js';

const challengeSchema = z.strictObject({
  id: z.string(),
  spki: z.string(),
  oaep: z.enum(['RSA-OAEP', 'RSA-OAEP-256']),
  ciphertext: z.string(),
  nonceHash: z.string().regex(/^[0-9a-f]{64}$/),
});
/** `nonce` is base64url. */
const answerSchema = z.strictObject({ id: z.string(), nonce: z.string() });

/**
 * What a depositary is asked, to show that it holds its private key: `ciphertext` (base64) is a nonce by the
 * RSA-OAEP named `oaep` (RFC 7518 section 4.3) to the key `spki` (DER SubjectPublicKeyInfo, base64); `nonceHash` is the nonce's SHA-256 (hex).
 */
export type Challenge = z.infer<typeof challengeSchema>;

/** What a depositary has shown to be its own. */
export interface ProvenDepositary {
  readonly id: PrincipalId;
  readonly key: KeyObject;
}

/** Makes a challenge for the public key (PEM) of a depositary; `nonce` is 32 random bytes. */
export function makeChallenge(
  id: string,
  publicKeyPem: string,
  nonce: Buffer,
  oaep: Challenge['oaep'] = 'RSA-OAEP-256',
): Challenge {
  if (parsePrincipalId(id) === undefined) throw badId(id);
  const key = importPem(publicKeyPem);
  requireStrongRsa(key);
  const padding = {
    key,
    padding: constants.RSA_PKCS1_OAEP_PADDING,
    oaepHash: oaep === 'RSA-OAEP' ? 'sha1' : 'sha256',
  };
  return {
    id,
    spki: key.export({ type: 'spki', format: 'der' }).toString('base64'),
    oaep,
    ciphertext: publicEncrypt(padding, nonce).toString('base64'),
    nonceHash: createHash('sha256').update(nonce).digest('hex'),
  };
}

/** Reads the challenge (JSON) and its answer (JSON), and checks the one against the other. */
export function checkAnswer(id: string, challengeText: string, answerText: string): ProvenDepositary {
  const challenge = challengeSchema.safeParse(jsonOrUndefined(challengeText));
  const answer = answerSchema.safeParse(jsonOrUndefined(answerText));
  if (!challenge.success)
    throw new CeremonyRefused('The challenge is not one that `ceremony challenge` made.');
  if (!answer.success) throw new CeremonyRefused('The answer is not one of `escrowctl depositary answer`.');
  const name = parsePrincipalId(id);
  if (name === undefined) throw badId(id);
  if (challenge.data.id !== id || answer.data.id !== id) {
    throw new CeremonyRefused(`The challenge or the answer is not about ${id}.`);
  }
  const hash = createHash('sha256').update(Buffer.from(answer.data.nonce, 'base64url')).digest();
  if (!timingSafeEqual(hash, Buffer.from(challenge.data.nonceHash, 'hex'))) {
    throw new CeremonyRefused('The answer is wrong: whoever gave it does not hold the private key.');
  }
  const key = readSpki(Buffer.from(challenge.data.spki, 'base64'));
  if (key === undefined) throw new CeremonyRefused('The challenge holds no public key.');
  requireStrongRsa(key);
  return { id: name, key };
}

function requireStrongRsa(key: KeyObject): void {
  const bits = rsaNumbers(key)?.bits;
  if (bits === undefined)
    throw new CeremonyRefused('The key of a depositary is an RSA key: this one is not.');
  if (bits < 2048)
    throw new CeremonyRefused(`The RSA key has ${bits} bits; a depositary needs 2048 or more.`);
}

/** Takes SubjectPublicKeyInfo or PKCS#1 in PEM; a private key is refused, for it should not be here. */
function importPem(pem: string): KeyObject {
  if (pem.includes('PRIVATE KEY')) {
    throw new CeremonyRefused('This file holds a private key. Only the public half belongs here.');
  }
  try {
    return createPublicKey(pem);
  } catch (error) {
    throw new CeremonyRefused('The file holds no public key in PEM.', { cause: error });
  }
}

/** What is thrown for a name that nobody can have. */
export function badId(id: string): CeremonyRefused {
  return new CeremonyRefused(
    `"${id}" is no name for a depositary: lower-case letters, digits, ".", "_" and "-", at most 64.`,
  );
}
