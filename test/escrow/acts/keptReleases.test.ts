import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import type { KeyId } from '../../../src/escrow/records/ids.js';
import { confirmRelease, RELEASE_KEPT_MS } from '../../../src/escrow/acts/keptReleases.js';
import { releasedDigest } from '../../../src/escrow/checks/checkedRelease.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.ts';
import type { Recovery, ReleasedKey } from '../../../src/escrow/records/recovery.js';
import { callOf, due, newScene, outcomeOf, pass } from '../../adversary/database/scene.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { ORIGIN } from '../symbolicWorld.js';

let world: SymbolicWorld;
let key: KeyId;
let recovery: Recovery;
let answers: readonly ReleasedKey[];

/** What a recipient signs; `claims` replaces what it says. */
function statement(by: string, claims: object = {}, typ = 'escrowd-confirmation+jwt'): string {
  const payload = {
    ...{ iss: by, aud: ORIGIN, iat: world.now.getTime() / 1000, recovery: recovery.id, keys: [key] },
    released: releasedDigest(answers),
    ...claims,
  };
  return JSON.stringify({ typ, by, payload });
}

const confirm = (by: string, said = statement(by)): Promise<string> =>
  outcomeOf(confirmRelease(world.escrow, callOf(by), { recovery: recovery.id, statement: said }));

function kept(): readonly ReleasedKey[] | undefined {
  const state = world.recoveries.get(recovery.id)?.state;
  return state?.status === 'released' ? state.answers : undefined;
}

beforeEach(async () => {
  ({ world, key } = await newScene());
  recovery = await due(world, key, 'release');
  answers = (await releaseKeys(world.escrow, callOf('dana'), { recovery: recovery.id })).answer;
});

test('what was released is kept until its recipient confirms that they have it; the log keeps its digest', async () => {
  expect(kept()).toEqual(answers);
  expect(await confirm('dana')).toBe('done');
  expect(kept()).toBeUndefined();
  expect(world.recoveries.get(recovery.id)?.state.status).toBe('released');
  expect(JSON.stringify([...world.recoveries.values()])).not.toContain(
    JSON.stringify(answers[0]?.wrappedKey),
  );
  const digests = world.entries.filter(({ act }) => /release|confirm/.test(act)).map(({ digest }) => digest);
  expect(digests.filter((digest) => digest === releasedDigest(answers))).toHaveLength(2);
});

test.each<[string, string, () => Promise<string>]>([
  ['somebody else confirms', 'forbidden', () => confirm('dave')],
  ['the statement is another’s', 'approval-signature-invalid', () => confirm('dana', statement('dave'))],
  [
    'it is of another kind',
    'approval-signature-invalid',
    () => confirm('dana', statement('dana', {}, 'escrowd-approval+jwt')),
  ],
  [
    'it says that it is by another',
    'approval-mismatch',
    () => confirm('dana', statement('dana', { iss: 'dave' })),
  ],
  [
    'it is for another server',
    'approval-mismatch',
    () => confirm('dana', statement('dana', { aud: 'elsewhere' })),
  ],
  [
    'it is about another request',
    'approval-mismatch',
    () => confirm('dana', statement('dana', { recovery: 'rec_x' })),
  ],
  ['it is about other keys', 'approval-mismatch', () => confirm('dana', statement('dana', { keys: [] }))],
  [
    'it is about something else than was released',
    'approval-mismatch',
    () => confirm('dana', statement('dana', { released: '00'.repeat(32) })),
  ],
  ['it says more', 'approval-mismatch', () => confirm('dana', statement('dana', { more: true }))],
  ['it has no time', 'approval-mismatch', () => confirm('dana', statement('dana', { iat: 'now' }))],
])('nothing is forgotten when %s (%s)', async (_name, code, attempt) => {
  expect(await attempt()).toBe(code);
  expect(kept()).toEqual(answers);
});

test('what is forgotten is confirmed no more, nor what was never released', async () => {
  await confirm('dana');
  expect(await confirm('dana')).toBe('release-gone');
  const other = await due(world, key, 'release');
  recovery = other;
  expect(await confirm('dana')).toBe('release-gone');
});

test('after a day it is forgotten without the recipient, and not before', async () => {
  const minutes = RELEASE_KEPT_MS / 60_000;
  pass(world, minutes);
  expect((await keepHouse(world.escrow, world.journal)).forgottenReleases).toBe(0);
  expect(kept()).toEqual(answers);
  pass(world, 1);
  expect((await keepHouse(world.escrow, world.journal)).forgottenReleases).toBe(1);
  expect(kept()).toBeUndefined();
  expect(world.entries.at(-1)).toMatchObject({
    act: 'recovery.forget',
    phase: 'done',
    actor: 'escrowd',
    digest: releasedDigest(answers),
  });
  expect((await keepHouse(world.escrow, world.journal)).forgottenReleases).toBe(0);
});
