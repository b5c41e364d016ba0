import type { SignedCheckpoint, Witnessed } from '../../escrow/ports/log.js';
import { maximumSignatures } from '../../log/note/note.js';
import { safeInteger } from '../faults.js';
import type { Ask } from '../pool.js';

/** How far back a witnessed checkpoint is looked for: anybody may ask, and the table only grows. */
const cosignaturesSearched = 10_000;

/** The newest checkpoint with so many cosignatures, without them; undefined when there is none. */
export async function newestWitnessed(
  ask: Ask,
  { count, by }: Witnessed,
): Promise<SignedCheckpoint | undefined> {
  const [row] = await ask<{ size: string; note: string }>(
    `select c.size, c.note from log_checkpoint c
     join (select size from
             (select distinct size, key_id from
               (select size, key_id from log_cosignature order by size desc limit ${cosignaturesSearched}) as rows) as newest
           ${by === undefined ? '' : 'where key_id = any(?::text[])'}
           group by size having count(*) >= ? order by size desc limit 1) as found using (size)`,
    [...(by === undefined ? [] : [[...by]]), count],
  );
  return row === undefined ? undefined : { size: safeInteger(row.size), note: row.note };
}

/** The checkpoint with the newest line of each of its witnesses behind that of the log, as many as a note can hold. */
export async function withCosignatures(
  ask: Ask,
  { size, note }: SignedCheckpoint,
): Promise<SignedCheckpoint> {
  const rows = await ask<{ line: string }>(
    `select distinct on (name, key_id) line from log_cosignature where size = ?
     order by name, key_id, cosigned_at desc limit ?`,
    [size, maximumSignatures - 1],
  );
  return { size, note: note + rows.map(({ line }) => line).join('') };
}
