import { type KeyObject, createDecipheriv, createPrivateKey, createPublicKey } from 'node:crypto';

import { canonicalHash, sha256Hex } from '../../escrow/records/digests.js';
import type { ConfirmationOrder } from '../../api/orders.js';
import type { ReleaseReply, ReleasedKeysReply } from '../../api/replies.js';
import type { Json } from '../../log/entry/canonical.js';
import { sameBytes } from '../../log/tree/merkle.js';
import { type DecryptionKey, type OaepName, oaepNamed, openOaep } from '../identity/decryptionKey.js';
import { trimToDer } from '../../system/der.js';
import { NotBelieved } from '../errors.js';
import { type FrameFault, readFrame } from '../import/secretFrame.js';
import type { Signer } from '../identity/signingKey.js';
import { signStatement } from '../statement.js';
import { CONFIRMATION_TYPE } from '../../escrow/records/statementTypes.js';

/** A released key, in the clear. Call {@link destroyOpened} when it has been written. */
export type OpenedKey =
  | { readonly kind: 'pair'; readonly privateKey: KeyObject }
  /** AES: 32 bytes, overwritten by {@link destroyOpened}. */
  | { readonly kind: 'secret'; readonly bytes: Buffer }
  /** A secret that was imported, byte for byte; overwritten likewise. */
  | { readonly kind: 'kept'; readonly bytes: Buffer };

/** How an opened key is written. */
export type KeyFormat = 'pem' | 'jwk' | 'raw';

/** What the release is said to be of. */
export interface ReleasedKey {
  /** SPKI PEM; undefined for symmetric keys. */
  readonly publicKeyPem: string | undefined;
  /** Of a secret that was imported, in base64url: which it is. */
  readonly checkValue?: string | undefined;
}

const AES_KEY_BYTES = 32;
/** RFC 5649 section 3: the alternative initial value. */
const KWP_INITIAL_VALUE = Buffer.from('A65959A6', 'hex');

/**
 * Opens a release (CKM_RSA_AES_KEY_WRAP format, PKCS#11 2.40 section 2.1.21): the AES key X by RSA-OAEP, then the key
 * under X by AES key wrap with padding (RFC 5649), and checks that it is the private half of the public key shown, or the
 * secret of the check value shown, in a frame that is in order to the last byte.
 *
 * @throws NotBelieved `release-malformed`, `release-mismatch`
 */
export function openRelease(release: ReleaseReply, recipientKey: KeyObject, key: ReleasedKey): OpenedKey {
  return openUnder(
    openOaep(recipientKey, Buffer.from(release.transferKey, 'base64url'), oaepOf(release)),
    release,
    key,
  );
}

/** The same with a key that may be on a card. */
export async function openReleaseWith(
  release: ReleaseReply,
  recipientKey: DecryptionKey,
  key: ReleasedKey,
): Promise<OpenedKey> {
  const transferKey = Buffer.from(release.transferKey, 'base64url');
  return openUnder(await recipientKey.open(transferKey, oaepOf(release)), release, key);
}

function oaepOf({ oaep }: ReleaseReply): OaepName {
  const known = oaepNamed(oaep);
  if (known !== undefined) return known;
  throw new NotBelieved('release-malformed', `unknown encryption of the released key: ${oaep}`);
}

function openUnder(transfer: Buffer | undefined, release: ReleaseReply, key: ReleasedKey): OpenedKey {
  if (transfer === undefined) {
    throw new NotBelieved(
      'release-malformed',
      'the release does not open with your key: is it for somebody else?',
    );
  }
  try {
    const unwrapped = unwrapPadded(transfer, Buffer.from(release.wrappedKey, 'base64url'));
    if (key.checkValue !== undefined) return openedFrame(unwrapped, key.checkValue);
    return key.publicKeyPem === undefined ? openedSecret(unwrapped) : openedPair(unwrapped, key.publicKeyPem);
  } finally {
    transfer.fill(0);
  }
}

/**
 * The bytes of an opened key in a format: PKCS#8 PEM, JWK (RFC 7517), or raw for a secret key and for a secret.
 * @throws RangeError when the kind of key has no such format
 */
export function exportOpened(key: OpenedKey, format: KeyFormat): Buffer {
  switch (key.kind) {
    case 'pair':
      if (format === 'pem') return Buffer.from(key.privateKey.export({ format: 'pem', type: 'pkcs8' }));
      if (format === 'jwk') return json(key.privateKey.export({ format: 'jwk' }));
      throw new RangeError('a private key is written as pem or jwk');
    case 'secret':
      if (format === 'raw') return Buffer.from(key.bytes);
      if (format === 'jwk') return json({ kty: 'oct', k: key.bytes.toString('base64url') });
      throw new RangeError('a secret key is written as raw or jwk');
    case 'kept':
      if (format === 'raw') return Buffer.from(key.bytes);
      throw new RangeError('a secret is written as raw: its bytes and nothing else');
  }
}

/**
 * That the keys of a request are written and open, for the server to forget them: signed by their recipient, over the digest
 * that the log has of what was released.
 */
export async function confirmation(
  signer: Signer,
  logKey: string,
  recovery: string,
  { keys }: ReleasedKeysReply,
  now: Date,
): Promise<ConfirmationOrder> {
  const answers = keys.map(({ key, transferKey, wrappedKey }) => [
    key,
    sha256Hex(Buffer.concat([transferKey, wrappedKey].map((part) => Buffer.from(part, 'base64url')))),
  ]);
  const statement = await signStatement(
    signer,
    CONFIRMATION_TYPE,
    { logKey, now },
    {
      recovery,
      keys: keys.map(({ key }) => key),
      released: canonicalHash(Object.fromEntries(answers) as Json),
    },
  );
  return { statement };
}

/** Overwrites what can be overwritten. */
export function destroyOpened(key: OpenedKey): void {
  if (key.kind !== 'pair') key.bytes.fill(0);
}

/**
 * AES key wrap with padding, unwrapped (RFC 5649 section 4.2), under an AES-256 key.
 * @throws NotBelieved `release-malformed` when it is none under this key
 */
export function unwrapPadded(transfer: Buffer, wrapped: Buffer): Buffer {
  try {
    const decipher = createDecipheriv('id-aes256-wrap-pad', transfer, KWP_INITIAL_VALUE);
    return Buffer.concat([decipher.update(wrapped), decipher.final()]);
  } catch (cause) {
    throw new NotBelieved('release-malformed', 'the wrapped key does not unwrap', { cause });
  }
}

function openedSecret(bytes: Buffer): OpenedKey {
  if (bytes.length !== AES_KEY_BYTES) {
    bytes.fill(0);
    throw new NotBelieved('release-malformed', 'what was released is not an AES-256 key');
  }
  return { kind: 'secret', bytes };
}

function openedFrame(unwrapped: Buffer, checkValue: string): OpenedKey {
  try {
    const read = readFrame(unwrapped, Buffer.from(checkValue, 'base64url'));
    if ('secret' in read) return { kind: 'kept', bytes: read.secret };
    if (read.fault === 'another-secret')
      throw new NotBelieved('release-mismatch', 'what was released is not the secret that was deposited');
    throw new NotBelieved('release-malformed', FRAME_FAULTS[read.fault]);
  } finally {
    unwrapped.fill(0);
  }
}

/** What is wrong with a frame that was deposited so. */
const FRAME_FAULTS = {
  length: 'what was released is not the frame of a secret: it has another length',
  'secret-length': 'the frame of the secret says that it has no bytes, or more than a secret can have',
  bucket: 'the secret is in a longer frame than it needs',
  padding: 'behind the secret its frame has something other than zeros',
} as const satisfies Record<Exclude<FrameFault, 'another-secret'>, string>;

function openedPair(unwrapped: Buffer, publicKeyPem: string): OpenedKey {
  try {
    const privateKey = parsePkcs8(unwrapped);
    const released = spkiOf(privateKey, 'what was released is a private key without a proper public half');
    if (!sameBytes(released, spkiOf(publicKeyPem, 'the public key shown for this release is not one'))) {
      throw new NotBelieved('release-mismatch');
    }
    return { kind: 'pair', privateKey };
  } finally {
    unwrapped.fill(0);
  }
}

/** Tokens may pad with zero bytes before they wrap (SoftHSM 2.6.1 does, to a multiple of 8). */
function parsePkcs8(padded: Buffer): KeyObject {
  const der = trimToDer(padded);
  if (der === undefined) throw new NotBelieved('release-malformed', 'what was released is not DER');
  try {
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  } catch (cause) {
    throw new NotBelieved('release-malformed', 'what was released is not a PKCS#8 private key', { cause });
  }
}

/** DER SubjectPublicKeyInfo of a private key or of a public one in PEM. @throws NotBelieved `release-malformed` */
function spkiOf(key: KeyObject | string, otherwise: string): Buffer {
  try {
    return createPublicKey(key).export({ format: 'der', type: 'spki' });
  } catch (cause) {
    throw new NotBelieved('release-malformed', otherwise, { cause });
  }
}

function json(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`);
}
