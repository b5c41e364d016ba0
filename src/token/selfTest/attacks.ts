import pkcs11 from 'pkcs11js';
import type { Handle, Mechanism, PKCS11 } from 'pkcs11js';
import type { AttackName } from '../profile/attackNames.js';
import { type Template, ulongs } from '../cryptoki/attributes.js';
import type { Dialect } from '../profile/dialect.js';
import { type KekKind, type OperateKind, isOperate, KEK_KINDS } from '../../escrow/records/sealing/keks.js';
import { rotatingUser } from '../profile/keks.js';
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

export const ATTACKS: Readonly<Record<AttackName, Attack>> = {
  'unwrap-operate-extractable': unwraps('operate:sign', () => [...EC_PRIVATE, ...protection(true, true)]),
  'unwrap-operate-readable': unwraps('operate:sign', () => [...GENERIC_SECRET, ...protection(false, false)]),
  'unwrap-operate-defaults': unwraps('operate:sign', () => EC_PRIVATE),
  'unwrap-operate-public': unwraps('operate:sign', signing, [CKA_PRIVATE, false]),
  'unwrap-operate-derive': unwraps('operate:sign', signing, [pkcs11.CKA_DERIVE, true]),
  'unwrap-operate-signs': unwraps('operate:decrypt', signing),
  'unwrap-operate-other-type': unwraps('operate:sign', () => [
    ...GENERIC_SECRET,
    ...GUARDED,
    ...extractable(false),
    ...only(SECRET_USES, 'sign'),
    ...fixed(),
  ]),
  'unwrap-operate-copyable': unwraps('operate:sign', signing, [pkcs11.CKA_COPYABLE, true]),
  'unwrap-operate-modifiable': unwraps('operate:sign', signing, [pkcs11.CKA_MODIFIABLE, true]),
  'unwrap-secret-wraps': unwraps('operate:secret', decrypting, [pkcs11.CKA_WRAP, true]),
  'unwrap-release-public': unwraps('release:private', releasing, [CKA_PRIVATE, false]),
  'unwrap-release-token': unwraps('release:private', releasing, [CKA_TOKEN, true]),
  'unwrap-release-used': unwraps('release:private', releasing, [pkcs11.CKA_SIGN, true]),
  'unwrap-release-readable': unwraps('release:private', () => [
    ...GENERIC_SECRET,
    ...protection(false, true),
  ]),
  'unwrap-reply-extractable': unwrapsReply(() => [...AES_SECRET, ...protection(true, true)]),
  'unwrap-reply-readable': unwrapsReply(() => [...GENERIC_SECRET, ...protection(false, false)]),
  'unwrap-reply-public': unwrapsReply(opening, [CKA_PRIVATE, false]),
  'unwrap-reply-token': unwrapsReply(opening, [CKA_TOKEN, true]),
  'unwrap-reply-unwraps': unwrapsReply(opening, [pkcs11.CKA_UNWRAP, true]),
  'unwrap-reply-other-mechanism': unwrapsReply(opening, [
    pkcs11.CKA_ALLOWED_MECHANISMS,
    ulongs(pkcs11.CKM_AES_ECB),
  ]),
  'unwrap-reply-copyable': unwrapsReply(opening, [pkcs11.CKA_COPYABLE, true]),
  'unwrap-reply-modifiable': unwrapsReply(opening, [pkcs11.CKA_MODIFIABLE, true]),
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
  'kek-gains-decrypt': gainsDecrypt('operate:sign'),
  'release-kek-gains-decrypt': gainsDecrypt('release:private'),
  'kek-decrypts': decryptsWrapped(({ keks }) => keks['operate:sign'].kek),
  'release-kek-decrypts': decryptsWrapped(({ keks }) => keks['release:private'].kek),
  'transfer-decrypts': decryptsWrapped(({ transfer }) => transfer),
  'transport-decrypts': ({ driver, mechanisms, transport }, session) => {
    driver.C_DecryptInit(session, mechanisms.oaep(), transport.privateKey);
    return undefined;
  },
  'share-decrypts': decryptsWrapped(({ share }) => share),
  'share-wraps': wraps(({ share, user }) => [share, user]),
  'copy-kek': copies(({ keks }) => keks['operate:sign'].kek),
  'copy-release-kek': copies(({ keks }) => keks['release:private'].kek),
  'copy-grant': copies(({ grant }) => grant),
  'wrap-kek': wraps(({ keks }) => [keks['release:private'].kek, keks['operate:sign'].kek]),
  'wrap-grant': wraps(({ keks, grant }) => [keks['operate:sign'].kek, grant]),
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

/** Of a template, another value of one attribute. */
type Change = readonly [type: number, value: boolean | Buffer];

/** Unwraps the key under the KEK of this kind by such a template, as the daemon would but for one thing. */
function unwraps(kind: KekKind, template: (target: Target) => Template, change?: Change): Attack {
  return (target, session) => {
    const { driver, dialect, keks } = target;
    const { kek, blob } = keks[kind];
    const asked = dialect.unwrapping(changed(template(target), change));
    return driver.C_UnwrapKey(session, kwpOf(target), kek, blob, asked);
  };
}

function unwrapsReply(template: (target: Target) => Template, change?: Change): Attack {
  return (target, session) => {
    const { driver, mechanisms, transport } = target;
    const asked = changed(template(target), change);
    return driver.C_UnwrapKey(session, mechanisms.oaep(), transport.privateKey, transport.reply, asked);
  };
}

function changed(template: Template, change: Change | undefined): Template {
  if (change === undefined) return template;
  const [type, value] = change;
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
function rotated(target: Target, session: Handle, kind: OperateKind, more?: Change): Handle {
  const { driver, dialect, keks, rotating } = target;
  const handle = rotating[kind];
  if (handle === undefined) throw new NothingGained('there is no rotating handle');
  const template = rotatingUser(kind, kind === 'operate:secret' ? 'aes-256' : 'ec-p256');
  const asked = dialect.unwrapping(changed(template, more));
  return driver.C_UnwrapKey(session, kwpOf(target), handle, keks[kind].blob, asked);
}

/** Brings each key out by its rotating handle, and wraps it under each of these. */
function rotateUnder(
  target: Target,
  session: Handle,
  mechanism: Mechanism,
  wrapping: readonly Handle[],
  more?: Change,
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

function wrapUntrusted(
  { driver, mechanisms, transport }: Target,
  session: Handle,
  key: Handle,
): Handle | undefined {
  driver.C_WrapKey(session, mechanisms.oaep(), transport.publicKey, key, Buffer.alloc(1024));
  return undefined;
}

/** Back again when it worked: the key is the real one. */
function gainsDecrypt(kind: KekKind): Attack {
  return ({ driver, keks }, session) => {
    for (const value of [true, false])
      driver.C_SetAttributeValue(session, keks[kind].kek, [{ type: pkcs11.CKA_DECRYPT, value }]);
    return undefined;
  };
}

/** Tries every mechanism by which a wrapped key could be decrypted with an AES key. */
function decryptsWrapped(keyOf: (target: Target) => Handle): Attack {
  return (target, session) => {
    const tries = [
      { mechanism: pkcs11.CKM_AES_ECB },
      { mechanism: pkcs11.CKM_AES_CBC, parameter: Buffer.alloc(16) },
      target.mechanisms.gcm(Buffer.alloc(12), Buffer.alloc(0)),
      kwpOf(target),
    ];
    return anyOf(tries, (mechanism) => {
      target.driver.C_DecryptInit(session, mechanism, keyOf(target));
      return undefined;
    });
  };
}

/** Wraps the second under the first. */
function wraps(keysOf: (target: Target) => readonly [Handle, Handle]): Attack {
  return (target, session) => {
    target.driver.C_WrapKey(session, kwpOf(target), ...keysOf(target), Buffer.alloc(1024));
    return undefined;
  };
}

function copies(objectOf: (target: Target) => Handle): Attack {
  return (target, session) =>
    target.driver.C_CopyObject(session, objectOf(target), [
      ...IN_FLIGHT,
      { type: CKA_LABEL, value: 'self-test' },
      { type: pkcs11.CKA_MODIFIABLE, value: true },
    ]);
}
