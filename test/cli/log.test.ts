import { appendFileSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';

import { openCheckpoint } from '../../src/log/note/checkpoint.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { encodeEntry } from '../../src/log/entry/entry.js';
import { documentHash } from '../../src/log/export/format.js';
import type { Incoming } from '../client/fakeServer.js';
import { FakeLog, ORIGIN, problem } from '../client/fakeServer.js';
import { administrators, document, exportOf, logKey, sampleEntries } from '../client/sampleLog.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';

let office: Office;
let entries: readonly Entry[];
beforeAll(async () => {
  office = await openOffice();
  entries = await sampleEntries();
});
afterAll(() => office.close());

const verify = (...more: string[]): string[] => [
  'log',
  'verify',
  office.path('log.ndjson'),
  '--log-key',
  logKey.vkey,
  ...more,
];

test('an export that is true exits with 0, and says what was checked', async () => {
  writeFileSync(office.path('log.ndjson'), `${exportOf(entries).join('\n')}\n`);
  writeFileSync(office.path('administrators.json'), JSON.stringify(administrators));
  const ran = await escrowctl(verify('--administrators', office.path('administrators.json'), '--json'));
  expect(ran.exit).toBe(0);
  expect(jsonOf(ran)).toMatchObject({
    ok: true,
    size: 6,
    requests: { verified: 3, certified: 0, unknown: 0, together: 0 },
    origin: ORIGIN,
  });
});

test('one byte changed exits with 5', async () => {
  const text = `${exportOf(entries).join('\n')}\n`;
  writeFileSync(office.path('log.ndjson'), text.replace('"owner":"olga"', '"owner":"olgb"'));
  const ran = await escrowctl(verify());
  expect(ran.exit).toBe(5);
  expect(ran.out).toContain('Do not believe it');
});

test('an entry that is wrong in itself is named by its index', async () => {
  const spoiled = entries.map((entry, index) => (index === 3 ? { ...entry, actor: 'eve' } : entry));
  writeFileSync(office.path('log.ndjson'), `${exportOf(spoiled).join('\n')}\n`);
  const ran = await escrowctl(verify('--json'));
  expect(ran.exit).toBe(5);
  expect(jsonOf(ran)).toMatchObject({ ok: false, index: 3 });
});

test('an export that does not continue an older checkpoint exits with 5', async () => {
  const other = new FakeLog(logKey);
  other.fill(2);
  writeFileSync(office.path('older'), other.checkpoint());
  writeFileSync(office.path('log.ndjson'), `${exportOf(entries).join('\n')}\n`);
  expect((await escrowctl(verify('--against', office.path('older')))).exit).toBe(5);
});

test('a log key that is none is a usage error', async () => {
  expect((await escrowctl(['log', 'verify', office.path('log.ndjson'), '--log-key', 'x'])).exit).toBe(2);
  expect((await escrowctl(['log', 'verify', office.path('log.ndjson')])).exit).toBe(2);
});

describe('an export from a server', () => {
  /** The sample log, with so many entries more, in pages of 3; a policy stands in it that is newer than its head. */
  function serve(more: number): FakeLog {
    const { server } = office;
    const log = new FakeLog(server.log.key);
    log.entries.push(...entries.map((entry) => Buffer.from(encodeEntry(entry)).toString()));
    log.fill(more);
    server.routes.set('GET /v1/checkpoint', () => ({ text: log.checkpoint() }));
    server.routes.set('GET /v1/log/consistency', async ({ target }: Incoming) => {
      const query = new URL(target, 'https://x').searchParams;
      return { json: { proof: await log.consistency(Number(query.get('old')), Number(query.get('new'))) } };
    });
    server.routes.set('GET /v1/log/entries', ({ target }: Incoming) => {
      const from = Number(new URL(target, 'https://x').searchParams.get('from'));
      const items = log.entries.slice(from, from + 3).map((entry, at) => ({ index: from + at, entry }));
      return { json: { items } };
    });
    const newer = { version: 1, principals: [], rules: [] };
    server.routes.set('GET /v1/log/policies', ({ target }: Incoming) => ({
      json: new URL(target, 'https://x').searchParams.has('after')
        ? { items: [{ version: 2, hash: documentHash(document), document }] }
        : { items: [{ version: 1, hash: documentHash(newer), document: newer }], next: 'more' },
    }));
    return log;
  }

  test('is verified by the identity that made it, and against what it saw last', async () => {
    serve(10);
    const out = office.path('export.ndjson');
    const exported = await escrowctl(['log', 'export', out, '--as', office.dana, '--json']);
    expect(exported).toMatchObject({ exit: 0, err: '' });
    expect(jsonOf(exported)).toMatchObject({ size: 16, origin: ORIGIN });
    const verified = await escrowctl(['log', 'verify', out, '--as', office.dana, '--json']);
    expect(verified.exit).toBe(0);
    expect(jsonOf(verified)).toMatchObject({ ok: true, size: 16, against: true });
    // later the log has grown, and this identity has seen it: the old export is an old backup now
    const log = serve(20);
    expect((await escrowctl(['log', 'checkpoint', '--as', office.dana])).exit).toBe(0);
    expect(openCheckpoint(log.checkpoint(), office.server.log.key.vkey, ORIGIN).size).toBe(26);
    const stale = await escrowctl(['log', 'verify', out, '--as', office.dana]);
    expect(stale.exit).toBe(5);
    expect(stale.out).toContain('rolled back');
  });

  /** Answers pages until so many entries were given, and then breaks off. */
  function breakAfter(log: FakeLog, count: number): void {
    office.server.routes.set('GET /v1/log/entries', ({ target }: Incoming) => {
      const from = Number(new URL(target, 'https://x').searchParams.get('from'));
      if (from >= count) return problem(503, 'store-unavailable');
      const items = log.entries.slice(from, from + 3).map((entry, at) => ({ index: from + at, entry }));
      return { json: { items } };
    });
  }
  const exported = (out: string) =>
    escrowctl(['log', 'export', out, '--force', '--as', office.dana, '--json']);

  test.each([
    ['between entries', ''],
    ['within a line', '{"act":"grant.exp'],
  ])('that is interrupted %s goes on where it stopped, to the same bytes', async (_name, torn) => {
    const log = serve(40);
    const [whole, out] = [office.path('whole.ndjson'), office.path('resumed.ndjson')];
    rmSync(out, { force: true });
    expect((await exported(whole)).exit).toBe(0);
    breakAfter(log, 20);
    expect((await exported(out)).exit).toBe(6);
    expect(existsSync(out)).toBe(false);
    expect(statSync(`${out}.partial`).mode & 0o077).toBe(0);
    appendFileSync(`${out}.partial`, torn);
    breakAfter(log, 1000);
    office.server.received.length = 0;
    const again = await exported(out);
    expect(again.exit).toBe(0);
    expect(jsonOf(again)).toMatchObject({ size: 46, resumedAt: 21 });
    expect(readFileSync(out, 'utf8')).toBe(readFileSync(whole, 'utf8'));
    expect(existsSync(`${out}.partial`)).toBe(false);
    const asked = office.server.received.filter(({ target }) => target.startsWith('/v1/log/entries'));
    expect(asked[0]?.target).toContain('from=21');
  });

  test.each([
    ['was changed', (text: string) => text.replace('"grant.expire"', '"grant.revoke"')],
    ['lacks its beginning', (text: string) => text.slice(text.indexOf('\n') + 1)],
    ['is longer than the log', (text: string) => text.repeat(5)],
  ])('does not go on from a part that %s, and exits with 5', async (_name, change) => {
    const log = serve(40);
    const out = office.path('spoiled.ndjson');
    breakAfter(log, 20);
    await exported(out);
    const spoiled = change(readFileSync(`${out}.partial`, 'utf8'));
    writeFileSync(`${out}.partial`, spoiled);
    breakAfter(log, 1000);
    const again = await exported(out);
    expect(again.exit).toBe(5);
    expect(JSON.parse(again.err)).toMatchObject({ error: { code: 'export-refused' } });
    expect(readFileSync(`${out}.partial`, 'utf8')).toBe(spoiled);
    rmSync(`${out}.partial`);
  });

  test('leaves the old file alone when the server hides an entry', async () => {
    const log = serve(30);
    const out = office.path('kept.ndjson');
    writeFileSync(out, 'what was there');
    office.server.routes.set('GET /v1/log/entries', ({ target }: Incoming) => {
      const from = Number(new URL(target, 'https://x').searchParams.get('from'));
      return {
        json: {
          items: log.entries
            .slice(from, Math.min(from + 3, 20))
            .map((entry, at) => ({ index: from + at, entry })),
        },
      };
    });
    const ran = await escrowctl(['log', 'export', out, '--force', '--as', office.dana]);
    expect(ran.exit).toBe(5);
    expect(readFileSync(out, 'utf8')).toBe('what was there');
  });
});
