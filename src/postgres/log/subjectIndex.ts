import type { Subject } from '../../log/entry/entry.js';
import { safeInteger } from '../faults.js';
import type { Ask, Pool } from '../pool.js';

/*
 * What entries are about, indexed behind the log by whoever integrates it, so that an append has no part in it. A row of
 * log_subject has the places of the entries in one block of the log that are about the same; log_subject_head says how many
 * entries are in those rows. What comes after, a moment's entries, is looked through one by one.
 */

export interface EntryRow {
  readonly seq: string;
  readonly entry: Uint8Array;
}

/**
 * Indexes what is not indexed yet, some of it if that is much. One daemon at a time does so. False when there is more to
 * do.
 */
export function indexSubjects(pool: Pool): Promise<boolean> {
  return pool.transaction(async (ask) => {
    const [head] = await ask<{ size: string; log: string }>(
      `select s.size, l.size as log from log_subject_head s, log_head l where s.id = 1 and l.id = 1
       for update of s skip locked`,
    );
    if (head === undefined) return true;
    const [from, end] = [safeInteger(head.size), safeInteger(head.log)];
    const to = Math.min(end, from + entriesAtOnce);
    if (from === to) return true;
    await ask(
      `insert into log_subject (first, block, about_key, about_owner, about_recovery, about_grant, seqs)
       select min(seq), seq / ${blockLength}, about_key, about_owner, about_recovery, about_grant, array_agg(seq)
       from log_entry
       where seq >= ? and seq < ? and (about_key, about_owner, about_recovery, about_grant) is distinct from (null, null, null, null)
       group by 2, 3, 4, 5, 6`,
      [from, to],
    );
    await ask('update log_subject_head set size = ? where id = 1', [to]);
    return to === end;
  });
}

const entriesAtOnce = 20_000;
/** As migration 010 has it. A block's places are read as a whole. */
const blockLength = 512;

/** Which entries about a subject, and how many at most. */
export interface EntriesAsked {
  readonly order: 'newest first' | 'oldest first';
  /** Only those of this index or a higher one. */
  readonly from?: number;
  /** Only those of a lower index. */
  readonly below?: number;
  readonly limit: number;
  /** Of a `key`: only those that are about this one and no other. */
  readonly single?: true;
}

/**
 * Entries that have all of `about` as their subject; any entry has, if that is empty. Of a `key` these are more than are
 * about it: those that are about no single key as well, for entries about requests name their keys in the entry alone.
 */
export async function readEntriesAbout(
  ask: Ask,
  about: Omit<Subject, 'keys'>,
  { order, from, below, limit, single }: EntriesAsked,
): Promise<readonly EntryRow[]> {
  const direction = order === 'newest first' ? 'desc' : 'asc';
  const bounds: readonly Condition[] = [
    ...(from === undefined ? [] : [{ sql: 'seq >= ?', values: [from] }]),
    ...(below === undefined ? [] : [{ sql: 'seq < ?', values: [below] }]),
  ];
  if (Object.keys(about).length === 0) {
    return ask<EntryRow>(
      `select seq, entry from log_entry ${where(bounds)} order by seq ${direction} limit ?`,
      [...valuesOf(bounds), limit],
    );
  }
  const blocks: readonly Condition[] = [
    ...(from === undefined ? [] : [{ sql: 'block >= ?', values: [Math.floor(from / blockLength)] }]),
    ...(below === undefined ? [] : [{ sql: 'block <= ?', values: [Math.floor(below / blockLength)] }]),
  ];
  const ways = waysOf(about);
  const parts = (single === true ? ways.slice(0, 1) : ways).flatMap((subjects): readonly Condition[] => {
    const newest = [...subjects, ...bounds];
    const indexed = [...subjects, ...blocks, ...bounds];
    return [
      {
        sql: `(select seq from log_entry ${where(newest)} and seq >= (select size from log_subject_head where id = 1)
               order by seq ${direction} limit ?)`,
        values: [...valuesOf(newest), limit],
      },
      {
        sql: `(select seq from log_subject cross join lateral unnest(seqs) as s (seq) ${where(indexed)}
               order by block ${direction}, seq ${direction} limit ?)`,
        values: [...valuesOf(indexed), limit],
      },
    ];
  });
  // One statement, and so one snapshot: what is not in the index is behind it.
  return ask<EntryRow>(
    `with found as (${parts.map(({ sql }) => sql).join(' union all ')})
     select seq, entry from found join log_entry using (seq) order by seq ${direction} limit ?`,
    [...valuesOf(parts), limit],
  );
}

/** A part of a statement, and what is bound in it. */
interface Condition {
  readonly sql: string;
  readonly values: readonly (string | number)[];
}

function where(conditions: readonly Condition[]): string {
  return conditions.length === 0 ? '' : `where ${conditions.map(({ sql }) => sql).join(' and ')}`;
}

function valuesOf(conditions: readonly Condition[]): readonly (string | number)[] {
  return conditions.flatMap(({ values }) => values);
}

/** All that is given of a subject must be an entry's, in one of these ways. */
function waysOf({ key, owner, recovery, grant }: Omit<Subject, 'keys'>): readonly (readonly Condition[])[] {
  const others = [
    { sql: 'about_owner = ?', value: owner },
    { sql: 'about_recovery = ?', value: recovery },
    { sql: 'about_grant = ?', value: grant },
  ].flatMap(({ sql, value }) => (value === undefined ? [] : [{ sql, values: [value] }]));
  if (key === undefined) return [others];
  return [
    [{ sql: 'about_key = ?', values: [key] }, ...others],
    [{ sql: 'about_key is null', values: [] }, ...others],
  ];
}
