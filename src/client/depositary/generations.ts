import { join } from 'node:path';

import { z } from 'zod';

import { decodeUtf8, TextError } from '../../log/entry/plainText.js';
import { codeOf } from '../../system/errors.js';
import { replaceFile } from '../../system/files.js';
import { jsonOrUndefined } from '../../system/json.js';
import { IdentityError } from '../errors.js';
import { holdFileLock } from '../files/fileLock.js';
import { readTrustedFile } from '../files/trustedFile.js';

/**
 * Of which deposits of keys a depositary has opened a share: whoever shows an older one has gone back to people who were to
 * bring the key back no more.
 */
export interface GenerationMemory {
  /** The highest generation of a key that was opened; undefined: none was, or nothing but the first. */
  highest(key: string): Promise<number | undefined>;
  /** Remembers those that were opened; durable when it resolves. What is remembered never gets lower. */
  opened(generations: ReadonlyMap<string, number>): Promise<void>;
}

/** The memory of an identity directory, beside what it has seen of the log. First deposits are not written down. */
export const GENERATIONS_FILE = 'generations.json';

const schema = z.strictObject({ generations: z.record(z.string(), z.int().min(2)) });

/** A memory in {@link GENERATIONS_FILE} of an identity directory. */
export class FileGenerations implements GenerationMemory {
  readonly #path: string;

  constructor(directory: string) {
    this.#path = join(directory, GENERATIONS_FILE);
  }

  async highest(key: string): Promise<number | undefined> {
    return (await this.#read()).get(key);
  }

  async opened(generations: ReadonlyMap<string, number>): Promise<void> {
    const known = await this.#read();
    if (![...generations].some(([key, each]) => each > (known.get(key) ?? 1))) return;
    const unlock = await holdFileLock(`${this.#path}.lock`);
    try {
      const all = new Map(await this.#read());
      for (const [key, each] of generations) if (each > (all.get(key) ?? 1)) all.set(key, each);
      const content = { generations: Object.fromEntries([...all].sort()) };
      await replaceFile(this.#path, `${JSON.stringify(content, undefined, 2)}\n`, 0o600);
    } finally {
      unlock();
    }
  }

  async #read(): Promise<ReadonlyMap<string, number>> {
    let text: string;
    try {
      text = decodeUtf8(await readTrustedFile(this.#path), this.#path);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return new Map();
      if (error instanceof TextError) throw this.#damaged(error);
      throw error;
    }
    // a memory that cannot be read is not an empty one: forgetting would let an older deposit through
    const state = schema.safeParse(jsonOrUndefined(text));
    if (!state.success) throw this.#damaged();
    return new Map(Object.entries(state.data.generations));
  }

  #damaged(cause?: unknown): IdentityError {
    return new IdentityError('identity-malformed', `${this.#path} is damaged; restore it`, { cause });
  }
}
