import pkcs11 from 'pkcs11js';
import type { Session } from 'graphene-pk11';
import type { Handle, PKCS11 } from 'pkcs11js';
import { readUlongs } from '../cryptoki/attributes.js';
import { isStaleHandle } from '../cryptoki/faults.js';
import { kekCheckValueIfAny } from '../objects/kekCheckValue.js';
import { Dialect } from '../profile/dialect.js';
import { readKekLabel } from '../../escrow/records/sealing/keks.js';
import { Mechanisms } from '../profile/mechanisms.js';
import { hasNested, readAttribute } from '../objects/objectCheck.js';
import { findAll } from '../objects/objects.js';
import type { TokenProfile } from '../profile/profile.js';
import { type Curve, CURVES, ecSpki, fingerprint, rsaSpki } from '../cryptoki/spki.js';

/** One long-lived object as the token shows it. Public: none of it is secret. */
export interface DescribedObject {
  readonly label: string;
  readonly class: 'secret key' | 'private key' | 'public key';
  /** SHA-256 (hex) of the DER SubjectPublicKeyInfo, for public keys. */
  readonly fingerprint?: string;
  /** What the key is known by (see `kekCheckValue`), for key-encryption keys: absent of what is called so and wraps nothing. */
  readonly checkValue?: string;
  /** Yes and no, as read back; what the token does not have for this object is left out. */
  readonly attributes: Readonly<Record<string, boolean>>;
  /** Names by the profile; a number that it does not know stays one. */
  readonly allowedMechanisms: readonly string[];
  readonly unwrapTemplate: 'present' | 'absent';
  /** Whether it says what may be wrapped under it. */
  readonly wrapTemplate: 'present' | 'absent';
}

const CLASSES = [
  [pkcs11.CKO_SECRET_KEY, 'secret key'],
  [pkcs11.CKO_PRIVATE_KEY, 'private key'],
  [pkcs11.CKO_PUBLIC_KEY, 'public key'],
] as const;

const SHOWN = {
  PRIVATE: pkcs11.CKA_PRIVATE,
  SENSITIVE: pkcs11.CKA_SENSITIVE,
  EXTRACTABLE: pkcs11.CKA_EXTRACTABLE,
  ALWAYS_SENSITIVE: pkcs11.CKA_ALWAYS_SENSITIVE,
  NEVER_EXTRACTABLE: pkcs11.CKA_NEVER_EXTRACTABLE,
  LOCAL: pkcs11.CKA_LOCAL,
  TRUSTED: pkcs11.CKA_TRUSTED,
  WRAP_WITH_TRUSTED: pkcs11.CKA_WRAP_WITH_TRUSTED,
  MODIFIABLE: pkcs11.CKA_MODIFIABLE,
  COPYABLE: pkcs11.CKA_COPYABLE,
  ENCRYPT: pkcs11.CKA_ENCRYPT,
  DECRYPT: pkcs11.CKA_DECRYPT,
  SIGN: pkcs11.CKA_SIGN,
  VERIFY: pkcs11.CKA_VERIFY,
  WRAP: pkcs11.CKA_WRAP,
  UNWRAP: pkcs11.CKA_UNWRAP,
  DERIVE: pkcs11.CKA_DERIVE,
} as const;

/** Labels of what the ceremony makes. */
export const LONG_LIVED = /^(kek:.+|kek-rotate:.+|identity|log|depositary:.+|server-for:.+)$/;

/** All long-lived objects of escrowd, by label; private ones only while the user is logged in. */
export function describeObjects(
  driver: PKCS11,
  session: Session,
  profile: TokenProfile,
): readonly DescribedObject[] {
  return CLASSES.flatMap(([objectClass, name]) =>
    findAll(driver, session.handle, [
      { type: pkcs11.CKA_CLASS, value: objectClass },
      { type: pkcs11.CKA_TOKEN, value: true },
    ]).flatMap((handle) => {
      const label = labelOf(driver, session.handle, handle);
      return LONG_LIVED.test(label) ? [describe({ driver, session, profile }, handle, name, label)] : [];
    }),
  ).sort((a, b) => (`${a.label} ${a.class}` < `${b.label} ${b.class}` ? -1 : 1));
}

/** The label; empty of an object that is gone since it was found, as a daemon beside may have it. */
function labelOf(driver: PKCS11, session: Handle, object: Handle): string {
  try {
    return String(readAttribute(driver, session, object, pkcs11.CKA_LABEL));
  } catch (error) {
    if (isStaleHandle(error)) return '';
    throw error;
  }
}

/** DER SubjectPublicKeyInfo of a public key object. */
export function readPublicKey(driver: PKCS11, session: Handle, object: Handle): Buffer {
  const modulus = readAttribute(driver, session, object, pkcs11.CKA_MODULUS);
  const exponent = readAttribute(driver, session, object, pkcs11.CKA_PUBLIC_EXPONENT);
  if (modulus !== undefined && exponent !== undefined) return rsaSpki(modulus, exponent);
  const params = readAttribute(driver, session, object, pkcs11.CKA_EC_PARAMS);
  const point = readAttribute(driver, session, object, pkcs11.CKA_EC_POINT);
  const curve = (Object.keys(CURVES) as Curve[]).find((name) => params?.equals(CURVES[name].params));
  if (curve === undefined || point === undefined)
    throw new Error('the token holds a public key of no known kind');
  return ecSpki(curve, point);
}

function describe(
  from: { readonly driver: PKCS11; readonly session: Session; readonly profile: TokenProfile },
  handle: Handle,
  objectClass: DescribedObject['class'],
  label: string,
): DescribedObject {
  const { driver, session, profile } = from;
  const attributes = Object.entries(SHOWN).flatMap(([name, type]) => {
    const value = readAttribute(driver, session.handle, handle, type);
    return value?.length === 1 ? [[name, value[0] === 1] as const] : [];
  });
  const [dialect, mechanisms] = [new Dialect(profile), new Mechanisms(profile)];
  const present = (type: number): 'present' | 'absent' =>
    hasNested(driver, session.handle, handle, type) ? 'present' : 'absent';
  const allowed =
    readAttribute(driver, session.handle, handle, pkcs11.CKA_ALLOWED_MECHANISMS) ?? Buffer.alloc(0);
  const checkValue =
    objectClass === 'secret key' && readKekLabel(label) !== undefined
      ? kekCheckValueIfAny({ driver, dialect, mechanisms }, session.handle, handle)
      : undefined;
  return {
    label,
    class: objectClass,
    ...(objectClass === 'public key'
      ? { fingerprint: fingerprint(readPublicKey(driver, session.handle, handle)).toString('hex') }
      : {}),
    ...(checkValue === undefined ? {} : { checkValue }),
    attributes: Object.fromEntries(attributes),
    allowedMechanisms: readUlongs(allowed).map((number) => mechanismName(profile, number)),
    unwrapTemplate: present(pkcs11.CKA_UNWRAP_TEMPLATE),
    wrapTemplate: present(pkcs11.CKA_WRAP_TEMPLATE),
  };
}

function mechanismName(profile: TokenProfile, number: number): string {
  const known = Object.values(profile.mechanisms).find((row) => row?.number === number);
  return known?.name ?? `0x${number.toString(16)}`;
}
