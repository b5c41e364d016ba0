import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { request } from 'node:https';
import { connect as connectTls } from 'node:tls';

import type { Limits } from '../../../src/http/server.js';
import { ApiClient, problemCode, signedCall } from '../../http/apiClient.js';
import { newIdentity } from '../../http/identities.js';
import { PEOPLE } from '../../http/people.js';
import type { Running } from '../../http/runningServer.js';
import { startServer, tls } from '../../http/runningServer.js';
import { KEY } from '../../http/world.js';
import { letPass } from '../../support/waiting.js';

/**
 * Somebody whom nobody knows, with one address: what they send before it is known who they are costs next to nothing and
 * holds up nobody else. Each row is played twice: against the limit, and, as its control, with that limit opened.
 */

const { ann, mailer, olga } = PEOPLE;
const READ = `/v1/keys/${KEY}`;

let running: Running;
const sockets: Socket[] = [];
const clients: ApiClient[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const client of clients.splice(0)) client.close();
  await running.stop();
});

/** A TCP connection on which nothing is sent. */
function silent(): Promise<Socket> {
  const socket = connect(running.port, '127.0.0.1');
  socket.on('error', () => undefined);
  sockets.push(socket);
  return new Promise((resolve) => {
    socket.once('connect', () => {
      resolve(socket);
    });
  });
}

/** A TLS connection for bytes as they are. */
async function secure(): Promise<Socket> {
  const socket = connectTls({ port: running.port, host: '127.0.0.1', ca: tls.cert });
  sockets.push(socket);
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  socket.on('error', () => undefined);
  return socket;
}

/** What comes on a connection until it has this in it, or is closed. */
function heard(socket: Socket, text: string): Promise<string> {
  let all = '';
  return new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      all += chunk.toString('latin1');
      if (all.includes(text)) resolve(all);
    });
    socket.once('close', () => {
      resolve(all);
    });
  });
}

/** Whether the daemon answers somebody at another address. */
function answersOthers(): Promise<boolean> {
  return new Promise((resolve) => {
    const at = { host: '127.0.0.1', localAddress: '127.0.0.2', port: running.port, path: '/healthz' };
    const outgoing = request({ ...at, ca: tls.cert, agent: false }, (incoming) => {
      incoming.resume();
      resolve(incoming.statusCode === 200);
    });
    outgoing.on('error', () => {
      resolve(false);
    });
    outgoing.end();
  });
}

/** How often the database was asked for a policy meanwhile. */
async function databaseAsked(work: () => Promise<unknown>): Promise<number> {
  const { store } = running.world;
  const { policyVersion } = store;
  let asked = 0;
  store.policyVersion = () => {
    asked += 1;
    return policyVersion();
  };
  await work();
  store.policyVersion = policyVersion;
  return asked;
}

async function times(count: number, work: () => Promise<unknown>): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await work();
}

const forged = { ...newIdentity('mailer'), kid: mailer.kid };
const nobody = newIdentity('eve');

interface Row {
  readonly attack: string;
  readonly limits: Partial<Limits>;
  /** The same, with the limit taken out. */
  readonly control: Partial<Limits>;
  /** Whether the attacker got what they wanted. */
  readonly succeeds: () => Promise<boolean>;
}

const rows: readonly Row[] = [
  {
    attack: 'silent connections from one address keep everybody else out',
    limits: { maxConnections: 10, connectionsPerAddress: 4 },
    control: { maxConnections: 10, connectionsPerAddress: 10 },
    succeeds: async () => {
      await times(12, silent);
      return !(await answersOthers());
    },
  },
  {
    attack: 'a handshake that dribbles holds its connection',
    limits: { handshakeTimeoutMs: 150 },
    control: { handshakeTimeoutMs: 60_000 },
    succeeds: async () => {
      const socket = await silent();
      // a handshake record of 512 bytes (RFC 8446 section 5.1) that comes one byte at a time
      const hello = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
      for (const byte of [...hello, ...Buffer.alloc(14)]) {
        socket.write(Uint8Array.of(byte));
        await letPass(30);
        if (socket.closed || socket.readableEnded) return false;
      }
      return true;
    },
  },
  {
    attack: 'forged signatures that name a known key are verified, however many there are',
    limits: { perAddress: { perSecond: 1, burst: 5 } },
    control: { perAddress: { perSecond: 1, burst: 1000 } },
    succeeds: async () => {
      const codes: string[] = [];
      await times(12, async () => codes.push(problemCode(await running.client.call(forged, 'GET', READ))));
      return codes.filter((code) => code === 'request-signature-invalid').length > 5;
    },
  },
  {
    attack: 'requests with keys of nobody have the database asked, however many there are',
    limits: { perAddress: { perSecond: 1, burst: 5 } },
    control: { perAddress: { perSecond: 1, burst: 1000 } },
    succeeds: async () =>
      (await databaseAsked(() => times(12, () => running.client.call(nobody, 'GET', READ)))) > 5,
  },
  {
    attack: 'public reads are made, however many there are',
    limits: { perAddress: { perSecond: 1, burst: 5 } },
    control: { perAddress: { perSecond: 1, burst: 1000 } },
    succeeds: async () => {
      const statuses: number[] = [];
      const targets = ['/v1/server', '/openapi.json', '/v1/checkpoint'];
      for (const target of [...targets, ...targets, ...targets])
        statuses.push((await running.client.send({ method: 'GET', target })).status);
      return statuses.filter((status) => status === 200).length > 5;
    },
  },
  {
    attack: 'megabytes of a body pass, to be thrown away',
    limits: { unknownBytes: { perSecond: 1, burst: 256 * 1024 } },
    control: { unknownBytes: { perSecond: 1, burst: 64 * 1024 * 1024 } },
    succeeds: async () => {
      const socket = await secure();
      const bytes = 4 * 1024 * 1024;
      const all = heard(socket, '{"status":"ok"}');
      socket.write(`POST /v1/keys HTTP/1.1\r\nhost: x\r\ncontent-length: ${bytes}\r\n\r\n`);
      socket.write(Buffer.alloc(bytes));
      socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
      const answers = await all;
      expect(answers).toContain('401');
      return answers.includes('{"status":"ok"}');
    },
  },
];

const usual = { perSecond: 1, burst: 1000 };

describe.each(rows)('$attack', ({ limits, control, succeeds }) => {
  test('no: the limit holds', async () => {
    running = await startServer({ perAddress: usual, ...limits });
    expect((await running.client.call(mailer, 'GET', '/v1/grants')).status).toBe(200); // the policy is at hand
    running.client.close();
    expect(await succeeds()).toBe(false);
    expect(running.world.journal.entries).toEqual([]);
  });

  test('yes, with the limit opened', async () => {
    running = await startServer({ perAddress: usual, ...control });
    expect((await running.client.call(mailer, 'GET', '/v1/grants')).status).toBe(200);
    running.client.close();
    expect(await succeeds()).toBe(true);
  });
});

test('a forged signature has the database asked for nothing', async () => {
  running = await startServer();
  const warm = (): Promise<unknown> => running.client.call(mailer, 'GET', '/v1/grants');
  await warm();
  expect(await databaseAsked(() => times(5, () => running.client.call(forged, 'GET', READ)))).toBe(0);
  // and one by its owner has, once
  expect(await databaseAsked(warm)).toBe(1);
});

test('nobody is answered before their body comes; who is known, when it is there', async () => {
  running = await startServer();
  const body = JSON.stringify({ owner: 'olga', spec: 'des', use: 'sign' });
  const headersOf = (by: typeof ann | typeof nobody): string => {
    const { headers } = signedCall(by, 'POST', '/v1/keys', JSON.parse(body));
    const lines = Object.entries({ host: 'x', 'content-length': body.length, ...headers });
    return `POST /v1/keys HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${String(value)}`).join('\r\n')}\r\n\r\n`;
  };
  const stranger = await secure();
  stranger.write(headersOf(nobody));
  expect(await heard(stranger, 'problem:')).toContain('caller-unknown');
  const known = await secure();
  let said = '';
  known.on('data', (chunk: Buffer) => (said += chunk.toString()));
  known.write(headersOf(ann));
  // the stranger's second question is answered after the known caller's headers have come
  await times(3, () => running.client.call(nobody, 'GET', READ));
  expect(said).toBe('');
  const answered = heard(known, 'problem:');
  known.write(body);
  expect(await answered).toContain('request-malformed');
});

test('a body as large as a policy is taken from an administrator only, and where it belongs', async () => {
  running = await startServer();
  const document = { filler: 'x'.repeat(400 * 1024) };
  const sent = async (by: typeof ann | typeof mailer, target: string): Promise<string> =>
    problemCode(await running.client.call(by, 'POST', target, { document, signatures: [] }));
  expect(await sent(mailer, '/v1/policy')).toBe('request-too-large');
  expect(await sent(ann, '/v1/keys')).toBe('request-too-large');
  expect(await sent(ann, '/v1/policy')).not.toBe('request-too-large');
});

test('a flood that names a known key holds up neither its owner, nor others from there who were known before', async () => {
  running = await startServer({ perAddress: { perSecond: 1, burst: 5 } });
  const kept = new ApiClient(running.port, tls.cert, true);
  clients.push(kept);
  expect((await kept.call(olga, 'GET', READ)).status).toBe(200);
  await times(8, () => running.client.call(forged, 'GET', READ));
  // who has not proven anything on a connection yet is one of many from there
  expect(problemCode(await running.client.call(olga, 'GET', READ))).toBe('rate-limited');
  expect((await kept.call(olga, 'GET', READ)).status).toBe(200);
  expect((await kept.call(olga, 'GET', READ)).status).toBe(200);
  // what a connection has proven is one key's
  expect(problemCode(await kept.call(forged, 'GET', READ))).toBe('rate-limited');
});

test('good requests cost their address nothing', async () => {
  running = await startServer({ perAddress: { perSecond: 1, burst: 2 } });
  await times(10, async () => {
    expect((await running.client.call(olga, 'GET', READ)).status).toBe(200);
  });
});

test('the operator is told of a flood at once, and of the rest together', async () => {
  running = await startServer({ perAddress: { perSecond: 1, burst: 2 }, connectionsPerAddress: 3 });
  await times(8, () => running.client.call(nobody, 'GET', READ));
  running.client.close();
  await times(9, silent);
  while (running.told.length < 2) await new Promise((resolve) => setImmediate(resolve));
  expect(running.told.map(({ facts }) => facts)).toEqual([
    { address: '127.0.0.1' },
    { address: '127.0.0.1' },
  ]);
  await running.server.drain(0);
  expect(running.told.slice(2).map(({ facts }) => facts)).toEqual([
    { again: 5, addresses: 1, mostFrom: '127.0.0.1', ofThese: 5 },
    { again: 5, addresses: 1, mostFrom: '127.0.0.1', ofThese: 5 },
  ]);
});
