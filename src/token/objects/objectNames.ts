import pkcs11 from 'pkcs11js';
import type { GrantId, ImportId, PrincipalId, RecoveryId } from '../../escrow/records/ids.js';
import { parsePrincipalId } from '../../escrow/records/ids.js';
import { type KeySpec, type Operation, isSymmetric } from '../../escrow/records/keySpecs.js';
import type { ServerForVersion } from '../../escrow/records/deposit.js';
import type { Template } from '../cryptoki/attributes.js';
import {
  kekTemplate,
  olderKekTemplate,
  rotatingKek,
  signingPair,
  trustedKek,
} from '../profile/ceremonyTemplates.js';
import {
  type OperateKind,
  isOperate,
  readKekLabel,
  rotatingLabel,
} from '../../escrow/records/sealing/keks.js';
import type { Mechanisms } from '../profile/mechanisms.js';
import type { TokenProfile } from '../profile/profile.js';
import { grantKey, importPair, unwrappingPair } from '../profile/templates.js';

/** What a template depends on, in one kind of token. */
export interface Making {
  readonly mechanisms: Mechanisms;
  readonly logKey: TokenProfile['logKey'];
  /** Whether KEKs were agreed on in the token, or generated. */
  readonly keks: 'agreed' | 'generated';
}

/** How to find one object: what it must match, and what must then be true of it. */
export interface ObjectName {
  /** What it is remembered by. */
  readonly key: string;
  readonly label: string;
  readonly template: Template;
  /** Read back after finding; an object that differs is not the one. */
  readonly mustBe: Readonly<Record<number, boolean>>;
  /** The template that it was made by, all of which must read back, where it is always the same. */
  readonly made?: (making: Making) => Template;
  /** Whether it is a key-encryption key, which the record of the ceremony knows by its check value. */
  readonly isKek?: true;
  /** Whether it was unwrapped, which gives it more uses in some tokens than were asked for. */
  readonly isUnwrapped?: true;
}

const { CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_TRUSTED } = pkcs11;

const NEVER_LEFT = { [pkcs11.CKA_SENSITIVE]: true, [pkcs11.CKA_EXTRACTABLE]: false };
const NEVER_SEEN = {
  ...NEVER_LEFT,
  [pkcs11.CKA_ALWAYS_SENSITIVE]: true,
  [pkcs11.CKA_NEVER_EXTRACTABLE]: true,
};

/** An imported key can be SENSITIVE, but never LOCAL: what was born here has been seen nowhere else. */
export const BORN_HERE = { ...NEVER_SEEN, [pkcs11.CKA_LOCAL]: true };

function named(objectClass: number, label: string, more: Template, mustBe: ObjectName['mustBe']): ObjectName {
  const template = [
    { type: CKA_CLASS, value: objectClass },
    { type: CKA_TOKEN, value: true },
    { type: CKA_LABEL, value: label },
    ...more,
  ];
  return { key: `${objectClass} ${more === TRUSTED ? 'trusted ' : ''}${label}`, label, template, mustBe };
}

const HIDDEN: Template = [{ type: CKA_PRIVATE, value: true }];
const LOCAL = { type: pkcs11.CKA_LOCAL, value: true };
const TRUSTED: Template = [{ type: CKA_TRUSTED, value: true }];

/** A pair that unwraps with its private half. */
const unwrapping = (label: string): ObjectName => ({
  ...named(pkcs11.CKO_PRIVATE_KEY, label, [], BORN_HERE),
  made: ({ mechanisms }) => unwrappingPair(label, mechanisms.opening()).privateKey,
});

/**
 * Names of what stands in the token. What is born in it is found by class and label alone: an object beside it that only
 * looks like it is an error, not one to be overlooked.
 */
export const objectNames = {
  /**
   * A key that was agreed on is not LOCAL, and its peer could have been somebody's own: what it is known by is its check value
   * in the record of the ceremony and, where it can be rotated, that only the security officer makes a key trusted.
   */
  kek: (label: string): ObjectName => {
    const { kind, purpose } = readKekLabel(label) ?? { kind: undefined, purpose: 'release' };
    // under a trusted KEK of release a rotating key would come out exportable
    const untrusted = purpose === 'release' ? { [CKA_TRUSTED]: false } : {};
    const born = kind === undefined ? BORN_HERE : NEVER_SEEN;
    return {
      ...named(pkcs11.CKO_SECRET_KEY, label, [], { ...born, ...untrusted }),
      made: ({ mechanisms, keks }) => {
        const kwp = mechanisms.number('keyWrapWithPadding');
        if (kind === undefined) return olderKekTemplate(purpose, label, kwp);
        if (keks === 'generated') return [...kekTemplate(kind, label, kwp), LOCAL];
        return isOperate(kind) ? trustedKek(kind, label, kwp) : kekTemplate(kind, label, kwp);
      },
      isKek: true,
    };
  },
  /** The rotating handle of the KEK of this label. */
  rotating: (kek: string, kind: OperateKind): ObjectName => ({
    ...named(pkcs11.CKO_SECRET_KEY, rotatingLabel(kek), [], NEVER_SEEN),
    made: ({ mechanisms }) => rotatingKek(kind, rotatingLabel(kek), mechanisms.number('keyWrapWithPadding')),
  }),
  /** `identity` and `log`: the private half signs, the public half is read once. */
  signing: (label: 'identity' | 'log'): ObjectName => ({
    ...named(pkcs11.CKO_PRIVATE_KEY, label, [], BORN_HERE),
    made: ({ mechanisms, logKey }) => {
      const edwards = label === 'log' && logKey === 'Ed25519';
      const curve = edwards ? 'Ed25519' : 'secp256r1';
      return signingPair(label, curve, mechanisms.number(edwards ? 'eddsa' : 'ecdsa')).privateKey;
    },
  }),
  verifying: (label: 'identity' | 'log') => named(pkcs11.CKO_PUBLIC_KEY, label, [], {}),
  serverFor: (id: PrincipalId, version: ServerForVersion) => unwrapping(serverForLabel(id, version)),
  transport: (id: RecoveryId) => unwrapping(`transport:${id}`),
  transportPublic: (id: RecoveryId) => named(pkcs11.CKO_PUBLIC_KEY, `transport:${id}`, [], {}),
  importing: (id: ImportId): ObjectName => ({
    ...named(pkcs11.CKO_PRIVATE_KEY, `import:${id}`, [], BORN_HERE),
    made: ({ mechanisms }) => importPair(`import:${id}`, mechanisms.oneTime()).privateKey,
  }),
  importingPublic: (id: ImportId) => named(pkcs11.CKO_PUBLIC_KEY, `import:${id}`, [], {}),
  grant: (id: GrantId, spec: KeySpec) => named(grantClass(spec), `grant:${id}`, HIDDEN, NEVER_LEFT),
  /** The same as it was raised; `mechanisms` are the numbers of those that it allows. */
  raised: (
    id: GrantId,
    raised: { readonly spec: KeySpec; readonly use: Operation; readonly mechanisms: readonly number[] },
  ): ObjectName => ({
    ...named(grantClass(raised.spec), `grant:${id}`, HIDDEN, NEVER_LEFT),
    made: () => grantKey(`grant:${id}`, raised.spec, raised.use, raised.mechanisms),
    isUnwrapped: true,
  }),
  /**
   * The key to wrap under. Where the token marks trusted keys, only what the security officer has marked: a copy that
   * anyone else made under the same label is not seen. Else a copy is a second object of the name, which is an error.
   */
  recipient: (label: string, how: TokenProfile['depositaryKeys']) =>
    how === 'trusted'
      ? named(pkcs11.CKO_PUBLIC_KEY, label, TRUSTED, { [CKA_TRUSTED]: true })
      : named(pkcs11.CKO_PUBLIC_KEY, label, [], { [pkcs11.CKA_WRAP]: true }),
} as const;

/** The label of the server's pair regarding a depositary. The pairs of the first ceremonies have no version. */
export function serverForLabel(id: PrincipalId, version: ServerForVersion): `server-for:${string}` {
  return version === undefined ? `server-for:${id}` : `server-for:${id}:v${version}`;
}

/** Reads such a label; undefined when it is none. */
export function readServerForLabel(
  label: string,
): { readonly id: PrincipalId; readonly version: ServerForVersion } | undefined {
  const [, name, version] = /^server-for:([^:]+)(?::v([1-9][0-9]{0,8}))?$/.exec(label) ?? [];
  const id = parsePrincipalId(name ?? '');
  return id === undefined ? undefined : { id, version: version === undefined ? undefined : Number(version) };
}

function grantClass(spec: KeySpec): number {
  return isSymmetric(spec) ? pkcs11.CKO_SECRET_KEY : pkcs11.CKO_PRIVATE_KEY;
}
