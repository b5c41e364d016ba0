import { checkPrimeSync } from 'node:crypto';

import { type ImportableSpec, IMPORTABLE_SPECS, KEY_SPECS } from '../../escrow/records/keySpecs.js';
import { DerReader, TAG } from './derReader.js';
import { KeyFileError } from './keyFileError.js';

/** The numbers of an RSA key with two primes (RFC 8017 section 3.2), big-endian: part of what was read. */
export interface RsaNumbers {
  readonly spec: ImportableSpec;
  readonly n: Buffer;
  readonly e: Buffer;
  readonly d: Buffer;
  readonly p: Buffer;
  readonly q: Buffer;
  readonly dp: Buffer;
  readonly dq: Buffer;
  readonly qInv: Buffer;
}

const MODULI = IMPORTABLE_SPECS.flatMap((spec) => {
  const row = KEY_SPECS[spec];
  return 'modulusBits' in row ? [{ spec, bits: row.modulusBits }] : [];
});

/**
 * Reads RSAPrivateKey (RFC 8017 appendix A.1.2) and checks every number of it against the others. Nobody else does: a token takes
 * a key whose d or q is wrong by one bit, and what it signs verifies.
 * @throws KeyFileError `der-malformed`, `rsa-primes`, `rsa-incomplete`, `rsa-size`, `rsa-exponent`, `rsa-inconsistent`
 */
export function readRsaKey(content: Buffer): RsaNumbers {
  const outer = new DerReader(content);
  const key = outer.enter(TAG.sequence);
  outer.end();
  const version = key.small();
  if (version > 1) throw new KeyFileError('der-malformed');
  const [n, e, d] = [key.number(), key.number(), key.number()];
  // some write the public part and d alone; the numbers that are left out may be absent or 0
  if (key.next === undefined) throw new KeyFileError('rsa-incomplete');
  const [p, q, dp, dq, qInv] = [key.number(), key.number(), key.number(), key.number(), key.number()];
  if (version === 1 || key.next === TAG.sequence) throw new KeyFileError('rsa-primes');
  key.end();
  if ([d, p, q, dp, dq, qInv].some(({ length }) => length === 0)) throw new KeyFileError('rsa-incomplete');
  const spec = MODULI.find(({ bits }) => bits === bitsOf(n))?.spec;
  if (spec === undefined) throw new KeyFileError('rsa-size');
  const numbers = { n, e, d, p, q, dp, dq, qInv };
  checkNumbers(numbers);
  return { spec, ...numbers };
}

/** RFC 8017 sections 3.1 and 3.2. */
function checkNumbers(found: Omit<RsaNumbers, 'spec'>): void {
  const [n, e, d] = [asNumber(found.n), asNumber(found.e), asNumber(found.d)];
  const [p, q] = [asNumber(found.p), asNumber(found.q)];
  if (e < 3n || e % 2n === 0n || e >= n) throw new KeyFileError('rsa-exponent');
  const [ofP, ofQ] = [p - 1n, q - 1n];
  const isConsistent =
    p * q === n &&
    p !== q &&
    ofP > 0n &&
    ofQ > 0n &&
    d < n &&
    (e * d) % leastMultiple(ofP, ofQ) === 1n &&
    asNumber(found.dp) === d % ofP &&
    asNumber(found.dq) === d % ofQ &&
    asNumber(found.qInv) < p &&
    (asNumber(found.qInv) * q) % p === 1n;
  if (!isConsistent) throw new KeyFileError('rsa-inconsistent');
  // of three primes two may stand as one, whose product is n as well
  if (!checkPrimeSync(p) || !checkPrimeSync(q)) throw new KeyFileError('rsa-primes');
}

function leastMultiple(a: bigint, b: bigint): bigint {
  let [divisor, rest] = [a, b];
  while (rest > 0n) [divisor, rest] = [rest, divisor % rest];
  return (a / divisor) * b;
}

function asNumber(bytes: Buffer): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${bytes.toString('hex')}`);
}

function bitsOf(number: Buffer): number {
  return number.length === 0 ? 0 : 8 * number.length - Math.clz32(number[0] ?? 0) + 24;
}
