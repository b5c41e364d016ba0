import type { Config } from '../config.js';
import { lookAtDatabase, namedDatabase, type DatabaseConnections } from '../start/reachDatabase.js';
import { Directory } from '../../escrow/directory.js';
import type { Policy } from '../../escrow/records/policy.js';
import { statementVerifier } from '../../http/caller/statements.js';
import { parsePolicy } from '../../http/policyDocument.js';
import type { Anchor } from '../../log/anchor.js';
import { clocksApart, requireKnownLog, requireNoLog, withPolicies } from '../../postgres/knownLog.js';
import type { SchemaState } from '../../postgres/schema/migrate.js';
import { inspectCluster } from '../../privatePostgres/inspection.js';
import { CLUSTER_BYTES } from '../../privatePostgres/requirePlace.js';
import { cautionsOf, type FileSystem } from '../../system/place.js';
import type { Findings } from './findings.js';

/** What a check of the database needs beside the configuration. */
export interface CheckUsing {
  readonly packageDirectory: string;
  readonly now: () => Date;
  /** statfs(2); that of the system when it is not given. */
  readonly fileSystemAt: ((path: string) => FileSystem) | undefined;
}

/** A database that could be asked, and how its schema stands. */
export interface CheckedDatabase {
  readonly connections: DatabaseConnections;
  readonly schema: SchemaState;
}

/**
 * Looks at the database that a start would use, and starts none. Resolves with it when it can be asked, `none` when the first start
 * would make it, undefined when nothing can be said of what is in it.
 */
export async function checkDatabase(
  config: Config,
  using: CheckUsing,
  findings: Findings,
): Promise<CheckedDatabase | 'none' | undefined> {
  const named = namedDatabase(config);
  if (named === undefined) return checkCluster(config, using, findings);
  const where = 'DATABASE_URL';
  const { faults, warnings, schema } = await lookAtDatabase(named, config.database.waitMs);
  for (const fault of faults) findings.error(fault, { code: 'database', where });
  for (const warning of warnings) findings.add('warning', { code: 'database', where, ...warning });
  if (schema === undefined || faults.length > 0) return undefined;
  if (schema.pending.length > 0)
    findings.add('note', {
      code: 'schema',
      where,
      what: schema.isMade
        ? `the schema is older than this program: a start runs the migrations ${schema.pending.join(', ')}`
        : 'there is no schema yet: a start makes it',
      do: 'copy the database first, where there is something in it: there is no way back',
    });
  await checkClock(named, config, using.now, findings);
  return { connections: named, schema };
}

async function checkCluster(
  config: Config,
  { packageDirectory, now, fileSystemAt }: CheckUsing,
  findings: Findings,
): Promise<CheckedDatabase | 'none' | undefined> {
  const { directory, binaries, runAs, waitMs } = config.database;
  const where = `database.directory: ${directory}`;
  const given = {
    ...(binaries === undefined ? {} : { binariesDirectory: binaries }),
    ...(runAs === undefined ? {} : { runAs }),
  };
  const cluster = await findings.attempt({ code: 'cluster', where }, () =>
    inspectCluster({ directory, packageDirectory, ...given }, fileSystemAt),
  );
  if (cluster !== undefined)
    for (const { what, remedy } of cautionsOf(cluster.place, CLUSTER_BYTES))
      findings.add('warning', { code: 'place', where, what, do: remedy });
  switch (cluster?.state) {
    case undefined:
      return undefined;
    case 'none':
      findings.add('note', {
        code: 'cluster',
        where,
        what: 'there is no database yet: the first start makes it',
        do: 'nothing, where this is a first start; else name the directory of the database that there is',
      });
      return 'none';
    case 'stopped':
      findings.add('note', {
        code: 'not-looked-into',
        where,
        what: 'the database does not run, and a check starts none: its schema, its log and its clock were not looked into',
        do: 'run the check again while the daemon runs, where you want to know',
      });
      return undefined;
    case 'running': {
      const { owner, daemon } = cluster.connections;
      const { faults, schema } = await lookAtDatabase({ daemon, owner }, waitMs);
      for (const fault of faults) findings.error(fault, { code: 'database', where });
      if (schema === undefined || faults.length > 0) return undefined;
      await checkClock({ daemon }, config, now, findings);
      return { connections: { daemon, owner }, schema };
    }
  }
}

async function checkClock(
  { daemon }: DatabaseConnections,
  { database }: Config,
  now: () => Date,
  findings: Findings,
): Promise<void> {
  const where = 'the clock';
  const apartMs = await findings.attempt({ code: 'database', where }, () =>
    clocksApart(daemon, now, database.waitMs),
  );
  if (apartMs === undefined) return;
  const seconds = Math.round(Math.abs(apartMs) / 100) / 10;
  findings.add('warning', {
    code: 'clock',
    where,
    what: `the clock of this machine is ${seconds} seconds ${apartMs > 0 ? 'ahead of' : 'behind'} that of the database: the daemon would begin and end nothing`,
    do: 'set both by one time server',
  });
}

/**
 * Holds the log in the database against the key and the memory of the token, and the policies there against the signatures of their
 * administrators, from the first ones on.
 */
export async function checkLogOf(
  database: CheckedDatabase | 'none',
  token: { readonly origin: string; readonly vkey: string; readonly anchor: Anchor },
  { config, administrators }: { readonly config: Config; readonly administrators: Policy | undefined },
  findings: Findings,
): Promise<void> {
  const { waitMs } = config.database;
  const { origin, vkey, anchor } = token;
  const about = { code: 'log', where: 'the log' } as const;
  if (database === 'none' || !database.schema.isMade) {
    await findings.attempt(about, () => requireNoLog(origin, anchor));
    return;
  }
  if (database.schema.pending.length > 0) {
    findings.add('note', {
      code: 'not-looked-into',
      where: 'the log',
      what: 'it stands in an older schema, and was not held against what the token remembers',
      do: 'nothing: the start does so once it has migrated',
    });
    return;
  }
  await findings.attempt(about, () =>
    requireKnownLog(database.connections.daemon, { origin, vkey }, anchor, waitMs),
  );
  if (administrators === undefined) return;
  await findings.attempt({ code: 'policy', where: 'the policy in the database' }, () =>
    withPolicies(database.connections.daemon, waitMs, async (store) => {
      const trust = { statements: statementVerifier, logKey: vkey };
      await new Directory(store, parsePolicy, administrators, trust, config.policyFloor).current();
    }),
  );
}
