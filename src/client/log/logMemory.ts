import { join } from 'node:path';

import { z } from 'zod';

import { decodeUtf8, TextError } from '../../log/entry/plainText.js';
import { replaceFile } from '../../system/files.js';
import { codeOf } from '../../system/errors.js';
import { IdentityError } from '../errors.js';
import { LOCK_WAIT_MS, holdFileLock } from '../files/fileLock.js';
import { readTrustedFile } from '../files/trustedFile.js';
import { jsonOrUndefined } from '../../system/json.js';

/** Remembers the last checkpoint (a signed note) that was believed. */
export interface LogMemory {
  last(): Promise<string | undefined>;
  /**
   * Remembers `note` in place of `instead` (undefined: of nothing); durable when it resolves. False, and nothing is changed,
   * when something else is remembered by now: another client has believed meanwhile.
   */
  remember(note: string, instead: string | undefined): Promise<boolean>;
  /** Keeps what contradicts itself, for people to look at; says where. */
  keepEvidence(evidence: Readonly<Record<string, unknown>>): Promise<string>;
}

const schema = z.object({ checkpoint: z.string().optional() });

/** The memory in `state.json` of an identity directory. Evidence is put beside it, a file for each finding. */
export class FileMemory implements LogMemory {
  readonly #directory: string;
  readonly #name: string;
  readonly #lockWaitMs: number;

  constructor(directory: string, name: string, lockWaitMs = LOCK_WAIT_MS) {
    this.#directory = directory;
    this.#name = name;
    this.#lockWaitMs = lockWaitMs;
  }

  async last(): Promise<string | undefined> {
    const path = join(this.#directory, this.#name);
    let text: string;
    try {
      text = decodeUtf8(await readTrustedFile(path), path);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      if (error instanceof TextError) throw damaged(path, error);
      throw error;
    }
    // a memory that cannot be read is not an empty one: forgetting would let a fork through
    const state = schema.safeParse(jsonOrUndefined(text));
    if (!state.success) throw damaged(path);
    return state.data.checkpoint;
  }

  async remember(note: string, instead: string | undefined): Promise<boolean> {
    const unlock = await holdFileLock(join(this.#directory, `${this.#name}.lock`), this.#lockWaitMs);
    try {
      if ((await this.last()) !== instead) return false;
      const content = `${JSON.stringify({ checkpoint: note }, undefined, 2)}\n`;
      await replaceFile(join(this.#directory, this.#name), content, 0o600);
      return true;
    } finally {
      unlock();
    }
  }

  async keepEvidence(evidence: Readonly<Record<string, unknown>>): Promise<string> {
    const stamp = new Date().toISOString().replace(/[:.]/g, '-');
    const path = join(this.#directory, `evidence-${stamp}.json`);
    await replaceFile(path, `${JSON.stringify(evidence, undefined, 2)}\n`, 0o600);
    return path;
  }
}

function damaged(path: string, cause?: unknown): IdentityError {
  return new IdentityError('identity-malformed', `${path} is damaged; restore it`, { cause });
}
