import { denyRecovery } from '../../../src/escrow/acts/denyRecovery.ts';
import { cancelRecovery, vetoRecovery } from '../../../src/escrow/acts/endRecovery.ts';
import type { Grant } from '../../../src/escrow/records/grant.js';
import type { KeyId, PrincipalId } from '../../../src/escrow/records/ids.js';
import { signWithGrant } from '../../../src/escrow/acts/useGrant.js';
import { revokeGrant } from '../../../src/escrow/acts/revokeGrant.ts';
import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.ts';
import type { Recovery, RecoveryState } from '../../../src/escrow/records/recovery.js';
import { stopRecovery } from '../../../src/escrow/acts/stopRecovery.js';
import type { SymbolicWorld } from '../../escrow/symbolicWorld.js';
import { callOf, due, newScene, outcomeOf, statementOf, stopOf } from './scene.js';

/*
 * Somebody with the database has who would stop something told that it is over, or not theirs, and then goes on with it. Who stops is
 * told so only by the log.
 */
const because = 'because';

/** What the record of a request that is due says for a while, and what is answered then where records are believed. */
const shams: Readonly<Record<string, (row: Recovery, now: Date) => Recovery | undefined>> = {
  'that it was released': (row, at) => over(row, { status: 'released', at, answers: undefined }),
  'that it was cancelled': (row, at) =>
    over(row, { status: 'cancelled', by: 'dana' as PrincipalId, reason: because, at }),
  'that it has failed': (row, at) => over(row, { status: 'failed', reason: because, at }),
  'that it has expired': (row, at) => over({ ...row, expiresAt: at }, { status: 'pending' }),
  'that it is somebody else’s': (row) => ({ ...row, owner: 'dora' as PrincipalId }),
  'nothing, for there is none': () => undefined,
};

function over(row: Recovery, state: RecoveryState): Recovery {
  return { ...row, state };
}

const stops: Readonly<Record<string, (world: SymbolicWorld, row: Recovery) => Promise<unknown>>> = {
  'the owner’s veto': ({ escrow }, { id }) =>
    vetoRecovery(escrow, callOf('olga'), { recovery: id, reason: because }),
  'the requester’s cancellation': ({ escrow }, { id }) =>
    cancelRecovery(escrow, callOf('dana'), { recovery: id, reason: because }),
  'a denial': (world, row) => {
    const statement = statementOf(world, 'dora', row, { decision: 'deny', reason: 'no' });
    return denyRecovery(world.escrow, callOf('dora'), { recovery: row.id, statement });
  },
  'two administrators’ word': (world, row) => {
    const statements = ['ann', 'bob'].map((by) => stopOf(world, by, row));
    return stopRecovery(world.escrow, callOf('ann'), { recovery: row.id, statements });
  },
};

function put(world: SymbolicWorld, id: Recovery['id'], row: Recovery | undefined): void {
  if (row === undefined) world.recoveries.delete(id);
  else world.recoveries.set(id, row);
}

/** A request that is due, stopped while its record says this, and then released by it as it was. */
async function stopped(
  stop: NonNullable<(typeof stops)[string]>,
  sham: NonNullable<(typeof shams)[string]>,
  believes: (world: SymbolicWorld) => void = () => undefined,
): Promise<{ readonly told: string; readonly then: string }> {
  const { world, key } = await newScene();
  const row = await due(world, key, 'release');
  const facts = world.facts;
  put(world, row.id, sham(row, world.now));
  believes(world);
  const told = await outcomeOf(stop(world, row));
  world.facts = facts;
  put(world, row.id, row);
  return {
    told,
    then: await outcomeOf(releaseKeys(world.escrow, callOf('dana'), { recovery: row.id })),
  };
}

describe.each(Object.keys(stops))('%s is not kept away', (which) => {
  const stop = stops[which];
  if (stop === undefined) throw new Error('there is no such act');

  test.each(Object.entries(shams))('by a record that says %s', async (_what, sham) => {
    expect((await stopped(stop, sham)).told).toBe('record-mismatch');
  });

  test('the control: where the log has nothing of it, it is, and the request is carried out', async () => {
    for (const what of ['that it was released', 'that it was cancelled', 'that it has failed']) {
      const sham = shams[what];
      if (sham === undefined) throw new Error('there is no such record');
      const found = await stopped(stop, sham, (world) => {
        world.facts = { ...bound(world), request: () => undefined };
      });
      expect(found).toEqual({ told: 'recovery-ended', then: 'done' });
    }
  });
});

function bound({ facts }: SymbolicWorld): SymbolicWorld['facts'] {
  return {
    policy: facts.policy,
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
    secondary: (index) => facts.secondary(index),
    openAttempt: (act) => facts.openAttempt(act),
    creation: (principal, key) => facts.creation(principal, key),
  };
}

describe('a grant is revoked', () => {
  const grantShams: Readonly<Record<string, (grant: Grant, now: Date) => Grant | undefined>> = {
    'that it was revoked': (grant) => ({ ...grant, status: 'revoked' }),
    'that it is used up': (grant) => ({ ...grant, used: grant.scope.maxUses }),
    'that it has expired': (grant, now) => ({ ...grant, expiresAt: now }),
    'that it is somebody else’s': (grant) => ({ ...grant, owner: 'dora' as PrincipalId }),
    'nothing, for there is none': () => undefined,
  };
  const granted = async (world: SymbolicWorld, key: KeyId): Promise<Grant> => {
    const { id } = await due(world, key, 'operate');
    const [grant] = (await activateRecovery(world.escrow, callOf('dana'), { recovery: id })).answer;
    if (grant === undefined) throw new Error('not activated');
    return grant;
  };
  const revoke = ({ escrow }: SymbolicWorld, { id }: Grant): Promise<unknown> =>
    revokeGrant(escrow, callOf('olga'), { grant: id, reason: because });
  const told = async (
    sham: NonNullable<(typeof grantShams)[string]>,
    isBelieved = false,
  ): Promise<{ readonly told: string; readonly then: string }> => {
    const { world, key } = await newScene();
    const grant = await granted(world, key);
    const { facts } = world;
    const changed = sham(grant, world.now);
    if (changed === undefined) world.grants.delete(grant.id);
    else world.grants.set(grant.id, changed);
    if (isBelieved) world.facts = { ...bound(world), grant: () => undefined };
    const first = await outcomeOf(revoke(world, grant));
    world.facts = facts;
    world.grants.set(grant.id, grant);
    const inputs = { kind: 'message', items: [Buffer.from('letter')] } as const;
    const use = { grant: grant.id, mechanism: 'RS256', inputs } as const;
    return { told: first, then: await outcomeOf(signWithGrant(world.escrow, callOf('mailer'), use)) };
  };

  test.each(Object.entries(grantShams))('also where its record says %s', async (_what, sham) => {
    expect((await told(sham)).told).toBe('record-mismatch');
  });

  test('the control: where the log has nothing of it, its owner is told that it was, and it is used', async () => {
    const revoked = grantShams['that it was revoked'];
    if (revoked === undefined) throw new Error('there is no such record');
    expect(await told(revoked, true)).toEqual({ told: 'grant-revoked', then: 'done' });
  });

  test('and one that has ended, is used up or has expired is told as that', async () => {
    const { world, key } = await newScene();
    const grant = await granted(world, key);
    await revoke(world, grant);
    expect(await outcomeOf(revoke(world, grant))).toBe('grant-revoked');
  });
});
