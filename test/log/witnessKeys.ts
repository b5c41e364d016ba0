import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';

import { cosignerOf } from '../../src/witness/key.js';
import { parseWitnessKey, type WitnessKey } from '../../src/log/note/cosignature.js';
import { parseNote } from '../../src/log/note/note.js';

/** A witness that signs whatever it is told to. */
export interface TestWitness {
  readonly vkey: string;
  readonly key: WitnessKey;
  readonly privateKey: KeyObject;
  /** The line of a cosignature of this note's text. */
  line(note: string, timestamp?: number): string;
  /** The note with that line behind its others. */
  cosign(note: string, timestamp?: number): string;
}

export const COSIGNED_AT = 1_772_366_400;

export function testWitness(
  name: string,
  privateKey: KeyObject = generateKeyPairSync('ed25519').privateKey,
): TestWitness {
  const cosigner = cosignerOf(name, privateKey);
  const { vkey } = cosigner;
  const line = (note: string, timestamp = COSIGNED_AT): string =>
    cosigner.cosign(parseNote(note).text, timestamp);
  return {
    vkey,
    key: parseWitnessKey(vkey),
    privateKey,
    line,
    cosign: (note, timestamp) => note + line(note, timestamp),
  };
}

/** RFC 8410 section 7: the private key of this seed. */
export function ed25519Of(seedHex: string): KeyObject {
  return createPrivateKey({
    key: Buffer.from(`302e020100300506032b657004220420${seedHex}`, 'hex'),
    format: 'der',
    type: 'pkcs8',
  });
}
