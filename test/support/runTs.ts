import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { transformSync } from '@swc/core';

const repository = join(__dirname, '..', '..');

/**
 * Starts a TypeScript file of this repository in a node of its own, for tests that kill a process or run it as another
 * user. It, and what it imports from this repository, is transpiled (not type-checked) to ES modules in `into`, an empty
 * directory that the child's user can read; packages come from the repository's node_modules.
 *
 * The child's messages are its lines on stdout; stdin is a pipe.
 */
export function runTs(
  entry: string,
  into: string,
  how: {
    readonly args?: readonly string[];
    readonly uid?: number;
    readonly gid?: number;
    readonly detached?: boolean;
  } = {},
): ChildProcess {
  writeFileSync(join(into, 'package.json'), '{ "type": "module" }\n');
  symlinkSync(join(repository, 'node_modules'), join(into, 'node_modules'));
  const done = new Set<string>();
  const visit = (source: string): void => {
    if (done.has(source)) return;
    done.add(source);
    const { code } = transformSync(readFileSync(source, 'utf8'), {
      filename: source,
      jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
      module: { type: 'es6' },
    });
    const target = outputOf(source, into);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, code);
    for (const [, path] of code.matchAll(/from ["'](\.{1,2}\/[^"']+)\.js["']/g)) {
      visit(`${join(dirname(source), path ?? '')}.ts`);
    }
  };
  visit(entry);
  chmodSync(into, 0o755);
  const { args = [], uid, gid, detached } = how;
  return spawn(process.execPath, [outputOf(entry, into), ...args], {
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(detached === undefined ? {} : { detached }),
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

function outputOf(source: string, into: string): string {
  return join(into, relative(repository, source).replace(/\.ts$/, '.js'));
}
