/**
 * The one DER value (X.690 section 8.1) at the start of `bytes`, when nothing but fewer than eight zero bytes
 * follows; else undefined.
 */
export function trimToDer(bytes: Uint8Array): Uint8Array | undefined {
  const length = derLength(bytes);
  if (length === undefined || length > bytes.length) return undefined;
  const rest = bytes.subarray(length);
  return rest.length < 8 && rest.every((byte) => byte === 0) ? bytes.subarray(0, length) : undefined;
}

/** The length of a SEQUENCE with its header, in bytes. */
function derLength(bytes: Uint8Array): number | undefined {
  const [tag, first] = bytes;
  if (tag !== 0x30 || first === undefined) return undefined;
  if (first < 0x80) return 2 + first;
  const lengthBytes = bytes.subarray(2, 2 + (first & 0x7f));
  if (lengthBytes.length === 0 || lengthBytes.length > 4 || lengthBytes.length < (first & 0x7f)) {
    return undefined;
  }
  // X.690 section 10.1: the shortest form
  if (lengthBytes[0] === 0 || (lengthBytes.length === 1 && (lengthBytes[0] ?? 0) < 0x80)) return undefined;
  return 2 + lengthBytes.length + lengthBytes.reduce((length, byte) => length * 256 + byte, 0);
}

/**
 * ECDSA-Sig-Value (RFC 3279 section 2.2.3) of a JOSE signature r || s (RFC 7518 section 3.4): the form that openssl
 * and X.509 use.
 * @throws RangeError when the length is not even
 */
export function ecdsaToDer(signature: Uint8Array): Buffer {
  if (signature.length === 0 || signature.length % 2 !== 0)
    throw new RangeError('r and s have the same length');
  const half = signature.length / 2;
  const content = Buffer.concat([
    derInteger(signature.subarray(0, half)),
    derInteger(signature.subarray(half)),
  ]);
  return derValue(0x30, content);
}

/** A non-negative INTEGER: no leading zeros but one before a set high bit (X.690 section 8.3.2). */
export function derInteger(bigEndian: Uint8Array): Buffer {
  let start = 0;
  while (start < bigEndian.length - 1 && bigEndian[start] === 0) start += 1;
  const digits = bigEndian.subarray(start);
  const isHigh = ((digits[0] ?? 0) & 0x80) !== 0;
  const content = isHigh ? Buffer.concat([Buffer.of(0), digits]) : Buffer.from(digits);
  return derValue(0x02, content);
}

/** A value with its tag and length (X.690 section 8.1.3, the shortest form); less than 65,536 bytes. */
export function derValue(tag: number, content: Buffer): Buffer {
  return Buffer.concat([derHeader(tag, content.length), content]);
}

function derHeader(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.of(tag, length);
  return length < 0x100
    ? Buffer.of(tag, 0x81, length)
    : Buffer.of(tag, 0x82, Math.floor(length / 0x100), length % 0x100);
}
