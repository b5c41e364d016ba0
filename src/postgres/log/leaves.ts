import { hashLengthBytes } from '../../log/tree/merkle.js';
import { LogDamaged } from '../faults.js';
import type { Ask } from '../pool.js';

/**
 * Hashes of the entries `from` on, at most `limit`, as RFC 6962 section 2.1 has them for leaves. The server makes them, so
 * that the entries need not be sent here. Throws LogDamaged when one is missing between others.
 */
export async function readLeaves(ask: Ask, from: number, limit: number): Promise<readonly Uint8Array[]> {
  const [read] = await ask<{ count: number; end: string | null; hashes: Uint8Array | null }>(
    `select count(*)::int as count, max(seq) + 1 as end, string_agg(sha256('\\x00'::bytea || entry), '' order by seq) as hashes
     from (select seq, entry from log_entry where seq >= ? order by seq limit ?) as e`,
    [from, limit],
  );
  if (read?.hashes == null) return [];
  const { count, end, hashes } = read;
  if (end !== String(from + count)) {
    throw new LogDamaged(`the entry ${await firstMissing(ask, from)} is gone from the log`);
  }
  return Array.from({ length: count }, (_, at) =>
    hashes.subarray(at * hashLengthBytes, (at + 1) * hashLengthBytes),
  );
}

/** The first place from here on where no entry stands. */
async function firstMissing(ask: Ask, from: number): Promise<string> {
  const [row] = await ask<{ place: string }>(
    `select min(place) as place
     from (select seq, ? + row_number() over (order by seq) - 1 as place from log_entry where seq >= ?) as e
     where seq <> place`,
    [from, from],
  );
  return row?.place ?? String(from);
}
