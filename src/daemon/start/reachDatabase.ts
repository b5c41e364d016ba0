import { setTimeout as pause } from 'node:timers/promises';

import type { Connection } from '../../postgres/connection.js';
import { DatabaseAway, DatabaseRefused } from '../../postgres/faults.js';
import type { SchemaState } from '../../postgres/schema/migrate.js';
import { lookAtServer, type ServerWarning } from '../../postgres/serverCheck.js';
import { backOffMs } from '../../system/backOff.js';
import type { Config } from '../config.js';

/** A database, and the roles that a daemon connects as. */
export interface DatabaseConnections {
  readonly daemon: Connection;
  /** Makes the schema; without it, it must be there. */
  readonly owner?: Connection | undefined;
}

/** What was found of a database. */
export interface DatabaseLook {
  /** Each an error that a start throws; the first first. */
  readonly faults: readonly Error[];
  readonly warnings: readonly ServerWarning[];
  readonly schema: SchemaState | undefined;
}

/** The connections that the environment names; undefined when the database is the daemon's own. */
export function namedDatabase({
  databaseUrl,
  databaseOwnerUrl,
}: Pick<Config, 'databaseUrl' | 'databaseOwnerUrl'>): DatabaseConnections | undefined {
  if (databaseUrl === undefined) return undefined;
  return { daemon: databaseUrl, owner: databaseOwnerUrl };
}

/** Looks at a database as both of its roles; see {@link lookAtServer}. Changes nothing, and never rejects. */
export async function lookAtDatabase(
  { daemon, owner }: DatabaseConnections,
  connectMs: number,
): Promise<DatabaseLook> {
  const isMigrated = owner !== undefined;
  const asDaemon = await lookAtServer(daemon, { as: 'daemon', isMigrated, connectMs });
  if (owner === undefined) return asDaemon;
  const asOwner = await lookAtServer(owner, { as: 'owner', isMigrated, connectMs });
  const areApart =
    asDaemon.database !== undefined &&
    asOwner.database !== undefined &&
    asDaemon.database !== asOwner.database;
  const apart = new DatabaseRefused(
    'database-missing',
    'DATABASE_URL and DATABASE_OWNER_URL lead to different databases',
    'name the same host, port and database in both',
  );
  // as both roles the same is found: it is told once
  const told = new Set(asDaemon.faults.map(({ message }) => message));
  const more = asOwner.faults.filter(({ message }) => !told.has(message));
  return {
    faults: [...asDaemon.faults, ...more, ...(areApart ? [apart] : [])],
    warnings: asDaemon.warnings,
    schema: asDaemon.schema ?? asOwner.schema,
  };
}

const RESTS = { firstMs: 500, longestMs: 5_000 } as const;

/**
 * Waits until a database is there that a daemon can work on: one that does not answer yet is asked again, until `startMs` are over.
 *
 * @throws the first fault, at once when another try changes nothing; the reason of `stop`
 */
export async function reachDatabase(
  connections: DatabaseConnections,
  {
    connectMs,
    startMs,
    stop,
    tell,
  }: {
    readonly connectMs: number;
    readonly startMs: number;
    readonly stop: AbortSignal | undefined;
    readonly tell: (message: string) => void;
  },
): Promise<void> {
  const deadline = performance.now() + startMs;
  for (let failures = 1; ; failures += 1) {
    stop?.throwIfAborted();
    const { faults, warnings } = await lookAtDatabase(connections, connectMs);
    const fault = faults.find((each) => !(each instanceof DatabaseAway)) ?? faults[0];
    if (fault === undefined) {
      for (const { what, do: remedy } of warnings) tell(`${what}; ${remedy}`);
      return;
    }
    if (!(fault instanceof DatabaseAway)) throw fault;
    const restMs = backOffMs(failures, RESTS);
    if (performance.now() + restMs >= deadline)
      throw new DatabaseAway(`${fault.message}; it was tried for ${startMs} ms (database.startMs)`, {
        cause: fault,
      });
    if (failures === 1) tell(`${fault.message}; it is tried for ${startMs} ms (database.startMs)`);
    await pause(restMs, undefined, stop === undefined ? {} : { signal: stop }).catch(() => undefined);
  }
}
