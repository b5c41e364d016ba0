import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';

import fc from 'fast-check';

import { chance, runSeed, SEED_VARIABLE } from './chance.js';

const drawn = (): readonly number[] => fc.sample(fc.integer(), 20);

test('what fast-check draws follows from the seed of the run', () => {
  expect(drawn()).toEqual(drawn());
  expect(drawn()).toEqual(fc.sample(fc.integer(), { numRuns: 20, seed: runSeed() }));
  let first: number | undefined;
  const failing = fc.check(
    fc.property(fc.integer(), (value) => {
      first ??= value;
      return false;
    }),
  );
  expect(failing.seed).toBe(runSeed());
  expect(first).toBe(drawn()[0]);
});

test('what a test draws itself follows from the seed of the run and the name it draws under', () => {
  const some = (name: string, seed?: number): unknown => {
    const { bytes, below, fraction, shuffled } = chance(name, seed);
    return [bytes(8).toString('hex'), below(1000), fraction(), shuffled([1, 2, 3, 4, 5, 6, 7, 8])];
  };
  expect(some('one')).toEqual(some('one'));
  expect(some('one')).not.toEqual(some('another'));
  expect(some('one', 1)).not.toEqual(some('one', 2));
  const { below, fraction, shuffled } = chance('bounds');
  for (let draw = 0; draw < 100; draw += 1) {
    expect([0, 1, 2]).toContain(below(3));
    expect(Math.floor(fraction())).toBe(0);
  }
  expect([...shuffled([1, 2, 3])].sort()).toEqual([1, 2, 3]);
});

test('a seed that is none is refused', () => {
  const before = process.env[SEED_VARIABLE];
  try {
    for (const none of ['', 'x', '1.5', '4294967296', ' 1', '-0']) {
      process.env[SEED_VARIABLE] = none;
      expect(() => runSeed()).toThrow('a whole number of 32 bits');
    }
  } finally {
    process.env[SEED_VARIABLE] = before;
  }
});

test('a test that fails names the seed, and with that seed it draws the same', async () => {
  const place = mkdtempSync(join(tmpdir(), 'escrowd-chance-'));
  try {
    const helper = relative(place, join(process.cwd(), 'test/support/chance.js'));
    writeFileSync(
      join(place, 'drawing.test.ts'),
      `import { chance } from '${helper}';
       test('draws', () => { throw new Error('drawn: ' + chance('here').below(1_000_000)); });`,
    );
    const run = async (seed?: string): Promise<string> => {
      const jest = [join(process.cwd(), 'node_modules/jest/bin/jest.js'), '--rootDir', process.cwd()];
      const env = { ...process.env, [SEED_VARIABLE]: seed };
      const failed = promisify(execFile)(process.execPath, [...jest, '--roots', place], { env });
      const { stderr } = (await failed.catch((error: unknown) => error)) as { readonly stderr: string };
      return stderr;
    };
    const said = await run();
    const seeds = [...said.matchAll(/ESCROWD_TEST_SEED=(-?\d+)/g)].map(([, seed]) => seed);
    expect(seeds.length).toBeGreaterThan(1); // at the beginning of the run, and with the failure
    expect(new Set(seeds).size).toBe(1);
    const [drawing] = /drawn: \d+/.exec(said) ?? [];
    expect(await run(seeds[0])).toContain(drawing ?? 'nothing was drawn');
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
});
