import { createPublicKey } from 'node:crypto';

import type { PublicKeyReply } from '../../../src/api/replies.js';
import type { Deposit } from '../../../src/escrow/records/deposit.js';
import { publicKeyReply } from '../../../src/http/publicKey.js';
import { selfSigned, thumbprintOf } from '../../support/certificate.js';
import { rsaPair } from '../../support/rsaPairs.js';
import { ApiClient, problemCode } from '../apiClient.js';
import { bindCertificates } from '../boundCertificates.js';
import { NOW } from '../identities.js';
import { PEOPLE } from '../people.js';
import type { Running } from '../runningServer.js';
import { startServer, tls } from '../runningServer.js';
import { DEPOSIT, KEY } from '../world.js';

const certificate = selfSigned();
let running: Running;
let certified: ApiClient;
beforeAll(async () => {
  running = await startServer();
  bindCertificates(running.world, { mailer: [thumbprintOf(certificate.cert)] });
  certified = new ApiClient(running.port, tls.cert, true, certificate);
});
afterAll(async () => {
  certified.close();
  await running.stop();
});
const logged = (): object[] => running.world.journal.entries.splice(0);
const of = (name: string): string => `/v1/keys/${name}/public-key`;

test.each([
  ['the app of a grant, by id', PEOPLE.mailer, KEY],
  ['the app of a grant, by label', PEOPLE.mailer, 'mail'],
  ['its owner', PEOPLE.olga, KEY],
  ['a depositary', PEOPLE.dana, KEY],
  ['an auditor', PEOPLE.zed, KEY],
])('%s is shown the public half', async (_who, person, name) => {
  const answer = await running.client.call(person, 'GET', of(name));
  expect(answer.status).toBe(200);
  const { half, ...rest } = answer.json as unknown as PublicKeyReply;
  expect(rest).toEqual({ key: KEY, label: 'mail', spec: 'ec-p256', use: 'sign' });
  const der = Buffer.from(DEPOSIT.publicKey ?? []);
  expect(half?.der).toBe(der.toString('base64url'));
  expect(createPublicKey(half?.pem ?? '').export({ format: 'der', type: 'spki' })).toEqual(der);
  const jwk = createPublicKey({ key: { ...half?.jwk }, format: 'jwk' });
  expect(jwk.export({ format: 'der', type: 'spki' })).toEqual(der);
  expect(logged()).toEqual([]);
});

test.each([
  ['an owner whose key it is not', PEOPLE.oscar, KEY, 'forbidden'],
  ['an owner, by the label: only apps have grants to find it by', PEOPLE.olga, 'mail', 'forbidden'],
  ['an app, by a label that none of its grants has', PEOPLE.mailer, 'post', 'forbidden'],
  ['an app, of a key that there is not', PEOPLE.mailer, `key_${'9'.repeat(32)}`, 'key-unknown'],
  ['anybody, by what is no name in a path', PEOPLE.mailer, 'a%20b', 'request-target-malformed'],
])('%s is shown nothing', async (_who, person, name, code) => {
  expect(problemCode(await running.client.call(person, 'GET', of(name)))).toBe(code);
  const [entry] = logged();
  if (code === 'forbidden')
    expect(entry).toMatchObject({ act: 'key.read', phase: 'denied', actor: person.id });
  else expect(entry).toBeUndefined();
});

describe('by client certificate alone', () => {
  beforeAll(() => {
    running.world.now = new Date();
  });
  afterAll(() => {
    running.world.now = NOW;
  });

  test.each([of(KEY), of('mail'), '/v1/grants', '/v1/grants?limit=1'])('an app reads %s', async (target) => {
    expect((await certified.send({ method: 'GET', target })).status).toBe(200);
    expect(logged()).toEqual([]);
  });

  test('what it may not see is refused, and recorded as the app’s', async () => {
    const answer = await certified.send({ method: 'GET', target: of('post') });
    expect(problemCode(answer)).toBe('forbidden');
    expect(logged()).toMatchObject([
      {
        ...{ v: 2, act: 'key.read', phase: 'denied', actor: 'mailer', error: 'forbidden' },
        certificate: thumbprintOf(certificate.cert),
      },
    ]);
  });
});

test('an RSA key has its members, a symmetric key has no public half', async () => {
  const der = rsaPair(2048).publicKey.export({ format: 'der', type: 'spki' });
  const rsa: Deposit = { ...DEPOSIT, spec: 'rsa-2048', use: 'decrypt', publicKey: der };
  expect((await publicKeyReply(rsa)).half?.jwk).toMatchObject({
    ...{ kty: 'RSA', use: 'enc', e: 'AQAB', kid: expect.stringMatching(/^[\w-]{43}$/) as string },
  });
  const aes: Deposit = { ...DEPOSIT, spec: 'aes-256', publicKey: undefined };
  expect(await publicKeyReply(aes)).not.toHaveProperty('half');
});
