import type { Pool } from '../pool.js';

/** What tells the daemons of one database apart, and who of them lives. */
export interface InstanceLease {
  /** This daemon: another name at every start. */
  readonly instance: string;
  /** Whether a lock elsewhere makes this daemon the only one, so that every other instance is gone. */
  readonly sole: boolean;
}

/** A lease on being alive, by the database's clock. */
export interface HeldLease extends InstanceLease {
  /** Makes it last `leaseMs` from now. */
  renew(): Promise<void>;
  /** Ends it: what this daemon left open is left by one that is gone. */
  end(): Promise<void>;
}

/** How long the row of an instance stays after its lease: it says nothing that its absence does not say. */
const rememberedFor = '1 day';

/** The lease of `instance`; it begins with the first `renew`. */
export function leaseOf(
  pool: Pool,
  { instance, sole, leaseMs }: InstanceLease & { readonly leaseMs: number },
): HeldLease {
  return {
    instance,
    sole,
    renew: async () => {
      await pool.ask(
        `insert into instance (id, lease_until) values (?, now() + ? * interval '1 millisecond')
         on conflict (id) do update set lease_until = excluded.lease_until`,
        [instance, leaseMs],
      );
      await pool.ask(`delete from instance where lease_until < now() - ?::interval`, [rememberedFor]);
    },
    end: async () => {
      await pool.ask('delete from instance where id = ?', [instance]);
    },
  };
}
