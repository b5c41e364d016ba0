import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import { attributeLength } from '../cryptoki/attributeLength.js';
import { ulongs } from '../cryptoki/attributes.js';
import { kekCheckValue } from './kekCheckValue.js';
import { type Dialect, NESTED } from '../profile/dialect.js';
import { CKR, readFault } from '../cryptoki/faults.js';
import type { Mechanisms } from '../profile/mechanisms.js';
import type { ObjectName } from './objectNames.js';
import type { TokenPins } from './ceremonyPins.js';
import { type TokenProfile, agreesOnKeks } from '../profile/profile.js';
import type { TokenLog } from '../cryptoki/sessions.js';

/** By what an object of the token is judged, and where the operator is told of one that differs. */
export interface CheckParts {
  readonly driver: PKCS11;
  readonly profile: TokenProfile;
  readonly mechanisms: Mechanisms;
  readonly dialect: Dialect;
  /** What the record of the ceremony says; without it a key is judged by its attributes alone. */
  readonly pins: TokenPins | undefined;
  readonly log: TokenLog;
}

/** Attributes that a found object does not show as the template has them: not for the caller to know, but for the operator. */
const UNSEEN: ReadonlySet<number> = new Set([
  pkcs11.CKA_LABEL, // found by it
  pkcs11.CKA_MODULUS_BITS, // only the public half has it
]);

/**
 * Whether an object in the token is the one that the ceremony (or, for transport keys, the daemon) made: the only one of
 * its label, with every attribute of its template, born in the token; and a key-encryption key with the check value that
 * the record of the ceremony has. Somebody with the user PIN can make objects under any label, but not such.
 */
export class ObjectCheck {
  /** What was last said of each name, so that an alarm is raised once and not at every probe. */
  readonly #alarms = new Map<string, string>();

  constructor(private readonly parts: CheckParts) {}

  /** The one object that was found; undefined when there is none. EscrowError `token-unavailable` and an alarm otherwise. */
  only(session: Handle, name: ObjectName, found: readonly Handle[]): Handle | undefined {
    const [handle, second] = found;
    if (second !== undefined) {
      throw this.#alarm(name, 'token-object-twice', `${found.length} objects are called ${name.label}`);
    }
    if (handle === undefined) return undefined;
    const different = this.#differences(session, handle, name);
    if (different.length > 0) {
      const attributes = different.map(attributeName).join(', ');
      throw this.#alarm(name, 'token-object-differs', `${name.label} was not made with these: ${attributes}`);
    }
    if (name.isKek === true) this.#requirePinned(session, handle, name);
    this.#alarms.delete(name.key);
    return handle;
  }

  /**
   * The labels of all key-encryption keys by the record of the ceremony; these, which the token holds, when there is no
   * record. An alarm for one that the token holds and the record does not have.
   */
  recordedKeks(held: readonly string[]): readonly string[] {
    const { pins } = this.parts;
    if (pins === undefined) return held;
    for (const label of held) {
      if (!pins.keks.has(label))
        this.#tell(
          label,
          'token-object-unrecorded',
          `${label} is not in the record of the ceremony: not used`,
        );
    }
    return [...pins.keks.keys()];
  }

  /** Whether this object is as the one of this name is made; a key-encryption key of the record of the ceremony, where there is one. */
  isAsMade(session: Handle, handle: Handle, name: ObjectName): boolean {
    if (this.#differences(session, handle, name).length > 0) return false;
    const { pins } = this.parts;
    if (name.isKek !== true || pins === undefined) return true;
    return pins.keks.get(name.label) === kekCheckValue(this.parts, session, handle);
  }

  #requirePinned(session: Handle, handle: Handle, name: ObjectName): void {
    const { pins } = this.parts;
    if (pins === undefined) return;
    if (pins.keks.get(name.label) === kekCheckValue(this.parts, session, handle)) return;
    const what = `${name.label} is another key than the record of the ceremony says`;
    throw this.#alarm(name, 'token-object-unrecorded', what);
  }

  #differences(session: Handle, handle: Handle, name: ObjectName): readonly number[] {
    const { driver, dialect, profile, mechanisms } = this.parts;
    const keks = agreesOnKeks(profile) ? 'agreed' : 'generated';
    const made = dialect.template(name.made?.({ mechanisms, logKey: profile.logKey, keks }) ?? []);
    const kept = name.isUnwrapped === true ? dialect.keptOnUnwrapping(made) : dialect.kept(made);
    const booleans = { ...kept, ...dialect.expected(name.mustBe) };
    const expected = [
      ...Object.entries(booleans).map(([type, value]) => ({
        type: Number(type),
        bytes: Buffer.from([+value]),
      })),
      ...made.flatMap(({ type, value }) => {
        if (value === undefined || typeof value === 'boolean') return [];
        if (UNSEEN.has(type) || NESTED.has(type)) return [];
        return [{ type, bytes: Buffer.isBuffer(value) ? value : ulongs(Number(value)) }];
      }),
    ];
    const different = expected
      .filter(({ type, bytes }) => readAttribute(driver, session, handle, type)?.equals(bytes) !== true)
      .map(({ type }) => type);
    const bare = made
      .map(({ type }) => type)
      .filter((type) => NESTED.has(type) && !hasNested(driver, session, handle, type));
    return [...different, ...bare];
  }

  #alarm(name: ObjectName, alarm: string, what: string): EscrowError {
    this.#tell(name.key, alarm, what);
    return new EscrowError('token-unavailable', 'The token holds an object that is not what it should be.', {
      cause: new Error(what),
    });
  }

  #tell(key: string, alarm: string, what: string): void {
    if (this.#alarms.get(key) === what) return;
    this.#alarms.set(key, what);
    this.parts.log('error', 'an object in the token is not what it should be: find out who changed it', {
      alarm,
      what,
    });
  }
}

const NAMES = new Map<number, string>(
  Object.entries(pkcs11).flatMap(([name, number]) =>
    name.startsWith('CKA_') && typeof number === 'number' ? [[number, name]] : [],
  ),
);

/** The name of an attribute (PKCS#11 2.40, and what the driver knows of 3.0). */
export function attributeName(type: number): string {
  return NAMES.get(type) ?? `0x${type.toString(16)}`;
}

/** The value of one attribute, or undefined when this object has no such attribute, or none that can be shown. */
export function readAttribute(
  driver: PKCS11,
  session: Handle,
  object: Handle,
  type: number,
): Buffer | undefined {
  try {
    const value = driver.C_GetAttributeValue(session, object, [{ type }])[0]?.value;
    return Buffer.isBuffer(value) ? value : undefined;
  } catch (error) {
    const fault = readFault(error);
    if (fault === undefined || !CANNOT_SHOW.has(fault.code)) throw error;
    return undefined;
  }
}

const CANNOT_SHOW: ReadonlySet<number> = new Set([
  CKR.CKR_ATTRIBUTE_SENSITIVE,
  CKR.CKR_ATTRIBUTE_TYPE_INVALID,
]);

/** Whether an object has a nested template. An absent one has no length; that one that is there holds, the self-test shows. */
export function hasNested(driver: PKCS11, session: Handle, object: Handle, type: number): boolean {
  return (attributeLength(driver, session, object, type) ?? 0) > 0;
}
