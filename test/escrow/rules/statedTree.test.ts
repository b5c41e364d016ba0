import { approve, ask, deny, seen, worldOf } from '../symbolicPeople.js';
import { ROOT } from '../symbolicWorld.js';

afterEach(() => Object.assign(seen, { size: 1, root: ROOT }));

const DECISIONS = { approve, deny } as const;

test.each([
  ['with another root', { size: 1, root: 'r00t' }],
  ['that is longer than the log', { size: 2, root: ROOT }],
  ['of no entries', { size: 0, root: ROOT }],
  ['of fewer than none', { size: -1, root: ROOT }],
] as const)('a decision about a tree %s is refused, and changes nothing', async (_what, tree) => {
  const { world, keys } = await worldOf({});
  const recovery = await ask({ world, keys });
  Object.assign(seen, tree);
  for (const decide of Object.values(DECISIONS)) {
    await expect(decide(world, 'dana', recovery)).rejects.toMatchObject({ code: 'approval-mismatch' });
    expect(world.entries.at(-1)).toMatchObject({ phase: 'denied', error: 'approval-mismatch' });
  }
  expect(world.recoveries.get(recovery.id)).toEqual(recovery);
});

test('a decision about a tree that the log went through is taken', async () => {
  const { world, keys } = await worldOf({});
  const recovery = await ask({ world, keys });
  expect((await approve(world, 'dana', recovery)).approvals).toHaveLength(1);
  expect((await deny(world, 'dave', recovery)).denials).toHaveLength(1);
});
