import { connect } from 'node:tls';

import { EscrowError } from '../../src/escrow/records/errors.js';
import { newIdentity, NOW, signedRequest } from './identities.js';
import { ApiClient, problemCode, signedCall } from './apiClient.js';
import { PEOPLE } from './people.js';
import type { Running } from './runningServer.js';
import { startServer, tls } from './runningServer.js';
import { GRANT, KEY, RECOVERY } from './world.js';

const { ann, olga, oscar, mailer, dana } = PEOPLE;
const SIGN = `/v1/grants/${GRANT}/sign`;
const signing = { mechanism: 'ES256', messages: ['AAAA'] };

let running: Running;
beforeEach(async () => {
  running = await startServer({ maxInFlight: 2, maxBodyBytes: 64 * 1024 });
});
afterEach(() => running.stop());

/** What the log says of the requests so far. */
const recorded = (): string[] =>
  running.world.journal.entries.map(({ act, phase, actor, error }) =>
    [act, phase, actor, error ?? ''].join(' ').trim(),
  );

describe('a request over the wire', () => {
  test('is performed, and answered with the index of its entry', async () => {
    const answer = await running.client.call(mailer, 'POST', SIGN, signing);
    expect(answer.json).toEqual({
      result: { signatures: [Buffer.from('signature').toString('base64url')], remaining: 9, grant: GRANT },
      entry: 1,
    });
    expect(recorded()).toEqual(['grant.sign attempted mailer', 'grant.sign done mailer']);
  });

  test('carries its signature into the log', async () => {
    const call = signedCall(mailer, 'POST', SIGN, signing);
    await running.client.send(call);
    const request = running.world.journal.entries[0]?.request;
    expect(call.headers?.['authorization']).toBe(`Escrowd-JWS ${request ?? ''}`);
  });

  test('that acts works once', async () => {
    const call = signedCall(mailer, 'POST', SIGN, signing);
    const answers = await Promise.all([running.client.send(call), running.client.send(call)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
    const again = await running.client.send(call);
    expect(problemCode(again)).toBe('request-replayed');
    expect(recorded().filter((line) => line === 'grant.sign denied mailer request-replayed')).toHaveLength(2);
  });

  test('that reads works once, and its replay is recorded', async () => {
    const call = signedCall(olga, 'GET', `/v1/keys/${KEY}`);
    expect((await running.client.send(call)).status).toBe(200);
    expect(recorded()).toEqual([]);
    expect(problemCode(await running.client.send(call))).toBe('request-replayed');
    expect(recorded()).toEqual(['key.read denied olga request-replayed']);
  });

  test('for what is another’s is refused by the core, and recorded with its subject', async () => {
    const call = signedCall(oscar, 'GET', `/v1/keys/${KEY}`);
    expect(problemCode(await running.client.send(call))).toBe('forbidden');
    expect(running.world.journal.entries).toMatchObject([
      { act: 'key.read', phase: 'denied', actor: 'oscar', error: 'forbidden', subject: { key: KEY } },
    ]);
    expect(problemCode(await running.client.send(call))).toBe('request-replayed');
  });

  test('for what is not there is answered, and not recorded', async () => {
    const answer = await running.client.call(olga, 'GET', `/v1/keys/key_${'9'.repeat(32)}`);
    expect([answer.status, problemCode(answer)]).toEqual([404, 'key-unknown']);
    expect(recorded()).toEqual([]);
  });

  test('that has expired is recorded as its signer’s', async () => {
    running.world.now = new Date(NOW.getTime() + 121_000);
    const answer = await running.client.call(mailer, 'POST', SIGN, signing);
    expect([answer.status, problemCode(answer)]).toEqual([401, 'request-expired']);
    expect(recorded()).toEqual(['grant.sign denied mailer request-expired']);
  });

  test('signed for another body or path is recorded as its signer’s', async () => {
    const call = signedCall(mailer, 'POST', SIGN, signing);
    const body = JSON.stringify({ mechanism: 'ES256', messages: ['BBBB'] });
    expect(problemCode(await running.client.send({ ...call, body }))).toBe('request-signature-invalid');
    const target = SIGN.replace('sign', 'decrypt');
    const other = { ...signedCall(mailer, 'POST', SIGN, signing), target };
    expect(problemCode(await running.client.send(other))).toBe('request-signature-invalid');
    expect(recorded()).toEqual([
      'grant.sign denied mailer request-signature-invalid',
      'grant.decrypt denied mailer request-signature-invalid',
    ]);
  });

  test('that anybody could have sent leaves nothing in the log', async () => {
    const stranger = newIdentity('mailer');
    for (const by of [stranger, { ...stranger, kid: mailer.kid }]) {
      expect((await running.client.call(by, 'POST', SIGN, signing)).status).toBe(401);
    }
    const two = { authorization: ['Escrowd-JWS a.b.c', 'Escrowd-JWS a.b.c'] };
    expect(problemCode(await running.client.send({ method: 'POST', target: SIGN, headers: two }))).toBe(
      'request-malformed',
    );
    expect(recorded()).toEqual([]);
  });

  test('that is not valid is recorded with what it is about', async () => {
    await running.client.call(ann, 'POST', '/v1/keys', { owner: 'olga', spec: 'des' });
    await running.client.call(dana, 'POST', `/v1/recoveries/${RECOVERY}/denials`, { statement: '' });
    await running.client.call(dana, 'POST', '/v1/recoveries', { keys: ['x'], owner: 'Not An Id' });
    const keys = [`key_${'9'.repeat(32)}`, 'x', 7, KEY, KEY];
    await running.client.call(dana, 'POST', '/v1/recoveries', { keys });
    expect(running.world.journal.entries.map(({ error, subject }) => ({ error, subject }))).toEqual([
      { error: 'request-malformed', subject: { owner: 'olga' } },
      { error: 'request-malformed', subject: { recovery: RECOVERY, keys: [KEY], owner: 'olga' } },
      { error: 'request-malformed', subject: {} },
      { error: 'request-malformed', subject: { keys: [KEY, keys[0]], owner: 'olga' } },
    ]);
  });

  test('is not answered when its refusal cannot be recorded', async () => {
    running.world.journal.broken = 'alone';
    const answer = await running.client.call(oscar, 'GET', `/v1/keys/${KEY}`);
    expect([answer.status, problemCode(answer)]).toEqual([503, 'log-unavailable']);
  });

  test('with a query parameter twice is malformed', async () => {
    const answer = await running.client.call(olga, 'GET', '/v1/keys?limit=5&limit=6');
    expect(problemCode(answer)).toBe('request-malformed');
  });

  test('whose path is spelt with percent signs is no target of ours', async () => {
    const answer = await running.client.call(olga, 'GET', '/v1/keys/%ff');
    expect([answer.status, problemCode(answer)]).toEqual([400, 'request-target-malformed']);
  });
});

describe('a body', () => {
  /** Sends these very bytes, properly signed. */
  const send = async (body: string | Buffer, headers: Record<string, string> = {}): Promise<string> => {
    const authorization = `Escrowd-JWS ${signedRequest(mailer, { method: 'POST', target: SIGN, body })}`;
    const all = { authorization, 'content-type': 'application/json', ...headers };
    return problemCode(await running.client.send({ method: 'POST', target: SIGN, headers: all, body }));
  };

  test.each([
    ['that is no JSON', '{'],
    ['that names a member twice', '{"mechanism":"ES256","mechanism":"ES384","messages":["AA"]}'],
    ['with __proto__', '{"__proto__":{},"mechanism":"ES256","messages":["AA"]}'],
    ['with an integer that JavaScript would round', '{"mechanism":9007199254740993,"messages":["AA"]}'],
    ['that is no object', '[]'],
    ['that is not UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['that is missing', ''],
  ])('%s is malformed', async (_what, body) => {
    expect(await send(body)).toBe('request-malformed');
    expect(recorded()).toEqual(['grant.sign denied mailer request-malformed']);
  });

  test('of another type, or compressed, is malformed', async () => {
    const body = JSON.stringify(signing);
    expect(await send(body, { 'content-type': 'text/plain' })).toBe('request-malformed');
    expect(await send(body, { 'content-encoding': 'gzip' })).toBe('request-malformed');
    expect(await send(body)).toBe('no problem');
  });

  test('that is too large is refused, whether its length is told or not', async () => {
    const large = Buffer.alloc(64 * 1024 + 1, ' ');
    expect(await send(large)).toBe('request-too-large');
    expect(await send(large, { 'transfer-encoding': 'chunked' })).toBe('request-too-large');
    expect(await send(Buffer.alloc(5_000_000, ' '), { 'transfer-encoding': 'chunked' })).toBe(
      'request-too-large',
    );
    expect(recorded()).toEqual([]);
  });

  test('that is announced behind very many fields is seen all the same', async () => {
    const target = `/v1/keys/${KEY}`;
    const authorization = `Escrowd-JWS ${signedRequest(olga, { method: 'GET', target, body: '' })}`;
    const headers = { a: Array<string>(1100).fill(''), authorization, 'content-length': '4' };
    const answer = await running.client.send({ method: 'GET', target, headers, body: 'body' });
    expect(problemCode(answer)).toBe('request-signature-invalid');
    expect((await running.client.call(olga, 'GET', target)).status).toBe(200);
  });

  test('where none belongs is malformed', async () => {
    const call = signedCall(olga, 'GET', '/v1/history', {});
    const answer = await running.client.send({
      ...call,
      headers: { ...call.headers, 'content-length': '2' },
    });
    expect(problemCode(answer)).toBe('request-malformed');
  });
});

describe('an answer', () => {
  test('has a request id and is stored nowhere', async () => {
    const answers = await Promise.all(
      ['/healthz', '/v1/server', '/nowhere', '/v1/history'].map((target) =>
        running.client.send({ method: 'GET', target }),
      ),
    );
    for (const { headers } of answers) {
      expect(headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
      expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
      expect(headers).not.toHaveProperty('x-powered-by');
      expect(headers).not.toHaveProperty('etag');
    }
    expect(new Set(answers.map(({ headers }) => headers['x-request-id'])).size).toBe(4);
  });

  test('that is a problem has the form of RFC 9457', async () => {
    const answer = await running.client.call(oscar, 'GET', `/v1/keys/${KEY}`);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.json).toEqual({
      type: 'urn:escrowd:problem:forbidden',
      title: 'The caller may not do this.',
      status: 403,
      detail: 'The caller may not do this.',
      instance: `urn:uuid:${String(answer.headers['x-request-id'])}`,
    });
  });

  test.each([
    ['an unknown error', new TypeError('select secret from pin at /var/lib/db'), 500, 'internal'],
    [
      'a broken store',
      new EscrowError('store-unavailable', 'PIN 1234 at /var/lib'),
      503,
      'store-unavailable',
    ],
  ])('about %s tells nothing of it, and the operator everything', async (_what, thrown, status, code) => {
    running.world.store.findDeposit = () => Promise.reject(thrown);
    const answer = await running.client.call(olga, 'GET', `/v1/keys/${KEY}`);
    expect([answer.status, problemCode(answer)]).toEqual([status, code]);
    expect(answer.text).not.toMatch(/PIN|secret|var|select|TypeError|at /);
    expect(running.reported).toEqual([{ error: thrown, requestId: answer.headers['x-request-id'] }]);
    if (status === 503) expect(answer.headers['retry-after']).toBe('5');
  });

  test('to a fault of the token is in the log as failed', async () => {
    running.world.verbs.sign = () => Promise.reject(new Error('CKR_DEVICE_ERROR handle 17'));
    const answer = await running.client.call(mailer, 'POST', SIGN, signing);
    expect(problemCode(answer)).toBe('internal');
    expect(answer.text).not.toContain('CKR');
    expect(recorded()).toEqual(['grant.sign attempted mailer', 'grant.sign failed mailer internal']);
    expect(running.reported).toHaveLength(1);
  });
});

describe('probes', () => {
  test('say that the daemon lives, and whether it can work, and nothing more', async () => {
    const get = (target: string) => running.client.send({ method: 'GET', target });
    expect((await get('/healthz')).text).toBe('{"status":"ok"}');
    expect(await get('/readyz')).toMatchObject({ status: 200, text: '{"status":"ready"}' });
    running.isReady = false;
    expect(await get('/readyz')).toMatchObject({ status: 503, text: '{"status":"not ready"}' });
    expect((await get('/healthz')).status).toBe(200);
  });
});

/** Makes the token hang until it is told to go on; `begun` resolves when that many requests hang in it. */
function hang(count: number): { readonly begun: Promise<void>; readonly goOn: () => void } {
  let left = count;
  let goOn = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const begun = new Promise<void>((resolve) => {
    running.world.verbs.sign = async () => {
      left -= 1;
      if (left === 0) resolve();
      await released;
      return Buffer.from('late');
    };
  });
  return { begun, goOn };
}

describe('load', () => {
  test('beyond the bound is busy at once, and probes still answer', async () => {
    const { begun, goOn } = hang(2);
    const first = [1, 2].map(() => running.client.call(mailer, 'POST', SIGN, signing));
    await begun;
    const third = await running.client.call(mailer, 'POST', SIGN, signing);
    expect([third.status, problemCode(third), third.headers['retry-after']]).toEqual([503, 'busy', '1']);
    expect((await running.client.send({ method: 'GET', target: '/healthz' })).status).toBe(200);
    goOn();
    expect((await Promise.all(first)).map(({ status }) => status)).toEqual([200, 200]);
    expect((await running.client.call(mailer, 'POST', SIGN, signing)).status).toBe(200);
  });
});

describe('draining', () => {
  test('answers what is under way, refuses what is new on kept connections, and closes', async () => {
    const kept = new ApiClient(running.port, tls.cert, true);
    expect((await kept.send({ method: 'GET', target: '/healthz' })).status).toBe(200);
    const { begun, goOn } = hang(1);
    const underWay = running.client.call(mailer, 'POST', SIGN, signing);
    await begun;
    const drained = running.server.drain(10_000);
    const refused = await kept.call(mailer, 'POST', SIGN, signing);
    expect([refused.status, problemCode(refused)]).toEqual([503, 'shutting-down']);
    expect(refused.headers.connection).toBe('close');
    await expect(kept.call(mailer, 'POST', SIGN, signing)).rejects.toThrow('ECONNREFUSED');
    goOn();
    const answer = await underWay;
    expect([answer.status, answer.headers.connection]).toEqual([200, 'close']);
    expect(await drained).toBe(0);
    kept.close();
  });

  test('is not ready while it lasts', async () => {
    const kept = new ApiClient(running.port, tls.cert, true);
    expect((await kept.send({ method: 'GET', target: '/readyz' })).status).toBe(200);
    const { begun, goOn } = hang(1);
    const underWay = running.client.call(mailer, 'POST', SIGN, signing);
    await begun;
    const drained = running.server.drain(10_000);
    expect((await kept.send({ method: 'GET', target: '/readyz' })).status).toBe(503);
    goOn();
    await Promise.all([underWay, drained]);
    kept.close();
  });

  test('gives up at its deadline, and says how much was left', async () => {
    const { begun, goOn } = hang(1);
    const underWay = running.client.call(mailer, 'POST', SIGN, signing).catch(() => 'cut');
    await begun;
    expect(await running.server.drain(50)).toBe(1);
    expect(await underWay).toBe('cut');
    goOn();
  });

  test('cuts who holds a connection open and sends nothing', async () => {
    const socket = connect({ host: '127.0.0.1', port: running.port, ca: tls.cert });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    socket.on('error', () => undefined);
    const cut = new Promise((resolve) => socket.once('close', resolve));
    socket.resume(); // the end of a connection is noticed by who reads it
    socket.write('POST /v1/keys HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n');
    expect(await running.server.drain(10_000)).toBe(0);
    await cut;
  });
});

describe('TLS', () => {
  test.each(['TLSv1', 'TLSv1.1'] as const)('%s is refused', async (version) => {
    const socket = connect({
      host: '127.0.0.1',
      port: running.port,
      ca: tls.cert,
      minVersion: version,
      maxVersion: version,
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    await expect(
      new Promise((resolve, reject) => {
        socket.once('secureConnect', resolve).once('error', reject);
      }),
    ).rejects.toThrow();
    socket.destroy();
  });
});
