import { createHash, generateKeyPairSync } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';

import { jwsHolds, parseJws } from '../../src/jose/jws.js';
import { signRequest } from '../../src/client/requestSignature.js';
import type { Signer } from '../../src/client/identity/signingKey.js';
import { signerOf } from '../../src/client/identity/signingKey.js';
import { authenticate } from '../http/authenticate.js';
import { parsePolicy } from '../../src/http/policyDocument.js';

import { errorCode } from '../support/errorCode.js';
import { rsaPair } from '../support/rsaPairs.js';

const LOG_KEY = 'escrow.example.com/log+00000000+AQ';
const NOW = new Date('2026-03-01T12:00:00.500Z');
const body = Buffer.from('{"owner":"olga"}');
const request = { method: 'POST', target: '/v1/keys?x=1', body } as const;
const pairs = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  EdDSA: generateKeyPairSync('ed25519'),
  PS256: rsaPair(2048),
};

test('a request says who, to whom, when, what, over which body, and is new each time', async () => {
  const dana = signerOf('dana', pairs.ES256.privateKey);
  const jws = parseJws(await signRequest(dana, LOG_KEY, request, NOW));
  expect(jws?.header).toEqual({ typ: 'escrowd-request+jwt', alg: 'ES256', kid: dana.kid });
  const { jti, ...claims } = jws?.payload ?? {};
  expect(claims).toEqual({
    iss: 'dana',
    aud: LOG_KEY,
    iat: 1_772_366_400,
    exp: 1_772_366_460,
    htm: 'POST',
    htu: '/v1/keys?x=1',
    cd: createHash('sha256').update(body).digest('base64url'),
  });
  expect(Buffer.from(String(jti), 'base64url')).toHaveLength(16);
  const again = parseJws(await signRequest(dana, LOG_KEY, request, NOW));
  expect(again?.payload['jti']).not.toBe(jti);
});

test('a request without a body carries the hash of nothing', async () => {
  const empty = { method: 'GET', target: '/v1/keys', body: new Uint8Array(0) } as const;
  const jws = parseJws(await signRequest(signerOf('dana', pairs.EdDSA.privateKey), LOG_KEY, empty, NOW));
  expect(jws?.payload['cd']).toBe('47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU');
});

describe.each(Object.entries(pairs))('a key for %s', (alg, { privateKey, publicKey }) => {
  const signer: Signer = signerOf('dana', privateKey);

  test('is named by its RFC 7638 thumbprint', async () => {
    expect(signer.algorithm).toBe(alg);
    expect(signer.kid).toBe(await calculateJwkThumbprint(publicKey));
    expect(signer.publicJwk).toEqual({ ...publicKey.export({ format: 'jwk' }), alg, kid: signer.kid });
    expect(signer.publicJwk).not.toHaveProperty('d');
  });

  test('signs what the server accepts as that principal, over exactly this request', async () => {
    const principal = {
      id: 'dana',
      kind: 'person',
      name: 'Dana',
      roles: ['admin'],
      keys: [signer.publicJwk],
    };
    const other = signerOf('eve', generateKeyPairSync('ed25519').privateKey).publicJwk;
    const document = {
      version: 1,
      principals: [principal, { ...principal, id: 'eve', keys: [other] }],
      rules: [],
    };
    const policy = parsePolicy(JSON.stringify(document), 1);
    const authorization = [`Escrowd-JWS ${await signRequest(signer, LOG_KEY, request, NOW)}`];
    const idempotencyKey: readonly string[] = [];
    const trust = { policy, logKey: LOG_KEY, now: NOW };
    expect(await authenticate({ ...request, authorization, idempotencyKey }, trust)).toMatchObject({
      outcome: 'accepted',
      call: { caller: { id: 'dana' } },
    });
    const changed = { ...request, body: Buffer.from('{"owner":"oscar"}'), authorization, idempotencyKey };
    expect(await authenticate(changed, trust)).toMatchObject({ outcome: 'refused' });
    const named = [
      `Escrowd-JWS ${await signRequest(signer, LOG_KEY, { ...request, idempotencyKey: 'k-1' }, NOW)}`,
    ];
    const received = { ...request, authorization: named, idempotencyKey: ['"k-1"'] };
    expect(await authenticate(received, trust)).toMatchObject({ call: { idempotency: { key: 'k-1' } } });
  });

  test('verifies synchronously, with its own algorithm and no other', async () => {
    const jws = parseJws(await signer.sign('some+jwt', { iss: 'dana' }));
    if (jws === undefined) throw new Error('not a JWS');
    const jwk = signer.publicJwk;
    expect(jwsHolds(jws, { jwk, alg: signer.algorithm })).toBe(true);
    expect(jwsHolds({ ...jws, signingInput: `${jws.signingInput}x` }, { jwk, alg: signer.algorithm })).toBe(
      false,
    );
    const wrong = signer.algorithm === 'ES256' ? 'EdDSA' : 'ES256';
    expect(jwsHolds(jws, { jwk, alg: wrong })).toBe(false);
  });
});

test('a key that cannot sign requests is refused', () => {
  const x = generateKeyPairSync('x25519').privateKey;
  expect(errorCode(() => signerOf('dana', x))).toBe('key-malformed');
});

test('what is not canonical base64url, or not three parts, is no JWS', () => {
  const part = Buffer.from('{"a":1}').toString('base64url');
  expect(parseJws(`${part}.${part}.AAAA`)).toBeDefined();
  for (const text of [
    '',
    'a.b',
    `${part}.${part}`,
    `${part}.${part}.AAAA.x`,
    `${part} .${part}.AAAA`,
    `${part}.W10.AAAA`,
  ]) {
    expect(parseJws(text)).toBeUndefined();
  }
});
