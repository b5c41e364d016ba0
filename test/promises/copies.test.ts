import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { parse, stringify } from 'yaml';

import type { Identity } from '../../src/client/identity/identity.js';
import type { GrantReply, KeyReply } from '../../src/api/replies.js';
import { keptLog } from '../support/operatorLines.js';
import { LogDamaged } from '../../src/postgres/faults.js';
import { acceptLoss } from '../../src/token/ceremony/acceptLoss.js';
import type { Programs } from '../support/databaseCopies.js';
import { COPIES } from '../support/databaseCopies.js';
import { postgresPrograms, replicatingServer } from '../support/postgresPrograms.js';
import { runTs } from '../support/runTs.js';
import { SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';
import type { System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { filed, granted, toOperate } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { post, sendExactly, signed } from './signedRequests.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';

/*
 * A restore drill, or a staging system, that was given the token of production: a daemon on a copy of the database. What it finds
 * in the token and not in its records is no stray.
 */

let programs: Programs;
let system: System;
let key: KeyReply;
let grant: GrantReply;
const operators = keptLog();
const alarms = (): readonly unknown[] => operators.lines.flatMap(({ alarm }) => alarm ?? []);
let copies = 0;
const children: ChildProcess[] = [];

beforeAll(async () => {
  programs = await postgresPrograms();
  system = await makeSystem({
    operatorLog: operators.log,
    config: (_hsm, directory) => ({
      ...{ anchorMs: 200, housekeepingMs: 86_400_000 },
      ...(programs === undefined
        ? {}
        : { database: { binaries: replicatingServer(programs, join(directory, 'binaries')) } }),
    }),
  });
  key = (await system.client('owner').generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' })).result;
  grant = await granted(system, key, { maxUses: 100 });
});
beforeEach(() => {
  operators.lines.length = 0;
});
afterEach(async () => {
  for (const child of children.splice(0)) await ended(child);
});
afterAll(() => system.remove());

/** A daemon on a copy: where it serves, or how it ended. */
interface OnCopy {
  readonly said: () => string;
  readonly url: Promise<string | undefined>;
  readonly exit: Promise<number | null>;
  /** As an operator stops it. */
  stop(): Promise<void>;
}

/** Starts a daemon on the database in `directory`, with the configuration and the token of the system. */
function daemonOn(directory: string): OnCopy {
  const config = parse(readFileSync(system.configFile, 'utf8')) as Record<string, Record<string, unknown>>;
  config['token'] = { ...config['token'], profile: SOFTHSM_PROFILE_FILE };
  config['database'] = { directory };
  const file = join(system.directory, `copy-${copies}.yaml`);
  writeFileSync(file, stringify(config));
  const child = runTs(join(__dirname, '..', '..', 'src', 'main.ts'), { args: ['--config', file] });
  children.push(child);
  let said = '';
  const exit = once(child, 'exit').then(([code]) => code as number | null);
  const url = new Promise<string | undefined>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const found = /"url":"(https:\/\/127\.0\.0\.1:\d+)"/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    void exit.then(() => {
      resolve(undefined);
    });
  });
  return { said: () => said, url, exit, stop: () => ended(child) };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

async function signs(): Promise<void> {
  const messages = [Buffer.from('an invoice').toString('base64url')];
  const { result } = await system.client('app').sign(grant.grant, { mechanism: 'ES256', messages });
  expect(result.signatures).toHaveLength(1);
}

describe.each(Object.entries(COPIES))('beside %s', (_kind, copyTo) => {
  let directory: string;

  beforeEach(async () => {
    await signs();
    // until a checkpoint covers all of it: the copy has everything that production has
    await expectLogHolds(system);
    directory = join(system.directory, `copy-${(copies += 1)}`);
    await copyTo(system, directory, programs);
  });

  test('production goes on when it was ahead: the copy does not start, says why, and takes nothing from the token', async () => {
    grant = await granted(system, key, { maxUses: 100 });
    const { recovery } = await filed(system, toOperate(key));
    const copy = daemonOn(directory);
    expect(await copy.exit).toBe(8);
    expect(copy.said()).toContain('"alarm":"log-damaged"');
    expect(copy.said()).toContain(
      'this is an older copy of the database, or a daemon uses this token on another one',
    );
    await signs();
    await system.approve('manager', recovery);
    expect(await system.approve('officer-1', recovery)).toMatchObject({ status: 'active' });
    expect(alarms()).toEqual([]);
  });

  test('production stops with an alarm when the copy was ahead, and people make it the one again', async () => {
    const copy = daemonOn(directory);
    const url = await copy.url;
    expect([url !== undefined, copy.said()]).toEqual([true, copy.said()]);
    const request = post('/v1/recoveries', toOperate(key));
    const prepared = await signed(system.identity('manager').signer, request, new Date());
    await sendExactly(at(url ?? ''), prepared);
    // by itself, at the next anchoring; nobody needs to ask for anything
    expect(await system.failed()).toBeInstanceOf(LogDamaged);
    expect(alarms()).toContain('log-damaged');
    expect(await refusalOf(filed(system, toOperate(key)))).toBe('log-unavailable');
    await system.stopDaemon();

    await copy.stop();
    const refused = await system.startDaemon().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(LogDamaged);
    const place = { ...system.hsm.place, userPin: Buffer.from(system.hsm.userPin) };
    await acceptLoss({ ...place, now: new Date(), before: { events: [], checkValues: new Map() } });
    await system.startDaemon();
    await signs();
    const losses = (await entriesFrom(system, 0)).filter(
      ({ act, phase }) => act === 'log.loss' && phase === 'done',
    );
    expect(losses.length).toBeGreaterThan(0);
    await expectLogHolds(system);

    // and the copy is the one that does not start any more
    expect(await daemonOn(directory).exit).toBe(8);
  });
});

/** The system, as who knows it finds the copy. */
function at(url: string): System {
  return {
    ...system,
    identity: (name) => {
      const { directory: people, pins, signer } = system.identity(name);
      // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- what is asked of it to send a request
      return { directory: people, pins: { ...pins, server: url }, signer } as Identity;
    },
  };
}
