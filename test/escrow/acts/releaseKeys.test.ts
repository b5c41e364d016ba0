import { cancelRecovery } from '../../../src/escrow/acts/endRecovery.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import type { KeyId, RecoveryId } from '../../../src/escrow/records/ids.js';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import { approve, ask, callOf, due, newScene, pass } from '../../adversary/database/scene.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { expectDone, expectNothingLeftAt, expectRefused } from './actCases.js';

let world: SymbolicWorld;
let key: KeyId;

beforeEach(async () => {
  ({ world, key } = await newScene());
});

function release(recovery: Pick<Recovery, 'id'>, by = 'dana'): Promise<unknown> {
  return releaseKeys(world.escrow, callOf(by), { recovery: recovery.id });
}

/** Each refusal: of which request, to whom. */
const REFUSED: Readonly<
  Record<
    string,
    { readonly code: ErrorCode; readonly by?: string; readonly of: () => Promise<Pick<Recovery, 'id'>> }
  >
> = {
  'somebody who did not ask to receive it': {
    ...{ code: 'forbidden', by: 'dave', of: () => due(world, key, 'release') },
  },
  'a request that there is not': {
    code: 'recovery-unknown',
    of: () => Promise.resolve({ id: `rec_${'0'.repeat(32)}` as RecoveryId }),
  },
  'a request for another purpose': {
    code: 'purpose-not-allowed',
    of: () => ask(world, key, 'operate'),
  },
  'a request that nobody has approved': { code: 'quorum-incomplete', of: () => ask(world, key, 'release') },
  'a request that one has approved': {
    code: 'quorum-incomplete',
    of: async () => approve(world, 'dana', await ask(world, key, 'release')),
  },
  'a request whose delay runs': {
    code: 'delay-running',
    of: async () => {
      const recovery = await ask(world, key, 'release');
      for (const by of ['dana', 'dave']) await approve(world, by, recovery);
      return recovery;
    },
  },
  'a recipient who has not approved': {
    code: 'forbidden',
    of: async () => {
      const recovery = await ask(world, key, 'release');
      for (const by of ['dora', 'dave']) await approve(world, by, recovery);
      pass(world, 11);
      return recovery;
    },
  },
  'a request that was taken back': {
    code: 'recovery-ended',
    of: async () => {
      const recovery = await due(world, key, 'release');
      await cancelRecovery(world.escrow, callOf('dana'), { recovery: recovery.id, reason: 'found' });
      return recovery;
    },
  },
  'a request that was released': {
    code: 'recovery-ended',
    of: async () => {
      const recovery = await due(world, key, 'release');
      await release(recovery);
      return recovery;
    },
  },
  'a recipient whose key the token does not have any more': {
    code: 'depositary-not-enrolled',
    of: async () => {
      const recovery = await due(world, key, 'release');
      world.escrow.token.enrolled = () => Promise.resolve([]);
      return recovery;
    },
  },
};

test.each(Object.entries(REFUSED))('is refused: %s', async (_what, { code, by, of }) => {
  const recovery = await of();
  await expectRefused(world, 'recovery.release', code, () => release(recovery, by));
});

test('releases the keys under keys of their own, and ends the request and its one-time key', async () => {
  const recovery = await due(world, key, 'release');
  const [attempted, done] = await expectDone(world, 'recovery.release', () => release(recovery));
  expect(attempted).toMatchObject({
    actor: 'dana',
    subject: { recovery: recovery.id, owner: 'olga', keys: [key] },
    detail: { requestHash: recovery.requestHash, quorums: { [key]: ['dana', 'dave'] } },
  });
  expect(done).toMatchObject({
    detail: { recipient: 'dana', released: { [key]: expect.anything() as unknown } },
  });
  expect(world.recoveries.get(recovery.id)).toMatchObject({
    state: { status: 'released', answers: [{ key }] },
  });
  expect(world.device.transports.has(recovery.id)).toBe(false);
});

test.each([
  ...['unwrapReply', 'openUnder', 'unwrapLayer', 'unwrapForRelease', 'generateTransferKey'],
  ...['wrapToDepositary', 'wrapUnderTransfer'],
])('leaves the request as it was when the token goes at %s, and can be asked again', async (verb) => {
  const recovery = await due(world, key, 'release');
  await expectNothingLeftAt(world, 'recovery.release', verb, () => release(recovery));
  await expectDone(world, 'recovery.release', () => release(recovery));
});

test.each(['unwrapReply', 'openUnder', 'unwrapLayer', 'unwrapForRelease'])(
  'ends the request when a token that works does not open what %s is given',
  async (verb) => {
    const recovery = await due(world, key, 'release');
    world.verbs[verb] = () => Promise.resolve({ refused: true });
    await expect(release(recovery)).rejects.toMatchObject({ code: 'recovery-failed' });
    expect(world.entries.at(-1)).toMatchObject({
      ...{ act: 'recovery.release', phase: 'failed', error: 'recovery-failed' },
      detail: { status: 'failed', key },
    });
    expect(world.recoveries.get(recovery.id)?.state.status).toBe('failed');
    expect(world.device.transports.has(recovery.id)).toBe(false);
  },
);
