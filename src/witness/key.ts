import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';

import { fileReason } from '../system/errors.js';
import {
  cosignatureMessage,
  encodeCosignature,
  parseWitnessKey,
  witnessVkeyFor,
} from '../log/note/cosignature.js';
import { signatureLine } from '../log/note/note.js';
import { NoteError } from '../log/note/noteKey.js';
import { decodeText, TextError } from '../log/entry/plainText.js';
import { WitnessFault } from './errors.js';

export interface Cosigner {
  readonly name: string;
  /** The C2SP verifier key, type 0x04, to hand out. */
  readonly vkey: string;
  /**
   * The cosignature of a checkpoint, as a line of its note.
   * @param timestamp seconds since 1970
   */
  cosign(text: string, timestamp: number): string;
}

/** What the file of a key holds: its name, and the key as PKCS#8 in PEM. */
const nameLine = /^witness: ([^\n]+)\n/;

/**
 * The content of a new key file. @throws WitnessFault `witness-key` when a note cannot hold the name.
 * @param name a URL without a scheme that names the witness (C2SP tlog-cosignature, "Format")
 */
export function newKeyFile(name: string): { readonly content: string; readonly vkey: string } {
  const { privateKey } = generateKeyPairSync('ed25519');
  const { vkey } = cosignerOf(name, privateKey);
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  return { content: `witness: ${name}\n${pem}`, vkey };
}

/**
 * Reads a key file. @throws WitnessFault `witness-key` when it is missing, malformed, or can be read by others.
 */
export async function readKeyFile(path: string): Promise<Cosigner> {
  let content: string;
  try {
    const { mode } = await stat(path);
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new WitnessFault('witness-key', `${path} can be read by others; chmod 600 it`);
    }
    content = decodeText(await readFile(path), path);
  } catch (cause) {
    if (cause instanceof WitnessFault || cause instanceof TextError) throw cause;
    throw new WitnessFault('witness-key', `${path}: ${fileReason(cause)}`, { cause });
  }
  const name = nameLine.exec(content)?.[1];
  if (name === undefined) throw new WitnessFault('witness-key', `${path} is not the key of a witness`);
  let key: KeyObject;
  try {
    key = createPrivateKey(content.replace(nameLine, ''));
  } catch (cause) {
    throw new WitnessFault('witness-key', `${path} does not hold a private key`, { cause });
  }
  return cosignerOf(name, key);
}

/** @throws WitnessFault `witness-key` */
export function cosignerOf(name: string, privateKey: KeyObject): Cosigner {
  try {
    const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new NoteError('not an Ed25519 key');
    const vkey = witnessVkeyFor(name, publicKey);
    const { keyId } = parseWitnessKey(vkey);
    return {
      name,
      vkey,
      cosign: (text, timestamp) => {
        const signature = sign(undefined, cosignatureMessage(text, timestamp), privateKey);
        return signatureLine({ name, keyId, signature: encodeCosignature(timestamp, signature) });
      },
    };
  } catch (cause) {
    if (!(cause instanceof NoteError)) throw cause;
    throw new WitnessFault('witness-key', `the key of the witness cannot be used: ${cause.message}`, {
      cause,
    });
  }
}
