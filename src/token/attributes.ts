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

/**
 * A nested template of booleans (CKA_UNWRAP_TEMPLATE, PKCS#11 2.40 sections 4.9 and 4.10), which pkcs11js cannot build:
 * CK_ATTRIBUTE is { type, pointer to value, length }, 24 bytes. The values stand behind the array in the same
 * allocation, so the pointers live exactly as long as what is returned. It must not be copied.
 */
export function nestedBooleans(rows: readonly (readonly [type: number, value: boolean])[]): Buffer {
  const whole = Buffer.alloc(24 * rows.length + rows.length);
  const start = koffi.address(whole);
  rows.forEach(([type, value], index) => {
    const valueAt = 24 * rows.length + index;
    whole.writeUInt8(value ? 1 : 0, valueAt);
    whole.writeBigUInt64LE(BigInt(type), 24 * index);
    whole.writeBigUInt64LE(start + BigInt(valueAt), 24 * index + 8);
    whole.writeBigUInt64LE(1n, 24 * index + 16);
  });
  return whole.subarray(0, 24 * rows.length);
}

const inUse = new Map<readonly unknown[], number>();

/**
 * Keeps `buffers` reachable until the call settles: pkcs11js hands the bytes of a Buffer to another thread
 * without holding it, and a collected one is a crash. Every call on another thread goes through here.
 */
export async function holding<T>(buffers: readonly unknown[], call: () => Promise<T>): Promise<T> {
  const held = [...buffers];
  inUse.set(held, performance.now());
  try {
    return await call();
  } finally {
    inUse.delete(held);
  }
}

/** For how long the oldest call on another thread has been under way, in milliseconds; 0 when there is none. */
export function oldestCallMs(): number {
  return inUse.size === 0 ? 0 : performance.now() - Math.min(...inUse.values());
}
