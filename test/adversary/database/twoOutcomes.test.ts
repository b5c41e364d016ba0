import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { ActId } from '../../../src/escrow/records/ids.js';
import { Ledger } from '../../../src/escrow/ledger/ledger.js';
import { TAKING_AWAY } from '../../../src/escrow/ledger/means.js';
import type { LogFacts } from '../../../src/escrow/logged/logFacts.js';
import { LogState } from '../../../src/escrow/logged/logState.js';
import { DAEMON } from '../../../src/escrow/ledger/act.js';
import type { Token } from '../../../src/escrow/ports/token.js';
import { checkpointLine, headerLine } from '../../../src/log/export/format.js';
import { decodeEntry } from '../../../src/log/entry/entry.js';
import type { Verdict } from '../../../src/log/export/verifier.js';
import { ExportVerifier } from '../../../src/log/export/verifier.js';
import type { Database } from '../../../src/postgres/database.js';
import { clock, openOn } from '../../postgres/fixtures.js';
import { writeOf } from '../../postgres/records.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { activated, entriesOf, filed } from './loggedActs.js';
import { LIMITS_MS } from '../../support/limits.js';
import { freshBytes } from '../../support/fresh.js';

jest.setTimeout(LIMITS_MS.database);

/*
 * One act, two daemons and a database that lies to them: it passes the daemon that performs the act off as gone, so that the
 * other closes it as cut short, and has it as open again when it is done. The first outcome in the log counts, whoever is asked: the
 * second is not recorded where the log is known to have the first, and else is void, but for what it ends. The controls are a daemon that goes by
 * the records, and a log in which neither outcome is that of an act cut short.
 */

const signer = softwareSigner();
const LONG_MS = 600_000;
let server: TestServer;
let closing: (() => Promise<void>)[];

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  closing = [];
  await server.reset();
  await (await openOn(server, signer)).close();
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
});
afterAll(() => server.stop());

interface Daemon {
  readonly database: Database;
  readonly facts: LogState;
  readonly ledger: Ledger;
  readonly notices: readonly string[];
}

type Asks = (facts: LogFacts) => LogFacts;

/** A daemon that makes no checkpoint by itself any more, so that it learns of the other's entries when it asks. */
async function daemon(asked: Asks = (facts) => facts, isLiedTo = false): Promise<Daemon> {
  const facts = new LogState();
  const options = { follow: facts, checkpointIntervalMs: LONG_MS, leaseMs: LONG_MS };
  const database = await openOn(server, signer, options);
  closing.push(() => database.close());
  const { index } = await database.journal.append(writeOf('opens', { act: 'log.read' }));
  await database.log.inclusion(index);
  const token = {
    requireInService: () => undefined,
    lend: (_verbs: unknown, use: (lent: object) => Promise<unknown>) => use({}),
  } as unknown as Token;
  const notices: string[] = [];
  const ledger = new Ledger({
    journal: database.journal,
    followed: {
      facts: asked(facts),
      through: (at) => database.followed.through(at),
      caughtUp: () => (isLiedTo ? Promise.resolve() : database.followed.caughtUp()),
    },
    token,
    clock,
    random: freshBytes,
    memory: { anchored: () => Promise.resolve(), requireOwnToken: () => Promise.resolve() },
    notice: (message) => notices.push(message),
    policy: () => Promise.reject(new Error('nobody asks which policy is in force')),
    contentionTimeoutMs: 0,
  });
  return { database, facts, ledger, notices };
}

/** Who goes by the records alone. */
const believing: Asks = (facts) => ({
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
  asOf: (act) => facts.asOf(act),
  creation: (principal, key) => facts.creation(principal, key),
  openAttempt: (act) =>
    facts.openAttempt(act) ?? { id: act, act: 'token.tidy', actor: DAEMON.id, subject: {}, grants: [] },
  secondary: () => undefined,
});

/** An act that is under way until it is let go on; says what its caller is told, and what was taken back. */
async function begun(
  { ledger }: Daemon,
  act: 'token.tidy' | 'recovery.veto' = 'token.tidy',
): Promise<{
  readonly id: ActId;
  readonly goOn: () => Promise<{ readonly told: string; readonly undone: number }>;
}> {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let undone = 0;
  let isRunning = (): void => undefined;
  const running = new Promise<void>((resolve) => {
    isRunning = resolve;
  });
  const performed = ledger
    .perform({
      act,
      actor: DAEMON,
      decide: () => Promise.resolve({ detail: {}, claims: [], plan: undefined }),
      run: async () => {
        isRunning();
        await released;
        const undo = (): Promise<void> => Promise.resolve(void (undone += 1));
        return { detail: {}, digest: 'ab'.repeat(32), changes: [], answer: undefined, undo };
      },
    })
    .then(
      () => 'done',
      (error: unknown) => {
        if (error instanceof EscrowError) return error.code;
        throw error;
      },
    );
  await running;
  const [id] = ledger.underWay;
  if (id === undefined) throw new Error('nothing is under way');
  const goOn = async () => {
    release();
    return { told: await performed, undone };
  };
  return { id, goOn };
}

/** What the daemon's role can do. */
async function passOffAsGone({ database }: Daemon): Promise<void> {
  await query(server.daemon, `update instance set lease_until = now() - interval '1 hour' where id = $1`, [
    database.instance,
  ]);
}

async function reopen(id: ActId): Promise<void> {
  await query(
    server.daemon,
    `insert into open_act (id, instance, seq)
     select id, 'nobody', seq from log_entry where id = $1 and part = 'opens' on conflict do nothing`,
    [id],
  );
}

/** As housekeeping does it: closes what a daemon that is gone has left open. */
async function closeGone({ database, ledger }: Daemon, id: ActId): Promise<boolean> {
  const open = await database.journal.openActs();
  expect(open.find((act) => act.id === id)?.by).toBe('gone');
  return ledger.closeInterrupted(id);
}

/** The phases of the entries of an act, in the order of the log. */
async function phasesOf(id: ActId): Promise<readonly string[]> {
  const rows = await query<{ entry: Buffer }>(
    server.owner,
    'select entry from log_entry where id = $1 order by seq',
    [id],
  );
  return rows.map(({ entry }) => decodeEntry(entry).phase);
}

/** What an offline reader finds, once a checkpoint covers all. */
async function verdict({ database }: Daemon): Promise<Verdict> {
  const { index } = await database.journal.append(writeOf('opens', { act: 'log.read' }));
  const { checkpoint } = await database.log.inclusion(index);
  const verifier = new ExportVerifier({ logKey: signer.vkey });
  verifier.line(headerLine({ origin: signer.origin, logKey: signer.vkey }));
  for (const { entry } of await database.log.entries(0, 1000)) {
    verifier.line(Buffer.from(entry).toString());
  }
  verifier.line(checkpointLine(checkpoint));
  return verifier.finish();
}

const oneIsVoid = {
  ok: true,
  reported: { count: 1, first: [{ came: 'void', reason: expect.stringMatching(/the database/) as string }] },
};

describe('a daemon that lives is passed off as gone, and what it does is closed by another', () => {
  it('while it does not know that: its outcome is recorded, is void, and its caller is told', async () => {
    const [living, other] = [await daemon(), await daemon()];
    const act = await begun(living);
    await passOffAsGone(living);
    expect(await closeGone(other, act.id)).toBe(true);
    await reopen(act.id);
    expect(await act.goOn()).toEqual({ told: 'interrupted', undone: 1 });
    expect(living.notices).toEqual(['an act has two outcomes']);
    expect(await phasesOf(act.id)).toEqual(['attempted', 'failed', 'done']);
    expect(await verdict(other)).toMatchObject(oneIsVoid);
    expect(await verdict(living)).toMatchObject(oneIsVoid);
    for (const { facts } of [living, other, await daemon()])
      expect(facts.openAttempt(act.id)).toBeUndefined();
  });

  it('and ends something: it has ended, its caller is told so, and the operator how', async () => {
    const [living, other] = [await daemon(), await daemon()];
    const act = await begun(living, 'recovery.veto');
    await passOffAsGone(living);
    expect(await closeGone(other, act.id)).toBe(true);
    await reopen(act.id);
    expect(await act.goOn()).toEqual({ told: 'done', undone: 0 });
    expect(living.notices).toEqual(['an act has two outcomes']);
    expect(await phasesOf(act.id)).toEqual(['attempted', 'failed', 'done']);
  });

  it('and it knows: a second outcome is not recorded', async () => {
    const [living, other] = [await daemon(), await daemon()];
    const act = await begun(living);
    await passOffAsGone(living);
    expect(await closeGone(other, act.id)).toBe(true);
    await reopen(act.id);
    await living.database.followed.caughtUp();
    expect(await act.goOn()).toEqual({ told: 'interrupted', undone: 1 });
    expect(await phasesOf(act.id)).toEqual(['attempted', 'failed']);
    expect(await verdict(living)).toMatchObject({ ok: true, reported: { count: 0 } });
  });

  it('the control: a daemon that goes by the records says that it was done, which no other daemon takes for true', async () => {
    const [living, other] = [await daemon(believing), await daemon()];
    const act = await begun(living);
    await passOffAsGone(living);
    expect(await closeGone(other, act.id)).toBe(true);
    await reopen(act.id);
    await living.database.followed.caughtUp();
    expect(await act.goOn()).toEqual({ told: 'done', undone: 0 });
    expect(await phasesOf(act.id)).toEqual(['attempted', 'failed', 'done']);
    // what it has recorded makes the log no less believable
    expect(await verdict(other)).toMatchObject(oneIsVoid);
  });
});

describe('an act that is done is passed off as open', () => {
  it('is not closed again by who asks the log', async () => {
    const [living, other] = [await daemon(), await daemon()];
    const act = await begun(living);
    expect(await act.goOn()).toEqual({ told: 'done', undone: 0 });
    await reopen(act.id);
    expect(await closeGone(other, act.id)).toBe(false);
    expect(await phasesOf(act.id)).toEqual(['attempted', 'done']);
  });

  it('is closed again by a daemon from which the newest entries are hidden, which is void', async () => {
    const living = await daemon();
    const other = await daemon(undefined, true);
    const act = await begun(living);
    await other.database.followed.caughtUp();
    expect(await act.goOn()).toEqual({ told: 'done', undone: 0 });
    await reopen(act.id);
    expect(await closeGone(other, act.id)).toBe(true);
    expect(await phasesOf(act.id)).toEqual(['attempted', 'done', 'failed']);
    expect(await verdict(living)).toMatchObject(oneIsVoid);
  });
});

describe('what a daemon decides by', () => {
  const interrupted = (of: Uint8Array | undefined): Uint8Array => {
    const { v, time, act, id, actor, subject } = decodeEntry(of ?? new Uint8Array());
    const entry = { v, time, act, id, actor, subject, phase: 'failed', error: 'interrupted', detail: {} };
    return Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(entry).sort())));
  };

  const factsOf = (...taken: readonly (Uint8Array | undefined)[]): LogState => {
    const facts = new LogState();
    for (const [index, entry] of taken.entries()) facts.take(index, entry ?? new Uint8Array());
    return facts;
  };
  const asked = entriesOf('recovery.request', filed('rec_1'));
  const about = { subject: { recovery: 'rec_1', grant: 'grant_1' }, outcome: { status: 'denied' } } as const;

  it.each([...TAKING_AWAY].filter((act) => act.startsWith('recovery.')))(
    'counts %s also when it was closed as cut short before',
    (act) => {
      const [attempt, done] = entriesOf(act, about);
      // the control: as long as it is not done, the request is open
      expect(factsOf(...asked, attempt, interrupted(attempt)).request('rec_1')).toBeDefined();
      const facts = factsOf(...asked, attempt, interrupted(attempt), done);
      expect(facts.request('rec_1')).toBeUndefined();
      expect(facts.secondary(4)).toBe('late');
    },
  );

  it('counts a revocation likewise', () => {
    const made = entriesOf('recovery.activate', activated('rec_1', 'grant_1'));
    const [attempt, done] = entriesOf('grant.revoke', about);
    expect(factsOf(...asked, ...made, attempt, interrupted(attempt)).grant('grant_1')).toBeDefined();
    expect(factsOf(...asked, ...made, attempt, interrupted(attempt), done).grant('grant_1')).toBeUndefined();
  });

  it('has a request over that was released or activated so, and makes nothing of it', () => {
    for (const act of ['recovery.release', 'recovery.activate']) {
      const [attempt, done] = entriesOf(act, activated('rec_1', 'grant_1'));
      const facts = factsOf(...asked, attempt, interrupted(attempt), done);
      expect(facts.request('rec_1')).toBeUndefined();
      expect(facts.grant('grant_1')).toBeUndefined();
      expect(facts.secondary(4)).toBe('void');
      // what was kept for a recipient is forgotten in time
      expect(facts.due.releasesUntil(Infinity)).toEqual(act === 'recovery.release' ? ['rec_1'] : []);
      expect(factsOf(...asked, attempt, done).secondary(3)).toBeUndefined();
    }
  });

  it('makes no grant of a request that has ended since its activation was attempted', () => {
    const [attempt, made] = entriesOf('recovery.activate', activated('rec_1', 'grant_1'));
    const [vetoing, veto] = entriesOf('recovery.veto', about);
    const facts = factsOf(...asked, vetoing, interrupted(vetoing), attempt, veto, made);
    expect(facts.grant('grant_1')).toBeUndefined();
    expect(facts.secondary(6)).toBe('void');
    expect(factsOf(...asked, vetoing, interrupted(vetoing), attempt, made).grant('grant_1')).toBeDefined();
  });

  it('remembers a bounded number of entries that make nothing', () => {
    const facts = new LogState();
    const [, outcome] = entriesOf('token.tidy', {});
    for (let index = 0; index <= 1000; index += 1) facts.take(index, outcome ?? new Uint8Array());
    expect([0, 1, 1000].map((index) => facts.secondary(index))).toEqual([undefined, 'void', 'void']);
  });
});
