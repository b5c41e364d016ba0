import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from 'node:crypto';
import { formatCheckpoint, type Checkpoint } from '../../src/log/note/checkpoint.js';
import { formatNote, noteSigningBytes } from '../../src/log/note/note.js';
import { noteVerifier, vkeyFor, type NoteAlgorithm, type NoteVerifier } from '../../src/log/note/noteKey.js';

/** A software key that signs notes, in place of the log's key in the token. */
export interface TestKey {
  readonly vkey: string;
  readonly verifier: NoteVerifier;
  readonly spkiDer: Uint8Array;
  /** The signed note of this text. */
  sign(text: string): string;
}

export function testKey(name: string, algorithm: NoteAlgorithm = 'Ed25519'): TestKey {
  const { privateKey } =
    algorithm === 'Ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return testKeyOf(name, privateKey, algorithm);
}

/** An Ed25519 key that is the same each time, and so are its signatures (RFC 8032): for bytes that are pinned. */
export function fixedPrivateKey(seed: string): KeyObject {
  const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex');
  const bytes = createHash('sha256').update(seed).digest();
  return createPrivateKey({ key: Buffer.concat([pkcs8, bytes]), format: 'der', type: 'pkcs8' });
}

export function testKeyOf(
  name: string,
  privateKey: KeyObject,
  algorithm: NoteAlgorithm = 'Ed25519',
): TestKey {
  const publicKey = createPublicKey(privateKey);
  const spkiDer = publicKey.export({ format: 'der', type: 'spki' });
  const vkey = vkeyFor({ name, algorithm, spkiDer });
  const verifier = noteVerifier(vkey);
  return { vkey, verifier, spkiDer, sign: (text) => signedBy(verifier, privateKey, text) };
}

export function signCheckpoint(key: TestKey, checkpoint: Checkpoint): string {
  return key.sign(formatCheckpoint(checkpoint));
}

function signedBy({ name, keyId, algorithm }: NoteVerifier, privateKey: KeyObject, text: string): string {
  const signature = sign(algorithm === 'Ed25519' ? undefined : 'sha256', noteSigningBytes(text), privateKey);
  return formatNote(text, [{ name, keyId, signature }]);
}
