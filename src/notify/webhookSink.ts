import type { NoticeKind } from '../escrow/records/notice.js';
import type { Clock } from '../escrow/ports/clock.js';
import { payloadOf } from './payload.js';
import type { DeliveryResult, Notices, Sink } from './sink.js';
import { codeOf, messageOf } from '../system/errors.js';
import { HttpConnection, NoAnswerInTime, type HttpAnswer } from '../system/httpConnection.js';
import { webhookHeaders } from './webhookSignature.js';

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

/**
 * Posts each notice, signed, by itself (Standard Webhooks). Taken is what is answered with 2xx. Redirects are refused, and
 * no proxy of the environment is used: the notice goes to the configured host or nowhere.
 */
export class WebhookSink implements Sink {
  readonly name: string;
  readonly kinds: ReadonlySet<NoticeKind>;
  readonly #options: WebhookOptions;
  readonly #connection: HttpConnection;

  constructor(options: WebhookOptions) {
    const { name, kinds, url, ca, timeoutMs } = options;
    this.name = name;
    this.kinds = kinds;
    this.#options = options;
    // not kept: a receiver that has closed a connection meanwhile would seem not to work
    const bounds = { connections: 1, isKept: false, timeoutMs, maxAnswerBytes: MAX_ANSWER_BYTES };
    this.#connection = new HttpConnection({ url, ca, ...bounds });
  }

  async deliver([notice]: Notices): Promise<DeliveryResult> {
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
      const fault =
        error instanceof NoAnswerInTime
          ? 'The receiver did not answer in time.'
          : `The connection to the receiver failed${code === undefined ? '' : ` (${code})`}.`;
      return { accepted: 'none', because: 'unavailable', fault, reason: messageOf(error) };
    }
  }

  close(): void {
    this.#connection.close();
  }

  async #post(signature: Readonly<Record<string, string>>, body: string): Promise<HttpAnswer> {
    const { pathname, search } = this.#options.url;
    const answer = await this.#connection.send({
      method: 'POST',
      path: `${pathname}${search}`,
      headers: { ...signature, 'content-type': 'application/json', 'user-agent': 'escrowd' },
      body: Buffer.from(body),
    });
    // what the receiver says beyond its status means nothing; it is heard out, up to a bound
    await answer.readBody().catch(() => undefined);
    return answer;
  }
}

function handingOf({ status, retryAfterMs }: HttpAnswer): DeliveryResult {
  if (status >= 200 && status < 300) return { accepted: 1 };
  const answered = `The receiver answered ${status}`;
  if (status >= 300 && status < 400) {
    const fault = `${answered}: redirects are not followed.`;
    return { accepted: 'none', because: 'refused', fault, reason: fault };
  }
  const fault = `${answered}.`;
  const isPassing = status === 408 || status === 429 || status >= 500;
  if (!isPassing) return { accepted: 'none', because: 'refused', fault, reason: fault };
  return {
    accepted: 'none',
    because: 'unavailable',
    fault,
    reason: fault,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs: Math.min(retryAfterMs, MAX_RETRY_AFTER_MS) }),
  };
}
