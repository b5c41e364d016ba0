import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

import type { WitnessAnswer } from './witness.js';

/** Who answers, by which TLS, and who is told of each answer. */
export interface WitnessServerParts {
  readonly witness: { addCheckpoint(body: string): Promise<WitnessAnswer> };
  /** PEM. Without it, plain HTTP: what is asked and answered is public and signed. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Told of every request that got an answer, and of what is broken. */
  readonly onAnswer: (told: WitnessAnswer['told']) => void;
  readonly onFault: (error: unknown) => void;
}

export interface RunningWitness {
  readonly host: string;
  readonly port: number;
  /** Answers what is under way, and closes. */
  stop(): Promise<void>;
}

/** 63 hashes, and a note with a hundred signatures, of which some may be long. */
const maximumBodyBytes = 128 * 1024;
const limits = {
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 60_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 8 * 1024,
} as const;
const maximumConnections = 256;

/**
 * Serves `POST /add-checkpoint` (C2SP tlog-witness) and nothing else. Anybody may ask: what counts is the log's
 * signature. Bodies, times and connections are bounded.
 */
export async function serveWitness(
  parts: WitnessServerParts,
  listen: { readonly host: string; readonly port: number },
): Promise<RunningWitness> {
  const handler = (request: IncomingMessage, response: ServerResponse): void => {
    void answer(parts, request, response);
  };
  const server =
    parts.tls === undefined
      ? createHttpServer(limits, handler)
      : createHttpsServer({ ...limits, ...parts.tls, minVersion: 'TLSv1.2' }, handler);
  server.maxConnections = maximumConnections;
  server.listen(listen.port, listen.host);
  await once(server, 'listening');
  // listening on a host and port, so the address is one
  const { address, port } = server.address() as AddressInfo;
  return {
    host: address,
    port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

async function answer(
  { witness, onAnswer, onFault }: WitnessServerParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const send = (status: number, mediaType: string, body: string): void => {
    response.writeHead(status, {
      'Content-Type': mediaType,
      'Content-Length': Buffer.byteLength(body),
      'X-Content-Type-Options': 'nosniff',
      'Cache-Control': 'no-store',
    });
    response.end(body);
  };
  try {
    if (request.url !== '/add-checkpoint') {
      request.resume();
      send(404, 'text/plain; charset=utf-8', 'a witness has POST /add-checkpoint, and nothing else\n');
      return;
    }
    if (request.method !== 'POST') {
      request.resume();
      response.setHeader('Allow', 'POST');
      send(405, 'text/plain; charset=utf-8', 'POST it\n');
      return;
    }
    const body = await bodyOf(request);
    if (body === undefined) {
      response.setHeader('Connection', 'close');
      send(413, 'text/plain; charset=utf-8', 'the request is too large\n');
      return;
    }
    const answered = await witness.addCheckpoint(body.toString('utf8'));
    send(answered.status, answered.mediaType, answered.body);
    onAnswer(answered.told);
  } catch (error) {
    // a caller that went away is its own fault; anything else is ours, and nothing was cosigned
    if (request.destroyed && !response.writable) return;
    onFault(error);
    if (!response.headersSent) send(500, 'text/plain; charset=utf-8', 'the witness cannot answer now\n');
  }
}

/** Undefined when it is too large. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  // not destroyed when the loop is left: the answer goes over the same connection
  const body: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maximumBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
