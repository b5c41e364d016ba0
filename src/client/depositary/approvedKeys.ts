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
 * Which keys and secrets somebody approved the release of to themselves, each by the SHA-256 (hex) of its public key or check value. When they
 * approved, their share proved it; at the release nothing does but this: a server that shows another one then hands out another.
 */
export interface ApprovedKeys {
  /** What was approved under this id; undefined: nothing was, by this identity directory. */
  of(key: string): Promise<string | undefined>;
  /** Remembers them; durable when it resolves. What a key is never changes. */
  approved(keys: ReadonlyMap<string, string>): Promise<void>;
}

/** The memory of an identity directory. */
export const APPROVED_KEYS_FILE = 'approved-keys.json';

const schema = z.strictObject({ keys: z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/)) });

/** A memory in {@link APPROVED_KEYS_FILE} of an identity directory. */
export class FileApprovedKeys implements ApprovedKeys {
  readonly #path: string;

  constructor(directory: string) {
    this.#path = join(directory, APPROVED_KEYS_FILE);
  }

  async of(key: string): Promise<string | undefined> {
    return (await this.#read()).get(key);
  }

  async approved(keys: ReadonlyMap<string, string>): Promise<void> {
    const known = await this.#read();
    if (![...keys.keys()].some((key) => !known.has(key))) return;
    const unlock = await holdFileLock(`${this.#path}.lock`);
    try {
      const all = new Map([...keys, ...(await this.#read())]);
      const content = { keys: Object.fromEntries([...all].sort()) };
      await replaceFile(this.#path, `${JSON.stringify(content, undefined, 2)}\n`, 0o600);
    } finally {
      unlock();
    }
  }

  async #read(): Promise<ReadonlyMap<string, string>> {
    let text: string;
    try {
      text = decodeUtf8(await readTrustedFile(this.#path), this.#path);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return new Map();
      if (error instanceof TextError) throw this.#damaged(error);
      throw error;
    }
    // one that cannot be read is not an empty one: forgetting would let another key through
    const state = schema.safeParse(jsonOrUndefined(text));
    if (!state.success) throw this.#damaged();
    return new Map(Object.entries(state.data.keys));
  }

  #damaged(cause?: unknown): IdentityError {
    return new IdentityError('identity-malformed', `${this.#path} is damaged; restore it`, { cause });
  }
}
