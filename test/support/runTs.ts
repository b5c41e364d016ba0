import { spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { transformSync } from '@swc/core';
import { runDirectory } from './runDirectory.js';

const repository = process.cwd();

/**
 * Starts a TypeScript file of this repository in a node of its own, for tests that kill a process or run it as another
 * user. The child's messages are its lines on stdout; stdin is a pipe.
 */
export function runTs(
  entry: string,
  how: {
    readonly args?: readonly string[];
    /** Variables beside those of this process. */
    readonly environment?: Readonly<Record<string, string>>;
    readonly uid?: number;
    readonly gid?: number;
    readonly detached?: boolean;
    /** For a user who may not be able to reach the repository: an empty directory, and the packages to copy there. */
    readonly apart?: { readonly into: string; readonly packages: readonly string[] };
  } = {},
): ChildProcess {
  const { args = [], environment, uid, gid, detached, apart } = how;
  const program = apart === undefined ? programOf(entry) : transpileTs(entry, apart.into, apart.packages);
  return spawn(process.execPath, [program, ...args], {
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(detached === undefined ? {} : { detached }),
    ...(environment === undefined ? {} : { env: { ...process.env, ...environment } }),
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

/** The program that a TypeScript file of this repository is, transpiled once in a run of tests and laid out as the package is. */
export function programOf(entry: string): string {
  const name = relative(repository, entry).replaceAll(/[^a-zA-Z]/g, '-');
  const made = join(runDirectory(), name);
  if (!existsSync(made)) {
    const making = mkdtempSync(join(runDirectory(), `${name}.`));
    transpileTs(entry, making);
    symlinkSync(join(repository, 'hsm-config'), join(making, 'hsm-config'));
    try {
      renameSync(making, made);
    } catch (error) {
      if (!existsSync(made)) throw error;
      rmSync(making, { recursive: true }); // another worker was quicker, with the same
    }
  }
  return outputOf(entry, made);
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
