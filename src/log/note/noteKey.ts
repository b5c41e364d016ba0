import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { decodeBase64, encodeBase64 } from './base64.js';
import { sameBytes, sha256 } from '../tree/merkle.js';

/** The signature algorithms of notes that are known here; P-256 is the only curve for ECDSA. */
export type NoteAlgorithm = 'Ed25519' | 'ECDSA-P256';

/**
 * A public key that notes are checked with. The pair of name and key id says which signatures are its own.
 */
export interface NoteVerifier {
  readonly name: string;
  /** The key id, an unsigned 32-bit number: the first four bytes, big-endian, of a hash of the key. */
  readonly keyId: number;
  readonly algorithm: NoteAlgorithm;
  /**
   * Whether `signature` is this key's over `message`: 64 bytes for Ed25519, ASN.1 DER for ECDSA. Never
   * throws.
   */
  verify(message: Uint8Array, signature: Uint8Array): boolean;
}

/** A note, or the key of one, that is malformed or cannot be believed; the message says why. */
export class NoteError extends Error {
  override readonly name = 'NoteError';
}

/**
 * The verifier key (vkey) of a public key, as C2SP signed-note and golang.org/x/mod/sumdb/note write it:
 * `<name>+<key id, eight hexadecimal digits>+<base64 of the type byte and the key>`. The type is 0x01 with
 * the 32 bytes of an Ed25519 key, 0x02 with the DER SubjectPublicKeyInfo of an ECDSA key.
 *
 * @param spkiDer the DER SubjectPublicKeyInfo (RFC 5280 section 4.1), the point of an EC key uncompressed
 * @throws NoteError when the name has spaces or a plus, or the key is of another algorithm or encoding.
 */
export function vkeyFor(key: {
  readonly name: string;
  readonly algorithm: NoteAlgorithm;
  readonly spkiDer: Uint8Array;
}): string {
  if (!isKeyName(key.name)) throw new NoteError('a key name is not empty and has neither spaces nor a plus');
  const kind = kinds[key.algorithm];
  importKey(kind, key.spkiDer);
  const encoded = kind.encoded(key.spkiDer);
  const typed = Uint8Array.of(kind.type, ...encoded);
  return `${key.name}+${keyIdHex(kind.keyId(key.name, encoded))}+${encodeBase64(typed)}`;
}

/**
 * Reads a vkey, see {@link vkeyFor}.
 * @throws NoteError when it is malformed, of an unknown type, or its key id is not that of the key.
 */
export function noteVerifier(vkey: string): NoteVerifier {
  // The base64 may have pluses of its own, the name and the key id have none.
  const [, name, hex, base64] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/su.exec(vkey) ?? [];
  if (name === undefined || hex === undefined || base64 === undefined || !isKeyName(name)) {
    throw new NoteError('malformed verifier key');
  }
  const typed = decodeBase64(base64);
  const algorithm = noteAlgorithms.find((each) => kinds[each].type === typed?.[0]);
  if (typed === undefined || algorithm === undefined) throw new NoteError('verifier key of an unknown type');
  const kind = kinds[algorithm];
  const encoded = typed.subarray(1);
  const keyId = kind.keyId(name, encoded);
  if (keyIdHex(keyId) !== hex) throw new NoteError('the verifier key does not have its key id');
  const key = importKey(kind, kind.spki(encoded));
  return {
    name,
    keyId,
    algorithm,
    verify: (message, signature) => verify(kind.digest, message, key, signature),
  };
}

/** A name that a note can hold: not empty, without Unicode spaces, control characters or a plus. */
export function isKeyName(name: string): boolean {
  return /^[^+\p{White_Space}\p{Cc}]+$/u.test(name) && !/\p{Surrogate}/u.test(name);
}

/** How the keys of an algorithm are written in a vkey and named by a key id. */
interface Kind {
  readonly type: number;
  /** What the type byte is followed by. */
  encoded(spkiDer: Uint8Array): Uint8Array;
  /** The SubjectPublicKeyInfo of it. */
  spki(encoded: Uint8Array): Uint8Array;
  keyId(name: string, encoded: Uint8Array): number;
  /** The hash that is signed; undefined for the whole message. */
  readonly digest: 'sha256' | undefined;
  isKey(key: KeyObject): boolean;
}

/** RFC 8410 section 4: the SubjectPublicKeyInfo of an Ed25519 key is these bytes and the 32 of the key. */
export const ed25519Prefix = Buffer.from('302a300506032b6570032100', 'hex');

const noteAlgorithms = ['Ed25519', 'ECDSA-P256'] as const satisfies readonly NoteAlgorithm[];

const kinds = {
  // C2SP signed-note, "Ed25519 signatures": key ID = SHA-256(name || 0x0A || 0x01 || key)[:4].
  Ed25519: {
    type: 0x01,
    encoded: (spkiDer) => spkiDer.subarray(ed25519Prefix.length),
    spki: (encoded) => Buffer.concat([ed25519Prefix, encoded]),
    keyId: (name, encoded) =>
      leading32Bits(Buffer.concat([Buffer.from(`${name}\n`), Uint8Array.of(0x01), encoded])),
    digest: undefined,
    isKey: (key) => key.asymmetricKeyType === 'ed25519',
  },
  // C2SP signed-note, "Signature types", 0x02: the key id is the truncated SHA-256 of the
  // SubjectPublicKeyInfo alone.
  'ECDSA-P256': {
    type: 0x02,
    encoded: (spkiDer) => spkiDer,
    spki: (encoded) => encoded,
    keyId: (_name, encoded) => leading32Bits(encoded),
    digest: 'sha256',
    isKey: (key) => key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1',
  },
} as const satisfies Record<NoteAlgorithm, Kind>;

/** Imports a key that has the right algorithm and the one DER encoding, on which its key id depends. */
function importKey(kind: Kind, spkiDer: Uint8Array): KeyObject {
  const key = readKey(spkiDer);
  if (key === undefined || !kind.isKey(key))
    throw new NoteError('not a public key of the algorithm it is said to have');
  if (!sameBytes(key.export({ format: 'der', type: 'spki' }), spkiDer)) {
    throw new NoteError('not the DER encoding of an uncompressed key');
  }
  return key;
}

function readKey(spkiDer: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(spkiDer), format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

function leading32Bits(input: Uint8Array): number {
  const digest = sha256(input);
  return new DataView(digest.buffer, digest.byteOffset).getUint32(0);
}

/** The key id as it is written: eight hexadecimal digits. */
export function keyIdHex(keyId: number): string {
  return keyId.toString(16).padStart(8, '0');
}
