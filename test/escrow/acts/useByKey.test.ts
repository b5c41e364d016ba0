import { revokeGrant } from '../../../src/escrow/acts/revokeGrant.js';
import { decryptWithGrant, signWithGrant } from '../../../src/escrow/acts/useGrant.js';
import type { Grant } from '../../../src/escrow/records/grant.js';
import type { GrantId, KeyId } from '../../../src/escrow/records/ids.js';
import { outcomeOf } from '../../adversary/database/scene.js';
import { approve, ask, callOf, MINUTE_MS, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { expectRefused } from './actCases.js';

/* An app names the key, and the grant is whichever of its own allows the use: of two, the one that ends first. */

type Asked = Parameters<typeof ask>[1];

interface Scene {
  readonly world: SymbolicWorld;
  readonly key: KeyId;
  /** As they were asked for. */
  readonly grants: readonly GrantId[];
  readonly sign: (named?: string, items?: number) => Promise<GrantId>;
}

async function grantedIn(
  made: { readonly world: SymbolicWorld; readonly keys: readonly KeyId[] },
  asked: Asked,
): Promise<GrantId> {
  const { world } = made;
  const before = new Set(world.grants.keys());
  const recovery = await ask(made, asked);
  for (const by of ['dana', 'dave']) await approve(world, by, recovery);
  const [grant] = [...world.grants.keys()].filter((id) => !before.has(id));
  if (grant === undefined) throw new Error('no grant');
  return grant as GrantId;
}

function signAs(world: SymbolicWorld, by: string, key: string, count = 1): Promise<GrantId> {
  const inputs = { kind: 'message', items: Array.from({ length: count }, () => Buffer.alloc(1)) } as const;
  const order = { key, mechanism: 'RS256', inputs } as const;
  return signWithGrant(world.escrow, callOf(by), order).then(({ answer }) => answer.grant);
}

async function scene(...asked: readonly Asked[]): Promise<Scene> {
  const made = await worldOf({ label: 'mail-2026', operate: { rate: undefined } });
  const grants: GrantId[] = [];
  for (const each of asked) grants.push(await grantedIn(made, each));
  const [key = '' as KeyId] = made.keys;
  const { world } = made;
  return { world, key, grants, sign: (named = key, count = 1) => signAs(world, 'mailer', named, count) };
}

const SHORT = { durationMs: MINUTE_MS / 2, maxUses: 2 };
const LONG = { durationMs: MINUTE_MS, maxUses: 5 };

test.each([
  ['the longer one was made first', [LONG, SHORT], 1],
  ['the longer one was made last', [SHORT, LONG], 0],
] as const)('of two grants the one that ends first is used: %s', async (_what, asked, at) => {
  const { sign, grants, world } = await scene(...asked);
  const usedOf = (id = ''): number | undefined => world.grants.get(id)?.used;
  expect(await sign()).toBe(grants[at]);
  expect(await sign('mail-2026')).toBe(grants[at]);
  expect([usedOf(grants[at]), usedOf(grants[1 - at])]).toEqual([2, 0]);
});

/** How a grant comes to allow a use no more, or not this one. */
const ENDED: Readonly<Record<string, (scene: Scene) => unknown>> = {
  'used up': ({ sign }) => sign(undefined, 2),
  'with too few uses left': ({ sign }) => sign(),
  revoked: ({ world, grants: [grant = '' as GrantId] }) =>
    revokeGrant(world.escrow, callOf('olga'), { grant, reason: 'enough' }),
  over: ({ world }) => {
    world.now = new Date(world.now.getTime() + SHORT.durationMs);
  },
};

test.each(Object.entries(ENDED))('the next grant is used where the first one is %s', async (_how, end) => {
  const all = await scene(SHORT, LONG);
  await end(all);
  expect(await all.sign(undefined, 2)).toBe(all.grants[1]);
});

test.each<readonly [string, Partial<Grant>]>([
  ['revoked', { status: 'revoked' }],
  ['used up', { used: 2 }],
])('the next grant is used where the first one at hand is %s elsewhere', async (_how, change) => {
  const { world, grants, sign } = await scene(SHORT, LONG);
  const [first = ''] = grants;
  expect(await sign()).toBe(first);
  const row = world.grants.get(first);
  if (row === undefined) throw new Error('no grant');
  world.grants.set(first, { ...row, ...change });
  expect(await sign()).toBe(grants[1]);
});

test('a record that says another than was certified is said to do so, whatever other grants there are', async () => {
  const { world, grants, sign } = await scene(SHORT, LONG);
  const [first = ''] = grants;
  const row = world.grants.get(first);
  if (row === undefined) throw new Error('no grant');
  world.grants.set(first, { ...row, scope: { ...row.scope, maxUses: 100 } });
  await expectRefused(world, 'grant.sign', 'record-mismatch', () => sign());
  expect(world.entries.at(-1)).toMatchObject({ subject: { grant: first } });
});

test.each(['is used up', 'has ended'])(
  'a grant that another daemon has just made is found when the one before %s',
  async (how) => {
    const { world, grants, key, sign } = await scene(SHORT);
    await sign(undefined, 2);
    const next = await grantedIn({ world, keys: [key] }, LONG);
    const { followed } = world.escrow;
    // as long as this daemon has not caught up
    const named = jest
      .spyOn(followed.facts, 'grantsNamed')
      .mockReturnValue(how === 'has ended' ? [] : grants);
    const caughtUp = jest.spyOn(followed, 'caughtUp').mockImplementation(() => {
      named.mockRestore();
      return Promise.resolve();
    });
    try {
      expect(await sign()).toBe(next);
      expect(caughtUp).toHaveBeenCalledTimes(1);
    } finally {
      jest.restoreAllMocks();
    }
  },
);

test('where no grant allows it, the refusal is that of the one that ends first, and nothing is used', async () => {
  const { world, grants, sign } = await scene(SHORT, { ...LONG, maxUses: 1 });
  await expectRefused(world, 'grant.sign', 'grant-exhausted', () => sign(undefined, 3));
  expect(world.entries.at(-1)).toMatchObject({ subject: { grant: grants[0] } });
  for (const { used } of world.grants.values()) expect(used).toBe(0);
});

test('a use that no grant covers is refused as such, and so is a use by nobody who has one', async () => {
  const { world, key, sign } = await scene(LONG);
  const ciphertexts = { key, mechanism: 'RSA-OAEP', inputs: [{ ciphertext: Buffer.alloc(256) }] } as const;
  await expectRefused(world, 'grant.decrypt', 'operation-not-granted', () =>
    decryptWithGrant(world.escrow, callOf('mailer'), ciphertexts),
  );
  await expectRefused(world, 'grant.sign', 'grant-unknown', () => signAs(world, 'olga', key));
  expect(world.entries.at(-1)).toMatchObject({ subject: { key } });
  await expectRefused(world, 'grant.sign', 'grant-unknown', () => sign('another'));
  await expectRefused(world, 'grant.sign', 'grant-unknown', () => sign(`key_${'0'.repeat(32)}`));
});

test('a label of two keys is refused with both, and each is used by its id', async () => {
  const made = await worldOf(
    { label: 'mail', operate: { rate: undefined } },
    { label: 'mail', operate: { rate: undefined } },
  );
  const { world, keys } = made;
  const grants: GrantId[] = [];
  for (const key of keys) grants.push(await grantedIn({ world, keys: [key] }, LONG));
  await expect(signAs(world, 'mailer', 'mail')).rejects.toMatchObject({
    code: 'key-ambiguous',
    message: expect.stringContaining([...keys].sort().join(', ')) as string,
  });
  for (const [at, key] of keys.entries()) expect(await signAs(world, 'mailer', key)).toBe(grants[at]);
});

test('a label that is spelt as the id of another key is not taken for that', async () => {
  const decoy = `key_${'a'.repeat(32)}`;
  const made = await worldOf({ label: decoy, operate: { rate: undefined } });
  await grantedIn(made, LONG);
  expect(await outcomeOf(signAs(made.world, 'mailer', decoy))).toBe('grant-unknown');
});

test('no record is read for a grant that is at hand', async () => {
  const { world, sign } = await scene(LONG);
  await sign();
  const { store } = world.escrow;
  let reads = 0;
  for (const [name, read] of Object.entries(store) as [string, (...given: never[]) => unknown][])
    (store as unknown as Record<string, unknown>)[name] = (...given: never[]) => {
      reads += 1;
      return read.apply(store, given);
    };
  for (const named of [undefined, 'mail-2026']) await sign(named);
  expect(reads).toBe(0);
});
