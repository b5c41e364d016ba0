import { createHash, generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';

import fc from 'fast-check';

import { HistoryVerifier } from '../../src/client/history/historyFile.js';
import type { HistoryLies } from '../client/fakeHistory.js';
import { fillHistory, serveHistory } from '../client/fakeHistory.js';
import { FakeLog, ORIGIN } from '../client/fakeServer.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';

const NOW = new Date('2026-03-01T13:00:00.000Z');
const KEY = `key_${'1'.repeat(32)}`;

let office: Office;
let out: string;
beforeEach(async () => {
  office = await openOffice();
  fillHistory(office.server, 30);
  out = office.path('history.ndjson');
});
afterEach(() => office.close());

const run = (...argv: string[]) => escrowctl(['history', ...argv, '--as', office.dana], { now: NOW });
const serve = (lies?: HistoryLies): void => {
  serveHistory(office.server, 'dana', NOW, lies);
};
const linesOf = (path: string): readonly string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1);
const pins = () => ({
  origin: ORIGIN,
  logKey: office.server.log.key.vkey,
  identityKey: office.server.identity.publicKey.export({ format: 'jwk' }) as Record<string, string>,
  owner: 'dana',
});

const hexOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
/** What an app may have sent of a file: entries have the SHA-256 of that. */
const SENT: Readonly<Record<string, (file: Buffer) => Buffer>> = {
  'as it is': (file) => file,
  ...Object.fromEntries(
    ['sha256', 'sha384', 'sha512'].map((name) => [
      `its ${name}`,
      (file: Buffer) => createHash(name).update(file).digest(),
    ]),
  ),
};
const useOf = (owner: string, id: string, phase: Entry['phase'], detail: Entry['detail']): Entry => ({
  ...{ v: 1, time: '2026-03-01T12:10:00.000Z', act: 'grant.sign', id, phase, actor: 'mailer', detail },
  subject: { owner, key: KEY, grant: `grant_${'2'.repeat(32)}` },
});
const indexesOf = (run: Awaited<ReturnType<typeof escrowctl>>): readonly number[] =>
  (jsonOf(run)['items'] as { readonly index: number }[]).map(({ index }) => index);

describe('the history of an honest server', () => {
  beforeEach(() => {
    serve();
  });

  test('is shown over many pages, each entry proven, and filtered by key, act and time', async () => {
    const all = jsonOf(await run('--json'));
    expect((all['items'] as { index: number }[]).map(({ index }) => index)).toEqual([
      27, 24, 21, 18, 15, 12, 9, 6, 3, 0,
    ]);
    const shown = async (...filter: string[]): Promise<readonly number[]> => {
      const { items } = jsonOf(await run(...filter, '--json'));
      return (items as { index: number }[]).map(({ index }) => index);
    };
    expect(await shown('--key', KEY)).toEqual([24, 18, 12, 6, 0]);
    expect(await shown('--act', 'key.read')).toEqual([27, 21, 15, 9, 3]);
    expect(await shown('--since', '2026-03-01T12:00:09Z', '--until', '2026-03-01T12:00:21Z')).toEqual([
      18, 15, 12, 9,
    ]);
    expect(await shown('--limit', '2')).toEqual([27, 24]);
    expect((await run('--since', 'yesterday')).exit).toBe(2);
  });

  test.each(Object.entries(SENT))('find finds what was signed or decrypted: %s', async (_what, send) => {
    const file = office.path('letter.txt');
    const letter = Buffer.from('Dear Sir\n');
    writeFileSync(file, letter);
    const [before] = [office.server.log.entries.length];
    for (const [phase, detail] of [
      [
        'attempted',
        { inputs: [hexOf(Buffer.from('another')), hexOf(send(letter))], context: 'invoice 4711' },
      ],
      ['done', { uses: 2, context: 'invoice 4711' }],
    ] as const)
      office.server.log.append(useOf('dana', 'act_letter', phase, detail));
    office.server.log.append(useOf('dana', 'act_open', 'attempted', { inputs: [hexOf(send(letter))] }));
    office.server.log.append(useOf('olga', 'act_olga', 'attempted', { inputs: [hexOf(send(letter))] }));
    office.server.log.append(useOf('dana', 'act_other', 'attempted', { inputs: [hexOf(Buffer.from('x'))] }));

    const found = await run('find', file, '--json');
    expect(found).toMatchObject({ exit: 0, err: '' });
    // of each the outcome, and the attempt where there is none; nobody else's
    expect(indexesOf(found)).toEqual([before + 2, before + 1]);
    const shown = await run('find', file);
    expect(shown.out).toContain('invoice 4711');
    expect(shown.out).not.toContain('act_other');
    writeFileSync(file, 'Dear Madam\n');
    const none = await run('find', file);
    expect(none.exit).toBe(0);
    expect(none.out).toContain('Nothing in your history is about');
    expect(indexesOf(await run('find', file, '--json'))).toEqual([]);
  });

  test('is exported with its statement, and verified offline by what is pinned', async () => {
    const exported = await run('export', out, '--json');
    expect(exported).toMatchObject({ exit: 0, err: '' });
    expect(jsonOf(exported)).toMatchObject({ owner: 'dana', count: 10, checkpoint: { size: 30 } });
    expect(linesOf(out)).toHaveLength(11);
    office.server.routes.clear();
    const verified = await run('verify', out, '--json');
    expect(verified.exit).toBe(0);
    expect(jsonOf(verified)).toMatchObject({ ok: true, owner: 'dana', count: 10, isOlder: false });
    const record = office.path('record.json');
    writeFileSync(record, JSON.stringify(office.server.record));
    const byRecord = await escrowctl(['history', 'verify', out, '--record', record, '--owner', 'dana']);
    expect(byRecord.exit).toBe(0);
    expect(byRecord.out).toContain('Believe it: these 10 entries are all that the log has about dana');
    expect((await escrowctl(['history', 'verify', out, '--record', record, '--owner', 'olga'])).exit).toBe(5);
    expect((await escrowctl(['history', 'verify', out])).exit).toBe(2);
  });

  test('is exported in part, and says of which part it is complete', async () => {
    expect(
      (await run('export', out, '--key', KEY, '--act', 'grant.sign', '--since', '2026-03-01')).exit,
    ).toBe(0);
    const verified = jsonOf(await run('verify', out, '--json'));
    expect(verified).toMatchObject({
      ok: true,
      count: 5,
      filter: { key: KEY, act: 'grant.sign', since: '2026-03-01T00:00:00.000Z' },
    });
  });

  test('of somebody about whom there is nothing is complete and empty', async () => {
    expect((await run('export', out, '--act', 'key.import')).exit).toBe(0);
    expect(jsonOf(await run('verify', out, '--json'))).toMatchObject({ ok: true, count: 0 });
  });

  test('that ends before what was seen since is true, and said to be older', async () => {
    await run('export', out);
    fillHistory(office.server, 3);
    await escrowctl(['log', 'checkpoint', '--as', office.dana]);
    const verified = await run('verify', out);
    expect(verified.exit).toBe(0);
    expect(verified.out).toContain('export again');
  });
});

describe('a lying server: the export exits with 5, and writes nothing;', () => {
  const strange = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const cases: readonly (readonly [name: string, code: string, reason: RegExp, lies: HistoryLies])[] = [
    [
      'it omits an entry',
      'history-refused',
      /about 10 entries, 9 are here/,
      { hidden: [12], isStatementTrue: true },
    ],
    [
      'it omits one and shows another in its place',
      'history-refused',
      /entry 13: it does not belong to this history/,
      { hidden: [12], added: [13], isStatementTrue: true },
    ],
    [
      'it alters an entry',
      'history-refused',
      /entry 12: it is not in the log/,
      { altered: (entry, index) => (index === 12 ? entry.replace('"mailer"', '"nobody"') : entry) },
    ],
    ['it shows an entry of another owner', 'history-refused', /entry 1: it does not belong/, { added: [1] }],
    [
      'it shows what is no entry',
      'history-refused',
      /entry 12: it is not an entry/,
      { altered: (entry, index) => (index === 12 ? entry.replace('"v":1', '"v":2') : entry) },
    ],
    [
      'it has the statement signed by another key',
      'history-statement-invalid',
      /not signed by the pinned identity key/,
      { statementKey: strange.privateKey },
    ],
    [
      'it shows a statement of another kind',
      'history-statement-invalid',
      /it is not one/,
      { statementType: 'escrowd-attestation+jwt' },
    ],
    [
      'its statement is about another tree',
      'history-statement-invalid',
      /another tree/,
      { said: { checkpoint: { size: 29, root: 'x' } } },
    ],
    [
      'its statement is by another server',
      'history-statement-invalid',
      /another server/,
      { said: { iss: 'x' } },
    ],
    [
      'its statement is of yesterday',
      'history-statement-invalid',
      /not made now/,
      { said: { iat: NOW.getTime() / 1000 - 86_400 } },
    ],
    ['its statement is about another owner', 'history-refused', /another history/, { said: { sub: 'olga' } }],
    [
      'its statement is about a part of what was asked for',
      'history-refused',
      /another history/,
      { said: { filter: { act: 'grant.sign' } } },
    ],
    [
      'its statement counts fewer',
      'history-refused',
      /about 9 entries, 1\d are here/,
      { said: { count: 9 } },
    ],
    [
      'its statement is about another list',
      'history-refused',
      /not the entries that the statement/,
      { said: { list: '00'.repeat(32) } },
    ],
    [
      'its statement says more than one does',
      'history-statement-invalid',
      /lacks what/,
      { said: { and: 1 } },
    ],
  ];

  test.each(cases)('%s (%s)', async (_name, code, reason, lies) => {
    serve(lies);
    const ran = await run('export', out, '--json');
    expect(ran).toMatchObject({ exit: 5, out: '' });
    const { error } = JSON.parse(ran.err) as { error: { code: string; exit: number; detail: string } };
    expect(error).toMatchObject({ code, exit: 5, detail: expect.stringMatching(reason) as string });
    expect(existsSync(out)).toBe(false);
    expect(readdirSync(office.root)).toEqual(['dana']);
  });

  test('it shows an old tree', async () => {
    serve();
    await escrowctl(['log', 'checkpoint', '--as', office.dana]);
    serve({ size: 20 });
    const ran = await run('export', out, '--json');
    expect(ran.exit).toBe(5);
    expect(JSON.parse(ran.err)).toMatchObject({ error: { code: 'log-rolled-back' } });
    expect((await run()).exit).toBe(5);
  });

  test('it shows a fork', async () => {
    await escrowctl(['log', 'checkpoint', '--as', office.dana]);
    office.server.log = new FakeLog(office.server.log.key);
    fillHistory(office.server, 1);
    office.server.log.fill(40);
    serve();
    const ran = await run('export', out, '--json');
    expect(ran.exit).toBe(5);
    expect(JSON.parse(ran.err)).toMatchObject({ error: { code: 'log-forked' } });
  });
});

test('a history that is only shown is checked as well: an entry that is altered or somebody else’s exits with 5', async () => {
  serve({ altered: (entry) => entry.replace('"mailer"', '"nobody"') });
  expect(JSON.parse((await run('--json')).err)).toMatchObject({
    error: { code: 'entry-not-in-log', exit: 5 },
  });
  serve({ added: [1] });
  expect(JSON.parse((await run('--json')).err)).toMatchObject({
    error: { code: 'history-refused', exit: 5 },
  });
});

describe('a file of a history', () => {
  let lines: readonly string[];
  beforeEach(async () => {
    serve();
    expect((await run('export', out)).exit).toBe(0);
    lines = linesOf(out);
  });
  const verdictOn = (changed: readonly string[]) => {
    const verifier = new HistoryVerifier(pins());
    for (const line of changed) verifier.line(line);
    return verifier.finish();
  };

  test('is refused with any line left out, repeated or moved', () => {
    expect(verdictOn(lines).ok).toBe(true);
    lines.forEach((line, at) => {
      expect(verdictOn(lines.toSpliced(at, 1)).ok).toBe(false);
      expect(verdictOn(lines.toSpliced(at, 0, line)).ok).toBe(false);
      if (at > 1) expect(verdictOn(lines.toSpliced(at, 1).toSpliced(at - 1, 0, line)).ok).toBe(false);
    });
  });

  test('is refused with any bit changed, and cut anywhere', () => {
    const bytes = readFileSync(out);
    const believes = (changed: Uint8Array): boolean => {
      const verifier = new HistoryVerifier(pins());
      verifier.write(changed);
      return verifier.finish().ok;
    };
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const changed = Buffer.from(bytes);
        changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        expect(believes(changed)).toBe(false);
      }),
      { numRuns: 400 },
    );
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), (length) => {
        expect(believes(bytes.subarray(0, length))).toBe(false);
      }),
    );
  });

  test('is refused by another log key, another identity key, and another tree of the same size', () => {
    const verdictBy = (changes: object) => {
      const verifier = new HistoryVerifier({ ...pins(), ...changes });
      for (const line of lines) verifier.line(line);
      return verifier.finish();
    };
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
    expect(verdictBy({ identityKey: other })).toMatchObject({
      reason: expect.stringMatching(/pinned identity/) as string,
    });
    expect(verdictBy({ logKey: new FakeLog().key.vkey })).toMatchObject({
      reason: expect.stringMatching(/checkpoint/) as string,
    });
    const fork = new FakeLog(office.server.log.key);
    fork.fill(30);
    expect(verdictBy({ against: fork.checkpoint() })).toMatchObject({
      reason: expect.stringMatching(/root mismatch/) as string,
    });
    expect(verdictBy({ against: office.server.log.checkpoint() })).toMatchObject({ ok: true });
  });
});
