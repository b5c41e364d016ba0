import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { decodeBase64, encodeBase64 } from './base64.js';
import { sameBytes, sha256 } from '../tree/merkle.js';
import { noteSigningBytes, parseNote, parseSignatureLines, type NoteSignature } from './note.js';
import { ed25519Prefix, isKeyName, keyIdHex, NoteError } from './noteKey.js';

/*
 * Cosignatures, version 1 (C2SP tlog-cosignature, "Ed25519 signed message"): a witness says that, as of a time, the
 * checkpoint is the largest it has seen of that log, and that it continues all that it had seen before.
 */

/** A witness, as those who believe it know it. */
export interface WitnessKey {
  /** As it was given: the C2SP verifier key. */
  readonly vkey: string;
  readonly name: string;
  /** The key id, an unsigned 32-bit number. */
  readonly keyId: number;
  /** The 32 bytes of the Ed25519 key. */
  readonly publicKey: Uint8Array;
  /** Whether `signature` is this witness's cosignature of the checkpoint with this text. Never throws. */
  verify(text: Uint8Array, signature: Uint8Array): boolean;
}

export interface Cosignature {
  readonly witness: WitnessKey;
  /** When the witness says that it cosigned: seconds since 1970, POSIX; from 2^53 on only about so many. */
  readonly timestamp: number;
  /** As it stands on the note. */
  readonly signature: NoteSignature;
}

/** How many witnesses anybody may be told to believe. */
export const maximumWitnesses = 16;

/** Signature type of C2SP signed-note for cosignatures by Ed25519 keys. */
const cosignatureType = 0x04;
const timestampLengthBytes = 8;
const signatureLengthBytes = timestampLengthBytes + 64;

/**
 * The verifier key (vkey) of a witness: `<name>+<key id>+<base64 of 0x04 and the key>` (C2SP tlog-cosignature,
 * "Format").
 *
 * @param publicKey the 32 bytes of an Ed25519 key
 * @throws NoteError when the name has spaces or a plus, or the key is no Ed25519 key.
 */
export function witnessVkeyFor(name: string, publicKey: Uint8Array): string {
  if (!isKeyName(name)) throw new NoteError('a key name is not empty and has neither spaces nor a plus');
  importKey(publicKey);
  return `${name}+${keyIdHex(keyIdOf(name, publicKey))}+${encodeBase64(Uint8Array.of(cosignatureType, ...publicKey))}`;
}

/**
 * Reads the vkey of a witness. A key of another type, and be it the same Ed25519 key used for notes, is refused.
 * @throws NoteError
 */
export function parseWitnessKey(vkey: string): WitnessKey {
  const [, name, hex, base64] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/su.exec(vkey) ?? [];
  if (name === undefined || hex === undefined || base64 === undefined || !isKeyName(name)) {
    throw new NoteError('malformed verifier key of a witness');
  }
  const typed = decodeBase64(base64);
  if (typed?.[0] !== cosignatureType) {
    throw new NoteError('not the verifier key of a witness: those are of type 0x04, Ed25519 cosignature/v1');
  }
  const publicKey = typed.subarray(1);
  const key = importKey(publicKey);
  const keyId = keyIdOf(name, publicKey);
  if (keyIdHex(keyId) !== hex) throw new NoteError('the verifier key does not have its key id');
  return {
    vkey,
    name,
    keyId,
    publicKey,
    verify: (text, signature) => {
      const timestamp = timestampOf(signature);
      if (timestamp === undefined) return false;
      return verify(undefined, messageOf(text, timestamp), key, signature.subarray(timestampLengthBytes));
    },
  };
}

/**
 * Reads the vkeys of witnesses of whom each counts for itself.
 * @throws NoteError also when one key stands twice, under whatever name: a cosignature does not commit to the name, so
 *   that one witness could count as two.
 */
export function parseWitnessKeys(vkeys: readonly string[]): readonly WitnessKey[] {
  if (vkeys.length > maximumWitnesses) throw new NoteError(`more than ${maximumWitnesses} witnesses`);
  const keys = vkeys.map(parseWitnessKey);
  for (const [position, key] of keys.entries()) {
    if (keys.slice(0, position).some((other) => sameBytes(other.publicKey, key.publicKey))) {
      throw new NoteError(`the key of the witness ${key.name} stands twice`);
    }
  }
  return keys;
}

/**
 * What a witness signs (C2SP tlog-cosignature, "Ed25519 signed message"): a header line, the time, and the whole text of
 * the checkpoint with its final newline.
 * @param timestamp seconds since 1970
 * @throws NoteError when the text cannot be that of a note, RangeError when the timestamp is none.
 */
export function cosignatureMessage(text: string, timestamp: number): Uint8Array {
  return messageOf(noteSigningBytes(text), BigInt(checkTimestamp(timestamp)));
}

/**
 * The signature of a note line: the timestamp, 64 bits, big-endian, and the Ed25519 signature over
 * {@link cosignatureMessage}.
 */
export function encodeCosignature(timestamp: number, signature: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(timestampLengthBytes + signature.length);
  bytes.writeBigUInt64BE(BigInt(checkTimestamp(timestamp)));
  bytes.set(signature, timestampLengthBytes);
  return bytes;
}

/**
 * The cosignatures by these witnesses on a signed checkpoint, at most one of each, in the order of the witnesses. Lines
 * by anybody else are ignored, also that of the log: that must have been checked (see `openCheckpoint`).
 * @throws NoteError when the note is malformed, or a line that is said to be by one of these witnesses is not.
 */
export function cosignaturesOn(note: string, witnesses: readonly WitnessKey[]): readonly Cosignature[] {
  const { text, claimed } = parseNote(note);
  return holding(text, claimed, witnesses);
}

/**
 * Reads what a witness answers (C2SP tlog-witness, "add-checkpoint"): signature lines, of which those by `witness` must
 * hold for the checkpoint with this text, and others are ignored.
 * @throws NoteError when it is malformed or has no cosignature by this witness.
 */
export function readCosignature(answer: string, text: string, witness: WitnessKey): Cosignature {
  const [cosignature] = holding(text, parseSignatureLines(answer), [witness]);
  if (cosignature === undefined) throw new NoteError(`no cosignature by ${witness.name}`);
  return cosignature;
}

function holding(
  text: string,
  claimed: readonly NoteSignature[],
  witnesses: readonly WitnessKey[],
): readonly Cosignature[] {
  const message = noteSigningBytes(text);
  return witnesses.flatMap((witness) => {
    const own = claimed.filter(({ name, keyId }) => name === witness.name && keyId === witness.keyId);
    for (const { signature } of own) {
      if (!witness.verify(message, signature))
        throw new NoteError(`the cosignature by ${witness.name} does not hold`);
    }
    // a witness may stand there twice, with two times: it counts once, for the later one
    const found = own
      .map((signature) => ({ witness, timestamp: Number(timestampOf(signature.signature)), signature }))
      .sort((a, b) => b.timestamp - a.timestamp);
    return found.slice(0, 1);
  });
}

function messageOf(text: Uint8Array, timestamp: bigint): Uint8Array {
  return Buffer.concat([Buffer.from(`cosignature/v1\ntime ${timestamp}\n`), text]);
}

/** The timestamp of a cosignature, any of 64 bits; undefined when it is none. */
function timestampOf(signature: Uint8Array): bigint | undefined {
  return signature.length === signatureLengthBytes ? Buffer.from(signature).readBigUInt64BE() : undefined;
}

function checkTimestamp(timestamp: number): number {
  if (!Number.isSafeInteger(timestamp) || timestamp < 0) throw new RangeError('not a time in seconds');
  return timestamp;
}

/** C2SP tlog-cosignature, "Format": SHA-256(name || 0x0A || 0x04 || key)[:4]. */
function keyIdOf(name: string, publicKey: Uint8Array): number {
  const digest = sha256(Buffer.concat([Buffer.from(`${name}\n`), Uint8Array.of(cosignatureType), publicKey]));
  return Buffer.from(digest).readUInt32BE();
}

function importKey(publicKey: Uint8Array): KeyObject {
  const der = Buffer.concat([ed25519Prefix, publicKey]);
  try {
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    if (key.asymmetricKeyType === 'ed25519' && publicKey.length === 32) return key;
  } catch {
    // said below
  }
  throw new NoteError('not an Ed25519 public key');
}
