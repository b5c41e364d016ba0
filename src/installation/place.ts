import {
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

import { syncDirectory } from '../system/files.js';
import { InstallationRefused } from './order.js';
import { requireFiles } from '../system/place.js';

/** What is to be made below a directory. Paths are relative to it; a file's directory is among the directories. */
export interface Contents {
  readonly directories: readonly { readonly path: string; readonly mode: number }[];
  readonly files: readonly { readonly path: string; readonly mode: number; readonly content: string }[];
  /** The one that is put there last: where it is, all of it is. */
  readonly last: string;
}

/** Numbers of the user whom everything is to belong to. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Makes all of the contents in `directory`, or nothing, and never over what is there. They are made in a directory of their
 * own beside, and put in their place when `complete` has had its turn with that; so it is whatever ends this but a SIGKILL, which may
 * leave some of them, and a directory `.init-...`. SIGINT, SIGTERM and SIGHUP are heard, and take everything back.
 *
 * @throws InstallationRefused when something is there already, or a signal came
 */
export async function placeAll(
  directory: string,
  { directories, files, last }: Contents,
  owner: Owner | undefined,
  complete: (staging: string) => void | Promise<void>,
): Promise<void> {
  const paths = [...directories, ...files].map(({ path }) => path);
  const top = [...new Set(paths.map((path) => path.split('/')[0] ?? path))];
  const present = top.filter((name) => isThere(join(directory, name)));
  if (present.length > 0)
    throw new InstallationRefused(
      `${directory} has ${present.join(', ')} already, and nothing is made over what is there: take another directory, or move these away`,
    );
  const signals = listen();
  requireFiles(directory);
  const made = mkdirSync(directory, { recursive: true, mode: 0o700 });
  const placed: string[] = [];
  let staging: string | undefined;
  try {
    staging = mkdtempSync(join(directory, '.init-'));
    for (const { path, mode } of directories) mkdirSync(join(staging, path), { mode });
    for (const { path, mode, content } of files)
      writeFileSync(join(staging, path), content, { mode, flag: 'wx', flush: true });
    await complete(staging);
    await signals.turn();
    if (owner !== undefined) giveAll(staging, owner);
    for (const name of [...top.filter((each) => each !== last), last]) {
      const [from, to] = [join(staging, name), join(directory, name)];
      if (lstatSync(from).isDirectory()) {
        // no rename: that takes an empty directory for its own
        mkdirSync(to, { mode: 0o700 });
        placed.push(to);
        renameSync(from, to);
      } else {
        linkSync(from, to);
        placed.push(to);
        unlinkSync(from);
      }
    }
    if (owner !== undefined && made !== undefined) give(directory, owner);
    await syncDirectory(directory);
  } catch (error) {
    for (const path of placed) rmSync(path, { recursive: true, force: true });
    if (staging !== undefined) rmSync(staging, { recursive: true, force: true });
    if (made !== undefined) removeUpTo(directory, made);
    throw error;
  } finally {
    if (staging !== undefined) rmSync(staging, { recursive: true, force: true });
    signals.close();
  }
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Removes `directory` and those above it that were made for it, of which `first` is the highest. */
function removeUpTo(directory: string, first: string): void {
  for (let at = directory; existsSync(at) && readdirSync(at).length === 0; at = dirname(at)) {
    rmdirSync(at);
    if (at === first) return;
  }
}

function giveAll(directory: string, owner: Owner): void {
  for (const { parentPath, name } of readdirSync(directory, { recursive: true, withFileTypes: true }))
    give(join(parentPath, name), owner);
}

function give(path: string, { uid, gid }: Owner): void {
  chownSync(path, uid, gid);
}

/** Hears the signals that would end the process, until it is closed. */
function listen(): { turn(): Promise<void>; close(): void } {
  let heard: string | undefined;
  const hear = (signal: string): void => {
    heard = signal;
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, hear);
  return {
    turn: async () => {
      // signals are told between two turns of the event loop
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      if (heard !== undefined) throw new InstallationRefused(`ended by ${heard}; nothing was made`);
    },
    close: () => {
      for (const name of names) process.off(name, hear);
    },
  };
}
