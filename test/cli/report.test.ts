import { writeFileSync } from 'node:fs';

import { REPORTS } from '../../src/audit/reports/reports.js';
import type { Entry } from '../../src/log/entry/entry.js';
import {
  administrators,
  at,
  GRANT,
  goldenEntries,
  KEY,
  logKey,
  OTHER_KEY,
  RECOVERY,
  sealed,
} from '../client/goldenLog.js';
import { type Ran, escrowctl, jsonOf } from './commandLine.js';
import { type Office, openOffice } from './office.js';

/*
 * The reports of a small log, read offline: olga's two keys, a request for both, two approvals, a grant for each, three uses, and
 * what was refused. What a longer log looks like is in test/audit/auditorsPage.test.ts.
 */
let office: Office;
let entries: readonly Entry[];
beforeAll(async () => {
  office = await openOffice();
  entries = await goldenEntries();
  writeFileSync(office.path('log.ndjson'), sealed(entries), { mode: 0o600 });
  writeFileSync(office.path('administrators.json'), JSON.stringify(administrators), { mode: 0o600 });
});
afterAll(() => office.close());

const report = (name: string, ...more: readonly string[]): Promise<Ran> =>
  escrowctl(['report', name, '--from-export', office.path('log.ndjson'), '--log-key', logKey.vkey, ...more], {
    now: new Date('2026-03-02T00:00:00.000Z'),
  });

type Rows = readonly Readonly<Record<string, unknown>>[];
async function rowsOf(name: string, ...more: readonly string[]): Promise<Rows> {
  const ran = await report(name, '--json', ...more);
  expect(ran).toMatchObject({ exit: 0, err: '' });
  return jsonOf(ran)['rows'] as Rows;
}

describe('what each report tells', () => {
  const common = { owner: 'olga', ownerName: 'olga \u00fc\u20ac' };

  test('access: who can bring back each key, and that it was', async () => {
    expect(await rowsOf('access')).toMatchObject([
      {
        ...common,
        ...{
          keys: [KEY],
          purpose: 'operate',
          coverage: 'depends on one',
          singlePoints: ['dana'],
          rule: 'all',
        },
        ...{ live: ['dana and erin', 'dana and finn'], lost: 0, unable: [], generation: 1, bornBy: 'olga' },
        ...{ broughtBackFor: 'operate', broughtBackAt: at(9), whence: 'in the token', entry: 3 },
      },
      { keys: [OTHER_KEY], lastUsedAt: null, broughtBackAt: at(9) },
    ]);
  });

  test('access, as it was before the keys were brought back', async () => {
    const rows = await rowsOf('access', '--to', at(8), '--never-brought-back');
    expect(rows).toMatchObject([{ keys: [KEY] }, { keys: [OTHER_KEY] }]);
    expect(await rowsOf('access', '--never-brought-back')).toEqual([]);
    expect(await rowsOf('access', '--lost')).toEqual([]);
    // the attempt to make the second key stands at that minute
    expect(await rowsOf('access', '--to', at(3))).toMatchObject([{ keys: [KEY] }]);
    expect(await rowsOf('access', '--from', at(3))).toMatchObject([{ keys: [OTHER_KEY] }]);
  });

  test('requests: who asked and approved, and what came of it', async () => {
    expect(await rowsOf('requests')).toMatchObject([
      {
        ...common,
        ...{
          recovery: RECOVERY,
          requester: 'dana',
          keys: [KEY, OTHER_KEY],
          purpose: 'operate',
          app: 'mailer',
        },
        ...{ approvedBy: ['dana', 'erin'], approvedAt: [at(6), at(8)], deniedBy: [], status: 'active' },
        ...{
          endedAt: at(9),
          endedBy: 'escrowd',
          maxUses: 5,
          reason: 'mail while olga is away',
          filedAt: at(4),
        },
      },
    ]);
    expect(await rowsOf('requests', '--open')).toEqual([]);
    expect(await rowsOf('requests', '--open', '--to', at(7))).toMatchObject([{ status: 'pending' }]);
    expect(await rowsOf('requests', '--from', at(20))).toEqual([]);
  });

  test('decisions: each by whom, and what came of it', async () => {
    expect(await rowsOf('decisions')).toMatchObject([
      { who: ['dana'], decision: 'approves', outcome: 'done', time: at(6), asked: 'mail while olga is away' },
      { who: ['finn'], decision: 'approves', outcome: 'denied: share-wrong-key' },
      { who: ['erin'], decision: 'approves', outcome: 'done' },
    ]);
    expect(await rowsOf('decisions', '--person', 'finn')).toHaveLength(1);
  });

  test('grants: how they stood', async () => {
    expect(await rowsOf('grants')).toMatchObject([
      {
        ...{ grant: GRANT, app: 'mailer', used: 4, maxUses: 5, status: 'revoked', endedAt: at(13) },
        ...{ approvedBy: ['dana', 'erin'], requester: 'dana' },
      },
      { keys: [OTHER_KEY], used: 0, status: 'open' },
    ]);
    expect(await rowsOf('grants', '--open')).toMatchObject([{ keys: [OTHER_KEY] }]);
    expect(await rowsOf('grants', '--open', '--to', at(12))).toHaveLength(2);
    expect(await rowsOf('grants', '--from', at(14))).toHaveLength(1);
    expect(await rowsOf('grants', '--from', at(70))).toEqual([]);
  });

  test('uses: also those that came to nothing, and only those outside of hours', async () => {
    expect(await rowsOf('uses')).toMatchObject([
      { app: 'mailer', use: 'sign', count: 2, outcome: 'done', time: at(10), mechanism: 'ES256' },
      { count: 1, outcome: 'failed: token-unavailable' },
      { count: 1, outcome: 'done' },
      { outcome: 'denied: grant-exhausted' },
      { outcome: 'denied: grant-exhausted' },
    ]);
    // a Sunday
    expect(await rowsOf('uses', '--outside', '08:00-18:00')).toHaveLength(5);
    expect(await rowsOf('uses', '--outside', 'mon-sun 12:11-18:00')).toHaveLength(1);
    expect(await rowsOf('uses', '--outside', 'mon-sun 08:00-18:00')).toEqual([]);
  });

  test('refusals: what was denied, and what has failed', async () => {
    expect(await rowsOf('refusals')).toMatchObject([
      { who: 'finn', act: 'recovery.approve', outcome: 'denied: share-wrong-key', times: 1 },
      { who: 'mailer', outcome: 'failed: token-unavailable' },
      { who: 'mailer', outcome: 'denied: grant-exhausted' },
      { who: 'mailer', outcome: 'denied: grant-exhausted' },
    ]);
  });

  test('policy: whose signatures were found to hold; nothing is known of them without the first administrators', async () => {
    const known = await rowsOf('policy', '--administrators', office.path('administrators.json'));
    expect(known).toMatchObject([
      { act: 'policy.apply', signedBy: ['ann', 'bob'], control: '2 people', version: 1, outcome: 'done' },
    ]);
    expect(known[0]?.['changes']).toEqual(['the first policy: 7 people and apps, 2 rules']);
    expect(await rowsOf('policy')).toMatchObject([{ signedBy: [], control: 'not known' }]);
    expect((await report('policy')).out).toContain('--administrators FILE');
  });
});

test('acts: everything, by name of the act and by any text', async () => {
  const all = await rowsOf('acts');
  expect(all).toHaveLength(
    entries.filter(
      ({ phase, request, certificate }) => phase === 'attempted' || (request ?? certificate) !== undefined,
    ).length,
  );
  expect(await rowsOf('acts', '--act', 'grant.')).toHaveLength(6);
  expect(await rowsOf('acts', '--act', 'grant.revoke')).toMatchObject([
    { who: 'olga', outcome: 'done', keys: [KEY] },
  ]);
  expect(await rowsOf('acts', '--text', 'WHILE olga is')).toMatchObject([
    { act: 'recovery.request', who: 'dana' },
  ]);
  expect(await rowsOf('acts', '--text', 'exhausted')).toHaveLength(2);
  expect(await rowsOf('acts', '--text', 'nowhere')).toEqual([]);
  expect(await rowsOf('acts', '--person', 'finn')).toHaveLength(1);
});

test('what a report rests on is told with it', async () => {
  const ran = await report('access', '--json', '--from', '2026', '--to', '2026');
  expect(jsonOf(ran)).toMatchObject({
    report: 'access',
    period: { from: '2026-01-01T00:00:00.000Z', to: '2027-01-01T00:00:00.000Z', zone: 'UTC' },
    evidence: { size: entries.length, against: false, firstAt: at(1), lastAt: at(13), reported: 0 },
    policyVersion: 1,
  });
});

describe.each(REPORTS.map(({ name }) => name))('the report %s', (name) => {
  test('is not made of a log that cannot be believed', async () => {
    const spoiled = entries.map((entry, index) =>
      index === 12 ? { ...entry, detail: { ...entry.detail, requestHash: '00'.repeat(32) } } : entry,
    );
    writeFileSync(office.path('spoiled.ndjson'), sealed(spoiled), { mode: 0o600 });
    for (const form of [[], ['--csv'], ['--json']]) {
      const ran = await report(name, '--from-export', office.path('spoiled.ndjson'), ...form);
      expect(ran.exit).toBe(5);
      expect(ran.out).not.toContain('olga');
      expect(ran.out + ran.err).toContain('no report is made of a log that cannot be believed');
    }
  });

  test('has every column in CSV and in JSON, and some in its table', async () => {
    const { columns } = REPORTS.find((one) => one.name === name) ?? { columns: [] };
    const csv = await report(name, '--csv');
    expect(csv.exit).toBe(0);
    const [heading = '', ...lines] = csv.out.trimEnd().split('\r\n');
    for (const column of columns) expect(heading).toContain(`"${column.heading}"`);
    const rows = await rowsOf(name);
    expect(lines).toHaveLength(rows.length);
    for (const row of rows) for (const column of columns) expect(row).toHaveProperty(column.name);
    const table = (await report(name)).out;
    for (const { heading: shown, isMore } of columns)
      if (isMore !== true) expect(table).toContain(shown.toUpperCase());
  });
});

describe('a filter', () => {
  test.each<[string, string, readonly string[], number]>([
    ['by owner', 'access', ['--owner', 'olga'], 2],
    ['by another owner', 'access', ['--owner', 'dana'], 0],
    ['by the beginning of a key', 'access', ['--key', 'key_1'], 1],
    ['by app', 'uses', ['--app', 'mailer'], 5],
    ['by a person who is in every quorum', 'access', ['--person', 'dana'], 2],
    ['by a person who has had no part', 'requests', ['--person', 'finn'], 0],
    ['by two things at once', 'refusals', ['--owner', 'olga', '--person', 'finn'], 1],
  ])('%s', async (_name, name, filter, count) => {
    expect(await rowsOf(name, ...filter)).toHaveLength(count);
  });

  test.each<[string, readonly string[], RegExp]>([
    ['an owner whom nobody has listed', ['--owner', 'olgaa'], /no directory/],
    ['an app whom nobody has listed', ['--app', 'mail'], /no directory/],
    ['a department that nobody is in', ['--department', 'finance'], /nobody is in it/],
    ['a key that there is not', ['--key', 'key_9'], /no such key/],
    ['the beginning of two keys', ['--key', 'key_'], /of 2 keys/],
    ['a time zone that there is not', ['--zone', 'Mars/Olympus'], /no time zone|is not a time zone/],
    ['a time that is none', ['--from', 'soon'], /is not a time/],
    ['a period that ends before it begins', ['--from', '2026', '--to', '2025'], /ends before it begins/],
    ['two forms at once', ['--csv', '--json'], /choose one/],
  ])('by %s is an error, and no empty report', async (_name, filter, said) => {
    const ran = await report('access', ...filter);
    expect(ran.exit).toBe(2);
    expect(ran.out + ran.err).toMatch(said);
  });

  test('hours that are none are an error', async () => {
    expect((await report('uses', '--outside', 'always')).exit).toBe(2);
  });
});

test('what somebody wrote is told as text, and is no formula', async () => {
  const ran = await report('requests', '--csv');
  expect(ran.out).toContain('"mail while olga is away"');
  expect(ran.err).toContain('1 lines, of 26 entries that were verified');
});
