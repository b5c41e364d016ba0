import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { letRestPass } from './limits/body.js';
import type { InFlight } from './limits/inFlight.js';
import { problemOf } from './problems.js';
import type { Gate } from './limits/rates.js';
import type { Reply } from './route.js';

/** What every answer carries, whoever gets it. */
const COMMON = {
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'Strict-Transport-Security': 'max-age=31536000',
} as const;

/** Media types, as they stand in Content-Type. */
const JSON_TYPE = 'application/json; charset=utf-8';
const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';
const TEXT_TYPE = 'text/plain; charset=utf-8';
const BYTES_TYPE = 'application/octet-stream';

/** What all exchanges of a server have in common. */
export interface ExchangeParts {
  readonly inFlight: InFlight;
  readonly gate: Gate;
}

/** A request and its answer: every answer of the API is written here, in one piece, with what all of them carry. */
export class Exchange {
  readonly request: IncomingMessage;
  /** In X-Request-Id and in the operator's log. */
  readonly requestId = randomUUID();
  readonly #response: ServerResponse;
  readonly #inFlight: InFlight;

  constructor(request: IncomingMessage, response: ServerResponse, { inFlight, gate }: ExchangeParts) {
    this.request = request;
    this.#response = response;
    this.#inFlight = inFlight;
    letRestPass(request, response, (bytes) => gate.letsPass(bytes));
  }

  /** Path and query as they came (RFC 9112 section 3.2.1). */
  get target(): string {
    return this.request.url ?? '';
  }

  /** Answers with what a route replied. */
  reply(reply: Reply): void {
    if ('bytes' in reply) {
      const cache = { 'Cache-Control': `${reply.cache}, max-age=31536000, immutable` };
      this.#send(reply.status, BYTES_TYPE, reply.bytes, cache);
    } else if ('text' in reply) this.#send(reply.status, TEXT_TYPE, reply.text);
    else this.json(reply.status, JSON.stringify(reply.json));
  }

  /** Answers with a JSON text. */
  json(status: number, text: string): void {
    this.#send(status, JSON_TYPE, text);
  }

  /** Answers with why not (RFC 9457); an answer that has begun is cut off. */
  problem(error: unknown, headers: Readonly<Record<string, string>> = {}): void {
    if (this.#response.headersSent) {
      this.#response.destroy();
      return;
    }
    const problem = problemOf(error, this.requestId);
    this.#send(problem.status, PROBLEM_TYPE, JSON.stringify(problem.body), {
      ...problem.headers,
      ...headers,
    });
  }

  #send(
    status: number,
    type: string,
    body: string | Uint8Array,
    more: Readonly<Record<string, string>> = {},
  ): void {
    this.#response.writeHead(status, {
      'X-Request-Id': this.requestId,
      ...COMMON,
      'Content-Type': type,
      'Content-Length': Buffer.byteLength(body),
      ...more,
      ...(this.#inFlight.isDraining ? { Connection: 'close' } : {}),
    });
    this.#response.end(body);
  }
}
