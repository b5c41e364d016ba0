import { createCipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import { z } from 'zod';
import { unwrapPadded } from '../../src/client/depositary/release.js';
import { Mechanisms } from '../../src/token/profile/mechanisms.js';
import { makeNss } from '../support/nss.js';
import type { RawToken } from '../support/rawToken.js';
import { openRaw } from '../support/rawToken.js';
import { makeSoftHsm } from '../support/softhsm.js';
import type { TestToken } from '../support/testToken.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

/* AES key wrap by the vectors of Wycheproof: test/vectors/wycheproof/README.md says where they are from. */

const schema = z.object({
  testGroups: z.array(
    z.object({
      keySize: z.number(),
      tests: z.array(
        z.object({
          tcId: z.number(),
          comment: z.string(),
          key: z.string(),
          msg: z.string(),
          ct: z.string(),
          result: z.enum(['valid', 'invalid', 'acceptable']),
        }),
      ),
    }),
  ),
});

function vectors(name: string, keySizes = [128, 192, 256]) {
  const file = join(process.cwd(), 'test', 'vectors', 'wycheproof', name);
  const { testGroups } = schema.parse(JSON.parse(readFileSync(file, 'utf8')));
  return testGroups.filter(({ keySize }) => keySizes.includes(keySize)).flatMap(({ tests }) => tests);
}

const padded = vectors('aes_kwp_test.json');
const unpadded = vectors('aes_wrap_test.json');
const CKM_AES_KEY_WRAP = 0x2109;

test('the vectors hold every odd length, good and bad ones', () => {
  const lengths = new Set(padded.flatMap(({ msg, result }) => (result === 'valid' ? [msg.length / 2] : [])));
  for (let length = 1; length <= 16; length += 1) expect(lengths).toContain(length);
  expect(padded.filter(({ result }) => result === 'invalid').length).toBeGreaterThan(100);
  expect(unpadded.filter(({ result }) => result === 'invalid').length).toBeGreaterThan(100);
});

describe('what a depositary opens releases with', () => {
  test.each([0, 8, 15, 17])(
    'refuses %i bytes, which are no key under another (RFC 5649 section 4.2)',
    (bytes) => {
      const opening = (): Buffer => unwrapPadded(Buffer.alloc(32), Buffer.alloc(bytes));
      expect(opening).toThrow('the wrapped key does not unwrap');
    },
  );

  const ours = vectors('aes_kwp_test.json', [256]);

  test.each(ours.filter(({ result }) => result === 'valid'))(
    'case $tcId ($comment) unwraps to the byte',
    ({ key, msg, ct }) => {
      const opened = unwrapPadded(Buffer.from(key, 'hex'), Buffer.from(ct, 'hex'));
      expect(opened.toString('hex')).toBe(msg);
    },
  );

  test.each(ours.filter(({ result }) => result === 'invalid'))(
    'case $tcId ($comment) is refused',
    ({ key, ct }) => {
      const opening = (): Buffer => unwrapPadded(Buffer.from(key, 'hex'), Buffer.from(ct, 'hex'));
      expect(opening).toThrow('the wrapped key does not unwrap');
    },
  );
});

describe.each([
  { name: 'SoftHSM 2.6', make: () => makeSoftHsm('key-wrap'), mostBytes: Infinity },
  // NSS unwraps secret keys of at most 256 bytes; private keys may be longer.
  { name: 'NSS softokn 3', make: () => makeNss('key-wrap'), mostBytes: 256 },
])('$name', ({ make, mostBytes }) => {
  let made: TestToken;
  let raw: RawToken;
  let kwp: number;

  beforeAll(async () => {
    made = await make();
    raw = openRaw(made, 'user');
    kwp = new Mechanisms(made.place.profile).number('keyWrapWithPadding');
  });
  afterAll(() => {
    raw.close();
    made.remove();
  });

  test('RFC 5649: every good vector unwraps to the byte, up to the longest secret that the token takes', () => {
    for (const { tcId, key, msg, ct } of padded.filter(({ result }) => result === 'valid')) {
      const expected = msg.length / 2 <= mostBytes ? msg : undefined;
      expect({ tcId, msg: unwrap(raw, kwp, key, ct)?.toString('hex') }).toEqual({ tcId, msg: expected });
    }
  });

  test('RFC 5649: every bad vector is refused', () => {
    const bad = padded.filter(({ result }) => result === 'invalid');
    expect(bad.filter(({ key, ct }) => unwrap(raw, kwp, key, ct) !== undefined)).toEqual([]);
  });

  test('RFC 3394: every good vector unwraps to the byte, up to the longest secret that the token takes', () => {
    for (const { tcId, key, msg, ct } of unpadded.filter(({ result }) => result === 'valid')) {
      const expected = msg.length / 2 <= mostBytes ? msg : undefined;
      expect({ tcId, msg: unwrap(raw, CKM_AES_KEY_WRAP, key, ct)?.toString('hex') }).toEqual({
        tcId,
        msg: expected,
      });
    }
  });

  test('RFC 3394: every bad vector is refused', () => {
    const bad = unpadded.filter(({ result }) => result === 'invalid');
    expect(bad.filter(({ key, ct }) => unwrap(raw, CKM_AES_KEY_WRAP, key, ct) !== undefined)).toEqual([]);
  });

  test.each([1, 7, 9, 20, 31])('what OpenSSL wraps (%i bytes), the token unwraps to the byte', (length) => {
    const key = Buffer.alloc(32, 3);
    const secret = Buffer.alloc(length, 5);
    const cipher = createCipheriv('id-aes256-wrap-pad', key, Buffer.from('a65959a6', 'hex'));
    const wrapped = Buffer.concat([cipher.update(secret), cipher.final()]);
    expect(unwrap(raw, kwp, key.toString('hex'), wrapped.toString('hex'))).toEqual(secret);
  });

  test.each([7, 9, 20, 31])('a secret of %i bytes that the token wraps', (length) => {
    const wrapped = wrap(raw, kwp, Buffer.alloc(32, 3), Buffer.alloc(length, 5));
    const opened = unwrapPadded(Buffer.alloc(32, 3), wrapped);
    expect(opened.subarray(0, length)).toEqual(Buffer.alloc(length, 5));
    // SoftHSM 2.6.1 pads with zeros to a multiple of eight before it wraps, unlike RFC 5649 section 4.1.
    const added = made.place.profile.profile === 'softhsm-2.6' ? Math.ceil(length / 8) * 8 - length : 0;
    expect(opened.subarray(length)).toEqual(Buffer.alloc(added));
  });
});

/** Unwraps under a known key into bytes that can be read; undefined when the token refuses. */
function unwrap(raw: RawToken, mechanism: number, keyHex: string, wrappedHex: string): Buffer | undefined {
  const { driver, session } = raw;
  const key = aesKey(raw, Buffer.from(keyHex, 'hex'));
  try {
    const opened = driver.C_UnwrapKey(session, { mechanism }, key, Buffer.from(wrappedHex, 'hex'), [
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
      { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_GENERIC_SECRET },
      { type: pkcs11.CKA_SENSITIVE, value: false },
      { type: pkcs11.CKA_EXTRACTABLE, value: true },
    ]);
    const value = driver.C_GetAttributeValue(session, opened, [{ type: pkcs11.CKA_VALUE }])[0]?.value;
    driver.C_DestroyObject(session, opened);
    return Buffer.isBuffer(value) ? value : undefined;
  } catch {
    return undefined;
  } finally {
    driver.C_DestroyObject(session, key);
  }
}

function wrap(raw: RawToken, mechanism: number, key: Buffer, secret: Buffer): Buffer {
  const { driver, session } = raw;
  const wrapping = aesKey(raw, key);
  const wrapped = driver.C_CreateObject(session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_GENERIC_SECRET },
    { type: pkcs11.CKA_EXTRACTABLE, value: true },
    { type: pkcs11.CKA_VALUE, value: secret },
  ]);
  return Buffer.from(driver.C_WrapKey(session, { mechanism }, wrapping, wrapped, Buffer.alloc(1024)));
}

function aesKey({ driver, session }: RawToken, value: Buffer): Buffer {
  return driver.C_CreateObject(session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
    { type: pkcs11.CKA_VALUE, value },
    { type: pkcs11.CKA_WRAP, value: true },
    { type: pkcs11.CKA_UNWRAP, value: true },
  ]);
}
