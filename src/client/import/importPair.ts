import {
  type KeyObject,
  constants,
  createCipheriv,
  createPublicKey,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { errors, jwtVerify } from 'jose';

import { sha256Hex } from '../../escrow/records/digests.js';
import { IMPORT_TYPE } from '../../escrow/records/statementTypes.js';
import type { ImportKeyReply } from '../../api/replies.js';
import { type Jwk, importJwk } from '../../jose/jws.js';
import { NotBelieved } from '../errors.js';
import { type OaepName, oaepNamed } from '../identity/decryptionKey.js';

/** An import key that the token has attested to the caller. */
export interface ImportPair {
  readonly id: string;
  readonly publicKey: KeyObject;
  readonly oaep: OaepName;
  readonly expiresAt: Date;
}

/** What an import key is checked against. */
export interface ImportPins {
  readonly origin: string;
  /** The C2SP verifier key of the log. */
  readonly logKey: string;
  readonly identityKey: Jwk;
  /** Who asked for it. */
  readonly caller: string;
}

/** Bits of the modulus of an import key. */
const PAIR_BITS = 3072;
/** What is attested, exactly. */
const MEMBERS = ['aud', 'exp', 'for', 'iat', 'import', 'iss', 'key', 'oaep'];

/**
 * The import key shown, when the token's identity key attests it: in this token, for the caller, and how to encrypt to it. Whoever
 * wraps a private key to another has given it away.
 * @throws NotBelieved `attestation-malformed`, `attestation-signature-invalid`, `attestation-expired`,
 *   `attestation-issuer-mismatch`, `import-key-mismatch`
 */
export async function believeImportPair(
  shown: ImportKeyReply,
  pins: ImportPins,
  now: Date,
): Promise<ImportPair> {
  const claims = await claimsOf(shown.attestation, pins, now);
  const der = Buffer.from(shown.publicKey, 'base64url');
  const oaep = oaepNamed(shown.oaep);
  const publicKey = rsaKeyOf(der);
  const isSame =
    Object.keys(claims).sort().join() === MEMBERS.join() &&
    claims['import'] === shown.import &&
    claims['for'] === pins.caller &&
    claims['key'] === sha256Hex(der) &&
    claims['oaep'] === shown.oaep;
  if (claims['iss'] !== pins.origin || claims['aud'] !== pins.logKey)
    throw new NotBelieved('attestation-issuer-mismatch');
  if (!isSame || oaep === undefined || publicKey === undefined) throw new NotBelieved('import-key-mismatch');
  return { id: shown.import, publicKey, oaep, expiresAt: new Date(Number(claims['exp']) * 1000) };
}

/** RFC 5649 section 3: the alternative initial value. */
const KWP_INITIAL_VALUE = Buffer.from('A65959A6', 'hex');
const TRANSFER_KEY_BYTES = 32;
const OAEP_HASHES = { 'RSA-OAEP': 'sha1', 'RSA-OAEP-256': 'sha256' } as const satisfies Record<
  OaepName,
  string
>;

/**
 * A private key, or a secret in its frame, for the token alone, in the format of CKM_RSA_AES_KEY_WRAP (PKCS#11 2.40 section 2.1.21): a fresh AES-256 key by
 * RSA-OAEP, then the key under that by AES key wrap with padding (RFC 5649).
 * @param content PrivateKeyInfo in DER, or a frame; not changed
 */
export function wrapFor(
  { publicKey, oaep }: Pick<ImportPair, 'publicKey' | 'oaep'>,
  content: Buffer,
): Buffer {
  const transfer = randomBytes(TRANSFER_KEY_BYTES);
  try {
    const cipher = createCipheriv('id-aes256-wrap-pad', transfer, KWP_INITIAL_VALUE);
    const wrapped = Buffer.concat([cipher.update(content), cipher.final()]);
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    return Buffer.concat([
      publicEncrypt({ key: publicKey, padding, oaepHash: OAEP_HASHES[oaep] }, transfer),
      wrapped,
    ]);
  } finally {
    transfer.fill(0);
  }
}

async function claimsOf(
  attestation: string,
  { identityKey }: ImportPins,
  now: Date,
): Promise<Readonly<Record<string, unknown>>> {
  const key = importJwk(identityKey);
  if (key === undefined)
    throw new NotBelieved('attestation-signature-invalid', 'the pinned identity key is not a key');
  try {
    const how = { algorithms: ['ES256'], typ: IMPORT_TYPE, currentDate: now, requiredClaims: ['exp'] };
    return (await jwtVerify(attestation, key, how)).payload;
  } catch (cause) {
    if (!(cause instanceof errors.JOSEError)) throw cause;
    if (cause instanceof errors.JWTExpired)
      throw new NotBelieved('attestation-expired', undefined, { cause });
    const isBySomebodyElse =
      cause instanceof errors.JWSSignatureVerificationFailed || cause instanceof errors.JOSEAlgNotAllowed;
    throw new NotBelieved(
      isBySomebodyElse ? 'attestation-signature-invalid' : 'attestation-malformed',
      undefined,
      { cause },
    );
  }
}

function rsaKeyOf(der: Buffer): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    return key.asymmetricKeyType === 'rsa' && key.asymmetricKeyDetails?.modulusLength === PAIR_BITS
      ? key
      : undefined;
  } catch {
    return undefined;
  }
}
