import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { letRestPass } from './limits/body.js';
import type { InFlight } from './limits/inFlight.js';
import { codeOf, problemOf } from './problems.js';
import type { TellAnswered } from './answered.js';
import { type ErrorCode, EscrowError } from '../escrow/records/errors.js';
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
  readonly answered: TellAnswered;
}

/** What is answered. */
interface Made {
  readonly status: number;
  readonly code?: ErrorCode;
  readonly entry?: number;
}

/** A request and its answer: every answer of the API is written here, in one piece, with what all of them carry. */
export class Exchange {
  readonly request: IncomingMessage;
  /** In X-Request-Id and in the operator's log. */
  readonly requestId = randomUUID();
  /** The path of the route that was found. */
  route: string | undefined;
  /** Who has proven that they ask. */
  caller: string | undefined;
  readonly #response: ServerResponse;
  readonly #inFlight: InFlight;
  readonly #answered: TellAnswered;
  readonly #beganAt = performance.now();
  readonly #address: string;
  #made: Made | undefined;
  #isBroken = false;
  #closed: { readonly durationMs: number; readonly isCut: boolean } | undefined;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    { inFlight, gate, answered }: ExchangeParts,
  ) {
    this.request = request;
    this.#response = response;
    this.#inFlight = inFlight;
    this.#answered = answered;
    // a connection that is lost has no address any more
    this.#address = request.socket.remoteAddress ?? '';
    letRestPass(request, response, (bytes) => gate.letsPass(bytes));
    response.once('close', () => {
      const durationMs = performance.now() - this.#beganAt;
      this.#closed = { durationMs, isCut: this.#isBroken || !response.writableFinished };
      this.#tell();
    });
  }

  /** What comes on its connection cannot be read any more. False when it was answered before, and has no part in that. */
  breakOff(): boolean {
    this.#isBroken ||= this.#made === undefined;
    return this.#isBroken;
  }

  /** Path and query as they came (RFC 9112 section 3.2.1). */
  get target(): string {
    return this.request.url ?? '';
  }

  /** Answers with what a route replied. */
  reply(reply: Reply): void {
    const { status } = reply;
    this.#make({ status, ...('entry' in reply ? { entry: reply.entry } : {}) });
    if ('bytes' in reply) {
      const cache = { 'Cache-Control': `${reply.cache}, max-age=31536000, immutable` };
      this.#send(reply.status, BYTES_TYPE, reply.bytes, cache);
    } else if ('text' in reply) this.#send(reply.status, TEXT_TYPE, reply.text);
    else this.#send(reply.status, JSON_TYPE, JSON.stringify(reply.json));
  }

  /** Answers with a JSON text. */
  json(status: number, text: string): void {
    this.#make({ status });
    this.#send(status, JSON_TYPE, text);
  }

  /** Answers with why not (RFC 9457); an answer that has begun is cut off. */
  problem(error: unknown, headers: Readonly<Record<string, string>> = {}): void {
    if (this.#response.headersSent) {
      this.#response.destroy();
      return;
    }
    const problem = problemOf(error, this.requestId);
    const entry = error instanceof EscrowError ? error.recordedAt : undefined;
    this.#make({
      status: problem.status,
      code: codeOf(error),
      ...(entry === undefined ? {} : { entry }),
    });
    this.#send(problem.status, PROBLEM_TYPE, JSON.stringify(problem.body), {
      ...problem.headers,
      ...headers,
    });
  }

  #make(made: Made): void {
    this.#made = made;
    this.#tell();
  }

  /** Once both are known: what is answered to one who has gone away has an entry all the same. */
  #tell(): void {
    if (this.#made === undefined || this.#closed === undefined) return;
    const { status, code, entry } = this.#made;
    this.#answered({
      requestId: this.requestId,
      method: this.request.method,
      route: this.route,
      address: this.#address,
      caller: this.caller,
      status,
      code,
      entry,
      ...this.#closed,
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
