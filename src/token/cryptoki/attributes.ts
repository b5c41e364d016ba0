import koffi from 'koffi';
import type { Attribute } from 'pkcs11js';

/** Attributes for an object, in the driver's form. */
export type Template = Attribute[];

/** CK_ULONG[] as bytes (LP64, little-endian), e.g. for CKA_ALLOWED_MECHANISMS. */
export function ulongs(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(8 * numbers.length);
  numbers.forEach((number, index) => bytes.writeBigUInt64LE(BigInt(number), 8 * index));
  return bytes;
}

/** Reads a CK_ULONG[]. */
export function readUlongs(bytes: Buffer): readonly number[] {
  return Array.from({ length: Math.floor(bytes.length / 8) }, (_, index) =>
    Number(bytes.readBigUInt64LE(8 * index)),
  );
}

/** CK_ATTRIBUTE and CK_MECHANISM are { number, pointer, length }: 24 bytes each (PKCS#11 2.40 section 3, LP64). */
const ROW_BYTES = 24;

/** One of them, as bytes. */
export function nativeRow(type: number, address = 0n, length = 0): Buffer {
  const bytes = Buffer.alloc(ROW_BYTES);
  bytes.writeBigUInt64LE(BigInt(type), 0);
  bytes.writeBigUInt64LE(address, 8);
  bytes.writeBigUInt64LE(BigInt(length), 16);
  return bytes;
}

/**
 * CK_ATTRIBUTE[]. The values stand behind it in the same allocation, each on a boundary of 8, so that the pointers live
 * exactly as long as what is returned. It must not be copied. What values point at themselves must be held by the caller.
 */
export function nativeTemplate(template: Template): Buffer {
  const values = template.map(({ value }) => valueBytes(value));
  const offsets: number[] = [];
  let end = ROW_BYTES * template.length;
  for (const { length } of values) {
    offsets.push(end);
    end += Math.ceil(length / 8) * 8;
  }
  const whole = Buffer.alloc(end);
  const start = koffi.address(whole);
  template.forEach(({ type }, index) => {
    const offset = offsets[index] ?? 0;
    const value = values[index] ?? Buffer.alloc(0);
    nativeRow(type, start + BigInt(offset), value.length).copy(whole, ROW_BYTES * index);
    value.copy(whole, offset);
  });
  return whole.subarray(0, ROW_BYTES * template.length);
}

/**
 * An attribute that is a template itself (PKCS#11 2.40 sections 4.9 and 4.10), which pkcs11js cannot build. SoftHSM
 * refuses one within another.
 */
export function nested(type: number, template: Template): Template {
  return [{ type, value: nativeTemplate(template) }];
}

/** What {@link nested} made, without the rows of these types. */
export function nestedWithout(native: Buffer, types: ReadonlySet<number>): Buffer {
  const rows = Array.from({ length: native.length / ROW_BYTES }, (_, index) =>
    native.subarray(ROW_BYTES * index, ROW_BYTES * (index + 1)),
  );
  const left = Buffer.concat(rows.filter((row) => !types.has(Number(row.readBigUInt64LE()))));
  pointedAt.set(left, native);
  return left;
}

/** What the rows of a buffer point at lives as long as the buffer. */
const pointedAt = new WeakMap<Buffer, Buffer>();

/** A value as pkcs11js writes it: CK_BBOOL, CK_ULONG, or bytes. */
export function valueBytes(value: Template[number]['value']): Buffer {
  if (typeof value === 'boolean') return Buffer.of(value ? 1 : 0);
  if (typeof value === 'number') return ulongs(value);
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (value instanceof Date) throw new TypeError('no template here has a date');
  return value ?? Buffer.alloc(0);
}

/** What another thread is at. */
interface UnderWay {
  readonly held: readonly unknown[];
  readonly goesOn: () => boolean;
  /** Since when it has been at the call that it is at, as far as that is known. On the clock of `performance`. */
  since: number;
}

const underWay = new Set<UnderWay>();

/**
 * Keeps `buffers` reachable until the call settles: pkcs11js hands the bytes of a Buffer to another thread
 * without holding it, and a collected one is a crash. Every call on another thread goes through here. Where it is many calls,
 * one after another, `goesOn` tells whether any has come back since it was asked last.
 */
export async function holding<T>(
  buffers: readonly unknown[],
  call: () => Promise<T>,
  goesOn: () => boolean = () => false,
): Promise<T> {
  const entry: UnderWay = { held: [...buffers], goesOn, since: performance.now() };
  underWay.add(entry);
  try {
    return await call();
  } finally {
    underWay.delete(entry);
  }
}

/** For how long the oldest call on another thread has been under way, in milliseconds; 0 when there is none. */
export function oldestCallMs(): number {
  const now = performance.now();
  let oldest = now;
  for (const entry of underWay) {
    if (entry.goesOn()) entry.since = now;
    oldest = Math.min(oldest, entry.since);
  }
  return now - oldest;
}
