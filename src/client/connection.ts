import { types } from 'node:util';

import type { ClientCertificate } from './identity/clientCertificate.js';
import { codeOf } from '../system/errors.js';
import { AnswerTooLong, HttpConnection, NoAnswerInTime } from '../system/httpConnection.js';
import { ServerUnreachable } from './errors.js';

/** One request over the wire. */
export interface WireRequest {
  readonly method: 'GET' | 'POST';
  /** Path and query. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Empty when there is none. */
  readonly body: Uint8Array;
}

export interface WireAnswer {
  readonly status: number;
  /** Media type without parameters, lower case; empty when none was given. */
  readonly mediaType: string;
  /** After how long another try may succeed (RFC 9110 section 10.2.3); undefined when nothing was said about it. */
  readonly retryAfterMs?: number | undefined;
  readonly body: Buffer;
}

/** Where requests go. {@link HttpsConnection} is the one for use; a test may give another. */
export interface Connection {
  /** @throws ServerUnreachable */
  send(request: WireRequest): Promise<WireAnswer>;
  close(): void;
}

/** Longest answer that is read, in bytes. */
const MAXIMUM_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * HTTPS to one server, believing one certificate authority and no other, with connections kept alive. Many requests may
 * run at once; each has a deadline for the whole of it. {@link close} lets the process end.
 */
export class HttpsConnection implements Connection {
  readonly #url: URL;
  readonly #connection: HttpConnection;
  readonly #deadlineMs: number;

  /**
   * @param options `ca` is PEM; `deadlineMs` counts from sending to the last byte of the answer. `certificate` is shown to the
   *   server, to which it is proven that its key is here.
   */
  constructor(options: {
    readonly url: string;
    readonly ca: string;
    readonly deadlineMs: number;
    readonly certificate?: ClientCertificate;
  }) {
    const { ca, certificate, deadlineMs } = options;
    this.#url = parseServerUrl(options.url);
    this.#deadlineMs = deadlineMs;
    this.#connection = new HttpConnection({
      url: this.#url,
      ca,
      certificate,
      connections: 8,
      isKept: true,
      timeoutMs: deadlineMs,
      maxAnswerBytes: MAXIMUM_ANSWER_BYTES,
    });
  }

  async send({ target, ...request }: WireRequest): Promise<WireAnswer> {
    try {
      const answer = await this.#connection.send({ ...request, path: target });
      const { status, mediaType, retryAfterMs } = answer;
      return { status, mediaType, retryAfterMs, body: await answer.readBody() };
    } catch (error) {
      throw this.#explain(error);
    }
  }

  close(): void {
    this.#connection.close();
  }

  #explain(cause: unknown): ServerUnreachable {
    const where = this.#url.host;
    const options = { cause };
    if (cause instanceof AnswerTooLong)
      return new ServerUnreachable('not-escrowd', 'the answer is longer than any answer of escrowd', options);
    if (cause instanceof NoAnswerInTime) {
      const seconds = Math.round(this.#deadlineMs / 1000);
      return new ServerUnreachable('timeout', `${where} did not answer within ${seconds} s`, options);
    }
    const code = failureCode(cause);
    if (NOT_REACHED.has(code)) {
      return new ServerUnreachable('refused', `cannot connect to ${where} (${code})`, options);
    }
    if (/^(CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|EPROTO$|HOSTNAME_)/.test(code)) {
      return new ServerUnreachable(
        'tls',
        `${where} is not the server that the pinned CA vouches for (${code})`,
        options,
      );
    }
    return new ServerUnreachable('broken', `the connection to ${where} broke (${code})`, options);
  }
}

/**
 * The address of a server: `https://host[:port]`, without path, query or user.
 * @throws ServerUnreachable `not-escrowd` when it is anything else.
 */
export function parseServerUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' || url.href !== `https://${url.host}/`) {
    throw new ServerUnreachable(
      'not-escrowd',
      `${text} is not an address like https://escrow.example.com:8443`,
    );
  }
  return url;
}

const NOT_REACHED: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

function failureCode(error: unknown): string {
  // several addresses were tried: the first failure speaks for all
  if (types.isNativeError(error) && 'errors' in error && Array.isArray(error.errors))
    return failureCode(error.errors[0]);
  return codeOf(error) ?? 'unknown';
}
