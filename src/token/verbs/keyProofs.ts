import { constants, createHash, publicEncrypt, randomBytes, verify } from 'node:crypto';
import type { Handle } from 'pkcs11js';
import {
  CHECK_VALUE_BYTES,
  KEY_SPECS,
  type KeySpec,
  type Operation,
  SECRET_CHECK_TEXT,
} from '../../escrow/records/keySpecs.js';
import { sameBytes } from '../../log/tree/merkle.js';
import { readSpki } from '../cryptoki/spki.js';
import type { OpenParts } from '../objects/openParts.js';

/** The one use by which a key shows which key it is, and the mechanism of that. */
export interface Proof {
  readonly use: Operation;
  readonly mechanism: 'rsaPkcs' | 'rsaOaep' | 'ecdsa' | 'eddsa' | 'sha256Hmac' | 'aesGcm';
}

/** What is known of a key outside of the token: neither, for AES. */
export interface KnownKey {
  /** DER SubjectPublicKeyInfo. */
  readonly publicKey?: Uint8Array | undefined;
  /** Of a secret in its frame. */
  readonly checkValue?: Uint8Array | undefined;
}

/**
 * How a key is proven. What it signs is there for as long as anybody keeps it, so where it can decrypt it need not sign; `mayOnlySign`
 * says that it lies under a key-encryption key which lets it do nothing else.
 */
export function proofOf(spec: KeySpec, mayOnlySign: boolean): Proof {
  const { kind } = KEY_SPECS[spec];
  switch (kind) {
    case 'RSA':
      return mayOnlySign ? { use: 'sign', mechanism: 'rsaPkcs' } : { use: 'decrypt', mechanism: 'rsaOaep' };
    case 'EC':
      return { use: 'sign', mechanism: 'ecdsa' };
    case 'OKP':
      return { use: 'sign', mechanism: 'eddsa' };
    case 'SECRET':
      return { use: 'sign', mechanism: 'sha256Hmac' };
    case 'AES':
      return { use: 'decrypt', mechanism: 'aesGcm' };
  }
}

const CHALLENGE_BYTES = 32;
const ED25519_BYTES = 64;

/**
 * Uses a key in flight once, for something that can be nothing else, and says whether it is the one that is known. Nothing that it
 * makes leaves this process. Of an AES key nothing is known that it could be held against: it is not used, and the answer is yes.
 */
export function isKnownKey(
  { driver, mechanisms, profile }: Pick<OpenParts, 'driver' | 'mechanisms' | 'profile'>,
  session: Handle,
  key: Handle,
  of: {
    readonly spec: KeySpec;
    readonly proof: Proof;
    readonly known: KnownKey;
    /** What is signed. */
    readonly text: string;
  },
): boolean {
  const { spec, proof, known } = of;
  const row = KEY_SPECS[spec];
  if (row.kind === 'AES') return true;
  if (row.kind === 'SECRET') {
    driver.C_SignInit(session, mechanisms.plain('sha256Hmac'), key);
    const value = driver.C_Sign(session, Buffer.from(SECRET_CHECK_TEXT), Buffer.alloc(CHECK_VALUE_BYTES));
    return known.checkValue !== undefined && sameBytes(value, known.checkValue);
  }
  const publicKey = known.publicKey && readSpki(known.publicKey);
  if (publicKey === undefined) return false;
  if (proof.use === 'decrypt') {
    const challenge = randomBytes(CHALLENGE_BYTES);
    const oaepHash = profile.oaep === 'RSA-OAEP' ? 'sha1' : 'sha256';
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const sent = publicEncrypt({ key: publicKey, oaepHash, padding }, challenge);
    driver.C_DecryptInit(session, mechanisms.oaep(), key);
    return driver.C_Decrypt(session, sent, Buffer.alloc(sent.length)).equals(challenge);
  }
  const text = Buffer.from(of.text);
  const digest = createHash('sha256').update(text).digest();
  const signed = (how: ReturnType<typeof mechanisms.signing>, bytes: number): Buffer => {
    driver.C_SignInit(session, how.mechanism, key);
    return Buffer.from(driver.C_Sign(session, how.input, Buffer.alloc(bytes)));
  };
  switch (row.kind) {
    case 'RSA': {
      const signature = signed(mechanisms.signing('RS256', digest), row.modulusBits / 8);
      return verify('sha256', text, publicKey, signature);
    }
    case 'EC': {
      const signature = signed({ mechanism: mechanisms.plain('ecdsa'), input: digest }, 2 * row.orderBytes);
      return verify('sha256', text, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
    }
    case 'OKP':
      return verify(null, text, publicKey, signed(mechanisms.signing('EdDSA', text), ED25519_BYTES));
  }
}
