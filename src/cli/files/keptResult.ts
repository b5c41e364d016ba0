import { randomUUID } from 'node:crypto';
import { join, resolve } from 'node:path';

import { writeNewFile } from '../../system/files.js';

/** It was done, and what came of it could not be written where it was to go. */
export class Unwritten extends Error {
  override readonly name = 'Unwritten';

  constructor(
    message: string,
    readonly next: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What an act has given that cannot be had again without another. */
export interface Precious {
  /** What it is: `signature`. */
  readonly name: string;
  readonly content: Uint8Array;
  /** A secret is not shown on a terminal in place of a file. */
  readonly isSecret: boolean;
}

/**
 * Keeps a result in a file of its owner alone, in the first of the directories that takes it; where none does, what is no secret is
 * said in base64url. Resolves with the error to throw, which says where it is.
 */
export async function keepResult(
  directories: readonly string[],
  { name, content, isSecret }: Precious,
  why: string,
): Promise<Unwritten> {
  for (const directory of directories) {
    const path = join(resolve(directory), `${name}.${randomUUID()}.kept`);
    const isKept = await writeNewFile(path, content, 0o600).then(
      () => true,
      () => false,
    );
    if (isKept)
      return new Unwritten(`it was done, but ${why}; the ${name} is kept in ${path}`, `mv ${path} FILE`);
  }
  return isSecret
    ? new Unwritten(
        `it was done, but ${why}; nor could the ${name} be kept anywhere else: it is lost`,
        'make room, and do it again',
      )
    : new Unwritten(
        `it was done, but ${why}; the ${name} in base64url: ${Buffer.from(content).toString('base64url')}`,
        'copy it',
      );
}
