import { z } from 'zod';

import { type Act, TAKING_AWAY } from '../escrow/ledger/means.js';
import type { Call, Escrow, OperateCall } from '../escrow/escrow.js';
import { type ErrorCode, EscrowError } from '../escrow/records/errors.js';
import type { ApiRole } from '../escrow/records/principals.js';
import { type Acted, type Answer, type ReplyName, REPLIES, replyOf } from '../api/replies.js';
import type { Json } from '../log/entry/canonical.js';
import { firstIssue } from '../api/fields.js';
import { withProof } from './replies.js';
import { noParameters } from '../api/orders.js';

/** What a request carries besides its signature, as it came. */
export interface RawInput {
  readonly path: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: Json | undefined;
}

/** What a route answers: JSON, plain text, or bytes that never change and may be kept by whom `cache` says. */
export type Reply =
  | {
      readonly status: 200 | 201;
      readonly json: unknown;
      /** Index of the log's entry of what was done. */
      readonly entry?: number;
    }
  | { readonly status: 200; readonly text: string }
  | { readonly status: 200; readonly bytes: Uint8Array; readonly cache: 'public' | 'private' };

/** Who may use a route. A route is closed to everyone whom it does not name. */
export interface Access {
  /** What a refusal is logged as. */
  readonly act: Act;
  /** One of these is enough to get in; whose key or request it is, the core decides. */
  readonly roles: readonly ApiRole[];
  /** Whether the use case goes through the ledger, which records refusals and takes the request's `jti`. */
  readonly isLedgered: boolean;
  /** Whether a caller may name what is made with an Idempotency-Key, and so ask for it again. */
  readonly takesIdempotencyKey: boolean;
}

/** What a route tells the world about itself: openapi.json and docs/errors.md are made of it. */
interface Description {
  /** The name of the operation, unique and stable: clients are generated from it. */
  readonly name: string;
  /** One sentence for people. */
  readonly summary: string;
  /** What it can be refused with, besides what every request can (see `problemsOf`). */
  readonly problems: readonly ErrorCode[];
}

interface RouteForm {
  /** How large a body may be, where it may be larger than others. */
  readonly maxBodyBytes: number | undefined;
  readonly method: 'GET' | 'POST';
  /** Path with parameters, `/v1/keys/:key`. */
  readonly path: string;
  readonly about: Description;
  /** The status of what went well, and the form of the answer then: JSON, plain text, or bytes. */
  readonly success: {
    readonly status: 200 | 201;
    readonly media: 'application/json' | 'text/plain' | 'application/octet-stream';
    readonly reply: z.ZodType;
  };
  readonly schemas: {
    readonly path: z.ZodType;
    readonly query: z.ZodType;
    readonly body: z.ZodType | undefined;
  };
}

/** One row of the table of routes for signed requests, its types erased. */
export interface SignedRoute extends RouteForm {
  readonly access: Access;
  readonly takesCertificate: false;
  /** Reads what the request carries, and returns what to do with it. Throws EscrowError `request-malformed`. */
  readonly prepare: (carried: RawInput) => (escrow: Escrow, call: Call) => Promise<Reply>;
}

/** One row for grants and their use: signed, or on a connection with a client certificate that is bound to an app. */
export interface OperateRoute extends RouteForm {
  readonly access: Access;
  readonly takesCertificate: true;
  readonly prepare: (carried: RawInput) => (escrow: Escrow, call: OperateCall) => Promise<Reply>;
}

/** One row for requests that anybody may make. */
export interface PublicRoute extends RouteForm {
  readonly access: 'public';
  readonly takesCertificate: false;
  readonly prepare: (carried: RawInput) => (escrow: Escrow) => Promise<Reply>;
}

/** A row of the table. */
export type Route = SignedRoute | OperateRoute | PublicRoute;

/** What rows have in common: a row of `ROUTES`, and what the server says of it. A part without a schema must be empty. */
interface Row<P, Q, B, N extends ReplyName> extends Description {
  readonly maxBodyBytes?: number;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly reply: N;
  readonly parameters?: z.ZodType<P>;
  readonly query?: z.ZodType<Q>;
  readonly body?: z.ZodType<B>;
}

/** What a row's `run` is given. */
interface RouteInput<P, Q, B> {
  readonly path: P;
  readonly query: Q;
  readonly body: B;
}

type Empty = Record<string, never>;

/**
 * A route that performs an act: recorded by the ledger, and answered with the index of its entry; where it takes something away,
 * with the proof that this is in the log.
 */
export function act<B, N extends ReplyName, P = Empty>(
  row: Row<P, Empty, B, N> & {
    readonly act: Act;
    readonly roles: readonly ApiRole[];
    readonly body: z.ZodType<B>;
    readonly status?: 201;
    /** For a use case that knows what `call.idempotency` is for. */
    readonly takesIdempotencyKey?: true;
    readonly run: (escrow: Escrow, call: Call, given: RouteInput<P, Empty, B>) => Promise<Acted<Answer<N>>>;
  },
): SignedRoute {
  const isProven = TAKING_AWAY.has(row.act);
  const result = replyOf(REPLIES, row.reply);
  const reply = isProven ? REPLIES.proven(result) : REPLIES.acted(result);
  return {
    ...formOf(row),
    success: { status: row.status ?? 200, media: 'application/json', reply },
    access: {
      act: row.act,
      roles: row.roles,
      isLedgered: true,
      takesIdempotencyKey: row.takesIdempotencyKey === true,
    },
    takesCertificate: false,
    prepare: (carried) => {
      const given = read(row, carried);
      return async (escrow, call) => {
        const acted = await row.run(escrow, call, given);
        const json = isProven ? await withProof(escrow, acted) : acted;
        return { status: row.status ?? 200, json, entry: acted.entry };
      };
    },
  };
}

/** A route by which an app uses a grant: an act that needs no signature of an app with a client certificate. */
export function use<B, N extends ReplyName, P>(
  row: Row<P, Empty, B, N> & {
    readonly act: 'grant.sign' | 'grant.decrypt';
    readonly roles: readonly ['app'];
    readonly takesCertificate: true;
    readonly body: z.ZodType<B>;
    readonly run: (
      escrow: Escrow,
      call: OperateCall,
      given: RouteInput<P, Empty, B>,
    ) => Promise<Acted<Answer<N>>>;
  },
): OperateRoute {
  return {
    ...act({ ...row, problems: [...row.problems, 'certificate-expired'] }),
    takesCertificate: row.takesCertificate,
    prepare: (carried) => {
      const given = read(row, carried);
      return async (escrow, call) => {
        const json = await row.run(escrow, call, given);
        return { status: 200, json, entry: json.entry };
      };
    },
  };
}

/** A route that only reads: recorded only when it is refused. POST when it takes a body. */
export function view<N extends ReplyName, P = Empty, Q = Empty, B = undefined>(
  row: Row<P, Q, B, N> & {
    readonly act: Extract<Act, `${string}.read`>;
    readonly roles: readonly ApiRole[];
    readonly run: (escrow: Escrow, call: Call, given: RouteInput<P, Q, B>) => Promise<Answer<N>>;
  },
): SignedRoute {
  return {
    ...formOf(row),
    success: { status: 200, media: 'application/json', reply: replyOf(REPLIES, row.reply) },
    access: { act: row.act, roles: row.roles, isLedgered: false, takesIdempotencyKey: false },
    takesCertificate: false,
    prepare: (carried) => {
      const given = read(row, carried);
      return async (escrow, call) => ({ status: 200, json: await row.run(escrow, call, given) });
    },
  };
}

/** A route that only reads what an app may see by its client certificate as well: recorded only when it is refused. */
export function viewByApp<N extends ReplyName, P = Empty, Q = Empty>(
  row: Row<P, Q, undefined, N> & {
    readonly act: Extract<Act, `${string}.read`>;
    readonly roles: readonly ApiRole[];
    readonly takesCertificate: true;
    readonly run: (
      escrow: Escrow,
      call: OperateCall,
      given: RouteInput<P, Q, undefined>,
    ) => Promise<Answer<N>>;
  },
): OperateRoute {
  const { run, ...rest } = row;
  const problems = [...row.problems, 'certificate-expired'] as const;
  return {
    ...view<N, P, Q>({ ...rest, problems, run }),
    takesCertificate: row.takesCertificate,
    prepare: (carried) => {
      const given = read(row, carried);
      return async (escrow, call) => ({ status: 200, json: await run(escrow, call, given) });
    },
  };
}

/** A route that reads bytes which never change: recorded only when it is refused. */
export function download<P = Empty>(
  row: Row<P, Empty, undefined, 'bytes'> & {
    readonly act: Extract<Act, `${string}.read`>;
    readonly roles: readonly ApiRole[];
    readonly run: (escrow: Escrow, given: RouteInput<P, Empty, undefined>) => Promise<Uint8Array>;
  },
): SignedRoute {
  return {
    ...formOf(row),
    success: { status: 200, media: 'application/octet-stream', reply: replyOf(REPLIES, row.reply) },
    access: { act: row.act, roles: row.roles, isLedgered: false, takesIdempotencyKey: false },
    takesCertificate: false,
    prepare: (carried) => {
      const given = read(row, carried);
      return async (escrow) => ({ status: 200, bytes: await row.run(escrow, given), cache: 'private' });
    },
  };
}

/** A route for everyone: no signature is looked at, and nothing is recorded. */
export function open<Q = Empty, P = Empty>(
  row: Row<P, Q, undefined, ReplyName> & {
    readonly media?: 'text/plain' | 'application/octet-stream';
    readonly run: (escrow: Escrow, given: RouteInput<P, Q, undefined>) => Promise<Reply>;
  },
): PublicRoute {
  return {
    ...formOf(row),
    success: { status: 200, media: row.media ?? 'application/json', reply: replyOf(REPLIES, row.reply) },
    access: 'public',
    takesCertificate: false,
    prepare: (carried) => {
      const given = read(row, carried);
      return (escrow) => row.run(escrow, given);
    },
  };
}

/** The members that a body may have. What a refused request says beside them is nothing that the route knows, and is not recorded. */
export function membersOf(body: z.ZodType | undefined): readonly string[] {
  if (body instanceof z.ZodObject) return Object.keys(body.shape);
  if (body instanceof z.ZodUnion)
    return body.options.flatMap((option) => (option instanceof z.ZodType ? membersOf(option) : []));
  return [];
}

function formOf<P, Q, B>(row: Row<P, Q, B, ReplyName>): Omit<RouteForm, 'success'> {
  const { method, path, name, summary, problems, maxBodyBytes } = row;
  return { method, path, about: { name, summary, problems }, maxBodyBytes, schemas: schemasOf(row) };
}

function schemasOf<P, Q, B>(row: Row<P, Q, B, ReplyName>): RouteForm['schemas'] {
  return { path: row.parameters ?? noParameters, query: row.query ?? noParameters, body: row.body };
}

/** Where a row has no schema, its type parameter is Empty (undefined for the body), and that is what is read. */
function read<P, Q, B>(row: Row<P, Q, B, ReplyName>, carried: RawInput): RouteInput<P, Q, B> {
  const { path, query, body } = schemasOf(row);
  if (body === undefined && carried.body !== undefined)
    throw new EscrowError('request-malformed', 'This request has no body.');
  return {
    path: readPart(path, carried.path, 'path') as P,
    query: readPart(query, carried.query, 'query') as Q,
    body: (body === undefined ? undefined : readPart(body, carried.body, 'body')) as B,
  };
}

function readPart(schema: z.ZodType, value: unknown, part: string): unknown {
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  throw new EscrowError('request-malformed', `In the ${part}: ${firstIssue(found.error)}.`);
}
