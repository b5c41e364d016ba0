import { createHash, createPublicKey, timingSafeEqual, verify, type JsonWebKey } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Handle } from 'pkcs11js';
import { holding } from '../../../src/token/cryptoki/attributes.js';
import { bareTarget as targetOf, KEY_WORDS, KEYS, SIGNATURE_BYTES, type KeyWord } from './cells.js';
import { openBareToken, type TokenPlace } from './token.js';

/** What a bare server is told to serve. */
export interface BareOrder {
  readonly token: TokenPlace;
  /** PEM. */
  readonly tls: { readonly cert: string; readonly key: string };
  /** PEM: the one certificate that clients may show. */
  readonly clientCertificate: string;
  /** Whose signed requests are believed. */
  readonly caller: { readonly kid: string; readonly jwk: JsonWebKey; readonly audience: string };
}

/** Where it listens: for those with the certificate, and for those who sign. */
export interface BarePorts {
  readonly certificate: number;
  readonly signed: number;
}

/*
 * What a server is that signs for whoever may call, and keeps no book: node:https and pkcs11js, and for each message one
 * C_SignInit and one C_Sign. `POST /sign/KEY` takes what the daemon takes, and answers as it does. Curves are signed in the thread of the
 * server, RSA on others: each is the faster way.
 */
const order = JSON.parse(process.argv[2] ?? '') as BareOrder;
const { driver, mechanisms, session, key } = openBareToken(order.token);
const served = KEY_WORDS.filter((word) => word in order.token.grants);
const handles = new Map(served.map((word) => [word, key(word)]));
const idle = Array.from({ length: 8 }, session);
const waiting: ((free: Handle) => void)[] = [];
const callerKey = createPublicKey({ key: order.caller.jwk, format: 'jwk' });

const { clientCertificate: ca } = order;
const ports: BarePorts = {
  certificate: await listen({ requestCert: true, rejectUnauthorized: true, ca }, () => true),
  signed: await listen({}, isSigned),
};
process.stdout.write(`${JSON.stringify(ports)}\n`);
await once(process.stdin.resume(), 'end');
process.exit(0);

type MayCall = (request: IncomingMessage, body: Buffer) => boolean;

async function listen(more: ServerOptions, mayCall: MayCall): Promise<number> {
  const server = createServer({ ...order.tls, ...more, keepAliveTimeout: 600_000 }, (request, response) => {
    answer(request, response, mayCall).catch((error: unknown) => {
      process.stderr.write(`bare server: ${String(error)}\n`);
      response.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function answer(request: IncomingMessage, response: ServerResponse, mayCall: MayCall): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (!mayCall(request, body)) {
    response.writeHead(401).end();
    return;
  }
  const { messages } = JSON.parse(body.toString('utf8')) as { readonly messages: readonly string[] };
  const word = served.find((each) => request.url === targetOf(each));
  const handle = word === undefined ? undefined : handles.get(word);
  if (word === undefined || handle === undefined) {
    response.writeHead(404).end();
    return;
  }
  const signatures = await Promise.all(
    messages.map((message) => sign(word, handle, Buffer.from(message, 'base64url'))),
  );
  const text = JSON.stringify({ result: { signatures } });
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

async function sign(word: KeyWord, handle: Handle, message: Buffer): Promise<string> {
  const digest = createHash('sha256').update(message).digest();
  const { mechanism, input } = mechanisms.signing(KEYS[word].mechanism, digest);
  const room = Buffer.alloc(SIGNATURE_BYTES[word]);
  const free = idle.pop() ?? (await new Promise<Handle>((resolve) => waiting.push(resolve)));
  try {
    driver.C_SignInit(free, mechanism, handle);
    const made =
      word === 'p256'
        ? driver.C_Sign(free, input, room)
        : await holding([input, room], () => driver.C_SignAsync(free, input, room));
    return made.toString('base64url');
  } finally {
    const next = waiting.shift();
    if (next === undefined) idle.push(free);
    else next(free);
  }
}

/** The signature of the request, that it is for this very request, and that it has not expired; not that it is new. */
function isSigned({ headers, method, url }: IncomingMessage, body: Buffer): boolean {
  const [, header = '', payload = '', signature = ''] =
    /^Escrowd-JWS ([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(headers.authorization ?? '') ?? [];
  const says = read(header);
  const claims = read(payload);
  if (says['kid'] !== order.caller.kid || says['alg'] !== 'ES256') return false;
  const signed = Buffer.from(`${header}.${payload}`);
  const by = { key: callerKey, dsaEncoding: 'ieee-p1363' } as const;
  const hash = createHash('sha256').update(body).digest();
  const named = Buffer.from(String(claims['cd']), 'base64url');
  return (
    verify('sha256', signed, by, Buffer.from(signature, 'base64url')) &&
    claims['aud'] === order.caller.audience &&
    claims['htm'] === method &&
    claims['htu'] === url &&
    Number(claims['exp']) * 1000 > Date.now() &&
    named.length === hash.length &&
    timingSafeEqual(named, hash)
  );
}

function read(part: string): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as Readonly<Record<string, unknown>>;
}
