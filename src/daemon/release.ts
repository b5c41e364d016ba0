import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { decodeText } from '../log/entry/plainText.js';

/** Where the code is that makes a state out of entries, below the program's folder. */
const STATE_CODE = ['escrow', 'log'];

/**
 * Which program makes the state of the log: the version of the package and, as build metadata (SemVer 2.0.0, section 10), a digest
 * of the code that makes the state and of the V8 that writes it down. Programs with one version and other code, as builds
 * between two versions are, have different ones.
 *
 * @param packageDirectory where package.json is
 * @param programDirectory where the program's code is, as it runs
 */
export function releaseOf(packageDirectory: string, programDirectory: string): string {
  const file = join(packageDirectory, 'package.json');
  const { version } = JSON.parse(decodeText(readFileSync(file), file)) as { readonly version: string };
  const digest = createHash('sha256').update(process.versions.v8);
  for (const path of STATE_CODE.flatMap((folder) => filesBelow(join(programDirectory, folder)))) {
    const code = readFileSync(path);
    digest.update(`\n${relative(programDirectory, path)} ${code.length}\n`).update(code);
  }
  return `${version}+${digest.digest('hex').slice(0, 32)}`;
}

function filesBelow(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
