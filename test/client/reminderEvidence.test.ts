import { OutcomeEvidence } from '../../src/audit/outcomes.js';
import { QuorumEvidence } from '../../src/audit/quorums.js';
import { RecoveryEvidence } from '../../src/audit/recoveries.js';
import { documentHash } from '../../src/log/export/format.js';
import type { Entry } from '../../src/log/entry/entry.js';

/* A log that says of people that they were told to approve, who were not to be. */

const KEY = 'key_1';
const RECOVERY = 'rec_1';
const DELAY_MINUTES = 60;
const subject = { keys: [KEY], owner: 'olga', recovery: RECOVERY };
const at = (minute: number): string => new Date(Date.UTC(2026, 2, 1, 12, minute)).toISOString();

/** An act with its outcome. */
function act(
  name: string,
  minute: number,
  more: {
    readonly actor?: string;
    readonly subject?: Entry['subject'];
    readonly detail?: Entry['detail'];
    readonly done?: Entry['detail'];
    readonly request?: string;
  } = {},
): readonly Entry[] {
  const { actor = 'escrowd', detail = {}, done = {}, request } = more;
  const id = `act_${name}_${minute}_${actor}`;
  const common = { v: 1, time: at(minute), act: name, id, actor, subject: more.subject ?? subject } as const;
  return [
    { ...common, phase: 'attempted', detail, ...(request === undefined ? {} : { request }) },
    { ...common, phase: 'done', detail: done, digest: 'ab'.repeat(32) },
  ];
}

const asked = { purpose: 'operate', scope: { app: 'mailer' }, reason: 'left' };
const requestHash = documentHash({
  ...{ ...asked, version: 3, recovery: RECOVERY, requester: 'ann', keys: [KEY] },
});
const filed = act('recovery.request', 0, { actor: 'ann', detail: { ...asked, requestHash } });
const deposited = act('key.generate', 0, {
  subject: { key: KEY, owner: 'olga' },
  detail: {
    quorums: [
      ['dana', 'dave'],
      ['dana', 'dora'],
    ],
  },
});

function intends(actor: string, minute: number, holdsMinutes = 24 * 60): readonly Entry[] {
  const exp = Date.parse(at(minute + holdsMinutes)) / 1000;
  const payload = Buffer.from(JSON.stringify({ exp })).toString('base64url');
  const header = Buffer.from(JSON.stringify({ alg: 'ES256' })).toString('base64url');
  return act('recovery.intend', minute, {
    actor,
    detail: { requestHash, statement: `${header}.${payload}.AAAA` },
  });
}

function reminds(depositaries: readonly string[], minute: number, more = {}): readonly Entry[] {
  return act('recovery.remind', minute, {
    detail: { requestHash, depositaries },
    done: { depositaries },
    ...more,
  });
}

function objectionsTo(entries: readonly Entry[], isAfterDelay = true): readonly unknown[] {
  const terms = {
    delayMs: () => DELAY_MINUTES * 60_000,
    isAfterDelay: () => isAfterDelay,
    denialsToEnd: () => Infinity,
  };
  const evidence = [
    new OutcomeEvidence(),
    new RecoveryEvidence(),
    new QuorumEvidence(terms, { lists: () => true }),
  ];
  return entries.flatMap((entry) =>
    evidence.map((one) => one.check(entry)).filter((why) => why !== undefined),
  );
}

const both = [...intends('dana', 1), ...intends('dave', 5)];
const begun = [...deposited, ...filed, ...both];

test('when the delay is over, to those who have said that they intend to, is no ground to refuse the log', () => {
  expect(objectionsTo([...begun, ...reminds(['dana', 'dave'], 65)])).toEqual([]);
  // each of the quorum that they are in, and again of another intent
  const later = [...intends('dora', 30), ...reminds(['dana', 'dave'], 65), ...reminds(['dora'], 90)];
  expect(objectionsTo([...begun, ...later])).toEqual([]);
  const anew = [...reminds(['dana', 'dave'], 65), ...intends('dave', 70), ...reminds(['dave'], 130)];
  expect(objectionsTo([...begun, ...anew])).toEqual([]);
});

test('one that came to nothing, and is made again, is none either', () => {
  const [attempt] = reminds(['dana'], 65);
  if (attempt === undefined) throw new Error('there is an attempt');
  const failed: Entry = { ...attempt, phase: 'failed', error: 'interrupted', detail: {} };
  expect(objectionsTo([...begun, attempt, failed, ...reminds(['dana'], 66)])).toEqual([]);
});

const veto = act('recovery.veto', 10, { actor: 'olga', detail: { requestHash } });
const denial = act('recovery.deny', 10, {
  ...{ actor: 'dave', detail: { requestHash } },
  done: { status: 'pending' },
});

test.each<[string, readonly Entry[], RegExp]>([
  ['of a request that nobody filed', [...deposited, ...reminds(['dana'], 65)], /was not made, or has ended/],
  ['of one that was vetoed', [...begun, ...veto, ...reminds(['dana'], 65)], /was not made, or has ended/],
  [
    'about something else than was asked',
    [...begun, ...reminds(['dana'], 65, { detail: { requestHash: 'ab', depositaries: ['dana'] } })],
    /something else than was asked/,
  ],
  [
    'that does not say of which request',
    [...begun, ...reminds(['dana'], 65, { detail: { depositaries: ['dana'] } })],
    /does not say of which request/,
  ],
  ['before the delay is over', [...begun, ...reminds(['dana'], 64)], /before the delay of 3600 seconds/],
  [
    'before that of the quorum that somebody is in',
    [...begun, ...intends('dora', 30), ...reminds(['dora'], 65)],
    /before the delay of 3600 seconds/,
  ],
  [
    'where no quorum intends to',
    [...deposited, ...filed, ...intends('dana', 1), ...reminds(['dana'], 65)],
    /before a quorum intended to/,
  ],
  [
    'to somebody who has not said that they intend to',
    [...begun, ...reminds(['dora'], 65)],
    /to dora, who has not said/,
  ],
  [
    'to somebody who has denied',
    [...begun, ...denial, ...reminds(['dave'], 65)],
    /to dave, who has not said/,
  ],
  [
    'of an intent that has expired',
    [...deposited, ...filed, ...intends('dana', 1, 30), ...intends('dave', 5), ...reminds(['dana'], 65)],
    /before a quorum intended to/,
  ],
  [
    'twice of one intent',
    [...begun, ...reminds(['dana', 'dave'], 65), ...reminds(['dana'], 66)],
    /to dana again/,
  ],
  ['that names nobody', [...begun, ...reminds([], 65)], /does not say who is told/],
  ['that names somebody twice', [...begun, ...reminds(['dana', 'dana'], 65)], /does not say who is told/],
  [
    'that tells others than it said',
    [...begun, ...reminds(['dana'], 65, { done: { depositaries: ['dora'] } })],
    /tells others than it said before/,
  ],
  ['by somebody else', [...begun, ...reminds(['dana'], 65, { actor: 'ann' })], /for the daemon alone/],
  [
    'that somebody asked for',
    [...begun, ...reminds(['dana'], 65, { request: 'a.b.c' })],
    /for the daemon alone/,
  ],
])('a reminder %s is found', (_what, entries, reason) => {
  expect(objectionsTo(entries)).toContainEqual(expect.stringMatching(reason));
});

test('a reminder of a request whose replies wait for nothing is found', () => {
  expect(objectionsTo([...begun, ...reminds(['dana'], 65)], false)).toEqual([
    expect.stringMatching(/waits for no delay/),
  ]);
});
