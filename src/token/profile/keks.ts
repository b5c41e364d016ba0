import pkcs11 from 'pkcs11js';
import type { KekKind, OperateKind } from '../../escrow/records/sealing/keks.js';
import type { KeySpec } from '../../escrow/records/keySpecs.js';
import { type Template, nested } from '../cryptoki/attributes.js';
import {
  extractable,
  GUARDED,
  IN_FLIGHT,
  kindOf,
  only,
  PRIVATE_USES,
  SECRET_AES,
  SECRET_USES,
} from './templateParts.js';

/*
 * There is a key-encryption key for each use and class of user keys that its unwrap template must hold apart. What a
 * template insists on, the caller of C_UnwrapKey must say as well, or is refused: so not even somebody with the PIN brings a
 * key out of its ciphertext readable, on the token's disk in the clear, of another class, or for another use.
 * What a template leaves open stays open for acts to come; TOKEN is, since a grant stands in the token and a drill does not.
 */

const PRIVATE_KEY: Template = [{ type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY }];
const SECRET_KEY: Template = [{ type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY }];
const NEVER_OUT: Template = [...GUARDED, ...extractable(false)];
/** A copy, or a later change, would be free of all the rest. */
const AS_IT_IS: Template = [
  { type: pkcs11.CKA_COPYABLE, value: false },
  { type: pkcs11.CKA_MODIFIABLE, value: false },
];
/** No to these. */
const off = (...types: readonly number[]): Template => types.map((type) => ({ type, value: false }));

/** What each kind of key-encryption key insists on when it unwraps. */
export const KEK_UNWRAPS = {
  'operate:sign': [
    ...PRIVATE_KEY,
    ...NEVER_OUT,
    ...off(pkcs11.CKA_DECRYPT, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE),
    ...AS_IT_IS,
  ],
  'operate:decrypt': [
    ...PRIVATE_KEY,
    ...NEVER_OUT,
    ...off(pkcs11.CKA_SIGN, pkcs11.CKA_SIGN_RECOVER),
    ...AS_IT_IS,
  ],
  'operate:secret': [
    ...SECRET_KEY,
    ...NEVER_OUT,
    ...off(pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY, pkcs11.CKA_WRAP, pkcs11.CKA_DERIVE),
    ...AS_IT_IS,
  ],
  'release:private': [...PRIVATE_KEY, ...IN_FLIGHT, ...GUARDED, ...only(PRIVATE_USES), ...AS_IT_IS],
  'release:secret': [...SECRET_KEY, ...IN_FLIGHT, ...GUARDED, ...only(SECRET_USES), ...AS_IT_IS],
} as const satisfies Record<KekKind, Template>;

/** CKA_UNWRAP_TEMPLATE of a key-encryption key. */
export function kekUnwraps(kind: KekKind): Template {
  return nested(pkcs11.CKA_UNWRAP_TEMPLATE, KEK_UNWRAPS[kind]);
}

/**
 * CKA_UNWRAP_TEMPLATE of `kek-rotate:...`: a user key without any use that goes out under trusted keys only. Of these the
 * KEKs of operation alone take what was not made in the token (see `trustedWraps`).
 */
export function rotatingUnwraps(kind: OperateKind): Template {
  return nested(pkcs11.CKA_UNWRAP_TEMPLATE, rotatingInsists(kind));
}

/** What a rotating handle insists on when it unwraps. */
export function rotatingInsists(kind: OperateKind): Template {
  return [...(kind === 'operate:secret' ? SECRET_AES : PRIVATE_KEY), ...ROTATING, ...rotatingUses(kind)];
}

/** A user key as it comes out of a rotating handle: what the caller of C_UnwrapKey must say. */
export function rotatingUser(kind: OperateKind, spec: KeySpec): Template {
  return [...kindOf(spec), ...ROTATING, ...rotatingUses(kind)];
}

const ROTATING: Template = [
  ...IN_FLIGHT,
  ...GUARDED,
  ...extractable(true),
  { type: pkcs11.CKA_WRAP_WITH_TRUSTED, value: true },
];

function rotatingUses(kind: OperateKind): Template {
  return [...(kind === 'operate:secret' ? only(SECRET_USES) : only(PRIVATE_USES)), ...AS_IT_IS];
}
