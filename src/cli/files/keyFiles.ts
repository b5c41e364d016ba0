import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';

import { isBlank, printable } from '../../escrow/records/freeText.js';
import { UsageError } from '../failures.js';

/** Something that was named, or stands in a directory that was named. */
export interface FoundPath {
  readonly path: string;
  /** A directory in a directory, a pipe, a socket or a device in one: nothing of it is read. */
  readonly isPassedOver: boolean;
}

/**
 * What is named, and of directories what is in them, each once, in the order of their names. Symbolic links are what they lead to.
 * What is hidden in a directory is left out; whatever else is in it and is no file is among what is found, to be told of.
 *
 * @throws UsageError when there is nothing, and an error that names what is not there
 */
export async function pathsOf(named: readonly string[]): Promise<readonly FoundPath[]> {
  const found = new Map<string, FoundPath>();
  const add = (path: string, isPassedOver: boolean): void => {
    found.set(path, { path, isPassedOver });
  };
  for (const path of named) {
    if (!(await stat(path)).isDirectory()) add(path, false);
    else
      for (const name of await readdir(path))
        if (!name.startsWith('.')) add(join(path, name), !(await isFile(join(path, name))));
  }
  if (found.size === 0) throw new UsageError('there are no files to import');
  return [...found.values()].sort((one, other) => (one.path < other.path ? -1 : 1));
}

/** What leads nowhere is found out, and told, by reading it. */
async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => true,
  );
}

/** What stands in a label of what came from a file: its name without the ending, in the form that labels have. */
export function labelOf(file: string): string | undefined {
  const label = printable(basename(file, extname(file)).normalize('NFC'))
    .slice(0, MOST_UNITS)
    // half of a character
    .replace(/[\ud800-\udbff]$/, '');
  return isBlank(label) ? undefined : label;
}

const MOST_UNITS = 200;
