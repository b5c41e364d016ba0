import type { IncomingMessage } from 'node:http';
import { Agent as HttpAgent, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';

import type { NoticeKind } from '../escrow/records/notice.js';
import type { Clock } from '../escrow/ports/clock.js';
import { payloadOf } from './payload.js';
import type { Handing, Notices, Sink } from './sink.js';
import { codeOf, messageOf } from '../system/errors.js';
import { webhookHeaders } from './webhookSignature.js';

/** A webhook as it is configured. */
export interface WebhookOptions {
  readonly name: string;
  /** https, or http to this very host. */
  readonly url: URL;
  /** The newest first; a receiver that knows any of them can verify. */
  readonly secrets: readonly Uint8Array[];
  readonly kinds: ReadonlySet<NoticeKind>;
  /** PEM of the authorities that are believed; those of Node when it is not given. */
  readonly ca?: string;
  /** For the whole exchange, in milliseconds. */
  readonly timeoutMs: number;
  readonly origin: string;
  readonly clock: Pick<Clock, 'now'>;
}

/** More of an answer is not read. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** A receiver cannot put off the next try for longer. */
const MAX_RETRY_AFTER_MS = 3_600_000;

interface Answer {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
}

/**
 * Posts each notice, signed, by itself (Standard Webhooks). Taken is what is answered with 2xx. Redirects are refused, and
 * no proxy of the environment is used: the notice goes to the configured host or nowhere.
 */
export class WebhookSink implements Sink {
  readonly name: string;
  readonly kinds: ReadonlySet<NoticeKind>;
  readonly #options: WebhookOptions;
  readonly #agent: HttpAgent;
  readonly #closing = new AbortController();

  constructor(options: WebhookOptions) {
    this.name = options.name;
    this.kinds = options.kinds;
    this.#options = options;
    const kept = { keepAlive: true, maxSockets: 1 };
    this.#agent = options.url.protocol === 'https:' ? new HttpsAgent(kept) : new HttpAgent(kept);
  }

  async hand([notice]: Notices): Promise<Handing> {
    const { origin, clock, secrets } = this.#options;
    const body = JSON.stringify({
      type: `escrowd.${notice.kind}`,
      timestamp: notice.time,
      data: payloadOf(origin, notice),
    });
    try {
      const headers = webhookHeaders({ id: notice.id, at: clock.now(), body }, secrets);
      return handingOf(await this.#post(headers, body));
    } catch (error) {
      const code = codeOf(error);
      const fault = isTimeout(error)
        ? 'The receiver did not answer in time.'
        : `The connection to the receiver failed${code === undefined ? '' : ` (${code})`}.`;
      return { took: 'none', because: 'unavailable', fault, reason: messageOf(error) };
    }
  }

  close(): void {
    this.#closing.abort();
    this.#agent.destroy();
  }

  #post(headers: Readonly<Record<string, string>>, body: string): Promise<Answer> {
    const { url, ca, timeoutMs } = this.#options;
    const bytes = Buffer.from(body);
    const send = url.protocol === 'https:' ? requestHttps : requestHttp;
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#closing.signal]);
    return new Promise((resolve, reject) => {
      const request = send(
        url,
        {
          method: 'POST',
          agent: this.#agent,
          headers: {
            ...headers,
            'content-type': 'application/json',
            'content-length': bytes.length,
            'user-agent': 'escrowd',
          },
          signal,
          // whatever the environment says of certificates
          rejectUnauthorized: true,
          ...(ca === undefined ? {} : { ca }),
        },
        (response) => {
          const answer = { status: response.statusCode ?? 0, retryAfterMs: retryAfterOf(response) };
          readAway(response, () => {
            resolve(answer);
          });
        },
      );
      request.once('error', (error) => {
        if (signal.aborted) reject(signal.reason as Error);
        // a connection that was kept and that the receiver has closed meanwhile says nothing about the receiver
        else if (request.reusedSocket && codeOf(error) === 'ECONNRESET') resolve(this.#post(headers, body));
        else reject(error);
      });
      request.end(bytes);
    });
  }
}

function handingOf({ status, retryAfterMs }: Answer): Handing {
  if (status >= 200 && status < 300) return { took: 1 };
  const answered = `The receiver answered ${status}`;
  if (status >= 300 && status < 400) {
    const fault = `${answered}: redirects are not followed.`;
    return { took: 'none', because: 'refused', fault, reason: fault };
  }
  const fault = `${answered}.`;
  const isPassing = status === 408 || status === 429 || status >= 500;
  if (!isPassing) return { took: 'none', because: 'refused', fault, reason: fault };
  return {
    took: 'none',
    because: 'unavailable',
    fault,
    reason: fault,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/** Retry-After in seconds (RFC 9110 section 10.2.3); the form with a date is not taken. */
function retryAfterOf({ headers }: IncomingMessage): number | undefined {
  const text = headers['retry-after'];
  if (text === undefined || !/^[0-9]{1,9}$/.test(text)) return undefined;
  return Math.min(Number(text) * 1000, MAX_RETRY_AFTER_MS);
}

/** What the receiver says beyond its status means nothing; it is read, up to a bound, so that the connection can be kept. */
function readAway(response: IncomingMessage, done: () => void): void {
  let read = 0;
  response.on('data', (chunk: Buffer) => {
    read += chunk.length;
    if (read > MAX_ANSWER_BYTES) response.destroy();
  });
  response.once('error', () => undefined);
  response.once('close', done);
}

function isTimeout(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'TimeoutError';
}
