import type { Creation } from '../../escrow/records/creation.js';
import type { PrincipalId } from '../../escrow/records/ids.js';
import type { NoticeKind } from '../../escrow/records/notice.js';
import type { Clock } from '../../escrow/ports/clock.js';
import type {
  AppliedPolicy,
  GivenUpNotice,
  Page,
  PageRequest,
  Store,
  StoredPolicy,
} from '../../escrow/ports/store.js';
import { pageOf, readCursor } from '../cursor.js';
import { safeInteger } from '../faults.js';
import { requestKey } from '../journal/lockedRows.js';
import type { Pool } from '../pool.js';
import { toDeposit, toGrant, toRecovery, type DepositRow, type GrantRow, type RecoveryRow } from '../rows.js';

const fromPolicy = 'select version, hash, document, signatures, applied_at from policy';
const fromDeposit = 'select key, created_at, document from deposit';
const fromRecovery = 'select id, filed_at, document from recovery';
const fromGivenUp =
  'select notice, sink, entry, recipient, kind, fault, dropped_at from notification_dropped';
const fromGrant =
  'select id, recovery, key, spec, owner, scope, used, recent, starts_at, expires_at, status, certificate from grant_';

/** How long a request is remembered after it has expired: longer than clocks differ. */
const rememberedAfterExpiryMs = 10 * 60_000;

/** Opens the records for reading. */
export function openStore(pool: Pool): Store {
  return {
    policyVersion: async () => {
      const [row] = await pool.ask<{ version: number }>(
        'select version from policy order by version desc limit 1',
      );
      return row?.version ?? 0;
    },
    policies: (after, limit) => readPolicies(pool, after, limit),
    policyDocuments: async ({ after, limit }) => {
      const [version] = readCursor(after, [0]) ?? [0];
      return pageOf(await readPolicies(pool, version, limit + 1), limit, {
        item: (policy) => policy,
        position: (policy) => [policy.version],
      });
    },
    policyHistory: async ({ after, limit }) => {
      const [version] = readCursor(after, [0]) ?? [Number.MAX_SAFE_INTEGER];
      const rows = await pool.ask<Omit<PolicyRow, 'document'>>(
        `select version, hash, signatures, applied_at from policy
         where version < ?::bigint order by version desc limit ?`,
        [version, limit + 1],
      );
      return pageOf(rows, limit, { item: toApplied, position: (row) => [row.version] });
    },

    findDeposit: async (key) => {
      const [row] = await pool.ask<DepositRow>(`${fromDeposit} where key = ?`, [key]);
      return row === undefined ? undefined : toDeposit(row);
    },
    findDeposits: async (keys) => {
      const rows = await pool.ask<DepositRow>(`${fromDeposit} where key = any(?::text[])`, [[...keys]]);
      return rows.map(toDeposit);
    },
    deposits: ({ owner, depositary, quorums }, page) =>
      readPage<DepositRow, ReturnType<typeof toDeposit>>(pool, page, {
        from: fromDeposit,
        where: [
          ...anyOf([
            ['owner = ?', owner],
            ['depositaries @> array[?]', depositary],
          ]),
          ...allOf([
            [
              'quorums in (select value::text from jsonb_array_elements(?::jsonb))',
              quorums && asSets(quorums),
            ],
          ]),
        ],
        order: ['created_at', 'key'],
        position: ({ created_at, key }) => [created_at.getTime(), key],
        item: toDeposit,
      }),

    findRecovery: async (id) => {
      const [row] = await pool.ask<RecoveryRow>(`${fromRecovery} where id = ?`, [id]);
      return row === undefined ? undefined : toRecovery(row);
    },
    recoveries: ({ participant, job }, page) =>
      readPage<RecoveryRow, ReturnType<typeof toRecovery>>(pool, page, {
        from: fromRecovery,
        where: allOf([
          ['participants @> array[?]', participant],
          [`document #>> '{asked,purpose}' = 'reseal' and document #>> '{asked,job}' = ?`, job],
        ]),
        order: ['filed_at', 'id'],
        position: ({ filed_at, id }) => [filed_at.getTime(), id],
        item: toRecovery,
      }),
    openRecoveries: async () => {
      const rows = await pool.ask<RecoveryRow>(
        `${fromRecovery} where status in ('pending', 'approved') order by filed_at, id`,
      );
      return rows.map(toRecovery);
    },

    findGrant: async (id) => {
      const [row] = await pool.ask<GrantRow>(`${fromGrant} where id = ?`, [id]);
      return row === undefined ? undefined : toGrant(row);
    },
    findGrants: async (ids) => {
      if (ids.length === 0) return [];
      return (await pool.ask<GrantRow>(`${fromGrant} where id = any(?::text[])`, [[...ids]])).map(toGrant);
    },
    grants: ({ participant }, page) =>
      readPage<GrantRow, ReturnType<typeof toGrant>>(pool, page, {
        from: fromGrant,
        where: anyOf([
          ['owner = ?', participant],
          ['app = ?', participant],
          ['key in (select key from deposit where depositaries @> array[?])', participant],
        ]),
        order: ['starts_at', 'id'],
        position: ({ starts_at, id }) => [starts_at.getTime(), id],
        item: toGrant,
      }),

    findCreation: async ({ principal, key }, at) => {
      const [row] = await pool.ask<CreationRow>(
        `select k.fingerprint, e.seq, e.about_key, e.about_recovery,
                convert_from(e.entry, 'UTF8')::json ->> 'phase' as phase
         from idempotency_key k left join idempotency_outcome o using (act) left join log_entry e using (seq)
         where k.principal = ? and k.key = ? and k.expires_at > ?`,
        [principal, key, at.toISOString()],
      );
      return row === undefined ? undefined : toCreation(row);
    },
    givenUp: ({ sink }, page) =>
      readPage<GivenUpRow, GivenUpNotice>(pool, page, {
        from: fromGivenUp,
        where: [{ sql: 'delivered_at is null', values: [] }, ...allOf([['sink = ?', sink]])],
        // rows are of microseconds, a cursor of milliseconds
        order: [`date_trunc('milliseconds', dropped_at)`, `(sink || '/' || notice)`],
        position: (row) => [row.dropped_at.getTime(), `${row.sink}/${row.notice}`],
        item: toGivenUp,
      }),
    findGivenUp: async (sink, notices) => {
      const rows = await pool.ask<GivenUpRow>(
        `${fromGivenUp} where delivered_at is null and sink = ? and notice = any (?::text[])`,
        [sink, [...notices]],
      );
      return rows.map(toGivenUp);
    },
    seeOnce: async ({ kid, jti, expiresAt }) => {
      const rows = await pool.ask(
        `insert into request_seen (request, expires_at) values (?::uuid, ?) on conflict do nothing returning request`,
        [requestKey(kid, jti), expiresAt.toISOString()],
      );
      return rows.length === 1;
    },
  };
}

interface PolicyRow extends Omit<StoredPolicy, 'appliedAt'> {
  readonly applied_at: Date | null;
}

function toPolicy({ document, ...row }: PolicyRow): StoredPolicy {
  return { ...toApplied(row), document };
}

function toApplied({
  applied_at: appliedAt,
  version,
  hash,
  signatures,
}: Omit<PolicyRow, 'document'>): AppliedPolicy {
  return { version, hash, signatures, appliedAt: appliedAt ?? undefined };
}

async function readPolicies(pool: Pool, after: number, limit: number): Promise<readonly StoredPolicy[]> {
  const rows = await pool.ask<PolicyRow>(`${fromPolicy} where version > ?::bigint order by version limit ?`, [
    after,
    limit,
  ]);
  return rows.map(toPolicy);
}

interface GivenUpRow {
  readonly notice: string;
  readonly sink: string;
  readonly entry: string;
  readonly recipient: PrincipalId;
  readonly kind: NoticeKind;
  readonly fault: string;
  readonly dropped_at: Date;
}

function toGivenUp({ notice, sink, entry, recipient, kind, fault, dropped_at }: GivenUpRow): GivenUpNotice {
  return { notice, sink, entry: safeInteger(entry), to: recipient, kind, fault, givenUpAt: dropped_at };
}

/** The key's act and, when that has ended, its outcome. */
interface CreationRow {
  readonly fingerprint: string;
  readonly seq: string | null;
  readonly about_key: string | null;
  readonly about_recovery: string | null;
  readonly phase: string | null;
}

function toCreation(row: CreationRow): Creation | undefined {
  const { fingerprint, seq, phase } = row;
  if (seq === null) return { status: 'open', fingerprint };
  if (phase !== 'done') return undefined;
  const about = {
    ...(row.about_key === null ? {} : { key: row.about_key }),
    ...(row.about_recovery === null ? {} : { recovery: row.about_recovery }),
  };
  return { status: 'done', fingerprint, index: safeInteger(seq), about };
}

/** How far the clocks of a daemon and of its database may differ for what they say to be believed. */
const clocksDifferMs = 5_000;

/**
 * Forgets requests that have expired so long ago that none would be taken for new, and Idempotency-Keys that have: by the
 * clocks of the database and of this daemon. Throws when these differ by more than five seconds, with nothing forgotten: by a
 * clock that runs ahead every daemon would take requests again.
 */
export async function forgetExpiredRequests(pool: Pool, clock: Clock): Promise<void> {
  const [row] = await pool.ask<{ now: Date }>('select clock_timestamp() as now');
  const [theirs, ours] = [row?.now.getTime() ?? NaN, clock.now().getTime()];
  const differ = Math.abs(theirs - ours);
  if (!(differ <= clocksDifferMs))
    throw new Error(
      `the clocks of the database and of this daemon differ by ${Math.round(differ / 1000)} seconds: no request is forgotten`,
    );
  const before = new Date(Math.min(theirs, ours) - rememberedAfterExpiryMs);
  await pool.ask('delete from request_seen where expires_at < ?', [before.toISOString()]);
  await pool.ask('delete from idempotency_key where expires_at < ?', [before.toISOString()]);
  // Also of acts whose key stands for another act by now; one whose key is still there at all has its outcome or gets it.
  await pool.ask(
    'delete from idempotency_outcome o where not exists (select from idempotency_key k where k.act = o.act)',
  );
}

/** Sets of quorums as the column has them, in one array. */
function asSets(sets: NonNullable<Parameters<Store['deposits']>[0]['quorums']>): string {
  return JSON.stringify(sets.map((set) => set.map(({ purpose, quorums }) => ({ purpose, quorums }))));
}

/** A condition in SQL, and what is bound in it. */
interface Condition {
  readonly sql: string;
  readonly values: readonly string[];
}

/** A list, newest first: `order` is an instant and, among equal ones, an id. */
interface List<Row, T> {
  readonly from: string;
  readonly where: readonly Condition[];
  readonly order: readonly [instant: string, id: string];
  readonly position: (row: Row) => readonly [instantMs: number, id: string];
  readonly item: (row: Row) => T;
}

/** Reads one page of a list, from where the one before it ended. */
async function readPage<Row, T>(pool: Pool, page: PageRequest, list: List<Row, T>): Promise<Page<T>> {
  const after = readCursor(page.after, [0, '']);
  const [instant, id] = list.order;
  const further: readonly Condition[] =
    after === undefined
      ? []
      : [{ sql: `(${instant}, ${id}) < (?, ?)`, values: [new Date(after[0]).toISOString(), after[1]] }];
  const conditions = [...list.where, ...further];
  const where = conditions.length === 0 ? '' : `where ${conditions.map(({ sql }) => sql).join(' and ')}`;
  const rows = await pool.ask<Row>(`${list.from} ${where} order by ${instant} desc, ${id} desc limit ?`, [
    ...conditions.flatMap(({ values }) => values),
    page.limit + 1,
  ]);
  return pageOf(rows, page.limit, list);
}

/** Each of these whose value is given. */
function allOf(parts: readonly (readonly [sql: string, value: string | undefined])[]): readonly Condition[] {
  return parts.flatMap(([sql, value]) => (value === undefined ? [] : [{ sql, values: [value] }]));
}

/** One of those whose value is given; no condition when none is. */
function anyOf(parts: Parameters<typeof allOf>[0]): readonly Condition[] {
  const given = allOf(parts);
  if (given.length === 0) return [];
  return [
    { sql: `(${given.map(({ sql }) => sql).join(' or ')})`, values: given.flatMap(({ values }) => values) },
  ];
}
