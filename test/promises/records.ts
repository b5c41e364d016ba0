import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import pkcs11 from 'pkcs11js';

import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';
import type { Standing } from '../support/replay.js';
import { openRaw } from '../support/rawToken.js';
import { onConnection } from '../support/postgres.js';
import type { System } from '../support/system.js';

/** Everything that acts change: the records, and how many objects stand in the token. */
export interface Records {
  readonly policies: readonly object[];
  readonly deposits: readonly object[];
  readonly recoveries: readonly object[];
  readonly grants: readonly object[];
  readonly openActs: readonly object[];
  readonly tokenObjects: number;
}

/** Reads it all, past the daemon. The daemon runs in this process. */
export async function recordsOf(system: System): Promise<Records> {
  return onConnection(databaseOf(system), async (ask) => ({
    policies: await ask('select version, hash from policy order by version'),
    deposits: await ask('select key, document::text from deposit order by key'),
    recoveries: await ask('select id, revision, status, document::text from recovery order by id'),
    grants: await ask('select id, used, status, scope::text from grant_ order by id'),
    openActs: await ask('select id from open_act'),
    tokenObjects: countObjects(system),
  }));
}

/** Where everything stands by the records, past the daemon. */
export async function standingOf(system: System): Promise<Standing> {
  return onConnection(databaseOf(system), async (ask) => {
    const policies = await ask<{ version: number; hash: string }>(
      'select version, hash from policy order by version',
    );
    const deposits = await ask<{ key: string; digest: string }>(
      `select key, document ->> 'digest' as digest from deposit`,
    );
    const recoveries = await ask<{ id: string; status: string }>(
      `select id, document #>> '{state,status}' as status from recovery`,
    );
    const grants = await ask<{ id: string; status: string; used: number }>(
      'select id, status, used from grant_',
    );
    return {
      policies: policies.map(({ version, hash }) => [version, hash] as const),
      deposits: Object.fromEntries(deposits.map(({ key, digest }) => [key, digest])),
      recoveries: Object.fromEntries(recoveries.map(({ id, status }) => [id, status])),
      grants: Object.fromEntries(grants.map(({ id, status, used }) => [id, [status, used] as const])),
    };
  });
}

/** The private database of a system, as its owner. */
export function databaseOf(system: System): ConnectionSettings {
  const directory = join(system.directory, 'postgres');
  const { owner } = JSON.parse(readFileSync(join(directory, 'passwords.json'), 'utf8')) as { owner: string };
  return {
    host: join(directory, 'socket'),
    port: 5432,
    user: 'escrowd_owner',
    password: owner,
    database: 'escrowd',
  };
}

/** All but the log's anchor, a data object, which moves by itself. */
function countObjects(system: System): number {
  const raw = openRaw(system.hsm, 'as is'); // the daemon is logged in, and with it this process
  try {
    const anchors = raw.find([{ type: pkcs11.CKA_CLASS, value: pkcs11.CKO_DATA }]);
    return raw.find([]).length - anchors.length;
  } finally {
    raw.close();
  }
}
