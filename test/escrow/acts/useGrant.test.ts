import { revokeGrant } from '../../../src/escrow/acts/revokeGrant.js';
import { decryptWithGrant, signWithGrant } from '../../../src/escrow/acts/useGrant.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import type { GrantId } from '../../../src/escrow/records/ids.js';
import type { Mechanism } from '../../../src/escrow/records/mechanisms.js';
import { approve, ask, callOf, MINUTE_MS, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { expectDone, expectFailedAt, expectRefused } from './actCases.js';

interface Scene {
  readonly world: SymbolicWorld;
  readonly grant: GrantId;
}

async function scene(use: 'sign' | 'decrypt' = 'sign', maxUses = 3): Promise<Scene> {
  const made = await worldOf({ use });
  const rate = { uses: 2, perMs: 1_000 };
  const recovery = await ask(made, { use, maxUses, rate });
  for (const by of ['dana', 'dave']) await approve(made.world, by, recovery);
  const [grant] = made.world.grants.keys();
  if (grant === undefined) throw new Error('no grant');
  return { world: made.world, grant: grant as GrantId };
}

interface Use {
  readonly by?: string;
  readonly mechanism?: Mechanism;
  readonly times?: number;
  readonly kind?: 'message' | 'digest';
  readonly context?: string;
}

function sign(
  { world, grant }: Scene,
  { by = 'mailer', mechanism = 'RS256', times = 1, kind = 'message', ...context }: Use = {},
): Promise<unknown> {
  const items = Array.from({ length: times }, () => Buffer.from('letter'));
  return signWithGrant(world.escrow, callOf(by), { grant, mechanism, inputs: { kind, items }, ...context });
}

function decrypt(
  { world, grant }: Scene,
  mechanism: Mechanism = 'RSA-OAEP',
  context: Pick<Use, 'context'> = {},
): Promise<unknown> {
  const inputs = [{ ciphertext: Buffer.alloc(256) }];
  return decryptWithGrant(world.escrow, callOf('mailer'), { grant, mechanism, inputs, ...context });
}

function revoke({ world, grant }: Scene, by = 'olga'): Promise<unknown> {
  return revokeGrant(world.escrow, callOf(by), { grant, reason: 'enough' });
}

function pass(world: SymbolicWorld, ms: number): void {
  world.now = new Date(world.now.getTime() + ms);
}

const unknown = `grant_${'0'.repeat(32)}` as GrantId;
/** Each refusal of a use: what is asked, and what is done before. */
const REFUSED: Readonly<
  Record<
    string,
    { readonly code: ErrorCode; readonly use?: Use; readonly before?: (scene: Scene) => unknown }
  >
> = {
  'an app whose grant it is not': { code: 'forbidden', use: { by: 'olga' } },
  'more uses than are left': { code: 'grant-exhausted', use: { times: 4 } },
  'more uses than its rate allows': { code: 'grant-rate-exceeded', use: { times: 3 } },
  'a mechanism that it is not for': { code: 'operation-not-granted', use: { mechanism: 'PS256' } },
  'a mechanism that decrypts': { code: 'operation-not-granted', use: { mechanism: 'RSA-OAEP' } },
  'digests, where it is for messages': { code: 'operation-not-granted', use: { kind: 'digest' } },
  'a grant that was revoked': { code: 'grant-revoked', before: (scene) => revoke(scene) },
  'a grant whose time is over': {
    code: 'grant-expired',
    before: ({ world }) => {
      pass(world, MINUTE_MS);
    },
  },
  'a grant whose uses are over': {
    code: 'grant-exhausted',
    before: async (scene) => {
      for (let at = 0; at < 3; at += 1) {
        await sign(scene);
        pass(scene.world, 1_000);
      }
    },
  },
  'a grant of which the record says more than its certificate': {
    code: 'record-mismatch',
    before: ({ world, grant }) => {
      const row = world.grants.get(grant);
      if (row === undefined) throw new Error('no grant');
      world.grants.set(grant, { ...row, scope: { ...row.scope, maxUses: 100 } });
    },
  },
};

test.each(Object.entries(REFUSED))('a signature is refused: %s', async (_what, { code, use, before }) => {
  const all = await scene();
  await before?.(all);
  await expectRefused(all.world, 'grant.sign', code, () => sign(all, use));
});

test('a use of a grant that there is not is refused', async () => {
  const { world } = await scene();
  await expectRefused(world, 'grant.sign', 'grant-unknown', () => sign({ world, grant: unknown }));
});

test('a grant to sign does not decrypt, and one to decrypt does not sign', async () => {
  const signs = await scene('sign');
  await expectRefused(signs.world, 'grant.decrypt', 'operation-not-granted', () => decrypt(signs));
  await expectRefused(signs.world, 'grant.decrypt', 'operation-not-granted', () => decrypt(signs, 'RS256'));
  const decrypts = await scene('decrypt');
  await expectRefused(decrypts.world, 'grant.sign', 'operation-not-granted', () => sign(decrypts));
});

test('signatures are counted before they are made, and the entries have the digests of inputs and of all that was made', async () => {
  const all = await scene();
  const { world, grant } = all;
  const [attempted, done] = await expectDone(world, 'grant.sign', async () => {
    expect(await sign(all, { times: 2 })).toMatchObject({ answer: { remaining: 1 } });
  });
  expect(attempted).toMatchObject({
    ...{ actor: 'mailer', subject: { grant, owner: 'olga' } },
    detail: {
      mechanism: 'RS256',
      input: 'message',
      inputs: [expect.any(String), expect.any(String)] as unknown,
    },
  });
  expect(done).toMatchObject({ detail: { uses: 2 } });
  expect(world.grants.get(grant)).toMatchObject({ used: 2 });
});

test('a plaintext is counted as a signature is', async () => {
  const all = await scene('decrypt');
  const [, done] = await expectDone(all.world, 'grant.decrypt', () => decrypt(all));
  expect(done).toMatchObject({ detail: { uses: 1 } });
  expect(all.world.grants.get(all.grant)).toMatchObject({ used: 1 });
});

describe('what a use is for, when the app says it', () => {
  const context = 'invoice 4711';
  const inBoth = { detail: { context } };

  test.each(['sign', 'decrypt'] as const)('is in both entries: %s', async (use) => {
    const all = await scene(use);
    const [attempted, done] = await expectDone(all.world, `grant.${use}`, () =>
      use === 'sign' ? sign(all, { context }) : decrypt(all, undefined, { context }),
    );
    expect([attempted, done]).toMatchObject([inBoth, inBoth]);
  });

  test('is in both when the token fails', async () => {
    const all = await scene();
    await expectFailedAt(all.world, 'grant.sign', 'sign', () => sign(all, { context }));
    expect(all.world.entries.slice(-2)).toMatchObject([inBoth, inBoth]);
  });

  test('is in neither when the app says nothing', async () => {
    const all = await scene();
    const entries = await expectDone(all.world, 'grant.sign', () => sign(all));
    for (const { detail } of entries) expect(detail).not.toHaveProperty('context');
  });
});

describe('the end of a grant', () => {
  test.each(['olga', 'ann', 'dana'])('comes at once by %s, and what the token has of it goes', async (by) => {
    const all = await scene();
    await sign(all);
    const [attempted, done] = await expectDone(all.world, 'grant.revoke', () => revoke(all, by));
    expect(attempted).toMatchObject({
      actor: by,
      subject: { grant: all.grant },
      detail: { reason: 'enough' },
    });
    expect(done).toMatchObject({ detail: { status: 'revoked', used: 1 } });
    expect(all.world.grants.get(all.grant)).toMatchObject({ status: 'revoked' });
    expect(all.world.raised.has(all.grant)).toBe(false);
  });

  test.each(['mailer', 'dora'])('is refused to %s', async (by) => {
    const all = await scene();
    await expectRefused(all.world, 'grant.revoke', 'forbidden', () => revoke(all, by));
  });

  test('is refused of one that has ended, and of one that there is not', async () => {
    const all = await scene();
    await expectRefused(all.world, 'grant.revoke', 'grant-unknown', () => revoke({ ...all, grant: unknown }));
    await revoke(all);
    await expectRefused(all.world, 'grant.revoke', 'grant-revoked', () => revoke(all, 'ann'));
    const over = await scene();
    pass(over.world, MINUTE_MS);
    await expectRefused(over.world, 'grant.revoke', 'grant-expired', () => revoke(over));
  });
});

test('a use that the token cannot make stays counted', async () => {
  const all = await scene();
  const { world, grant } = all;
  await expectFailedAt(world, 'grant.sign', 'sign', () => sign(all));
  expect(world.grants.get(grant)).toMatchObject({ used: 1, status: 'active' });
  expect(world.entries.at(-1)).toMatchObject({ phase: 'failed', detail: { made: 0 } });
  await sign(all);
  expect(world.grants.get(grant)).toMatchObject({ used: 2 });
});
