import { createCipheriv, generateKeyPairSync, sign, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import { z } from 'zod';
import { ecdsaDer } from '../../src/token/checkpoint.js';
import { Mechanisms } from '../../src/token/mechanisms.js';
import { CURVES, ecSpki, rsaNumbers, rsaSpki } from '../../src/token/spki.js';
import type { RawToken } from '../support/rawToken.js';
import { openRaw } from '../support/rawToken.js';
import type { SoftHsm } from '../support/softhsm.js';
import { makeSoftHsm } from '../support/softhsm.js';

let hsm: SoftHsm;
let raw: RawToken;

beforeAll(async () => {
  hsm = await makeSoftHsm();
  raw = openRaw(hsm, 'user');
});
afterAll(() => {
  raw.close();
  hsm.remove();
});

describe('AES key wrap with padding (RFC 5649), by the vectors of Wycheproof with 256-bit keys', () => {
  const vectors = readVectors();

  test.each(vectors.filter(({ result }) => result === 'valid'))(
    'case $tcId ($comment) unwraps',
    ({ key, msg, ct }) => {
      expect(
        unwrap(key, ct)
          ?.subarray(0, msg.length / 2)
          .toString('hex'),
      ).toBe(msg);
    },
  );

  test('every other case is refused', () => {
    const others = vectors.filter(({ result }) => result === 'invalid');
    expect(others.length).toBeGreaterThan(10);
    expect(others.filter(({ key, ct }) => unwrap(key, ct) !== undefined)).toEqual([]);
  });
});

test.each([1, 7, 9, 20, 31])('what OpenSSL wraps (%i bytes), the token unwraps to the byte', (length) => {
  const key = Buffer.alloc(32, 3);
  const secret = Buffer.alloc(length, 5);
  const cipher = createCipheriv('id-aes256-wrap-pad', key, Buffer.from('a65959a6', 'hex'));
  const wrapped = Buffer.concat([cipher.update(secret), cipher.final()]);
  expect(unwrap(key.toString('hex'), wrapped.toString('hex'))).toEqual(secret);
});

test.each(['P-256', 'P-384', 'P-521'] as const)(
  'an EC point of %s becomes its SubjectPublicKeyInfo',
  (name) => {
    for (let round = 0; round < 20; round += 1) {
      const { publicKey } = generateKeyPairSync('ec', { namedCurve: name });
      const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
      const bare = Buffer.concat([
        Buffer.from([4]),
        Buffer.from(x, 'base64url'),
        Buffer.from(y, 'base64url'),
      ]);
      const header = bare.length < 128 ? [4, bare.length] : [4, 0x81, bare.length];
      const spki = publicKey.export({ type: 'spki', format: 'der' });
      const curve = (Object.keys(CURVES) as (keyof typeof CURVES)[]).find((key) => CURVES[key].jwk === name);
      if (curve === undefined) throw new Error('no such curve');
      expect(ecSpki(curve, bare)).toEqual(spki);
      expect(ecSpki(curve, Buffer.concat([Buffer.from(header), bare]))).toEqual(spki);
      expect(() => ecSpki(curve, bare.subarray(1))).toThrow();
    }
  },
);

test('an Edwards point and an RSA modulus become their SubjectPublicKeyInfo, leading zeros or not', () => {
  const edwards = generateKeyPairSync('ed25519').publicKey;
  const point = Buffer.from(edwards.export({ format: 'jwk' }).x ?? '', 'base64url');
  const spki = edwards.export({ type: 'spki', format: 'der' });
  expect(ecSpki('Ed25519', point)).toEqual(spki);
  expect(ecSpki('Ed25519', Buffer.concat([Buffer.from([4, 32]), point]))).toEqual(spki);
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const numbers = rsaNumbers(publicKey);
  if (numbers === undefined) throw new Error('not RSA');
  const expected = publicKey.export({ type: 'spki', format: 'der' });
  expect(rsaSpki(numbers.modulus, numbers.exponent)).toEqual(expected);
  expect(rsaSpki(Buffer.concat([Buffer.alloc(1), numbers.modulus]), numbers.exponent)).toEqual(expected);
});

test('raw ECDSA becomes the DER that signed notes carry', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const message = Buffer.from('a checkpoint');
  for (let round = 0; round < 500; round += 1) {
    const signature = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
    expect(verify('sha256', message, publicKey, ecdsaDer(signature))).toBe(true);
  }
  const small = Buffer.alloc(64);
  small.writeUInt8(1, 31);
  small.writeUInt8(0x80, 63);
  expect(ecdsaDer(small).toString('hex')).toBe('300702010102020080');
});

/** Unwraps under a known key into bytes that can be read; undefined when the token refuses. */
function unwrap(keyHex: string, wrappedHex: string): Buffer | undefined {
  const { driver, session } = raw;
  const kwp = new Mechanisms(hsm.place.profile).plain('keyWrapWithPadding');
  const key = driver.C_CreateObject(session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
    { type: pkcs11.CKA_VALUE, value: Buffer.from(keyHex, 'hex') },
    { type: pkcs11.CKA_UNWRAP, value: true },
  ]);
  try {
    const opened = driver.C_UnwrapKey(session, kwp, key, Buffer.from(wrappedHex, 'hex'), [
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

function readVectors() {
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
  const file = join(process.cwd(), 'test', 'vectors', 'wycheproof', 'aes_kwp_test.json');
  const read = schema.parse(JSON.parse(readFileSync(file, 'utf8')));
  return read.testGroups.filter(({ keySize }) => keySize === 256).flatMap(({ tests }) => tests);
}
