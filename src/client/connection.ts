import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { types } from 'node:util';

import type { ClientCertificate } from './identity/clientCertificate.js';
import { codeOf } from '../system/errors.js';
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

/** What came back. */
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
  readonly #agent: Agent;
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
    this.#url = parseServerUrl(options.url);
    this.#deadlineMs = options.deadlineMs;
    const { ca, certificate } = options;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: 8,
      ca,
      // whatever the environment says of certificates (NODE_TLS_REJECT_UNAUTHORIZED)
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ...certificate,
    });
  }

  send(request: WireRequest): Promise<WireAnswer> {
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(this.#deadlineMs);
      const fail = (error: unknown): void => {
        reject(this.#explain(error, signal.aborted));
      };
      const { method, target, body } = request;
      const headers = { ...request.headers, 'content-length': String(body.length) };
      const outgoing = httpsRequest(
        {
          host: bareHost(this.#url),
          port: this.#url.port || 443,
          path: target,
          method,
          headers,
          signal,
          agent: this.#agent,
        },
        (incoming) => {
          readAnswer(incoming).then(resolve, fail);
        },
      );
      outgoing.on('error', fail);
      outgoing.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #explain(error: unknown, timedOut: boolean): ServerUnreachable {
    if (error instanceof ServerUnreachable) return error;
    const where = this.#url.host;
    const options = { cause: error };
    if (timedOut) {
      const seconds = Math.round(this.#deadlineMs / 1000);
      return new ServerUnreachable('timeout', `${where} did not answer within ${seconds} s`, options);
    }
    const code = failureCode(error);
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

/** An IPv6 address stands in brackets in a URL, and without them everywhere else. */
function bareHost(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

function failureCode(error: unknown): string {
  // several addresses were tried: the first failure speaks for all
  if (types.isNativeError(error) && 'errors' in error && Array.isArray(error.errors))
    return failureCode(error.errors[0]);
  return codeOf(error) ?? 'unknown';
}

async function readAnswer(incoming: IncomingMessage): Promise<WireAnswer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAXIMUM_ANSWER_BYTES) {
      incoming.destroy();
      throw new ServerUnreachable('not-escrowd', 'the answer is longer than any answer of escrowd');
    }
    chunks.push(chunk);
  }
  return {
    status: incoming.statusCode ?? 0,
    mediaType: (incoming.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '',
    retryAfterMs: retryAfterMsOf(incoming.headers['retry-after']),
    body: Buffer.concat(chunks),
  };
}

/** Seconds are all that escrowd says; a date is not looked at. */
function retryAfterMsOf(field: string | undefined): number | undefined {
  return field !== undefined && /^\d{1,6}$/.test(field) ? Number(field) * 1000 : undefined;
}
