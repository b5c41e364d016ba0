import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import { writeFileAtomically } from './atomicFile.js';
import { errorCodeOf } from './errorCode.js';
import { IdentityError } from './errors.js';

/** Remembers the last checkpoint (a signed note) that was believed. */
export interface LogMemory {
  last(): Promise<string | undefined>;
  /** Durable when it resolves. */
  remember(note: string): Promise<void>;
  /** Keeps what contradicts itself, for people to look at; says where. */
  keepEvidence(evidence: Readonly<Record<string, unknown>>): Promise<string>;
}

const schema = z.object({ checkpoint: z.string().optional() });

/** The memory in `state.json` of an identity directory. Evidence is put beside it, a file for each finding. */
export class FileMemory implements LogMemory {
  readonly #directory: string;
  readonly #name: string;

  constructor(directory: string, name: string) {
    this.#directory = directory;
    this.#name = name;
  }

  async last(): Promise<string | undefined> {
    const path = join(this.#directory, this.#name);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (errorCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    // a memory that cannot be read is not an empty one: forgetting would let a fork through
    const state = schema.safeParse(jsonOrUndefined(text));
    if (!state.success) throw new IdentityError('identity-malformed', `${path} is damaged; restore it`);
    return state.data.checkpoint;
  }

  async remember(note: string): Promise<void> {
    const content = `${JSON.stringify({ checkpoint: note }, undefined, 2)}\n`;
    await writeFileAtomically(join(this.#directory, this.#name), content, 0o600);
  }

  async keepEvidence(evidence: Readonly<Record<string, unknown>>): Promise<string> {
    const stamp = new Date().toISOString().replace(/[:.]/g, '-');
    const path = join(this.#directory, `evidence-${stamp}.json`);
    await writeFileAtomically(path, `${JSON.stringify(evidence, undefined, 2)}\n`, 0o600);
    return path;
  }
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
