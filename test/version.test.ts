import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { LIMITS_MS } from './support/limits.js';

jest.setTimeout(LIMITS_MS.programs);

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly version: string };

test.each([
  ['escrowd', 'dist/main.js'],
  ['escrowctl', 'dist/cli/main.js'],
  ['ceremony', 'dist/token/ceremony/main.js'],
  ['token-probe', 'dist/token/probe/main.js'],
])('%s says that it has the version of the package', (name, file) => {
  expect(execFileSync(process.execPath, [file, '--version'], { encoding: 'utf8' })).toBe(
    `${name} ${version}\n`,
  );
});
