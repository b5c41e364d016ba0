import { errors, Pool } from 'undici';

/** One request over the wire. */
export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Empty when there is none. */
  readonly body: Uint8Array;
}

/** The head of what came back. */
export interface HttpAnswer {
  readonly status: number;
  /** Media type without parameters, lower case; empty when none was given. */
  readonly mediaType: string;
  /** After how long another try may succeed (RFC 9110 section 10.2.3); undefined when nothing was said about it. */
  readonly retryAfterMs: number | undefined;
  /** The time by the server's clock, in whole seconds (RFC 9110 section 6.6.1); undefined when it says none. */
  readonly date: Date | undefined;
  /** The rest, to be read once. @throws AnswerTooLong, NoAnswerInTime, an error of the system */
  readBody(): Promise<Buffer>;
}

/** An answer is longer than any that was to be expected. No more of it was read. */
export class AnswerTooLong extends Error {
  override readonly name = 'AnswerTooLong';
}

/** The time for the whole of a request and its answer is over. */
export class NoAnswerInTime extends Error {
  override readonly name = 'NoAnswerInTime';
}

/** Whom to talk to, and within what bounds. */
export interface HttpConnectionOptions {
  /** http or https; host and port are taken of it. */
  readonly url: URL;
  /** PEM: the only authorities that are believed; those of Node when it is not given. */
  readonly ca?: string | undefined;
  /** Shown to the server, to which it is proven that its key is here. */
  readonly certificate?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  /** So many at the same time; the others wait. */
  readonly connections: number;
  /** Whether a connection serves for more than one request. */
  readonly isKept: boolean;
  /** From sending to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
}

/**
 * HTTP to one server and nowhere else: a redirect is an answer like any other, no proxy is used, and whatever the environment
 * says of certificates (NODE_TLS_REJECT_UNAUTHORIZED) changes nothing. Many requests may run at once.
 */
export class HttpConnection {
  readonly #options: HttpConnectionOptions;
  readonly #pool: Pool;

  constructor(options: HttpConnectionOptions) {
    const { url, ca, certificate, connections, isKept, timeoutMs } = options;
    this.#options = options;
    this.#pool = new Pool(url.origin, {
      connections,
      // 0: no connection is used twice
      pipelining: isKept ? 1 : 0,
      // the whole is timed by send
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: {
        timeout: timeoutMs,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
        ...(ca === undefined ? {} : { ca }),
        ...certificate,
      },
    });
  }

  /** @throws NoAnswerInTime, or an error of the system, with a `code`, when no answer came */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    const { ca, timeoutMs, maxAnswerBytes } = this.#options;
    // Node would take a text without one for none given, and believe its own
    if (ca?.includes('-----BEGIN CERTIFICATE-----') === false)
      throw Object.assign(new Error('no certificate among the authorities'), {
        code: 'ERR_TLS_NO_AUTHORITY',
      });
    const signal = AbortSignal.timeout(timeoutMs);
    const fail = (cause: unknown): never => {
      if (!signal.aborted && !(cause instanceof errors.ConnectTimeoutError)) throw cause;
      throw new NoAnswerInTime(`no answer within ${timeoutMs} ms`, { cause });
    };
    const { statusCode, headers, body } = await this.#pool.request({ ...request, signal }).catch(fail);
    return {
      status: statusCode,
      mediaType: first(headers['content-type']).split(';', 1)[0]?.trim().toLowerCase() ?? '',
      retryAfterMs: retryAfterMsOf(first(headers['retry-after'])),
      date: dateOf(first(headers['date'])),
      readBody: () => gather(body, maxAnswerBytes).catch(fail),
    };
  }

  /** Breaks off what is under way, and lets the process end. */
  close(): void {
    void this.#pool.destroy();
  }
}

async function gather(body: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes) throw new AnswerTooLong(`the answer is longer than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function first(field: string | string[] | undefined): string {
  return (Array.isArray(field) ? field[0] : field) ?? '';
}

function dateOf(field: string): Date | undefined {
  const date = new Date(field);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** Seconds; a date is not looked at. */
function retryAfterMsOf(field: string): number | undefined {
  return /^\d{1,9}$/.test(field) ? Number(field) * 1000 : undefined;
}
