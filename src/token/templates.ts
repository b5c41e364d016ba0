import pkcs11 from 'pkcs11js';
import type { KeySpec, KeyUse } from '../escrow/keySpecs.js';
import { KEY_SPECS } from '../escrow/keySpecs.js';
import type { Template } from './attributes.js';
import { nestedBooleans, ulongs } from './attributes.js';
import { CURVES } from './spki.js';

/*
 * Every template that this program hands to a token. A secret or private object is PRIVATE, SENSITIVE, not
 * MODIFIABLE, not COPYABLE, names its mechanisms, and may do one thing (PKCS#11 2.40 sections 4.4 to 4.10).
 * What a template leaves out is a device's default, so each says yes or no to every use.
 */

/** Key types that the driver does not name. */
export const CKK_EC_EDWARDS = 0x40;
/** Bits of the RSA pairs that the token makes for itself, and bytes of what is encrypted to them. */
export const TOKEN_RSA = { modulusBits: 3072, ciphertextBytes: 384 } as const;

const { CKA_CLASS, CKA_KEY_TYPE, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_ID } = pkcs11;
const { CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_MODIFIABLE, CKA_COPYABLE, CKA_TRUSTED } = pkcs11;
const { CKA_WRAP_WITH_TRUSTED, CKA_UNWRAP_TEMPLATE, CKA_ALLOWED_MECHANISMS } = pkcs11;

const SECRET_USES = {
  encrypt: pkcs11.CKA_ENCRYPT,
  decrypt: pkcs11.CKA_DECRYPT,
  sign: pkcs11.CKA_SIGN,
  verify: pkcs11.CKA_VERIFY,
  wrap: pkcs11.CKA_WRAP,
  unwrap: pkcs11.CKA_UNWRAP,
  derive: pkcs11.CKA_DERIVE,
} as const;
const PRIVATE_USES = {
  decrypt: pkcs11.CKA_DECRYPT,
  sign: pkcs11.CKA_SIGN,
  signRecover: pkcs11.CKA_SIGN_RECOVER,
  unwrap: pkcs11.CKA_UNWRAP,
  derive: pkcs11.CKA_DERIVE,
} as const;
const PUBLIC_USES = {
  encrypt: pkcs11.CKA_ENCRYPT,
  verify: pkcs11.CKA_VERIFY,
  verifyRecover: pkcs11.CKA_VERIFY_RECOVER,
  wrap: pkcs11.CKA_WRAP,
  derive: pkcs11.CKA_DERIVE,
} as const;

function only<Use extends string>(uses: Readonly<Record<Use, number>>, ...may: readonly Use[]): Template {
  return (Object.keys(uses) as Use[]).map((use) => ({ type: uses[use], value: may.includes(use) }));
}

const GUARDED: Template = [
  { type: CKA_PRIVATE, value: true },
  { type: CKA_SENSITIVE, value: true },
];
const OPEN_TO_SEE: Template = [{ type: CKA_PRIVATE, value: false }];

/**
 * Never changed and never copied again. MODIFIABLE stands last: SoftHSM 2.6 applies the template of C_UnwrapKey
 * one attribute after another, and refuses what follows it (CKR_ATTRIBUTE_READ_ONLY).
 */
function fixed(...template: Template): Template {
  return [...template, { type: CKA_COPYABLE, value: false }, { type: CKA_MODIFIABLE, value: false }];
}

const inToken = (label: string): Template => [
  { type: CKA_TOKEN, value: true },
  { type: CKA_LABEL, value: label },
];
const IN_FLIGHT: Template = [{ type: CKA_TOKEN, value: false }];
const extractable = (value: boolean): Template => [{ type: CKA_EXTRACTABLE, value }];
const onlyUnderTrusted = (value: boolean): Template => [{ type: CKA_WRAP_WITH_TRUSTED, value }];
const allowing = (...mechanisms: readonly number[]): Template => [
  { type: CKA_ALLOWED_MECHANISMS, value: ulongs(...mechanisms) },
];
const kind = (objectClass: number, keyType: number): Template => [
  { type: CKA_CLASS, value: objectClass },
  { type: CKA_KEY_TYPE, value: keyType },
];
const SECRET_AES = kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES);
const AES_256: Template = [{ type: pkcs11.CKA_VALUE_LEN, value: 32 }];

/*
 * What an unwrapping key insists on. The caller of C_UnwrapKey must say the same, or is refused: so not even
 * somebody with the PIN can bring a key out of its blob readable, or an operate-only key out exportable.
 */
const NEVER_OUT: Template = [
  {
    type: CKA_UNWRAP_TEMPLATE,
    value: nestedBooleans([
      [CKA_SENSITIVE, true],
      [CKA_EXTRACTABLE, false],
    ]),
  },
];
const NEVER_READABLE: Template = [
  { type: CKA_UNWRAP_TEMPLATE, value: nestedBooleans([[CKA_SENSITIVE, true]]) },
];

/* ----------------------------------------------------------- made by people */

/** `kek:operate:vN` and `kek:release:vN`. */
export function kekTemplate(purpose: 'operate' | 'release', label: string, kwp: number): Template {
  return fixed(
    ...SECRET_AES,
    ...AES_256,
    ...inToken(label),
    ...GUARDED,
    ...extractable(false),
    ...only(SECRET_USES, 'wrap', 'unwrap'),
    ...allowing(kwp),
    ...(purpose === 'operate' ? NEVER_OUT : NEVER_READABLE),
  );
}

/** A trusted public key: `depositary:<id>`, or the public half of `server-for:<id>`. Only the SO can make it. */
export function trustedTemplate(
  label: string,
  key: { readonly modulus: Buffer; readonly exponent: Buffer; readonly id: Buffer },
  oaep: number,
): Template {
  return fixed(
    ...kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA),
    ...inToken(label),
    ...OPEN_TO_SEE,
    { type: CKA_TRUSTED, value: true },
    { type: CKA_ID, value: key.id },
    { type: pkcs11.CKA_MODULUS, value: key.modulus },
    { type: pkcs11.CKA_PUBLIC_EXPONENT, value: key.exponent },
    ...only(PUBLIC_USES, 'wrap'),
    ...allowing(oaep),
  );
}

/** `identity` and `log`: pairs that sign and never leave. */
export function signingPair(label: string, curve: 'secp256r1' | 'Ed25519', mechanism: number): PairTemplate {
  const keyType = curve === 'Ed25519' ? CKK_EC_EDWARDS : pkcs11.CKK_EC;
  return {
    publicKey: fixed(
      ...kind(pkcs11.CKO_PUBLIC_KEY, keyType),
      ...inToken(label),
      ...OPEN_TO_SEE,
      { type: pkcs11.CKA_EC_PARAMS, value: CURVES[curve].params },
      ...only(PUBLIC_USES, 'verify'),
      ...allowing(mechanism),
    ),
    privateKey: fixed(
      ...kind(pkcs11.CKO_PRIVATE_KEY, keyType),
      ...inToken(label),
      ...GUARDED,
      ...extractable(false),
      ...only(PRIVATE_USES, 'sign'),
      ...allowing(mechanism),
    ),
  };
}

/* ------------------------------------------------- made by people and daemon */

/** Both halves of a pair. */
export interface PairTemplate {
  readonly publicKey: Template;
  readonly privateKey: Template;
}

/**
 * RSA-3072 pairs that unwrap what never leaves again: `server-for:<id>` (ceremony) and `transport:<recovery>`
 * (daemon); without a label, a pair in flight.
 */
export function unwrappingPair(label: string | undefined, oaep: number): PairTemplate {
  const where = label === undefined ? IN_FLIGHT : inToken(label);
  return {
    publicKey: fixed(
      ...kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA),
      ...where,
      ...OPEN_TO_SEE,
      { type: pkcs11.CKA_MODULUS_BITS, value: TOKEN_RSA.modulusBits },
      { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
      ...only(PUBLIC_USES, 'wrap'),
      ...allowing(oaep),
    ),
    privateKey: fixed(
      ...kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA),
      ...where,
      ...GUARDED,
      ...extractable(false),
      ...only(PRIVATE_USES, 'unwrap'),
      ...allowing(oaep),
      ...NEVER_OUT,
    ),
  };
}

/* ------------------------------------------------------------- made in flight */

/** U, freshly made: may be wrapped for the length of one loan, and nothing else. */
export function userPair(spec: KeySpec, kwp: number): PairTemplate {
  const key = KEY_SPECS[spec];
  const numbers: Template =
    'modulusBits' in key
      ? [
          { type: pkcs11.CKA_MODULUS_BITS, value: key.modulusBits },
          { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
        ]
      : 'curve' in key
        ? [{ type: pkcs11.CKA_EC_PARAMS, value: CURVES[key.curve].params }]
        : [];
  return {
    publicKey: fixed(
      ...kind(pkcs11.CKO_PUBLIC_KEY, keyTypeOf(spec)),
      ...IN_FLIGHT,
      ...OPEN_TO_SEE,
      ...numbers,
      ...only(PUBLIC_USES),
    ),
    privateKey: userInFlight(spec, kwp),
  };
}

/** U as a symmetric key, freshly made. */
export function userSecret(kwp: number): Template {
  return [...AES_256, ...userInFlight('aes-256', kwp)];
}

/** U in flight, freshly made or unwrapped for a release: sensitive, extractable, without any use. */
export function userInFlight(spec: KeySpec, kwp: number): Template {
  return fixed(
    ...kindOf(spec),
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(true),
    ...(spec === 'aes-256' ? only(SECRET_USES) : only(PRIVATE_USES)),
    ...allowing(kwp),
  );
}

/** R and L when they are made: seal, and go out under trusted keys only. */
export function sealingKey(gcm: number): Template {
  return fixed(
    ...SECRET_AES,
    ...AES_256,
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(true),
    ...onlyUnderTrusted(true),
    ...only(SECRET_USES, 'encrypt'),
    ...allowing(gcm),
  );
}

/** R and L when they come back: open, and never go out again. */
export function openingKey(gcm: number): Template {
  return fixed(
    ...SECRET_AES,
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(false),
    ...onlyUnderTrusted(true),
    ...only(SECRET_USES, 'decrypt'),
    ...allowing(gcm),
  );
}

/** X: wraps one user key. To a depositary it goes out under a trusted key only; an owner's key is not trusted. */
export function transferKey(to: 'depositary' | 'owner', kwp: number): Template {
  return fixed(
    ...SECRET_AES,
    ...AES_256,
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(true),
    ...onlyUnderTrusted(to === 'depositary'),
    ...only(SECRET_USES, 'wrap'),
    ...allowing(kwp),
  );
}

/** An owner's delivery key, in flight, to wrap X. */
export function deliveryKey(
  key: { readonly modulus: Buffer; readonly exponent: Buffer },
  oaep: number,
): Template {
  return fixed(
    ...kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA),
    ...IN_FLIGHT,
    ...OPEN_TO_SEE,
    { type: pkcs11.CKA_MODULUS, value: key.modulus },
    { type: pkcs11.CKA_PUBLIC_EXPONENT, value: key.exponent },
    ...only(PUBLIC_USES, 'wrap'),
    ...allowing(oaep),
  );
}

/** `grant:<id>`; without a label, the same in flight. It signs or decrypts, and never goes out again. */
export function grantKey(
  label: string | undefined,
  spec: KeySpec,
  use: KeyUse,
  mechanisms: readonly number[],
): Template {
  return fixed(
    ...kindOf(spec),
    ...(label === undefined ? IN_FLIGHT : inToken(label)),
    ...GUARDED,
    ...extractable(false),
    ...(spec === 'aes-256' ? only(SECRET_USES, use) : only(PRIVATE_USES, use)),
    ...allowing(...mechanisms),
  );
}

function kindOf(spec: KeySpec): Template {
  const objectClass = spec === 'aes-256' ? pkcs11.CKO_SECRET_KEY : pkcs11.CKO_PRIVATE_KEY;
  return kind(objectClass, keyTypeOf(spec));
}

function keyTypeOf(spec: KeySpec): number {
  const name = KEY_SPECS[spec].kind;
  switch (name) {
    case 'RSA':
      return pkcs11.CKK_RSA;
    case 'EC':
      return pkcs11.CKK_EC;
    case 'OKP':
      return CKK_EC_EDWARDS;
    case 'AES':
      return pkcs11.CKK_AES;
  }
}
