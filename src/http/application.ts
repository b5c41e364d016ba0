import { randomUUID } from 'node:crypto';

import type { Express, NextFunction, Request, RequestHandler, Response } from 'express';
import express from 'express';

import type { Escrow } from '../escrow/escrow.js';
import { EscrowError } from '../escrow/records/errors.js';
import { AnswerDeadline } from './limits/answerDeadline.js';
import { announcesBody, letRestPass, readBody, readJson } from './limits/body.js';
import { type Arriving, type Door, answerAnyone, answerCaller } from './endpoint.js';
import { InFlight } from './limits/inFlight.js';
import { networkOf } from './limits/network.js';
import { openApiOf } from './description/openapi.js';
import { peerCertificateOf } from './caller/peerCertificate.js';
import { isFault, problemOf } from './problems.js';
import { type Gate, AddressTooOften } from './limits/rates.js';
import type { Reply, Route } from './route.js';

/** The routes that are served, the limits that hold for all of them together, and who is told of what. */
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
  /** Told when a request of nobody known is refused because its address asks too often. */
  readonly refused: (address: string) => void;
  /** Whether the daemon can work, as it was found last: to say so costs nothing. */
  readonly isReady: () => boolean;
  /** See {@link Door.isClockOff}. */
  readonly isClockOff: () => boolean;
}

/** What is there besides the routes, for GET. */
const DESCRIBED = ['/healthz', '/readyz', '/openapi.json'] as const;

/** Requests with a body as large as a policy, at once. */
const MAX_LARGE_BODIES = 4;

/** The routes as an Express application. Every answer has a request id, which is also what `report` is given. */
export function applicationOf(parts: ApplicationParts): Express {
  const application = express();
  application.disable('x-powered-by');
  application.disable('etag');
  application.enable('case sensitive routing');
  application.enable('strict routing');
  // the query is read by the routes, strictly
  application.set('query parser', false);
  application.use(frame(parts));
  addProbes(application, parts);
  addDescription(application, parts);
  const { escrow, gate, inFlight, maxBodyBytes, isClockOff } = parts;
  const largeBodies = new InFlight(MAX_LARGE_BODIES);
  const door: Door = { escrow, gate, inFlight, maxBodyBytes, isClockOff, largeBodies };
  for (const route of parts.routes)
    addRoute(application, route.method, route.path, handlerOf(parts, door, route));
  refuseOtherMethods(application, parts.routes);
  application.use(() => {
    throw new EscrowError('route-unknown');
  });
  application.use(problems(parts));
  return application;
}

/**
 * The one spelling of a target that is served: a path of the characters that our paths have, and a query (RFC 3986 section
 * 3.4). A fragment, percent signs in the path or the absolute form (RFC 9112 section 3.2) would be other names for the same
 * route, and who reads the signed request later would not know them for it.
 */
const TARGET = /^\/[A-Za-z0-9._/-]*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?$/;

/** What every answer carries. No target has two spellings. Nobody is looked at before. */
function frame({ inFlight, gate }: ApplicationParts): RequestHandler {
  return (request, response, next) => {
    letRestPass(request, response, (bytes) => gate.letsPass(bytes));
    response.locals['requestId'] = randomUUID();
    response.set({
      'X-Request-Id': requestIdOf(response),
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'Strict-Transport-Security': 'max-age=31536000',
    });
    if (inFlight.isDraining) response.set('Connection', 'close');
    next(TARGET.test(request.originalUrl) ? undefined : new EscrowError('request-target-malformed'));
  };
}

/** A route of one method: Express answers HEAD by what is there for GET, and here nothing is made up. */
function addRoute(application: Express, method: 'GET' | 'POST', path: string, handler: RequestHandler): void {
  application.all(path, async (request, response, next) => {
    if (request.method === method) await handler(request, response, next);
    else next();
  });
}

/** What is there, asked for by another method, says which it has (RFC 9110 sections 15.5.6 and 10.2.1). */
function refuseOtherMethods(application: Express, routes: readonly Route[]): void {
  const methods = new Map<string, string[]>(DESCRIBED.map((path) => [path, ['GET']]));
  for (const { path, method } of routes) methods.set(path, [...(methods.get(path) ?? []), method]);
  for (const [path, allowed] of methods) {
    application.all(path, (_request, response) => {
      response.set('Allow', [...allowed].sort().join(', '));
      throw new EscrowError('method-not-allowed');
    });
  }
}

/**
 * For a balancer: `/healthz` says that the daemon lives, `/readyz` that it can work, and neither says more to strangers.
 * Neither is ever `busy`, and neither asks anything: they cost what a refusal costs.
 */
function addProbes(application: Express, { isReady, inFlight }: ApplicationParts): void {
  addRoute(application, 'GET', '/healthz', (_request, response) => {
    response.status(200).json({ status: 'ok' });
  });
  addRoute(application, 'GET', '/readyz', (_request, response) => {
    const ready = !inFlight.isDraining && isReady();
    response.status(ready ? 200 : 503).json({ status: ready ? 'ready' : 'not ready' });
  });
}

/** The interface, made once from the rows that are served. */
function addDescription(application: Express, { routes, gate }: ApplicationParts): void {
  const json = JSON.stringify(openApiOf(routes));
  addRoute(application, 'GET', '/openapi.json', (request, response) => {
    gate.takeFromAddress(networkOf(request.socket.remoteAddress), 'stranger');
    response.type('application/json').send(json);
  });
}

function handlerOf(parts: ApplicationParts, door: Door, route: Route): RequestHandler {
  const { inFlight, answerTimeoutMs, report } = parts;
  return async (request, response) => {
    inFlight.requireOpen();
    const deadline = new AnswerDeadline(answerTimeoutMs);
    // a slow sender holds a connection, not a place among the requests under way
    const arriving = arrivingOf(request, (maxBytes) => deadline.without(() => readBody(request, maxBytes)));
    const work =
      route.access === 'public' ? answerAnyone(door, route, arriving) : answerCaller(door, route, arriving);
    const reply = await deadline.answer(work, (error) => {
      if (isFault(error)) report(error, requestIdOf(response));
    });
    if (inFlight.isDraining) response.set('Connection', 'close');
    send(response, reply);
  };
}

const connections = new WeakMap<object, { provenKey?: string }>();

function connectionOf({ socket }: Request): { provenKey?: string } {
  const known = connections.get(socket);
  if (known !== undefined) return known;
  const fresh = {};
  connections.set(socket, fresh);
  return fresh;
}

function arrivingOf(request: Request, read: (maxBytes: number) => Promise<Uint8Array>): Arriving {
  const target = request.originalUrl;
  const head = {
    method: request.method,
    target,
    authorization: request.headersDistinct['authorization'] ?? [],
    idempotencyKey: request.headersDistinct['idempotency-key'] ?? [],
  };
  const path = pathOf(request.params);
  return {
    head,
    address: networkOf(request.socket.remoteAddress),
    certificate: () => peerCertificateOf(request.socket),
    connection: connectionOf(request),
    announcesBody: announcesBody(request),
    receive: async (maxBytes) => {
      const body = await read(maxBytes);
      return {
        received: { ...head, body },
        path,
        readRest: () => ({ query: queryOf(target), body: readJson(body, request.headers) }),
      };
    },
  };
}

/** The parameters in a path; one that stands for several segments (`*name`) has its slashes. */
function pathOf(parameters: Readonly<Record<string, string | string[]>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : value.join('/'),
    ]),
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
function problems({ report, refused }: ApplicationParts) {
  return (error: unknown, _request: Request, response: Response, next: NextFunction): void => {
    const requestId = requestIdOf(response);
    if (isFault(error)) report(error, requestId);
    if (error instanceof AddressTooOften) refused(error.address);
    if (response.headersSent) {
      next(error);
      return;
    }
    const { status, headers, body } = problemOf(error, requestId);
    response.status(status).set(headers).json(body);
  };
}

function requestIdOf(response: Response): string {
  return String(response.locals['requestId']);
}
