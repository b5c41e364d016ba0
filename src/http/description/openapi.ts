import { z } from 'zod';

import type { ErrorCode } from '../../escrow/records/errors.js';
import { type Json, isJsonObject } from '../../log/entry/canonical.js';
import { SCHEME } from '../caller/signed.js';
import { AS_SENT } from '../../api/fields.js';
import { KEY_FIELD, MAX_KEY_CHARACTERS } from '../caller/idempotencyKey.js';
import { exampleOf } from './examples.js';
import { RETRY_AFTER_SECONDS, STATUS } from '../problems.js';
import { HEALTH, PROBLEM, READINESS, REPLIES } from '../../api/replies.js';
import type { Route } from '../route.js';
import * as requests from '../../api/orders.js';

type JsonObject = Readonly<Record<string, Json>>;

/** Of the interface, not of the program: a change that breaks a client makes it the next one. */
const API_VERSION = '1.0.0';
const JSON_TYPE = 'application/json';
const PROBLEM_TYPE = 'application/problem+json';
const COMPONENTS = '#/components/schemas/';

/** What any request at all can be refused with. */
const OF_ALL = [
  'request-malformed',
  'request-target-malformed',
  'request-too-large',
  'rate-limited',
  'deadline-exceeded',
  'busy',
  'log-unavailable',
  'store-unavailable',
  'token-unavailable',
  'shutting-down',
  'internal',
] as const satisfies readonly ErrorCode[];
/** What a signed request can be refused with, besides. */
const OF_SIGNED = [
  'request-unsigned',
  'request-signature-invalid',
  'request-expired',
  'request-replayed',
  'caller-unknown',
  'forbidden',
  'clock-differs',
  'record-mismatch',
] as const satisfies readonly ErrorCode[];
/** What an act can be refused with, besides: it may be cut short, by whatever end. */
const OF_ACTS = ['interrupted', 'token-full', 'token-object-missing'] as const satisfies readonly ErrorCode[];
/** What a creation can be refused with, besides, for its Idempotency-Key. */
const OF_CREATIONS = [
  'idempotency-key-reused',
  'idempotency-in-progress',
] as const satisfies readonly ErrorCode[];

/** Everything that a route can be refused with; an answer with another problem is a fault of the daemon. */
export function problemsOf(route: Route): readonly ErrorCode[] {
  const { access, about } = route;
  const common =
    access === 'public'
      ? OF_ALL
      : [
          ...OF_ALL,
          ...OF_SIGNED,
          ...(access.isLedgered ? OF_ACTS : []),
          ...(access.takesIdempotencyKey ? OF_CREATIONS : []),
        ];
  return [...new Set<ErrorCode>([...about.problems, ...common])].sort();
}

/**
 * The OpenAPI 3.1 document of these routes: from the schemas that validate the requests, and from those that the
 * answers are held against. Deterministic: the same routes give the same bytes.
 */
export function openApiOf(routes: readonly Route[]): JsonObject {
  const schemas = new Schemas(routes);
  const paths: Record<string, Record<string, Json>> = { ...PROBES };
  for (const route of routes) {
    const path = templateOf(route.path);
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route, schemas) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'escrowd',
      version: API_VERSION,
      summary: 'Key escrow on a hardware token',
      description:
        'Every request but the public ones is signed by its caller; what changes something answers with the index ' +
        'of its entry in the log. See docs/api.md for how requests are signed, and docs/errors.md for the problems.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      contact: { name: 'The operators of this server', url: 'https://escrowd.invalid/' },
    },
    // for an organisation's own people and apps, wherever it stands
    servers: [{ url: '/', description: 'This server', 'x-internal': true }],
    security: [{ signedRequest: [] }],
    tags: TAGS.map(([name, description]) => ({ name, description })),
    paths: sorted(paths),
    components: {
      schemas: schemas.all(),
      headers: HEADERS,
      securitySchemes: {
        signedRequest: {
          type: 'http',
          scheme: SCHEME,
          description:
            'A compact JWS (RFC 7515) of type escrowd-request+jwt by the caller’s own key, good for this one request.',
        },
        clientCertificate: {
          type: 'mutualTLS',
          description:
            'A client certificate whose SHA-256 the policy binds to an app. Without an Authorization field only.',
        },
      },
    },
  };
}

const TAGS = [
  ['policy', 'Directory and rules.'],
  ['keys', 'Keys, which are born deposited.'],
  ['recoveries', 'Recovery requests: filing, deciding, and what comes of them.'],
  ['grants', 'The use of keys on their owners’ behalf.'],
  ['log', 'The log, and who may read what of it.'],
  ['server', 'What this server is, and whether it works.'],
] as const;

function tagOf(path: string): string {
  const first = path.split('/')[2] ?? '';
  const found = TAGS.find(([name]) => name === first);
  if (found !== undefined) return found[0];
  return ['checkpoint', 'history', 'tiles'].includes(first) ? 'log' : 'server';
}

function templateOf(path: string): string {
  return path.replace(/[:*](\w+)/g, '{$1}');
}

function operationOf(route: Route, schemas: Schemas): JsonObject {
  const { about, access, path, success, takesCertificate } = route;
  const { body } = route.schemas;
  const roles = access === 'public' ? undefined : [...access.roles];
  return {
    operationId: about.name,
    tags: [tagOf(path)],
    summary: about.summary,
    description:
      roles === undefined ? `${about.summary} For everyone.` : `${about.summary} For: ${roles.join(', ')}.`,
    ...(roles === undefined ? { security: [] } : { 'x-escrowd-roles': roles }),
    ...(takesCertificate ? { security: [{ signedRequest: [] }, { clientCertificate: [] }] } : {}),
    parameters: [
      ...schemas.parameters(route, 'path'),
      ...schemas.parameters(route, 'query'),
      ...(access !== 'public' && access.takesIdempotencyKey ? [IDEMPOTENCY_KEY] : []),
    ],
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { [JSON_TYPE]: schemas.shown(body, about.name) } } }),
    responses: {
      [String(success.status)]: {
        description: about.summary,
        headers: refersTo(Object.keys(HEADERS).filter((name) => name !== 'Retry-After')),
        content: { [success.media]: schemas.shown(success.reply, about.name) },
      },
      ...problemResponses(problemsOf(route)),
    },
  };
}

/** The problems of a route by their status; an answer names one of the codes. */
function problemResponses(codes: readonly ErrorCode[]): Readonly<Record<string, JsonObject>> {
  const byStatus = new Map<number, readonly ErrorCode[]>();
  for (const code of codes) byStatus.set(STATUS[code], [...(byStatus.get(STATUS[code]) ?? []), code]);
  const responses = [...byStatus].map(([status, found]) => [
    String(status),
    {
      description: `Refused: ${found.join(', ')}.`,
      headers: refersTo(Object.keys(HEADERS).filter((name) => name !== 'Retry-After' || mayBeRetried(found))),
      content: {
        [PROBLEM_TYPE]: {
          schema: problemSchema(status, found),
        },
      },
    },
  ]);
  return Object.fromEntries(responses) as Readonly<Record<string, JsonObject>>;
}

/** The component `Problem` (RFC 9457 section 3.1), narrowed to one status and its types. */
function problemSchema(status: number, codes: readonly ErrorCode[]): JsonObject {
  // by a name of its own: generators of clients follow no reference into the middle of a schema
  const member = (name: string): JsonObject => ({ $ref: `${COMPONENTS}Problem${name}` });
  return {
    allOf: [{ $ref: `${COMPONENTS}Problem` }],
    type: 'object',
    properties: {
      type: { type: 'string', enum: codes.map((code) => `urn:escrowd:problem:${code}`) },
      title: member('Title'),
      status: { type: 'integer', format: 'int32', const: status, minimum: status, maximum: status },
      detail: member('Detail'),
      instance: member('Instance'),
    },
    required: ['type', 'title', 'status', 'detail', 'instance'],
    additionalProperties: false,
  };
}

function mayBeRetried(codes: readonly ErrorCode[]): boolean {
  return codes.some((code) => RETRY_AFTER_SECONDS[code] !== undefined);
}

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description:
    'The caller’s own name for what is to be made: a string in quotes, which the request’s signature covers as `ik`. Sent ' +
    'again with the same key and body within 24 hours, the request makes nothing more and has the same answer.',
  schema: { type: 'string', pattern: KEY_FIELD.source, minLength: 3, maxLength: 2 * MAX_KEY_CHARACTERS + 2 },
} as const satisfies JsonObject;

const HEADERS = {
  'X-Request-Id': {
    description: 'Names this request in the operator’s log.',
    schema: { type: 'string', format: 'uuid', maxLength: 36 },
  },
  'Retry-After': {
    description: 'After how many seconds another try may succeed.',
    schema: { type: 'integer', format: 'int32', minimum: 0, maximum: 2_147_483_647 },
  },
} as const satisfies JsonObject;

function refersTo(names: readonly string[]): JsonObject {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

const probe = (name: string, summary: string, statuses: readonly string[], schema: string): JsonObject => ({
  get: {
    operationId: name,
    tags: ['server'],
    summary,
    description: `${summary} For everyone.`,
    security: [],
    parameters: [],
    responses: Object.fromEntries(
      statuses.map((status) => [
        status,
        {
          description: summary,
          headers: refersTo(['X-Request-Id']),
          content: { [JSON_TYPE]: { schema: { $ref: `${COMPONENTS}${schema}` } } },
        },
      ]),
    ),
  },
});
const PROBES: Readonly<Record<string, Record<string, Json>>> = {
  '/healthz': probe('getHealth', 'That the daemon lives.', ['200'], 'Health'),
  '/readyz': probe('getReadiness', 'Whether the daemon can work.', ['200', '503'], 'Readiness'),
};

/** The schemas that have names of their own; others are named after their operation. */
const NAMED: Readonly<Record<string, z.ZodType>> = {
  Server: REPLIES.server,
  Key: REPLIES.key,
  Recovery: REPLIES.recovery,
  Grant: REPLIES.grant,
  Scope: REPLIES.scope,
  Proof: REPLIES.proof,
  ForDepositary: REPLIES.forDepositary,
  Policy: REPLIES.policy,
  Choice: REPLIES.choice,
  ReleasedKeys: REPLIES.releasedKeys,
  Grants: REPLIES.grants,
  Signatures: REPLIES.signatures,
  Plaintexts: REPLIES.plaintexts,
  LogEntry: REPLIES.logEntry,
  Bytes: REPLIES.bytes,
  Checkpoint: REPLIES.checkpoint,
  Problem: PROBLEM,
  ProblemTitle: PROBLEM.shape.title,
  ProblemDetail: PROBLEM.shape.detail,
  ProblemInstance: PROBLEM.shape.instance,
  Health: HEALTH,
  Readiness: READINESS,
  Reason: requests.reason,
  Nothing: requests.nothing,
};

/** Every schema of the routes as JSON Schema (draft 2020-12), each under one name. */
class Schemas {
  readonly #registry = z.registry<{ id: string }>();
  readonly #parameters = new Map<string, z.ZodType>();
  readonly #rendered: Readonly<Record<string, JsonObject>>;

  constructor(routes: readonly Route[]) {
    for (const [id, schema] of Object.entries(NAMED)) this.#name(schema, id);
    for (const { about, schemas, success } of routes) {
      const name = `${about.name[0]?.toUpperCase() ?? ''}${about.name.slice(1)}`;
      if (schemas.body !== undefined) this.#name(schemas.body, `${name}Order`);
      this.#name(success.reply, `${name}Reply`);
      for (const place of ['path', 'query'] as const) {
        const id = `parameters:${about.name}:${place}`;
        this.#parameters.set(id, schemas[place]);
      }
    }
    // what clients send is described, not what the daemon makes of it
    const { schemas } = z.toJSONSchema(this.#registry, {
      io: 'input',
      target: 'draft-2020-12',
      uri: (id) => `${COMPONENTS}${id}`,
    });
    this.#rendered = Object.fromEntries(
      Object.entries(schemas)
        .filter(([id]) => !id.startsWith('__'))
        .map(([id, schema]) => [id, cleaned(schema as Json) as JsonObject]),
    );
  }

  #name(schema: z.ZodType, id: string): void {
    if (!this.#registry.has(schema)) this.#registry.add(schema, { id });
  }

  all(): JsonObject {
    return sorted(this.#rendered);
  }

  refer(schema: z.ZodType): JsonObject {
    return { $ref: `${COMPONENTS}${this.#registry.get(schema)?.id ?? ''}` };
  }

  /** The schema and, where it is not of bytes, an example of what has it. */
  shown(schema: z.ZodType, operation: string): JsonObject {
    const reference = this.refer(schema);
    const resolve = (target: string): JsonObject => this.#rendered[target.slice(COMPONENTS.length)] ?? {};
    const example = exampleOf(reference, [operation], resolve);
    return { schema: reference, ...(example === undefined ? {} : { example }) };
  }

  parameters({ about }: Route, place: 'path' | 'query'): readonly JsonObject[] {
    const schema = this.#parameters.get(`parameters:${about.name}:${place}`);
    if (schema === undefined) return [];
    const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' });
    return Object.entries(properties).map(([name, property]) => ({
      name,
      in: place,
      required: place === 'path' || required.includes(name),
      schema: cleaned(property as Json),
    }));
  }
}

/** Without what says where a schema stood; and where a field says what it is as sent, that. */
function cleaned(value: Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(cleaned);
  if (!isJsonObject(value)) return value;
  const asSent = value[AS_SENT];
  const { $ref } = value;
  if (typeof $ref === 'string' && $ref.includes('__shared')) return {};
  const kept = Object.entries(value)
    .filter(([name]) => name !== '$schema' && name !== '$id' && name !== AS_SENT)
    .filter(([name]) => asSent === undefined || name === 'default')
    .map(([name, member]) => [name, cleaned(member)] as const);
  const members = Object.fromEntries([...(isJsonObject(asSent) ? Object.entries(asSent) : []), ...kept]);
  return members['type'] === 'integer' ? { ...members, format: widthOf(members['maximum']) } : members;
}

/** How wide an integer is, by the OpenAPI Format Registry. */
function widthOf(maximum: Json | undefined): 'int32' | 'int64' {
  return typeof maximum === 'number' && maximum <= 0x7fff_ffff ? 'int32' : 'int64';
}

function sorted<T extends Json>(members: Readonly<Record<string, T>>): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1)));
}
