import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { escrowctl } from './commandLine.js';

let programs: string;
beforeEach(() => {
  programs = mkdtempSync(join(tmpdir(), 'escrowd-programs-'));
  mkdirSync(join(programs, 'token', 'probe'), { recursive: true });
});
afterEach(() => {
  rmSync(programs, { recursive: true, force: true });
});

/** A probe that writes what it was given, and ends so. */
function probeEndsWith(code: number): void {
  const text = `process.stdout.write(JSON.stringify(process.argv.slice(2)));process.exitCode=${code};`;
  writeFileSync(join(programs, 'token', 'probe', 'main.js'), text);
}

const place = ['token', 'probe', '--profile', 'softhsm-2.6', '--label', 'a b'];

test('token probe hands the options to the probe, and its output on as it is', async () => {
  probeEndsWith(0);
  const more = ['--token-conf', 'c', '--env', 'A=1', '--env', 'B=2', '--user-pin-file', 'pin', '--json'];
  const ran = await escrowctl([...place, ...more], { programs });
  expect(ran).toMatchObject({ exit: 0, err: '' });
  expect(JSON.parse(ran.out)).toEqual([
    '--profile=softhsm-2.6',
    '--label=a b',
    '--token-conf=c',
    '--user-pin-file=pin',
    '--env=A=1',
    '--env=B=2',
    '--json',
  ]);
});

test.each([
  [1, 5],
  [2, 2],
])('a probe that ends with %i has escrowctl end with %i', async (probe, exit) => {
  probeEndsWith(probe);
  expect((await escrowctl(place, { programs })).exit).toBe(exit);
});
