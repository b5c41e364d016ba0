import pkcs11 from 'pkcs11js';
import { type KeySpec, type KeyUse, isSymmetric } from '../../escrow/records/keySpecs.js';
import type { Purpose } from '../../escrow/records/policy.js';
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
} as const satisfies Record<`${Purpose}:${string}`, Template>;

/** A purpose, and a use or class of the keys that it wraps. */
export type KekKind = keyof typeof KEK_UNWRAPS;
/** Those that can have a rotating handle. */
export type OperateKind = Extract<KekKind, `operate:${string}`>;

export const KEK_KINDS = Object.keys(KEK_UNWRAPS) as readonly KekKind[];

/** CKA_UNWRAP_TEMPLATE of a key-encryption key. */
export function kekUnwraps(kind: KekKind): Template {
  return nested(pkcs11.CKA_UNWRAP_TEMPLATE, KEK_UNWRAPS[kind]);
}

/** Only these can have a rotating handle: what is for release goes out anyway. */
export function isOperate(kind: KekKind): kind is OperateKind {
  return purposeOf(kind) === 'operate';
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

/** The kind under which a key of this specification, for this use, is deposited for this purpose. */
export function kekKindFor(purpose: Purpose, spec: KeySpec, use: KeyUse): KekKind {
  if (purpose === 'release') return isSymmetric(spec) ? 'release:secret' : 'release:private';
  return isSymmetric(spec) || use === 'keep' ? 'operate:secret' : `operate:${use}`;
}

/** What the label of a key-encryption key says. Those of the first ceremonies have no kind: one for all of a purpose. */
export interface KekName {
  readonly purpose: Purpose;
  readonly kind: KekKind | undefined;
  readonly version: number;
}

/** The label of this version of a kind. */
export function kekLabel(kind: KekKind, version: number): string {
  return `kek:${kind}:v${version}`;
}

/** The label of its rotating handle. */
export function rotatingLabel(kek: string): string {
  return kek.replace(/^kek:/, 'kek-rotate:');
}

/** Reads the label of a key-encryption key; undefined when it is none. */
export function readKekLabel(label: string): KekName | undefined {
  const [, name, version] = /^kek:(.+):v([1-9][0-9]{0,8})$/.exec(label) ?? [];
  if (name === undefined) return undefined;
  const kind = KEK_KINDS.find((candidate) => candidate === name);
  const purpose = kind === undefined ? name : purposeOf(kind);
  if (purpose !== 'operate' && purpose !== 'release') return undefined;
  return { purpose, kind, version: Number(version) };
}

/** Whether a key of this kind is deposited under the key-encryption key of this label. */
export function isKekFor(label: string, kind: KekKind): boolean {
  const name = readKekLabel(label);
  return name?.purpose === purposeOf(kind) && (name.kind ?? kind) === kind;
}

/**
 * Of these labels the newest for each kind: the highest version of the kind or, where there is none, of those that are for
 * all of the purpose. A kind for which there is none is left out.
 */
export function newestKeks(labels: readonly string[]): Readonly<Partial<Record<KekKind, string>>> {
  const named = labels.flatMap((label) => {
    const name = readKekLabel(label);
    return name === undefined ? [] : [{ label, ...name }];
  });
  const newest = (kind: KekKind): string | undefined => {
    const own = named.filter((name) => name.kind === kind);
    const older = named.filter((name) => name.kind === undefined && name.purpose === purposeOf(kind));
    return (own.length > 0 ? own : older).toSorted((a, b) => b.version - a.version)[0]?.label;
  };
  return Object.fromEntries(
    KEK_KINDS.flatMap((kind) => {
      const label = newest(kind);
      return label === undefined ? [] : [[kind, label] as const];
    }),
  );
}

function purposeOf(kind: KekKind): Purpose {
  return kind.startsWith('operate:') ? 'operate' : 'release';
}
