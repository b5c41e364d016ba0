import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { chooseBinaries, systemPatterns } from '../../src/privatePostgres/binaries.js';
import { runDirectory } from './runDirectory.js';

/**
 * The directory of the server that private clusters are run with, where `pg_dump`, `pg_restore` and `pg_basebackup` lie beside
 * it, as in every installation of the system. The npm package brings the server alone: undefined beside that.
 */
export async function postgresPrograms(): Promise<string | undefined> {
  const { directory } = await chooseBinaries({
    ...{ configured: undefined, searchPath: process.env['PATH'], systemPatterns, neededMajor: undefined },
    ...{ packageDirectory: process.cwd(), copyInto: runDirectory(), user: undefined, timeoutMs: 60_000 },
  });
  const are = ['pg_dump', 'pg_restore', 'pg_basebackup'].every((name) => existsSync(join(directory, name)));
  return are ? directory : undefined;
}

/**
 * Makes a directory `into` with a `postgres` that base backups can be made of, and its `initdb`: `database.binaries` of a
 * daemon. The server of a private cluster takes part in no replication.
 */
export function replicatingServer(programs: string, into: string): string {
  mkdirSync(into);
  symlinkSync(join(programs, 'initdb'), join(into, 'initdb'));
  const postgres = `case "$1" in -D) set -- "$@" -c max_wal_senders=2 ;; esac\nexec '${programs}/postgres' "$@"\n`;
  writeFileSync(join(into, 'postgres'), `#!/bin/sh\n${postgres}`, { mode: 0o755 });
  return into;
}
