import { applyPolicy } from '../../../src/escrow/acts/applyPolicy.js';
import { approveRecovery } from '../../../src/escrow/acts/approveRecovery.js';
import { resealKeys } from '../../../src/escrow/acts/carryingOut/resealKeys.js';
import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import { generationOf } from '../../../src/escrow/records/deposit.js';
import { repliesDigest } from '../../../src/escrow/records/digests.js';
import type { KeyId, RecoveryId } from '../../../src/escrow/records/ids.js';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import {
  approve,
  ask,
  callOf,
  due,
  newScene,
  POLICY,
  outcomeOf,
  policyWith,
  repliesOf,
  statementOf,
} from '../../adversary/database/scene.js';
import { type SymbolicWorld, ORIGIN } from '../symbolicWorld.js';
import { entriesOf } from '../../adversary/database/loggedActs.js';
import { DAMAGED, expectDamageFound, expectDone, expectNothingLeftAt, expectRefused } from './actCases.js';

let world: SymbolicWorld;
let key: KeyId;
let other: KeyId;

beforeEach(async () => {
  ({ world, key, other } = await newScene());
});

function reseal(recovery: Pick<Recovery, 'id'>, by = 'dana'): Promise<unknown> {
  return resealKeys(world.escrow, callOf(by), { recovery: recovery.id });
}

/** Which deposit of a key there is, by its record and by the log. */
function generations(of = key): readonly (number | undefined)[] {
  const row = world.deposits.get(of);
  return [row && generationOf(row), world.facts.deposit(of)?.generation];
}

test('peels each purpose down to the key under its KEK and seals it anew, by no verb that has the key itself', async () => {
  const recovery = await due(world, key, 'reseal');
  const before = world.deposits.get(key);
  const [attempted, done] = await expectDone(world, 'recovery.reseal', () => reseal(recovery));
  const after = world.deposits.get(key);
  expect(generations()).toEqual([2, 2]);
  expect(world.facts.deposit(key)?.digest).toBe(after?.digest);
  expect(after?.purposes.map(({ purpose, kek }) => [purpose, kek])).toEqual(
    before?.purposes.map(({ purpose, kek }) => [purpose, kek]),
  );
  const shares = (of: typeof before): readonly string[] =>
    (of?.purposes ?? []).flatMap((one) => one.shares.map(({ share }) => Buffer.from(share).toString()));
  expect(shares(after).filter((share) => shares(before).includes(share))).toEqual([]);
  expect(attempted.detail).toMatchObject({ quorums: { [key]: ['dana', 'dave'] } });
  expect(done.subject).toEqual({ recovery: recovery.id, keys: [key], owner: 'olga' });
  expect(world.recoveries.get(recovery.id)?.state).toMatchObject({ status: 'resealed' });
  expect(world.device.transports.has(recovery.id)).toBe(false);
  // and again
  await reseal(await due(world, key, 'reseal'));
  expect(generations()).toEqual([3, 3]);
  expect(generations(other)).toEqual([1, 1]);
});

test.each<
  readonly [what: string, code: Parameters<typeof expectRefused>[2], of: () => Promise<Pick<Recovery, 'id'>>]
>([
  ['there is not', 'recovery-unknown', () => Promise.resolve({ id: `rec_${'0'.repeat(32)}` as RecoveryId })],
  ['is for another purpose', 'purpose-not-allowed', () => due(world, key, 'operate')],
  ['nobody has approved', 'quorum-incomplete', () => ask(world, key, 'reseal')],
  [
    'waits for the strictest delay of the purposes of its key',
    'delay-running',
    async () => {
      const recovery = await ask(world, key, 'reseal');
      for (const by of ['dana', 'dave']) await approve(world, by, recovery);
      return recovery;
    },
  ],
])('a request that %s is refused', async (_what, code, of) => {
  const recovery = await of();
  await expectRefused(world, 'recovery.reseal', code, () => reseal(recovery));
});

test('somebody without a part in it is refused', async () => {
  const recovery = await due(world, key, 'reseal');
  await expectRefused(world, 'recovery.reseal', 'forbidden', () => reseal(recovery, 'mailer'));
});

test.each([
  'unwrapReply',
  'openUnder',
  'unwrapLayer',
  'generateShareKey',
  'generateLayerKey',
  'wrapToDepositary',
  'wrapToServerFor',
  'sealUnder',
  'proveWrapped',
  'proveSealed',
])('while the token cannot %s nothing changes, and it is done when it can', async (verb) => {
  const recovery = await due(world, key, 'reseal');
  await expectNothingLeftAt(world, 'recovery.reseal', verb, () => reseal(recovery));
  expect(generations()).toEqual([1, 1]);
  await reseal(recovery);
  expect(generations()).toEqual([2, 2]);
});

test.each(Object.entries(DAMAGED).filter(([, { verb }]) => verb !== 'wrapUnderKek'))(
  'finds damage while the old deposit is still the newest, and is done when there is none: %s',
  async (_what, row) => {
    const recovery = await due(world, key, 'reseal');
    // here there is a link of a third before the copies
    const here = row.nth > 2 ? ({ ...row, nth: row.nth + 1 } as typeof row) : row;
    await expectDamageFound(world, 'recovery.reseal', here, () => reseal(recovery));
    expect(generations()).toEqual([1, 1]);
    await reseal(recovery);
    expect(generations()).toEqual([2, 2]);
  },
);

test('what comes out and is not the key ends the request, and is not sealed anew as if it were', async () => {
  const recovery = await due(world, key, 'reseal');
  world.verbs['proveWrapped'] = () => Promise.resolve({ refused: true });
  expect(await outcomeOf(reseal(recovery))).toBe('recovery-failed');
  expect(generations()).toEqual([1, 1]);
  expect(world.recoveries.get(recovery.id)?.state).toMatchObject({ status: 'failed' });
});

test('a layer that does not open ends the request, and the deposit is what it was', async () => {
  const recovery = await due(world, key, 'reseal');
  const { verbs } = world;
  const { unwrapLayer } = verbs;
  verbs['unwrapLayer'] = () => Promise.resolve({ refused: true });
  expect(await outcomeOf(reseal(recovery))).toBe('recovery-failed');
  verbs['unwrapLayer'] = unwrapLayer ?? (() => undefined);
  expect(generations()).toEqual([1, 1]);
  expect(world.recoveries.get(recovery.id)?.state).toMatchObject({ status: 'failed' });
  expect(world.facts.request(recovery.id)).toBeUndefined();
});

test('under another policy than it was planned by it ends, and the deposit is what it was', async () => {
  const recovery = await due(world, key, 'reseal');
  world.policy = policyWith({});
  await keepHouse(world.escrow, world.journal);
  expect(generations()).toEqual([1, 1]);
  expect(world.recoveries.get(recovery.id)?.state).toMatchObject({
    ...{ status: 'failed', reason: expect.stringContaining('Another policy is in force') as unknown },
  });
  expect(world.device.transports.has(recovery.id)).toBe(false);
});

test('what was cut short is gone on with by itself', async () => {
  const recovery = await due(world, key, 'reseal');
  const told = await keepHouse(world.escrow, world.journal);
  expect(told).toMatchObject({ activated: 1 });
  expect(world.recoveries.get(recovery.id)?.state).toMatchObject({ status: 'resealed' });
  expect(generations()).toEqual([2, 2]);
});

describe('while keys are being sealed anew', () => {
  /** What came of this, done while the token seals the key of a reseal, which is done all the same. */
  async function meanwhile(work: () => Promise<unknown>): Promise<string> {
    const recovery = await hide(world, () => due(world, key, 'reseal'));
    const { verbs } = world;
    const { sealUnder = () => undefined } = verbs;
    let came: string | undefined;
    verbs['sealUnder'] = async (...given) => {
      verbs['sealUnder'] = sealUnder;
      came = await outcomeOf(work());
      return sealUnder(...given);
    };
    await reseal(recovery);
    expect(generations()).toEqual([2, 2]);
    return came ?? '';
  }

  test('no policy is put in force: they are sealed by the one that was planned with', async () => {
    const next = policyWith({});
    const iat = world.now.getTime() / 1000 + 600;
    const says = { aud: ORIGIN, iat, exp: iat + 60, hash: next.hash, base: POLICY.version };
    const signatures = ['ann', 'bob'].map((by) =>
      JSON.stringify({
        typ: 'escrowd-policy+jwt',
        by,
        payload: { ...says, iss: by, replaces: POLICY.hash },
      }),
    );
    const order = { document: {}, signatures, acceptUnrecoverable: 0 };
    const apply = (): Promise<unknown> => applyPolicy(world.escrow, callOf('ann'), () => next, order);
    expect(await meanwhile(apply)).toBe('busy');
    await apply();
  });

  test('nor are they while one is', async () => {
    const recovery = await due(world, key, 'reseal');
    const [attempt = new Uint8Array()] = entriesOf('policy.apply', {});
    world.journal.follow(attempt);
    expect(await outcomeOf(reseal(recovery))).toBe('busy');
    expect(generations()).toEqual([1, 1]);
  });

  test('none of them is by another request, which its database may have hidden', async () => {
    const hidden = await due(world, key, 'reseal');
    expect(await meanwhile(() => reseal(hidden))).toBe('busy');
    expect(await outcomeOf(reseal(hidden))).toBe('recovery-superseded');
  });

  test('nor is that asked again: it would be planned with the deposit of before', async () => {
    expect(await meanwhile(() => hide(world, () => ask(world, key, 'reseal')))).toBe('busy');
    const again = await ask(world, key, 'reseal');
    expect(again.asked).toMatchObject({ plan: { from: { [key]: 2 } } });
  });

  /** Does something while the store leaves out every open request. */
  async function hide<T>({ escrow: { store } }: SymbolicWorld, work: () => Promise<T>): Promise<T> {
    const openRecoveries = store.openRecoveries.bind(store);
    store.openRecoveries = () => Promise.resolve([]);
    try {
      return await work();
    } finally {
      store.openRecoveries = openRecoveries;
    }
  }
});

test('a request that was planned with the deposit of before is not filed', async () => {
  const { store } = world.escrow;
  const findDeposits = store.findDeposits.bind(store);
  const openRecoveries = store.openRecoveries.bind(store);
  const before = await findDeposits([key]);
  const recovery = await due(world, key, 'reseal');
  // the row was read, and then the key was sealed anew, before the open requests were
  store.findDeposits = () => Promise.resolve(before);
  store.openRecoveries = async () => {
    store.findDeposits = findDeposits;
    store.openRecoveries = openRecoveries;
    await reseal(recovery);
    return openRecoveries();
  };
  expect(await outcomeOf(ask(world, key, 'reseal'))).toBe('busy');
  expect(generations()).toEqual([2, 2]);
});

test('a request that was filed in the moment in which its key was sealed anew ends, and is not tried for ever', async () => {
  const { verbs } = world;
  const { createTransport = () => undefined } = verbs;
  const first = await due(world, key, 'reseal');
  const { store } = world.escrow;
  const openRecoveries = store.openRecoveries.bind(store);
  store.openRecoveries = () => Promise.resolve([]);
  verbs['createTransport'] = async (...given) => {
    verbs['createTransport'] = createTransport;
    await reseal(first);
    return createTransport(...given);
  };
  const late = await due(world, key, 'reseal');
  store.openRecoveries = openRecoveries;
  expect(world.facts.request(late.id)?.isSuperseded).toBe(false);
  await keepHouse(world.escrow, world.journal);
  expect(generations()).toEqual([2, 2]);
  expect(world.recoveries.get(late.id)?.state).toMatchObject({ status: 'failed' });
  expect(world.device.transports.has(late.id)).toBe(false);
});

describe('other requests of a key that was sealed anew', () => {
  test('are refused as they are, and ended by housekeeping; those of other keys stand', async () => {
    const used = await ask(world, key, 'operate');
    const released = await due(world, key, 'release');
    const stays = await ask(world, other, 'operate');
    const replies = repliesOf(world, used, 'dana');
    const decision = { decision: 'approve', replies: repliesDigest(replies) };
    const statement = statementOf(world, 'dana', used, decision);
    await reseal(await due(world, key, 'reseal'));
    const order = { recovery: used.id, statement, replies };
    expect(await outcomeOf(approveRecovery(world.escrow, callOf('dana'), order))).toBe('recovery-superseded');
    const told = await keepHouse(world.escrow, world.journal);
    expect(told).toMatchObject({ supersededRecoveries: 2, contradictions: [] });
    for (const { id } of [used, released]) {
      expect(world.recoveries.get(id)?.state).toMatchObject({ status: 'failed' });
      expect(world.device.transports.has(id)).toBe(false);
    }
    expect(world.recoveries.get(stays.id)?.state).toMatchObject({ status: 'pending' });
    expect(await keepHouse(world.escrow, world.journal)).toMatchObject({ supersededRecoveries: 0 });
  });

  test('a row that is put back as it was before is no deposit of the key', async () => {
    const before = world.deposits.get(key);
    await reseal(await due(world, key, 'reseal'));
    if (before !== undefined) world.deposits.set(key, before);
    expect(await outcomeOf(ask(world, key, 'operate'))).toBe('record-mismatch');
  });
});
