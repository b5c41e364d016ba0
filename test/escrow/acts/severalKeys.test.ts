import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { KeyId } from '../../../src/escrow/records/ids.js';
import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import { approve, ask, callOf, deny, HOUR_MS, MINUTE_MS, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';

describe('of the rules of several keys the strictest holds for the request:', () => {
  test('the longest delay', async () => {
    const made = await worldOf({ operate: { delayMs: MINUTE_MS } }, { operate: { delayMs: HOUR_MS } }, {});
    const recovery = await ask(made);
    await approve(made.world, 'dana', recovery);
    const { state } = await approve(made.world, 'dave', recovery);
    expect(state).toMatchObject({
      status: 'approved',
      releasableAt: new Date(made.world.now.getTime() + HOUR_MS),
    });
  });

  test('the shortest time that an approval counts, and that a request stands', async () => {
    const made = await worldOf(
      { requests: { approvalsHoldMs: HOUR_MS, maxValidForMs: HOUR_MS } },
      { requests: { approvalsHoldMs: 2 * HOUR_MS, maxValidForMs: MINUTE_MS } },
    );
    expect((await ask(made)).approvalsHoldMs).toBe(HOUR_MS);
    await expect(ask(made, { validForMs: MINUTE_MS + 1 })).rejects.toMatchObject({
      code: 'scope-not-allowed',
      detail: expect.stringContaining(`Ask apart for ${made.keys[1] ?? ''}.`) as unknown,
    });
  });

  test('the rate that is within all the others, or one that is named where there is none', async () => {
    const slow = { uses: 1, perMs: HOUR_MS };
    const fast = { uses: 5, perMs: MINUTE_MS };
    const made = await worldOf({ operate: { rate: fast } }, {}, { operate: { rate: slow } });
    expect((await ask(made)).asked).toMatchObject({ scope: { rate: slow } });
    await expect(ask(made, { rate: fast })).rejects.toMatchObject({
      code: 'scope-not-allowed',
      detail: expect.stringContaining(made.keys[2] ?? 'none') as unknown,
    });
    const apart = await worldOf(
      { operate: { rate: { uses: 1, perMs: MINUTE_MS } } },
      { operate: { rate: { uses: 5, perMs: HOUR_MS } } },
    );
    await expect(ask(apart)).rejects.toMatchObject({ code: 'scope-not-allowed' });
    const both = { uses: 1, perMs: HOUR_MS };
    expect((await ask(apart, { rate: both })).asked).toMatchObject({ scope: { rate: both } });
  });

  test('a requester who may not decide about one of the keys decides about none, and is needed for none', async () => {
    const apart = { people: ['dana', 'dave'], atLeast: 1, requests: { distinct: ['requester-depositary'] } };
    const made = await worldOf({ people: ['dana', 'dave', 'dora'], atLeast: 2 }, apart);
    const recovery = await ask(made, { who: 'dana' });
    await expect(approve(made.world, 'dana', recovery)).rejects.toMatchObject({ code: 'forbidden' });
    expect((await approve(made.world, 'dave', recovery)).state.status).toBe('pending');
    expect((await approve(made.world, 'dora', recovery)).state.status).toBe('active');
    // where the first key cannot come back without dana, there is nothing to file
    const needed = await worldOf({ people: ['dana', 'dave'] }, apart);
    await expect(ask(needed, { who: 'dana' })).rejects.toMatchObject({
      code: 'quorum-impossible',
      detail: expect.stringContaining(`Ask apart for ${needed.keys[0] ?? ''}.`) as unknown,
    });
    // by itself it can be asked for so
    expect((await ask({ ...needed, keys: needed.keys.slice(0, 1) }, { who: 'dana' })).state.status).toBe(
      'pending',
    );
    await expect(ask(await worldOf({}, { people: ['dora'] }), { who: 'dana' })).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  test('denials count for each key among its own depositaries, and end the request when they do for one', async () => {
    const two = { denialsToEnd: 2 };
    const anyOf = { people: ['dana', 'dave'], requests: two };
    const made = await worldOf(anyOf, { people: ['dora'], requests: two });
    const recovery = await ask(made);
    // dora's key has no other quorum: without her there is nothing to approve
    expect((await deny(made.world, 'dora', recovery)).state.status).toBe('denied');
    const again = await ask({ world: made.world, keys: made.keys.slice(0, 1) });
    expect((await approve(made.world, 'dana', again)).state.status).toBe('pending');
    expect((await approve(made.world, 'dave', again)).state.status).toBe('active');
  });
});

describe('when one of the keys cannot be brought back,', () => {
  async function approvedByBoth(): Promise<{ world: SymbolicWorld; keys: KeyId[]; recovery: Recovery }> {
    const made = await worldOf({ operate: { delayMs: MINUTE_MS } }, {}, {});
    const recovery = await ask(made, { validForMs: HOUR_MS });
    await approve(made.world, 'dana', recovery);
    await approve(made.world, 'dave', recovery);
    made.world.now = new Date(made.world.now.getTime() + MINUTE_MS);
    return { ...made, recovery };
  }

  /** The token stops to do this at the third time. */
  function spoil({ verbs }: SymbolicWorld, verb: string, fails: () => unknown): () => void {
    const works = verbs[verb];
    if (works === undefined) throw new Error('no such verb');
    let times = 0;
    verbs[verb] = (...given) => (++times === 3 ? fails() : works(...given));
    return () => (verbs[verb] = works);
  }

  test('none is, and what stood in the token of the others already is destroyed; the next try brings all of them', async () => {
    const { world, keys, recovery } = await approvedByBoth();
    const mend = spoil(world, 'raiseGrant', () => Promise.reject(new EscrowError('token-unavailable')));
    const activated = activateRecovery(world.escrow, callOf('ann'), { recovery: recovery.id });
    await expect(activated).rejects.toMatchObject({ code: 'token-unavailable' });
    expect([...world.raised]).toEqual([]);
    expect(world.recoveries.get(recovery.id)?.state.status).toBe('approved');
    mend();
    const again = await activateRecovery(world.escrow, callOf('ann'), { recovery: recovery.id });
    expect(again.answer.map(({ key }) => key)).toEqual([...keys].sort());
    expect(world.raised.size).toBe(3);
  });

  test('for good, the request has failed for all of them, and says which it was', async () => {
    const { world, recovery } = await approvedByBoth();
    spoil(world, 'raiseGrant', () => Promise.resolve({ refused: true }));
    const activated = activateRecovery(world.escrow, callOf('ann'), { recovery: recovery.id });
    await expect(activated).rejects.toMatchObject({ code: 'recovery-failed' });
    expect([...world.raised]).toEqual([]);
    expect(world.entries.at(-1)).toMatchObject({
      phase: 'failed',
      error: 'recovery-failed',
      detail: { status: 'failed', part: 'key', key: recovery.keys[2] },
    });
    expect(world.recoveries.get(recovery.id)?.state.status).toBe('failed');
    const again = activateRecovery(world.escrow, callOf('ann'), { recovery: recovery.id });
    await expect(again).rejects.toMatchObject({ code: 'recovery-ended' });
  });
});

test('keys in any order are one request: in ascending order, each once', async () => {
  const made = await worldOf({}, {}, {});
  const backwards = { ...made, keys: [...made.keys].sort().reverse() };
  expect((await ask(backwards)).keys).toEqual([...made.keys].sort());
  await expect(ask({ ...made, keys: [...made.keys, ...made.keys] })).rejects.toMatchObject({
    code: 'request-malformed',
  });
  await expect(ask({ ...made, keys: [] })).rejects.toMatchObject({ code: 'request-malformed' });
});
