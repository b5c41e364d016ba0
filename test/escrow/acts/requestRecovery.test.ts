import { viewRecovery } from '../../../src/escrow/reads/recoveries.js';
import type { RecoveryOrder } from '../../../src/escrow/acts/requestRecovery.js';
import { generateKey } from '../../../src/escrow/acts/generateKey.js';
import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import { requestRecovery } from '../../../src/escrow/acts/requestRecovery.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import type { KeyId, PrincipalId } from '../../../src/escrow/records/ids.js';
import type { Principal } from '../../../src/escrow/records/principals.js';
import type { Scope } from '../../../src/escrow/records/scope.js';
import type { Time } from '../symbolicPeople.js';
import { callBy } from '../../support/calls.js';
import { approve, ask, callIn, callOf, HOUR_MS, MINUTE_MS, policyOf, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { strayLongAgo } from '../symbolicWorld.js';
import { expectDone, expectFailedAt, expectNothingLeftAt, expectRefused } from './actCases.js';

const SCOPE: Scope = {
  ...{ app: 'mailer' as PrincipalId, operations: ['sign'], mechanisms: ['RS256'], input: 'message' },
  ...{ maxUses: 2, rate: undefined, durationMs: MINUTE_MS, notBefore: undefined, notAfter: undefined },
};

interface Refused {
  readonly code: ErrorCode;
  readonly by?: string;
  readonly time?: Time;
  readonly scope?: Partial<Scope>;
  readonly order?: Partial<RecoveryOrder>;
  readonly keys?: readonly KeyId[];
}

const tooFar: Pick<Refused, 'code'> = { code: 'scope-not-allowed' };
/** Each refusal: what is asked by whom, under which rule. */
const REFUSED: Readonly<Record<string, Refused>> = {
  'a key that there is not': { code: 'key-unknown', keys: [`key_${'0'.repeat(32)}` as KeyId] },
  'who is no requester by the rule': { code: 'forbidden', by: 'olga' },
  'a depositary of other keys': { code: 'forbidden', by: 'dora' },
  'the key itself, where the rule gives its use alone': {
    ...{ code: 'purpose-not-allowed', order: { asked: { purpose: 'release', recipient: undefined } } },
  },
  'an app that is not listed': { code: 'app-unknown', scope: { app: 'nobody' as PrincipalId } },
  'an app that is a person': { code: 'app-unknown', scope: { app: 'dana' as PrincipalId } },
  'more uses than the rule allows': { ...tooFar, scope: { maxUses: 10 } },
  'a longer time than the rule allows': { ...tooFar, scope: { durationMs: HOUR_MS + 1 } },
  'an operation that is not of the use': { ...tooFar, scope: { operations: ['decrypt'] } },
  'a mechanism for another kind of key': { ...tooFar, scope: { mechanisms: ['ES256'] } },
  'a mechanism that the token does not have': {
    ...{ code: 'mechanism-unsupported', scope: { mechanisms: ['PS256'] } },
  },
  'a time that ends before it begins': {
    ...tooFar,
    scope: { notBefore: new Date('2026-03-02'), notAfter: new Date('2026-03-01T13:00:00Z') },
  },
  'a request that stands for longer than the rule lets it': {
    ...{ ...tooFar, time: { requests: { maxValidForMs: MINUTE_MS } }, order: { validForMs: HOUR_MS } },
  },
  'a request that ends with the delay after which replies are taken': {
    ...{ ...tooFar, time: { operate: { delayMs: HOUR_MS, replies: 'afterDelay' } } },
    order: { validForMs: HOUR_MS },
  },
  'a depositary without whom there is no quorum, and who may not approve': {
    ...{ code: 'quorum-impossible', by: 'dana', time: { requests: { distinct: ['requester-depositary'] } } },
  },
};

function asking(
  world: SymbolicWorld,
  keys: readonly KeyId[],
  { by = 'ann', scope = {}, order = {} }: Pick<Refused, 'by' | 'scope' | 'order'> = {},
): Promise<unknown> {
  return requestRecovery(world.escrow, callOf(by), {
    ...{ keys, reason: 'left', validForMs: MINUTE_MS },
    asked: { purpose: 'operate', scope: { ...SCOPE, ...scope } },
    ...order,
  });
}

test.each(Object.entries(REFUSED))('is refused: %s', async (_what, { code, time = {}, keys, ...asked }) => {
  const made = await worldOf(time);
  await expectRefused(made.world, 'recovery.request', code, () =>
    asking(made.world, keys ?? made.keys, asked),
  );
});

/** The directory of a world without these, or with these in place of those of the same id. */
function relist(world: SymbolicWorld, id: string, by: Partial<Principal> | undefined): void {
  const principals = new Map(world.policy.principals);
  const before = principals.get(id as PrincipalId);
  if (before === undefined) throw new Error('not listed');
  principals.delete(before.id);
  if (by !== undefined) principals.set(before.id, { ...before, ...by });
  world.policy = { ...world.policy, version: world.policy.version + 1, principals };
}

/** What has become of dana, without whom there is no quorum; and what is said of her. */
const GONE: Readonly<Record<string, readonly [Partial<Principal> | undefined, string]>> = {
  'has left': [undefined, 'dana is not in the directory'],
  'is no depositary any more': [{ roles: ['owner'] }, 'dana is no depositary'],
  'has no key to sign with': [{ keys: [] }, 'dana has no signing key'],
};

test.each(Object.entries(GONE))('is refused: a key of which somebody %s', async (_what, [by, said]) => {
  const { world, keys } = await worldOf({ people: ['dana', 'dave'] });
  relist(world, 'dana', by);
  await expectRefused(world, 'recovery.request', 'quorum-impossible', () =>
    requestRecovery(world.escrow, callIn(world, 'ann'), {
      ...{ keys, reason: 'left', validForMs: MINUTE_MS },
      asked: { purpose: 'operate', scope: SCOPE },
    }).catch((error: unknown) => {
      expect(error).toMatchObject({
        detail: `No quorum of ${keys[0] ?? ''} is left whose members could all agree: ${said}.`,
      });
      throw error;
    }),
  );
});

test('is refused: several keys, and those are named that nobody can open', async () => {
  const { world, keys } = await worldOf({ people: ['dave', 'dora'] }, { people: ['dana', 'dave'] });
  relist(world, 'dana', undefined);
  const order = {
    reason: 'left',
    validForMs: MINUTE_MS,
    asked: { purpose: 'operate', scope: SCOPE },
  } as const;
  const askFor = (of: readonly KeyId[]): Promise<unknown> =>
    requestRecovery(world.escrow, callIn(world, 'ann'), { ...order, keys: of });
  await expect(askFor(keys)).rejects.toMatchObject({
    code: 'quorum-impossible',
    detail: expect.stringContaining(`Ask apart for ${keys[1] ?? ''}.`) as unknown,
  });
  await expectDone(world, 'recovery.request', () => askFor(keys.slice(0, 1)));
});

test('is refused: a depositary who may not approve, and without whom nobody is left', async () => {
  const time = {
    people: ['dana', 'dave', 'dora'],
    atLeast: 2,
    requests: { distinct: ['requester-depositary'] },
  };
  const { world, keys } = await worldOf(time);
  const order = {
    keys,
    reason: 'left',
    validForMs: MINUTE_MS,
    asked: { purpose: 'operate', scope: SCOPE },
  } as const;
  relist(world, 'dora', undefined);
  await expectRefused(world, 'recovery.request', 'quorum-impossible', () =>
    requestRecovery(world.escrow, callIn(world, 'dana'), order),
  );
});

test('an open request of which no quorum is left is said to be so, and goes on when they are back', async () => {
  const { world, keys } = await worldOf({ people: ['dana', 'dave'] });
  const recovery = await ask({ world, keys });
  const seen = async (): Promise<unknown> =>
    (await viewRecovery(world.escrow, callIn(world, 'ann'), recovery.id)).keys.map(({ left }) => left);
  expect(await seen()).toEqual([{ quorums: 1, gone: [] }]);
  const { policy } = world;
  relist(world, 'dana', undefined);
  expect(await seen()).toEqual([{ quorums: 0, gone: [{ depositary: 'dana', because: 'not-listed' }] }]);
  world.policy = { ...policy, version: world.policy.version + 1 };
  await approve(world, 'dana', recovery);
  expect((await approve(world, 'dave', recovery)).state.status).toBe('active');
  expect(await seen()).toEqual([undefined]);
});

test.each([{ retired: true }, { depositaryKey: 'ff'.repeat(32) }, { depositaryKey: undefined }])(
  'is not refused while who is asked may have kept the key: %p',
  async (by) => {
    const { world, keys } = await worldOf({ people: ['dana', 'dave'] });
    relist(world, 'dana', by);
    await expectDone(world, 'recovery.request', () => asking(world, keys));
  },
);

/** Of the usual policy, with these roles. */
function listed(id: string, ...roles: readonly string[]): Principal {
  const principal = policyOf({}).principals.get(id as PrincipalId);
  if (principal === undefined) throw new Error('not listed');
  return { ...principal, roles: roles };
}

test('is refused: keys of two owners', async () => {
  const { world, keys } = await worldOf({});
  const { principals, ...policy } = policyOf({});
  const ann = listed('ann', 'admin', 'owner');
  world.policy = { ...policy, principals: new Map([...principals, [ann.id, ann]]) };
  const order = { owner: ann.id, spec: 'rsa-2048', use: 'sign', label: '', deliver: false } as const;
  const { key } = (await generateKey(world.escrow, callBy(ann, world.policy), order)).answer;
  await expectRefused(world, 'recovery.request', 'owners-differ', () => asking(world, [...keys, key]));
});

test('is refused: the owner, where the rule wants another, and without it is not', async () => {
  const asks = async (requests: object): Promise<[SymbolicWorld, () => Promise<unknown>]> => {
    const { world, keys } = await worldOf({ requests });
    const order = {
      keys,
      reason: 'lost',
      validForMs: MINUTE_MS,
      asked: { purpose: 'operate', scope: SCOPE },
    } as const;
    return [
      world,
      () => requestRecovery(world.escrow, callBy(listed('olga', 'owner', 'admin'), world.policy), order),
    ];
  };
  const [apart, refused] = await asks({ distinct: ['requester-owner'] });
  await expectRefused(apart, 'recovery.request', 'forbidden', refused);
  const [usual, allowed] = await asks({});
  await expectDone(usual, 'recovery.request', allowed);
});

test.each(['ann', 'dana'])('files a request under a one-time key of its own, for %s', async (by) => {
  const { world, keys } = await worldOf({});
  const [attempted, done] = await expectDone(world, 'recovery.request', () => asking(world, keys, { by }));
  const [recovery] = world.recoveries.values();
  expect(recovery).toMatchObject({ requester: by, keys, revision: 1, state: { status: 'pending' } });
  expect(attempted).toMatchObject({
    actor: by,
    subject: { keys, owner: 'olga', recovery: recovery?.id },
    detail: { reason: 'left', purpose: 'operate', requestHash: recovery?.requestHash },
  });
  expect(done).toMatchObject({ detail: { requestHash: recovery?.requestHash } });
  expect([...world.device.transports]).toEqual([recovery?.id]);
});

test('leaves nothing when the token goes before the one-time key is there', async () => {
  const { world, keys } = await worldOf({});
  await expectNothingLeftAt(world, 'recovery.request', 'createTransport', () => asking(world, keys));
});

test('leaves no request when the token goes before it has signed what is asked, and the one-time key is a stray', async () => {
  const { world, keys } = await worldOf({});
  await expectFailedAt(world, 'recovery.request', 'attest', () => asking(world, keys));
  expect([...world.recoveries]).toEqual([]);
  await keepHouse(world.escrow, world.journal, strayLongAgo(world));
  expect([...world.device.transports]).toEqual([]);
});
