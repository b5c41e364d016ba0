import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { transformSync } from '@swc/core';

const repository = process.cwd();

/**
 * Starts a TypeScript file of this repository in a node of its own, for tests that kill a process or run it as another
 * user; see {@link transpileTs} for `into`.
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
    /** Packages to copy: for a user who may not be able to reach the repository. */
    readonly packages?: readonly string[];
  } = {},
): ChildProcess {
  const { args = [], uid, gid, detached, packages } = how;
  const program = transpileTs(entry, into, packages);
  return spawn(process.execPath, [program, ...args], {
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(detached === undefined ? {} : { detached }),
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

/**
 * Transpiles (does not type-check) a TypeScript file of this repository, and what it imports from it, to ES modules in
 * `into`: an empty directory that whoever runs them can read. Packages come from the repository's node_modules. Returns
 * the file to run, as often as needed.
 */
export function transpileTs(entry: string, into: string, packages?: readonly string[]): string {
  writeFileSync(join(into, 'package.json'), '{ "type": "module" }\n');
  const modules = join(into, 'node_modules');
  if (packages === undefined && !existsSync(modules)) symlinkSync(join(repository, 'node_modules'), modules);
  for (const name of packages ?? []) copyPackage(name, into);
  const done = new Set<string>();
  const visit = (source: string): void => {
    if (done.has(source)) return;
    done.add(source);
    const code = transpiled(source);
    const target = outputOf(source, into);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, code);
    for (const [, path] of code.matchAll(/from ["'](\.{1,2}\/[^"']+)\.js["']/g)) {
      visit(`${join(dirname(source), path ?? '')}.ts`);
    }
  };
  visit(entry);
  chmodSync(into, 0o755);
  return outputOf(entry, into);
}

/** The ES module that a TypeScript file is. */
export function transpiled(source: string): string {
  return transformSync(readFileSync(source, 'utf8'), {
    filename: source,
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'es6' },
  }).code;
}

/** Copies an installed package and what it depends on: of what is optional, what is installed. */
function copyPackage(name: string, into: string): void {
  const [from, to] = [repository, into].map((root) => join(root, 'node_modules', name));
  if (from === undefined || to === undefined || existsSync(to) || !existsSync(from)) return;
  cpSync(from, to, { recursive: true, verbatimSymlinks: true });
  const { dependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(from, 'package.json'), 'utf8'),
  ) as {
    readonly dependencies?: Readonly<Record<string, string>>;
    readonly optionalDependencies?: Readonly<Record<string, string>>;
  };
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) copyPackage(name, into);
}

function outputOf(source: string, into: string): string {
  return join(into, relative(repository, source).replace(/\.ts$/, '.js'));
}
