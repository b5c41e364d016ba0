import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { REPORTS } from '../../src/audit/reports/reports.js';
import { escrowctl, jsonOf } from '../cli/commandLine.js';
import { LIMITS_MS } from '../support/limits.js';
import { type AuditorsRoom, openAuditorsRoom } from './company/auditorsRoom.js';
import { type Played, play } from './company/played.js';

jest.setTimeout(LIMITS_MS.commands);

/*
 * docs/auditors.md, word for word: from no identity to the ten questions, against the log of a year of a company. What its
 * commands wrote stands in it: `npm run generate:auditors` writes it anew.
 */
let page: string;
let room: AuditorsRoom;
let played: Played;
beforeAll(async () => {
  page = readFileSync('docs/auditors.md', 'utf8');
  room = await openAuditorsRoom();
  played = await play(page, room);
});
afterAll(() => room.close());

test('every command of the page does what the page says, and writes what stands in it', () => {
  expect(played.failed).toEqual([]);
  expect(played.text).toBe(page);
});

test('each of the ten questions is answered by one command', () => {
  const questions = page
    .split(/^### /m)
    .slice(1)
    .map((part) => part.split(/^## /m)[0] ?? '');
  expect(questions.map((part) => part.slice(0, part.indexOf('.')))).toEqual(
    Array.from({ length: 10 }, (_, at) => String(at + 1)),
  );
  for (const part of questions) expect(part.match(/^\$ escrowctl /gm)).toHaveLength(1);
});

test('the page names every report', () => {
  for (const { name } of REPORTS) expect(page).toContain(`escrowctl report ${name}`);
});

// of CPU, which is what it takes on a machine that does nothing else
test('a year of two hundred people is loaded in less than ten seconds', async () => {
  const began = process.cpuUsage();
  const argv = ['report', 'access', '--from-export', room.paths['log.ndjson'] ?? '', '--json'];
  const ran = await escrowctl([...argv, '--as', room.paths['~/.escrowd'] ?? ''], { now: room.now });
  const { user, system } = process.cpuUsage(began);
  expect((user + system) / 1e6).toBeLessThan(10);
  expect(ran.exit).toBe(0);
  const { rows, evidence } = JSON.parse(ran.out) as {
    rows: { owner: string }[];
    evidence: { size: number };
  };
  expect(new Set(rows.map(({ owner }) => owner)).size).toBeGreaterThan(180);
  expect(evidence.size).toBeGreaterThan(2000);
});

test('a log that is fetched for a report is verified as an export is, and no copy of it stays', async () => {
  const as = ['--as', room.paths['~/.escrowd'] ?? '', '--json'];
  const own = mkdtempSync(join(tmpdir(), 'reports-'));
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = own;
  try {
    const fetched = await escrowctl(['report', 'grants', ...as], { now: room.now });
    const read = await escrowctl(
      ['report', 'grants', '--from-export', room.paths['log.ndjson'] ?? '', ...as],
      { now: room.now },
    );
    expect([fetched.exit, read.exit]).toEqual([0, 0]);
    expect(jsonOf(fetched)['rows']).toEqual(jsonOf(read)['rows']);
    expect(readdirSync(own)).toEqual([]);
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
    rmSync(own, { recursive: true });
  }
});
