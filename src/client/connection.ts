import { types } from 'node:util';

import type { ClientCertificate } from './identity/clientCertificate.js';
import { codeOf } from '../system/errors.js';
import { AnswerTooLong, HttpConnection, NoAnswerInTime } from '../system/httpConnection.js';
import { IdentityError, ServerUnreachable } from './errors.js';

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
  /** The time by the server's clock, in whole seconds; undefined when it says none. */
  readonly date?: Date | undefined;
  /** How far this machine's clock is ahead of the server's, to about a second; undefined when that is not known. */
  readonly clockAheadMs?: number | undefined;
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
      const { status, mediaType, retryAfterMs, date } = answer;
      return { status, mediaType, retryAfterMs, date, body: await answer.readBody() };
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
      const [sentence, next] = TLS_FAILURES[code] ?? NOT_VOUCHED_FOR;
      return new ServerUnreachable('tls', `${where} ${sentence} (${code})`, { ...options, next });
    }
    return new ServerUnreachable('broken', `the connection to ${where} broke (${code})`, options);
  }
}

/**
 * The address of a server: `https://host[:port]`, without path, query or user.
 * @throws IdentityError `record-malformed` when it is anything else: nothing was sent.
 */
export function parseServerUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' || url.href !== `https://${url.host}/`) {
    const why = url?.protocol === 'http:' ? 'the server speaks https, and nothing else' : 'it is no address';
    throw new IdentityError('record-malformed', `${text}: ${why}; write https://escrow.example.com:8443`);
  }
  return url;
}

/** What fails, and what helps where it is another thing than a CA of another server. */
type TlsFailure = readonly [sentence: string, next?: string];

const NOT_VOUCHED_FOR: TlsFailure = ['is not the server that the pinned CA vouches for'];

const RENEWED = 'those who run the server renew it: tell them';
const NO_TLS: TlsFailure = [
  'does not speak TLS there',
  'check the address and its port: escrowctl identity show',
];

const TLS_FAILURES: Readonly<Record<string, TlsFailure>> = {
  CERT_HAS_EXPIRED: [
    'shows a certificate that has expired, by the clock of this machine',
    `compare the clock with another one; if it is right, ${RENEWED}`,
  ],
  CERT_NOT_YET_VALID: [
    'shows a certificate that is not valid yet, by the clock of this machine',
    'compare the clock with another one',
  ],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    'shows a certificate of the pinned CA that is for another name',
    'use the name that the certificate is for: escrowctl identity pin DIR --server URL ...; or have it renewed with this name',
  ],
  ERR_TLS_NO_AUTHORITY: ['cannot be believed: the pinned CA file holds no certificate'],
  ERR_SSL_WRONG_VERSION_NUMBER: NO_TLS,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: NO_TLS,
  ERR_SSL_UNSUPPORTED_PROTOCOL: ['speaks no version of TLS from 1.2 on', RENEWED],
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: ['speaks no version of TLS from 1.2 on', RENEWED],
};

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
