import type { NoticeCursor, Outbox, SinkProgress } from '../../escrow/ports/outbox.js';
import { safeInteger } from '../faults.js';
import type { InstanceLease } from '../journal/instances.js';
import type { Ask, Pool } from '../pool.js';

/** How long a sink stays with a daemon that says nothing more: longer than any one delivery may take. */
export const sinkLeaseMs = 60_000;

interface ProgressRow {
  readonly next_entry: string;
  readonly next_position: number;
  readonly attempts: number;
  readonly not_before: Date | null;
}

interface StateRow {
  readonly name: string;
  readonly waiting: string;
  readonly next_entry: string;
  readonly last_fault: string | null;
  readonly dropped: string;
}

/**
 * Opens the progress of the sinks. Leases are by the database's clock, in the name of the instance; the only one there is
 * waits for no lease of another, which can only be gone.
 */
export function openOutbox(
  pool: Pool,
  { instance, sole }: InstanceLease,
  leaseMs: number = sinkLeaseMs,
): Outbox {
  const progress = 'next_entry, next_position, attempts, not_before';
  const until = `now() + ? * interval '1 millisecond'`;
  const isHeldHere = 'name = ? and leased_by = ? and leased_until > now()';

  /** From a place that the row is still at: another daemon's progress is never overwritten. */
  const move = async (ask: Ask, sink: string, from: NoticeCursor, to: NoticeCursor): Promise<boolean> => {
    const rows = await ask(
      `update notification_sink
       set next_entry = ?, next_position = ?, attempts = 0, not_before = null, last_fault = null, leased_until = ${until}
       where ${isHeldHere} and next_entry = ? and next_position = ? returning name`,
      [to.entry, to.position, leaseMs, sink, instance, from.entry, from.position],
    );
    return rows.length === 1;
  };

  return {
    register: async (sink) => {
      await pool.ask(
        `insert into notification_sink (name, next_entry) select ?, size from log_head where id = 1
         on conflict (name) do nothing`,
        [sink],
      );
    },

    lease: async (sink) => {
      // a sink that has nothing to do costs a look, and a write only now and then
      const [fresh] = await pool.ask<ProgressRow>(
        `select ${progress} from notification_sink where name = ? and leased_by = ? and leased_until > ${until}`,
        [sink, instance, Math.floor((leaseMs * 3) / 4)],
      );
      if (fresh !== undefined) return toProgress(fresh);
      const [row] = await pool.ask<ProgressRow>(
        `update notification_sink set leased_by = ?, leased_until = ${until}
         where name = ? and (leased_by is null or leased_by = ? or leased_until <= now() or ?::boolean)
         returning ${progress}`,
        [instance, leaseMs, sink, instance, sole],
      );
      return row && toProgress(row);
    },

    advance: (sink, from, to, again = []) => {
      if (again.length === 0) return move(pool.ask, sink, from, to);
      return pool.transaction(async (ask) => {
        if (!(await move(ask, sink, from, to))) return false;
        await ask(
          'update notification_dropped set delivered_at = now() where sink = ? and notice = any (?::text[])',
          [sink, [...again]],
        );
        return true;
      });
    },

    postpone: async (sink, at, { attempts, notBefore, fault }) => {
      const rows = await pool.ask(
        `update notification_sink set attempts = ?, not_before = ?, last_fault = ?, leased_until = ${until}
         where ${isHeldHere} and next_entry = ? and next_position = ? returning name`,
        [attempts, notBefore.toISOString(), fault, leaseMs, sink, instance, at.entry, at.position],
      );
      return rows.length === 1;
    },

    drop: (sink, from, to, { notice, fault }) =>
      pool.transaction(async (ask) => {
        if (!(await move(ask, sink, from, to))) return false;
        await ask(
          `insert into notification_dropped (sink, notice, entry, recipient, kind, fault, dropped_at)
           values (?, ?, ?, ?, ?, ?, now()) on conflict (sink, notice)
           do update set fault = excluded.fault, dropped_at = excluded.dropped_at, delivered_at = null`,
          [sink, notice.id, notice.entry, notice.to, notice.kind, fault],
        );
        return true;
      }),

    release: async (sink) => {
      await pool.ask(
        'update notification_sink set leased_by = null, leased_until = null where name = ? and leased_by = ?',
        [sink, instance],
      );
    },

    states: async (sinks) => {
      const rows = await pool.ask<StateRow>(
        `select name, (select size from log_head where id = 1) - next_entry as waiting, next_entry, last_fault,
                (select count(*) from notification_dropped where sink = name and delivered_at is null) as dropped
         from notification_sink where name = any (?::text[]) order by name`,
        [[...sinks]],
      );
      return rows.map(({ name, waiting, next_entry, last_fault, dropped }) => ({
        sink: name,
        waiting: safeInteger(waiting),
        next: safeInteger(next_entry),
        fault: last_fault ?? undefined,
        dropped: safeInteger(dropped),
      }));
    },
  };
}

function toProgress({ next_entry, next_position, attempts, not_before }: ProgressRow): SinkProgress {
  return {
    place: { entry: safeInteger(next_entry), position: next_position },
    attempts,
    notBefore: not_before ?? undefined,
  };
}
