import type { Ask } from './postgres.js';

/** A database as its migrations leave it. */
export interface Unused {
  /** Everything in the schema that a test could change, as one digest. */
  readonly schema: string;
  /** Takes out every row that was put in, and puts in those that the migrations do. */
  readonly restore: string;
}

/** Tables of the migrations themselves, in which nothing else writes. */
const MIGRATIONS = `'knex_migrations', 'knex_migrations_lock'`;

const SCHEMA = `
  select md5(string_agg(part, E'\\n' order by part)) as digest from (
    select format('%s %s %s %s', relname, relkind, relacl, reloptions) from pg_class
      where relnamespace = 'public'::regnamespace
    union all
    select format('%s.%s %s %s %s %s', relname, attname, format_type(atttypid, atttypmod), attnotnull, attacl,
        pg_get_expr(adbin, adrelid))
      from pg_class join pg_attribute on attrelid = pg_class.oid
      left join pg_attrdef on adrelid = attrelid and adnum = attnum
      where relnamespace = 'public'::regnamespace and attnum > 0 and not attisdropped
    union all
    select format('%s %s', pg_get_triggerdef(pg_trigger.oid), tgenabled) from pg_trigger
    union all
    select format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint
      where connamespace = 'public'::regnamespace
    union all
    select format('%s %s', pg_get_functiondef(oid), proacl) from pg_proc where pronamespace = 'public'::regnamespace
    union all
    select format('%s %s', viewname, definition) from pg_views where schemaname = 'public'
    union all
    select indexdef from pg_indexes where schemaname = 'public'
    union all
    select format('schema %s %s', nspname, nspacl) from pg_namespace
      where nspname !~ '^pg_' and nspname <> 'information_schema'
    union all
    select name from knex_migrations
    union all
    select format('settings %s %s %s', setdatabase, setrole, setconfig) from pg_db_role_setting
  ) as parts (part)`;

const GUARDS = { O: 'enable', D: 'disable', A: 'enable always', R: 'enable replica' };

/** What a database is that was just migrated. */
export async function readUnused(ask: Ask): Promise<Unused> {
  const tables = await ask<{ name: string }>(
    `select tablename as name from pg_tables where schemaname = 'public' and tablename not in (${MIGRATIONS})`,
  );
  const guards = await ask<{ table: string; name: string; enabled: keyof typeof GUARDS }>(
    `select tgrelid::regclass as table, tgname as name, tgenabled as enabled from pg_trigger where not tgisinternal`,
  );
  const emptied: string[] = [];
  const filled: string[] = [];
  for (const { name } of tables) {
    emptied.push(`delete from ${name}`);
    const [found] = await ask<{ rows: string | null }>(
      `select quote_literal(jsonb_agg(to_jsonb(t))) as rows from ${name} t`,
    );
    if (typeof found?.rows !== 'string') continue;
    filled.push(`insert into ${name} select * from jsonb_populate_recordset(null::${name}, ${found.rows})`);
  }
  const statements = [
    ...guards.map(({ table, name }) => `alter table ${table} disable trigger ${name}`),
    ...emptied,
    ...filled,
    ...guards.map(({ table, name, enabled }) => `alter table ${table} ${GUARDS[enabled]} trigger ${name}`),
  ];
  return { schema: await schemaDigest(ask), restore: statements.join(';\n') };
}

/** Has it so again; false, and nothing done, where the schema is no longer what it was. */
export async function restoreUnused(ask: Ask, { schema, restore }: Unused): Promise<boolean> {
  if ((await schemaDigest(ask)) !== schema) return false;
  await ask(restore);
  return true;
}

/** Differs after any change of the schema, its guards and who may do what in it. */
export async function schemaDigest(ask: Ask): Promise<string> {
  const [found] = await ask<{ digest: string }>(SCHEMA);
  if (found === undefined) throw new Error('the schema has no digest');
  return found.digest;
}
