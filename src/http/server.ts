import { type Server, createServer as createHttpsServer } from 'node:https';
import { constants } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, Server as NetServer } from 'node:net';

import { ROUTES } from '../api/routes.js';
import type { Escrow } from '../escrow/escrow.js';
import type { TellAnswered } from './answered.js';
import { applicationOf, breakOff } from './application.js';
import { guardConnections } from './limits/connections.js';
import { type Tell, Gathered } from './limits/gathered.js';
import { InFlight } from './limits/inFlight.js';
import { type Rates, Gate } from './limits/rates.js';
import { type ServerKeys, routesOf } from './routes/index.js';
import { answerUnread } from './unread.js';

/** Where anybody is told what a server says it is. */
export const ROUTE_OF_SERVER: string = ROUTES.getServer.path;

/** What a server grants its callers. */
export interface Limits extends Rates {
  readonly maxBodyBytes: number;
  /** Requests under way; more are `busy`. */
  readonly maxInFlight: number;
  readonly maxConnections: number;
  /** Of one address at the same time: an IPv6 /64 is one. */
  readonly connectionsPerAddress: number;
  /** From the connection to the end of the TLS handshake. */
  readonly handshakeTimeoutMs: number;
  /** From there to the end of the headers, and of the whole request. */
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  /** From the end of the request to the answer, which then is `deadline-exceeded`. */
  readonly answerTimeoutMs: number;
}

/** Limits for a daemon of a usual size. */
export const DEFAULT_LIMITS: Limits = {
  // one message of 256 KiB in base64url, and what stands around it
  maxBodyBytes: 352 * 1024,
  maxInFlight: 256,
  maxConnections: 2048,
  connectionsPerAddress: 256,
  handshakeTimeoutMs: 5_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveTimeoutMs: 60_000,
  answerTimeoutMs: 60_000,
  perCaller: { perSecond: 500, burst: 1000, atOnce: 64 },
  perAddress: { perSecond: 200, burst: 2000 },
  unknownBytes: { perSecond: 4 * 1024 * 1024, burst: 16 * 1024 * 1024 },
};

/** What is served, by which TLS and within which limits, and who is told of what. */
export interface ServerParts {
  readonly escrow: Escrow;
  readonly keys: ServerKeys;
  /**
   * PEM. Callers may show a certificate of any authority or none: an app is known by it when the policy binds it. With
   * `clientCa`, all callers need one of that authority.
   */
  readonly tls: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  readonly limits?: Partial<Limits>;
  /** Told of everything that is broken, for the operator's log. */
  readonly report: (error: unknown, requestId: string) => void;
  /** Tells the operator of those who are refused before anybody knows them, gathered. */
  readonly tell: Tell;
  /** Whether the daemon can work, as it was found last. */
  readonly isReady: () => boolean;
  /** Whether the clocks by which things are decided were apart when they were compared last: then everybody is told so. */
  readonly isClockOff?: () => boolean;
  /** Told of each request, when it is over; must not throw. */
  readonly answered?: TellAnswered;
}

export interface ApiServer {
  /** Begins to listen; resolves with where. */
  listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }>;
  /**
   * Shows this certificate to whoever connects from now on, and holds everybody to these limits; connections and requests that there
   * are go on. How long a handshake may take stays what it was.
   *
   * @throws an error of TLS that does not take the pair; then nothing has changed
   */
  change(to: {
    readonly tls: Pick<ServerParts['tls'], 'cert' | 'key'>;
    readonly limits: Partial<Limits>;
  }): void;
  /**
   * Accepts no more connections, answers new requests with `shutting-down`, waits for those under way, and closes.
   * Resolves with the number of requests that were still under way at the deadline; their acts go on until the
   * process ends.
   */
  drain(deadlineMs: number): Promise<number>;
}

/** TLS 1.3, and of 1.2 what has forward secrecy and authenticated encryption (RFC 9325 section 4.2). */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
].join(':');
const MAX_HEADER_BYTES = 16 * 1024;
/** How often the operator is told of refusals while they go on. */
const TOLD_EVERY_MS = 60_000;
/** How long the last answers may take to leave once everything is done. */
const FLUSH_MS = 1000;

/** The API over HTTPS. Nothing is listened to before `listen`. */
export function createServer(parts: ServerParts): ApiServer {
  const limits: Limits = { ...DEFAULT_LIMITS, ...parts.limits };
  const inFlight = new InFlight(limits.maxInFlight);
  const answered = parts.answered ?? ((): void => undefined);
  const gate = new Gate(limits, () => parts.escrow.clock.now());
  const told = {
    requests: new Gathered('requests of nobody known are refused: too many come', parts.tell, TOLD_EVERY_MS),
    connections: new Gathered(
      'connections are refused: an address, or all together, has too many',
      parts.tell,
      TOLD_EVERY_MS,
    ),
    handshakes: new Gathered(
      'connections are closed: no TLS handshake came in time',
      parts.tell,
      TOLD_EVERY_MS,
    ),
  };
  const application = applicationOf({
    escrow: parts.escrow,
    routes: routesOf(parts.keys),
    inFlight,
    gate,
    get maxBodyBytes() {
      return limits.maxBodyBytes;
    },
    get answerTimeoutMs() {
      return limits.answerTimeoutMs;
    },
    report: parts.report,
    refused: (address) => {
      told.requests.note(address);
    },
    isReady: parts.isReady,
    isClockOff: parts.isClockOff ?? ((): boolean => false),
    answered,
  });
  const { cert, key, clientCa } = parts.tls;
  const context = {
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    honorCipherOrder: true,
    ...(clientCa === undefined ? {} : { ca: clientCa }),
    // TLS 1.2: the client certificate of a connection stays what it was
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  } as const;
  const server = createHttpsServer(
    {
      cert,
      key,
      ...context,
      requestCert: true,
      rejectUnauthorized: clientCa !== undefined,
      handshakeTimeout: limits.handshakeTimeoutMs,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: MAX_HEADER_BYTES,
      // what has none is refused, and told of, as every other request is
      requireHostHeader: false,
    },
    application,
  );
  // what is expected beyond 100-continue may be ignored (RFC 9110 section 10.1.1)
  server.on('checkExpectation', application);
  answerUnread(server, breakOff, answered);
  // every field of those bytes is seen: a body whose length stood behind the first thousand would be taken for none
  server.maxHeadersCount = 0;
  const cutHandshakes = guardConnections(server, limits, (address, why) => {
    if (why === 'too-many') told.connections.note(address);
    else told.handshakes.note(address);
  });
  return {
    listen: (host, port) => listen(server, host, port),
    change: ({ tls, limits: changed }) => {
      server.setSecureContext({ ...tls, ...context });
      const { handshakeTimeoutMs } = limits;
      // whoever was handed them reads them anew each time
      Object.assign(limits, changed, { handshakeTimeoutMs });
      gate.change(limits);
      inFlight.limit = limits.maxInFlight;
      server.requestTimeout = limits.requestTimeoutMs;
      server.headersTimeout = limits.headersTimeoutMs;
    },
    drain: async (deadlineMs) => {
      const left = await drain(server, inFlight, cutHandshakes, deadlineMs);
      for (const gathered of Object.values(told)) gathered.end();
      return left;
    },
  };
}

async function listen(
  server: Server,
  host: string,
  port: number,
): Promise<{ readonly host: string; readonly port: number }> {
  server.listen(port, host);
  await once(server, 'listening');
  // listening on a host and port, so the address is one
  const { address, port: actual } = server.address() as AddressInfo;
  return { host: address, port: actual };
}

async function drain(
  server: Server,
  inFlight: InFlight,
  cutHandshakes: () => void,
  deadlineMs: number,
): Promise<number> {
  const closed = new Promise<void>((resolve) => {
    // https.Server.close would also cut idle connections, on which a request may be coming in: it gets an answer
    NetServer.prototype.close.call(server, () => {
      resolve();
    });
  });
  const left = await inFlight.drain(deadlineMs);
  server.closeIdleConnections();
  let timer: NodeJS.Timeout | undefined;
  const flushed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, FLUSH_MS);
  });
  await Promise.race([closed, flushed]);
  clearTimeout(timer);
  server.closeAllConnections();
  cutHandshakes();
  await closed;
  return left;
}
