import { createHash } from 'node:crypto';

import type { Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import { leafHash } from '../../log/tree/merkle.js';

/*
 * What the history of an owner is, and what a statement about it says: one definition for the server that makes the
 * statement and for whoever checks it.
 */

/** Which part of a history is meant; what is not given does not narrow it. */
export interface HistoryFilter {
  /** Of several that an entry is about, this is one. */
  readonly key?: string;
  /** The name of an act, such as `grant.sign`. */
  readonly act?: string;
  /** RFC 3339 UTC with milliseconds, as in entries: from this instant on. */
  readonly since?: string;
  /** Up to, and without, this instant. */
  readonly until?: string;
}

/** The payload of a statement: that these are all entries of this history in the tree of this size. */
export interface HistoryStatementPayload {
  /** The log's origin. */
  readonly iss: string;
  /** The owner. */
  readonly sub: string;
  /** Seconds since the epoch. */
  readonly iat: number;
  readonly filter: HistoryFilter;
  /** The tree: its size and root (base64). */
  readonly checkpoint: { readonly size: number; readonly root: string };
  readonly count: number;
  /** See {@link HistoryList}. */
  readonly list: string;
}

/** Whether an entry belongs to this part of the history of this owner. */
export function isInHistory(
  entry: Pick<Entry, 'act' | 'time' | 'subject'>,
  owner: string,
  filter: HistoryFilter,
): boolean {
  const { key, act, since, until } = filter;
  const { subject } = entry;
  return (
    subject.owner === owner &&
    (key === undefined || subject.key === key || subject.keys?.includes(key) === true) &&
    (act === undefined || entry.act === act) &&
    // RFC 3339 in one zone and one precision sorts as text
    (since === undefined || entry.time >= since) &&
    (until === undefined || entry.time < until)
  );
}

/** A filter as JSON, with what is given and nothing else. */
export function filterAsJson({ key, act, since, until }: HistoryFilter): Readonly<Record<string, Json>> {
  return {
    ...(key === undefined ? {} : { key }),
    ...(act === undefined ? {} : { act }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
  };
}

/**
 * The digest of a list of entries: SHA-256 over the index (uint64, big-endian) and the leaf hash (RFC 6962 section
 * 2.1) of each, newest first. Add them in this order.
 */
export class HistoryList {
  readonly #hash = createHash('sha256');
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(index: number, entry: Uint8Array): void {
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(index));
    this.#hash.update(place).update(leafHash(entry));
    this.#count += 1;
  }

  /** Lower-case hexadecimal. Once; nothing may be added afterwards. */
  digest(): string {
    return this.#hash.digest('hex');
  }
}
