import type { EscrowError } from '../../../src/escrow/records/errors.js';
import type { ActId, PrincipalId } from '../../../src/escrow/records/ids.js';
import type { JournalWrite } from '../../../src/escrow/ports/journal.js';
import { Ledger } from '../../../src/escrow/ledger/ledger.js';
import { LoggedCreations } from '../../../src/escrow/logged/creations.js';
import type { FollowedLog, LogFacts } from '../../../src/escrow/logged/logFacts.js';
import type { Actor, Outcome } from '../../../src/escrow/ledger/act.js';
import type { Token } from '../../../src/escrow/ports/token.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import { MemoryJournal } from '../../escrow/memoryJournal.js';
import { freshBytes } from '../../support/fresh.js';

/*
 * The database forgets that it has seen a request, or an Idempotency-Key, or has an act as open that is not: what the log has says
 * otherwise. The controls do not ask the log.
 */

const START_MS = 1_700_000_000_000;
const KEY = 'order-1';
const fine: Outcome<string> = { detail: {}, digest: 'ab'.repeat(32), changes: [], answer: 'made' };

const part = (said: object): string => Buffer.from(JSON.stringify(said)).toString('base64url');
/** A signed request, as far as the log reads it. */
const signed = (jti: string, ik?: string): string => `${part({})}.${part({ jti, ik })}.c2ln`;

function setUp(asLogged: (facts: LogFacts) => LogFacts = (facts) => facts): {
  readonly journal: MemoryJournal;
  readonly ledger: Ledger;
  readonly order: (jws: string, key?: string) => Promise<string>;
  readonly pass: (ms: number) => void;
} {
  const journal = new MemoryJournal();
  let now = START_MS;
  /** A database that forgets what it has seen: these claims always hold. */
  const forgetful = {
    ...{ openActs: () => journal.openActs(), proven: (index: number) => journal.proven(index) },
    append: (write: JournalWrite) =>
      journal.append({
        ...write,
        claims: write.claims.filter(
          ({ claim }) => claim !== 'request-unused' && claim !== 'idempotency-key-free',
        ),
      }),
  };
  const token = {
    requireInService: () => undefined,
    lend: (_verbs: unknown, use: (lent: object) => Promise<unknown>) => use({}),
  } as unknown as Token;
  const followed: FollowedLog = { ...journal.followed, facts: asLogged(journal.followed.facts) };
  const ledger = new Ledger({
    ...{ journal: forgetful, followed, token, random: freshBytes, contentionTimeoutMs: 0 },
    clock: { now: () => new Date(now), pause: () => Promise.resolve() },
    memory: { anchored: () => Promise.resolve(), requireOwnToken: () => Promise.resolve() },
    policy: () => Promise.reject(new Error('nobody asks which policy is in force')),
    notice: () => undefined,
  });
  const order = async (jws: string, key?: string): Promise<string> => {
    const expiresAt = new Date(now + 60_000);
    const actor: Actor = { id: 'olga', request: { jws, kid: 'kid', jti: jws, expiresAt } };
    const at = new Date(now);
    const named = { principal: 'olga' as PrincipalId, key: key ?? '', fingerprint: 'f', at, expiresAt: at };
    try {
      const { answer } = await ledger.perform({
        ...{ act: 'key.generate', actor },
        decide: () =>
          Promise.resolve({
            detail: {},
            claims: key === undefined ? [] : [{ claim: 'idempotency-key-free', ...named }],
            plan: '',
          }),
        run: () => Promise.resolve(fine),
      });
      return answer;
    } catch (error) {
      return (error as EscrowError).code;
    }
  };
  return { journal, ledger, order, pass: (ms) => (now += ms) };
}

/** Who does not ask the log. */
const unasked = (facts: LogFacts): LogFacts => ({
  policy: undefined,
  request: (id) => facts.request(id),
  grant: (id) => facts.grant(id),
  openRequestIds: () => facts.openRequestIds(),
  keptRelease: (id) => facts.keptRelease(id),
  due: facts.due,
  grantsNamed: (app, name) => facts.grantsNamed(app, name),
  runningGrantIds: () => facts.runningGrantIds(),
  importPair: (id) => facts.importPair(id),
  importPairIds: () => facts.importPairIds(),
  openAttempts: () => facts.openAttempts(),
  deposit: (key) => facts.deposit(key),
  lastUsedMs: () => undefined,
  drill: () => undefined,
  heldBy: () => ({ keys: 0, due: 0 }),
  depositGroups: () => [],
  depositsBeingMade: () => [],
  creation: () => undefined,
  secondary: () => undefined,
  openAttempt: (act) =>
    facts.openAttempt(act) ?? { id: act, act: 'key.generate', actor: 'olga', subject: {}, grants: [] },
  asOf: (act) => {
    const asOf = facts.asOf(act);
    return asOf && { ...asOf, isRepeated: false, isKeyTaken: false };
  },
});
const phases = ({ entries }: MemoryJournal): readonly string[] => entries.map(({ phase }) => phase);

describe('a request that the database has forgotten', () => {
  test('is refused when it comes again', async () => {
    const { order, journal } = setUp();
    expect(await order(signed('one'))).toBe('made');
    expect(await order(signed('one'))).toBe('request-replayed');
    expect(phases(journal)).toEqual(['attempted', 'done', 'attempted', 'denied']);
    expect(await order(signed('two'))).toBe('made');
  });

  test('is refused when it comes again with its signature written in another way', async () => {
    const { order } = setUp();
    expect(await order(signed('one'))).toBe('made');
    expect(await order(`${signed('one')}x`)).toBe('request-replayed');
  });

  test('is remembered for longer than a request is taken', async () => {
    const { order, pass } = setUp();
    for (let at = 0; at < 9; at += 1) {
      expect(await order(signed(`at ${at}`))).toBe('made');
      pass(75_000);
      // older ones are refused for their time, before it comes to this
      expect(await order(signed(`at ${at}`))).toBe('request-replayed');
    }
  });

  test('the control: is carried out twice by a daemon that does not ask the log', async () => {
    const { order } = setUp(unasked);
    expect(await order(signed('one'))).toBe('made');
    expect(await order(signed('one'))).toBe('made');
  });
});

describe('an Idempotency-Key that the database has forgotten', () => {
  test('makes nothing twice, until a day is over', async () => {
    const { order, pass } = setUp();
    expect(await order(signed('one', KEY), KEY)).toBe('made');
    expect(await order(signed('two', KEY), KEY)).toBe('record-mismatch');
    expect(await order(signed('three', 'order-2'), 'order-2')).toBe('made');
    pass(24 * 3_600_000);
    expect(await order(signed('four', KEY), KEY)).toBe('made');
  });

  test('the control: makes two things where the log is not asked', async () => {
    const { order } = setUp(unasked);
    expect(await order(signed('one', KEY), KEY)).toBe('made');
    expect(await order(signed('two', KEY), KEY)).toBe('made');
  });

  test('is free when what it was taken for came to nothing', () => {
    const creations = new LoggedCreations();
    const common = {
      v: 1,
      time: new Date(START_MS).toISOString(),
      act: 'key.generate',
      actor: 'olga',
    } as const;
    const attempt = (id: string): Entry => ({
      ...{ ...common, id, phase: 'attempted', subject: {}, detail: {} },
      request: signed(id, KEY),
    });
    expect(creations.attempted(attempt('act_1'))).toBe(false);
    expect(creations.attempted(attempt('act_2'))).toBe(true);
    const failed = { ...common, subject: {}, detail: {}, phase: 'failed', error: 'interrupted' } as const;
    creations.concluded({ ...failed, id: 'act_2' });
    expect(creations.get('olga', KEY)).toMatchObject({ act: 'act_1', isDone: false });
    creations.concluded({ ...failed, id: 'act_1' });
    expect(creations.get('olga', KEY)).toBeUndefined();
  });
});

describe('an act that the database has as open', () => {
  test('is closed when the log has it so, once', async () => {
    const { order, journal, ledger } = setUp();
    journal.broken = 'closes';
    expect(await order(signed('one'))).toBe('log-unavailable');
    journal.broken = undefined;
    const [open] = journal.entries;
    if (open === undefined) throw new Error('nothing was attempted');
    expect(await ledger.closeInterrupted(open.id as ActId)).toBe(true);
    expect(await ledger.closeInterrupted(open.id as ActId)).toBe(false);
    expect(phases(journal)).toEqual(['attempted', 'failed']);
  });

  test('gets no second outcome when it has one in the log', async () => {
    const { order, journal, ledger } = setUp();
    expect(await order(signed('one'))).toBe('made');
    const [open] = journal.entries;
    if (open === undefined) throw new Error('nothing was attempted');
    journal.reopen(open.id as ActId);
    expect(await ledger.closeInterrupted(open.id as ActId)).toBe(false);
    expect(phases(journal)).toEqual(['attempted', 'done']);
  });

  test('the control: gets one where the log is not asked', async () => {
    const { order, journal, ledger } = setUp(unasked);
    expect(await order(signed('one'))).toBe('made');
    const [open] = journal.entries;
    if (open === undefined) throw new Error('nothing was attempted');
    journal.reopen(open.id as ActId);
    expect(await ledger.closeInterrupted(open.id as ActId)).toBe(true);
    expect(phases(journal)).toEqual(['attempted', 'done', 'failed']);
  });
});
