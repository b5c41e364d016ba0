import { MalformedMessage } from './malformed.js';
import type { MessageReader } from './messageReader.js';
import type { MessageWriter } from './messageWriter.js';
import { CKA, CKR, Pkcs11Error } from './numbers.js';

/** The value of an attribute, in the kind that its type has. */
export type AttributeValue = boolean | number | Buffer;

/** What a template asks for: the type, and the value; undefined: one that no object has. */
export interface WantedAttribute {
  readonly type: number;
  readonly value: AttributeValue | undefined;
}

/** What is asked of an object: the type, and for how many bytes there is room at the caller; 0: only the length is asked. */
export interface AskedAttribute {
  readonly type: number;
  readonly room: number;
}

/**
 * How values travel depends on their type, by a table that both ends have (p11-kit 0.24.1, rpc-message.c): one byte, eight bytes, or
 * nested. Everything else, dates included, is length and bytes.
 */
const FLAGS: ReadonlySet<number> = new Set([
  ...[CKA.TOKEN, CKA.PRIVATE, CKA.TRUSTED, CKA.SENSITIVE, CKA.ENCRYPT, CKA.DECRYPT, CKA.WRAP, CKA.UNWRAP],
  ...[CKA.SIGN, CKA.SIGN_RECOVER, CKA.VERIFY, CKA.VERIFY_RECOVER, CKA.DERIVE, CKA.EXTRACTABLE, CKA.LOCAL],
  ...[CKA.NEVER_EXTRACTABLE, CKA.ALWAYS_SENSITIVE, CKA.MODIFIABLE, CKA.COPYABLE, CKA.SECONDARY_AUTH],
  ...[CKA.ALWAYS_AUTHENTICATE, CKA.WRAP_WITH_TRUSTED, CKA.RESET_ON_INIT, CKA.HAS_RESET, CKA.COLOR],
]);
const NUMBERS: ReadonlySet<number> = new Set([
  ...[CKA.CLASS, CKA.CERTIFICATE_TYPE, CKA.CERTIFICATE_CATEGORY, CKA.JAVA_MIDP_SECURITY_DOMAIN],
  ...[CKA.KEY_TYPE, CKA.MODULUS_BITS, CKA.PRIME_BITS, CKA.SUBPRIME_BITS, CKA.VALUE_BITS, CKA.VALUE_LEN],
  ...[CKA.KEY_GEN_MECHANISM, CKA.AUTH_PIN_FLAGS, CKA.HW_FEATURE_TYPE, CKA.PIXEL_X, CKA.PIXEL_Y],
  ...[CKA.RESOLUTION, CKA.CHAR_ROWS, CKA.CHAR_COLUMNS, CKA.BITS_PER_PIXEL, CKA.MECHANISM_TYPE],
]);
const NESTED: ReadonlySet<number> = new Set([CKA.WRAP_TEMPLATE, CKA.UNWRAP_TEMPLATE]);
/** CK_ULONG of the callers: 64 bits. */
const NUMBER_BYTES = 8;

/**
 * `aA`: a template.
 * @throws MalformedMessage; Pkcs11Error for a template in a template
 */
export function readTemplate(reader: MessageReader): readonly WantedAttribute[] {
  return Array.from({ length: reader.count() }, () => {
    const type = reader.uint32();
    const isValid = reader.byte() !== 0;
    if (!isValid) return { type, value: undefined };
    reader.uint32(); // its length at the caller
    return { type, value: readValue(reader, type) };
  });
}

/** `fA`: what is asked of an object. @throws MalformedMessage */
export function readAsked(reader: MessageReader): readonly AskedAttribute[] {
  return Array.from({ length: reader.count() }, () => ({ type: reader.uint32(), room: reader.uint32() }));
}

/** One of the attributes of `aA` in an answer: with its value where there is room for it, else with its length. */
export function writeAttribute(
  writer: MessageWriter,
  { type, room }: AskedAttribute,
  value: AttributeValue,
): void {
  const length = lengthOf(value);
  const isSent = length <= room;
  writer.uint32(type).byte(1).uint32(length);
  if (typeof value === 'boolean') writer.byte(isSent && value ? 1 : 0);
  else if (typeof value === 'number') writer.ulong(isSent ? value : 0);
  else writer.bytesOrNull(isSent ? value : undefined);
}

/** One of the attributes of `aA` in an answer that the object does not have, or does not tell. */
export function writeMissing(writer: MessageWriter, type: number): void {
  writer.uint32(type).byte(0);
}

/** How many bytes a value takes at the caller. */
export function lengthOf(value: AttributeValue): number {
  if (typeof value === 'boolean') return 1;
  return typeof value === 'number' ? NUMBER_BYTES : value.length;
}

/** In what kind the values of a type travel. */
export function kindOf(type: number): 'flag' | 'number' | 'bytes' | 'nested' | 'mechanisms' {
  if (FLAGS.has(type)) return 'flag';
  if (NUMBERS.has(type)) return 'number';
  if (NESTED.has(type)) return 'nested';
  return type === CKA.ALLOWED_MECHANISMS ? 'mechanisms' : 'bytes';
}

export function isSame(left: AttributeValue | undefined, right: AttributeValue | undefined): boolean {
  return Buffer.isBuffer(left) && Buffer.isBuffer(right) ? left.equals(right) : left === right;
}

function readValue(reader: MessageReader, type: number): AttributeValue | undefined {
  switch (kindOf(type)) {
    case 'flag': {
      const flag = reader.byte();
      if (flag > 1) throw new MalformedMessage('a flag is neither true nor false');
      return flag === 1;
    }
    case 'number':
      return reader.ulong();
    case 'bytes':
      return reader.bytesOrNull();
    case 'mechanisms': {
      // no object here has them
      for (let left = reader.count(); left > 0; left -= 1) reader.ulong();
      return undefined;
    }
    case 'nested':
      throw new Pkcs11Error(CKR.ATTRIBUTE_TYPE_INVALID);
  }
}
