import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import type { Template } from './attributes.js';
import type { Mechanisms } from './mechanisms.js';

/** What the attacks are tried on: keys made for this, under the templates in use, and the real KEKs. */
export interface Target {
  readonly driver: PKCS11;
  readonly mechanisms: Mechanisms;
  readonly operateKek: Handle;
  readonly releaseKek: Handle;
  /** An EC P-256 key under each. */
  readonly operateBlob: Buffer;
  readonly releaseBlob: Buffer;
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

/**
 * What somebody with the host and the user PIN would try, and the token must refuse. The names are stable: a
 * configuration that lives with one of them names it.
 */
export const ATTACKS = {
  /** A key deposited for operation only, brought out exportable. */
  'unwrap-operate-extractable': (target, session) =>
    unwrapOperate(target, session, [...EC_PRIVATE, ...protection(true, true)]),
  /** The same, as bytes that can be read. */
  'unwrap-operate-readable': (target, session) =>
    unwrapOperate(target, session, [...GENERIC_SECRET, ...protection(false, false)]),
  /** The same, hoping for defaults. */
  'unwrap-operate-defaults': (target, session) => unwrapOperate(target, session, EC_PRIVATE),
  /** A key deposited for release, as bytes that can be read. */
  'unwrap-release-readable': ({ driver, mechanisms, releaseKek, releaseBlob }, session) =>
    driver.C_UnwrapKey(session, mechanisms.plain('keyWrapWithPadding'), releaseKek, releaseBlob, [
      ...GENERIC_SECRET,
      ...protection(false, true),
    ]),
  /** A depositary's recovery secret, exportable. */
  'unwrap-reply-extractable': (target, session) =>
    unwrapReply(target, session, [...AES_SECRET, ...protection(true, true)]),
  /** The same, as bytes that can be read. */
  'unwrap-reply-readable': (target, session) =>
    unwrapReply(target, session, [...GENERIC_SECRET, ...protection(false, false)]),
  /** A recovery secret encrypted to a key that the security officer has not enrolled. */
  'wrap-share-untrusted': (target, session) => wrapUntrusted(target, session, target.share),
  /** The key inside a release encrypted to such a key. */
  'wrap-transfer-untrusted': (target, session) => wrapUntrusted(target, session, target.transfer),
  /** A user who enrols a key of his own. */
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
  /** A KEK that also decrypts gives every key away (Clulow's attack). */
  'kek-gains-decrypt': ({ driver, operateKek }, session) => {
    driver.C_SetAttributeValue(session, operateKek, [{ type: pkcs11.CKA_DECRYPT, value: true }]);
    driver.C_SetAttributeValue(session, operateKek, [{ type: pkcs11.CKA_DECRYPT, value: false }]);
    return undefined;
  },
  /** The KEK used for what it was not made for. */
  'kek-decrypts': ({ driver, operateKek }, session) => {
    driver.C_DecryptInit(session, { mechanism: pkcs11.CKM_AES_ECB }, operateKek);
    return undefined;
  },
  /** A copy of a KEK with other attributes. */
  'copy-kek': ({ driver, operateKek }, session) => copy(driver, session, operateKek),
  /** A copy of a recovered key with other attributes. */
  'copy-grant': ({ driver, grant }, session) => copy(driver, session, grant),
  /** A recovered key, taken out under a key at hand. */
  'wrap-grant': ({ driver, mechanisms, operateKek, grant }, session) => {
    const kwp = mechanisms.plain('keyWrapWithPadding');
    driver.C_WrapKey(session, kwp, operateKek, grant, Buffer.alloc(1024));
    return undefined;
  },
  /** A recovered key that becomes exportable after all. */
  'grant-gains-extractable': ({ driver, grant }, session) => {
    driver.C_SetAttributeValue(session, grant, [{ type: CKA_EXTRACTABLE, value: true }]);
    return undefined;
  },
  /** A recovered key used by a mechanism that was not granted. */
  'grant-other-mechanism': ({ driver, mechanisms, grant }, session) => {
    driver.C_SignInit(session, mechanisms.plain('ecdsa'), grant);
    return undefined;
  },
} as const satisfies Record<string, Attack>;

/** The name of an attack. */
export type AttackName = keyof typeof ATTACKS;

function unwrapOperate(target: Target, session: Handle, template: Template): Handle {
  const { driver, mechanisms, operateKek, operateBlob } = target;
  return driver.C_UnwrapKey(
    session,
    mechanisms.plain('keyWrapWithPadding'),
    operateKek,
    operateBlob,
    template,
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

function copy(driver: PKCS11, session: Handle, object: Handle): Handle {
  return driver.C_CopyObject(session, object, [
    ...IN_FLIGHT,
    { type: CKA_LABEL, value: 'self-test' },
    { type: pkcs11.CKA_MODIFIABLE, value: true },
  ]);
}
