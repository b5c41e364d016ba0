import { verify } from 'node:crypto';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';

import { signRequest } from '../../src/client/requestSignature.js';
import type { Signer } from '../../src/client/identity/signingKey.js';
import { ApiClient } from '../http/apiClient.js';
import { chance } from '../support/chance.js';
import { agree, askToOperate, makeKey } from '../support/life.js';
import { grantOf } from '../support/oneKey.js';
import type { Schema } from '../support/schemaArbitrary.js';
import { SchemaArbitraries } from '../support/schemaArbitrary.js';
import type { PersonName, System } from '../support/system.js';
import { makeSystem, ORIGIN, PEOPLE } from '../support/system.js';
import { transpileTs } from '../support/runTs.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/** So many requests to each operation, half of them hostile. */
const RUNS = 24;
/** Seconds of work in the token each: a few are enough. */
const FEW: Readonly<Record<string, number>> = { generateKey: 8 };

interface Operation {
  readonly operationId: string;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly schema: Schema;
    readonly required: boolean;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, unknown>> }>>;
  readonly 'x-escrowd-roles'?: readonly string[];
}

interface Sent {
  readonly operation: Operation;
  readonly path: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly body: unknown;
  readonly person: PersonName;
  readonly spoil: (typeof SPOILS)[number];
  readonly salt: number;
}

/** Ways in which a request can be wrong besides what it says. */
const SPOILS = [
  'nothing',
  'nothing',
  'nothing',
  'unsigned',
  'signed for another server',
  'signed by nobody',
  'signed for another body',
  'stale',
  'a header of rubbish',
  'an unknown member',
  'a member twice',
  'a member less',
  'an unsafe integer',
  'a rubbish value',
  'a deep value',
  'a body cut short',
  'a body of bytes',
  'another content type',
  'an unknown parameter',
  'a rubbish path',
] as const;

const { bytes } = chance('bodies');
let system: System;
let client: ApiClient;
let document: Schema;
let pool: readonly string[];
let made: { readonly key: string; readonly recovery: string; readonly grant: string };
let signing: { readonly grant: string; readonly publicKeyPem: string };
const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: false });

beforeAll(async () => {
  const plenty = { perSecond: 100_000, burst: 100_000 };
  system = await makeSystem({
    config: () => ({ requests: { perCaller: { ...plenty, atOnce: 64 }, perAddress: plenty } }),
  });
  client = new ApiClient(
    Number(new URL(system.url()).port),
    readFileSync(join(system.directory, 'server.crt'), 'utf8'),
    true,
  );
  const key = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  const active = await askToOperate(system, key.key);
  const grant = grantOf(await agree(system, active.recovery));
  signing = { grant, publicKeyPem: key.publicKeyPem ?? '' };
  const pending = await askToOperate(system, key.key);
  made = { key: key.key, recovery: active.recovery, grant };
  pool = [key.key, active.recovery, pending.recovery, grant, ...Object.keys(PEOPLE), 'PT1H', 'AAAA'];
  document = (await client.send({ method: 'GET', target: '/openapi.json' })).json ?? {};
  ajv.addSchema(document, 'escrowd');
});
afterAll(async () => {
  client.close();
  await system.remove();
});

function operations(): readonly Operation[] {
  const paths = document['paths'] as Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      ...operation,
      path,
      method: method.toUpperCase() as 'GET' | 'POST',
    })),
  );
}

function requestsTo(operation: Operation): fc.Arbitrary<Sent> {
  const arbitraries = new SchemaArbitraries(document, pool);
  const parameters = (place: string): fc.Arbitrary<Record<string, unknown>> => {
    const ours = operation.parameters.filter((parameter) => parameter.in === place);
    const requiredKeys = ours.filter(({ required }) => required).map(({ name }) => name);
    return fc.record(Object.fromEntries(ours.map(({ name, schema }) => [name, arbitraries.of(schema)])), {
      requiredKeys,
    });
  };
  const schema = operation.requestBody?.content['application/json']?.schema;
  const roles: readonly string[] = operation['x-escrowd-roles'] ?? [];
  const everyone = Object.keys(PEOPLE) as PersonName[];
  const allowed = everyone.filter((name) => PEOPLE[name].some((role) => roles.includes(role)));
  return fc.record({
    operation: fc.constant(operation),
    path: parameters('path'),
    query: parameters('query'),
    body: schema === undefined ? fc.constant(undefined) : arbitraries.of(schema),
    person: fc.oneof(
      { arbitrary: fc.constantFrom(...(allowed.length === 0 ? everyone : allowed)), weight: 3 },
      { arbitrary: fc.constantFrom(...everyone), weight: 1 },
    ),
    spoil: fc.constantFrom(...SPOILS),
    salt: fc.nat(),
  });
}

async function send(sent: Sent): ReturnType<ApiClient['send']> {
  const { operation, spoil } = sent;
  const { method } = operation;
  const target = targetOf(sent);
  const body = bodyOf(sent);
  const headers: Record<string, string> = { 'content-length': String(body.length) };
  if (sent.body !== undefined)
    headers['content-type'] = spoil === 'another content type' ? 'text/xml' : 'application/json';
  if (operation['x-escrowd-roles'] !== undefined && spoil !== 'unsigned') {
    const { signer } = system.identity(sent.person);
    const by: Signer =
      spoil === 'signed by nobody'
        ? { ...signer, sign: (typ, claims) => signer.sign(typ, { ...claims, iss: 'nobody' }) }
        : signer;
    const signed = spoil === 'signed for another body' ? bytes(3) : body;
    const audience = spoil === 'signed for another server' ? 'elsewhere' : ORIGIN;
    const now = new Date(Date.now() - (spoil === 'stale' ? 600_000 : 0));
    const jws = await signRequest(by, audience, { method, target, body: signed }, now);
    headers['authorization'] =
      spoil === 'a header of rubbish'
        ? `Escrowd-JWS ${jws.slice(0, sent.salt % jws.length)}`
        : `Escrowd-JWS ${jws}`;
  }
  return client.send({ method, target, headers, body });
}

function targetOf({ operation, path, query, spoil, salt }: Sent): string {
  const rubbish = ['%00', 'x'.repeat(200), '..%2f..', "'%20or%201=1", 'key_0', '%F0%9F%94%91'];
  const filled = operation.path.replace(/\{(\w+)\}/g, (_whole, name: string) =>
    spoil === 'a rubbish path'
      ? (rubbish[salt % rubbish.length] ?? '')
      : encodeURIComponent(String(path[name])),
  );
  const pairs = Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]);
  if (spoil === 'an unknown parameter') pairs.push(['unknown', '1']);
  if (spoil === 'a member twice' && pairs[0] !== undefined) pairs.push(pairs[0]);
  return pairs.length === 0 ? filled : `${filled}?${new URLSearchParams(pairs).toString()}`;
}

function bodyOf({ body, spoil, salt }: Sent): Uint8Array {
  if (body === undefined) return spoil === 'a body of bytes' ? Buffer.from('{}') : new Uint8Array(0);
  const members = Object.entries(body as Schema);
  const spoilt = members[salt % Math.max(members.length, 1)]?.[0] ?? 'reason';
  const rubbish = [
    null,
    -1,
    1.5,
    '',
    '\u0000',
    [],
    {},
    true,
    'x'.repeat(3000),
    '\ud800',
    [null],
    { a: { b: 1 } },
  ];
  const text = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
  switch (spoil) {
    case 'an unknown member':
      return text({ ...(body as Schema), unknown: 1 });
    case 'a member twice':
      return Buffer.from(`{"${spoilt}":1,${JSON.stringify(body).slice(1)}`);
    case 'a member less':
      return text(Object.fromEntries(members.filter(([name]) => name !== spoilt)));
    case 'an unsafe integer':
      return Buffer.from(
        JSON.stringify({ ...(body as Schema), [spoilt]: 0 }).replace(/:0([,}])/, ':9007199254740993$1'),
      );
    case 'a rubbish value':
      return text({ ...(body as Schema), [spoilt]: rubbish[salt % rubbish.length] });
    case 'a deep value':
      return Buffer.from(`{"${spoilt}":${'['.repeat(500)}${']'.repeat(500)}}`);
    case 'a body cut short':
      return text(body).subarray(0, -1);
    case 'a body of bytes':
      return bytes(64);
    case 'nothing':
    case 'unsigned':
    case 'signed for another server':
    case 'signed by nobody':
    case 'signed for another body':
    case 'stale':
    case 'a header of rubbish':
    case 'another content type':
    case 'an unknown parameter':
    case 'a rubbish path':
      return text(body);
  }
}

/** What is wrong with an answer by the document, if anything is. */
function complaint({ operation }: Sent, answer: Awaited<ReturnType<ApiClient['send']>>): string | undefined {
  const { status } = answer;
  if (status >= 500) return 'a fault of the daemon';
  const response = operation.responses[String(status)];
  if (response === undefined) return `the status ${status}, which is not declared`;
  const [media = ''] = Object.keys(response.content);
  if (!(answer.headers['content-type'] ?? '').startsWith(media))
    return `the type ${String(answer.headers['content-type'])}`;
  const at = [
    'paths',
    operation.path,
    operation.method.toLowerCase(),
    'responses',
    String(status),
    'content',
    media,
    'schema',
  ];
  const pointer = at
    .map((step) => encodeURIComponent(step.replace(/~/g, '~0').replace(/\//g, '~1')))
    .join('/');
  const validate = ajv.getSchema(`escrowd#/${pointer}`);
  if (validate === undefined) return 'no schema';
  return validate(media.endsWith('json') ? answer.json : answer.text) === true
    ? undefined
    : ajv.errorsText(validate.errors);
}

describe('the client library', () => {
  const { exports: entries } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  };
  const sources = Object.entries(entries).flatMap(([name, target]) =>
    typeof target === 'string'
      ? []
      : [[name, target, (target['default'] ?? '').replace(/^\.\/dist\/(.*)\.js$/, 'src/$1.ts')] as const],
  );

  test.each(sources)('%s is there, with its types, and is described', (name, target, source) => {
    expect(existsSync(source)).toBe(true);
    expect(target['types']).toBe(target['default']?.replace(/\.js$/, '.d.ts'));
    expect(readFileSync('docs/client.md', 'utf8')).toContain(`\`escrowd${name.slice(1)}\``);
  });

  test('signs in the example of its description', async () => {
    const place = mkdtempSync(join(tmpdir(), 'escrowd-client-'));
    try {
      for (const [, , source] of sources) transpileTs(join(process.cwd(), source), place);
      const map = JSON.stringify(entries).replaceAll('./dist/', './src/');
      writeFileSync(join(place, 'package.json'), `{"name":"escrowd","type":"module","exports":${map}}`);
      mkdirSync(join(place, 'examples'));
      cpSync('docs/examples/sign-with-client.mjs', join(place, 'examples', 'sign.mjs'));
      const [letter, signature] = [join(place, 'letter'), join(place, 'signature')];
      writeFileSync(letter, 'dear customer');
      const args = [
        join(place, 'examples', 'sign.mjs'),
        join(system.directory, 'people', 'app'),
        signing.grant,
        letter,
        signature,
      ];
      const { stdout } = await promisify(execFile)(process.execPath, args);
      expect(stdout).toMatch(/^signed; entry \d+ of the log; 2 uses left\n$/);
      const key = { key: signing.publicKeyPem, dsaEncoding: 'ieee-p1363' } as const;
      expect(verify('sha256', readFileSync(letter), key, readFileSync(signature))).toBe(true);
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  });
});

/** So many requests: each way to be wrong in turn, the first of them nothing. */
function drawn(operation: Operation, numRuns: number): readonly Sent[] {
  return fc
    .sample(requestsTo(operation), numRuns)
    .map((sent, at) => ({ ...sent, spoil: SPOILS[at % SPOILS.length] ?? 'nothing' }));
}

test('whatever is asked, valid or hostile, every answer is one that the document declares, and none is a fault', async () => {
  const complaints: object[] = [];
  for (const operation of operations()) {
    for (const sent of drawn(operation, FEW[operation.operationId] ?? RUNS)) {
      const answer = await send(sent);
      const wrong = complaint(sent, answer);
      if (wrong !== undefined) {
        const { spoil, person } = sent;
        complaints.push({
          of: operation.operationId,
          spoil,
          person,
          wrong,
          answer: answer.text.slice(0, 300),
        });
      }
    }
  }
  expect(complaints.slice(0, 5)).toEqual([]);
});

/** What every question that is asked by its rules can be about. */
const PLAIN = {
  getServer: {},
  listKeys: {},
  getKey: { key: () => made.key },
  listRecoveries: {},
  getRecovery: { recovery: () => made.recovery },
  listGrants: {},
  getGrant: { grant: () => made.grant },
  listEntries: {},
} as const satisfies Readonly<Record<string, Readonly<Record<string, () => string>>>>;

// that all are refused alike would show nothing
test.each(Object.entries(PLAIN))('%s is answered, and as the document says', async (operationId, about) => {
  const operation = operations().find((one) => one.operationId === operationId);
  if (operation === undefined) throw new Error('there is no such operation');
  const path = Object.fromEntries(Object.entries(about).map(([name, id]) => [name, id()]));
  const sent = { operation, path, query: {}, body: undefined, person: 'auditor', spoil: 'nothing' } as const;
  const answer = await send({ ...sent, salt: 0 });
  expect([answer.status, complaint({ ...sent, salt: 0 }, answer)]).toEqual([200, undefined]);
});

test('a key that is taken out of the directory signs nothing from then on, on an open connection as well', async () => {
  await expect(system.client('other-app').grants()).resolves.toBeDefined();
  const { document: policy } = await system.client('admin-1').policy();
  const { principals } = policy as { readonly principals: readonly { readonly id: string }[] };
  const found = principals.find(({ id }) => id === 'other-app');
  await system.applyRules(undefined, { 'other-app': { ...found, keys: [] } });
  await expect(system.client('other-app').grants()).rejects.toMatchObject({ code: 'caller-unknown' });
  // and works again once it is back
  await system.applyRules(undefined, { 'other-app': { ...found } });
  await expect(system.client('other-app').grants()).resolves.toBeDefined();
});
