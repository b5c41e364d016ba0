import fc from 'fast-check';
import {
  decodeEntry,
  encodeEntry,
  EntryError,
  maximumEntryBytes,
  type Entry,
} from '../../../src/log/entry/entry.js';

const attempted: Entry = {
  v: 1,
  time: '2026-01-31T23:59:59.999Z',
  act: 'key.generate',
  id: 'act-1',
  phase: 'attempted',
  actor: 'person:ada',
  subject: { key: 'key-1', owner: 'person:ada' },
  request: 'eyJhIjoxfQ.eyJiIjoyfQ.c2ln',
  detail: { spec: 'EC-P256' },
};
const { request, ...bare } = attempted;
const certificate = 'A'.repeat(43);
const done: Entry = { ...bare, phase: 'done', digest: 'ab'.repeat(32) };
const denied: Entry = { ...bare, phase: 'denied', error: 'not-allowed' };
const failed: Entry = { ...bare, phase: 'failed', error: 'token-unavailable' };

const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const without = (entry: Entry, name: keyof Entry): object =>
  Object.fromEntries(Object.entries(entry).filter(([member]) => member !== name));
const sorted = (entry: object): object => Object.fromEntries(Object.entries(entry).sort());

describe('the entry of the log', () => {
  test('its bytes are pinned: another encoding would be another log', () => {
    expect(Buffer.from(encodeEntry(attempted)).toString()).toBe(
      '{"act":"key.generate","actor":"person:ada","detail":{"spec":"EC-P256"},"id":"act-1","phase":"attempted",' +
        '"request":"eyJhIjoxfQ.eyJiIjoyfQ.c2ln","subject":{"key":"key-1","owner":"person:ada"},' +
        '"time":"2026-01-31T23:59:59.999Z","v":1}',
    );
    expect(Buffer.from(encodeEntry({ ...bare, v: 2, certificate })).toString()).toBe(
      '{"act":"key.generate","actor":"person:ada","certificate":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",' +
        '"detail":{"spec":"EC-P256"},"id":"act-1","phase":"attempted",' +
        '"subject":{"key":"key-1","owner":"person:ada"},"time":"2026-01-31T23:59:59.999Z","v":2}',
    );
  });

  test.each([
    ['an attempt', attempted],
    [
      'an attempt of the daemon itself, without a request',
      { ...attempted, ...bare, phase: 'attempted' as const },
    ],
    ['a done', done],
    ['a done without a digest', { ...bare, phase: 'done' as const }],
    ['a denial', denied],
    ['a denial that stands alone', { ...denied, request: 'a.b.c' }],
    ['an attempt by client certificate', { ...bare, v: 2 as const, certificate }],
    ['a denial of a call by client certificate', { ...denied, v: 2 as const, certificate }],
    ['a failure', failed],
    ['an entry about nothing', { ...failed, subject: {} }],
    [
      'an entry with a detail called __proto__',
      { ...failed, detail: JSON.parse('{"__proto__":1}') as { a: 1 } },
    ],
  ])('%s is read back as it was written', (_name, entry) => {
    expect(decodeEntry(encodeEntry(entry))).toEqual(entry);
  });

  test.each<[string, object]>([
    ['another version', { ...attempted, v: 2 }],
    ['an unknown member', { ...attempted, extra: 1 }],
    ['an unknown phase', { ...attempted, phase: 'begun' }],
    ['a phase that only objects have', { ...attempted, phase: 'toString' }],
    ['an unknown subject', { ...attempted, subject: { app: 'a' } }],
    ['an empty subject id', { ...attempted, subject: { key: '' } }],
    ['a subject that is a list', { ...attempted, subject: [] }],
    ['a detail that is null', { ...attempted, detail: null }],
    ['no detail', without(attempted, 'detail')],
    ['no actor', without(attempted, 'actor')],
    ['an empty act', { ...attempted, act: '' }],
    ['an id that is a number', { ...attempted, id: 7 }],
    ['a request that is not a compact JWS', { ...attempted, request: 'a.b' }],
    ['an error on an attempt', { ...attempted, error: 'x' }],
    ['a digest on an attempt', { ...attempted, digest: 'ab'.repeat(32) }],
    ['a request on a done', { ...done, request }],
    ['a certificate in an entry of version 1', { ...bare, certificate }],
    ['a certificate beside a request', { ...attempted, v: 2, certificate }],
    ['neither in an entry of version 2', { ...bare, v: 2 }],
    ['an outcome of version 2', { ...done, v: 2, certificate }],
    ['a failure of version 2', { ...failed, v: 2, certificate }],
    ['a certificate that is not a SHA-256', { ...bare, v: 2, certificate: certificate.slice(1) }],
    ['a certificate with stray bits', { ...bare, v: 2, certificate: certificate.replace(/.$/, 'B') }],
    ['a request on a failure', { ...failed, request }],
    ['a digest in capitals', { ...done, digest: 'AB'.repeat(32) }],
    ['a digest that is too short', { ...done, digest: 'ab' }],
    ['an error on a done', { ...done, error: 'x' }],
    ['a denial without a code', without(denied, 'error')],
    ['a failure without a code', without(failed, 'error')],
    ['a digest on a denial', { ...denied, digest: 'ab'.repeat(32) }],
    ['a time in another zone', { ...attempted, time: '2026-01-31T23:59:59.999+01:00' }],
    ['a time without milliseconds', { ...attempted, time: '2026-01-31T23:59:59Z' }],
    ['a day that does not exist', { ...attempted, time: '2026-02-30T00:00:00.000Z' }],
    ['an hour that does not exist', { ...attempted, time: '2026-01-31T24:00:00.000Z' }],
    ['a leap second', { ...attempted, time: '2016-12-31T23:59:60.000Z' }],
  ])('%s is neither written nor read', (_name, entry) => {
    expect(() => encodeEntry(entry as Entry)).toThrow(EntryError);
    expect(() => decodeEntry(bytesOf(sorted(entry)))).toThrow(EntryError);
  });

  test.each<[string, Uint8Array]>([
    ['members in another order', bytesOf(attempted)],
    ['a space behind', Buffer.concat([encodeEntry(attempted), Buffer.from(' ')])],
    ['a byte order mark in front', Buffer.concat([Buffer.from('\ufeff'), encodeEntry(attempted)])],
    ['bytes that are not UTF-8', Buffer.concat([encodeEntry(attempted), Buffer.from([0xff])])],
    ['nothing', new Uint8Array(0)],
    ['null', Buffer.from('null')],
    ['a list', Buffer.from('[]')],
  ])('%s is not the canonical form', (_name, bytes) => {
    expect(() => decodeEntry(bytes)).toThrow(EntryError);
  });

  test('an entry has at most 65,535 bytes, which an entry bundle can hold', () => {
    const room = maximumEntryBytes - encodeEntry({ ...attempted, detail: { fill: '' } }).length;
    const longest = { ...attempted, detail: { fill: 'a'.repeat(room) } };
    expect(decodeEntry(encodeEntry(longest))).toEqual(longest);
    expect(() => encodeEntry({ ...attempted, detail: { fill: 'a'.repeat(room + 1) } })).toThrow(RangeError);
    const tooLong = Buffer.from(Buffer.from(encodeEntry(longest)).toString().replace('aaa', 'aaaa'));
    expect(() => decodeEntry(tooLong)).toThrow(EntryError);
  });

  test('a value without a canonical form is not written', () => {
    expect(() => encodeEntry({ ...attempted, detail: { half: 0.5 } })).toThrow(TypeError);
    expect(() => encodeEntry({ ...attempted, actor: '\ud800' })).toThrow(TypeError);
  });

  test('no change of one bit is read as the same entry', () => {
    const bytes = Buffer.from(encodeEntry(done));
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const changed = Buffer.from(bytes);
        changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        let entry: Entry | undefined;
        try {
          entry = decodeEntry(changed);
        } catch {
          return;
        }
        expect(entry).not.toEqual(done);
      }),
      { numRuns: 2000 },
    );
  });

  test('times are those that there are: every day that a Date has, and no other', () => {
    const isTaken = (time: string): boolean => {
      try {
        encodeEntry({ ...attempted, time });
        return true;
      } catch {
        return false;
      }
    };
    const isInstant = (time: string): boolean => {
      const date = new Date(time);
      return !Number.isNaN(date.getTime()) && date.toISOString() === time;
    };
    const two = (value: number): string => String(value).padStart(2, '0');
    for (const year of ['0000', '1900', '2000', '2023', '2024', '2100', '9999'])
      for (let month = 0; month <= 13; month += 1)
        for (let day = 0; day <= 32; day += 1) {
          const time = `${year}-${two(month)}-${two(day)}T12:00:00.000Z`;
          if (isTaken(time) !== isInstant(time)) throw new Error(time);
        }
    for (const time of ['23:59:59', '24:00:00', '23:60:00', '23:59:60'].map((at) => `2026-01-31T${at}.000Z`))
      if (isTaken(time) !== isInstant(time)) throw new Error(time);
  });
});
