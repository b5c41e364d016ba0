import type { Escrow } from '../../../src/escrow/escrow.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.ts';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import { stopRecovery } from '../../../src/escrow/acts/stopRecovery.js';
import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import { callBy } from '../../support/calls.js';
import type { SymbolicWorld } from '../../escrow/symbolicWorld.js';
import { strayLongAgo } from '../../escrow/symbolicWorld.js';
import type { Said } from './scene.js';
import {
  ask,
  approve,
  callOf,
  due,
  newScene,
  outcomeOf,
  pass,
  person,
  POLICY,
  policyWith,
  stopOf,
} from './scene.js';

/*
 * Administrators end a request of somebody else, and nobody who is not as many administrators as that takes: not one of them,
 * not depositaries, not who was one, not who shows other statements than were signed.
 */
async function stop(
  { escrow }: Pick<SymbolicWorld, 'escrow'>,
  recovery: Recovery,
  statements: readonly string[],
  by = 'ann',
): Promise<unknown> {
  const call = callBy(person(by), await escrow.directory.current());
  return stopRecovery(escrow, call, { recovery: recovery.id, statements });
}

const bothOf = (world: SymbolicWorld, recovery: Recovery): readonly string[] =>
  ['ann', 'bob'].map((by) => stopOf(world, by, recovery));

describe('two administrators end', () => {
  test.each([
    ['a request that nobody has approved', (world: SymbolicWorld, key) => ask(world, key, 'release')],
    [
      'one whose delay runs',
      async (world, key) => {
        const recovery = await ask(world, key, 'operate');
        await approve(world, 'dana', recovery);
        return approve(world, 'dave', recovery);
      },
    ],
    ['one that is due', (world, key) => due(world, key, 'release')],
  ] satisfies [string, (world: SymbolicWorld, key: Recovery['keys'][number]) => Promise<Recovery>][])(
    '%s, which nothing comes of then',
    async (_what, make) => {
      const { world, key } = await newScene();
      const recovery = await make(world, key);
      const statements = bothOf(world, recovery);
      await stop(world, recovery, statements);
      expect(world.recoveries.get(recovery.id)?.state).toMatchObject({
        ...{ status: 'cancelled', by: 'ann', reason: 'dana has left' },
      });
      const logged = { act: 'recovery.stop', actor: 'ann' };
      expect(world.entries.slice(-2)).toMatchObject([
        { ...logged, phase: 'attempted', detail: { signers: ['ann', 'bob'], statements } },
        { ...logged, phase: 'done', detail: { status: 'cancelled' } },
      ]);
      pass(world, 10);
      const { asked } = recovery;
      const act = asked.purpose === 'operate' ? activateRecovery : releaseKeys;
      expect(await outcomeOf(act(world.escrow, callOf('dana'), { recovery: recovery.id }))).toBe(
        'recovery-ended',
      );
      expect(world.device.transports.has(recovery.id)).toBe(false);
    },
  );

  test('one while the token is out, whose key is destroyed when it is back', async () => {
    const { world, key } = await newScene();
    const recovery = await due(world, key, 'release');
    world.device.isOut = true;
    await stop(world, recovery, bothOf(world, recovery));
    expect(world.device.transports.has(recovery.id)).toBe(true);
    world.device.isOut = false;
    await keepHouse(world.escrow, world.journal, strayLongAgo(world));
    expect(world.device.transports.has(recovery.id)).toBe(false);
  });

  test('one of two at once: the other is told that it has ended, or is busy', async () => {
    const { world, key } = await newScene();
    const recovery = await due(world, key, 'release');
    const statements = bothOf(world, recovery);
    const outcomes = await Promise.all(
      ['ann', 'bob', 'ann'].map((by) => outcomeOf(stop(world, recovery, statements, by))),
    );
    expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(1);
    for (const outcome of outcomes) expect(['done', 'recovery-ended', 'busy']).toContain(outcome);
    expect(
      world.entries.filter(({ act, phase }) => act === 'recovery.stop' && phase === 'done'),
    ).toHaveLength(1);
  });

  test('no request that has been carried out', async () => {
    const { world, key } = await newScene();
    const recovery = await due(world, key, 'release');
    const statements = bothOf(world, recovery);
    await releaseKeys(world.escrow, callOf('dana'), { recovery: recovery.id });
    expect(await outcomeOf(stop(world, recovery, statements))).toBe('recovery-ended');
  });
});

interface Attack {
  /** The statements, by whom they are handed in, and in whose eyes they are good: a directory and a verifier. */
  readonly make: (world: SymbolicWorld, recovery: Recovery, other: Recovery) => readonly string[];
  readonly by?: string;
  readonly answer: string;
  /** What the daemon would have to take for true. */
  readonly without: (world: SymbolicWorld) => Partial<Escrow>;
}

const two = (said: Said) => (world: SymbolicWorld, recovery: Recovery) =>
  ['ann', 'bob'].map((by) => stopOf(world, by, recovery, said));
/** A directory in which these are administrators, or as many as one are enough. */
function listing({ escrow }: SymbolicWorld, policy: Policy, needed = 2): Partial<Escrow> {
  const parts = { current: () => Promise.resolve(policy), signersNeeded: () => needed };
  return { directory: Object.assign(Object.create(escrow.directory) as Escrow['directory'], parts) };
}

/** Statements that say what they should. */
function believing(world: SymbolicWorld, recovery: () => Recovery): Partial<Escrow> {
  const { statements } = world.escrow;
  return {
    statements: {
      signerOf: (jws) => (JSON.parse(jws) as { by: string }).by,
      verify: (jws, typ, keys) => {
        if (typ !== 'escrowd-stop+jwt') return statements.verify(jws, typ, keys);
        const by = (JSON.parse(jws) as { by: string }).by;
        const right = JSON.parse(stopOf(world, by, recovery())) as {
          payload: Readonly<Record<string, never>>;
        };
        return Promise.resolve({ jws, payload: right.payload });
      },
    },
  };
}
let asked: Recovery;
const believingAll = (world: SymbolicWorld): Partial<Escrow> => believing(world, () => asked);
const attacks: Readonly<Record<string, Attack>> = {
  'one administrator': {
    make: (world, recovery) => [stopOf(world, 'ann', recovery)],
    answer: 'stop-signatures-missing',
    without: (world) => listing(world, POLICY, 1),
  },
  'one administrator twice': {
    make: (world, recovery) => [
      stopOf(world, 'ann', recovery),
      stopOf(world, 'ann', recovery, { claims: { reason: 'r' } }),
    ],
    answer: 'stop-signatures-missing',
    without: (world) => listing(world, POLICY, 1),
  },
  'an administrator and a depositary': {
    make: (world, recovery) => ['ann', 'dave'].map((by) => stopOf(world, by, recovery)),
    answer: 'stop-signature-invalid',
    without: (world) => listing(world, policyWith({ changed: [{ ...person('dave'), roles: ['admin'] }] }, 1)),
  },
  'an administrator and an app': {
    make: (world, recovery) => ['ann', 'mailer'].map((by) => stopOf(world, by, recovery)),
    answer: 'stop-signature-invalid',
    without: (world) =>
      listing(world, policyWith({ changed: [{ ...person('mailer'), roles: ['admin'] }] }, 1)),
  },
  'an administrator in the name of another': {
    make: (world, recovery) => [
      stopOf(world, 'ann', recovery),
      stopOf(world, 'ann', recovery, { claims: { iss: 'bob' } }),
    ],
    answer: 'approval-mismatch',
    without: (world) => ({ ...believingAll(world), ...listing(world, POLICY, 1) }),
  },
  'an administrator who has been removed': {
    make: (world, recovery) => {
      world.policy = policyWith({ removed: ['bob'] });
      return bothOf(world, recovery);
    },
    answer: 'stop-signature-invalid',
    without: (world) => listing(world, policyWith({})),
  },
  'a key that an administrator no longer has': {
    make: (world, recovery) => {
      world.policy = policyWith({ changed: [person('bob', 'the new key of bob')] });
      return bothOf(world, recovery);
    },
    answer: 'stop-signature-invalid',
    without: (world) => listing(world, policyWith({})),
  },
  'statements about another request': {
    make: (world, _recovery, other) => bothOf(world, other),
    answer: 'approval-mismatch',
    without: believingAll,
  },
  'statements about the same id, and something else than was asked': {
    make: two({ claims: { requestHash: 'ab'.repeat(32) } }),
    answer: 'approval-mismatch',
    without: believingAll,
  },
  'statements for another server': {
    make: two({ claims: { aud: 'other.example/log' } }),
    answer: 'approval-mismatch',
    without: believingAll,
  },
  'statements with a member too many': {
    make: two({ claims: { decision: 'deny' } }),
    answer: 'approval-mismatch',
    without: believingAll,
  },
  'statements without a reason that is seen': {
    make: two({ claims: { reason: '\u200b' } }),
    answer: 'approval-mismatch',
    without: believingAll,
  },
  'statements that have expired': {
    make: two({ claims: { exp: 1 } }),
    answer: 'approval-expired',
    without: believingAll,
  },
  'statements of a time to come': {
    make: (world, recovery) => {
      const iat = world.now.getTime() / 1000 + 120;
      return two({ claims: { iat, exp: iat + 60 } })(world, recovery);
    },
    answer: 'approval-expired',
    without: believingAll,
  },
  'approvals in place of such statements': {
    make: two({ typ: 'escrowd-approval+jwt' }),
    answer: 'stop-signature-invalid',
    without: believingAll,
  },
};

describe('nobody ends a request with', () => {
  test.each(Object.entries(attacks))('%s', async (_what, { make, by = 'ann', answer }) => {
    const { world, key, other } = await newScene();
    const recovery = await due(world, key, 'release');
    const statements = make(world, recovery, await ask(world, other, 'release'));
    expect(await outcomeOf(stop(world, recovery, statements, by))).toBe(answer);
    expect(world.entries.at(-1)).toMatchObject({ act: 'recovery.stop', phase: 'denied', error: answer });
    expect(world.recoveries.get(recovery.id)?.state.status).toBe('approved');
    expect(world.device.transports.has(recovery.id)).toBe(true);
  });

  test.each(Object.entries(attacks))('the control: %s, where that is believed', async (_what, attack) => {
    const { world, key, other } = await newScene();
    const recovery = await due(world, key, 'release');
    asked = recovery;
    const statements = attack.make(world, recovery, await ask(world, other, 'release'));
    const escrow = { ...world.escrow, ...attack.without(world) };
    expect(await outcomeOf(stop({ escrow }, recovery, statements, attack.by ?? 'ann'))).toBe('done');
  });
});
