import type { GrantReply, KeyReply } from '../../src/api/replies.js';
import { keptLog } from '../support/operatorLines.js';
import type { System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { until } from '../support/waiting.js';
import { filed, granted, toOperate } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * A daemon whose clock is wrong: by it the grant would be over, the request too late, and the delay past. Nothing ends and
 * nothing begins; everybody is told, and when the clock is right again it goes on by itself.
 */

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const OFF = {
  '6 seconds ahead': 6_000,
  '6 seconds behind': -6_000,
  '12 minutes ahead': 12 * MINUTE_MS,
  'a day ahead': DAY_MS,
};
const quorum = { atLeast: 2, of: ['manager', 'role:security-officer'] };
const RULES = [
  {
    name: 'at-once',
    when: { use: 'sign' },
    depositaries: quorum,
    operate: { operations: ['sign'], maxUses: 100, maxDuration: 'PT24H' },
  },
  {
    name: 'delayed',
    when: { use: 'decrypt' },
    depositaries: quorum,
    operate: {
      operations: ['decrypt'],
      maxUses: 100,
      maxDuration: 'PT24H',
      delay: 'PT5M',
      ownerMayVeto: true,
    },
  },
];

let system: System;
let aheadMs = 0;
let key: KeyReply;
let grant: GrantReply;
let pending: string;
let delayed: string;
const operators = keptLog();
const alarms = (): readonly unknown[] => operators.lines.map(({ alarm }) => alarm);
const messages = [Buffer.from('an invoice').toString('base64url')];

describe('with the clocks compared', () => {
  beforeAll(async () => {
    system = await makeSystem({
      operatorLog: operators.log,
      aheadMs: () => aheadMs,
      config: () => ({ housekeepingMs: 50 }),
    });
    await system.applyRules(RULES);
    key = (await system.client('owner').generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' })).result;
    grant = await granted(system, key, { maxUses: 100, duration: 'PT10M' });
    pending = (await filed(system, toOperate(key, {}, 'PT10M'))).recovery;
    const secret = await system
      .client('owner')
      .generateKey({ owner: 'owner', spec: 'rsa-2048', use: 'decrypt' });
    const scope = { operations: ['decrypt'], mechanisms: ['RSA-OAEP'] } as const;
    delayed = (await filed(system, toOperate(secret.result, scope))).recovery;
    for (const by of ['manager', 'officer-1'] as const) await system.approve(by, delayed);
  });
  afterAll(() => system.remove());

  /** Resolves when the daemon says that its clock is off, or that it is not. */
  async function found(isOff: boolean): Promise<void> {
    await until(async () => {
      const { problems } = await system.health();
      return problems.some((problem) => problem.includes('The clock of this daemon')) === isOff;
    });
  }

  const CALLS: Readonly<Record<string, () => Promise<unknown>>> = {
    'a signature': () => system.client('app').sign(grant.grant, { mechanism: 'ES256', messages }),
    'a key': () => system.client('owner').generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' }),
    'a request': () => filed(system, toOperate(key)),
    'a veto': () => system.client('owner').veto(delayed, 'no'),
    'a revocation': () => system.client('owner').revoke(grant.grant, 'no'),
    'an activation': () => system.client('app').activate(delayed),
    'a look at a request': () => system.client('owner').recovery(pending),
  };

  async function standing(): Promise<readonly string[]> {
    const shown = await Promise.all([pending, delayed].map((id) => system.client('owner').recovery(id)));
    const { status } = await system.client('owner').grant(grant.grant);
    return [...shown.map((one) => one.status), status];
  }

  describe.each(Object.entries(OFF))('a clock that is %s', (_how, off) => {
    test('ends nothing and begins nothing, and the daemon goes on by itself when it is right', async () => {
      operators.lines.length = 0;
      const before = await entriesFrom(system, 0);
      aheadMs = off;
      await found(true);
      expect(alarms()).toContain('clock-differs');
      const refusals = await Promise.all(
        Object.entries(CALLS).map(async ([what, call]) => [what, await refusalOf(call())]),
      );
      expect(refusals).toEqual(Object.keys(CALLS).map((what) => [what, 'clock-differs']));
      expect((await system.health()).status).toBe('not ready');
      aheadMs = 0;
      await found(false);
      expect(await standing()).toEqual(['pending', 'approved', 'active']);
      // what it refused meanwhile stands nowhere: nobody knows at which time
      expect(await entriesFrom(system, before.length)).toEqual([]);
      await CALLS['a signature']?.();
      await expectLogHolds(system);
    });
  });

  test('a caller whose clock is off as the daemon’s is ends nothing either, and no entry has a time that is wrong', async () => {
    const { recovery } = await filed(system, toOperate(key, {}, 'PT10M'));
    const before = await entriesFrom(system, 0);
    const off = 30 * MINUTE_MS;
    aheadMs = off;
    await found(true);
    const now = (): Date => new Date(Date.now() + off);
    const manager = await system.identity('manager').connect({ deadlineMs: 30_000, repeatForMs: 0, now });
    try {
      expect(await refusalOf(manager.cancel(recovery, 'not needed'))).toBe('clock-differs');
    } finally {
      manager.close();
    }
    aheadMs = 0;
    await found(false);
    expect(await entriesFrom(system, before.length)).toEqual([]);
    // by a time half an hour ahead the requests seen before it would be forgotten, and the grant over
    await CALLS['a signature']?.();
    await expectLogHolds(system);
  });

  test('a daemon that is started with a clock that is off serves nobody until it is right', async () => {
    await system.stopDaemon();
    aheadMs = DAY_MS;
    await system.startDaemon();
    await found(true);
    expect(await refusalOf(CALLS['a signature']?.() ?? Promise.resolve())).toBe('clock-differs');
    aheadMs = 0;
    await found(false);
    expect(await standing()).toEqual(['pending', 'approved', 'active']);
    await CALLS['a signature']?.();
    await expectLogHolds(system);
  });
});

test('the control: where nobody compares the clocks, a day ahead ends them all', async () => {
  let movedMs = 0;
  const all = await makeSystem({
    now: () => new Date(Date.now() + movedMs),
    config: () => ({ housekeepingMs: 50 }),
  });
  try {
    const { result } = await all
      .client('owner')
      .generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' });
    const { recovery } = await filed(all, toOperate(result, {}, 'PT10M'));
    movedMs = DAY_MS;
    await until(async () => (await entriesFrom(all, 0)).some(({ act }) => act === 'recovery.expire'));
    expect(await all.client('owner').recovery(recovery)).toMatchObject({ status: 'expired' });
  } finally {
    await all.remove();
  }
});
