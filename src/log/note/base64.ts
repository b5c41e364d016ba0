/** Standard base64 with padding, RFC 4648 section 4. */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

/**
 * The bytes of standard base64 (RFC 4648 section 4), or undefined when `text` is not exactly what {@link
 * encodeBase64} writes for some bytes: other alphabets, missing padding, spaces and stray bits in the last
 * character (section 3.5) would give several texts to one signature or root.
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** The same of base64url without padding (RFC 4648 section 5): the bytes, when `text` is exactly what stands for them. */
export function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}
