import { EscrowError } from '../../../src/escrow/records/errors.js';
import { newId } from '../../../src/escrow/records/ids.js';
import type { RecoveryId } from '../../../src/escrow/records/ids.js';
import { Ledger } from '../../../src/escrow/ledger/ledger.js';
import type { Actor, Outcome, ActOrder } from '../../../src/escrow/ledger/act.js';
import type { Token } from '../../../src/escrow/ports/token.js';
import { NotHeld } from '../../../src/escrow/ports/journal.js';
import { aRecovery } from '../../postgres/records.js';
import { doneAct } from '../loggedEntries.js';
import { MemoryJournal } from '../memoryJournal.js';
import { freshBytes } from '../../support/fresh.js';

const noPolicy = (): never => {
  throw new Error('nobody asks which policy is in force');
};

type Request = ActOrder<'recovery.request', string, string>;

function setUp(): {
  journal: MemoryJournal;
  ledger: Ledger;
  steps: string[];
  lentVerbs: () => readonly string[];
} {
  const journal = new MemoryJournal();
  const steps: string[] = [];
  let verbs: readonly string[] = [];
  const token = {
    requireInService: () => undefined,
    lend: async (lent: readonly string[], use: (verbs: unknown) => Promise<unknown>) => {
      verbs = lent;
      steps.push('token');
      return use({});
    },
  } as unknown as Token;
  journal.before = (write) => steps.push(write.role);
  const ledger = new Ledger({
    journal,
    followed: journal.followed,
    token,
    clock: { now: () => new Date(1_700_000_000_000), pause: () => Promise.resolve() },
    random: freshBytes,
    memory: { anchored: () => Promise.resolve(), requireOwnToken: () => Promise.resolve() },
    policy: noPolicy,
    notice: (message) => steps.push(`notice: ${message}`),
    contentionTimeoutMs: 0,
  });
  return { journal, ledger, steps, lentVerbs: () => verbs };
}

let uses = 0;
const caller = (): Actor => {
  uses += 1;
  return {
    id: 'ann',
    request: { jws: `a.${uses}.c`, kid: 'kid', jti: `jti-${String(uses)}`, expiresAt: new Date() },
  };
};
const fine: Outcome<string> = { detail: {}, digest: 'ab'.repeat(32), changes: [], answer: 'answer' };
const request = (more: Partial<Request> = {}): Request => ({
  act: 'recovery.request',
  actor: caller(),
  decide: (about) => {
    about({ key: 'key_1' });
    return Promise.resolve({ detail: { purpose: 'operate' }, claims: [], plan: 'plan' });
  },
  run: () => Promise.resolve(fine),
  ...more,
});

describe('the ledger', () => {
  it('logs the attempt before the token is used, and the outcome before the answer', async () => {
    const { ledger, steps, journal } = setUp();
    const performed = await ledger.perform(
      request({ run: () => (steps.push('run'), Promise.resolve(fine)) }),
    );
    expect(steps).toEqual(['opens', 'token', 'run', 'closes']);
    expect(performed).toEqual({ answer: 'answer', index: 1 });
    expect(journal.entries.map(({ phase }) => phase)).toEqual(['attempted', 'done']);
    expect(journal.entries[0]?.id).toBe(journal.entries[1]?.id);
  });

  it('uses the token only when the attempt is proven to be logged, where that is asked for', async () => {
    const { ledger, steps, journal } = setUp();
    journal.prove = (index) => {
      steps.push(`proven ${index}`);
      return Promise.resolve();
    };
    const proven = request({
      decide: () => Promise.resolve({ detail: {}, claims: [], plan: 'plan', logged: 'proven' }),
    });
    await ledger.perform(proven);
    expect(steps).toEqual(['opens', 'proven 0', 'token', 'closes']);
  });

  it('does not use the token when the attempt is not proven to be logged, and says so', async () => {
    const { ledger, steps, journal } = setUp();
    journal.prove = () => Promise.reject(new EscrowError('log-unavailable'));
    const unproven = request({
      decide: () => Promise.resolve({ detail: {}, claims: [], plan: 'plan', logged: 'proven' }),
    });
    await expect(ledger.perform(unproven)).rejects.toMatchObject({ code: 'log-unavailable' });
    expect(steps).toEqual(['opens', 'closes']);
    expect(journal.entries[1]).toMatchObject({ phase: 'failed', error: 'log-unavailable' });
  });

  it('lends exactly the verbs in the table of means', async () => {
    const { ledger, lentVerbs } = setUp();
    await ledger.perform(request());
    expect(lentVerbs()).toEqual(['createTransport', 'destroyTransport', 'attest']);
  });

  it('does nothing when the attempt cannot be written', async () => {
    const { ledger, journal, steps } = setUp();
    journal.broken = 'opens';
    await expect(ledger.perform(request())).rejects.toMatchObject({ code: 'log-unavailable' });
    expect(steps).toEqual([]);
  });

  it('takes back what was made when its outcome is no entry, and records that it failed', async () => {
    const { ledger, journal } = setUp();
    let undone = 0;
    const outcome: Outcome<string> = {
      ...fine,
      detail: { long: 'x'.repeat(65_535) },
      undo: () => Promise.resolve(void (undone += 1)),
    };
    await expect(ledger.perform(request({ run: () => Promise.resolve(outcome) }))).rejects.toMatchObject({
      code: 'internal',
    });
    expect(undone).toBe(1);
    expect(journal.entries.map(({ phase, error }) => [phase, error])).toEqual([
      ['attempted', undefined],
      ['failed', 'internal'],
    ]);
  });

  it('answers nothing when the outcome cannot be written, and leaves the attempt open to be settled', async () => {
    const { ledger, journal } = setUp();
    let undone = 0;
    journal.broken = 'closes';
    const undo = (): Promise<void> => (undone++, Promise.resolve());
    const run = (): Promise<Outcome<string>> => Promise.resolve({ ...fine, undo });
    await expect(ledger.perform(request({ run }))).rejects.toMatchObject({ code: 'log-unavailable' });
    expect(undone).toBe(0);
    expect(await journal.openActs()).toHaveLength(1);
    expect(ledger.underWay.size).toBe(0);
  });

  it('takes back what stands in the token when the outcome does not hold', async () => {
    const { ledger, journal } = setUp();
    const order: string[] = [];
    journal.before = (write) => {
      if (write.role === 'closes' && order.length === 0) {
        order.push('not held');
        throw new NotHeld('recovery-saved');
      }
    };
    const undo = (): Promise<void> => (order.push('undo'), Promise.resolve());
    const run = (): Promise<Outcome<string>> => Promise.resolve({ ...fine, undo });
    await expect(ledger.perform(request({ run }))).rejects.toMatchObject({ code: 'busy' });
    expect(order).toEqual(['not held', 'undo']);
    expect(journal.entries.at(-1)).toMatchObject({ phase: 'denied', error: 'busy' });
  });

  it('records a refusal with its subject and the signed request', async () => {
    const { ledger, journal, steps } = setUp();
    const decide: Request['decide'] = (about) => {
      about({ key: 'key_1', owner: 'olga' });
      throw new EscrowError('forbidden');
    };
    await expect(ledger.perform(request({ decide }))).rejects.toMatchObject({ code: 'forbidden' });
    expect(steps).toEqual(['alone']);
    expect(journal.entries).toMatchObject([
      {
        phase: 'denied',
        error: 'forbidden',
        actor: 'ann',
        request: `a.${uses}.c`,
        subject: { key: 'key_1', owner: 'olga' },
      },
    ]);
  });

  it('records nothing of what the daemon itself decides not to begin', async () => {
    const { ledger, journal } = setUp();
    const decide: Request['decide'] = () => Promise.reject(new EscrowError('recovery-ended'));
    const actor: Actor = { id: 'escrowd', request: undefined };
    await expect(ledger.perform(request({ actor, decide }))).rejects.toMatchObject({
      code: 'recovery-ended',
    });
    expect(journal.entries).toEqual([]);
  });

  it('tells a refusal from a failure', async () => {
    const { ledger, journal } = setUp();
    const failing =
      (error: Error): Request['run'] =>
      () =>
        Promise.reject(error);
    await expect(
      ledger.perform(request({ run: failing(new EscrowError('share-mismatch')) })),
    ).rejects.toThrow();
    await expect(
      ledger.perform(request({ run: failing(new EscrowError('token-unavailable')) })),
    ).rejects.toThrow();
    await expect(ledger.perform(request({ run: failing(new Error('secret reason')) }))).rejects.toMatchObject(
      {
        code: 'internal',
      },
    );
    const outcomes = journal.entries.filter(({ phase }) => phase !== 'attempted');
    expect(outcomes.map(({ phase, error }) => [phase, error])).toEqual([
      ['denied', 'share-mismatch'],
      ['failed', 'token-unavailable'],
      ['failed', 'internal'],
    ]);
    expect(JSON.stringify(journal.entries)).not.toContain('secret reason');
  });

  it('claims nothing for an act that needs the token while that is known to be out: the refusal is recorded', async () => {
    const { journal } = setUp();
    const token = {
      requireInService: () => {
        throw new EscrowError('token-unavailable');
      },
    } as unknown as Token;
    const ledger = new Ledger({
      journal,
      followed: journal.followed,
      token,
      clock: { now: () => new Date(), pause: () => Promise.resolve() },
      random: freshBytes,
      memory: { anchored: () => Promise.resolve(), requireOwnToken: () => Promise.resolve() },
      policy: noPolicy,
      notice: () => undefined,
      contentionTimeoutMs: 0,
    });
    const decide: Request['decide'] = () =>
      Promise.resolve({
        detail: {},
        claims: [{ claim: 'alone-on-recovery', recovery: 'rec_1' as RecoveryId, revision: 1 }],
        plan: 'plan',
      });
    const claimed: string[] = [];
    journal.before = ({ claims }) => claimed.push(...claims.map(({ claim }) => claim));
    await expect(ledger.perform(request({ decide }))).rejects.toMatchObject({ code: 'token-unavailable' });
    expect(claimed).toEqual(['request-unused']);
    expect(journal.entries).toMatchObject([{ phase: 'denied', error: 'token-unavailable' }]);
    // who may not do it is told that, whatever the token does
    const forbidden: Request['decide'] = () => Promise.reject(new EscrowError('forbidden'));
    await expect(ledger.perform(request({ decide: forbidden }))).rejects.toMatchObject({ code: 'forbidden' });
  });

  it('closes the attempt when the token lends nothing', async () => {
    const { journal } = setUp();
    const token = {
      requireInService: () => undefined,
      lend: () => Promise.reject(new EscrowError('token-unavailable')),
    } as unknown as Token;
    const ledger = new Ledger({
      journal,
      followed: journal.followed,
      token,
      clock: { now: () => new Date(), pause: () => Promise.resolve() },
      random: freshBytes,
      memory: { anchored: () => Promise.resolve(), requireOwnToken: () => Promise.resolve() },
      policy: noPolicy,
      notice: () => undefined,
      contentionTimeoutMs: 0,
    });
    await expect(ledger.perform(request())).rejects.toMatchObject({ code: 'token-unavailable' });
    expect(journal.entries.map(({ phase }) => phase)).toEqual(['attempted', 'failed']);
  });

  it('takes a signed request once, whatever came of it, and records the replay', async () => {
    const { ledger, journal } = setUp();
    const actor = caller();
    await ledger.perform(request({ actor }));
    await expect(ledger.perform(request({ actor }))).rejects.toMatchObject({ code: 'request-replayed' });
    const refused = caller();
    const decide: Request['decide'] = () => Promise.reject(new EscrowError('forbidden'));
    await expect(ledger.perform(request({ actor: refused, decide }))).rejects.toMatchObject({
      code: 'forbidden',
    });
    await expect(ledger.perform(request({ actor: refused }))).rejects.toMatchObject({
      code: 'request-replayed',
    });
    expect(journal.entries.filter(({ error }) => error === 'request-replayed')).toHaveLength(2);
  });

  it('lets one act work on a recovery at a time; others are told that it is busy', async () => {
    const { ledger, journal } = setUp();
    const row = aRecovery();
    const recovery = row.id;
    journal.recoveries.set(recovery, row);
    doneAct('recovery.request', 'act_filing', { recovery }).forEach((entry) => {
      journal.follow(entry);
    });
    let finish: () => void = () => undefined;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const alone = (
      run: ActOrder<'recovery.deny', string, string>['run'],
    ): ActOrder<'recovery.deny', string, string> => ({
      act: 'recovery.deny',
      actor: caller(),
      run,
      decide: (about) => {
        about({ recovery });
        const claims = [{ claim: 'alone-on-recovery', recovery, revision: 1 }] as const;
        return Promise.resolve({ detail: {}, claims, plan: '' });
      },
    });
    const first = ledger.perform(alone(() => finished.then(() => fine)));
    await new Promise((resolve) => setImmediate(resolve));
    await expect(ledger.perform(alone(() => Promise.resolve(fine)))).rejects.toMatchObject({ code: 'busy' });
    finish();
    await first;
    await ledger.perform(alone(() => Promise.resolve(fine)));
  });

  it('records a refusal decided before any use case', async () => {
    const { ledger, journal } = setUp();
    await ledger.refuse('key.generate', caller(), {}, new EscrowError('request-malformed'));
    expect(journal.entries).toMatchObject([
      { act: 'key.generate', phase: 'denied', error: 'request-malformed' },
    ]);
  });

  it('destroys what is obsolete only after the outcome is durable and its own loan over, and a failure there does not change the answer', async () => {
    const { ledger, steps } = setUp();
    const obsolete = { transport: newId('RecoveryId', freshBytes) };
    const { answer } = await ledger.perform(request({ run: () => Promise.resolve({ ...fine, obsolete }) }));
    expect(answer).toBe('answer');
    expect(steps).toEqual([
      'opens',
      'token',
      'closes',
      'token',
      'notice: work in the token after an act failed',
    ]);
  });
});
