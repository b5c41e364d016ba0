import fc from 'fast-check';
import { canonicalJson } from '../../../src/log/entry/canonical.js';
import { parseEntry, type Entry } from '../../../src/log/entry/entry.js';
import { scanEntry } from '../../../src/log/entry/entryScan.js';
import { isPlainJson } from '../../../src/log/entry/plainJson.js';

/** Words with what JSON and this format make hard, so that mutations meet it. */
const words = fc.oneof(
  fc.string({ minLength: 1, maxLength: 8 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 4 }),
  fc.constantFrom('done', 'über', '},"id":"x","phase":"done"', '{', '\u2028', '\ud83d\ude00', ',', 'v":1}'),
);
const plainWords = fc.stringMatching(/^[a-z0-9_.:é€-]{1,12}$/);
const detailOf = (name: fc.Arbitrary<string>): fc.Arbitrary<Entry['detail']> =>
  fc.dictionary(
    name,
    fc.oneof(
      name,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(name, { maxLength: 3 }),
      fc.dictionary(name, fc.array(fc.integer(), { maxLength: 2 }), { maxKeys: 3 }),
    ),
    { maxKeys: 4 },
  );
const jws = fc.stringMatching(/^[A-Za-z0-9_-]{1,9}\.[A-Za-z0-9_-]{1,9}\.[A-Za-z0-9_-]{1,9}$/);

/** Entries of each phase and version; `word` makes their strings. */
function entriesOf(word: fc.Arbitrary<string>): fc.Arbitrary<Entry> {
  const keys = fc
    .uniqueArray(word, { minLength: 1, maxLength: 3 })
    .map((names) => names.toSorted((a, b) => (a < b ? -1 : 1)));
  const subject = fc.record(
    { grant: word, key: word, keys, owner: word, recovery: word },
    { requiredKeys: [] },
  );
  const time = fc
    .date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true })
    .map((date) => date.toISOString());
  const common = { act: word, actor: word, detail: detailOf(word), id: word, subject, time };
  const v1 = { ...common, v: fc.constant<1>(1) };
  const v2 = { ...common, v: fc.constant<2>(2), certificate: fc.constant('A'.repeat(43)) };
  const phase = <P extends Entry['phase']>(name: P): { readonly phase: fc.Arbitrary<P> } => ({
    phase: fc.constant(name),
  });
  const required = ['act', 'actor', 'detail', 'id', 'subject', 'time', 'v', 'phase'] as const;
  return fc.oneof(
    fc.record({ ...v1, ...phase('attempted'), request: jws }, { requiredKeys: [...required] }),
    fc.record(
      { ...v1, ...phase('done'), digest: fc.constant('ab'.repeat(32)) },
      { requiredKeys: [...required] },
    ),
    fc.record(
      { ...v1, ...phase('denied'), error: word, request: jws },
      { requiredKeys: [...required, 'error'] },
    ),
    fc.record({ ...v1, ...phase('failed'), error: word }),
    fc.record({ ...v2, ...phase('attempted') }),
    fc.record({ ...v2, ...phase('denied'), error: word }),
  );
}

/** The head that the slow way reads; undefined when this is no entry. */
function headOf(text: string): object | undefined {
  try {
    const { act, actor, id, phase, request, certificate, error } = parseEntry(text, Buffer.byteLength(text));
    return { act, actor, id, phase, request, certificate, error };
  } catch {
    return undefined;
  }
}

describe('the quick look at an entry', () => {
  test('takes every entry without escapes and surrogates, and reads its head', () => {
    fc.assert(
      fc.property(entriesOf(plainWords), (entry) => {
        const text = canonicalJson(entry);
        expect(headOf(text)).toBeDefined();
        expect(scanEntry(text)).toEqual(headOf(text));
      }),
      { numRuns: 500 },
    );
  });

  test('takes nothing that is not an entry in canonical form, and reads nothing else of it', () => {
    const pieces = [
      ...Array.from('{}[],:"\\ .-0129avz\n\u2028'),
      '""',
      ',"',
      '{}',
      '"request":"a.b.c",',
      '"v":2',
      '1e0',
      '-0',
    ];
    const mutated = fc
      .tuple(
        fc.oneof(entriesOf(plainWords), entriesOf(words)),
        fc.array(fc.tuple(fc.nat(), fc.nat(3), fc.constantFrom('', ...pieces)), {
          minLength: 0,
          maxLength: 2,
        }),
      )
      .map(([entry, changes]) =>
        changes.reduce((text, [place, length, piece]) => {
          const start = place % (text.length + 1);
          return text.slice(0, start) + piece + text.slice(start + length);
        }, canonicalJson(entry)),
      );
    fc.assert(
      fc.property(mutated, (text) => {
        const head = scanEntry(text);
        if (head !== undefined) expect([text, head]).toEqual([text, headOf(text)]);
      }),
      { numRuns: 5000 },
    );
  });

  test.each<[string, (entry: Record<string, unknown>) => void]>([
    ['a member is missing', (entry) => delete entry['actor']],
    ['there is one more', (entry) => (entry['note'] = 'x')],
    ['the subject has one more', (entry) => (entry['subject'] = { grant: 'a', note: 'x' })],
    ['a certificate is in version 1', (entry) => (entry['certificate'] = 'A'.repeat(43))],
    ['version 2 has no certificate', (entry) => (entry['v'] = 2)],
    [
      'there is a request beside the certificate',
      (entry) => Object.assign(entry, { certificate: 'A'.repeat(43), v: 2 }),
    ],
    ['an outcome has a request', (entry) => (entry['phase'] = 'done')],
    ['a failure has a request', (entry) => Object.assign(entry, { phase: 'failed', error: 'x' })],
    ['a denial has no code', (entry) => (entry['phase'] = 'denied')],
    ['an attempt has a code', (entry) => (entry['error'] = 'x')],
    ['an attempt has a digest', (entry) => (entry['digest'] = 'ab'.repeat(32))],
    ['the phase is unknown', (entry) => (entry['phase'] = 'begun')],
    ['the day does not exist', (entry) => (entry['time'] = '2026-02-30T00:00:00.000Z')],
    ['an id is empty', (entry) => (entry['id'] = '')],
    ['an id of the subject is empty', (entry) => (entry['subject'] = { key: '' })],
    ['the keys are in another order', (entry) => (entry['subject'] = { keys: ['b', 'a'] })],
    ['a key stands twice', (entry) => (entry['subject'] = { keys: ['a', 'a'] })],
    ['there are no keys', (entry) => (entry['subject'] = { keys: [] })],
    ['the request is not a JWS', (entry) => (entry['request'] = 'a.b')],
  ])('takes nothing when %s', (_name, change) => {
    const entry: Record<string, unknown> = {
      act: 'a',
      actor: 'b',
      detail: { x: 1 },
      id: 'c',
      phase: 'attempted',
      request: 'a.b.c',
      subject: { key: 'k', owner: 'o' },
      time: '2026-01-31T23:59:59.999Z',
      v: 1,
    };
    expect(scanEntry(canonicalJson(entry))).toBeDefined();
    change(entry);
    expect(scanEntry(canonicalJson(entry))).toBeUndefined();
    expect(headOf(canonicalJson(entry))).toBeUndefined();
  });

  test.each([
    ['members of the subject', '"subject":{"key":"k","owner":"o"}', '"subject":{"owner":"o","key":"k"}'],
    ['commas in the subject', '"subject":{"key":"k",', '"subject":{"key":"k"'],
    ['a comma before the first', '"subject":{"key"', '"subject":{,"key"'],
    ['members of the detail', '"detail":{"a":1,"b":2}', '"detail":{"b":2,"a":1}'],
    ['a member of the detail twice', '"detail":{"a":1,"b":2}', '"detail":{"a":1,"a":2}'],
    ['numbers', '"a":1', '"a":01'],
    ['numbers with a sign', '"a":1', '"a":-0'],
    ['words with a sign', '"a":1', '"a":-null'],
    ['words behind digits', '"a":1', '"a":1234567890123456true'],
    ['numbers beyond 2^53', '"a":1', '"a":9007199254740993'],
    ['spaces', '"a":1', '"a": 1'],
    ['escapes', '"id":"c"', '"id":"\\u0063"'],
    ['an end', '"v":1}', '"v":1}\n'],
  ])('takes only one spelling of %s', (_name, from, to) => {
    const text =
      '{"act":"a","actor":"b","detail":{"a":1,"b":2},"id":"c","phase":"attempted",' +
      '"subject":{"key":"k","owner":"o"},"time":"2026-01-31T23:59:59.999Z","v":1}';
    expect(scanEntry(text)).toBeDefined();
    expect(scanEntry(text.replace(from, to))).toBeUndefined();
    expect(headOf(text.replace(from, to))).toBeUndefined();
  });
});

test('a text that is plainly canonical is what is written for its value', () => {
  const value = fc.oneof(detailOf(words), detailOf(plainWords), fc.array(fc.integer()));
  const text = fc
    .tuple(value, fc.nat(), fc.constantFrom(...Array.from('{}[],:" -019et')))
    .map(([of, place, piece]) => {
      const written = canonicalJson(of);
      const start = place % (written.length + 1);
      return written.slice(0, start) + piece + written.slice(start + (place % 3));
    });
  fc.assert(
    fc.property(text, (any) => {
      if (isPlainJson(any)) expect(canonicalJson(JSON.parse(any))).toBe(any);
    }),
    { numRuns: 5000 },
  );
  for (const plain of ['{"a":[1,-2,true,null,{"b":"ü"}],"b":{}}', '[]', '0', '"x"'])
    expect(isPlainJson(plain)).toBe(true);
});
