import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { COMMANDS, GROUPS } from '../../src/cli/commands.js';
import { table } from '../../src/cli/columns.js';
import { textWidth } from '../../src/cli/textWidth.js';
import type { RecoveryReply } from '../../src/api/replies.js';
import { honestScene, KEY, NOW } from '../client/scene.js';
import { escrowctl, type Ran } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.commands);

const id = (prefix: string, begin: string): string => `${prefix}_${begin.padEnd(32, '0')}`;
const scene = honestScene().recovery;
const keyOf = (key: string, label: string, owner: string): object => ({
  ...{ key, label, owner, spec: 'ec-p256', use: 'sign', createdAt: '2026-02-27T08:30:00.000Z' },
  ...{ digest: 'd'.repeat(64), rule: { name: 'finance', policyHash: 'e'.repeat(64), policyVersion: 3 } },
  terms: { requests: { maxValidFor: 'P7D', approvalsHold: 'P7D', distinct: [] } },
  purposes: [{ purpose: 'operate', quorums: [['dana', 'dave']], recipients: [] }],
});
const LISTS: Readonly<Record<string, { readonly route: string; readonly items: readonly object[] }>> = {
  'key list': {
    route: 'GET /v1/keys',
    items: [
      keyOf(id('key', 'aaaaaaaa1'), 'letters', 'olga'),
      keyOf(id('key', 'aaaaaaaa2'), '給与 2026 💶', 'oscar.of-the-finance-department'),
      keyOf(id('key', 'b'), 'what the whole department of finance signs its yearly letters with', 'olga'),
    ],
  },
  'recovery list': {
    route: 'GET /v1/recoveries',
    items: [
      { ...scene, recovery: id('rec', 'c1'), filedAt: '2026-03-01T09:00:00.000Z', approvedBy: ['dave'] },
      { ...scene, recovery: id('rec', 'c2'), status: 'active', filedAt: '2026-02-27T09:00:00.000Z' },
      { ...scene, recovery: id('rec', 'c3'), status: 'denied', filedAt: '2026-02-20T09:00:00.000Z' },
    ] satisfies readonly RecoveryReply[],
  },
  'grant list': {
    route: 'GET /v1/grants',
    items: ['d1', 'd2'].map((begin, at) => ({
      ...{ grant: id('grant', begin), key: KEY, spec: 'ec-p256', owner: 'olga', recovery: scene.recovery },
      ...{ scope: { ...scene.scope, app: 'mailer' }, used: at, status: at === 0 ? 'active' : 'exhausted' },
      ...{ startsAt: '2026-03-01T11:00:00.000Z', expiresAt: '2026-03-02T12:00:00.000Z' },
    })),
  },
};

let office: Office;
beforeAll(async () => {
  office = await openOffice();
  for (const { route, items } of Object.values(LISTS))
    office.server.routes.set(route, () => ({ json: { items } }));
});
afterAll(() => office.close());

const run = (command: string, columns?: number): Promise<Ran> =>
  escrowctl([...command.split(' '), '--as', office.dana], {
    now: NOW,
    ...(columns === undefined ? {} : { columns }),
  });

/** The golden outputs: what every listing is at 80 and 120 columns, and into a pipe. */
const GOLDEN = readFileSync(join(__dirname, 'listings.golden.txt'), 'utf8');

test('every listing is as it was, at 80 and 120 columns and into a pipe', async () => {
  const shown: string[] = [];
  for (const command of Object.keys(LISTS))
    for (const columns of [80, 120, undefined]) {
      const { exit, out, err } = await run(command, columns);
      expect({ exit, err }).toEqual({ exit: 0, err: '' });
      shown.push(`== ${command}, ${columns === undefined ? 'piped' : `${columns} columns`}\n${out}`);
    }
  expect(shown.join('\n')).toBe(GOLDEN);
});

test.each(Object.keys(LISTS))(
  '%s is no wider than the terminal, and piped says all ids whole',
  async (command) => {
    for (const columns of [60, 80, 120])
      for (const line of (await run(command, columns)).out.split('\n'))
        expect({ line, fits: textWidth(line) <= columns }).toEqual({ line, fits: true });
    const { out } = await run(command);
    for (const item of LISTS[command]?.items ?? []) {
      const [whole] = /(?:key|rec|grant)_[0-9a-f]{32}/.exec(JSON.stringify(item)) ?? [];
      expect(out).toContain(whole);
    }
  },
);

test('a shortened id is taken in place of the whole, and one that is not enough is refused with those that it may be', async () => {
  office.server.routes.set(`GET /v1/recoveries/${id('rec', 'c1')}`, () => ({
    json: { ...scene, recovery: id('rec', 'c1') },
  }));
  const { out } = await run('recovery list', 80);
  const [short = ''] = /rec_c1[0-9a-f]*/.exec(out) ?? [];
  expect(short.length).toBeLessThan(20);
  expect((await run(`recovery show ${short}`)).out).toContain(id('rec', 'c1'));
  const two = await run('key show key_aaaaaaaa');
  expect(two.exit).toBe(2);
  expect(two.err).toMatch(/2 ids begin with key_aaaaaaaa: key_aaaaaaaa10.*"letters" of olga/);
  expect(two.err).toContain(id('key', 'aaaaaaaa2'));
  expect(await run('key show key_ffff')).toMatchObject({
    exit: 2,
    err: expect.stringContaining('you see no key') as string,
  });
});

test('recovery list says whom a request waits for, and --open leaves out what has ended', async () => {
  const { out } = await run('recovery list --open');
  expect(out).toContain('WAITS FOR');
  expect(out).toContain('the app mailer');
  expect(out).toContain(id('rec', 'c2'));
  expect(out).not.toContain(id('rec', 'c3'));
});

test('a table is measured in columns of the terminal: wide characters take two, marks none', () => {
  expect(['給与', '💶', 'e\u0301', '👩‍👩‍👧', 'ab'].map(textWidth)).toEqual([4, 2, 1, 2, 2]);
  const [, first = '', second = ''] = table(
    ['A', 'B'],
    [
      ['給与', 'x'],
      ['ab', 'x'],
    ],
  );
  expect(textWidth(first)).toBe(textWidth(second));
});

test('no help is wider than 80 columns, but for examples, and none is broken twice', async () => {
  const groups = GROUPS.flatMap(({ name, commands }) =>
    commands.map(({ usage }) => `${name} ${usage.split(' ', 1)[0] ?? ''}`),
  );
  const all = [...groups, ...COMMANDS.map(({ usage }) => usage.split(' ', 1)[0] ?? '')];
  for (const command of all) {
    const { out } = await escrowctl([...command.split(' '), '--help']);
    const help = out.split('\nExamples:')[0]?.split('\n') ?? [];
    for (const line of help)
      expect({ command, line, fits: textWidth(line) <= 80 }).toEqual({ command, line, fits: true });
  }
});

test('a command that is mistyped is told the one that is meant, in groups as well', async () => {
  for (const [typed, meant] of [
    ['recovry list', 'recovery'],
    ['recovery aprove rec_1', 'approve'],
    ['key shw', 'show'],
  ] as const)
    expect(await escrowctl(typed.split(' '))).toMatchObject({
      exit: 2,
      err: expect.stringContaining(`Did you mean ${meant}?`) as string,
    });
});

test('whoami says who, to which server, and why no roles are shown', async () => {
  expect((await run('whoami')).exit).toBe(3);
  office.server.routes.set('GET /v1/policy', () => ({
    status: 403,
    json: { type: 'urn:escrowd:problem:forbidden', title: 'no', status: 403, detail: 'no' },
  }));
  const { out } = await run('whoami');
  expect(out).toMatch(/id +dana/);
  expect(out).toMatch(/roles +not shown to you/);
});
