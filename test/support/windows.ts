/** So many bytes in a row that chance does not bring together. */
const WINDOW_BYTES = 16;

/** Bytes to look for, by name. */
export type Secrets = ReadonlyMap<string, Buffer>;

/**
 * Finds secrets in part: every window of 16 bytes of each is looked for at every place.
 */
export class WindowSearch {
  readonly #names = new Map<string, string>();
  readonly #starts = new Set<number>();

  constructor(secrets: Secrets) {
    for (const [name, secret] of secrets) {
      if (secret.length < WINDOW_BYTES) throw new Error(`${name} is too short to be looked for`);
      for (let at = 0; at + WINDOW_BYTES <= secret.length; at += 1) {
        this.#names.set(windowOf(secret, at), name);
        this.#starts.add(secret.readUInt32LE(at));
      }
    }
  }

  /** The names of the secrets of which any part stands in these bytes. */
  findIn(bytes: Buffer): readonly string[] {
    const found = new Set<string>();
    for (let at = 0; at + WINDOW_BYTES <= bytes.length; at += 1) {
      if (!this.#starts.has(bytes.readUInt32LE(at))) continue;
      const name = this.#names.get(windowOf(bytes, at));
      if (name !== undefined) found.add(name);
    }
    return [...found];
  }

  /** The same for many. */
  findInAll(all: Iterable<Buffer>): readonly string[] {
    const found = new Set<string>();
    for (const bytes of all) for (const name of this.findIn(bytes)) found.add(name);
    return [...found].sort();
  }
}

function windowOf(bytes: Buffer, at: number): string {
  return bytes.toString('latin1', at, at + WINDOW_BYTES);
}
