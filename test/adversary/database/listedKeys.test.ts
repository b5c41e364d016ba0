import { callBy } from '../../support/calls.js';
import { denyRecovery } from '../../../src/escrow/acts/denyRecovery.ts';
import { carryOutWhenDue } from '../../../src/escrow/acts/carryingOut/carryOut.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.ts';
import { viewRecovery } from '../../../src/escrow/reads/recoveries.js';
import {
  approve,
  ask,
  believingStatements,
  callOf,
  due,
  newScene,
  outcomeOf,
  pass,
  person,
  policyWith,
  statementOf,
} from './scene.js';

describe('an approval counts only while the key that signed it is listed:', () => {
  test.each([
    ['is removed', policyWith({ removed: ['dave'] })],
    ['has another key', policyWith({ changed: [person('dave', 'the new key of dave')] })],
  ])('when an approver %s, what is left is incomplete, and says so', async (_how, policy) => {
    const { world, key } = await newScene();
    const release = await due(world, key, 'release');
    const operate = await due(world, key, 'operate');
    world.policy = policy;
    const error = await releaseKeys(world.escrow, callOf('dana'), { recovery: release.id }).catch(
      (refusal: unknown) => refusal,
    );
    expect(error).toMatchObject({
      code: 'quorum-incomplete',
      detail: expect.stringContaining('no longer lists the key that signed for dave') as unknown,
    });
    expect(await carryOutWhenDue(world.escrow, operate)).toBe(false);
    expect([...world.raised]).toEqual([]);
    const { status, approvals } = await viewRecovery(
      world.escrow,
      callBy(person('ann'), world.policy),
      release.id,
    );
    expect([status, approvals.map(({ depositary }) => depositary)]).toEqual(['pending', ['dana']]);

    // the control: who does not look at the directory hands the key out
    const blind = { ...world.escrow, statements: believingStatements(world).statements };
    const call = callBy(person('dana'), policyWith({}));
    const act = releaseKeys(blind, call, { recovery: release.id });
    expect(await outcomeOf(act)).toBe('done');
  });

  test('somebody else may complete the quorum, and the delay begins anew', async () => {
    const { world, key } = await newScene();
    const { id } = await due(world, key, 'release');
    world.policy = policyWith({ removed: ['dave'] });
    const recovery = world.recoveries.get(id);
    if (recovery === undefined) throw new Error('not filed');
    expect((await approve(world, 'dora', recovery)).state.status).toBe('approved');
    const release = (): Promise<string> =>
      outcomeOf(releaseKeys(world.escrow, callOf('dana'), { recovery: id }));
    expect(await release()).toBe('delay-running');
    pass(world, 10);
    expect(await release()).toBe('done');
  });

  test('an approval that had lapsed does not come back for who has denied since', async () => {
    const { world, key } = await newScene();
    const recovery = await ask(world, key, 'release');
    await approve(world, 'dana', recovery);
    await approve(world, 'dave', recovery);
    const dana = person('dana', 'the new key of dana');
    world.policy = policyWith({ changed: [dana] });
    const said = { decision: 'deny', reason: 'no' };
    const statement = statementOf(world, 'dana', recovery, said, 'the new key of dana');
    await denyRecovery(world.escrow, callBy(dana, world.policy), { recovery: recovery.id, statement });
    world.policy = policyWith({}, 3);
    pass(world, 10);
    const release = (): Promise<string> =>
      outcomeOf(releaseKeys(world.escrow, callBy(person('dana'), world.policy), { recovery: recovery.id }));
    expect(await release()).toBe('quorum-incomplete');
  });

  test('who has another key approves anew with it', async () => {
    const { world, key } = await newScene();
    const recovery = await ask(world, key, 'release');
    await approve(world, 'dana', recovery);
    const dana = person('dana', 'the new key of dana');
    world.policy = policyWith({ changed: [dana] });
    const callByNewKey = callBy(dana, world.policy);
    await approve(world, 'dave', recovery);
    expect((await viewRecovery(world.escrow, callByNewKey, recovery.id)).status).toBe('pending');
    expect(world.recoveries.get(recovery.id)?.state.status).toBe('pending');
    expect((await approve(world, 'dana', recovery, 'the new key of dana')).state.status).toBe('approved');
  });
});
