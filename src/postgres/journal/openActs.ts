import type { ActId } from '../../escrow/records/ids.js';
import type { OpenAct } from '../../escrow/ports/journal.js';
import type { Subject } from '../../log/entry/entry.js';
import type { Clocks } from '../clocks.js';
import type { InstanceLease } from './instances.js';
import type { Pool } from '../pool.js';

/** Acts with an attempt and no outcome, in the order of their attempts. Throws EscrowError `clock-differs`. */
export async function readOpenActs(
  pool: Pool,
  lease: InstanceLease,
  clocks: Clocks | undefined,
): Promise<readonly OpenAct[]> {
  const rows = await pool.ask<OpenActRow>(
    `select a.id, e.entry, e.about_key, e.about_owner, e.about_recovery, e.about_grant, a.instance,
            coalesce(i.lease_until > now(), false) as lives
     from open_act a join log_entry e using (seq)
     left join instance i on i.id = a.instance
     order by a.seq`,
  );
  // behind what was read: leases end by the database's clock, and a clock that ran ahead has ended those of daemons that live
  await clocks?.require(pool.ask);
  return rows.map((row) => ({
    id: row.id,
    entry: row.entry,
    about: toSubject(row),
    by: row.instance === lease.instance ? 'self' : row.lives && !lease.sole ? 'other' : 'gone',
  }));
}

interface OpenActRow {
  readonly id: ActId;
  readonly entry: Uint8Array;
  readonly about_key: string | null;
  readonly about_owner: string | null;
  readonly about_recovery: string | null;
  readonly about_grant: string | null;
  readonly instance: string;
  readonly lives: boolean;
}

function toSubject(row: OpenActRow): Subject {
  return {
    ...(row.about_key === null ? {} : { key: row.about_key }),
    ...(row.about_owner === null ? {} : { owner: row.about_owner }),
    ...(row.about_recovery === null ? {} : { recovery: row.about_recovery }),
    ...(row.about_grant === null ? {} : { grant: row.about_grant }),
  };
}
