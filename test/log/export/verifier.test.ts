import fc from 'fast-check';
import { canonicalJson } from '../../../src/log/entry/canonical.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import { checkpointLine, documentHash, documentLine, headerLine } from '../../../src/log/export/format.js';
import { NoteError } from '../../../src/log/note/noteKey.js';
import { ExportVerifier, type Verdict, type VerifierOptions } from '../../../src/log/export/verifier.js';
import { signCheckpoint, testKey } from '../noteKeys.js';
import {
  checkpointOf,
  documents,
  entry,
  entryLine,
  exportLines,
  joined,
  origin,
  resigned,
  sampleEntries,
  verdictOn,
  type ExportLines,
} from '../sampleExport.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.drawn);

const key = testKey(origin);
const pinned: VerifierOptions = { logKey: key.vkey, origin };
const good = exportLines(key);
const size = sampleEntries.length;

const file = (lines: readonly string[]): Buffer => Buffer.from(lines.map((line) => `${line}\n`).join(''));

function verdictOnBytes(chunks: readonly Uint8Array[], options: VerifierOptions = pinned): Verdict {
  const verifier = new ExportVerifier(options);
  for (const chunk of chunks) verifier.write(chunk);
  return verifier.finish();
}

/** The verdict on an export with other entries, which the log's own key has signed nonetheless. */
function onEntries(entries: readonly Entry[], options: Partial<VerifierOptions> = {}): Verdict {
  const lines = { ...good, entries: entries.map(entryLine) };
  return verdictOn(joined(resigned(key, lines)), { ...pinned, ...options });
}

const refusal = (index: number | undefined, reason: string): unknown => ({
  ok: false,
  index,
  reason: expect.stringContaining(reason) as unknown,
});
const swapped = <T>(list: readonly T[], a: number, b: number): T[] => {
  const copy = [...list];
  const [first, second] = [copy[a], copy[b]];
  if (first !== undefined && second !== undefined) [copy[a], copy[b]] = [second, first];
  return copy;
};

describe('an export as the log made it', () => {
  test('is believed, and what it holds is counted', () => {
    const verdict = verdictOn(joined(good), pinned);
    expect(verdict).toMatchObject({
      ok: true,
      origin,
      size,
      counts: { attempted: 6, done: 3, denied: 2, failed: 1, documents: 2 },
      open: [{ index: size - 1, id: 'act-7', act: 'key.generate', actor: 'person:ada' }],
    });
    expect(verdict.ok && verdict.checkpoint).toBe(checkpointOf(key, good.entries));
  });

  test('is believed however its bytes are cut, in any memory that is used again', () => {
    const bytes = file(joined(good));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 40 }), (cuts) => {
        const verifier = new ExportVerifier(pinned);
        const memory = Buffer.alloc(400);
        for (let start = 0, turn = 0; start < bytes.length; turn += 1) {
          const length = bytes.copy(memory, 0, start, start + (cuts[turn % cuts.length] ?? 1));
          verifier.write(memory.subarray(0, length));
          start += length;
        }
        expect(verifier.finish().ok).toBe(true);
      }),
    );
  });

  test('is believed without entries, and signed with ECDSA', () => {
    const ecdsa = testKey(origin, 'ECDSA-P256');
    const empty = { ...exportLines(ecdsa, []), documents: [] };
    expect(verdictOn(joined(empty), { logKey: ecdsa.vkey })).toMatchObject({ ok: true, size: 0 });
    expect(verdictOn(joined(exportLines(ecdsa)), { logKey: ecdsa.vkey })).toMatchObject({ ok: true, size });
  });

  test('extends every older checkpoint of the same log', () => {
    for (let older = 0; older <= size; older += 1) {
      const against = checkpointOf(key, good.entries.slice(0, older));
      expect(verdictOn(joined(good), { ...pinned, against }).ok).toBe(true);
    }
  });
});

describe('tampering without the key is found', () => {
  test('any bit changed, anywhere in the export', () => {
    const small = exportLines(key, sampleEntries.slice(0, 3));
    const bytes = file(joined({ ...small, documents: good.documents.slice(0, 1) }));
    expect(verdictOnBytes([bytes]).ok).toBe(true);
    const believed: number[] = [];
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      if (verdictOnBytes([bytes]).ok) believed.push(bit);
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    }
    expect(believed).toEqual([]);
  });

  test('truncation at any byte', () => {
    const bytes = file(joined(good));
    for (let length = 0; length < bytes.length; length += 1) {
      expect(verdictOnBytes([bytes.subarray(0, length)]).ok).toBe(false);
    }
  });

  test('any line left out, repeated, or moved', () => {
    const lines = joined(good);
    lines.forEach((line, index) => {
      expect(verdictOn(lines.toSpliced(index, 1), pinned).ok).toBe(false);
      lines.forEach((_other, to) => {
        expect(verdictOn(lines.toSpliced(to, 0, line), pinned).ok).toBe(false);
        const isMoved = to !== index && !(good.documents.includes(line) && (to === 1 || to === 2));
        if (isMoved) expect(verdictOn(swapped(lines, index, to), pinned).ok).toBe(false);
      });
      expect(verdictOn([...lines, line], pinned).ok).toBe(false);
    });
  });

  test('an entry whose text is changed but still well-formed shows at the root', () => {
    const entries = good.entries.map((line) => line.replace('key-1', 'key-2'));
    expect(verdictOn(joined({ ...good, entries }), pinned)).toEqual(refusal(undefined, 'root mismatch'));
  });

  test('entries cut off at the end are named from the first that is missing', () => {
    const entries = good.entries.slice(0, -2);
    expect(verdictOn(joined({ ...good, entries }), pinned)).toEqual(refusal(size - 2, 'truncated'));
  });

  test('an entry added at the end is named', () => {
    const entries = [...good.entries, entryLine(entry('attempted', 'act-8'))];
    expect(verdictOn(joined({ ...good, entries }), pinned)).toEqual(refusal(size, `covers ${size} entries`));
  });

  test('a checkpoint line that is missing', () => {
    expect(verdictOn(joined(good).slice(0, -1), pinned)).toEqual(refusal(undefined, 'without a checkpoint'));
    expect(verdictOn([], pinned)).toEqual(refusal(undefined, 'without a checkpoint'));
  });

  test.each(['', ' ', '{}', joined(good).at(-1) ?? ''])('a line behind the checkpoint: %j', (line) => {
    expect(verdictOn([...joined(good), line], pinned)).toEqual(
      refusal(undefined, 'lines after the checkpoint'),
    );
  });

  test('the last line without its line feed', () => {
    const bytes = file(joined(good));
    expect(verdictOnBytes([bytes.subarray(0, -1)])).toEqual(refusal(undefined, 'within a line'));
    expect(verdictOnBytes([bytes, Buffer.from(' ')])).toEqual(refusal(undefined, 'within a line'));
  });

  test('bytes that are not UTF-8, where a replacement character would read the same', () => {
    const lines = exportLines(key, [entry('attempted', 'act-\ufffd')]);
    const bytes = file(joined({ ...lines, documents: [] }));
    expect(verdictOnBytes([bytes]).ok).toBe(true);
    const at = bytes.indexOf('\ufffd');
    const changed = Buffer.concat([bytes.subarray(0, at), Buffer.from([0xff]), bytes.subarray(at + 3)]);
    expect(verdictOnBytes([changed])).toEqual(refusal(undefined, 'not UTF-8'));
  });

  test('a signature by another key, under the same name or with the pinned key id', () => {
    const other = testKey(origin);
    const forged = { ...good, checkpoint: checkpointLine(checkpointOf(other, good.entries)) };
    expect(verdictOn(joined(forged), pinned)).toEqual(refusal(undefined, 'no signature by a known key'));
    const bothKeys = exportLines(other);
    expect(verdictOn(joined(bothKeys), pinned)).toEqual(refusal(undefined, 'another key'));
  });

  test('a signature swapped for one on another checkpoint of the same log', () => {
    const older = checkpointOf(key, good.entries.slice(0, 3));
    const newer = checkpointOf(key, good.entries);
    const mixed = newer.slice(0, newer.indexOf('\n\n')) + older.slice(older.indexOf('\n\n'));
    const checkpoint = checkpointLine(mixed);
    expect(verdictOn(joined({ ...good, checkpoint }), pinned)).toEqual(refusal(undefined, 'does not hold'));
  });

  test('an older checkpoint of the same log in place of its own', () => {
    const checkpoint = checkpointLine(checkpointOf(key, good.entries.slice(0, 3)));
    expect(verdictOn(joined({ ...good, checkpoint }), pinned)).toEqual(refusal(3, 'covers 3 entries'));
  });

  test('a checkpoint of another log by the same key', () => {
    const checkpoint = checkpointLine(checkpointOf(key, good.entries, 'other.example/log'));
    expect(verdictOn(joined({ ...good, checkpoint }), pinned)).toEqual(refusal(undefined, 'another log'));
    const header = headerLine({ origin: 'other.example/log', logKey: key.vkey });
    expect(verdictOn(joined({ ...good, header, checkpoint }), pinned)).toEqual(
      refusal(undefined, 'another origin'),
    );
    expect(verdictOn(joined({ ...good, header, checkpoint }), { logKey: key.vkey }).ok).toBe(true);
  });

  test('a document that is changed, with or without its hash', () => {
    const changed = documentLine({ version: 1, rules: ['anyone'] });
    const first = good.documents[0] ?? '';
    const second = good.documents[1] ?? '';
    const under = (line: string): Verdict =>
      verdictOn(joined({ ...good, documents: [line, second] }), pinned);
    expect(under(first.replace('"rules":[]', '"rules":[1]'))).toEqual(refusal(undefined, 'hash'));
    expect(under(changed)).toEqual(refusal(1, 'does not have'));
  });

  test.each([
    ['another version', canonicalJson({ 'escrowd-export': 2, logKey: key.vkey, origin })],
    ['another member', canonicalJson({ 'escrowd-export': 1, logKey: key.vkey, note: '', origin })],
    ['another order', `{"origin":"${origin}","logKey":"${key.vkey}","escrowd-export":1}`],
    ['not an object', '[]'],
    ['not JSON', 'escrowd'],
    ['an entry', good.entries[0] ?? ''],
  ])('a header that is %s', (_name, header) => {
    expect(verdictOn(joined({ ...good, header }), pinned).ok).toBe(false);
  });

  test('a document among the entries', () => {
    const line = documentLine({ version: 3 });
    const entries = [...good.entries.slice(0, 3), line, ...good.entries.slice(3)];
    expect(verdictOn(joined({ ...good, entries }), pinned)).toEqual(refusal(undefined, 'among the entries'));
  });

  test('the first fault stands, whatever comes after it', () => {
    const entries = good.entries.with(4, '{}').with(6, '{');
    expect(verdictOn(joined({ ...good, entries }), pinned)).toEqual(
      refusal(4, 'not an entry: of no known version'),
    );
  });
});

describe('whoever holds the key cannot rewrite what an auditor has seen', () => {
  const against = checkpointOf(key, good.entries.slice(0, 5));
  const rewritten = (lines: ExportLines): Verdict =>
    verdictOn(joined(resigned(key, lines)), { ...pinned, against });

  test('an old backup, older than the checkpoint, is found', () => {
    const backup = { ...good, documents: good.documents.slice(0, 1), entries: good.entries.slice(0, 4) };
    expect(verdictOn(joined(resigned(key, backup)), pinned).ok).toBe(true);
    expect(rewritten(backup)).toEqual(refusal(undefined, 'rolled back'));
  });

  test('any entry changed before the checkpoint is found; one after it was never seen', () => {
    good.entries.forEach((line, index) => {
      const entries = good.entries.with(index, line.replace('2026-01-01', '2026-01-02'));
      expect(verdictOn(joined(resigned(key, { ...good, entries })), pinned).ok).toBe(true);
      const verdict = rewritten({ ...good, entries });
      if (index < 5) expect(verdict).toEqual(refusal(undefined, 'root mismatch: the first 5 entries'));
      else expect(verdict.ok).toBe(true);
    });
  });

  test('a forked suffix is found by a checkpoint of the other branch', () => {
    const fork = good.entries.with(-1, entryLine(entry('attempted', 'act-9')));
    const other = checkpointOf(key, fork);
    expect(verdictOn(joined(good), { ...pinned, against: other })).toEqual(
      refusal(undefined, 'older checkpoint'),
    );
  });

  test('two entries in another order are found', () => {
    fc.assert(
      fc.property(fc.nat(4), fc.nat(4), (a, b) => {
        fc.pre(a !== b);
        expect(rewritten({ ...good, entries: swapped(good.entries, a, b) }).ok).toBe(false);
      }),
    );
  });

  test('an older checkpoint that this log has not signed is not believed', () => {
    const refused = (note: string): Verdict => verdictOn(joined(good), { ...pinned, against: note });
    const unsigned = signCheckpoint(testKey(origin), { origin, size: 1, root: Buffer.alloc(32) });
    expect(refused(unsigned)).toEqual(refusal(undefined, 'the older checkpoint: no signature'));
    expect(refused(checkpointOf(key, good.entries, 'b'))).toEqual(refusal(undefined, 'the older checkpoint'));
    expect(refused('junk')).toEqual(refusal(undefined, 'the older checkpoint: malformed note'));
  });
});

describe('acts must be whole, also in a log that is signed', () => {
  const policy = sampleEntries.filter(({ act }) => act === 'policy.apply');
  const from = policy.length;
  const alone = { time: '2026-01-01T00:00:00.000Z', request: 'a.b.c' };
  const time = alone.time;
  const cutShort = (id: string): Entry => entry('failed', id, { time, error: 'interrupted' });

  test.each<[string, readonly Entry[], number, string]>([
    ['an outcome without an attempt', [entry('done', 'a')], 0, 'no open attempt'],
    ['a denial without an attempt or a request', [entry('denied', 'a')], 0, 'no open attempt'],
    ['an outcome before its attempt', [entry('failed', 'a'), entry('attempted', 'a')], 0, 'no open attempt'],
    [
      'a second outcome',
      [entry('attempted', 'a'), entry('done', 'a'), entry('done', 'a')],
      2,
      'no open attempt',
    ],
    ['another act', [entry('attempted', 'a'), entry('done', 'a', { time, act: 'b' })], 1, 'outcome of b'],
    [
      'another actor',
      [entry('attempted', 'a'), entry('done', 'a', { time, actor: 'b' })],
      1,
      'outcome for b',
    ],
    ['an attempt repeated', [entry('attempted', 'a'), entry('attempted', 'a')], 1, 'attempted again'],
    [
      'a lone denial of an open act',
      [entry('attempted', 'a'), entry('denied', 'a', alone)],
      1,
      'refused anew',
    ],
    [
      'a closed act failed anew',
      [entry('attempted', 'a'), entry('denied', 'a'), entry('failed', 'a')],
      2,
      'no open',
    ],
  ])('%s is found', (_name, entries, index, reason) => {
    expect(onEntries([...policy, ...entries])).toEqual(refusal(from + index, reason));
  });

  test.each<[string, readonly Entry[], readonly number[]]>([
    [
      'done after it was closed as cut short',
      [entry('attempted', 'a'), cutShort('a'), entry('done', 'a')],
      [2],
    ],
    ['cut short after it was done', [entry('attempted', 'a'), entry('done', 'a'), cutShort('a')], [2]],
    ['cut short twice', [entry('attempted', 'a'), cutShort('a'), cutShort('a')], [2]],
    [
      'three outcomes',
      [entry('attempted', 'a'), cutShort('a'), entry('denied', 'a'), entry('done', 'a')],
      [2, 3],
    ],
  ])('an act that is %s: the first outcome counts, and the other is reported', (_name, entries, places) => {
    expect(onEntries([...policy, ...entries])).toMatchObject({
      ok: true,
      open: [],
      reported: {
        count: places.length,
        first: places.map((place) => ({ index: from + place, came: 'void' })),
      },
    });
  });

  test.each<[string, readonly Entry[], number, string]>([
    [
      'an act attempted again after it was cut short',
      [entry('attempted', 'a'), cutShort('a'), entry('attempted', 'a')],
      2,
      'attempted again',
    ],
    [
      'an outcome of another act after one was cut short',
      [entry('attempted', 'a'), cutShort('a'), entry('done', 'a', { time, act: 'b' })],
      2,
      'no open attempt',
    ],
    [
      'an outcome for another after one was cut short',
      [entry('attempted', 'a'), cutShort('a'), entry('done', 'a', { time, actor: 'b' })],
      2,
      'no open attempt',
    ],
  ])('%s is found', (_name, entries, index, reason) => {
    expect(onEntries([...policy, ...entries])).toEqual(refusal(from + index, reason));
  });

  test('a policy whose application counts for nothing comes into force for nobody', () => {
    const seen: unknown[] = [];
    const closed = entry('failed', 'act-5', { time, act: 'policy.apply', error: 'interrupted' });
    const before = policy.slice(0, 3);
    const checkEntry: VerifierOptions['checkEntry'] = (each, _index, { inForce }) => {
      if (each.act === 'x') seen.push(inForce);
      return undefined;
    };
    const later = entry('attempted', 'z', { time, act: 'x' });
    const after = [...policy.slice(3), later];
    expect(onEntries([...before, closed, ...after], { checkEntry })).toMatchObject({ ok: true });
    expect(onEntries([...before, ...after], { checkEntry })).toMatchObject({ ok: true });
    expect(seen).toEqual(documents);
  });

  test('an entry that is not one is named, and why', () => {
    const entries = [...good.entries.slice(0, 2), '{"act":"a"}'];
    expect(verdictOn(joined(resigned(key, { ...good, entries })), pinned)).toEqual(
      refusal(2, 'not an entry'),
    );
    const spaced = good.entries.with(3, (good.entries[3] ?? '').replace('":', '": '));
    expect(verdictOn(joined({ ...good, entries: spaced }), pinned)).toEqual(refusal(3, 'not canonical JSON'));
    const dated = good.entries.with(3, (good.entries[3] ?? '').replace('2026-01-01', '2026-02-30'));
    expect(verdictOn(joined({ ...good, entries: dated }), pinned)).toEqual(refusal(3, 'time'));
  });

  test('a document in force that the export lacks, and one that no entry puts in force', () => {
    const first = { ...good, documents: good.documents.slice(0, 1) };
    expect(verdictOn(joined(first), pinned)).toEqual(refusal(8, 'does not have'));
    const stray = { ...good, documents: [...good.documents, documentLine({ version: 3 })] };
    expect(verdictOn(joined(stray), pinned)).toEqual(refusal(undefined, 'no entry puts the document'));
    const unnamed = entry('done', 'p', { time, act: 'policy.apply' });
    const attempt = entry('attempted', 'p', { time, act: 'policy.apply' });
    expect(onEntries([...policy, attempt, unnamed])).toEqual(refusal(from + 1, 'does not have'));
  });
});

describe('the further check of entries', () => {
  test('sees every entry with its index and the document in force before it', () => {
    const seen: unknown[] = [];
    const secondHash = documentHash(documents[1] ?? null);
    verdictOn(joined(good), {
      ...pinned,
      checkEntry: ({ id, phase }, index, seenDocuments) => {
        seen.push([index, id, phase, seenDocuments.inForce, seenDocuments.find(secondHash)]);
        return undefined;
      },
    });
    expect(seen).toEqual(
      sampleEntries.map(({ id, phase }, index) => {
        const inForce = index < 2 ? undefined : documents[index <= 8 ? 0 : 1];
        return [index, id, phase, inForce, documents[1]];
      }),
    );
  });

  test('may refuse an entry, which is then named', () => {
    const checkEntry = (_entry: Entry, index: number): string | undefined =>
      index === 3 ? 'the request is not signed' : undefined;
    expect(verdictOn(joined(good), { ...pinned, checkEntry })).toEqual(
      refusal(3, 'the request is not signed'),
    );
  });

  test('may not fail: what it throws goes through', () => {
    const checkEntry = (): never => {
      throw new Error('bug');
    };
    expect(() => verdictOn(joined(good), { ...pinned, checkEntry })).toThrow('bug');
  });
});

test('a pinned key that is not one is refused at once', () => {
  expect(() => new ExportVerifier({ logKey: 'key' })).toThrow(NoteError);
});
