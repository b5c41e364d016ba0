import { DrillEvidence } from '../../src/audit/drills.js';
import { DirectoryInForce } from '../../src/audit/directoryInForce.js';
import { StatementEvidence } from '../../src/audit/statements.js';
import { chainEnd, chainPreimage } from '../../src/escrow/records/drills/drilling.js';
import { DRILL_TYPE } from '../../src/escrow/records/statementTypes.js';
import type { Json } from '../../src/log/entry/canonical.js';
import type { Entry } from '../../src/log/entry/entry.js';

/*
 * What an auditor finds of drills that a log says of: a lie for each rule, and none of what is true. Who signed is for the suites of
 * statements.
 */
const KEY = `key_${'1'.repeat(32)}`;
const OPENING = Buffer.from('what lies in the link');
const shown = (used: number): string => chainPreimage(OPENING, used)?.toString('base64url') ?? '';

function entry(act: string, phase: 'attempted' | 'done', more: Partial<Entry>): Entry {
  const common = { v: 1, time: '2026-03-01T12:00:00.000Z', act, phase, actor: 'dana' } as const;
  return { ...common, id: 'act_1', subject: {}, detail: {}, ...more };
}

const birth = (
  more: Readonly<Record<string, Json>> = { drill: chainEnd(OPENING).toString('base64url') },
): Entry =>
  entry('key.generate', 'done', {
    subject: { key: KEY, owner: 'olga' },
    digest: 'ab'.repeat(32),
    detail: {
      shares: [
        {
          purpose: 'operate',
          kek: 'kek',
          recipients: [{ depositary: 'dana', recipient: 'cd'.repeat(32), share: 'ef'.repeat(32), ...more }],
        },
      ],
    },
  });
const resealedTo = (depositary: string): Entry =>
  entry('recovery.reseal', 'done', {
    subject: { keys: [KEY], owner: 'olga', recovery: 'rec_1' },
    detail: {
      keys: {
        [KEY]: {
          ...{ generation: 2, previous: 0, digest: 'ab'.repeat(32) },
          shares: { operate: { [depositary]: 'ef'.repeat(32) } },
          drills: { operate: { [depositary]: chainEnd(Buffer.from('another link')).toString('base64url') } },
        },
      },
    },
  });
const resealed = resealedTo('dana');
const leaving = resealedTo('otto');

const DRILL = {
  ...{ key: KEY, purpose: 'operate', generation: 1, share: 'ef'.repeat(32), link: 'ef'.repeat(32) },
  ...{ result: 'opened', preimage: shown(0) },
};
type Drill = Readonly<Record<string, Json>>;

/** A drill as its depositary signed it, and what is said of it. */
function drilled(
  signed: Drill,
  said: { readonly attempt?: Partial<Entry>; readonly done?: Drill } = {},
): Entry[] {
  const jws = [
    { typ: DRILL_TYPE, alg: 'ES256', kid: 'k' },
    { iss: 'dana', drills: [signed] },
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .concat('c2ln')
    .join('.');
  const { key, purpose, generation, preimage, result } = signed;
  const short = { key, purpose, generation, preimage } as Drill;
  const subject = { keys: [KEY], owner: 'olga' };
  return [
    entry('key.drill', 'attempted', {
      subject,
      detail: { statement: jws, drills: [short] },
      ...said.attempt,
    }),
    entry('key.drill', 'done', {
      ...{ subject, digest: 'ab'.repeat(32) },
      detail: { results: [{ key, purpose, generation, result, ...said.done } as Drill] },
    }),
  ];
}

/** What is found of these entries: of the first that is refused. */
function verdict(entries: readonly Entry[]): string | undefined {
  const evidence = new DrillEvidence();
  for (const one of entries) {
    // by whom a reseal is held to its plan, it is told on
    if (one.act === 'recovery.reseal') evidence.deposited(one);
    const found = evidence.check(one);
    if (found !== undefined) return typeof found === 'string' ? found : found.invented;
  }
  return undefined;
}

test('drills as they are made are no ground to refuse the log', () => {
  const next = { ...DRILL, preimage: shown(1) };
  const failed = { ...DRILL, result: 'link-unopened', preimage: null };
  expect(verdict([birth(), ...drilled(DRILL), ...drilled(failed), ...drilled(next)])).toBeUndefined();
  // what the daemon has found besides
  expect(verdict([birth(), ...drilled(DRILL, { done: { result: 'record-mismatch' } })])).toBeUndefined();
  // a deposit from before there were chains, and the next one of a key
  expect(verdict([birth({}), ...drilled({ ...DRILL, preimage: null })])).toBeUndefined();
  const again = {
    ...DRILL,
    generation: 2,
    preimage: chainPreimage(Buffer.from('another link'), 0)?.toString('base64url') ?? '',
  };
  expect(verdict([birth(), ...drilled(DRILL), resealed, ...drilled(again)])).toBeUndefined();
});

const LOG = 'log.example+0123abcd+AAAA';
const MADE = Date.parse('2026-03-01T12:00:00.000Z') / 1000;

/** The attempt of a drill whose statement is of this time, recorded so many seconds after it was made. */
const keptBack = (seconds: number, more: Readonly<Record<string, Json>> = {}): string | undefined => {
  const signed = { iss: 'dana', aud: LOG, iat: MADE, exp: MADE + 300, drills: [DRILL], ...more };
  const jws = [{ typ: DRILL_TYPE, alg: 'ES256', kid: 'k' }, signed]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .concat('c2ln')
    .join('.');
  const found = new StatementEvidence(LOG, new DirectoryInForce([])).check(
    entry('key.drill', 'attempted', {
      detail: { statement: jws, drills: [] },
      time: new Date((MADE + seconds) * 1000).toISOString(),
    }),
  );
  return typeof found === 'object' ? found.invented : found;
};

test('a drill that was kept back, and is recorded on another day, is found', () => {
  expect(keptBack(2)).toBeUndefined();
  for (const found of [keptBack(86_400), keptBack(-86_400), keptBack(2, { exp: MADE + 86_400 })])
    expect(found).toMatch(/of another time/);
});

const LIES: readonly (readonly [claim: string, entries: readonly Entry[], reason: RegExp])[] = [
  ['that nobody signed', drilled(DRILL, { attempt: { detail: {} } }), /has signed no drill/],
  [
    'of other shares than were signed',
    drilled(DRILL, {
      attempt: { detail: { ...drilled(DRILL)[0]?.detail, drills: [{ ...DRILL, purpose: 'release' }] } },
    }),
    /other shares than they signed/,
  ],
  ['by a hash that was shown before', [...drilled(DRILL), ...drilled(DRILL)], /not the next of its chain/],
  ['by a hash before its turn', drilled({ ...DRILL, preimage: shown(1) }), /not the next of its chain/],
  ['by a hash of nothing', drilled({ ...DRILL, preimage: 'A'.repeat(43) }), /not the next of its chain/],
  ['without the hash that its deposit has', drilled({ ...DRILL, preimage: null }), /shows no hash/],
  ['of another deposit', drilled({ ...DRILL, generation: 2 }), /not the newest/],
  ['of the deposit before', [resealed, ...drilled(DRILL)], /not the newest/],
  [
    'of the deposit before, by whom the key was not sealed to again',
    [leaving, ...drilled(DRILL)],
    /not the newest/,
  ],
  [
    'of the next deposit, by whom it was not sealed to',
    [leaving, ...drilled({ ...DRILL, generation: 2, preimage: null })],
    /has no share of the newest/,
  ],
  ['for another purpose', drilled({ ...DRILL, purpose: 'release' }), /that it does not have/],
  [
    'of keys of somebody else',
    drilled(DRILL, { attempt: { subject: { keys: [KEY], owner: 'otto' } } }),
    /keys of somebody else/,
  ],
  [
    'to have opened, where it did not',
    drilled({ ...DRILL, result: 'link-unopened', preimage: null }, { done: { result: 'opened' } }),
    /something else came of the drill/,
  ],
  ['of another deposit in the end', drilled(DRILL, { done: { generation: 2 } }), /something else came/],
  [
    'with a word for what came of it that nobody knows',
    drilled(DRILL, { done: { result: 'fine' } }),
    /something else/,
  ],
];

test.each(LIES)('a drill %s is found', (_claim, entries, reason) => {
  expect(verdict([birth(), ...entries])).toMatch(reason);
});
