import pkcs11 from 'pkcs11js';
import { type KeySpec, KEY_SPECS, isSymmetric } from '../../escrow/records/keySpecs.js';
import { type Template, ulongs } from '../cryptoki/attributes.js';

/*
 * What the templates are made of. Every template that this program hands to a token comes from here. A secret or private object is PRIVATE, SENSITIVE, not
 * MODIFIABLE, not COPYABLE, names its mechanisms, and may do one thing (PKCS#11 2.40 sections 4.4 to 4.10).
 * What a template leaves out is a device's default, so each says yes or no to every use.
 */

/** Key types that the driver does not name. */
export const CKK_EC_EDWARDS = 0x40;
/** Bits of the RSA pairs that the token makes for itself, and bytes of what is encrypted to them. */
export const TOKEN_RSA = { modulusBits: 3072, ciphertextBytes: 384 } as const;

const { CKA_CLASS, CKA_KEY_TYPE, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL } = pkcs11;
const { CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_MODIFIABLE, CKA_COPYABLE } = pkcs11;
const { CKA_WRAP_WITH_TRUSTED, CKA_ALLOWED_MECHANISMS } = pkcs11;

export const SECRET_USES = {
  encrypt: pkcs11.CKA_ENCRYPT,
  decrypt: pkcs11.CKA_DECRYPT,
  sign: pkcs11.CKA_SIGN,
  verify: pkcs11.CKA_VERIFY,
  wrap: pkcs11.CKA_WRAP,
  unwrap: pkcs11.CKA_UNWRAP,
  derive: pkcs11.CKA_DERIVE,
} as const;
export const PRIVATE_USES = {
  decrypt: pkcs11.CKA_DECRYPT,
  sign: pkcs11.CKA_SIGN,
  signRecover: pkcs11.CKA_SIGN_RECOVER,
  unwrap: pkcs11.CKA_UNWRAP,
  derive: pkcs11.CKA_DERIVE,
} as const;
export const PUBLIC_USES = {
  encrypt: pkcs11.CKA_ENCRYPT,
  verify: pkcs11.CKA_VERIFY,
  verifyRecover: pkcs11.CKA_VERIFY_RECOVER,
  wrap: pkcs11.CKA_WRAP,
  derive: pkcs11.CKA_DERIVE,
} as const;

/** Yes to the uses named, no to every other. */
export function only<Use extends string>(
  uses: Readonly<Record<Use, number>>,
  ...may: readonly Use[]
): Template {
  return (Object.keys(uses) as Use[]).map((use) => ({ type: uses[use], value: may.includes(use) }));
}

/** Seen after login only, and never readable. */
export const GUARDED: Template = [
  { type: CKA_PRIVATE, value: true },
  { type: CKA_SENSITIVE, value: true },
];
/** Public halves. */
export const OPEN_TO_SEE: Template = [{ type: CKA_PRIVATE, value: false }];

/**
 * Never changed and never copied again. MODIFIABLE stands last: SoftHSM 2.6 applies the template of C_UnwrapKey
 * one attribute after another, and refuses what follows it (CKR_ATTRIBUTE_READ_ONLY).
 */
export function fixed(...template: Template): Template {
  return [...template, { type: CKA_COPYABLE, value: false }, { type: CKA_MODIFIABLE, value: false }];
}

/** Stays in the token, under this label. */
export const inToken = (label: string): Template => [
  { type: CKA_TOKEN, value: true },
  { type: CKA_LABEL, value: label },
];
/** Dies with its session. */
export const IN_FLIGHT: Template = [{ type: CKA_TOKEN, value: false }];
/** Whether it may be wrapped. */
export const extractable = (value: boolean): Template => [{ type: CKA_EXTRACTABLE, value }];
/** Whether it may be wrapped under trusted keys only (PKCS#11 2.40 sections 4.9 and 4.10). */
export const onlyUnderTrusted = (value: boolean): Template => [{ type: CKA_WRAP_WITH_TRUSTED, value }];
export const allowing = (...mechanisms: readonly number[]): Template => [
  { type: CKA_ALLOWED_MECHANISMS, value: ulongs(...mechanisms) },
];
export const kind = (objectClass: number, keyType: number): Template => [
  { type: CKA_CLASS, value: objectClass },
  { type: CKA_KEY_TYPE, value: keyType },
];
export const SECRET_AES = kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES);
/** Its length, for making one; C_UnwrapKey must not be told. */
export const AES_256: Template = [{ type: pkcs11.CKA_VALUE_LEN, value: 32 }];

/** Both halves of a pair. */
export interface PairTemplate {
  readonly publicKey: Template;
  readonly privateKey: Template;
}

/** Class and type of a user key. */
export function kindOf(spec: KeySpec): Template {
  const objectClass = isSymmetric(spec) ? pkcs11.CKO_SECRET_KEY : pkcs11.CKO_PRIVATE_KEY;
  return kind(objectClass, keyTypeOf(spec));
}

/** CKA_KEY_TYPE of a user key. */
export function keyTypeOf(spec: KeySpec): number {
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
    case 'SECRET':
      return pkcs11.CKK_GENERIC_SECRET;
  }
}
