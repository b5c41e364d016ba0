import { join } from 'node:path';

import { FILES } from '../../client/identity/identity.js';
import { fileReason } from '../../system/errors.js';
import { OutputRefused, reserveOutputs, targetOf } from '../../system/outputFile.js';
import type { OptionRow } from '../command.js';
import type { CommandArguments } from '../commandArguments.js';
import { UsageError } from '../failures.js';
import { keepResult, Unwritten } from './keptResult.js';
import type { Session } from '../session.js';

/*
 * The one way in which commands write what they make. A command says first where its results are to go; only when every place is sure
 * does it ask for anything, or do anything that cannot be undone; then it writes all of them, or none.
 */

/** For every command with outputs. */
export const FORCE: OptionRow = {
  flags: '--force',
  about: 'replace a file that is there; never one that is read',
};

/** Where one result is to go. */
export interface OutputPlace {
  readonly path: string;
  /** A secret is for its owner alone: 0600. Else 0644, less the umask. */
  readonly isSecret: boolean;
  /** How much room to make sure of, where it may be more than a few pages. */
  readonly bytes?: number | undefined;
}

/** Places that are sure; to be written once. */
export interface Outputs {
  /**
   * Writes the contents, in the order of the places: of files appear all, or none.
   * @throws Unwritten with this advice, or an error that names the file
   */
  write(contents: readonly (string | Uint8Array)[], advice?: string): Promise<void>;
  /** The same of what cannot be made again: what cannot be written is kept elsewhere. @throws Unwritten, which says where */
  writeOrKeep(
    content: Uint8Array,
    result: { readonly name: string; readonly isSecret: boolean },
  ): Promise<void>;
}

/** What is usual: keys, signatures and statements are smaller. */
const USUAL_BYTES = 16 * 1024;

/**
 * Makes sure of the places, lends them to `work`, and leaves nothing behind of what was not written.
 * @param inNewDirectory made for the outputs, which lie in it
 * @throws UsageError when a place will not do: nothing has been done then; and whatever `work` throws
 */
export async function withOutputs<T>(
  session: Session,
  given: CommandArguments,
  places: readonly OutputPlace[],
  work: (outputs: Outputs) => Promise<T>,
  inNewDirectory?: string,
): Promise<T> {
  const orders = places.map(({ path, isSecret, bytes = USUAL_BYTES }) => {
    requireNamed(path);
    return { path, mode: isSecret ? 0o600 : 0o644, roomBytes: bytes };
  });
  const reserved = await reserveOutputs(orders, {
    replaces: given.flag('force'),
    inputs: protectedFiles(session),
    newDirectory: inNewDirectory,
  }).catch(refused);
  const discard = (): Promise<void> => reserved.discard();
  const kept = session.atEnd(discard);
  const write = (contents: readonly (string | Uint8Array)[]): Promise<void> => reserved.write(contents);
  try {
    return await work({
      write: (contents, advice) =>
        write(contents).catch((cause: unknown) => {
          throw advice === undefined ? asUsage(cause) : new Unwritten(whyNot(cause), advice, { cause });
        }),
      writeOrKeep: (content, result) =>
        write([content]).catch(async (cause: unknown) => {
          throw await keepResult(session.spareDirectories, { ...result, content }, whyNot(cause));
        }),
    });
  } finally {
    await discard();
    kept.forget();
  }
}

/** Writes one file that is no secret, of what is at hand. @throws UsageError, an error that names the file */
export async function writePublic(
  session: Session,
  given: CommandArguments,
  path: string,
  content: string,
): Promise<void> {
  await withOutputs(session, given, [{ path, isSecret: false }], (outputs) => outputs.write([content]));
}

/**
 * Makes sure of a regular file that is written bit by bit, by whoever knows how, and not by {@link withOutputs}.
 * @returns where it is made: where a symbolic link leads to
 * @throws UsageError
 */
export async function placeOfFile(session: Session, given: CommandArguments, path: string): Promise<string> {
  requireNamed(path);
  const rules = { replaces: given.flag('force'), inputs: protectedFiles(session), onlyFiles: true };
  const order = { path, mode: 0o600, roomBytes: USUAL_BYTES };
  await (await reserveOutputs([order], rules).catch(refused)).discard();
  return targetOf(path);
}

/** `-` is standard output where a command says so, and a mistake elsewhere. */
function requireNamed(path: string): void {
  if (path === '') throw new UsageError('the name of an output is empty');
  if (path === '-')
    throw new UsageError('- is no file, and this command writes one', 'name a file; of that name: ./-');
}

/** What is read in this run, and the keys of whoever runs it. */
function protectedFiles({ inputs, identityDirectory }: Session): readonly string[] {
  if (identityDirectory === undefined) return inputs;
  return [...inputs, ...Object.values(FILES).map((name) => join(identityDirectory, name))];
}

const REFUSED: Readonly<Record<OutputRefused['fault'], readonly [why: string, next: string]>> = {
  exists: ['it exists already, and is not overwritten', 'choose another name, or add --force to replace it'],
  input: ['this command reads it, and does not write over it', 'choose another name'],
  directory: ['it is a directory', 'name a file in it'],
  loop: ['the symbolic links lead nowhere', 'choose another name'],
  'no-file': ['it is no regular file, and what is written there goes on after a stop', 'name a file'],
};

function refused(error: unknown): never {
  throw asUsage(error);
}

function asUsage(error: unknown): unknown {
  if (!(error instanceof OutputRefused)) return error;
  const [why, next] = REFUSED[error.fault];
  return new UsageError(`${error.path}: ${why}`, next);
}

function whyNot(error: unknown): string {
  if (error instanceof OutputRefused) return `${error.path}: ${REFUSED[error.fault][0]}`;
  const path = typeof error === 'object' && error !== null && 'path' in error ? String(error.path) : 'a file';
  return `${path}: ${fileReason(error)}`;
}
