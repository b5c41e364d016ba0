/*
 * Arrays as the protocol carries them in binary. The driver sends bytes as they are; an array it would write out as text,
 * element by element, for the server to read that again.
 *
 * There is: the number of dimensions, whether there are nulls, the type of an element (its OID); of the dimension its length
 * and first subscript; then each element behind its length, -1 for null. All are big-endian and of 32 bits (`array_recv` of
 * PostgreSQL).
 */
const headerBytes = 20;

/** `text[]`. */
export function textArray(values: readonly (string | undefined)[]): Buffer {
  let length = 0;
  for (const value of values) length += 4 + (value === undefined ? 0 : Buffer.byteLength(value));
  const array = begin(25, values.length, length, values.includes(undefined));
  let at = headerBytes;
  for (const value of values) {
    const written = value === undefined ? -1 : array.write(value, at + 4, 'utf8');
    array.writeInt32BE(written, at);
    at += 4 + Math.max(0, written);
  }
  return array;
}

/** `bytea[]`. */
export function byteaArray(values: readonly Uint8Array[]): Buffer {
  return bytesArray(17, values);
}

/** `uuid[]`, each of 16 bytes. */
export function uuidArray(values: readonly Uint8Array[]): Buffer {
  return bytesArray(2950, values);
}

/** `int[]`. */
export function intArray(values: readonly number[]): Buffer {
  const array = begin(23, values.length, values.length * 8, false);
  let at = headerBytes;
  for (const value of values) {
    array.writeInt32BE(4, at);
    array.writeInt32BE(value, at + 4);
    at += 8;
  }
  return array;
}

/** `timestamptz[]`: each in microseconds since the year 2000. Throws RangeError on what is no instant. */
export function instantArray(values: readonly Date[]): Buffer {
  const array = begin(1184, values.length, values.length * 12, false);
  let at = headerBytes;
  for (const value of values) {
    array.writeInt32BE(8, at);
    array.writeBigInt64BE(BigInt(value.getTime() - year2000) * 1000n, at + 4);
    at += 12;
  }
  return array;
}

const year2000 = Date.UTC(2000, 0, 1);

function bytesArray(type: number, values: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const value of values) length += 4 + value.length;
  const array = begin(type, values.length, length, false);
  let at = headerBytes;
  for (const value of values) {
    array.writeInt32BE(value.length, at);
    array.set(value, at + 4);
    at += 4 + value.length;
  }
  return array;
}

/** An array of which nothing but the header is written yet; one without elements has no dimension. */
function begin(type: number, count: number, length: number, hasNulls: boolean): Buffer {
  const array = Buffer.allocUnsafe(count === 0 ? 12 : headerBytes + length);
  array.writeInt32BE(count === 0 ? 0 : 1, 0);
  array.writeInt32BE(hasNulls ? 1 : 0, 4);
  array.writeInt32BE(type, 8);
  if (count > 0) {
    array.writeInt32BE(count, 12);
    array.writeInt32BE(1, 16);
  }
  return array;
}
