import { Client } from 'pg';
import { newId } from '../../../src/escrow/records/ids.js';
import { aloneOn, NotHeld, type Claim, type JournalWrite } from '../../../src/escrow/ports/journal.js';
import { connectAppender } from '../../../src/postgres/journal/appender.js';
import { beginBatch, writeBatch, type BatchOutcome } from '../../../src/postgres/journal/judgedBatch.js';
import type { Database } from '../../../src/postgres/database.js';
import { requestKey, type Send, type Statement } from '../../../src/postgres/journal/lockedRows.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { openOn, somebodyWaits, writerOn } from '../fixtures.js';
import { aDeposit, aGrant, anna, aRecovery, dora, writeOf } from '../records.js';
import { LIMITS_MS } from '../../support/limits.js';
import { freshBytes } from '../../support/fresh.js';

jest.setTimeout(LIMITS_MS.database);

const signer = softwareSigner();
let server: TestServer;
let one: Database;
let two: Database;

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  await server.reset();
  [one, two] = await Promise.all([openOn(server, signer), openOn(server, signer)]);
});
afterEach(async () => {
  await Promise.all([one.close(), two.close()]);
});
afterAll(() => server.stop());

const inGrant = new Date('2026-03-01T00:30:00.000Z');
const later = new Date('2100-01-01T00:00:00.000Z');

/** Appends these over both daemons at once, in turn. */
function race(writes: readonly JournalWrite[]): Promise<PromiseSettledResult<{ readonly index: number }>[]> {
  return Promise.allSettled(writes.map((write, at) => (at % 2 === 0 ? one : two).journal.append(write)));
}

/** What did not hold, once for each that was refused. Throws when one failed otherwise. */
function refusals(settled: readonly PromiseSettledResult<unknown>[]): readonly NotHeld['what'][] {
  return settled.flatMap((each) => {
    if (each.status === 'fulfilled') return [];
    if (each.reason instanceof NotHeld) return [each.reason.what];
    throw each.reason;
  });
}

async function appendWith(changes: JournalWrite['changes']): Promise<void> {
  await one.journal.append(writeOf('alone', { changes }));
}

async function usedOf(id: string): Promise<unknown> {
  const [row] = await query(server.owner, 'select used from grant_ where id = $1', [id]);
  return row?.['used'];
}

function times(count: number, claims: () => readonly Claim[]): readonly JournalWrite[] {
  return Array.from({ length: count }, () => writeOf('opens', { claims: claims() }));
}

describe('append', () => {
  it('gives dense indexes in a log without forks to 64 callers on two daemons', async () => {
    const said = new Map<number, string>();
    const caller = async (database: Database): Promise<void> => {
      for (let round = 0; round < 10; round += 1) {
        const write = writeOf('alone');
        const { index } = await database.journal.append(write);
        expect(said.has(index)).toBe(false);
        said.set(index, write.id);
      }
    };
    await Promise.all(Array.from({ length: 64 }, (_, at) => caller(at % 2 === 0 ? one : two)));
    const rows = await query<{ seq: string; id: string }>(
      server.owner,
      'select seq, id from log_entry order by seq',
    );
    expect(rows).toHaveLength(640);
    expect(rows.map(({ seq }) => Number(seq))).toEqual(Array.from(rows, (_, at) => at));
    expect(rows.map(({ id }) => id)).toEqual(rows.map((_, at) => said.get(at)));
  });

  it('records the exact bytes', async () => {
    const write = writeOf('alone', { about: { owner: 'anna' } });
    const { index } = await one.journal.append(write);
    expect(await two.log.entries(index, 1)).toEqual([{ index, entry: Buffer.from(write.entry) }]);
  });

  it('puts all that is appended at once into few transactions', async () => {
    const before = await query(server.owner, 'select distinct xmin::text from log_entry');
    expect(before).toHaveLength(0);
    await Promise.all(Array.from({ length: 500 }, () => one.journal.append(writeOf('alone'))));
    const after = await query(server.owner, 'select distinct xmin::text from log_entry');
    expect(after.length).toBeLessThanOrEqual(2);
  });

  it('takes more at once than one batch holds', async () => {
    const answers = await Promise.all(
      Array.from({ length: 2500 }, () => one.journal.append(writeOf('alone'))),
    );
    expect(answers.map(({ index }) => index)).toEqual(answers.map((_, at) => at));
  });
});

describe('of two daemons that append in the same instant', () => {
  let slowOnes = 0;

  /** What a daemon on a connection of its own sends, each statement as `change` makes it. */
  async function inSlowMotion(
    change: (statement: Statement) => Statement,
  ): Promise<{ readonly commit: () => Promise<BatchOutcome>; readonly close: () => Promise<void> }> {
    const appender = await connectAppender(server.daemon, { connectMs: 5000, appendMs: 5000 }, 0);
    let commit: () => void = () => undefined;
    const mayCommit = new Promise<void>((resolve) => (commit = resolve));
    const send: Send = async (statement) => {
      if (statement.name === 'commit') await mayCommit;
      return appender.send(change(statement));
    };
    const write = writeOf('alone');
    slowOnes += 1;
    const writer = await writerOn(server.daemon, signer, `slow-${slowOnes}`);
    const { outcome } = await writeBatch(send, writer, beginBatch(send, [write]), [write]);
    return {
      commit: () => {
        commit();
        return outcome;
      },
      close: () => appender.close(),
    };
  }

  it('one waits for the other, and they have different indexes', async () => {
    const slow = await inSlowMotion((statement) => statement);
    const told: string[] = [];
    const other = one.journal.append(writeOf('alone')).then((answer) => {
      told.push('other');
      return answer;
    });
    await somebodyWaits(server);
    told.push('slow');
    expect(await slow.commit()).toMatchObject({ outcome: 'recorded', stands: { base: 0 } });
    expect(await other).toEqual({ index: 1 });
    expect(told).toEqual(['slow', 'other']);
    await slow.close();
  });

  it('each would have the same index without the lock on the head and the key on the index', async () => {
    await query(server.owner, 'alter table log_entry drop constraint log_entry_pkey');
    await query(server.owner, 'alter table log_batch drop constraint log_batch_pkey');
    const taking = 'update log_head set size = size + $1 where id = 1 returning size - $1 as base';
    const unguarded = (statement: Statement): Statement => {
      if (statement.name !== 'append') return statement;
      expect(statement.text).toContain(taking);
      const looking = 'select size + 0 * $1::bigint as base from log_head where id = 1';
      return { ...statement, text: statement.text.replace(taking, looking) };
    };
    const both = [await inSlowMotion(unguarded), await inSlowMotion(unguarded)];
    const outcomes = await Promise.all(both.map((each) => each.commit()));
    expect(outcomes).toMatchObject([
      { outcome: 'recorded', stands: { base: 0 } },
      { outcome: 'recorded', stands: { base: 0 } },
    ]);
    expect(await query(server.owner, 'select seq::int from log_entry')).toEqual([{ seq: 0 }, { seq: 0 }]);
    await Promise.all(both.map((each) => each.close()));
  });
});

describe('a claim', () => {
  it('on a request holds for one of 20 that present it at once', async () => {
    const claim: Claim = { claim: 'request-unused', kid: 'kid', jti: 'jti', expiresAt: later };
    const settled = await race(times(20, () => [claim]));
    expect(refusals(settled)).toEqual(Array.from({ length: 19 }, () => 'request-unused'));
    expect(await one.store.seeOnce(claim)).toBe(false);
  });

  it('on uses holds three times of 20 when three are left', async () => {
    const grant = aGrant();
    await appendWith([{ change: 'grant-created', grant }]);
    const settled = await race(
      times(20, () => [{ claim: 'uses-counted', grant: grant.id, uses: 1, at: inGrant }]),
    );
    expect(refusals(settled)).toEqual(Array.from({ length: 17 }, () => 'uses-counted'));
    expect(await usedOf(grant.id)).toBe(3);
  });

  it('on uses does not hold before the grant starts, once it has expired, or after its end', async () => {
    const grant = aGrant();
    await appendWith([{ change: 'grant-created', grant }]);
    const useAt = (at: Date): Promise<unknown> =>
      one.journal.append(
        writeOf('opens', { claims: [{ claim: 'uses-counted', grant: grant.id, uses: 1, at }] }),
      );
    const refused = { what: 'uses-counted' };
    await expect(useAt(new Date(grant.startsAt.getTime() - 1))).rejects.toMatchObject(refused);
    await expect(useAt(grant.expiresAt)).rejects.toMatchObject(refused);
    await useAt(grant.startsAt);
    await appendWith([{ change: 'grant-ended', grant: grant.id, status: 'revoked' }]);
    await expect(useAt(inGrant)).rejects.toMatchObject(refused);
    expect(await usedOf(grant.id)).toBe(1);
  });

  it('counts several uses at once, all or none', async () => {
    const grant = aGrant();
    await appendWith([{ change: 'grant-created', grant }]);
    const uses = (count: number): JournalWrite =>
      writeOf('opens', { claims: [{ claim: 'uses-counted', grant: grant.id, uses: count, at: inGrant }] });
    const settled = await Promise.allSettled([2, 2, 1].map((count) => one.journal.append(uses(count))));
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await usedOf(grant.id)).toBe(3);
  });

  it('on being alone holds for one of 20, and again when the act is closed', async () => {
    const recovery = aRecovery();
    await appendWith([{ change: 'recovery-saved', recovery }]);
    const writes = times(20, () => [aloneOn(recovery)]);
    const settled = await race(writes);
    expect(refusals(settled)).toEqual(Array.from({ length: 19 }, () => 'alone-on-recovery'));
    const winner = writes[settled.findIndex(({ status }) => status === 'fulfilled')];
    await two.journal.append(writeOf('closes', { id: winner?.id ?? newId('ActId', freshBytes) }));
    await one.journal.append(writeOf('opens', { claims: [aloneOn(recovery)] }));
  });

  it('on being alone holds at the revision that was read, and not after a change', async () => {
    const recovery = aRecovery();
    await appendWith([{ change: 'recovery-saved', recovery }]);
    await appendWith([{ change: 'recovery-saved', recovery: { ...recovery, revision: 2 } }]);
    const alone = (revision: number): Promise<unknown> =>
      two.journal.append(writeOf('opens', { claims: [aloneOn({ ...recovery, revision })] }));
    await expect(alone(1)).rejects.toMatchObject({ what: 'alone-on-recovery' });
    await alone(2);
    await expect(alone(2)).rejects.toMatchObject({ what: 'alone-on-recovery' });
  });

  it('on the policy holds for the one in force, from version 0 on', async () => {
    const inForce = (version: number): Promise<unknown> =>
      two.journal.append(writeOf('opens', { claims: [{ claim: 'policy-in-force', version }] }));
    await inForce(0);
    await expect(inForce(1)).rejects.toMatchObject({ what: 'policy-in-force' });
    await appendWith([
      { change: 'policy-applied', version: 1, hash: 'h', document: '{}', signatures: [], at: new Date(0) },
    ]);
    await inForce(1);
    await expect(inForce(0)).rejects.toMatchObject({ what: 'policy-in-force' });
  });

  describe('on an Idempotency-Key', () => {
    const at = new Date('2026-03-01T00:00:00.000Z');
    const expiresAt = new Date('2026-03-02T00:00:00.000Z');
    const named = (key: string, more: Partial<Extract<Claim, { fingerprint: string }>> = {}): Claim => ({
      claim: 'idempotency-key-free',
      principal: anna,
      key,
      fingerprint: 'ab'.repeat(32),
      at,
      expiresAt,
      ...more,
    });
    const opening = (claim: Claim): JournalWrite =>
      writeOf('opens', { claims: [claim], act: 'key.generate' });
    /** Ends an act on the other daemon. */
    const end = (
      id: JournalWrite['id'],
      phase: 'done' | 'failed',
      about = {},
    ): Promise<{ index: number }> => {
      const { entry } = writeOf('closes', { id, about });
      const said = Buffer.from(entry).toString().replace('"phase":"done"', `"phase":"${phase}"`);
      return two.journal.append(writeOf('closes', { id, about, entry: Buffer.from(said) }));
    };
    const find = (key: string, when = at): ReturnType<Database['store']['findCreation']> =>
      two.store.findCreation({ principal: anna, key }, when);
    const refused = { what: 'idempotency-key-free' };

    it('holds for one of 20 that present it at once on two daemons', async () => {
      const settled = await race(times(20, () => [named('k')]));
      expect(refusals(settled)).toEqual(Array.from({ length: 19 }, () => 'idempotency-key-free'));
      expect(await find('k')).toEqual({ status: 'open', fingerprint: 'ab'.repeat(32) });
    });

    it('holds for each principal and key', async () => {
      const keys = [named('k'), named('l'), named('k', { principal: dora })];
      const settled = await race(keys.map((claim) => opening(claim)));
      expect(refusals(settled)).toEqual([]);
    });

    it('does not hold once its act is done, and the act is found', async () => {
      const write = opening(named('k'));
      await one.journal.append(write);
      const { index } = await end(write.id, 'done', { key: 'key_1', owner: 'anna' });
      await expect(two.journal.append(opening(named('k')))).rejects.toMatchObject(refused);
      expect(await find('k')).toEqual({
        status: 'done',
        fingerprint: 'ab'.repeat(32),
        index,
        about: { key: 'key_1' },
      });
    });

    it('holds again when its act has failed, for one of 20', async () => {
      const write = opening(named('k'));
      await one.journal.append(write);
      await end(write.id, 'failed');
      expect(await find('k')).toBeUndefined();
      const settled = await race(times(20, () => [named('k', { fingerprint: 'cd'.repeat(32) })]));
      expect(refusals(settled)).toHaveLength(19);
      expect(await find('k')).toEqual({ status: 'open', fingerprint: 'cd'.repeat(32) });
    });

    it('holds again when it has expired', async () => {
      await one.journal.append(opening(named('k')));
      const justBefore = new Date(expiresAt.getTime() - 1);
      await expect(two.journal.append(opening(named('k', { at: justBefore })))).rejects.toMatchObject(
        refused,
      );
      expect(await find('k', expiresAt)).toBeUndefined();
      await two.journal.append(opening(named('k', { at: expiresAt, expiresAt: later })));
      expect(await find('k', expiresAt)).toMatchObject({ status: 'open' });
    });

    it('of a write that does not hold is free for the next of its batch, and afterwards', async () => {
      const lost = writeOf('opens', { claims: [named('k'), { claim: 'policy-in-force', version: 7 }] });
      const [, second] = await Promise.allSettled(
        [lost, opening(named('k'))].map((write) => one.journal.append(write)),
      );
      expect(second).toMatchObject({ status: 'fulfilled' });
      // in one batch with a write that is kept, so that there is a commit
      const other = { ...lost, claims: [named('l'), ...lost.claims.slice(1)] };
      await Promise.allSettled([other, writeOf('alone')].map((write) => one.journal.append(write)));
      expect(await query(server.owner, 'select key from idempotency_key')).toEqual([{ key: 'k' }]);
    });
  });

  it('that does not hold leaves nothing of its write and does not harm its batch', async () => {
    const grant = aGrant();
    await appendWith([{ change: 'grant-created', grant }]);
    const request = { kid: 'kid', jti: 'kept', expiresAt: later };
    const refused = writeOf('opens', {
      claims: [
        { claim: 'request-unused', ...request },
        { claim: 'uses-counted', grant: grant.id, uses: 3, at: inGrant },
        { claim: 'policy-in-force', version: 7 },
      ],
    });
    const others = Array.from({ length: 5 }, () => writeOf('alone'));
    const settled = await Promise.allSettled([refused, ...others].map((write) => one.journal.append(write)));
    expect(refusals(settled)).toEqual(['policy-in-force']);
    expect(settled.slice(1).every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await usedOf(grant.id)).toBe(0);
    expect(await query(server.owner, 'select from log_entry where id = $1', [refused.id])).toHaveLength(0);
    expect(await one.journal.openActs()).toHaveLength(0);
    expect(await one.store.seeOnce(request)).toBe(true);
  });

  it('that fails frees what it took for the next write of its batch', async () => {
    const request: Claim = { claim: 'request-unused', kid: 'kid', jti: 'second', expiresAt: later };
    const settled = await Promise.allSettled([
      one.journal.append(writeOf('opens', { claims: [request, { claim: 'policy-in-force', version: 7 }] })),
      one.journal.append(writeOf('alone', { claims: [request] })),
      one.journal.append(writeOf('alone', { claims: [request] })),
    ]);
    expect(settled.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
  });
});

describe('a change', () => {
  it('stands with its entry or not at all', async () => {
    const deposit = aDeposit();
    const write = writeOf('alone', {
      changes: [
        { change: 'deposit-created', deposit },
        { change: 'grant-ended', grant: aGrant().id, status: 'revoked' },
      ],
    });
    await expect(one.journal.append(write)).rejects.toMatchObject({ what: 'grant-ended' });
    expect(await one.store.findDeposit(deposit.key)).toBeUndefined();
    await one.journal.append({ ...write, changes: write.changes.slice(0, 1) });
    expect(await one.store.findDeposit(deposit.key)).toBeDefined();
    expect(await query(server.owner, 'select from log_entry where id = $1', [write.id])).toHaveLength(1);
  });

  it('of a recovery follows the revision before it, for one of 20', async () => {
    const recovery = aRecovery();
    await appendWith([{ change: 'recovery-saved', recovery }]);
    const settled = await race(
      Array.from({ length: 20 }, (_, at) =>
        writeOf('alone', {
          changes: [
            { change: 'recovery-saved', recovery: { ...recovery, revision: 2, reason: `reason ${at}` } },
          ],
        }),
      ),
    );
    expect(refusals(settled)).toEqual(Array.from({ length: 19 }, () => 'recovery-saved'));
    const winner = settled.findIndex(({ status }) => status === 'fulfilled');
    expect((await one.store.findRecovery(recovery.id))?.reason).toBe(`reason ${winner}`);
    const skipping = { ...recovery, revision: 4 };
    await expect(appendWith([{ change: 'recovery-saved', recovery: skipping }])).rejects.toBeInstanceOf(
      NotHeld,
    );
  });

  it('creates a record once, of 20 that do', async () => {
    const [deposit, recovery, grant] = [aDeposit(), aRecovery(), aGrant()];
    const changes: JournalWrite['changes'] = [
      { change: 'deposit-created', deposit },
      { change: 'recovery-saved', recovery },
      { change: 'grant-created', grant },
      { change: 'policy-applied', version: 1, hash: 'h', document: '{}', signatures: [], at: new Date(0) },
    ];
    for (const change of changes) {
      const settled = await race(Array.from({ length: 20 }, () => writeOf('alone', { changes: [change] })));
      expect(refusals(settled)).toEqual(Array.from({ length: 19 }, () => change.change));
    }
  });

  it('ends a grant once', async () => {
    const grant = aGrant();
    await appendWith([{ change: 'grant-created', grant }]);
    const settled = await race(
      Array.from({ length: 20 }, () =>
        writeOf('alone', { changes: [{ change: 'grant-ended', grant: grant.id, status: 'revoked' }] }),
      ),
    );
    expect(refusals(settled)).toHaveLength(19);
    expect((await two.store.findGrant(grant.id))?.status).toBe('revoked');
  });

  it('that the database cannot hold fails alone', async () => {
    const poison = writeOf('alone', {
      changes: [{ change: 'deposit-created', deposit: aDeposit({ label: '\0' }) }],
    });
    const unwritable = writeOf('alone', {
      changes: [{ change: 'deposit-created', deposit: aDeposit({ createdAt: new Date(NaN) }) }],
    });
    const good = Array.from({ length: 40 }, () => writeOf('alone'));
    const settled = await Promise.allSettled(
      [...good.slice(0, 20), poison, unwritable, ...good.slice(20)].map((write) => one.journal.append(write)),
    );
    const failed = settled.flatMap((each, at) => (each.status === 'rejected' ? [[at, each.reason]] : []));
    expect(failed).toEqual([
      [20, expect.objectContaining({ code: 'log-unavailable' })],
      [21, expect.objectContaining({ code: 'log-unavailable' })],
    ]);
    expect(await query(server.owner, 'select from log_entry')).toHaveLength(40);
  });
});

describe('while another transaction changes what a write stands on, it waits and sees the change', () => {
  const grant = aGrant();
  const recovery = aRecovery();
  const free = aRecovery();
  const act = writeOf('opens', { claims: [aloneOn(recovery)] });
  const uses: Claim = { claim: 'uses-counted', grant: grant.id, uses: 1, at: inGrant };
  const cases: readonly (readonly [string, JournalWrite, NotHeld['what']])[] = [
    ['update grant_ set used = 3', writeOf('opens', { claims: [uses] }), 'uses-counted'],
    [`update grant_ set status = 'revoked'`, writeOf('opens', { claims: [uses] }), 'uses-counted'],
    [
      `update grant_ set status = 'expired'`,
      writeOf('alone', { changes: [{ change: 'grant-ended', grant: grant.id, status: 'revoked' }] }),
      'grant-ended',
    ],
    [
      'update recovery set revision = 2',
      writeOf('alone', { changes: [{ change: 'recovery-saved', recovery: { ...recovery, revision: 2 } }] }),
      'recovery-saved',
    ],
    ['update recovery set revision = 2', writeOf('opens', { claims: [aloneOn(free)] }), 'alone-on-recovery'],
    [
      // the head of the log says which came first, as for every policy that is applied
      'with head as (update log_head set size = size) update policy_head set version = 1',
      writeOf('opens', { claims: [{ claim: 'policy-in-force', version: 0 }] }),
      'policy-in-force',
    ],
    ['delete from open_act', writeOf('closes', { id: act.id }), 'act-open'],
    [
      `insert into request_seen values ('${requestKey('kid', 'jti')}', now())`,
      writeOf('opens', { claims: [{ claim: 'request-unused', kid: 'kid', jti: 'jti', expiresAt: later }] }),
      'request-unused',
    ],
  ];

  it.each(cases)('%s', async (sql, write, what) => {
    await appendWith([
      { change: 'grant-created', grant },
      { change: 'recovery-saved', recovery },
      { change: 'recovery-saved', recovery: free },
    ]);
    await one.journal.append(act);
    const other = new Client({ ...server.owner, ssl: false });
    await other.connect();
    try {
      await other.query('begin');
      await other.query(sql);
      const [settled] = await Promise.all([
        Promise.allSettled([one.journal.append(write)]),
        somebodyWaits(server).then(() => other.query('commit')),
      ]);
      expect(settled).toEqual([{ status: 'rejected', reason: new NotHeld(what) }]);
    } finally {
      await other.end();
    }
  });
});

describe('an act', () => {
  it('is open from its attempt to its outcome, which is recorded once', async () => {
    const about = { key: 'key_1', owner: 'anna' };
    const attempt = writeOf('opens', { about });
    await one.journal.append(attempt);
    expect(await one.journal.openActs()).toEqual([
      { id: attempt.id, entry: Buffer.from(attempt.entry), about, by: 'self' },
    ]);
    const settled = await race(Array.from({ length: 20 }, () => writeOf('closes', { id: attempt.id })));
    expect(refusals(settled)).toEqual(Array.from({ length: 19 }, () => 'act-open'));
    expect(await one.journal.openActs()).toEqual([]);
  });

  it("is another daemon's while that lives, and left behind when it ends", async () => {
    await one.journal.append(writeOf('opens'));
    expect(await two.journal.openActs()).toMatchObject([{ by: 'other' }]);
    await one.close();
    expect(await two.journal.openActs()).toMatchObject([{ by: 'gone' }]);
  });

  it('is left behind when the lease of its daemon runs out', async () => {
    await one.journal.append(writeOf('opens'));
    await query(server.owner, `update instance set lease_until = now() - interval '1 second' where id = $1`, [
      one.instance,
    ]);
    expect(await two.journal.openActs()).toMatchObject([{ by: 'gone' }]);
    expect(await one.journal.openActs()).toMatchObject([{ by: 'self' }]);
  });

  it('of any other daemon is left behind for one that is alone', async () => {
    await one.journal.append(writeOf('opens'));
    const alone = await openOn(server, signer, { soleInstance: true });
    expect(await alone.journal.openActs()).toMatchObject([{ by: 'gone' }]);
    await alone.close();
  });
});

it('signing acts on shared grants from two daemons neither deadlock nor miscount', async () => {
  const scope = { ...aGrant().scope, maxUses: 100_000 };
  const grants = Array.from({ length: 8 }, () => aGrant({ scope }));
  await appendWith(grants.map((grant) => ({ change: 'grant-created', grant })));
  const pick = (at: number): readonly string[] => [at, at * 3 + 1].map((n) => grants[n % 8]?.id ?? '');
  const caller = async (database: Database, at: number): Promise<void> => {
    for (let round = 0; round < 8; round += 1) {
      const [grant] = grants.filter(({ id }) => pick(at + round).includes(id));
      const attempt = writeOf('opens', {
        claims: [
          { claim: 'request-unused', kid: 'kid', jti: freshBytes(8).toString('hex'), expiresAt: later },
          { claim: 'uses-counted', grant: grant?.id ?? aGrant().id, uses: 1, at: inGrant },
        ],
      });
      await database.journal.append(attempt);
      await database.journal.append(writeOf('closes', { id: attempt.id }));
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, at) => caller(at % 2 === 0 ? one : two, at)));
  const [{ total } = { total: '' }] = await query<{ total: string }>(
    server.owner,
    'select sum(used) as total from grant_',
  );
  expect(Number(total)).toBe(512);
  const [{ size } = { size: '' }] = await query<{ size: string }>(server.owner, 'select size from log_head');
  expect(Number(size)).toBe(1 + 2 * 512);
});
