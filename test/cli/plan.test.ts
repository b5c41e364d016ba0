import { writeFileSync } from 'node:fs';

import { createIdentity } from '../../src/client/identity/newIdentity.js';
import { policyDocumentHash } from '../../src/client/policy/policyDocument.js';
import type { Answer } from '../client/fakeServer.js';
import { problem } from '../client/fakeServer.js';
import type { Ran } from './commandLine.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.programs);

let office: Office;
beforeEach(async () => {
  office = await openOffice();
});
afterEach(() => office.close());

const HASH = 'ab'.repeat(32);
const key = (at: number): string => `key_${String(at).repeat(32)}`;
const route = (line: string, answer: Answer): Map<string, unknown> =>
  office.server.routes.set(line, () => answer);
const posts = (target: string): readonly unknown[] =>
  office.server.posted
    .filter((one) => one.target === target)
    .map(({ body }) => JSON.parse(body.toString()) as unknown);

const DORA = { depositary: 'dora', because: 'not-listed' };
/** What a plan does to keys: of three pages, one of them empty. */
const PAGES: readonly { readonly next?: string; readonly keys: readonly object[] }[] = [
  {
    next: 'page-2',
    keys: [
      {
        ...{ key: key(1), owner: 'olga', label: 'mail' },
        purposes: [
          {
            purpose: 'operate',
            before: 'covered',
            after: 'lost',
            live: [],
            singlePoints: [],
            unable: [DORA],
          },
        ],
      },
    ],
  },
  { next: 'page-3', keys: [] },
  {
    keys: [
      {
        ...{ key: key(2), owner: 'otto', label: '' },
        purposes: [
          {
            ...{ purpose: 'release', before: 'covered', after: 'one-quorum', unable: [DORA] },
            ...{ live: [['dana', 'dave']], singlePoints: ['dana', 'dave'] },
          },
        ],
      },
      {
        ...{ key: key(3), owner: 'otto', label: 'x\u202ey' },
        purposes: [
          {
            ...{ purpose: 'operate', before: 'covered', after: 'single-point', unable: [DORA] },
            ...{
              live: [
                ['dana', 'dave'],
                ['dana', 'zed'],
              ],
              singlePoints: ['dana'],
            },
          },
        ],
      },
    ],
  },
];

async function losing(counts: object = { lost: 1, oneQuorum: 1, singlePoint: 1 }): Promise<string> {
  await createIdentity(office.path('eve'), { id: 'eve', depositary: false, deliveryKey: false });
  const file = office.path('escrow.yaml');
  const people = ['dana', 'eve'].map(
    (id) => `  - { id: ${id}, kind: person, name: ${id}, roles: [admin], keysFrom: ${id}/public.json }`,
  );
  writeFileSync(file, ['version: 1', 'principals:', ...people, 'rules: []'].join('\n'));
  const standing = { version: 4, hash: HASH, signersNeeded: 2, enrolled: [], deposits: [] };
  route('GET /v1/policy', { json: { version: 4, hash: HASH } });
  route('GET /v1/policy/standing', { json: standing });
  office.server.routes.set('POST /v1/policy/plan', () => {
    const { document, after } = posts('/v1/policy/plan').at(-1) as { document: unknown; after?: string };
    const page = PAGES[after === undefined ? 0 : PAGES.findIndex(({ next }) => next === after) + 1];
    const losses = { ...counts, isTokenAsked: true, ...page };
    return {
      json: { hash: policyDocumentHash(document), base: 4, replaces: HASH, signersNeeded: 2, losses },
    };
  });
  route('POST /v1/policy', { json: { result: { version: 5, hash: 'cd'.repeat(32) }, entry: 3 } });
  return file;
}

async function apply(file: string, ...more: readonly string[]): Promise<Ran> {
  const signature = office.path('dana.jws');
  await escrowctl(['plan', '-f', file, '--sign', signature, '--yes', '--as', office.dana]);
  return escrowctl(['apply', '-f', file, '--signature', signature, '--as', office.dana, ...more]);
}

test('a plan lists the keys that it leaves covered worse, with whose they are, over all pages', async () => {
  const file = await losing();
  const ran = await escrowctl(['plan', '-f', file, '--as', office.dana]);
  expect(ran.exit).toBe(0);
  const said = ran.out.split('\n');
  const from = said.indexOf('Keys that nobody could bring back any more: 1');
  expect(said.slice(from, from + 11)).toEqual([
    'Keys that nobody could bring back any more: 1',
    `  ${key(1)}  olga  "mail"`,
    '    to operate: 0: nobody can bring it back; dora is not in the directory',
    '',
    'Keys that would be left with one quorum: 1',
    `  ${key(2)}  otto`,
    '    to release: 1, none without dana or dave; dora is not in the directory',
    '',
    'Keys that would depend on one person: 1',
    `  ${key(3)}  otto  "x\\u{202e}y"`,
    '    to operate: 2, none without dana; dora is not in the directory',
  ]);
  const json = jsonOf(await escrowctl(['plan', '-f', file, '--as', office.dana, '--json']));
  expect(json).toMatchObject({
    losses: { lost: 1, keys: [{ key: key(1) }, { key: key(2) }, { key: key(3) }] },
  });
});

test.each([[[]], [['--accept-unrecoverable', '2']], [['--accept-unrecoverable', '0']]])(
  'apply sends nothing with %j where one key would be lost, names it, and exits with 8',
  async (more) => {
    const ran = await apply(await losing(), ...more);
    expect(ran.exit).toBe(8);
    expect(ran.out).toContain(key(1));
    expect(ran.out).toContain('Not applied: nobody could bring this key back any more.');
    expect(ran.out).toMatch(/Next: change the file; or, to lose them: .* --accept-unrecoverable 1/);
    expect(posts('/v1/policy')).toEqual([]);
  },
);

test('apply sends the number that is accepted, and says what to look at then', async () => {
  const ran = await apply(await losing(), '--accept-unrecoverable', '1');
  expect(ran.exit).toBe(0);
  expect(posts('/v1/policy')).toMatchObject([{ acceptUnrecoverable: 1 }]);
  expect(ran.out).toContain('Next: escrowctl coverage');
});

test('a number where nothing is lost is refused as well, and without one nothing of it is sent', async () => {
  const file = await losing({ lost: 0, oneQuorum: 1, singlePoint: 1 });
  const ran = await apply(file, '--accept-unrecoverable', '1');
  expect([ran.exit, posts('/v1/policy')]).toEqual([8, []]);
  expect(ran.out).toContain('no key would be left without a live quorum, and 1 was accepted');
  expect((await apply(file)).exit).toBe(0);
  expect(posts('/v1/policy')).toHaveLength(1);
  expect(posts('/v1/policy')[0]).not.toHaveProperty('acceptUnrecoverable');
});

test('what the server counts otherwise is its last word: exit 8 too, and what to do', async () => {
  const file = await losing();
  route('POST /v1/policy', problem(422, 'unrecoverable-not-accepted'));
  const ran = await apply(file, '--accept-unrecoverable', '1');
  expect(ran.exit).toBe(8);
  expect(ran.err).toContain('refused (unrecoverable-not-accepted)');
  expect(ran.err).toContain('escrowctl plan -f FILE; then give that number: --accept-unrecoverable N');
});

test.each(['-1', 'x', '1.5', '01', ''])('%j is no number of keys: nothing is sent', async (text) => {
  const ran = await apply(await losing(), `--accept-unrecoverable=${text}`);
  expect([ran.exit, posts('/v1/policy')]).toEqual([2, []]);
});
