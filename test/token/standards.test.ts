import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { ecdsaToDer } from '../../src/system/der.js';
import { CURVES, ecSpki, rsaNumbers, rsaSpki } from '../../src/token/cryptoki/spki.js';
import { rsaPair } from '../support/rsaPairs.js';

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
  const { publicKey } = rsaPair(2048);
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
    expect(verify('sha256', message, publicKey, ecdsaToDer(signature))).toBe(true);
  }
  const small = Buffer.alloc(64);
  small.writeUInt8(1, 31);
  small.writeUInt8(0x80, 63);
  expect(ecdsaToDer(small).toString('hex')).toBe('300702010102020080');
});
