import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import type { AttackName } from './attackNames.js';
import type { Template } from './attributes.js';
import type { Dialect } from './dialect.js';
import type { Mechanisms } from './mechanisms.js';
import { BORN_HERE } from './objectNames.js';
import { readsBack } from './objects.js';

/** What the attacks are tried on: keys made for this, under the templates in use, and the real KEKs. */
export interface Target {
  readonly driver: PKCS11;
  readonly mechanisms: Mechanisms;
  readonly dialect: Dialect;
  readonly operateKek: Handle;
  readonly releaseKek: Handle;
  /** An EC P-256 key under each. */
  readonly operateBlob: Buffer;
  readonly releaseBlob: Buffer;
  /** That key as it is made for a deposit, and its CKA_EC_POINT. */
  readonly user: Handle;
  readonly point: Buffer;
  /** The same key as a grant that may sign by other mechanisms than ECDSA. */
  readonly grant: Handle;
  /** R as it is made for a deposit. */
  readonly share: Handle;
  /** X as it is made for a depositary. */
  readonly transfer: Handle;
  /** A pair like those of a recovery, and 32 bytes encrypted to it. */
  readonly transport: { readonly privateKey: Handle; readonly publicKey: Handle; readonly reply: Buffer };
}

/** One attack: returns what it gained (an object to destroy, or nothing to), or throws what the token answered. */
export type Attack = (target: Target, session: Handle) => Handle | undefined;

const { CKA_CLASS, CKA_KEY_TYPE, CKA_TOKEN, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_LABEL } = pkcs11;
const CKD_NULL = 1;
const IN_FLIGHT: Template = [{ type: CKA_TOKEN, value: false }];
const EC_PRIVATE: Template = [
  { type: CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY },
  { type: CKA_KEY_TYPE, value: pkcs11.CKK_EC },
  ...IN_FLIGHT,
];
const GENERIC_SECRET: Template = [
  { type: CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
  { type: CKA_KEY_TYPE, value: pkcs11.CKK_GENERIC_SECRET },
  ...IN_FLIGHT,
];
const AES_SECRET: Template = [
  { type: CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
  { type: CKA_KEY_TYPE, value: pkcs11.CKK_AES },
  ...IN_FLIGHT,
];
const protection = (sensitive: boolean, extractable: boolean): Template => [
  { type: CKA_SENSITIVE, value: sensitive },
  { type: CKA_EXTRACTABLE, value: extractable },
];

/** The token took what should have gained something, and it gained nothing. */
export class NothingGained extends Error {
  override readonly name = 'NothingGained';
}

/** How each attack is made. */
export const ATTACKS: Readonly<Record<AttackName, Attack>> = {
  'unwrap-operate-extractable': (target, session) =>
    unwrapOperate(target, session, [...EC_PRIVATE, ...protection(true, true)]),
  'unwrap-operate-readable': (target, session) =>
    unwrapOperate(target, session, [...GENERIC_SECRET, ...protection(false, false)]),
  'unwrap-operate-defaults': (target, session) => unwrapOperate(target, session, EC_PRIVATE),
  'unwrap-release-readable': ({ driver, mechanisms, releaseKek, releaseBlob }, session) =>
    driver.C_UnwrapKey(session, mechanisms.plain('keyWrapWithPadding'), releaseKek, releaseBlob, [
      ...GENERIC_SECRET,
      ...protection(false, true),
    ]),
  'unwrap-reply-extractable': (target, session) =>
    unwrapReply(target, session, [...AES_SECRET, ...protection(true, true)]),
  'unwrap-reply-readable': (target, session) =>
    unwrapReply(target, session, [...GENERIC_SECRET, ...protection(false, false)]),
  'wrap-share-untrusted': (target, session) => wrapUntrusted(target, session, target.share),
  'wrap-transfer-untrusted': (target, session) => wrapUntrusted(target, session, target.transfer),
  'trust-as-user': ({ driver, transport }, session) => {
    const read = driver.C_GetAttributeValue(session, transport.publicKey, [
      { type: pkcs11.CKA_MODULUS },
      { type: pkcs11.CKA_PUBLIC_EXPONENT },
    ]);
    return driver.C_CreateObject(session, [
      { type: CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
      { type: CKA_KEY_TYPE, value: pkcs11.CKK_RSA },
      ...IN_FLIGHT,
      ...read,
      { type: pkcs11.CKA_WRAP, value: true },
      { type: pkcs11.CKA_TRUSTED, value: true },
    ]);
  },
  'import-as-born-here': ({ driver, dialect }, session) => {
    const made = driver.C_CreateObject(session, [
      ...AES_SECRET,
      { type: pkcs11.CKA_PRIVATE, value: true },
      ...protection(true, false),
      { type: pkcs11.CKA_WRAP, value: true },
      { type: pkcs11.CKA_VALUE, value: Buffer.alloc(32, 1) },
    ]);
    if (readsBack(driver, session, made, dialect.expected(BORN_HERE))) return made;
    driver.C_DestroyObject(session, made);
    throw new NothingGained('the token knows that the key was brought');
  },
  'read-user-key': ({ driver, user }, session) => {
    driver.C_GetAttributeValue(session, user, [{ type: pkcs11.CKA_VALUE }]);
    return undefined;
  },
  'user-key-loses-sensitive': ({ driver, user }, session) => {
    driver.C_SetAttributeValue(session, user, [{ type: CKA_SENSITIVE, value: false }]);
    return undefined;
  },
  'kek-gains-decrypt': ({ driver, operateKek }, session) => gainDecrypt(driver, session, operateKek),
  'release-kek-gains-decrypt': ({ driver, releaseKek }, session) => gainDecrypt(driver, session, releaseKek),
  'kek-decrypts': (target, session) => decryptWrapped(target, session, target.operateKek),
  'release-kek-decrypts': (target, session) => decryptWrapped(target, session, target.releaseKek),
  'transfer-decrypts': (target, session) => decryptWrapped(target, session, target.transfer),
  'transport-decrypts': ({ driver, mechanisms, transport }, session) => {
    driver.C_DecryptInit(session, mechanisms.oaep(), transport.privateKey);
    return undefined;
  },
  'share-decrypts': (target, session) => decryptWrapped(target, session, target.share),
  'share-wraps': ({ driver, mechanisms, share, user }, session) => {
    driver.C_WrapKey(session, mechanisms.plain('keyWrapWithPadding'), share, user, Buffer.alloc(1024));
    return undefined;
  },
  'copy-kek': ({ driver, operateKek }, session) => copy(driver, session, operateKek),
  'copy-release-kek': ({ driver, releaseKek }, session) => copy(driver, session, releaseKek),
  'copy-grant': ({ driver, grant }, session) => copy(driver, session, grant),
  'wrap-kek': ({ driver, mechanisms, operateKek, releaseKek }, session) => {
    const kwp = mechanisms.plain('keyWrapWithPadding');
    driver.C_WrapKey(session, kwp, releaseKek, operateKek, Buffer.alloc(1024));
    return undefined;
  },
  'wrap-grant': ({ driver, mechanisms, operateKek, grant }, session) => {
    const kwp = mechanisms.plain('keyWrapWithPadding');
    driver.C_WrapKey(session, kwp, operateKek, grant, Buffer.alloc(1024));
    return undefined;
  },
  'grant-gains-extractable': ({ driver, grant }, session) => {
    driver.C_SetAttributeValue(session, grant, [{ type: CKA_EXTRACTABLE, value: true }]);
    return undefined;
  },
  'grant-other-mechanism': ({ driver, mechanisms, grant }, session) => {
    driver.C_SignInit(session, mechanisms.plain('ecdsa'), grant);
    return undefined;
  },
  'grant-other-use': ({ driver, grant, point }, session) => {
    const parameter = { type: pkcs11.CK_PARAMS_EC_DH, kdf: CKD_NULL, publicData: point };
    return driver.C_DeriveKey(session, { mechanism: pkcs11.CKM_ECDH1_DERIVE, parameter }, grant, [
      ...GENERIC_SECRET,
      ...protection(false, true),
      { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    ]);
  },
};

function unwrapOperate(target: Target, session: Handle, template: Template): Handle {
  const { driver, mechanisms, dialect, operateKek, operateBlob } = target;
  return driver.C_UnwrapKey(
    session,
    mechanisms.plain('keyWrapWithPadding'),
    operateKek,
    operateBlob,
    dialect.unwrapping(template),
  );
}

function unwrapReply({ driver, mechanisms, transport }: Target, session: Handle, template: Template): Handle {
  return driver.C_UnwrapKey(session, mechanisms.oaep(), transport.privateKey, transport.reply, template);
}

function wrapUntrusted(
  { driver, mechanisms, transport }: Target,
  session: Handle,
  key: Handle,
): Handle | undefined {
  driver.C_WrapKey(session, mechanisms.oaep(), transport.publicKey, key, Buffer.alloc(1024));
  return undefined;
}

/** Back again when it worked: the key is the real one. */
function gainDecrypt(driver: PKCS11, session: Handle, key: Handle): ReturnType<Attack> {
  driver.C_SetAttributeValue(session, key, [{ type: pkcs11.CKA_DECRYPT, value: true }]);
  driver.C_SetAttributeValue(session, key, [{ type: pkcs11.CKA_DECRYPT, value: false }]);
  return undefined;
}

/** Tries every mechanism by which a wrapped key could be decrypted with an AES key. */
function decryptWrapped({ driver, mechanisms }: Target, session: Handle, key: Handle): ReturnType<Attack> {
  const tries = [
    { mechanism: pkcs11.CKM_AES_ECB },
    { mechanism: pkcs11.CKM_AES_CBC, parameter: Buffer.alloc(16) },
    mechanisms.gcm(Buffer.alloc(12), Buffer.alloc(0)),
    mechanisms.plain('keyWrapWithPadding'),
  ];
  let refusal: unknown;
  for (const mechanism of tries) {
    try {
      driver.C_DecryptInit(session, mechanism, key);
      return undefined;
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}

function copy(driver: PKCS11, session: Handle, object: Handle): Handle {
  return driver.C_CopyObject(session, object, [
    ...IN_FLIGHT,
    { type: CKA_LABEL, value: 'self-test' },
    { type: pkcs11.CKA_MODIFIABLE, value: true },
  ]);
}
