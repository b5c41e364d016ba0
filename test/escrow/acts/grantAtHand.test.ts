import { revokeGrant } from '../../../src/escrow/acts/revokeGrant.js';
import { signWithGrant } from '../../../src/escrow/acts/useGrant.js';
import type { Grant } from '../../../src/escrow/records/grant.js';
import type { GrantId } from '../../../src/escrow/records/ids.js';
import type { Rate } from '../../../src/escrow/records/rate.js';
import { outcomeOf } from '../../adversary/database/scene.js';
import { approve, ask, callOf, MINUTE_MS, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';

/* A grant is read once. Whether it may be used still is claimed with each attempt, and a claim that does not hold has it read anew. */

interface Scene {
  readonly world: SymbolicWorld;
  readonly grant: GrantId;
  /** How often a record was asked for since. */
  readonly reads: () => number;
  readonly sign: (items?: number) => Promise<number>;
}

async function scene(order: { readonly rate?: Rate } = {}): Promise<Scene> {
  const made = await worldOf(order.rate === undefined ? {} : { operate: { rate: order.rate } });
  const { world } = made;
  const recovery = await ask(made, { ...order, maxUses: 9 });
  for (const by of ['dana', 'dave']) await approve(world, by, recovery);
  const [grant = '' as GrantId] = world.grants.keys() as IterableIterator<GrantId>;
  let reads = 0;
  const { store } = world.escrow;
  for (const [name, read] of Object.entries(store) as [string, (...given: never[]) => unknown][])
    (store as unknown as Record<string, unknown>)[name] = (...given: never[]) => {
      reads += 1;
      return read.apply(store, given);
    };
  return {
    ...{ world, grant },
    reads: () => {
      const before = reads;
      reads = 0;
      return before;
    },
    sign: async (items = 1) => {
      const inputs = {
        kind: 'message',
        items: Array.from({ length: items }, () => Buffer.alloc(1)),
      } as const;
      const order = { grant, mechanism: 'RS256', inputs } as const;
      return (await signWithGrant(world.escrow, callOf('mailer'), order)).answer.remaining;
    },
  };
}

/** Another daemon does it, and this one has not followed the log so far: the record only says so. */
function elsewhere({ world, grant }: Scene, change: Partial<Grant>): void {
  const record = world.grants.get(grant);
  if (record === undefined) throw new Error('there is no such grant');
  world.grants.set(grant, { ...record, ...change });
}

test('the first use reads the record, and the next ones nothing', async () => {
  const { sign, reads } = await scene();
  expect(await sign()).toBe(8);
  expect(reads()).toBe(1);
  expect([await sign(), await sign(3), await sign()]).toEqual([7, 4, 3]);
  expect(reads()).toBe(0);
});

test('uses at once are told what each of them left', async () => {
  const { sign } = await scene();
  const left = await Promise.all([sign(), sign(2), sign(3)]);
  expect(left.sort()).toEqual([3, 6, 8]);
});

test('what the log says ends it at once: revoked, expired, used up, and for another app', async () => {
  const revoked = await scene();
  await revoked.sign();
  await revokeGrant(revoked.world.escrow, callOf('olga'), { grant: revoked.grant, reason: 'stop' });
  expect(await outcomeOf(revoked.sign())).toBe('grant-revoked');
  const expired = await scene();
  await expired.sign();
  expired.world.now = new Date(expired.world.now.getTime() + MINUTE_MS);
  expect(await outcomeOf(expired.sign())).toBe('grant-expired');
  const full = await scene();
  expect(await full.sign(9)).toBe(0);
  expect(await outcomeOf(full.sign())).toBe('grant-exhausted');
  const { world, grant, sign } = await scene();
  await sign();
  const order = { grant, mechanism: 'RS256', inputs: { kind: 'message', items: [Buffer.alloc(1)] } } as const;
  expect(await outcomeOf(signWithGrant(world.escrow, callOf('olga'), order))).toBe('forbidden');
});

test.each<readonly [string, Partial<Grant>, string]>([
  ['revoked', { status: 'revoked' }, 'grant-revoked'],
  ['used up', { used: 9 }, 'grant-exhausted'],
])(
  'one that is %s elsewhere is read anew, and refused before the token is asked',
  async (_how, change, code) => {
    const all = await scene();
    await all.sign();
    const signed: string[] = [];
    all.world.device.before = (verb) => void signed.push(verb);
    elsewhere(all, change);
    all.reads();
    expect(await outcomeOf(all.sign())).toBe(code);
    expect(all.reads()).toBe(1);
    expect(signed).toEqual([]);
  },
);

test('the pace of a grant is held with nothing read, and when it is too fast the record says when there is more', async () => {
  const { sign, reads } = await scene({ rate: { uses: 2, perMs: MINUTE_MS / 2 } });
  await sign();
  reads();
  await sign();
  expect(reads()).toBe(0);
  await expect(sign()).rejects.toMatchObject({
    code: 'grant-rate-exceeded',
    retryAfterMs: expect.any(Number) as number,
  });
  expect(reads()).toBe(1);
});

test('a record that said that it was too fast, and is put right, keeps nobody from the next use', async () => {
  const all = await scene({ rate: { uses: 2, perMs: MINUTE_MS / 2 } });
  elsewhere(all, { recent: [{ slice: 9e12, uses: 2 }] });
  for (const items of [1, 2]) expect(await outcomeOf(all.sign(items))).toBe('grant-rate-exceeded');
  elsewhere(all, { recent: [] });
  expect(await all.sign()).toBe(8);
});
