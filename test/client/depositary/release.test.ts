import {
  constants,
  createCipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  publicEncrypt,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';

import { ecdsaToDer, trimToDer } from '../../../src/system/der.js';
import { exportOpened, openRelease } from '../../../src/client/depositary/release.js';
import type { ReleaseReply } from '../../../src/api/replies.js';

import { errorCode } from '../../support/errorCode.js';
import { rsaPair } from '../../support/rsaPairs.js';
import { freshBytes } from '../../support/fresh.js';

const recipient = rsaPair(3072);
const pairs = {
  'rsa-2048': rsaPair(2048),
  'ec-p256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'ec-p384': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ed25519: generateKeyPairSync('ed25519'),
};

const pkcs8 = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'pkcs8' });
const pem = (key: KeyObject): string => key.export({ format: 'pem', type: 'spki' }).toString();

/** CKM_RSA_AES_KEY_WRAP as a token makes it; `padTo` zero bytes in front of the wrapping, as SoftHSM does. */
function released(content: Buffer, padTo = 1, oaep: 'RSA-OAEP' | 'RSA-OAEP-256' = 'RSA-OAEP'): ReleaseReply {
  const x = freshBytes(32);
  const oaepHash = oaep === 'RSA-OAEP' ? 'sha1' : 'sha256';
  const padded = Buffer.concat([content, Buffer.alloc((padTo - (content.length % padTo)) % padTo)]);
  const cipher = createCipheriv('id-aes256-wrap-pad', x, Buffer.from('A65959A6', 'hex'));
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  return {
    transferKey: publicEncrypt({ key: recipient.publicKey, padding, oaepHash }, x).toString('base64url'),
    wrappedKey: Buffer.concat([cipher.update(padded), cipher.final()]).toString('base64url'),
    oaep,
  };
}

describe.each(Object.entries(pairs))('a released %s key', (_spec, { privateKey, publicKey }) => {
  const key = { publicKeyPem: pem(publicKey) };

  test.each([
    ['as it is', 1],
    ['padded with zero bytes to a multiple of 8', 8],
  ])('opens to its private key, wrapped %s', (_name, padTo) => {
    const opened = openRelease(released(pkcs8(privateKey), padTo), recipient.privateKey, key);
    const out = createPrivateKey(exportOpened(opened, 'pem'));
    expect(pkcs8(out)).toEqual(pkcs8(privateKey));
  });

  test('opens to a JWK of the same key', () => {
    const opened = openRelease(released(pkcs8(privateKey), 8), recipient.privateKey, key);
    const jwk = JSON.parse(exportOpened(opened, 'jwk').toString()) as object;
    expect(jwk).toEqual(privateKey.export({ format: 'jwk' }));
  });

  test('is refused when it is not the private half of the public key shown', () => {
    const stranger = { publicKeyPem: pem(recipient.publicKey) };
    expect(errorCode(() => openRelease(released(pkcs8(privateKey)), recipient.privateKey, stranger))).toBe(
      'release-mismatch',
    );
  });
});

describe('an EC key that a token wraps without its public part', () => {
  // RFC 5958 with the ECPrivateKey of RFC 5915 cut to version and privateKey, as SoftHSM 2.6.1 writes it
  const { privateKey, publicKey } = pairs['ec-p256'];
  const d = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url');
  const without = Buffer.concat([
    Buffer.from('3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420', 'hex'),
    d,
  ]);

  test('opens, and is checked by the public key that is derived from it', () => {
    const opened = openRelease(released(without, 8), recipient.privateKey, { publicKeyPem: pem(publicKey) });
    const out = createPrivateKey(exportOpened(opened, 'pem'));
    expect(pem(createPublicKey(out))).toBe(pem(publicKey));
    expect(out.export({ format: 'jwk' })).toEqual(privateKey.export({ format: 'jwk' }));
  });

  test('is refused against another public key', () => {
    const other = { publicKeyPem: pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey) };
    expect(errorCode(() => openRelease(released(without, 8), recipient.privateKey, other))).toBe(
      'release-mismatch',
    );
  });
});

describe('a released AES key', () => {
  const key = { publicKeyPem: undefined };
  const secret = freshBytes(32);

  test('opens to its 32 bytes, raw or as a JWK', () => {
    const opened = openRelease(released(secret, 8, 'RSA-OAEP-256'), recipient.privateKey, key);
    expect(exportOpened(opened, 'raw')).toEqual(secret);
    expect(JSON.parse(exportOpened(opened, 'jwk').toString())).toEqual({
      kty: 'oct',
      k: secret.toString('base64url'),
    });
    expect(() => exportOpened(opened, 'pem')).toThrow(RangeError);
  });

  test('of another length is refused', () => {
    expect(errorCode(() => openRelease(released(freshBytes(16)), recipient.privateKey, key))).toBe(
      'release-malformed',
    );
  });
});

describe('a release that does not open says so and nothing more:', () => {
  const { privateKey, publicKey } = pairs['ec-p256'];
  const key = { publicKeyPem: pem(publicKey) };
  const good = released(pkcs8(privateKey));
  const stranger = rsaPair(3072).privateKey;
  const flipped = Buffer.from(good.wrappedKey, 'base64url');
  flipped[10] = (flipped[10] ?? 0) ^ 1;

  test.each([
    ['it is for somebody else', good, stranger],
    [
      'the transfer key was changed',
      { ...good, transferKey: Buffer.alloc(384).toString('base64url') },
      undefined,
    ],
    ['the wrapped key was changed', { ...good, wrappedKey: flipped.toString('base64url') }, undefined],
    ['the encryption is an unknown one', { ...good, oaep: 'RSA1_5' }, undefined],
    ['it holds no key', released(Buffer.from('hello')), undefined],
    [
      'something follows the key',
      released(Buffer.concat([pkcs8(privateKey), Buffer.from([0, 1])])),
      undefined,
    ],
  ])('%s', (_name, release, by) => {
    expect(errorCode(() => openRelease(release, by ?? recipient.privateKey, key))).toBe('release-malformed');
  });
});

describe('DER', () => {
  test('fewer than eight zero bytes behind a value are taken off, and nothing else is', () => {
    const value = Buffer.from('3003020105', 'hex');
    expect(trimToDer(value)).toEqual(value);
    expect(trimToDer(Buffer.concat([value, Buffer.alloc(7)]))).toEqual(value);
    expect(trimToDer(Buffer.concat([value, Buffer.alloc(8)]))).toBeUndefined();
    expect(trimToDer(Buffer.concat([value, Buffer.from([1])]))).toBeUndefined();
    expect(trimToDer(value.subarray(0, 4))).toBeUndefined();
    expect(trimToDer(Buffer.from('30840000000000', 'hex'))).toBeUndefined();
  });

  test.each(['P-256', 'P-384', 'P-521'])('signatures of %s verify in either form', (namedCurve) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
    const message = Buffer.from('a letter');
    for (let round = 0; round < 50; round += 1) {
      const jose = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
      expect(verify('sha256', message, { key: publicKey, dsaEncoding: 'der' }, ecdsaToDer(jose))).toBe(true);
    }
  });
});

describe('a public key that is none is not believed', () => {
  const { privateKey, publicKey } = pairs['ec-p256'];
  const der = publicKey.export({ format: 'der', type: 'spki' });
  const asPem = (bytes: Buffer): string =>
    `-----BEGIN PUBLIC KEY-----\n${bytes.toString('base64')}\n-----END PUBLIC KEY-----\n`;
  const offCurve = Buffer.concat([der.subarray(0, -1), Buffer.of((der.at(-1) ?? 0) ^ 1)]);

  test.each([
    ['a point that is not on the curve', asPem(offCurve)],
    ['a point that is cut off', asPem(der.subarray(0, -1))],
    ['no PEM at all', 'public key'],
  ])('%s', (_what, publicKeyPem) => {
    const opening = (): unknown =>
      openRelease(released(pkcs8(privateKey)), recipient.privateKey, { publicKeyPem });
    expect(errorCode(opening)).toBe('release-malformed');
  });
});
