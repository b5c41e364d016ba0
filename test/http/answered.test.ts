import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type EventEmitter, once } from 'node:events';
import { type TLSSocket, connect } from 'node:tls';

import { accessLog } from '../../src/daemon/accessLog.js';
import type { Answered } from '../../src/http/answered.js';
import { routesOf } from '../../src/http/routes/index.js';
import { keptLog } from '../support/operatorLines.js';
import { until } from '../support/waiting.js';
import { type Outgoing, problemCode, signedCall } from './apiClient.js';
import { PEOPLE } from './people.js';
import { type Running, startServer, tls } from './runningServer.js';
import { GRANT, KEY, RECOVERY } from './world.js';

/* Every request that is answered is told once, whatever it is, with who asked only where they have proven it. */

const { mailer, olga, gus } = PEOPLE;
const SIGN = `/v1/grants/${GRANT}/sign`;
const signing = { mechanism: 'ES256', messages: ['AAAA'] };
const SECRET = 'a-secret-of-mine';

let running: Running;
beforeAll(async () => {
  running = await startServer({
    headersTimeoutMs: 300,
    requestTimeoutMs: 300,
    perAddress: { perSecond: 1_000_000, burst: 1_000_000 },
  });
});
afterAll(() => running.stop());
beforeEach(() => {
  running.answered.length = 0;
});

/** The one that was told. That no second one comes is found with the next, and at the end of each test. */
async function told(count = 1): Promise<Answered[]> {
  await until(() => running.answered.length >= count);
  const all = running.answered.splice(0);
  expect(all).toHaveLength(count);
  return all;
}

const ROUTES = routesOf({ identityKey: {}, logKey: '' });
const targetOf = (path: string): string =>
  path
    .replace(':grant', GRANT)
    .replace(':recovery', RECOVERY)
    .replace(':key', KEY)
    .replace(':import', `imp_${'5'.repeat(32)}`)
    .replace('*tile', '0/000');

/** Else Node sends the body of a GET as what it is not: the next request. */
function withLength(call: Outgoing): Outgoing {
  const length = Buffer.byteLength(call.body ?? '');
  return { ...call, headers: { ...call.headers, 'content-length': String(length) } };
}

/** How each route is asked, besides well: by whom, and what is sent. */
const WAYS = {
  'by nobody': (method: string, target: string) => ({ method, target, headers: { 'x-api-key': SECRET } }),
  'by somebody who may nothing': (method: string, target: string) => signedCall(gus, method, target),
  'with a body that is nothing': (method: string, target: string) =>
    withLength(signedCall(mailer, method, target, { [SECRET]: SECRET })),
  'with a query that is none': (method: string, target: string) =>
    signedCall(olga, method, `${target}?${SECRET}=1&${SECRET}=2`),
  'by a method that it has not': (_method: string, target: string) => ({ method: 'PUT', target }),
} as const;

test.each(Object.entries(WAYS))('every route, asked %s, is told once for each request', async (_way, ask) => {
  for (const { method, path } of ROUTES) {
    const answer = await running.client.send(ask(method, targetOf(path)));
    const [one] = await told();
    expect(one).toMatchObject({ route: path, status: answer.status, isCut: false });
    expect(one?.requestId).toBe(answer.headers['x-request-id']);
    expect(one?.code ?? 'no problem').toBe(problemCode(answer));
    expect(JSON.stringify(one)).not.toContain(SECRET);
  }
  expect(running.answered).toEqual([]);
});

const OTHERS: readonly (readonly [string, string, string, Partial<Answered>])[] = [
  ['a probe', 'GET', '/healthz', { route: '/healthz', status: 200 }],
  ['a probe', 'GET', '/readyz', { route: '/readyz', status: 200 }],
  ['the description', 'GET', '/openapi.json', { route: '/openapi.json', status: 200 }],
  ['a path of nothing', 'GET', `/${SECRET}`, { route: undefined, status: 404, code: 'route-unknown' }],
  ['a spelling', 'GET', `/v1/%6b${SECRET}`, { route: undefined, code: 'request-target-malformed' }],
  ['HEAD', 'HEAD', '/healthz', { route: '/healthz', status: 405 }],
];
test.each(OTHERS)('%s is told: %s %s', async (_what, method, target, expected) => {
  await running.client.send({ method, target });
  const [one] = await told();
  expect(one).toMatchObject({ method, caller: undefined, isCut: false, ...expected });
  expect(JSON.stringify(one)).not.toContain(SECRET);
});

test('what was done, and what was refused, are told with their entries; who only claims to be somebody is nobody', async () => {
  const call = signedCall(mailer, 'POST', SIGN, signing);
  const done = await running.client.send(call);
  const replayed = await running.client.send(call);
  const signature =
    authorizationOf(signedCall(mailer, 'POST', SIGN, signing))
      .split('.')
      .at(-1) ?? '';
  const authorization = authorizationOf(call).replace(/[^.]+$/, signature);
  const forged = await running.client.send({ ...call, headers: { ...call.headers, authorization } });
  expect([done.status, replayed.status, forged.status]).toEqual([200, 401, 401]);
  const { entries } = running.world.journal;
  const [ours, again, theirs] = await told(3);
  expect(ours).toMatchObject({ caller: 'mailer', route: '/v1/grants/:grant/sign', status: 200 });
  expect(ours?.entry).toBe(done.json?.['entry']);
  expect(again).toMatchObject({ caller: 'mailer', status: 401, code: 'request-replayed' });
  expect(entries[again?.entry ?? -1]).toMatchObject({ phase: 'denied', error: 'request-replayed' });
  expect(theirs).toMatchObject({ caller: undefined, entry: undefined, status: 401 });
});

const authorizationOf = ({ headers }: Outgoing): string => String(headers?.['authorization']);

/** What is not sent by a client of HTTP: these bytes, and what came back. */
async function raw(bytes: string): Promise<string> {
  const socket = await connected();
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(bytes, 'latin1');
  await closed;
  return text;
}

async function connected(): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: running.port, ca: tls.cert });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  return socket;
}

const UNREAD: readonly (readonly [string, string, number, Partial<Answered>])[] = [
  ['no HTTP', `${SECRET}\r\n\r\n`, 400, { method: undefined, route: undefined }],
  [
    'two lengths',
    'GET /readyz HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n',
    400,
    {},
  ],
  ['headers without end', `GET /readyz HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 431, {}],
  ['headers that do not come', 'GET /readyz HTTP/1.1\r\nhost: x\r\n', 408, { method: undefined }],
  ['nothing at all', '', 408, { method: undefined }],
  ['no Host', 'GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n', 400, { code: 'request-malformed' }],
  [
    'two Hosts',
    'GET /healthz HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n',
    400,
    { code: 'request-malformed' },
  ],
  ['HTTP/1.0', 'GET /healthz HTTP/1.0\r\n\r\n', 200, { route: '/healthz' }],
  [
    'an expectation',
    'GET /healthz HTTP/1.1\r\nhost: x\r\nexpect: the-unexpected\r\nconnection: close\r\n\r\n',
    200,
    { route: '/healthz' },
  ],
];
test.each(UNREAD)('%s is answered and told once', async (_what, bytes, status, expected) => {
  expect(await raw(bytes)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  const [one] = await told();
  expect(one).toMatchObject({ status, caller: undefined, ...expected });
  expect(one?.address).toMatch(/127\.0\.0\.1$/);
  expect(JSON.stringify(one)).not.toContain(SECRET);
});

test('a body that is no body is told once, as the request that it belongs to', async () => {
  const head = `POST ${SIGN} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n`;
  const authorization = authorizationOf(signedCall(mailer, 'POST', SIGN, signing));
  await raw(`${head}authorization: ${authorization}\r\n\r\nzz\r\n`);
  const [one] = await told();
  expect(one).toMatchObject({ route: '/v1/grants/:grant/sign', caller: 'mailer', isCut: true });
});

test('what cannot be read behind a request that is answered already is told by itself', async () => {
  expect(await raw('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nand what else\r\n\r\n')).toMatch(
    /^HTTP\/1.1 200 /,
  );
  const both = await told(2);
  expect(both.map(({ status, route, isCut }) => [status, route, isCut])).toEqual(
    expect.arrayContaining([
      [200, '/healthz', false],
      [400, undefined, false],
    ]),
  );
});

test('who goes away in the middle of a request is told once, as cut, and with the entry of it', async () => {
  const gone = await connected();
  const { length } = running.world.journal.entries;
  const authorization = authorizationOf(signedCall(mailer, 'POST', SIGN, signing));
  const head = `POST ${SIGN} HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n`;
  gone.write(`${head}authorization: ${authorization}\r\n\r\n{`, () => gone.destroy());
  const [one] = await told();
  expect(one).toMatchObject({ caller: 'mailer', code: 'request-malformed', isCut: true, entry: undefined });
  expect(running.world.journal.entries).toHaveLength(length);
});

test('who goes away before the answer is told once, as cut, with the entry of what was done', async () => {
  const gone = await connected();
  const { verbs } = running.world;
  const { sign } = verbs;
  let lost: Promise<unknown> | undefined;
  const begun = (message: unknown): void => {
    lost = once((message as { readonly response: EventEmitter }).response, 'close');
  };
  subscribe('http.server.request.start', begun);
  verbs.sign = async () => {
    verbs.sign = sign;
    unsubscribe('http.server.request.start', begun);
    gone.destroy();
    await lost;
    return sign();
  };
  const { headers, body } = signedCall(mailer, 'POST', SIGN, signing);
  const fields = Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${String(value)}\r\n`);
  const length = `content-length: ${String(body?.length)}\r\n`;
  gone.write(`POST ${SIGN} HTTP/1.1\r\nhost: x\r\n${length}${fields.join('')}\r\n${String(body)}`);
  const [one] = await told();
  expect(one).toMatchObject({ caller: 'mailer', status: 200, isCut: true });
  expect(running.world.journal.entries[one?.entry ?? -1]).toMatchObject({ act: 'grant.sign', phase: 'done' });
});

test('a connection that says nothing in TLS is no request', async () => {
  const before = running.answered.length;
  await expect(
    new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: running.port, rejectUnauthorized: true });
      socket.once('secureConnect', resolve).once('error', reject);
    }),
  ).rejects.toThrow();
  expect((await running.client.send({ method: 'GET', target: '/healthz' })).status).toBe(200);
  await told();
  expect(running.answered).toHaveLength(before);
});

test('each makes one line for operators, of level info, and none below that', () => {
  const { log, lines } = keptLog();
  const answered: Answered = {
    requestId: 'c0ffee',
    method: 'POST',
    route: '/v1/keys',
    address: '192.0.2.7',
    caller: 'olga',
    status: 201,
    code: undefined,
    entry: 17,
    durationMs: 12.3456,
    isCut: false,
  };
  const tell = accessLog(log);
  tell(answered);
  const nobody = { requestId: undefined, method: undefined, route: undefined, caller: undefined };
  tell({ ...answered, ...nobody, address: '', status: 400, code: undefined, entry: undefined, isCut: true });
  log.level = 'warn';
  tell(answered);
  expect(lines).toEqual([
    {
      ...{ level: 'info', message: 'request', who: 'olga', what: 'POST /v1/keys', from: '192.0.2.7' },
      ...{ status: 201, requestId: 'c0ffee', entry: 17, ms: 12.3 },
    },
    { level: 'info', message: 'request', who: '-', what: '- -', from: '-', status: 400, ms: 12.3, cut: true },
  ]);
});
