import { confirmRelease } from '../../../src/escrow/acts/keptReleases.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.js';
import { releasedDigest } from '../../../src/escrow/checks/checkedRelease.js';
import type { LogFacts } from '../../../src/escrow/logged/logFacts.js';
import { viewRecovery } from '../../../src/escrow/reads/recoveries.js';
import type { KeyId } from '../../../src/escrow/records/ids.js';
import type { Recovery, ReleasedKey } from '../../../src/escrow/records/recovery.js';
import type { SymbolicWorld } from '../../escrow/symbolicWorld.js';
import { ORIGIN } from '../../escrow/symbolicWorld.js';
import { callOf, due, newScene, outcomeOf } from './scene.js';

/*
 * What was released stands with the request, for its recipient to fetch it again. Somebody with the database, who can encrypt to
 * the recipient's public key as well as the token can, puts a key of their own there: the recipient would believe that it is the one
 * that they were to get. What they are shown is that of which the log has the digest.
 */
let world: SymbolicWorld;
let recovery: Recovery;
let answers: readonly ReleasedKey[];
let foreign: readonly ReleasedKey[];

beforeEach(async () => {
  const { other, ...scene } = await newScene();
  ({ world } = scene);
  const released = async (key: KeyId): Promise<readonly [Recovery, readonly ReleasedKey[]]> => {
    const asked = await due(world, key, 'release');
    const { answer } = await releaseKeys(world.escrow, callOf('dana'), { recovery: asked.id });
    return [asked, answer];
  };
  [, foreign] = await released(other);
  [recovery, answers] = await released(scene.key);
});

function put(changed: readonly ReleasedKey[] | undefined): void {
  const row = world.recoveries.get(recovery.id) ?? recovery;
  if (row.state.status !== 'released') throw new Error('not released');
  world.recoveries.set(row.id, { ...row, state: { ...row.state, answers: changed } });
}

async function shown(): Promise<readonly ReleasedKey[] | undefined> {
  return (await viewRecovery(world.escrow, callOf('dana'), recovery.id)).released;
}

/** A daemon that takes the record's word for what was released. */
function believing(facts: LogFacts): LogFacts {
  return new Proxy(facts, {
    get: (target, name) => {
      const value = Reflect.get(target, name) as unknown;
      if (name !== 'keptRelease')
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      return (id: string) => {
        const state = world.recoveries.get(id)?.state;
        const kept = state?.status === 'released' ? state.answers : undefined;
        const { owner, keys } = recovery;
        return kept && { atMs: 0, owner, keys, digest: releasedDigest(kept) };
      };
    },
  });
}

test('the recipient is shown what was released, and nobody else', async () => {
  expect(await shown()).toEqual(answers);
  expect((await viewRecovery(world.escrow, callOf('olga'), recovery.id)).released).toBeUndefined();
});

const CHANGES: Readonly<Record<string, () => readonly ReleasedKey[]>> = {
  'another key under the same name': () =>
    foreign.map((one, at) => ({ ...one, key: answers[at]?.key ?? one.key })),
  'another ciphertext of the key': () =>
    answers.map((one, at) => ({ ...one, wrappedKey: foreign[at]?.wrappedKey ?? one.wrappedKey })),
  'another ciphertext of what it lies under': () =>
    answers.map((one, at) => ({ ...one, transferKey: foreign[at]?.transferKey ?? one.transferKey })),
  'another key’s release': () => foreign,
  'one more': () => [...answers, ...foreign],
  nothing: () => [],
};

test.each(Object.entries(CHANGES))('%s in its place is not shown', async (_what, change) => {
  put(change());
  expect(await outcomeOf(shown())).toBe('record-mismatch');
  put(answers);
  expect(await shown()).toEqual(answers);
});

test.each(Object.entries(CHANGES))('the control: %s, where the record is believed', async (_what, change) => {
  world.facts = believing(world.facts);
  put(change());
  expect(await shown()).toEqual(change());
});

test('what its recipient has confirmed is not shown again, though the record has it back', async () => {
  const payload = {
    ...{ iss: 'dana', aud: ORIGIN, iat: world.now.getTime() / 1000 },
    ...{ recovery: recovery.id, keys: recovery.keys, released: releasedDigest(answers) },
  };
  const statement = JSON.stringify({ typ: 'escrowd-confirmation+jwt', by: 'dana', payload });
  await confirmRelease(world.escrow, callOf('dana'), { recovery: recovery.id, statement });
  put(answers);
  expect(await shown()).toBeUndefined();
  world.facts = believing(world.facts);
  expect(await shown()).toEqual(answers);
});
