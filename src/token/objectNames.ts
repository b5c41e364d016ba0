import pkcs11 from 'pkcs11js';
import type { GrantId, RecoveryId } from '../escrow/ids.js';
import type { KeySpec } from '../escrow/keySpecs.js';
import type { Template } from './attributes.js';
import { kekTemplate, signingPair } from './ceremony/templates.js';
import type { Mechanisms } from './mechanisms.js';
import type { TokenProfile } from './profile.js';
import { unwrappingPair } from './templates.js';

/** What a template depends on, in one kind of token. */
export interface Making {
  readonly mechanisms: Mechanisms;
  readonly logKey: TokenProfile['logKey'];
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
}

const { CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_TRUSTED } = pkcs11;

const NEVER_LEFT = { [pkcs11.CKA_SENSITIVE]: true, [pkcs11.CKA_EXTRACTABLE]: false };
/** An imported key can be SENSITIVE, but never LOCAL: what was born here has been seen nowhere else. */
export const BORN_HERE = {
  ...NEVER_LEFT,
  [pkcs11.CKA_LOCAL]: true,
  [pkcs11.CKA_ALWAYS_SENSITIVE]: true,
  [pkcs11.CKA_NEVER_EXTRACTABLE]: true,
};

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
const TRUSTED: Template = [{ type: CKA_TRUSTED, value: true }];

/** A pair that unwraps with its private half. */
const unwrapping = (label: string): ObjectName => ({
  ...named(pkcs11.CKO_PRIVATE_KEY, label, [], BORN_HERE),
  made: ({ mechanisms }) => unwrappingPair(label, mechanisms.number('rsaOaep')).privateKey,
});

/**
 * Names of what stands in the token. What is born in it is found by class and label alone: an object beside it that only
 * looks like it is an error, not one to be overlooked.
 */
export const objectNames = {
  kek: (label: string): ObjectName => ({
    ...named(pkcs11.CKO_SECRET_KEY, label, [], BORN_HERE),
    made: ({ mechanisms }) => kekTemplate(purposeOf(label), label, mechanisms.number('keyWrapWithPadding')),
    isKek: true,
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
  serverFor: (id: string) => unwrapping(`server-for:${id}`),
  transport: (id: RecoveryId) => unwrapping(`transport:${id}`),
  transportPublic: (id: RecoveryId) => named(pkcs11.CKO_PUBLIC_KEY, `transport:${id}`, [], {}),
  grant: (id: GrantId, spec: KeySpec) => named(grantClass(spec), `grant:${id}`, HIDDEN, NEVER_LEFT),
  /**
   * The key to wrap under. Where the token marks trusted keys, only what the security officer has marked: a copy that
   * anyone else made under the same label is not seen. Else a copy is a second object of the name, which is an error.
   */
  recipient: (label: string, how: TokenProfile['depositaryKeys']) =>
    how === 'trusted'
      ? named(pkcs11.CKO_PUBLIC_KEY, label, TRUSTED, { [CKA_TRUSTED]: true })
      : named(pkcs11.CKO_PUBLIC_KEY, label, [], { [pkcs11.CKA_WRAP]: true }),
} as const;

function purposeOf(kek: string): 'operate' | 'release' {
  return kek.startsWith('kek:operate:') ? 'operate' : 'release';
}

function grantClass(spec: KeySpec): number {
  return spec === 'aes-256' ? pkcs11.CKO_SECRET_KEY : pkcs11.CKO_PRIVATE_KEY;
}
