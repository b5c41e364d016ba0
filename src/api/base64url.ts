/**
 * The bytes of base64url without padding (RFC 4648 section 5), or undefined when `text` is not exactly the text that
 * those bytes have: padding, other alphabets, spaces and stray bits in the last character (section 3.5) would give
 * one value several texts.
 */
export function decodeBase64url(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}
