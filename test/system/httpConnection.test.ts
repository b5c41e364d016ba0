import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { AnswerTooLong, HttpConnection, NoAnswerInTime } from '../../src/system/httpConnection.js';

let server: Server;
let connection: HttpConnection | undefined;
afterEach(async () => {
  connection?.close();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

const ask = { method: 'POST', path: '/path?query', headers: {}, body: Buffer.from('asked') } as const;

/** A server that answers like this, and the connection to it. */
async function connectionTo(
  answer: RequestListener,
  bounds: { readonly timeoutMs?: number; readonly isKept?: boolean } = {},
): Promise<HttpConnection> {
  server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  connection = new HttpConnection({
    ...{ url, connections: 1, isKept: true, timeoutMs: 60_000, maxAnswerBytes: 1000 },
    ...bounds,
  });
  return connection;
}

test('an answer of as many bytes as are taken is read, and one byte more is not', async () => {
  const to = await connectionTo((request, response) => {
    response.end('x'.repeat(request.method === 'POST' ? 1000 : 1001));
  });
  expect(await (await to.send(ask)).readBody()).toHaveLength(1000);
  const long = await to.send({ ...ask, method: 'GET', body: new Uint8Array() });
  await expect(long.readBody()).rejects.toThrow(AnswerTooLong);
});

test.each([
  ['nothing is answered', () => undefined],
  [
    'the answer does not end',
    (_request, response) => {
      response.writeHead(200).write('begun');
    },
  ],
] satisfies [string, RequestListener][])('when %s, it is over in time', async (_what, answer) => {
  const to = await connectionTo(answer, { timeoutMs: 50 });
  const answered = to.send(ask).then((head) => head.readBody());
  await expect(answered).rejects.toThrow(NoAnswerInTime);
});

test.each([true, false])('whether a connection serves twice is as it was asked for: %s', async (isKept) => {
  const ports = new Set<number | undefined>();
  const to = await connectionTo(
    (request, response) => {
      ports.add(request.socket.remotePort);
      response.end();
    },
    { isKept },
  );
  for (let asked = 0; asked < 3; asked += 1) await (await to.send(ask)).readBody();
  expect(ports.size).toBe(isKept ? 1 : 3);
});

test('a redirect is an answer, and what is said in its head is read', async () => {
  const targets: (string | undefined)[] = [];
  const to = await connectionTo((request, response) => {
    targets.push(request.url);
    const headers = {
      location: '/elsewhere',
      'content-type': 'Text/Plain; charset=utf-8',
      'retry-after': '3',
    };
    response.writeHead(307, headers).end();
  });
  expect(await to.send(ask)).toMatchObject({ status: 307, mediaType: 'text/plain', retryAfterMs: 3000 });
  expect(targets).toEqual(['/path?query']);
});

test('what is under way is broken off when the connection is closed', async () => {
  const to = await connectionTo(() => {
    to.close();
  });
  await expect(to.send(ask)).rejects.toThrow();
});

test('authorities without a certificate are none, and not those of Node', async () => {
  let asked = 0;
  await connectionTo((_request, response) => {
    asked += 1;
    response.end();
  });
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  for (const ca of ['', 'cut off']) {
    const options = { url, connections: 1, isKept: true, timeoutMs: 60_000, maxAnswerBytes: 1000 };
    const to = new HttpConnection({ ...options, ca });
    await expect(to.send(ask)).rejects.toMatchObject({ code: 'ERR_TLS_NO_AUTHORITY' });
    to.close();
  }
  expect(asked).toBe(0);
});
