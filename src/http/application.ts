import { randomUUID } from 'node:crypto';

import type { Express, NextFunction, Request, RequestHandler, Response } from 'express';
import express from 'express';

import type { Escrow } from '../escrow/context.js';
import { EscrowError } from '../escrow/errors.js';
import type { SinkState } from '../escrow/outbox.js';
import { readBody, readJson } from './body.js';
import { apiPageOf } from './apiPage.js';
import type { Incoming } from './endpoint.js';
import { answerAnyone, answerCaller } from './endpoint.js';
import type { InFlight } from './inFlight.js';
import { openApiOf } from './openapi.js';
import { peerCertificateOf } from './peerCertificate.js';
import { problemOf } from './problems.js';
import type { Gate } from './rates.js';
import type { Reply, Route } from './route.js';

/** Whether the daemon can work; the problems are sentences that a stranger may read. */
export interface Health {
  readonly ok: boolean;
  readonly problems: readonly string[];
  /** What is not as it should be and keeps the daemon from nothing, such as a witness that does not answer. */
  readonly notes: readonly string[];
  /** How far those are who are told outside of the API. */
  readonly notifications?: readonly SinkState[];
}

/** What the application is made of. */
export interface ApplicationParts {
  readonly escrow: Escrow;
  readonly routes: readonly Route[];
  readonly inFlight: InFlight;
  readonly gate: Gate;
  readonly maxBodyBytes: number;
  /** After so long a request is answered, done or not. */
  readonly answerTimeoutMs: number;
  /** Told of everything that is broken, for the operator's log. */
  readonly report: (error: unknown, requestId: string) => void;
  readonly health: () => Promise<Health>;
  /** Attacks that the token does not refuse, and that the configuration accepts: for `/healthz` and `/readyz` to say. */
  readonly unenforced: readonly string[];
}

/** The routes as an Express application. Every answer has a request id, which is also what `report` is given. */
export function applicationOf(parts: ApplicationParts): Express {
  const application = express();
  application.disable('x-powered-by');
  application.disable('etag');
  application.enable('case sensitive routing');
  application.enable('strict routing');
  // the query is read by the routes, strictly
  application.set('query parser', false);
  application.use(frame(parts.inFlight));
  addProbes(application, parts);
  addDescription(application, parts.routes);
  for (const route of parts.routes) {
    const handler = handlerOf(parts, route);
    if (route.method === 'GET') application.get(route.path, handler);
    else application.post(route.path, handler);
  }
  application.use(() => {
    throw new EscrowError('route-unknown');
  });
  application.use(problems(parts));
  return application;
}

/** What every answer carries, and the methods there are: no HEAD or OPTIONS is made up from the routes. */
function frame(inFlight: InFlight): RequestHandler {
  return (request, response, next) => {
    response.locals['requestId'] = randomUUID();
    response.set({
      'X-Request-Id': requestIdOf(response),
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'Strict-Transport-Security': 'max-age=31536000',
    });
    if (inFlight.isDraining) response.set('Connection', 'close');
    const isKnown = request.method === 'GET' || request.method === 'POST';
    next(isKnown ? undefined : new EscrowError('route-unknown'));
  };
}

/** For whoever runs the daemon: `/healthz` says that it lives, `/readyz` that it can work. Neither is ever `busy`. */
function addProbes(application: Express, { health, inFlight, unenforced }: ApplicationParts): void {
  application.get('/healthz', (_request, response) => {
    response.status(200).json({ status: 'ok', unenforced });
  });
  application.get('/readyz', async (_request, response) => {
    const drained = { ok: false, problems: ['The daemon is shutting down.'], notes: [] };
    const {
      ok,
      problems: found,
      notes,
      notifications = [],
    }: Health = inFlight.isDraining ? drained : await health();
    response.status(ok ? 200 : 503).json({
      status: ok ? 'ready' : 'not ready',
      problems: found,
      unenforced,
      notes,
      notifications: notifications.map(({ sink, waiting, fault, dropped }) => ({
        sink,
        waiting,
        dropped,
        ...(fault === undefined ? {} : { fault }),
      })),
    });
  });
}

/** The interface, for machines and for people: made once, from the rows that are served. */
function addDescription(application: Express, routes: readonly Route[]): void {
  const document = openApiOf(routes);
  const json = JSON.stringify(document);
  const { html, contentSecurityPolicy } = apiPageOf(document);
  application.get('/openapi.json', (_request, response) => {
    response.type('application/json').send(json);
  });
  application.get('/docs', (_request, response) => {
    response
      .set('Content-Security-Policy', contentSecurityPolicy)
      .type('text/html; charset=utf-8')
      .send(html);
  });
}

function handlerOf(parts: ApplicationParts, route: Route): RequestHandler {
  const { escrow, inFlight, gate, maxBodyBytes, answerTimeoutMs, report } = parts;
  return async (request, response) => {
    // a slow sender holds a connection, not a place among the requests under way
    const body = await readBody(request, route.maxBodyBytes ?? maxBodyBytes);
    const work = inFlight.run(() => {
      const incoming = incomingOf(request, body);
      return route.access === 'public'
        ? answerAnyone({ escrow, gate }, route, incoming)
        : answerCaller({ escrow, gate }, route, incoming);
    });
    const reply = await answeredWithin(answerTimeoutMs, work, (error) => {
      if (problemOf(error).isFault) report(error, requestIdOf(response));
    });
    if (inFlight.isDraining) response.set('Connection', 'close');
    send(response, reply);
  };
}

/** What came of the work, or `deadline-exceeded`: the work then goes on, and `late` is told how it failed. */
async function answeredWithin<T>(ms: number, work: Promise<T>, late: (error: unknown) => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<'deadline'>((resolve) => {
    timer = setTimeout(resolve, ms, 'deadline' as const);
  });
  try {
    const first = await Promise.race([work.then((value) => ({ value })), deadline]);
    if (first !== 'deadline') return first.value;
    work.catch(late);
    throw new EscrowError('deadline-exceeded');
  } finally {
    clearTimeout(timer);
  }
}

/** An IPv6 network of one customer is one address (RFC 6177). */
function addressOf(request: Request): string {
  const address = request.socket.remoteAddress ?? '';
  return address.startsWith('::ffff:') ? address.slice(7) : address.split(':').slice(0, 4).join(':');
}

function incomingOf(request: Request, body: Uint8Array): Incoming {
  const target = request.originalUrl;
  return {
    address: addressOf(request),
    certificate: () => peerCertificateOf(request.socket),
    received: {
      method: request.method,
      target,
      authorization: request.headersDistinct['authorization'] ?? [],
      idempotencyKey: request.headersDistinct['idempotency-key'] ?? [],
      body,
    },
    path: pathOf(request.params, target),
    readRest: () => ({ query: queryOf(target), body: readJson(body, request.headers) }),
  };
}

/**
 * The parameters in a path. One that stands for several segments (`*name`) is taken as it was spelt: what is not
 * spelt in the one way, as with percent signs, is no path of ours.
 */
function pathOf(
  parameters: Readonly<Record<string, string | string[]>>,
  target: string,
): Readonly<Record<string, string>> {
  const [path = ''] = target.split('?', 1);
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => {
      if (typeof value === 'string') return [name, value];
      const rest = value.join('/');
      if (!path.endsWith(`/${rest}`)) throw new EscrowError('route-unknown');
      return [name, rest];
    }),
  );
}

/** The parameters of a query; one given twice would have two meanings. */
function queryOf(target: string): Readonly<Record<string, string>> {
  const start = target.indexOf('?');
  const pairs = start < 0 ? [] : [...new URLSearchParams(target.slice(start + 1))];
  const query = new Map(pairs);
  if (query.size !== pairs.length)
    throw new EscrowError('request-malformed', 'A query parameter stands twice.');
  return Object.fromEntries(query);
}

function send(response: Response, reply: Reply): void {
  response.status(reply.status);
  if ('bytes' in reply) {
    response.set('Cache-Control', `${reply.cache}, max-age=31536000, immutable`);
    response.type('application/octet-stream').send(Buffer.from(reply.bytes));
  } else if ('text' in reply) response.type('text/plain; charset=utf-8').send(reply.text);
  else response.json(reply.json);
}

/** The last handler, which Express knows by its four parameters. */
function problems({ report }: ApplicationParts) {
  return (error: unknown, _request: Request, response: Response, next: NextFunction): void => {
    const problem = problemOf(asRefusal(error));
    if (problem.isFault) report(error, requestIdOf(response));
    if (response.headersSent) {
      next(error);
      return;
    }
    response.status(problem.status).set(problem.headers).json(problem.body);
  };
}

/** Express's own complaint about a path that does not decode. */
function asRefusal(error: unknown): unknown {
  return error instanceof URIError
    ? new EscrowError('request-malformed', 'The path does not decode.', { cause: error })
    : error;
}

function requestIdOf(response: Response): string {
  return String(response.locals['requestId']);
}
