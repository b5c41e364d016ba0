import { readFileSync } from 'node:fs';

import { createConfig, lintFromString } from '@redocly/openapi-core';

import { ERROR_CODES } from '../../src/escrow/errors.js';
import { openApiOf } from '../../src/http/openapi.js';
import { routesOf } from '../../src/http/routes.js';
import { isJsonObject } from '../../src/http/strictJson.js';
import type { Json } from '../../src/log/canonical.js';
import { PEOPLE } from './people.js';
import { generatedDocuments } from '../support/generated.js';
import type { Running } from './runningServer.js';
import { startServer } from './runningServer.js';
import { GRANT, KEY, RECOVERY, RELEASED } from './world.js';

const typed = (type: string): object[] => [
  { subject: { type: 'Schema', property: 'type' }, assertions: { defined: true, const: type } },
];
/** Of the OWASP API Security Top 10 (2023) what a document can show: API2, API3 and API4, and RFC 9457 for API8. */
const LINT_RULES: Record<string, object | 'error'> = {
  'security-defined': 'error',
  'no-empty-servers': 'error',
  'operation-4xx-problem-details-rfc7807': 'error',
  'operation-operationId-url-safe': 'error',
  'response-contains-header': {
    severity: 'error',
    names: { '2XX': ['X-Request-Id'], '4XX': ['X-Request-Id'] },
  },
  'rule/bounded-lists': {
    subject: { type: 'Schema' },
    where: typed('array'),
    assertions: { required: ['maxItems'] },
  },
  'rule/bounded-texts': {
    subject: { type: 'Schema' },
    where: typed('string'),
    assertions: { requireAny: ['maxLength', 'enum', 'const'] },
  },
  'rule/bounded-numbers': {
    subject: { type: 'Schema' },
    where: typed('integer'),
    assertions: { required: ['minimum', 'maximum'] },
  },
  'rule/closed-objects': {
    subject: { type: 'Schema' },
    where: typed('object'),
    assertions: { required: ['additionalProperties'] },
  },
  'rule/defended': {
    subject: { type: 'Responses' },
    assertions: { required: ['429', '500', '503'] },
  },
};
/** Probes are for the machinery around the daemon: they are never refused. */
const isOfProbe = (rule: string | undefined, at: string | undefined): boolean =>
  /^#\/paths\/~1(healthz|readyz)\//.test(at ?? '') &&
  /^(operation-4xx-response|rule\/defended)$/.test(rule ?? '');

const routes = routesOf({ identityKey: {}, logKey: '' });
const document = openApiOf(routes);

describe('what is generated', () => {
  test.each(Object.entries(generatedDocuments()))('%s is not stale', (file, text) => {
    // npm run generate
    expect(readFileSync(file, 'utf8') === text).toBe(true);
  });

  test('every error code has its section', () => {
    const text = readFileSync('docs/errors.md', 'utf8');
    const sections = [...text.matchAll(/^## (.*)$/gm)].map(([, code]) => code);
    expect(sections).toEqual(Object.keys(ERROR_CODES));
  });
});

describe('the document', () => {
  test('has every route once, under a name of its own', () => {
    const names = routes.map(({ about }) => about.name);
    expect(new Set(names).size).toBe(names.length);
    const described = Object.entries(document['paths'] as Record<string, Record<string, Json>>).flatMap(
      ([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const served = routes.map(({ method, path }) => `${method} ${path.replace(/[:*](\w+)/g, '{$1}')}`);
    expect(described.sort()).toEqual([...served, 'GET /healthz', 'GET /readyz'].sort());
  });

  test('refers only to what it has', () => {
    const schemas = (document['components'] as Record<string, Record<string, Json>>)['schemas'] ?? {};
    const dangling = nodes(document).flatMap(({ node: { $ref } }) =>
      typeof $ref === 'string' &&
      $ref.startsWith('#/components/schemas/') &&
      !(($ref.split('/')[3] ?? '') in schemas)
        ? [$ref]
        : [],
    );
    expect(dangling).toEqual([]);
  });

  const schemaNodes = nodes(document).filter(({ at }) => /\.schemas?(\.|$)/.test(at));
  const found = (isWrong: (node: Readonly<Record<string, Json>>) => boolean): string[] =>
    schemaNodes.filter(({ node }) => isWrong(node)).map(({ at }) => at);

  test('closes every object that clients send or are sent', () => {
    const open = found(
      (node) =>
        isJsonObject(node['properties']) &&
        node['type'] === 'object' &&
        node['additionalProperties'] !== false,
    );
    expect(open).toEqual([]);
  });

  test('bounds every list and every text, and says what a text is made of', () => {
    const isText = (node: Readonly<Record<string, Json>>): boolean => node['type'] === 'string';
    const isChoice = (node: Readonly<Record<string, Json>>): boolean => 'enum' in node || 'const' in node;
    expect(found((node) => node['type'] === 'array' && typeof node['maxItems'] !== 'number')).toEqual([]);
    expect(found((node) => isText(node) && !isChoice(node) && typeof node['maxLength'] !== 'number')).toEqual(
      [],
    );
    const asked = schemaNodes.filter(({ at }) => /Order\b|Reason|parameters/.test(at));
    const vague = asked.filter(({ node }) => isText(node) && !isChoice(node) && !('pattern' in node));
    expect(vague.map(({ at }) => at)).toEqual([]);
  });

  test('bounds every number', () => {
    expect(
      found(
        ({ type, minimum, maximum }) =>
          type === 'integer' && (typeof minimum !== 'number' || typeof maximum !== 'number'),
      ),
    ).toEqual([]);
    expect(found(({ type }) => type === 'number')).toEqual([]);
  });
});

describe('the linter', () => {
  test('finds nothing, with its strict rules and with those about security', async () => {
    const config = await createConfig({ extends: ['recommended-strict'], rules: LINT_RULES });
    const source = readFileSync('docs/openapi.json', 'utf8');
    const found = await lintFromString({ source, absoluteRef: '/openapi.json', config });
    const complaints = found.map(({ ruleId, message, location: [place] }) => [
      ruleId,
      message,
      place?.pointer,
    ]);
    expect(complaints.filter(([rule, , at]) => !isOfProbe(rule, at))).toEqual([]);
  });

  test('finds what is made wrong on purpose', async () => {
    const config = await createConfig({ rules: LINT_RULES });
    const source = readFileSync('docs/openapi.json', 'utf8')
      .replace(/"security": \[\s*\{\s*"signedRequest": \[\]\s*\}\s*\],/, '')
      .replace('"maxItems"', '"was"')
      .replace('"maxLength"', '"had"')
      .replace('"429"', '"418"');
    const found = await lintFromString({ source, absoluteRef: '/openapi.json', config });
    const rules = new Set(found.map(({ ruleId }) => ruleId));
    expect([...rules]).toEqual(
      expect.arrayContaining([
        'security-defined',
        'rule/bounded-lists',
        'rule/bounded-texts',
        'rule/defended',
      ]),
    );
  });
});

describe('an answer', () => {
  let running: Running;
  beforeAll(async () => {
    running = await startServer();
  });
  afterAll(() => running.stop());

  const reads = routes.filter(({ method }) => method === 'GET');
  test.each(reads.map((route) => [route.path, route] as const))(
    'of GET %s is what the document says, to everyone whom it is open to',
    async (path, route) => {
      const target = targetOf(path).replace('entries/*tile', 'entries/000.p/1').replace('*tile', '0/000.p/1');
      const people = Object.values(PEOPLE).filter(
        ({ roles }) =>
          route.access !== 'public' &&
          roles.some((role) => (route.access as { roles: readonly string[] }).roles.includes(role)),
      );
      const answers =
        route.access === 'public'
          ? [await running.client.send({ method: 'GET', target })]
          : await Promise.all(people.map((person) => running.client.call(person, 'GET', target)));
      const good = answers.filter(({ status }) => status === 200);
      expect(good.length).toBeGreaterThan(0);
      for (const answer of good) {
        const said = route.success.media === 'application/json' ? answer.json : answer.text;
        expect(route.success.reply.parse(said)).toEqual(said);
      }
    },
  );

  test('of a release is shown to its recipient as the document says', async () => {
    const target = `/v1/recoveries/${RELEASED}`;
    const { json } = await running.client.call(PEOPLE.dana, 'GET', target);
    const route = routes.find(({ about }) => about.name === 'getRecovery');
    expect(route?.success.reply.parse(json)).toEqual(json);
    expect(json).toHaveProperty('release');
  });

  test('says the interface to machines and people, the page without scripts', async () => {
    const { json } = await running.client.send({ method: 'GET', target: '/openapi.json' });
    expect(json).toEqual(document);
    const page = await running.client.send({ method: 'GET', target: '/docs' });
    expect(page.headers['content-security-policy']).toMatch(/^default-src 'none'; style-src 'sha256-/);
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.text).not.toMatch(/<script|javascript:|https?:\/\/(?!escrowd\.invalid)/i);
    for (const { about } of routes) expect(page.text).toContain(`id="${about.name}"`);
  });
});

function targetOf(path: string): string {
  const filled = path.replace(':key', KEY).replace(':recovery', RECOVERY).replace(':grant', GRANT);
  return path === '/v1/log/consistency' ? `${filled}?old=1&new=8` : filled;
}

/** Every object of a document, and where it stands. */
function nodes(
  value: Json,
  at = '',
): readonly { readonly at: string; readonly node: Readonly<Record<string, Json>> }[] {
  if (Array.isArray(value))
    return (value as readonly Json[]).flatMap((item, index) => nodes(item, `${at}.${index}`));
  if (!isJsonObject(value)) return [];
  return [
    { at, node: value },
    ...Object.entries(value).flatMap(([name, member]) => nodes(member, `${at}.${name}`)),
  ];
}
