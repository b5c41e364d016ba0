import pkcs11 from 'pkcs11js';
import type { Handle, Mechanism, PKCS11 } from 'pkcs11js';
import type { AttackName } from '../profile/attackNames.js';
import type { Template } from '../cryptoki/attributes.js';
import { ulongs } from '../cryptoki/attributes.js';
import type { Dialect } from '../profile/dialect.js';
import type { KekKind, OperateKind } from '../profile/keks.js';
import { isOperate, KEK_KINDS, rotatingUser } from '../profile/keks.js';
import type { Mechanisms } from '../profile/mechanisms.js';
import { BORN_HERE } from '../objects/objectNames.js';
import { readsBack } from '../objects/objects.js';
import { AES_256, extractable, fixed, GUARDED, only, SECRET_USES } from '../profile/templateParts.js';
import { grantKey, openingKey, userInFlight } from '../profile/templates.js';

/** What the attacks are tried on: keys made for this, under the templates in use, and the real KEKs. */
export interface Target {
  readonly driver: PKCS11;
  readonly mechanisms: Mechanisms;
  readonly dialect: Dialect;
  /** The newest KEK of each kind, and a key under it: EC P-256, or AES-256 where it is for secret keys. */
  readonly keks: Readonly<Record<KekKind, { readonly kek: Handle; readonly blob: Buffer }>>;
  /** The rotating handles of those of operation, as far as there are any. */
  readonly rotating: Readonly<Partial<Record<OperateKind, Handle>>>;
  /** The public keys of depositaries, and of the server regarding them. */
  readonly recipients: readonly Handle[];
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

const { CKA_CLASS, CKA_KEY_TYPE, CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_LABEL } = pkcs11;
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
    unwrap(target, session, 'operate:sign', [...EC_PRIVATE, ...protection(true, true)]),
  'unwrap-operate-readable': (target, session) =>
    unwrap(target, session, 'operate:sign', [...GENERIC_SECRET, ...protection(false, false)]),
  'unwrap-operate-defaults': (target, session) => unwrap(target, session, 'operate:sign', EC_PRIVATE),
  'unwrap-operate-public': (target, session) =>
    unwrap(target, session, 'operate:sign', but(signing(target), [CKA_PRIVATE, false])),
  'unwrap-operate-derive': (target, session) =>
    unwrap(target, session, 'operate:sign', but(signing(target), [pkcs11.CKA_DERIVE, true])),
  'unwrap-operate-signs': (target, session) => unwrap(target, session, 'operate:decrypt', signing(target)),
  'unwrap-operate-other-type': (target, session) =>
    unwrap(target, session, 'operate:sign', [
      ...GENERIC_SECRET,
      ...GUARDED,
      ...extractable(false),
      ...only(SECRET_USES, 'sign'),
      ...fixed(),
    ]),
  'unwrap-operate-copyable': (target, session) =>
    unwrap(target, session, 'operate:sign', but(signing(target), [pkcs11.CKA_COPYABLE, true])),
  'unwrap-operate-modifiable': (target, session) =>
    unwrap(target, session, 'operate:sign', but(signing(target), [pkcs11.CKA_MODIFIABLE, true])),
  'unwrap-secret-wraps': (target, session) =>
    unwrap(target, session, 'operate:secret', but(decrypting(target), [pkcs11.CKA_WRAP, true])),
  'unwrap-release-public': (target, session) =>
    unwrap(target, session, 'release:private', but(releasing(target), [CKA_PRIVATE, false])),
  'unwrap-release-token': (target, session) =>
    unwrap(target, session, 'release:private', but(releasing(target), [CKA_TOKEN, true])),
  'unwrap-release-used': (target, session) =>
    unwrap(target, session, 'release:private', but(releasing(target), [pkcs11.CKA_SIGN, true])),
  'unwrap-release-readable': (target, session) =>
    unwrap(target, session, 'release:private', [...GENERIC_SECRET, ...protection(false, true)]),
  'unwrap-reply-extractable': (target, session) =>
    unwrapReply(target, session, [...AES_SECRET, ...protection(true, true)]),
  'unwrap-reply-readable': (target, session) =>
    unwrapReply(target, session, [...GENERIC_SECRET, ...protection(false, false)]),
  'unwrap-reply-public': (target, session) =>
    unwrapReply(target, session, but(opening(target), [CKA_PRIVATE, false])),
  'unwrap-reply-token': (target, session) =>
    unwrapReply(target, session, but(opening(target), [CKA_TOKEN, true])),
  'unwrap-reply-unwraps': (target, session) =>
    unwrapReply(target, session, but(opening(target), [pkcs11.CKA_UNWRAP, true])),
  'unwrap-reply-other-mechanism': (target, session) =>
    unwrapReply(
      target,
      session,
      but(opening(target), [pkcs11.CKA_ALLOWED_MECHANISMS, ulongs(pkcs11.CKM_AES_ECB)]),
    ),
  'unwrap-reply-copyable': (target, session) =>
    unwrapReply(target, session, but(opening(target), [pkcs11.CKA_COPYABLE, true])),
  'unwrap-reply-modifiable': (target, session) =>
    unwrapReply(target, session, but(opening(target), [pkcs11.CKA_MODIFIABLE, true])),
  'rotate-to-release': (target, session) =>
    rotateUnder(target, session, kwpOf(target), [
      target.keks['release:private'].kek,
      target.keks['release:secret'].kek,
    ]),
  'rotate-to-depositary': (target, session) =>
    rotateUnder(target, session, target.mechanisms.oaep(), target.recipients),
  'rotate-to-own': (target, session) => {
    const { driver, mechanisms } = target;
    const own = driver.C_GenerateKey(session, mechanisms.plain('aesKeyGen'), [
      ...AES_SECRET,
      ...AES_256,
      ...GUARDED,
      { type: pkcs11.CKA_WRAP, value: true },
    ]);
    try {
      const wrappable = [pkcs11.CKA_WRAP_WITH_TRUSTED, false] as const;
      return rotateUnder(target, session, kwpOf(target), [own], wrappable);
    } finally {
      driver.C_DestroyObject(session, own);
    }
  },
  'rotate-used': (target, session) =>
    anyOf(rotatable(target), (kind) => rotated(target, session, kind, [pkcs11.CKA_SIGN, true])),
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
  'kek-gains-decrypt': ({ driver, keks }, session) => gainDecrypt(driver, session, keks['operate:sign'].kek),
  'release-kek-gains-decrypt': ({ driver, keks }, session) =>
    gainDecrypt(driver, session, keks['release:private'].kek),
  'kek-decrypts': (target, session) => decryptWrapped(target, session, target.keks['operate:sign'].kek),
  'release-kek-decrypts': (target, session) =>
    decryptWrapped(target, session, target.keks['release:private'].kek),
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
  'copy-kek': ({ driver, keks }, session) => copy(driver, session, keks['operate:sign'].kek),
  'copy-release-kek': ({ driver, keks }, session) => copy(driver, session, keks['release:private'].kek),
  'copy-grant': ({ driver, grant }, session) => copy(driver, session, grant),
  'wrap-kek': ({ driver, mechanisms, keks }, session) => {
    const kwp = mechanisms.plain('keyWrapWithPadding');
    const [wrapping, wrapped] = [keks['release:private'].kek, keks['operate:sign'].kek];
    driver.C_WrapKey(session, kwp, wrapping, wrapped, Buffer.alloc(1024));
    return undefined;
  },
  'wrap-grant': ({ driver, mechanisms, keks, grant }, session) => {
    const kwp = mechanisms.plain('keyWrapWithPadding');
    driver.C_WrapKey(session, kwp, keks['operate:sign'].kek, grant, Buffer.alloc(1024));
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

function unwrap(target: Target, session: Handle, kind: KekKind, template: Template): Handle {
  const { driver, dialect, keks } = target;
  const { kek, blob } = keks[kind];
  return driver.C_UnwrapKey(session, kwpOf(target), kek, blob, dialect.unwrapping(template));
}

/** As the daemon would, but for one thing. */
function but(template: Template, [type, value]: readonly [number, boolean | Buffer]): Template {
  return template.map((row) => (row.type === type ? { type, value } : row));
}

function signing({ mechanisms }: Target): Template {
  return grantKey(undefined, 'ec-p256', 'sign', [mechanisms.number('ecdsa')]);
}

function decrypting({ mechanisms }: Target): Template {
  return grantKey(undefined, 'aes-256', 'decrypt', [mechanisms.number('aesGcm')]);
}

function releasing(target: Target): Template {
  return userInFlight('ec-p256', kwpOf(target).mechanism);
}

function opening({ mechanisms, dialect }: Target): Template {
  return dialect.template(openingKey(mechanisms.number('aesGcm')));
}

function kwpOf({ mechanisms }: Target): Mechanism {
  return mechanisms.plain('keyWrapWithPadding');
}

const OPERATE_KINDS = KEK_KINDS.filter(isOperate);

function rotatable({ rotating }: Target): readonly OperateKind[] {
  return OPERATE_KINDS.filter((kind) => rotating[kind] !== undefined);
}

/** The key under this KEK, out by the rotating handle; with `more`, as that does not want it. */
function rotated(
  target: Target,
  session: Handle,
  kind: OperateKind,
  more?: readonly [number, boolean],
): Handle {
  const { driver, dialect, keks, rotating } = target;
  const handle = rotating[kind];
  if (handle === undefined) throw new NothingGained('there is no rotating handle');
  const template = rotatingUser(kind, kind === 'operate:secret' ? 'aes-256' : 'ec-p256');
  const asked = dialect.unwrapping(more === undefined ? template : but(template, more));
  return driver.C_UnwrapKey(session, kwpOf(target), handle, keks[kind].blob, asked);
}

/** Brings each key out by its rotating handle, and wraps it under each of these. */
function rotateUnder(
  target: Target,
  session: Handle,
  mechanism: Mechanism,
  wrapping: readonly Handle[],
  more?: readonly [number, boolean],
): ReturnType<Attack> {
  const { driver } = target;
  return anyOf(rotatable(target), (kind) => {
    const key = rotated(target, session, kind, more);
    try {
      return anyOf(wrapping, (handle) => {
        driver.C_WrapKey(session, mechanism, handle, key, Buffer.alloc(1024));
        return undefined;
      });
    } finally {
      driver.C_DestroyObject(session, key);
    }
  });
}

/** What the first gains that is not refused; the last refusal when all are. */
function anyOf<T>(tries: readonly T[], attempt: (one: T) => ReturnType<Attack>): ReturnType<Attack> {
  let refusal: unknown = new NothingGained('there is nothing to try it on');
  for (const one of tries) {
    try {
      return attempt(one);
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
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
