import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import type { GrantReply, KeyReply } from '../../src/api/replies.js';
import { ConnectedPeople } from '../support/connectedPeople.js';
import { keptLog } from '../support/operatorLines.js';
import { databaseEnvironment, query, startTestServer, type TestServer } from '../support/postgres.js';
import type { PersonName, System, SystemOptions } from '../support/system.js';
import { makeSystem, ORIGIN, PEOPLE } from '../support/system.js';
import { letPass, until } from '../support/waiting.js';
import { filed, granted, toOperate } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { secondDaemon } from './secondDaemon.js';
import { post, sendExactly, signed } from './signedRequests.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Two daemons on one database and one token. The clock of one goes 12 minutes ahead of the database's and of the other's: by it, the
 * requests that were seen could be forgotten, what was asked for is over, and the grant too.
 */
const AHEAD_MS = 12 * 60_000;
const ROUND_MS = 50;
const operators = keptLog();
const messages = [Buffer.from('an invoice').toString('base64url')];

/** A system whose daemon may be ahead, another daemon beside it whose clock is right, and everybody as they know that one. */
interface Two {
  readonly server: TestServer;
  readonly system: System;
  readonly people: ConnectedPeople<PersonName>;
  remove(): Promise<void>;
}

async function makeTwo(clock: Pick<SystemOptions, 'aheadMs' | 'now'>): Promise<Two> {
  const server = await startTestServer();
  const environment = databaseEnvironment(server);
  const system = await makeSystem({
    ...{ environment, operatorLog: operators.log, ...clock },
    config: () => ({ housekeepingMs: ROUND_MS }),
  });
  const other = secondDaemon(system, {}, environment);
  const url = await other.url;
  if (url === undefined) throw new Error(other.said());
  const people = await peopleOf(system, url);
  return {
    ...{ server, system, people },
    remove: async () => {
      people.close();
      await other.stop();
      await system.remove();
      await server.stop();
    },
  };
}

/** Everybody, as they know the daemon whose clock is right. */
async function peopleOf(system: System, url: string): Promise<ConnectedPeople<PersonName>> {
  const directory = join(system.directory, 'other');
  mkdirSync(directory);
  execFileSync('cp', [
    '-a',
    join(system.directory, 'people'),
    join(system.directory, 'server.crt'),
    directory,
  ]);
  const names = Object.keys(PEOPLE) as PersonName[];
  const all = new ConnectedPeople(directory, names, () => new Date());
  await all.connect(url, JSON.stringify(system.hsm.record()), ORIGIN);
  return all;
}

test('the daemon that is ahead begins and ends nothing, the other goes on and accepts nothing twice, and the log is believed', async () => {
  let aheadMs = 0;
  const two = await makeTwo({ aheadMs: () => aheadMs });
  const { server, system, people } = two;
  const found = (isOff: boolean): Promise<void> =>
    until(async () => {
      const { problems } = await system.health();
      return problems.some((problem) => problem.includes('The clock of this daemon')) === isOff;
    });
  try {
    const owner = system.client('owner');
    const key: KeyReply = (await owner.generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' })).result;
    const grant: GrantReply = await granted(system, key, { maxUses: 100, duration: 'PT10M' });
    const { recovery } = await filed(system, toOperate(key, {}, 'PT10M'));
    const there = { ...system, identity: people.identity };
    const [app, manager] = [people.client('app'), people.client('manager')];
    const request = post('/v1/recoveries', toOperate(key, {}, 'PT10M'));
    const prepared = await signed(system.identity('manager').signer, request, new Date());
    await sendExactly(there, prepared);
    const seen = async (): Promise<number> =>
      (await query<{ count: number }>(server.owner, 'select count(*)::int as count from request_seen'))[0]
        ?.count ?? 0;
    const before = await entriesFrom(system, 0);
    const remembered = await seen();

    aheadMs = AHEAD_MS;
    await found(true);
    expect(operators.lines.map(({ alarm }) => alarm)).toContain('clock-differs');
    const attempts = {
      'a signature': () => system.client('app').sign(grant.grant, { mechanism: 'ES256', messages }),
      'a key': () => owner.generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' }),
      'a request': () => filed(system, toOperate(key)),
      'a revocation': () => owner.revoke(grant.grant, 'no'),
      'a cancellation': () => system.client('manager').cancel(recovery, 'no'),
      'the same request again': () => sendExactly(system, prepared),
    };
    for (const [what, attempt] of Object.entries(attempts))
      expect([what, await refusalOf(attempt())]).toEqual([what, 'clock-differs']);
    // its rounds of housekeeping go on: nothing is forgotten in them, nor ended
    await letPass(20 * ROUND_MS);
    expect(await seen()).toBeGreaterThanOrEqual(remembered);
    expect(await refusalOf(sendExactly(there, prepared))).toBe('request-replayed');
    expect((await manager.recovery(recovery)).status).toBe('pending');
    expect((await app.sign(grant.grant, { mechanism: 'ES256', messages })).result.signatures).toHaveLength(1);
    await manager.requestRecovery(toOperate(key));

    aheadMs = 0;
    await found(false);
    const since = await entriesFrom(system, before.length);
    expect(since.map(({ act, phase }) => `${act} ${phase}`)).toEqual([
      'recovery.request denied',
      'grant.sign attempted',
      'grant.sign done',
      'recovery.request attempted',
      'recovery.request done',
    ]);
    const ahead = since.filter(({ time }) => Date.parse(time) > Date.now() + AHEAD_MS / 2);
    expect(ahead).toEqual([]);
    expect(await refusalOf(sendExactly(system, prepared))).toBe('request-replayed');
    await system.client('app').sign(grant.grant, { mechanism: 'ES256', messages });
    await expectLogHolds(system);
  } finally {
    await two.remove();
  }
});

test('the control: where nobody compares the clocks, what the daemon that is ahead ends has ended for the other', async () => {
  let movedMs = 0;
  const two = await makeTwo({ now: () => new Date(Date.now() + movedMs) });
  const { system, people } = two;
  try {
    const order = { owner: 'owner', spec: 'ec-p256', use: 'sign' } as const;
    const { result: key } = await system.client('owner').generateKey(order);
    const { recovery } = await filed(system, toOperate(key, {}, 'PT10M'));
    expect((await people.client('manager').recovery(recovery)).status).toBe('pending');
    movedMs = AHEAD_MS;
    await until(async () => (await people.client('manager').recovery(recovery)).status === 'expired');
  } finally {
    await two.remove();
  }
});
