import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { connect } from 'node:tls';

import { HttpsConnection } from '../../../src/client/connection.js';
import { EscrowClient } from '../../../src/client/escrowClient.js';
import type { Claim } from '../../../src/escrow/ports/journal.js';
import { selfSigned, thumbprintOf } from '../../support/certificate.js';
import type { Answer } from '../apiClient.js';
import { ApiClient, problemCode, signedCall } from '../apiClient.js';
import { bindCertificates } from '../boundCertificates.js';
import { newIdentity, NOW } from '../identities.js';
import { PEOPLE } from '../people.js';
import type { Running } from '../runningServer.js';
import { startServer, tls } from '../runningServer.js';
import { GRANT, GRANT_RECORD, newWorld } from '../world.js';

const DAY_MS = 86_400_000;
const SIGN = `/v1/grants/${GRANT}/sign`;
const ORDER = { mechanism: 'ES256', messages: ['AAAA'] };
const JSON_TYPE = { 'content-type': 'application/json' };
const BODY = JSON.stringify(ORDER);
const mailers = selfSigned();
const printers = selfSigned();
const strangers = selfSigned();
const x5t = thumbprintOf(mailers.cert);

let running: Running;
const clients: ApiClient[] = [];
beforeEach(async () => {
  // the certificates are of the time of the machine
  const grant = { ...GRANT_RECORD, expiresAt: new Date(Date.now() + 30 * DAY_MS) };
  const limits = { perCaller: { perSecond: 1, burst: 5, atOnce: 5 } };
  running = await startServer(limits, newWorld(undefined, undefined, grant));
  running.world.now = new Date();
  bindCertificates(running.world, { mailer: [x5t], printer: [thumbprintOf(printers.cert)] });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await running.stop();
});

function showing(certificate: { readonly cert?: string; readonly key?: string }): ApiClient {
  const client = new ApiClient(running.port, tls.cert, true, certificate);
  clients.push(client);
  return client;
}

const sign = (client: ApiClient, headers: Record<string, string> = {}): Promise<Answer> =>
  client.send({ method: 'POST', target: SIGN, headers: { ...JSON_TYPE, ...headers }, body: BODY });
const codeOf = async (answer: Promise<Answer>): Promise<string> => problemCode(await answer);
const logged = (): object[] => running.world.journal.entries.splice(0);

test('an app with its certificate signs, and the log says so in place of a request', async () => {
  const claims: (readonly Claim[])[] = [];
  running.world.journal.before = (write) => claims.push(write.claims);
  const answer = await sign(showing(mailers));
  expect([answer.status, answer.json?.['entry']]).toEqual([200, 1]);
  const [attempt, outcome, ...more] = running.world.journal.entries;
  expect(attempt).toMatchObject({
    v: 2,
    act: 'grant.sign',
    phase: 'attempted',
    actor: 'mailer',
    certificate: x5t,
  });
  expect(attempt).not.toHaveProperty('request');
  expect(outcome).toMatchObject({ v: 1, act: 'grant.sign', phase: 'done', actor: 'mailer' });
  expect(outcome).not.toHaveProperty('certificate');
  expect(more).toEqual([]);
  // in the transaction that counts the use, the policy that binds the certificate is in force
  expect(claims[0]?.map(({ claim }) => claim)).toEqual(['policy-in-force', 'uses-counted']);
});

test('a signed request on the same connection is recorded as that', async () => {
  const client = showing(mailers);
  await sign(client);
  logged();
  running.world.now = NOW;
  const answer = await client.send(signedCall(PEOPLE.mailer, 'POST', SIGN, ORDER));
  expect(answer.status).toBe(200);
  const [attempt] = running.world.journal.entries;
  expect(attempt).toMatchObject({ v: 1, phase: 'attempted', request: expect.any(String) as string });
  expect(attempt).not.toHaveProperty('certificate');
});

test('an Idempotency-Key is refused, as it is of a signed request: each call is a use', async () => {
  expect(await codeOf(sign(showing(mailers), { 'idempotency-key': '"a-key-of-mine-1234567890"' }))).toBe(
    'request-malformed',
  );
  expect(logged()).toMatchObject([{ phase: 'denied', error: 'request-malformed', certificate: x5t }]);
});

test('a certificate of nobody opens nothing, and is in no entry', async () => {
  const answer = await sign(showing(strangers));
  expect([answer.status, problemCode(answer)]).toEqual([401, 'caller-unknown']);
  expect(logged()).toEqual([]);
});

test('what headers say of a certificate is not believed', async () => {
  const pem = encodeURIComponent(mailers.cert);
  const der = mailers.cert.replace(/-----[^-]+-----|\n/g, '');
  for (const certificate of [{}, strangers]) {
    const answer = await sign(showing(certificate), {
      'client-cert': `:${der}:`,
      'x-forwarded-client-cert': `Cert="${pem}"`,
      'x-ssl-client-cert': pem,
      'x-ssl-client-verify': 'SUCCESS',
    });
    expect(answer.status).toBe(401);
  }
  expect(logged()).toEqual([]);
});

test.each([
  ['no signature at all', '', 'request-unsigned'],
  ['another scheme', 'Bearer abc', 'request-unsigned'],
  ['rubbish', 'Escrowd-JWS a.b.c', 'request-malformed'],
  [
    'a signature by nobody known',
    signedCall(newIdentity('eve'), 'POST', SIGN, ORDER).headers?.['authorization'] as string,
    'caller-unknown',
  ],
])('with an Authorization field that is %s, the certificate does not help', async (_name, field, code) => {
  expect(await codeOf(sign(showing(mailers), { authorization: field }))).toBe(code);
  expect(logged()).toEqual([]);
});

test.each([
  ['has expired', 3 * DAY_MS],
  ['is not valid yet', -DAY_MS],
])('a certificate that %s is refused, and that is recorded as the app’s', async (_name, laterMs) => {
  const client = showing(mailers);
  expect(await codeOf(sign(client))).toBe('no problem');
  logged();
  running.world.now = new Date(Date.now() + laterMs);
  expect(await codeOf(sign(client))).toBe('certificate-expired');
  expect(logged()).toMatchObject([
    { v: 2, phase: 'denied', error: 'certificate-expired', actor: 'mailer', certificate: x5t },
  ]);
});

test('an app is itself only, whatever certificates others have', async () => {
  expect(await codeOf(sign(showing(printers)))).toBe('forbidden');
  expect(logged()).toMatchObject([
    { phase: 'denied', error: 'forbidden', actor: 'printer', certificate: thumbprintOf(printers.cert) },
  ]);
});

test('many calls by certificate are held up as those that are signed are', async () => {
  const client = showing(mailers);
  const codes: string[] = [];
  for (let call = 0; call < 7; call += 1) codes.push(await codeOf(sign(client)));
  expect(codes.slice(4)).toEqual(['no problem', 'rate-limited', 'rate-limited']);
});

test('a certificate that a policy removes is refused on the connection that is open', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: tls.cert, ...mailers });
  const call = (): Promise<readonly [status: number, reused: boolean]> =>
    new Promise((resolve, reject) => {
      const outgoing: ClientRequest = request(
        { host: '127.0.0.1', port: running.port, agent, method: 'POST', path: SIGN, headers: JSON_TYPE },
        (incoming: IncomingMessage) => {
          incoming.resume();
          incoming.on('end', () => {
            resolve([incoming.statusCode ?? 0, outgoing.reusedSocket]);
          });
        },
      );
      outgoing.on('error', reject);
      outgoing.end(BODY);
    });
  try {
    expect(await call()).toEqual([200, false]);
    expect(await call()).toEqual([200, true]);
    bindCertificates(running.world, {});
    expect(await call()).toEqual([401, true]);
    // bound to another app, the same connection is that app's
    bindCertificates(running.world, { mailer: [x5t] });
    expect(await call()).toEqual([200, true]);
  } finally {
    agent.destroy();
  }
});

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', (version) => {
  const options = {
    host: '127.0.0.1',
    servername: '',
    ca: tls.cert,
    minVersion: version,
    maxVersion: version,
    rejectUnauthorized: true,
  };
  const asked = `POST ${SIGN} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`;

  /** One request on a connection of its own; what it leaves for the next. */
  function once(more: object): Promise<{ status: number; session: Buffer | undefined; reused: boolean }> {
    return new Promise((resolve, reject) => {
      let session: Buffer | undefined;
      let text = '';
      let reused = false;
      const socket: TLSSocket = connect({ ...options, port: running.port, ...more }, () => {
        reused = socket.isSessionReused();
        socket.write(asked);
      });
      socket.on('session', (found) => (session = found));
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.on('error', reject);
      socket.on('close', () => {
        resolve({ status: Number(text.split(' ')[1]), session: session ?? socket.getSession(), reused });
      });
    });
  }

  test('a resumed session is the app’s as long as its certificate is bound and valid', async () => {
    const first = await once(mailers);
    expect(first).toMatchObject({ status: 200, reused: false });
    const { session } = first;
    expect(await once({ ...mailers, session })).toMatchObject({ status: 200, reused: true });
    expect(running.world.journal.entries.at(-2)).toMatchObject({ certificate: x5t });
    running.world.now = new Date(Date.now() + 3 * DAY_MS);
    expect(await once({ ...mailers, session })).toMatchObject({ status: 401 });
    running.world.now = new Date();
    bindCertificates(running.world, {});
    expect(await once({ ...mailers, session })).toMatchObject({ status: 401 });
  });

  test('a session without a certificate stays without', async () => {
    const { session, status } = await once({});
    expect(status).toBe(401);
    expect(await once({ ...mailers, session })).toMatchObject({ status: expect.any(Number) as number });
    expect(running.world.journal.entries.every((entry) => entry.certificate === x5t || entry.v === 1)).toBe(
      true,
    );
  });
});

test('a program that has a certificate and no key to sign with is a whole client, of what a certificate opens', async () => {
  const connection = new HttpsConnection({
    url: `https://127.0.0.1:${running.port}`,
    ca: tls.cert,
    deadlineMs: 10_000,
    certificate: { cert: mailers.cert, key: mailers.key },
  });
  const client = EscrowClient.byCertificate(connection);
  const { result } = await client.sign(GRANT, { mechanism: 'ES256', messages: ['AAAA'] });
  expect(result.signatures).toHaveLength(1);
  expect(await client.isReady()).toBe(true);
  await expect((client as unknown as EscrowClient).keys()).rejects.toThrow('without a signer');
  client.close();
});
