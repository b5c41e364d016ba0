import type { Client } from 'pg';

import { BIRTHS } from '../escrow/records/creation.js';
import { depositDigest, firstDepositDigest } from '../escrow/records/digests.js';
import { decodeEntry } from '../log/entry/entry.js';
import { type DepositRow, toDeposit } from './rows.js';

const PAGE = 500;

/**
 * The keys that the log says were born and of which the database holds no deposit that is what was logged: for a copy of a database,
 * before anybody relies on it.
 */
export async function lostKeys(client: Client): Promise<readonly string[]> {
  const left = await birthsIn(client);
  for (let after = ''; ;) {
    const { rows } = await client.query<DepositRow>(
      'select key, created_at, document from deposit where key > $1 order by key limit $2',
      [after, PAGE],
    );
    for (const row of rows) if (isAsLogged(row, left.get(row.key))) left.delete(row.key);
    const last = rows.at(-1);
    if (last === undefined) return [...left.keys()].sort();
    after = last.key;
  }
}

/** The digest of each key's deposit by the entry of its birth; the first one counts. */
async function birthsIn(client: Client): Promise<Map<string, string>> {
  const births = new Map<string, string>();
  for (let from = 0; ;) {
    const { rows } = await client.query<{ seq: string; entry: Uint8Array }>(
      'select seq, entry from log_entry where seq >= $1 order by seq limit $2',
      [from, PAGE],
    );
    for (const { entry } of rows) {
      const { act, phase, digest, subject } = decodeEntry(entry);
      const isBirth = phase === 'done' && BIRTHS.has(act) && digest !== undefined;
      if (isBirth && subject.key !== undefined && !births.has(subject.key)) births.set(subject.key, digest);
    }
    const last = rows.at(-1);
    if (last === undefined) return births;
    from = Number(last.seq) + 1;
  }
}

/** What cannot be read is not what was logged. */
function isAsLogged(row: DepositRow, digest: string | undefined): boolean {
  if (digest === undefined) return false;
  try {
    const deposit = toDeposit(row);
    const isSame = depositDigest(deposit) === digest || firstDepositDigest(deposit) === digest;
    return isSame && deposit.key === row.key;
  } catch {
    return false;
  }
}
