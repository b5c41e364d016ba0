import pkcs11 from 'pkcs11js';
import { type Template, nestedWithout } from '../cryptoki/attributes.js';
import type { TokenProfile } from './profile.js';
import type { PairTemplate } from './templateParts.js';
import { DISPENSABLE, USES_ON_UNWRAPPING } from './attributeNames.js';

/** Attributes that are templates themselves. */
export const NESTED: ReadonlySet<number> = new Set([pkcs11.CKA_UNWRAP_TEMPLATE, pkcs11.CKA_WRAP_TEMPLATE]);

type Booleans = Readonly<Record<number, boolean>>;

/**
 * Says our templates as one kind of token understands them. What a token lacks by its profile is neither asked for
 * nor expected to read back; all the rest is, and a key that reads back differently is not used.
 */
export class Dialect {
  readonly #absent: ReadonlySet<number>;

  constructor(private readonly profile: Pick<TokenProfile, 'absentAttributes' | 'unwrapping'>) {
    this.#absent = new Set(profile.absentAttributes.map((name) => DISPENSABLE[name]));
  }

  /** A template for making, creating or finding. */
  template(template: Template): Template {
    return template
      .filter(({ type }) => !this.#absent.has(type))
      .map((attribute) =>
        NESTED.has(attribute.type) && Buffer.isBuffer(attribute.value)
          ? { type: attribute.type, value: nestedWithout(attribute.value, this.#absent) }
          : attribute,
      );
  }

  pair({ publicKey, privateKey }: PairTemplate): PairTemplate {
    return { publicKey: this.template(publicKey), privateKey: this.template(privateKey) };
  }

  /** A template for C_UnwrapKey, with what the token wants besides. */
  unwrapping(template: Template): Template {
    const more = this.profile.unwrapping.attributes.flatMap(({ keys, number, value }) =>
      isPrivate(template, KEY_TYPES[keys]) ? [{ type: number, value: Buffer.from(value, 'hex') }] : [],
    );
    return [...more, ...this.template(template)];
  }

  /** What must read back of these yes and no. */
  expected(booleans: Booleans): Booleans {
    return without(booleans, this.#absent);
  }

  /** What must read back of a key made by this template. */
  kept(template: Template): Booleans {
    return this.expected(booleansOf(template));
  }

  /** What must read back of a key unwrapped by this template. */
  keptOnUnwrapping(template: Template): Booleans {
    const forced = this.profile.unwrapping.forcedUses
      .filter(({ keys }) => isPrivate(template, KEY_TYPES[keys]))
      .flatMap(({ uses }) => uses.map((name) => USES_ON_UNWRAPPING[name]));
    return without(this.kept(template), new Set(forced));
  }
}

const KEY_TYPES = { RSA: pkcs11.CKK_RSA, EC: pkcs11.CKK_EC } as const;

function isPrivate(template: Template, keyType: number): boolean {
  const says = (type: number, value: number): boolean =>
    template.some((attribute) => attribute.type === type && attribute.value === value);
  return says(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY) && says(pkcs11.CKA_KEY_TYPE, keyType);
}

function booleansOf(template: Template): Booleans {
  return Object.fromEntries(
    template.flatMap(({ type, value }) => (typeof value === 'boolean' ? [[type, value] as const] : [])),
  );
}

function without(booleans: Booleans, types: ReadonlySet<number>): Booleans {
  return Object.fromEntries(Object.entries(booleans).filter(([type]) => !types.has(Number(type))));
}
