import { csvField } from '../../src/cli/keyCoverage/csv.js';
import { folded } from '../../src/cli/keyCoverage/folded.js';
import { escaped } from '../../src/cli/keyCoverage/html.js';
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

const key = (at: number): string => `key_${String(at).repeat(32)}`;
const HASH = 'ab'.repeat(32);
const GONE = { depositary: 'dora', because: 'not-listed' };

/** What the server says of a key that anybody can be spared for, but for what is given. */
function covered(at: number, but: object = {}, purpose: object = {}): Readonly<Record<string, unknown>> {
  const live = [
    ['dana', 'dave'],
    ['dana', 'dora'],
    ['dave', 'dora'],
  ];
  return {
    ...{ key: key(at), owner: 'olga', department: 'finance', label: '', spec: 'ec-p256', use: 'sign' },
    ...{ rule: 'signing', createdAt: '2026-03-01T12:00:00.000Z', generation: 1, isAsLogged: true },
    coverage: 'covered',
    purposes: [
      {
        ...{ purpose: 'operate', coverage: 'covered', quorums: 3, kek: 'kek:operate:sign:v1', live },
        ...{ singlePoints: [], unable: [] },
        ...purpose,
      },
    ],
    ...but,
  };
}

const LOST = { coverage: 'lost', live: [], singlePoints: [], unable: [GONE] };
const lost = (at: number, but: object = {}): object => covered(at, { coverage: 'lost', ...but }, LOST);

/** What is served, by the cursor. */
const pageOf = new Map<string, () => object>();

/** Serves these keys in pages of two. */
function serve(keys: readonly object[], facts: object = {}): void {
  const about = { policyVersion: 7, policyHash: HASH, isTokenAsked: true };
  const totals = { keys: keys.length, lost: 0, oneQuorum: 0, singlePoint: 0, covered: keys.length };
  const pages = Array.from({ length: Math.max(1, Math.ceil(keys.length / 2)) }, (_, at) => ({
    ...{ ...about, totals, items: keys.slice(at * 2, at * 2 + 2) },
    ...(at * 2 + 2 < keys.length ? { next: `page-${at + 1}` } : {}),
    ...facts,
  }));
  pages.forEach((page, at) => {
    pageOf.set(at === 0 ? '' : `page-${at}`, () => page);
  });
  office.server.routes.set('GET /v1/coverage', ({ target }) => {
    const query = new URL(target, 'https://x').searchParams;
    if (query.get('limit') !== '200') return problem(400, 'request-malformed');
    return { json: pageOf.get(query.get('after') ?? '')?.() };
  });
}

function coverage(...more: readonly string[]): Promise<Ran> {
  return escrowctl(['coverage', '--as', office.dana, ...more]);
}

test('all keys of all pages are counted, and the exit is 0 while every one can be brought back', async () => {
  serve([covered(1), covered(2, { owner: 'otto', department: undefined }), covered(3)]);
  const ran = await coverage();
  expect(ran.exit).toBe(0);
  expect(ran.out.split('\n')).toEqual([
    '3 keys under policy version 7.',
    '',
    '     KEYS  LOST  ONE QUORUM  ONE PERSON  COVERED',
    'all  3     0     0           0           3',
    '',
    'RULE     KEYS  LOST  ONE QUORUM  ONE PERSON  COVERED',
    'signing  3     0     0           0           3',
    '',
    'DEPARTMENT  KEYS  LOST  ONE QUORUM  ONE PERSON  COVERED',
    '(none)      1     0     0           0           1',
    'finance     2     0     0           0           2',
    '',
    'OWNER  KEYS  LOST  ONE QUORUM  ONE PERSON  COVERED',
    'olga   2     0     0           0           2',
    'otto   1     0     0           0           1',
    '',
    'UNDER                KEYS  STATE',
    'kek:operate:sign:v1  3     not known',
    '',
  ]);
});

test('a key that nobody can bring back is named with why, and the exit is 8', async () => {
  const one = { coverage: 'one-quorum', live: [['dana', 'dave']], singlePoints: ['dana', 'dave'] };
  serve([
    covered(1),
    lost(2, { label: 'mail' }),
    covered(3, { coverage: 'one-quorum' }, { ...one, unable: [GONE] }),
    covered(4, { coverage: 'single-point' }, { coverage: 'single-point', singlePoints: ['dana'] }),
  ]);
  const ran = await coverage();
  expect(ran.exit).toBe(8);
  expect(ran.out).toContain(
    [
      'Keys that nobody can bring back: 1',
      `  ${key(2)}  olga  "mail", rule signing`,
      '    to operate: 0 of 3: nobody can bring it back; dora is not in the directory',
      '',
      'Keys with one quorum left: 1',
      `  ${key(3)}  olga, rule signing`,
      '    to operate: 1 of 3, none without dana or dave; dora is not in the directory',
      '',
      'Keys that depend on one person: 1',
      `  ${key(4)}  olga, rule signing`,
      '    to operate: 3 of 3, none without dana',
      '',
      `Next: escrowctl key show ${key(2)}; `,
    ].join('\n'),
  );
  expect(ran.out).not.toContain(key(1));
  const json = jsonOf(await coverage('--json'));
  expect(json).toMatchObject({
    ...{ policyVersion: 7, policyHash: HASH, isTokenAsked: true, unrecorded: 0 },
    totals: { keys: 4, lost: 1, 'one-quorum': 1, 'single-point': 1, covered: 1 },
    by: { owner: [{ name: 'olga', keys: 4 }] },
    keys: [1, 2, 3, 4].map((at) => ({ key: key(at) })),
  });
});

test('keys are counted under each key-encryption key, with what becomes of them; a key under one that is not there says so', async () => {
  serve([
    covered(1, {}, { kekState: 'newest', kek: 'kek:operate:sign:v2' }),
    covered(2, {}, { kekState: 'rotatable' }),
    covered(3, {}, { kekState: 'not-rotatable', kek: 'kek:operate:v1' }),
    covered(
      4,
      { coverage: 'lost' },
      { kekState: 'missing', coverage: 'lost', live: [], kek: 'kek:operate:v0' },
    ),
  ]);
  const ran = await coverage();
  expect(ran.exit).toBe(8);
  expect(ran.out).toContain(
    [
      'UNDER                KEYS  STATE',
      'kek:operate:sign:v1  1     a reseal rotates it',
      'kek:operate:sign:v2  1     the newest',
      'kek:operate:v0       1     not in the token: these are lost',
      'kek:operate:v1       1     cannot be rotated',
    ].join('\n'),
  );
  expect(ran.out).toContain('nobody can bring it back; the token does not hold');
  expect(jsonOf(await coverage('--json'))).toMatchObject({
    keks: [{ kek: 'kek:operate:sign:v1', keys: 1, state: 'rotatable' }, {}, { state: 'missing' }, {}],
  });
});

test('lines fit 80 columns, however much there is to say', async () => {
  const long = 'x'.repeat(60);
  const unable = ['dora', 'duke', 'doug', 'dina'].map((depositary) => ({ depositary, because: 'other-key' }));
  serve([
    lost(1, { owner: 'olga', rule: long, department: long }),
    covered(2, { coverage: 'lost' }, { ...LOST, unable }),
  ]);
  const { out } = await coverage();
  const next = out.indexOf('\nNext:');
  for (const line of out.slice(0, next).split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});

test('so many keys of each kind are listed as --limit says, and the others counted', async () => {
  serve([lost(1), lost(2), lost(3)]);
  const { out } = await coverage('--limit', '2');
  expect([out.includes(key(2)), out.includes(key(3))]).toEqual([true, false]);
  expect(out).toContain('  and 1 more: --limit 3, or --csv');
});

test('a key whose record is not what was logged is lost, and it is said so', async () => {
  serve([covered(1, { isAsLogged: false, coverage: 'lost' })]);
  const ran = await coverage();
  expect([ran.exit, ran.out.includes('its record is not what was made with the key')]).toEqual([8, true]);
});

test('keys of the log that have no record are counted as lost', async () => {
  serve([covered(1)], { totals: { keys: 3, lost: 0, oneQuorum: 0, singlePoint: 0, covered: 3 } });
  const ran = await coverage();
  expect([ran.exit, ran.out.includes('! 2 keys of the log have no record')]).toEqual([8, true]);
  expect(jsonOf(await coverage('--json'))).toMatchObject({ unrecorded: 2 });
});

test('a key that is listed twice is one key, as badly covered as it is said: a copy does not stand for one that is lost', async () => {
  const totals = { keys: 2, lost: 1, oneQuorum: 0, singlePoint: 0, covered: 1 };
  serve([covered(2), covered(2)], { totals });
  const ran = await coverage();
  expect([ran.exit, ran.out.includes('! 1 key of the log has no record')]).toEqual([8, true]);
  expect(jsonOf(await coverage('--json'))).toMatchObject({ unrecorded: 1, totals: { keys: 1 } });
  serve([covered(1), covered(2), lost(2)], { totals: { ...totals, lost: 0 } });
  const worse = jsonOf(await coverage('--json'));
  expect(worse).toMatchObject({ unrecorded: 0, totals: { keys: 2, lost: 1 } });
});

test('more keys that are lost by the log than are listed as lost are told of, in every form, and the exit is 8', async () => {
  serve([covered(1), covered(2)], {
    totals: { keys: 2, lost: 1, oneQuorum: 0, singlePoint: 0, covered: 1 },
  });
  const said = '1 more key is lost by the log than are listed as lost.';
  for (const form of [[], ['--csv'], ['--html']]) {
    const ran = await coverage(...form);
    expect([ran.exit, ran.out.replace(/\s+/g, ' ').includes(said)]).toEqual([8, true]);
  }
  expect(jsonOf(await coverage('--json'))).toMatchObject({ unrecorded: 0, unlistedLost: 1 });
  // one that has no record is not told of twice
  serve([covered(1)], { totals: { keys: 2, lost: 1, oneQuorum: 0, singlePoint: 0, covered: 1 } });
  expect(jsonOf(await coverage('--json'))).toMatchObject({ unrecorded: 1, unlistedLost: 0 });
});

test('an owner, who is told no totals, and somebody without keys, are told what there is', async () => {
  serve([covered(1)], { totals: undefined });
  expect((await coverage()).exit).toBe(0);
  serve([]);
  const none = await coverage();
  expect([none.exit, none.out.includes('0 keys under policy version 7.')]).toEqual([0, true]);
});

test('while the token is out it is said that who is enrolled is not counted', async () => {
  serve([covered(1)], { isTokenAsked: false });
  expect((await coverage()).out).toContain('The token is out: who is enrolled in it is not counted.');
  expect((await coverage('--html')).out).toContain('The token is out');
});

test('pages of two policies are not mixed: the listing begins again, and gives up when that goes on', async () => {
  serve([covered(1), covered(2), lost(3)]);
  const second = (policyVersion: number): object => ({
    ...{ policyVersion, policyHash: HASH, isTokenAsked: true, items: [lost(3)] },
  });
  let asked = 0;
  pageOf.set('page-1', () => {
    asked += 1;
    return second(asked === 1 ? 8 : 7);
  });
  const ran = await coverage('--json');
  expect([asked, ran.exit, (jsonOf(ran)['keys'] as unknown[]).length]).toEqual([2, 8, 3]);
  pageOf.set('page-1', () => second(8));
  const given = await coverage();
  expect([given.exit, given.err.includes('policies come into force while the keys are listed')]).toEqual([
    2,
    true,
  ]);
});

test('of each key it is said which live quorums are drilled, when, and whose share did not open', async () => {
  const drill = (depositary: string, day: string, isOpened = true): object => ({
    ...{ depositary, at: `2026-03-${day}T12:00:00.000Z`, isOpened, isProven: isOpened },
  });
  const opened = [drill('dana', '02'), drill('dave', '03')];
  serve([
    covered(1, {}, { drilled: [['dana', 'dave']], drills: opened }),
    covered(2, {}, { drilled: [], drills: [...opened, drill('dora', '04', false)] }),
    covered(3, {}, { drilled: [], drills: [] }),
  ]);
  const { out } = await coverage();
  expect(out).toContain('Drilled: 1 of 3 keys have for each purpose a live quorum');
  expect(out).toContain(`! A share of ${key(2)} did not open`);
  const [, ...lines] = (await coverage('--csv')).out.split('\r\n');
  expect(lines.map((line) => line.split(',').slice(-4, -1).join(','))).toEqual([
    '"1","2026-03-03T12:00:00.000Z",""',
    '"0","2026-03-04T12:00:00.000Z","dora"',
    '"0","",""',
    '',
  ]);
  const html = (await coverage('--html')).out;
  expect(html).toContain('1 of 3 live quorums drilled, the last share on 2026-03-03');
  expect(html).toContain('the shares of dora did not open');
  expect(html).toContain('never drilled');
});

test('CSV has a line for each key and purpose, and what somebody wrote is no formula', async () => {
  serve([
    lost(1, { label: '=HYPERLINK("https://x.example","y")' }),
    covered(2, { label: 'a,"b"', lastUsedAt: '2026-03-02T12:00:00.000Z' }),
  ]);
  const ran = await coverage('--csv');
  expect(ran.exit).toBe(8);
  expect(ran.out.split('\r\n')).toEqual([
    '"key","owner","department","label","rule","spec","use","created","generation","last used","as logged","coverage","purpose",' +
      '"kek","kek state","coverage for purpose","quorums","live","live quorums","single points of failure","drilled quorums","last drill","drills that failed","not counted"',
    `"${key(1)}","olga","finance","'=HYPERLINK(""https://x.example"",""y"")","signing","ec-p256","sign",` +
      '"2026-03-01T12:00:00.000Z","1","","yes","lost","operate","kek:operate:sign:v1","","lost","3","0","","","0","","","dora is not in the directory"',
    `"${key(2)}","olga","finance","a,""b""","signing","ec-p256","sign","2026-03-01T12:00:00.000Z","1",` +
      '"2026-03-02T12:00:00.000Z","yes","covered","operate","kek:operate:sign:v1","","covered","3","3",' +
      '"dana and dave or dana and dora or dave and dora","","0","","",""',
    '',
  ]);
});

test('CSV has a line for a key without purposes, and one for the keys that have no record', async () => {
  serve([covered(1, { coverage: 'lost', purposes: [] })], {
    totals: { keys: 3, lost: 3, oneQuorum: 0, singlePoint: 0, covered: 0 },
  });
  const [, ...lines] = (await coverage('--csv')).out.split('\r\n');
  expect(lines).toEqual([
    `"${key(1)}","olga","finance","","signing","ec-p256","sign","2026-03-01T12:00:00.000Z","1","","yes","lost"` +
      ',""'.repeat(12),
    `${'"",'.repeat(11)}"lost",${'"",'.repeat(11)}"2 keys of the log have no record: nobody can bring them back."`,
    '',
  ]);
});

test.each([
  ['=1+1', `"'=1+1"`],
  ['+1', `"'+1"`],
  ['-1', `"'-1"`],
  ['@SUM(A1)', `"'@SUM(A1)"`],
  ['  =1', `"'  =1"`],
  ['\u{ff1d}1', `"'\u{ff1d}1"`],
  ['|cmd', `"'|cmd"`],
  ['\t=1', '"\\t=1"'],
  ['\r\n=1', '"\\u{d}\\n=1"'],
  ['a"b', '"a""b"'],
  ['a=1', '"a=1"'],
])('the CSV field of %j is %s', (text, field) => {
  expect(csvField(text)).toBe(field);
});

test('HTML is a page of its own: nothing that runs, nothing from elsewhere, and what somebody wrote is text', async () => {
  const label = `<script>alert(1)</script><img src=x onerror='a'> & "quoted" \u202e`;
  serve([covered(1), lost(2, { label, department: '<b>' })]);
  const ran = await coverage('--html');
  expect(ran.exit).toBe(8);
  const page = ran.out;
  expect(page.startsWith('<!doctype html>\n')).toBe(true);
  expect(page).toContain(
    '&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=&#39;a&#39;&gt; &amp; &quot;quoted&quot; \\u{202e}',
  );
  expect(page).toContain("default-src 'none'");
  const tags = [...page.matchAll(/<\/?([a-z0-9!]+)/g)].map(([, name]) => name);
  const known = [
    '!doctype',
    'html',
    'head',
    'meta',
    'title',
    'style',
    'body',
    'h1',
    'h2',
    'p',
    'code',
    'strong',
    'br',
  ];
  const tables = ['table', 'thead', 'tbody', 'tr', 'th', 'td'];
  expect(tags.filter((name = '') => ![...known, ...tables].includes(name))).toEqual([]);
  const attributes = [...page.matchAll(/<[a-z][^>]*>/g)].flatMap(([tag]) => [
    ...tag.matchAll(/\s([a-z-]+)=/g),
  ]);
  const allowed = ['lang', 'charset', 'http-equiv', 'content', 'class'];
  expect(attributes.map(([, name]) => name).filter((name = '') => !allowed.includes(name))).toEqual([]);
  // the worst first
  expect(page.indexOf(key(2))).toBeLessThan(page.indexOf(key(1)));
});

test.each([
  ['<&>"\'', '&lt;&amp;&gt;&quot;&#39;'],
  ['&amp;', '&amp;amp;'],
  ['\u0000\u2028', '\\u{0}\\u{2028}'],
])('%j stands in HTML as %s', (text, html) => {
  expect(escaped(text)).toBe(html);
});

test('two forms at once, and a refusal, are told as such', async () => {
  serve([covered(1)]);
  expect((await coverage('--csv', '--html')).exit).toBe(2);
  expect((await coverage('--csv', '--json')).exit).toBe(2);
  office.server.routes.set('GET /v1/coverage', () => problem(403, 'forbidden'));
  expect((await coverage()).exit).toBe(3);
});

test('what is folded is the same words, and a word that is too long stands by itself', () => {
  const words = `${'a'.repeat(30)} ${'b'.repeat(60)} ${'c'.repeat(100)} d`;
  expect(folded(words, '  ', '    ')).toEqual([
    `  ${'a'.repeat(30)}`,
    `    ${'b'.repeat(60)}`,
    `    ${'c'.repeat(100)}`,
    '    d',
  ]);
  expect(folded('', '  ')).toEqual(['  ']);
});
