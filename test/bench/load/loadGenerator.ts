import { createHash, createPrivateKey, createPublicKey, randomBytes, sign, verify } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createHistogram } from 'node:perf_hooks';
import { base64url } from '../../../src/escrow/records/digests.js';
import { REQUEST_TYPE } from '../../../src/escrow/records/statementTypes.js';
import { connectKept, type KeptConnection } from './keptConnection.js';

/** Whom to ask, as whom, for what. */
export interface LoadOrder {
  readonly port: number;
  /** PEM: the server's certificate. */
  readonly ca: string;
  readonly target: string;
  readonly body: string;
  readonly caller: LoadCaller;
  /** Connections, each with one request after another. */
  readonly clients: number;
  readonly seconds: number;
  /** What comes back must be so many signatures of this message; it is not looked at, where that is not given. */
  readonly expect?: { readonly signatures: number; readonly message: string; readonly publicKey: string };
}

/** PEM. */
export type LoadCaller =
  | { readonly certificate: { readonly cert: string; readonly key: string } }
  | {
      readonly signer: {
        readonly id: string;
        readonly kid: string;
        readonly key: string;
        readonly audience: string;
        /** Whether each request has an Idempotency-Key of its own. */
        readonly isRepeatable?: boolean;
      };
    };

/** How the requests of a window went. Latency is from the first byte sent to the last that came. */
export interface Load {
  readonly requestsPerSecond: number;
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/*
 * Asks one server in a closed loop: every connection has one request under way, and sends the next when that is answered. It
 * says `counting` when it begins to count, after a quarter of the time, and then how it went; it goes on for as long again while
 * fewer answers have come than there are connections. The same for every server.
 */
for await (const line of createInterface({ input: process.stdin })) {
  say(await load(JSON.parse(line) as LoadOrder));
}

async function load(order: LoadOrder): Promise<Load> {
  const request = requestOf(order);
  const certificate = 'certificate' in order.caller ? order.caller.certificate : {};
  const connections = await Promise.all(
    Array.from({ length: order.clients }, () =>
      connectKept({ port: order.port, ca: order.ca, ...certificate }),
    ),
  );
  const [first] = connections;
  if (first === undefined) throw new Error('nobody asks');
  check(order, await first.ask(request()));
  const histogram = createHistogram();
  let state: 'warming' | 'counting' | 'over' = 'warming';
  const client = async (connection: KeptConnection): Promise<void> => {
    while (state !== 'over') {
      const bytes = request();
      const sentAt = performance.now();
      const answer = await connection.ask(bytes);
      requireGood(answer);
      if (state === 'counting') histogram.record(Math.max(1, Math.round((performance.now() - sentAt) * 1e6)));
    }
  };
  const working = Promise.all(connections.map(client));
  await Promise.race([working, pass(order.seconds / 4)]);
  say('counting');
  state = 'counting';
  const begunAt = performance.now();
  do await Promise.race([working, pass(order.seconds)]);
  while (histogram.count < order.clients);
  const requests = histogram.count;
  const elapsedMs = performance.now() - begunAt;
  state = 'over';
  await working;
  for (const connection of connections) connection.close();
  return {
    requests,
    requestsPerSecond: (requests / elapsedMs) * 1000,
    p50Ms: histogram.percentile(50) / 1e6,
    p99Ms: histogram.percentile(99) / 1e6,
  };
}

/** Makes the bytes of the next request. */
function requestOf({ target, body, caller, port }: LoadOrder): () => Buffer {
  const common = [
    `POST ${target} HTTP/1.1`,
    `host: 127.0.0.1:${port}`,
    'accept: application/json',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ].join('\r\n');
  if ('certificate' in caller) {
    const whole = Buffer.from(`${common}\r\n\r\n${body}`);
    return () => whole;
  }
  const { id, kid, key, audience, isRepeatable = false } = caller.signer;
  const by = { key: createPrivateKey(key), dsaEncoding: 'ieee-p1363' } as const;
  const header = base64url(Buffer.from(JSON.stringify({ typ: REQUEST_TYPE, alg: 'ES256', kid })));
  const cd = base64url(createHash('sha256').update(body).digest());
  return () => {
    const iat = Math.floor(Date.now() / 1000);
    const jti = base64url(randomBytes(16));
    const repeatable = isRepeatable ? { ik: jti } : {};
    const claims = {
      iss: id,
      aud: audience,
      iat,
      exp: iat + 60,
      jti,
      htm: 'POST',
      htu: target,
      cd,
      ...repeatable,
    };
    const signed = `${header}.${base64url(Buffer.from(JSON.stringify(claims)))}`;
    const jws = `${signed}.${base64url(sign('sha256', Buffer.from(signed), by))}`;
    const named = isRepeatable ? `\r\nidempotency-key: "${jti}"` : '';
    return Buffer.from(`${common}${named}\r\nauthorization: Escrowd-JWS ${jws}\r\n\r\n${body}`);
  };
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** The first answer is looked at: it has as many signatures as it must, and they hold. */
function check({ expect }: LoadOrder, answer: Answer): void {
  requireGood(answer);
  if (expect === undefined) return;
  const { result } = JSON.parse(answer.body) as {
    readonly result: { readonly signatures: readonly string[] };
  };
  const key = createPublicKey(expect.publicKey);
  const message = Buffer.from(expect.message, 'base64url');
  const by = { key, dsaEncoding: 'ieee-p1363' } as const;
  const holds = result.signatures.every((each) =>
    verify('sha256', message, by, Buffer.from(each, 'base64url')),
  );
  if (result.signatures.length !== expect.signatures || !holds)
    throw new Error('the answer is not what was asked for');
}

function requireGood({ status, body }: Answer): void {
  if (status !== 200 && status !== 201) throw new Error(`refused with ${status}: ${body}`);
}

function pass(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
