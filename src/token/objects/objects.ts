import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import type { EscrowError } from '../../escrow/records/errors.js';
import { type Template, valueBytes } from '../cryptoki/attributes.js';
import type { DestroyHandle } from '../cryptoki/destroying.js';
import { isStaleHandle } from '../cryptoki/faults.js';
import type { FindHandles } from '../cryptoki/finding.js';
import { type ObjectCheck, readAttribute } from './objectCheck.js';
import type { ObjectName } from './objectNames.js';
import type { Sessions } from '../cryptoki/sessions.js';
import { rsaSpki } from '../cryptoki/spki.js';

/** An object that stands in the token, and its DER SubjectPublicKeyInfo where it is a public key. */
export interface TokenObject {
  readonly handle: Handle;
  readonly publicKey: Buffer | undefined;
}

/** An object that is kept in the token, by its class (CKO_*) and its label. */
export interface ListedObject {
  readonly handle: Handle;
  readonly objectClass: number;
  readonly label: string;
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

/** Up to so many objects a search, of some 20 us for each, costs less than the way to another thread and back. */
const FEW_OBJECTS = 100;
/** What was found is looked for again so much later at the latest, however many objects there are. */
const MOST_REST_MS = 10_000;

/** Calls that are linear in all objects of the token, made on another thread. */
export interface CallsBeside {
  readonly findHandles: FindHandles;
  readonly destroyHandle: DestroyHandle;
}

/**
 * What stands in the token. All finding, making and destroying of token objects goes through one queue, since
 * SoftHSM answers concurrent ones with sporadic errors (its issue 573). Finding is linear in all objects, so
 * what was found is remembered until a call says that it is gone, and what was listed is not looked for.
 */
export class TokenObjects {
  readonly #known = new Map<string, TokenObject>();
  readonly #inTheMaking = new Set<string>();
  /** Handles by class and label, as they were listed last. Others may have destroyed what is here, and made what is not. */
  #listed = new Map<string, readonly Handle[]>();
  /** About how many there are; undefined before they were listed. */
  #count: number | undefined;

  constructor(
    readonly driver: PKCS11,
    private readonly queue: Sessions,
    private readonly pairs: Sessions,
    private readonly beside: CallsBeside,
    readonly check: ObjectCheck,
  ) {}

  /** Runs `work` alone among all that touches token objects. */
  alone<T>(work: (session: Handle) => T | Promise<T>): Promise<T> {
    return this.queue.exclusive(work);
  }

  /**
   * For how long what was found need not be looked for again, in milliseconds: not at all where there are few objects, else about
   * as long as keeps all such searches below some hundredths of the time.
   */
  get restMs(): number {
    const count = this.#count ?? 0;
    return count <= FEW_OBJECTS ? 0 : Math.min(count, MOST_REST_MS);
  }

  /** Takes what was listed: what is in it is not looked for any more, and what others have destroyed is forgotten. */
  learn(all: readonly ListedObject[]): void {
    const listed = new Map<string, Handle[]>();
    for (const { handle, objectClass, label } of all) {
      const key = `${objectClass} ${label}`;
      const same = listed.get(key);
      if (same === undefined) listed.set(key, [handle]);
      else same.push(handle);
    }
    this.#listed = listed;
    this.#count = all.length;
    for (const key of this.#known.keys())
      // that a key is trusted is not listed; there are few of these
      if (!listed.has(key) && !key.includes(' trusted ')) this.#known.delete(key);
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

  /** Every object that matches, looked for on another thread unless there are few. `alone` must be held: `session` is its. */
  async search(session: Handle, template: Template): Promise<readonly Handle[]> {
    return this.#isFew()
      ? findAll(this.driver, session, template)
      : this.beside.findHandles(session, template);
  }

  /**
   * The one object of this name, or undefined, looked for. `alone` must be held: `session` is its. EscrowError `token-unavailable`,
   * and an alarm, when there are several, or it is not as it was made.
   */
  async look(session: Handle, name: ObjectName): Promise<Handle | undefined> {
    return this.check.only(session, name, await this.search(session, name.template));
  }

  /** Whether nobody here knows of an object of this name, and where there are few, whether none is found. `alone` must be held. */
  async isAbsent(session: Handle, name: ObjectName): Promise<boolean> {
    if (this.#known.has(name.key) || this.#listed.has(name.key)) return false;
    return this.restMs > 0 || (await this.look(session, name)) === undefined;
  }

  /** The object of this name, remembered, listed or looked for; undefined when there is none. */
  async find(
    name: ObjectName,
    read?: (session: Handle, handle: Handle) => Buffer,
  ): Promise<TokenObject | undefined> {
    const known = this.#known.get(name.key);
    if (known !== undefined) return known;
    return this.alone(async (session) => {
      const found = this.#listedAs(session, name) ?? (await this.search(session, name.template));
      const handle = this.check.only(session, name, found);
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

  /** Takes one that has just been made. */
  add(name: ObjectName, known: TokenObject): void {
    this.#known.set(name.key, known);
    if (this.#count !== undefined) this.#count += 1;
  }

  remember(name: ObjectName, known: TokenObject): void {
    this.#known.set(name.key, known);
  }

  /** From now on it is looked for. */
  forget(name: ObjectName): void {
    this.#known.delete(name.key);
    this.#listed.delete(name.key);
  }

  /**
   * Destroys every object of these names, and forgets them: all that are found; where there are many objects, those that are known
   * and those that were listed, if `known` says that these are enough. Resolves with how many there were. `alone` must be held: `session` is its.
   */
  async destroy(session: Handle, names: readonly ObjectName[], known: 'any' | 'every'): Promise<number> {
    const atHand = names.map((name) => this.#knownAs(session, name));
    const isEnough = this.restMs > 0 && (known === 'any' ? atHand.some(isSome) : atHand.every(isSome));
    for (const name of names) this.forget(name);
    let destroyed = 0;
    for (const [at, name] of names.entries()) {
      const handles = isEnough ? (atHand[at] ?? []) : await this.search(session, name.template);
      for (const handle of handles) await this.destroyHandle(session, handle);
      destroyed += handles.length;
    }
    return destroyed;
  }

  /** Destroys one object. That another daemon has destroyed it meanwhile is no error. `alone` must be held. */
  async destroyHandle(session: Handle, handle: Handle): Promise<void> {
    try {
      if (this.#isFew()) this.driver.C_DestroyObject(session, handle);
      else await this.beside.destroyHandle(session, handle);
    } catch (error) {
      if (!isStaleHandle(error)) throw error;
    }
    if (this.#count !== undefined) this.#count -= 1;
  }

  #isFew(): boolean {
    return this.#count !== undefined && this.#count <= FEW_OBJECTS;
  }

  /** What is remembered or was listed under this name; undefined where nothing is, or something of it is gone. */
  #knownAs(session: Handle, name: ObjectName): readonly Handle[] | undefined {
    const known = this.#known.get(name.key);
    const listed = this.#listedAs(session, name);
    if (known === undefined) return listed;
    // others may have put a second one there, and it was listed since
    if (listed === undefined && this.#listed.has(name.key)) return undefined;
    if (!this.#isNamed(session, known.handle, name)) return undefined;
    return [known.handle, ...(listed ?? []).filter((handle) => !handle.equals(known.handle))];
  }

  /** What was listed under this name; undefined where nothing was, or something of it is gone. */
  #listedAs(session: Handle, name: ObjectName): readonly Handle[] | undefined {
    const handles = this.#listed.get(name.key);
    return handles?.every((handle) => this.#isNamed(session, handle, name)) === true ? handles : undefined;
  }

  /** Whether this handle is of an object of this name now: a token may give the handle of one that is gone to another. */
  #isNamed(session: Handle, handle: Handle, { template }: ObjectName): boolean {
    try {
      return template.every(({ type, value }) => {
        const read = readAttribute(this.driver, session, handle, type);
        return value !== undefined && read?.equals(valueBytes(value)) === true;
      });
    } catch (error) {
      if (!isStaleHandle(error)) throw error;
      return false;
    }
  }
}

function isSome(handles: readonly Handle[] | undefined): boolean {
  return handles !== undefined && handles.length > 0;
}
