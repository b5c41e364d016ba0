import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import { EscrowError } from '../escrow/errors.js';
import type { GrantId, RecoveryId } from '../escrow/ids.js';
import type { KeySpec } from '../escrow/keySpecs.js';
import type { Template } from './attributes.js';
import type { Dialect } from './dialect.js';
import { isStaleHandle } from './faults.js';
import type { TokenProfile } from './profile.js';
import type { Sessions } from './sessions.js';
import { rsaSpki } from './spki.js';

/** An object that stands in the token, and its DER SubjectPublicKeyInfo where it is a public key. */
export interface Standing {
  readonly handle: Handle;
  readonly publicKey: Buffer | undefined;
}

/** How to find one object: what it must match, and what must then be true of it. */
export interface ObjectName {
  /** What it is remembered by. */
  readonly key: string;
  readonly label: string;
  readonly template: Template;
  /** Read back after finding; an object that differs is not the one. */
  readonly mustBe: Readonly<Record<number, boolean>>;
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

/** Names of what stands in the token. */
export const objectNames = {
  kek: (label: string) => named(pkcs11.CKO_SECRET_KEY, label, HIDDEN, BORN_HERE),
  /** `identity` and `log`: the private half signs, the public half is read once. */
  signing: (label: 'identity' | 'log') => named(pkcs11.CKO_PRIVATE_KEY, label, HIDDEN, BORN_HERE),
  verifying: (label: 'identity' | 'log') => named(pkcs11.CKO_PUBLIC_KEY, label, [], {}),
  serverFor: (id: string) => named(pkcs11.CKO_PRIVATE_KEY, `server-for:${id}`, HIDDEN, BORN_HERE),
  transport: (id: RecoveryId) => named(pkcs11.CKO_PRIVATE_KEY, `transport:${id}`, HIDDEN, BORN_HERE),
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

function grantClass(spec: KeySpec): number {
  return spec === 'aes-256' ? pkcs11.CKO_SECRET_KEY : pkcs11.CKO_PRIVATE_KEY;
}

/** Every object that matches. */
export function findAll(driver: PKCS11, session: Handle, template: Template): readonly Handle[] {
  const BATCH = 100;
  const found: Handle[] = [];
  driver.C_FindObjectsInit(session, template);
  try {
    for (;;) {
      const batch = driver.C_FindObjects(session, BATCH);
      found.push(...batch);
      if (batch.length < BATCH) return found;
    }
  } finally {
    driver.C_FindObjectsFinal(session);
  }
}

/** Reads attributes as the bytes that the token gives. */
export function readBytes(
  driver: PKCS11,
  session: Handle,
  object: Handle,
  types: readonly number[],
): readonly Buffer[] {
  const read = driver.C_GetAttributeValue(
    session,
    object,
    types.map((type) => ({ type })),
  );
  return types.map((type, index) => {
    const value = read[index]?.value;
    if (!Buffer.isBuffer(value)) throw new Error(`the token gave no value for attribute ${type}`);
    return value;
  });
}

/** Whether these attributes read back as given. */
export function readsBack(
  driver: PKCS11,
  session: Handle,
  object: Handle,
  expected: Readonly<Record<number, boolean>>,
): boolean {
  return readDifferently(driver, session, object, expected).length === 0;
}

/** The types of those attributes that do not read back as given. */
export function readDifferently(
  driver: PKCS11,
  session: Handle,
  object: Handle,
  expected: Readonly<Record<number, boolean>>,
): readonly number[] {
  const rows = Object.entries(expected);
  const read = readBytes(
    driver,
    session,
    object,
    rows.map(([type]) => Number(type)),
  );
  return rows.flatMap(([type, value], index) => (read[index]?.[0] === (value ? 1 : 0) ? [] : [Number(type)]));
}

/** The DER SubjectPublicKeyInfo of an RSA public key object. */
export function readRsaSpki(driver: PKCS11, session: Handle, object: Handle): Buffer {
  const [modulus, exponent] = readBytes(driver, session, object, [
    pkcs11.CKA_MODULUS,
    pkcs11.CKA_PUBLIC_EXPONENT,
  ]);
  if (modulus === undefined || exponent === undefined) throw new Error('the token gave no RSA public key');
  return rsaSpki(modulus, exponent);
}

/**
 * What stands in the token. All finding, making and destroying of token objects goes through one queue, since
 * SoftHSM answers concurrent ones with sporadic errors (its issue 573). Finding is linear in all objects, so
 * what was found is remembered until a call says that it is gone.
 */
export class TokenObjects {
  readonly #known = new Map<string, Standing>();

  constructor(
    readonly driver: PKCS11,
    private readonly queue: Sessions,
    private readonly dialect: Dialect,
  ) {}

  /** Runs `work` alone among all that touches token objects. */
  alone<T>(work: (session: Handle) => T | Promise<T>): Promise<T> {
    return this.queue.exclusive(work);
  }

  /** The one object of this name, or undefined. `alone` must be held: `session` is its. */
  look(session: Handle, name: ObjectName): Handle | undefined {
    const found = findAll(this.driver, session, name.template);
    const [handle, second] = found;
    if (second !== undefined) {
      throw new EscrowError('token-unavailable', 'The token holds an object twice.', {
        cause: new Error(`${found.length} objects are called ${name.label}`),
      });
    }
    if (handle === undefined) return undefined;
    if (!readsBack(this.driver, session, handle, this.dialect.expected(name.mustBe))) {
      throw new EscrowError('token-unavailable', 'The token holds an object that is not what it should be.', {
        cause: new Error(`${name.label} has other attributes than it was made with`),
      });
    }
    return handle;
  }

  /** The object of this name, remembered or looked for; undefined when there is none. */
  async find(
    name: ObjectName,
    read?: (session: Handle, handle: Handle) => Buffer,
  ): Promise<Standing | undefined> {
    const known = this.#known.get(name.key);
    if (known !== undefined) return known;
    return this.alone((session) => {
      const handle = this.look(session, name);
      if (handle === undefined) return undefined;
      const standing = { handle, publicKey: read?.(session, handle) };
      this.#known.set(name.key, standing);
      return standing;
    });
  }

  /**
   * Uses the object of this name. When a remembered handle turns out stale, which means that nothing was done, it
   * is looked for once more. `missing` says what to throw when there is none.
   */
  async using<T>(
    name: ObjectName,
    missing: () => Promise<EscrowError>,
    use: (handle: Handle) => Promise<T>,
  ): Promise<T> {
    for (const attempt of ['remembered', 'looked for'] as const) {
      const standing = await this.find(name);
      if (standing === undefined) throw await missing();
      try {
        return await use(standing.handle);
      } catch (error) {
        this.forget(name);
        if (attempt === 'looked for' || !isStaleHandle(error)) throw error;
      }
    }
    throw await missing();
  }

  remember(name: ObjectName, standing: Standing): void {
    this.#known.set(name.key, standing);
  }

  forget(name: ObjectName): void {
    this.#known.delete(name.key);
  }
}
