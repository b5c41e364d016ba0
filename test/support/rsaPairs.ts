import type { KeyObject } from 'node:crypto';
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { PRIMES, readyPrimesDirectory } from './readyPrimes.js';

export interface RsaPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const EXPONENT = 65_537n;

/**
 * An RSA pair of this length that nobody else in this run of tests has: of ready primes, while there are some, as the search
 * for others takes up to a second.
 */
export function rsaPair(bits: 2048 | 3072): RsaPair {
  const primes = primesOf(bits / 2);
  let [number, larger] = [primes.length === 0 ? 0 : take(bits / 2), 1];
  for (; number >= larger; larger += 1) number -= larger;
  const [p, q] = [primes[larger], primes[number]];
  if (p === undefined || q === undefined) return generateKeyPairSync('rsa', { modulusLength: bits });
  const privateKey = createPrivateKey({ format: 'jwk', key: p > q ? jwkOf(p, q) : jwkOf(q, p) });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

/** None when they are not to be used. */
function primesOf(bits: number): readonly bigint[] {
  if (readyPrimesDirectory() === undefined) return [];
  const lines = readFileSync(join(PRIMES, 'people', String(bits)), 'utf8')
    .trim()
    .split('\n');
  return lines.map((hex) => BigInt(`0x${hex}`));
}

/** The number of a pair that nobody has taken: which line of the file of those that are is this one's. */
function take(bits: number): number {
  const file = join(readyPrimesDirectory() ?? '', `people-${bits}`);
  const line = `${process.pid} ${process.hrtime.bigint()}`;
  appendFileSync(file, `${line}\n`);
  return readFileSync(file, 'utf8').split('\n').indexOf(line);
}

/** RFC 8017 section 3.2. */
function jwkOf(p: bigint, q: bigint): Record<string, string> {
  const d = inverse(EXPONENT, (p - 1n) * (q - 1n));
  return {
    kty: 'RSA',
    ...{ n: base64url(p * q), e: base64url(EXPONENT), d: base64url(d), p: base64url(p), q: base64url(q) },
    ...{ dp: base64url(d % (p - 1n)), dq: base64url(d % (q - 1n)), qi: base64url(inverse(q, p)) },
  };
}

/** By Euclid's extended algorithm. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (b !== 0n) [a, b, x, y] = [b, a % b, y, x - (a / b) * y];
  return ((x % modulus) + modulus) % modulus;
}

function base64url(number: bigint): string {
  const hex = number.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex').toString('base64url');
}
