import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';

import type { Express, NextFunction, Request, RequestHandler, Response } from 'express';
import express from 'express';

import type { Escrow } from '../escrow/escrow.js';
import { EscrowError } from '../escrow/records/errors.js';
import type { TellAnswered } from './answered.js';
import { AnswerDeadline } from './limits/answerDeadline.js';
import { announcesBody, readBody, readJson } from './limits/body.js';
import { type Arriving, type Door, answerAnyone, answerCaller } from './endpoint.js';
import { Exchange } from './exchange.js';
import { InFlight } from './limits/inFlight.js';
import { networkOf } from './limits/network.js';
import { openApiOf } from './description/openapi.js';
import { peerCertificateOf } from './caller/peerCertificate.js';
import { isFault } from './problems.js';
import { type Gate, AddressTooOften } from './limits/rates.js';
import type { Route } from './route.js';

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
  /** Told of each request, when it is over. */
  readonly answered: TellAnswered;
}

/** What is there besides the routes, for GET. */
const DESCRIBED = ['/healthz', '/readyz', '/openapi.json'] as const;

/** Requests with a body as large as a policy, at once. */
const MAX_LARGE_BODIES = 4;

/** Answers a request for one route; whatever comes of it, it is answered. */
type Answer = (exchange: Exchange, path: Readonly<Record<string, string>>) => Promise<void>;

/**
 * Who answers requests: an Express application with the routes; those by which apps use grants are found before it, because they
 * are asked for all day. Every answer has a request id, which is also what `report` is given.
 */
export function applicationOf(parts: ApplicationParts): RequestListener {
  const { escrow, gate, inFlight, isClockOff } = parts;
  const largeBodies = new InFlight(MAX_LARGE_BODIES);
  const door: Door = {
    ...{ escrow, gate, inFlight, isClockOff, largeBodies },
    // it may change
    get maxBodyBytes() {
      return parts.maxBodyBytes;
    },
  };
  const answered = parts.routes.map((route) => ({ route, answer: answerOf(parts, door, route) }));
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
  for (const { route, answer } of answered)
    addRoute(application, route.method, route.path, (exchange, request) =>
      answer(exchange, pathOf(request.params)),
    );
  refuseOtherMethods(application, parts.routes);
  application.use(() => {
    throw new EscrowError('route-unknown');
  });
  application.use(problems(parts));
  const uses = answered
    .filter(({ route }) => route.takesCertificate)
    .map(({ route: { method, path }, answer }) => ({ method, target: targetsOf(path), answer }));
  return (request, response) => {
    const { method, url = '' } = request;
    // RFC 9112 section 2.3: what a line says that is no version of HTTP/1 is read otherwise by others
    if (request.httpVersionMajor !== 1) {
      open(request, response, parts).problem(
        new EscrowError('request-malformed', 'Only HTTP/1.1 and HTTP/1.0 are spoken here.'),
      );
      return;
    }
    if (!hasOneHost(request)) {
      open(request, response, parts).problem(
        new EscrowError('request-malformed', 'A request has one Host field (RFC 9112 section 3.2).'),
      );
      return;
    }
    for (const use of uses) {
      const path = use.method === method ? use.target.exec(url)?.groups : undefined;
      if (path === undefined) continue;
      void use.answer(open(request, response, parts), { ...path });
      return;
    }
    application(request, response);
  };
}

/** The targets of a route without a query whose parameters are one segment each; all of them are {@link TARGET}s. */
function targetsOf(path: string): RegExp {
  return new RegExp(`^${path.replace(/:(\w+)/g, '(?<$1>[A-Za-z0-9._-]+)')}$`);
}

/**
 * The one spelling of a target that is served: a path of the characters that our paths have, and a query (RFC 3986 section
 * 3.4). A fragment, percent signs in the path or the absolute form (RFC 9112 section 3.2) would be other names for the same
 * route, and who reads the signed request later would not know them for it.
 */
const TARGET = /^\/[A-Za-z0-9._/-]*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?$/;

const exchanges = new WeakMap<Request, Exchange>();

/** The newest exchange of each connection. */
const newest = new WeakMap<Duplex, Exchange>();

function open(request: IncomingMessage, response: ServerResponse, parts: ApplicationParts): Exchange {
  const exchange = new Exchange(request, response, parts);
  newest.set(request.socket, exchange);
  return exchange;
}

/** What comes on this connection cannot be read any more. Whether it was a part of a request that is still to be answered. */
export function breakOff(socket: Duplex): boolean {
  return newest.get(socket)?.breakOff() === true;
}

/** HTTP/1.0 needs none. */
function hasOneHost(request: IncomingMessage): boolean {
  const count = fieldsOf(request, 'host').length;
  return count === 1 || (count === 0 && request.httpVersion === '1.0');
}

/** The exchange of a request that came through {@link frame}. */
function exchangeOf(request: Request): Exchange {
  const exchange = exchanges.get(request);
  if (exchange === undefined) throw new Error('a request came in by another way');
  return exchange;
}

/** No target has two spellings. Nobody is looked at before. */
function frame(parts: ApplicationParts): RequestHandler {
  return (request, response, next) => {
    exchanges.set(request, open(request, response, parts));
    next(TARGET.test(request.originalUrl) ? undefined : new EscrowError('request-target-malformed'));
  };
}

/** A route of one method: Express answers HEAD by what is there for GET, and here nothing is made up. */
function addRoute(
  application: Express,
  method: 'GET' | 'POST',
  path: string,
  answer: (exchange: Exchange, request: Request) => Promise<void> | void,
): void {
  application.all(path, async (request, _response, next) => {
    if (request.method !== method) {
      next();
      return;
    }
    const exchange = exchangeOf(request);
    exchange.route = path;
    await answer(exchange, request);
  });
}

/** What is there, asked for by another method, says which it has (RFC 9110 sections 15.5.6 and 10.2.1). */
function refuseOtherMethods(application: Express, routes: readonly Route[]): void {
  const methods = new Map<string, string[]>(DESCRIBED.map((path) => [path, ['GET']]));
  for (const { path, method } of routes) methods.set(path, [...(methods.get(path) ?? []), method]);
  for (const [path, allowed] of methods) {
    const headers = { Allow: [...allowed].sort().join(', ') };
    application.all(path, (request) => {
      const exchange = exchangeOf(request);
      exchange.route = path;
      exchange.problem(new EscrowError('method-not-allowed'), headers);
    });
  }
}

/**
 * For a balancer: `/healthz` says that the daemon lives, `/readyz` that it can work, and neither says more to strangers.
 * Neither is ever `busy`, and neither asks anything: they cost what a refusal costs.
 */
function addProbes(application: Express, { isReady, inFlight }: ApplicationParts): void {
  addRoute(application, 'GET', '/healthz', (exchange) => {
    exchange.json(200, JSON.stringify({ status: 'ok' }));
  });
  addRoute(application, 'GET', '/readyz', (exchange) => {
    const ready = !inFlight.isDraining && isReady();
    exchange.json(ready ? 200 : 503, JSON.stringify({ status: ready ? 'ready' : 'not ready' }));
  });
}

/** The interface, made once from the rows that are served. */
function addDescription(application: Express, { routes, gate }: ApplicationParts): void {
  const json = JSON.stringify(openApiOf(routes));
  addRoute(application, 'GET', '/openapi.json', (exchange) => {
    gate.takeFromAddress(connectionOf(exchange.request).address, 'stranger');
    exchange.json(200, json);
  });
}

function answerOf(parts: ApplicationParts, door: Door, route: Route): Answer {
  const { inFlight, report } = parts;
  return async (exchange, path) => {
    exchange.route = route.path;
    try {
      inFlight.requireOpen();
      const deadline = new AnswerDeadline(parts.answerTimeoutMs);
      // a slow sender holds a connection, not a place among the requests under way
      const arriving = arrivingOf(exchange, path, (maxBytes) =>
        deadline.without(() => readBody(exchange.request, maxBytes)),
      );
      const work =
        route.access === 'public' ? answerAnyone(door, route, arriving) : answerCaller(door, route, arriving);
      const reply = await deadline.answer(work, (error) => {
        if (isFault(error)) report(error, exchange.requestId);
      });
      exchange.reply(reply);
    } catch (error) {
      refuse(parts, exchange, error);
    }
  };
}

/** What is known of a connection. */
interface Connection {
  readonly address: string;
  provenKey?: string;
}

const connections = new WeakMap<Socket, Connection>();

function connectionOf({ socket }: IncomingMessage): Connection {
  const known = connections.get(socket);
  if (known !== undefined) return known;
  const fresh = { address: networkOf(socket.remoteAddress) };
  connections.set(socket, fresh);
  return fresh;
}

function arrivingOf(
  exchange: Exchange,
  path: Readonly<Record<string, string>>,
  read: (maxBytes: number) => Promise<Uint8Array>,
): Arriving {
  const { request, target } = exchange;
  const head = {
    method: request.method ?? '',
    target,
    authorization: fieldsOf(request, 'authorization'),
    idempotencyKey: fieldsOf(request, 'idempotency-key'),
  };
  const connection = connectionOf(request);
  return {
    head,
    address: connection.address,
    certificate: () => peerCertificateOf(request.socket),
    connection,
    identified: (caller) => {
      exchange.caller = caller;
    },
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

/** All fields of this name (in small letters), as they came: Node keeps the first of some, and joins others. */
function fieldsOf({ rawHeaders }: IncomingMessage, name: string): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const [field = '', value = ''] = [rawHeaders[at], rawHeaders[at + 1]];
    if (field.length === name.length && field.toLowerCase() === name) values.push(value);
  }
  return values;
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

/** The last handler, which Express knows by its four parameters. */
function problems(parts: ApplicationParts) {
  return (error: unknown, request: Request, response: Response, next: NextFunction): void => {
    if (response.headersSent) next(error);
    else refuse(parts, exchangeOf(request), error);
  };
}

/** Tells a caller why not, and the operator of what is broken. */
function refuse({ report, refused }: ApplicationParts, exchange: Exchange, error: unknown): void {
  if (isFault(error)) report(error, exchange.requestId);
  if (error instanceof AddressTooOften) refused(error.address);
  exchange.problem(error);
}
