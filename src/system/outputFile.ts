import { constants, type Stats } from 'node:fs';
import { type FileHandle, link, mkdir, open, rename, rm, rmdir, stat } from 'node:fs/promises';
import { readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { codeOf } from './errors.js';
import { newDraft, syncDirectory } from './files.js';

/** One result, and where it is to go. */
export interface OutputOrder {
  readonly path: string;
  /** Permissions of a new file, e.g. 0o600, of which the umask may take some. */
  readonly mode: number;
  /** So many bytes there must be room for. */
  readonly roomBytes: number;
}

export interface OutputRules {
  /** Whether a file that stands there may be replaced. */
  readonly replaces: boolean;
  /** Files that are read, or must stay: none of them is ever replaced. */
  readonly inputs: readonly string[];
  /** Whether devices and pipes are refused: what is written is read again, or goes on after a stop. */
  readonly onlyFiles?: boolean;
  /** A directory that is made for the outputs, 0700; with `replaces` one that is there will do. */
  readonly newDirectory?: string | undefined;
}

/** A result has nowhere to go. Nothing was written. */
export class OutputRefused extends Error {
  override readonly name = 'OutputRefused';

  constructor(
    readonly fault: 'exists' | 'input' | 'directory' | 'loop' | 'no-file',
    readonly path: string,
  ) {
    super(`${path}: ${fault}`);
  }
}

/**
 * Makes sure of places for results before they are made: each directory is there and can be written, there is room, and nothing is there
 * that must stay. A regular file appears whole and durable or not at all, where a symbolic link leads to; a device or a pipe is
 * written into as it is, and a reader of a pipe is waited for.
 *
 * @throws OutputRefused, or an error of the system with `code` and `path`; then nothing is left behind
 */
export async function reserveOutputs(
  orders: readonly OutputOrder[],
  rules: OutputRules,
): Promise<ReservedOutputs> {
  const { newDirectory } = rules;
  const isMade = newDirectory !== undefined && (await makeDirectory(newDirectory, rules));
  const places: Place[] = [];
  const outputs = new ReservedOutputs(places, isMade ? newDirectory : undefined);
  try {
    for (const order of orders) places.push(await reserve(order, rules));
    return outputs;
  } catch (error) {
    await outputs.discard();
    throw error;
  }
}

/** Places that are sure. They end with {@link ReservedOutputs.write} or {@link ReservedOutputs.discard}. */
export class ReservedOutputs {
  readonly #places: readonly Place[];
  readonly #madeDirectory: string | undefined;
  #isWritten = false;

  constructor(places: readonly Place[], madeDirectory: string | undefined) {
    this.#places = places;
    this.#madeDirectory = madeDirectory;
  }

  /**
   * Writes the contents, in the order of the places. Of files appear all, or none.
   * @throws OutputRefused, or an error of the system with `code` and `path`: then no file has appeared, and what was there is there
   */
  async write(contents: readonly (string | Uint8Array)[]): Promise<void> {
    if (contents.length !== this.#places.length) throw new RangeError('as many contents as places');
    const settled: Settled[] = [];
    try {
      for (const [at, place] of this.#places.entries()) await place.fill(Buffer.from(contents[at] ?? ''));
      for (const place of this.#places) settled.push(await place.settle());
      this.#isWritten = true;
      for (const { forget } of settled) await forget();
    } catch (error) {
      if (!this.#isWritten) for (const { takeBack } of settled.reverse()) await takeBack();
      throw error;
    } finally {
      await this.discard();
    }
  }

  /** Gives up what was not written, and leaves nothing behind. */
  async discard(): Promise<void> {
    for (const place of this.#places) await place.discard();
    if (this.#madeDirectory === undefined || this.#isWritten) return;
    // what somebody else has put there meanwhile stays
    await rmdir(this.#madeDirectory).catch(() => undefined);
  }
}

/** A place that is sure. */
interface Place {
  /** Takes the content, so that nothing but its name is missing. */
  fill(content: Uint8Array): Promise<void>;
  settle(): Promise<Settled>;
  /** Leaves nothing behind of what was not settled. */
  discard(): Promise<void>;
}

/** A file that has appeared: it goes again, and what was there comes back; or that is forgotten. */
interface Settled {
  readonly takeBack: () => Promise<void>;
  readonly forget: () => Promise<void>;
}

async function reserve({ path, mode, roomBytes }: OutputOrder, rules: OutputRules): Promise<Place> {
  const found = await whatIsAt(path);
  if (found?.isDirectory() === true) throw new OutputRefused('directory', path);
  const isStream = found?.isFile() === false || (found !== undefined && DESCRIPTOR.test(path));
  if (isStream && rules.onlyFiles === true) throw new OutputRefused('no-file', path);
  if (found?.isFile() === false) return streamPlace(await openStream(path));
  if (found !== undefined) {
    for (const input of rules.inputs) if (await isFile(input, found)) throw new OutputRefused('input', path);
    // what this process was started with is open on what its opener wanted
    if (isStream) return streamPlace(await open(path, 'a'));
    if (!rules.replaces) throw new OutputRefused('exists', path);
  }
  const target = await targetOf(path);
  try {
    return await filePlace({ path, target, mode, roomBytes, replaces: rules.replaces });
  } catch (error) {
    throw namedAfter(path, error);
  }
}

const DESCRIPTOR = /^\/(?:dev\/(?:stdout|stderr|fd\/\d+)|proc\/self\/fd\/\d+)$/;

/** What a path leads to; undefined when that is not there. */
async function whatIsAt(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (codeOf(error) === 'ELOOP') throw new OutputRefused('loop', path);
    throw error;
  }
}

async function isFile(path: string, found: Stats): Promise<boolean> {
  const other = await stat(path).catch(() => undefined);
  return other?.dev === found.dev && other.ino === found.ino;
}

const MOST_LINKS = 40;

/** Where a file is made: where the links lead to, also when nothing is there yet. @throws OutputRefused, an error of the system */
export async function targetOf(path: string): Promise<string> {
  let at = resolve(path);
  for (let links = 0; links < MOST_LINKS; links += 1) {
    const directory = await realpath(dirname(at)).catch((error: unknown) => {
      throw namedAfter(dirname(at), error);
    });
    const named = join(directory, basename(at));
    const leadsTo = await readlink(named).catch(() => undefined);
    if (leadsTo === undefined) return named;
    at = resolve(directory, leadsTo);
  }
  throw new OutputRefused('loop', path);
}

async function makeDirectory(path: string, { replaces }: OutputRules): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    if (!replaces) throw new OutputRefused('exists', path);
    return false;
  }
}

const READER_MS = 50;

/** Waits for the reader of a pipe: what is written before there is one is lost. */
async function openStream(path: string): Promise<FileHandle> {
  for (;;) {
    try {
      const ready = await open(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      try {
        return await open(path, constants.O_WRONLY | constants.O_NOCTTY);
      } finally {
        await ready.close();
      }
    } catch (error) {
      if (codeOf(error) !== 'ENXIO') throw error;
      await pause(READER_MS);
    }
  }
}

function streamPlace(file: FileHandle): Place {
  const done = (): Promise<void> => Promise.resolve();
  const close = closing(file);
  return {
    fill: (content) => file.writeFile(content),
    settle: () => Promise.resolve({ takeBack: done, forget: done }),
    discard: close,
  };
}

/** Closes a file once. */
function closing(file: FileHandle): () => Promise<void> {
  let closed: Promise<void> | undefined;
  return () => (closed ??= file.close());
}

interface FileOrder extends OutputOrder {
  readonly target: string;
  readonly replaces: boolean;
}

async function filePlace({ path, target, mode, roomBytes, replaces }: FileOrder): Promise<Place> {
  const draft = newDraft(target);
  const file = await open(draft, 'wx', mode);
  const close = closing(file);
  const discard = async (): Promise<void> => {
    await close();
    await rm(draft, { force: true });
  };
  try {
    await fillFile(file, Buffer.alloc(roomBytes));
  } catch (error) {
    await discard();
    throw error;
  }
  return {
    fill: (content) =>
      fillFile(file, content).catch((error: unknown) => {
        throw namedAfter(path, error);
      }),
    settle: async () => {
      await close();
      const settled = replaces ? await replace(draft, target) : await place(draft, target, path);
      await syncDirectory(dirname(target));
      return settled;
    },
    discard,
  };
}

/** Makes this the whole content of a file, durably. Blocks that it had are written again, and none is asked for anew. */
async function fillFile(file: FileHandle, content: Uint8Array): Promise<void> {
  for (let at = 0; at < content.length;)
    at += (await file.write(content, at, content.length - at, at)).bytesWritten;
  await file.truncate(content.length);
  await file.sync();
}

/** File systems without hard links. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/** Names a draft where nothing may be. */
async function place(draft: string, target: string, path: string): Promise<Settled> {
  try {
    await link(draft, target);
  } catch (error) {
    const hasNoLinks = NO_LINKS.has(codeOf(error) ?? '');
    if (!hasNoLinks && codeOf(error) !== 'EEXIST') throw error;
    if (!hasNoLinks || (await whatIsAt(target)) !== undefined) throw new OutputRefused('exists', path);
    await rename(draft, target);
  }
  return { takeBack: () => rm(target, { force: true }), forget: () => Promise.resolve() };
}

/** Names a draft where something is; that has another name until it is forgotten. */
async function replace(draft: string, target: string): Promise<Settled> {
  const old = newDraft(target);
  const isKept = await link(target, old).then(
    () => true,
    () => false,
  );
  await rename(draft, target);
  return {
    takeBack: () => (isKept ? rename(old, target) : rm(target, { force: true })),
    forget: () => rm(old, { force: true }),
  };
}

/** The error, of the path that was asked for and not of a draft. */
function namedAfter(path: string, cause: unknown): Error {
  const code = codeOf(cause);
  if (cause instanceof OutputRefused || code === undefined) return cause as Error;
  return Object.assign(new Error(`${path}: ${code}`, { cause }), { code, syscall: 'open', path });
}
