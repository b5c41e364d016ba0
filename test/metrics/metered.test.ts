import { NotHeld, type Journal, type JournalWrite } from '../../src/escrow/ports/journal.js';
import { countCoverage } from '../../src/escrow/reads/coverage.js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import type { Token } from '../../src/escrow/ports/token.js';
import { type Metrics, metricsOf } from '../../src/metrics/metrics.js';
import type { Known } from '../../src/metrics/state.js';
import { newWorld } from '../http/world.js';
import { until } from '../support/waiting.js';
import { type Exposition, readExposition } from './exposition.js';

const NOW = new Date('2026-03-01T12:00:00.000Z');
const UNKNOWN: Omit<Known, 'certificateUntil'> = {
  health: { ok: false, alarms: [], notifications: [], unenforced: ['clulow'] },
  token: { isInService: false, openings: 3, grants: 0, maxGrants: undefined },
  witnesses: { names: [], silent: [] },
  connections: { used: 1, idle: 2, waiting: 3, limit: 8 },
};
const WRITE = { id: 'act_1', role: 'alone' } as unknown as JournalWrite;

let now: Date;
let metrics: Metrics;
beforeEach(() => {
  now = NOW;
  metrics = metricsOf('1.2.3', { now: () => now });
});
const afterTest: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of afterTest.splice(0)) await stop();
});

async function seen(known = UNKNOWN): Promise<Exposition> {
  return readExposition((await metrics.scrape(known)).text);
}

test('an append is recorded, not held or failed, and what it answers goes through', async () => {
  const answers: (() => Promise<{ index: number }>)[] = [
    () => Promise.resolve({ index: 7 }),
    () => Promise.reject(new NotHeld('policy-in-force')),
    () => Promise.reject(new EscrowError('log-unavailable')),
  ];
  const inner: Journal = {
    append: () => answers.shift()?.() ?? Promise.reject(new Error('no more')),
    openActs: () => Promise.resolve([]),
    proven: () => Promise.resolve(),
  };
  const journal = metrics.journal(inner);
  expect(await journal.append(WRITE)).toEqual({ index: 7 });
  await expect(journal.append(WRITE)).rejects.toThrow(NotHeld);
  await expect(journal.append(WRITE)).rejects.toThrow('log-unavailable');
  const { value } = await seen();
  for (const result of ['recorded', 'not-held', 'failed'])
    expect(value('escrowd_log_append_duration_seconds_count', { result })).toBe(1);
});

test('a verb that fails is counted as one, and throws what it threw; nothing is lent beside what is asked for', async () => {
  const { token: inner } = newWorld().escrow;
  const token = metrics.token({
    ...inner,
    unaccounted: () => Promise.resolve([]),
    requireInService: () => {
      throw new EscrowError('token-unavailable');
    },
    lend: (_verbs, use) =>
      use({ attest: () => Promise.reject(new EscrowError('token-unavailable')) } as never),
  });
  expect(() => {
    token.requireInService();
  }).toThrow('token-unavailable');
  let lent: object = {};
  await expect(
    token.lend(['attest'], (verbs) => {
      lent = verbs;
      return verbs.attest(new Uint8Array());
    }),
  ).rejects.toThrow('token-unavailable');
  expect(Object.keys(lent)).toEqual(['attest']);
  const { value } = await seen();
  expect(value('escrowd_token_call_failures_total', { verb: 'attest' })).toBe(1);
  expect(value('escrowd_token_call_duration_seconds_count', { verb: 'attest' })).toBe(1);
});

test('what a witness has cosigned is noted as it passes', async () => {
  const log = metrics.witnessed({
    newest: () => Promise.resolve(undefined),
    consistency: () => Promise.resolve([]),
    cosignedBy: () => Promise.resolve({ size: 5, at: 1_000 }),
    keep: () => Promise.resolve(),
  });
  await log.cosignedBy('w.example', '0a0b0c0d');
  const witness = 'w.example';
  expect((await seen()).value('escrowd_witness_cosigned_entries', { witness })).toBe(5);
  await log.keep({ size: 9, name: witness, keyId: '0a0b0c0d', line: '', at: 2_000 });
  const { value } = await seen();
  expect(value('escrowd_witness_cosigned_entries', { witness })).toBe(9);
  expect(value('escrowd_witness_cosigned_timestamp_seconds', { witness })).toBe(2_000);
});

test('what is not known is not there: nothing is 0 because nobody could look', async () => {
  const names = async (): Promise<ReadonlySet<string>> =>
    new Set((await seen()).samples.map(({ name }) => name));
  for (const name of ['database_up', 'log_writable', 'keys', 'recoveries_open', 'token_grants_limit'])
    expect(await names()).not.toContain(`escrowd_${name}`);
  const answers = {
    ...{ answers: true, entries: 12, checkpointed: 9, journalFault: 'no', integratorFault: undefined },
    clocksApartMs: -7_000,
  } as const;
  metrics.sawDatabase(answers);
  let { value } = await seen();
  expect(value('escrowd_log_writable')).toBe(0);
  expect(value('escrowd_log_checkpoint_follows')).toBe(1);
  expect(value('escrowd_log_unintegrated_entries')).toBe(3);
  expect(value('escrowd_clock_apart_seconds')).toBe(-7);
  expect(value('escrowd_token_unenforced_attacks')).toBe(1);
  // the same checkpoint, later
  now = new Date(NOW.getTime() + 60_000);
  metrics.sawDatabase(answers);
  ({ value } = await seen());
  expect(value('escrowd_log_checkpoint_timestamp_seconds')).toBe(NOW.getTime() / 1000);
  metrics.sawDatabase({ answers: false });
  ({ value } = await seen());
  expect(value('escrowd_database_up')).toBe(0);
  expect(await names()).not.toContain('escrowd_log_writable');
});

test('keys are not counted while the token is out, and what was counted keeps its time', async () => {
  const { escrow } = newWorld();
  const failures: string[] = [];
  let isOut = false;
  const enrolled: Token['enrolled'] = () =>
    isOut ? Promise.reject(new EscrowError('token-unavailable')) : escrow.token.enrolled();
  const world = { ...escrow, token: { ...escrow.token, enrolled } };
  expect((await countCoverage(world, () => Promise.resolve()))?.keys).toBe(1);
  const stop = metrics.survey({
    escrow: { ...world, clock: { ...escrow.clock, now: () => now } },
    sinks: () => Promise.reject(new EscrowError('store-unavailable')),
    everyMs: 5,
    failed: (what) => failures.push(what),
  });
  afterTest.push(stop);
  await until(async () =>
    (await seen()).samples.some(({ name }) => name === 'escrowd_keys_timestamp_seconds'),
  );
  isOut = true;
  expect(await countCoverage(world, () => Promise.resolve())).toBeUndefined();
  now = new Date(NOW.getTime() + 60_000);
  await until(
    async () => (await seen()).value('escrowd_recoveries_timestamp_seconds') === now.getTime() / 1000,
  );
  const { value } = await seen();
  expect(value('escrowd_keys_timestamp_seconds')).toBe(NOW.getTime() / 1000);
  expect(['lost', 'one-quorum'].map((coverage) => value('escrowd_keys', { coverage }))).toEqual([1, 0]);
  // the same reason again and again is told once
  expect(failures).toEqual(['what waits at the sinks']);
});
