import { ImportEvidence } from '../../src/audit/imports.js';
import type { Entry } from '../../src/log/entry/entry.js';

const at = (minute: number): string => new Date(Date.UTC(2026, 2, 1, 12, minute)).toISOString();
const PAIR = 'imp_1';

function entry(act: string, phase: 'attempted' | 'done', minute: number, more: Partial<Entry> = {}): Entry {
  const digest = phase === 'done' ? { digest: 'ab'.repeat(32) } : {};
  const common = { v: 1, time: at(minute), act, id: `act_${minute}`, phase, actor: 'ann' } as const;
  return { ...common, subject: {}, detail: { import: PAIR }, ...digest, ...more };
}

const prepared = entry('import.prepare', 'done', 0, {
  detail: { import: PAIR, expiresAt: at(60), key: 'ab'.repeat(32) },
});
const used = (minute: number, more: Partial<Entry> = {}): Entry =>
  entry('key.import', 'attempted', minute, more);

/** What is said of the last of these entries. */
function verdict(...entries: readonly Entry[]): string | undefined {
  const evidence = new ImportEvidence();
  return entries.map((one) => evidence.check(one)).at(-1);
}

test('a key that is imported under a key of its own is no ground to refuse the log', () => {
  const done = entry('key.import', 'done', 5, { detail: {} });
  expect(verdict(entry('import.prepare', 'attempted', 0), prepared, used(5), done)).toBeUndefined();
  expect(verdict(prepared, used(5))).toBeUndefined();
});

test.each<[string, RegExp, readonly Entry[]]>([
  ['under no import key', /under no import key/, [used(5, { detail: {} })]],
  ['under one that was never made', /does not stand/, [used(5)]],
  [
    'under one whose making came to nothing',
    /does not stand/,
    [entry('import.prepare', 'attempted', 0), used(5)],
  ],
  ['twice', /does not stand/, [prepared, used(5), used(6)]],
  ['under one that has ended', /does not stand/, [prepared, entry('import.expire', 'done', 4), used(5)]],
  ['by somebody else', /somebody else/, [prepared, used(5, { actor: 'eve' })]],
  ['too late', /too old/, [prepared, used(90)]],
])('a key that is imported %s is found', (_what, reason, entries) => {
  expect(verdict(...entries)).toMatch(reason);
});
