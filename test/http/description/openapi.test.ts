import { readFileSync } from 'node:fs';

import { Ruleset, Spectral } from '@stoplight/spectral-core';
import owasp from '@stoplight/spectral-owasp-ruleset';
import { oas } from '@stoplight/spectral-rulesets';

import { ERROR_CODES } from '../../../src/escrow/records/errors.js';
import { openApiOf } from '../../../src/http/description/openapi.js';
import { routesOf } from '../../../src/http/routes/index.js';
import { isJsonObject } from '../../../src/log/entry/canonical.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import { PEOPLE } from '../people.js';
import { generatedDocuments } from '../../support/generated.js';
import type { Running } from '../runningServer.js';
import { startServer } from '../runningServer.js';
import { GRANT, KEY, RECOVERY, RELEASED } from '../world.js';

/** The rules of OpenAPI itself, and those of the OWASP API Security Top 10 (2023); what does not fit is said why. */
const RULES = {
  extends: [
    [oas, 'recommended'],
    [owasp, 'all'],
  ],
  rules: {
    // no page of another origin is let in: no answer has a CORS header at all
    'owasp:api8:2023-define-cors-origin': 'off',
    // how much is left is not told; a 429 says when to come back, by Retry-After
    'owasp:api4:2023-rate-limit': 'off',
    // one document for every place: the server's address is relative
    'owasp:api9:2023-inventory-environment': 'off',
  },
};
/** What may stay as it is: `[rule, where]`. */
const EXCEPTIONS: readonly (readonly [RegExp, RegExp])[] = [
  // probes are for the machinery around the daemon: they are never refused
  [/-429$|-500$|-error-validation$|-read-restricted$/, /^paths\.\/(healthz|readyz)\./],
  // the log's proofs and what the server is are for everyone
  [/-read-restricted$/, /^paths\.\/v1\/(checkpoint|log\/(checkpoint|consistency|tile\/\{tile\})|server)\./],
  // what is for everyone asks nobody who they are
  [
    /-401$/,
    /^paths\.\/(healthz|readyz|openapi\.json|v1\/(checkpoint|log\/(checkpoint|consistency|tile\/\{tile\})|server))\./,
  ],
  // what the daemon answers in words is bounded, and no more is known of it
  [/-string-restricted$/, /^components\.schemas\.(?!\w*(Order|Reason)\b)|\.responses\./],
];

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
  const text = readFileSync('docs/openapi.json', 'utf8');

  test('finds nothing but what is excepted, by the rules of OpenAPI and of OWASP', async () => {
    const complaints = await complaintsAbout(text);
    expect(complaints.filter(([rule, at]) => !isExcepted(rule, at))).toEqual([]);
    const needed = EXCEPTIONS.filter(([rule, at]) =>
      complaints.some(([of, where]) => rule.test(of) && at.test(where)),
    );
    expect(needed).toEqual(EXCEPTIONS);
  });

  test('finds what is made wrong on purpose', async () => {
    const wrong = text
      .replace(
        /"security": \[\s*\{\s*"signedRequest": \[\]\s*\},\s*\{\s*"clientCertificate"[^\]]*\]\s*\}\s*\],/,
        '"security": [],',
      )
      .replace('"maxItems"', '"was"')
      .replace('"maxLength"', '"was"')
      .replace('"maximum"', '"was"')
      .replace('"429"', '"418"')
      .replace('"401"', '"419"');
    const complaints = await complaintsAbout(wrong);
    const found = complaints.filter(([of, at]) => !isExcepted(of, at)).map(([of]) => of);
    expect([...new Set(found)].sort()).toEqual(
      [
        'api2:2023-read-restricted',
        'api4:2023-array-limit',
        'api4:2023-integer-limit',
        'api4:2023-rate-limit-responses-429',
        'api4:2023-string-limit',
        'api8:2023-define-error-responses-401',
      ].map((rule) => `owasp:${rule}`),
    );
  });
});

/** What the linter says of a document: `[rule, where]`. */
async function complaintsAbout(text: string): Promise<readonly (readonly [string, string])[]> {
  const linter = new Spectral();
  linter.setRuleset(new Ruleset(RULES));
  const found = await linter.run(text);
  return found.map(({ code, path }) => [String(code), path.join('.')]);
}

function isExcepted(rule: string, at: string): boolean {
  return EXCEPTIONS.some(([of, where]) => of.test(rule) && where.test(at));
}

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

  test('of the interface itself is this document', async () => {
    const { json } = await running.client.send({ method: 'GET', target: '/openapi.json' });
    expect(json).toEqual(document);
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
