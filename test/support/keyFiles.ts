import { execFileSync } from 'node:child_process';
import type { KeyObject } from 'node:crypto';
import { generateKeyPairSync } from 'node:crypto';

import { derInteger, derValue } from '../../src/system/der.js';

/** Private keys as files have them, well made and not: parts of DER that are put together by hand. */

export const sequence = (...parts: readonly Buffer[]): Buffer => derValue(0x30, Buffer.concat(parts));
export const octets = (content: Buffer): Buffer => derValue(0x04, content);
export const oid = (hex: string): Buffer => derValue(0x06, Buffer.from(hex, 'hex'));
export const small = (number: number): Buffer => derInteger(Buffer.of(number));
export const NULL = Buffer.of(5, 0);

export const RSA_OID = '2a864886f70d010101';
export const PSS_OID = '2a864886f70d01010a';
export const EC_OID = '2a8648ce3d0201';
export const P256_OID = '2a8648ce3d030107';

/** The numbers of an RSA key, by the names of JWK. */
export type RsaParts = Readonly<Record<'n' | 'e' | 'd' | 'p' | 'q' | 'dp' | 'dq' | 'qi', Buffer>>;

export function rsaParts(key: KeyObject): RsaParts {
  const jwk = key.export({ format: 'jwk' });
  const part = (name: keyof RsaParts): Buffer => Buffer.from(String(jwk[name]), 'base64url');
  return {
    ...{ n: part('n'), e: part('e'), d: part('d'), p: part('p'), q: part('q') },
    ...{ dp: part('dp'), dq: part('dq'), qi: part('qi') },
  };
}

/** RSAPrivateKey (RFC 8017 appendix A.1.2). */
export function pkcs1(parts: RsaParts): Buffer {
  const { n, e, d, p, q, dp, dq, qi } = parts;
  return sequence(small(0), ...[n, e, d, p, q, dp, dq, qi].map((number) => derInteger(number)));
}

/** PrivateKeyInfo (RFC 5208 section 5). */
export function pkcs8(
  algorithm: Buffer,
  key: Buffer,
  { version = 0, more = [] }: { readonly version?: number; readonly more?: readonly Buffer[] } = {},
): Buffer {
  return sequence(small(version), algorithm, octets(key), ...more);
}

export const rsaAlgorithm = sequence(oid(RSA_OID), NULL);
export const ecAlgorithm = (curve = P256_OID): Buffer => sequence(oid(EC_OID), oid(curve));

/** The private number and the public point of an EC key. */
export function ecParts(key: KeyObject): { readonly d: Buffer; readonly point: Buffer } {
  const { d = '', x = '', y = '' } = key.export({ format: 'jwk' });
  const [scalar, ...coordinates] = [d, x, y].map((number) => Buffer.from(number, 'base64url'));
  return { d: scalar ?? Buffer.alloc(0), point: Buffer.concat([Buffer.of(4), ...coordinates]) };
}

/** ECPrivateKey (RFC 5915 section 3). */
export function sec1(
  d: Buffer,
  { parameters, point }: { readonly parameters?: Buffer; readonly point?: Buffer } = {},
): Buffer {
  return sequence(
    small(1),
    octets(d),
    ...(parameters === undefined ? [] : [derValue(0xa0, parameters)]),
    ...(point === undefined ? [] : [derValue(0xa1, derValue(0x03, Buffer.concat([Buffer.of(0), point])))]),
  );
}

export function freshEcKey(namedCurve: string): KeyObject {
  return generateKeyPairSync('ec', { namedCurve }).privateKey;
}

/** The same number with one bit turned. */
export function oneBitOff(number: Buffer): Buffer {
  const other = Buffer.from(number);
  other.writeUInt8((other.at(-2) ?? 0) ^ 0x10, other.length - 2);
  return other;
}

export function pem(label: string, der: Buffer): Buffer {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return Buffer.from(`-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`);
}

/** openssl, on what stands in `input`. */
export function openssl(input: Buffer | string, ...args: readonly string[]): Buffer {
  return execFileSync('openssl', args, { input, stdio: ['pipe', 'pipe', 'ignore'] });
}
