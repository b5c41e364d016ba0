import { join } from 'node:path';

import type { GrantReply, KeyReply } from '../../src/api/replies.js';
import { keptLog } from '../support/operatorLines.js';
import { LogDamaged } from '../../src/postgres/faults.js';
import { acceptLoss } from '../../src/token/ceremony/acceptLoss.js';
import type { Programs } from '../support/databaseCopies.js';
import { COPIES } from '../support/databaseCopies.js';
import { postgresPrograms, replicatingServer } from '../support/postgresPrograms.js';
import type { System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { filed, granted, toOperate } from './recoveries.js';
import { refusalOf } from './refusals.js';
import type { SecondDaemon } from './secondDaemon.js';
import { at, secondDaemon } from './secondDaemon.js';
import { post, sendExactly, signed } from './signedRequests.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

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
const daemons: SecondDaemon[] = [];

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
  for (const daemon of daemons.splice(0)) await daemon.stop();
});
afterAll(() => system.remove());

/** Starts a daemon on the database in `directory`, with the configuration and the token of the system. */
function daemonOn(directory: string): SecondDaemon {
  const daemon = secondDaemon(system, { directory });
  daemons.push(daemon);
  return daemon;
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
    await sendExactly(at(system, url ?? ''), prepared);
    // by itself, at the next anchoring; nobody needs to ask for anything
    expect(await system.failed()).toBeInstanceOf(LogDamaged);
    expect(alarms()).toContain('log-damaged');
    expect(await refusalOf(filed(system, toOperate(key)))).toBe('log-unavailable');
    await system.stopDaemon();

    await copy.stop();
    const refused = await system.startDaemon().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(LogDamaged);
    const place = { ...system.hsm.place, userPin: Buffer.from(system.hsm.userPin) };
    await acceptLoss({
      ...place,
      now: new Date(),
      before: { events: [], checkValues: new Map(), fingerprints: new Map() },
    });
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
