import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import type { EscrowError } from '../../escrow/records/errors.js';
import type { Template } from '../cryptoki/attributes.js';
import { isStaleHandle } from '../cryptoki/faults.js';
import type { ObjectCheck } from './objectCheck.js';
import type { ObjectName } from './objectNames.js';
import type { Sessions } from '../cryptoki/sessions.js';
import { rsaSpki } from '../cryptoki/spki.js';

/** An object that stands in the token, and its DER SubjectPublicKeyInfo where it is a public key. */
export interface TokenObject {
  readonly handle: Handle;
  readonly publicKey: Buffer | undefined;
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
  readonly #known = new Map<string, TokenObject>();
  readonly #inTheMaking = new Set<string>();

  constructor(
    readonly driver: PKCS11,
    private readonly queue: Sessions,
    private readonly pairs: Sessions,
    readonly check: ObjectCheck,
  ) {}

  /** Runs `work` alone among all that touches token objects. */
  alone<T>(work: (session: Handle) => T | Promise<T>): Promise<T> {
    return this.queue.exclusive(work);
  }

  /**
   * Runs `work`, which makes the object of this name and takes a second or so, as a new RSA pair does. Such works wait for each
   * other, outside of the queue.
   */
  async making<T>(name: ObjectName, work: () => Promise<T>): Promise<T> {
    const turn = await this.pairs.acquire();
    this.#inTheMaking.add(name.key);
    try {
      return await work();
    } finally {
      this.#inTheMaking.delete(name.key);
      turn.release();
    }
  }

  /** Whether it is being made at this moment, and may not yet be what it will be. */
  isInTheMaking(name: ObjectName): boolean {
    return this.#inTheMaking.has(name.key);
  }

  /**
   * The one object of this name, or undefined. `alone` must be held: `session` is its. EscrowError `token-unavailable`,
   * and an alarm, when there are several, or it is not as it was made.
   */
  look(session: Handle, name: ObjectName): Handle | undefined {
    return this.check.only(session, name, findAll(this.driver, session, name.template));
  }

  /** The object of this name, remembered or looked for; undefined when there is none. */
  async find(
    name: ObjectName,
    read?: (session: Handle, handle: Handle) => Buffer,
  ): Promise<TokenObject | undefined> {
    const known = this.#known.get(name.key);
    if (known !== undefined) return known;
    return this.alone((session) => {
      const handle = this.look(session, name);
      if (handle === undefined) return undefined;
      const known = { handle, publicKey: read?.(session, handle) };
      this.#known.set(name.key, known);
      return known;
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
      const known = await this.find(name);
      if (known === undefined) throw await missing();
      try {
        return await use(known.handle);
      } catch (error) {
        this.forget(name);
        if (attempt === 'looked for' || !isStaleHandle(error)) throw error;
      }
    }
    throw await missing();
  }

  remember(name: ObjectName, known: TokenObject): void {
    this.#known.set(name.key, known);
  }

  forget(name: ObjectName): void {
    this.#known.delete(name.key);
  }
}
