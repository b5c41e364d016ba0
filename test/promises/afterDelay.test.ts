import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { approve, believeRecovery } from '../../src/client/depositary/depositary.js';
import { NotYet } from '../../src/client/errors.js';
import type { DueRecovery } from '../../src/client/depositary/dueRecovery.ts';
import { cancelProven, revokeProven, stopProven, vetoProven } from '../../src/client/ends.js';
import { signStop } from '../../src/client/stop.js';
import type { ApprovalOrder, KeyOrder } from '../../src/api/orders.js';
import type { KeyReply } from '../../src/api/replies.js';
import { grantOf } from '../support/oneKey.js';
import type { PersonName, System } from '../support/system.js';
import { intentBy, makeSystem } from '../support/system.js';
import { until } from '../support/waiting.js';
import { filed, toOperate, toRelease } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/** Who was told of this request that it can be approved now, as the file has it. */
function toldOf(recovery: string): readonly string[] {
  const file = join(system.directory, 'notices.ndjson');
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; to: string; subject: { recovery?: string } })
    .filter(({ kind, subject }) => kind === 'approval-due' && subject.recovery === recovery)
    .map(({ to }) => to);
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const twoOfThree = { atLeast: 2, of: ['manager', 'role:security-officer'] };
const usual = { operations: ['sign'], maxUses: 100, maxDuration: 'PT24H' };
const slow = { delay: 'PT4H', ownerMayVeto: true, replies: 'afterDelay' };
const RULES = [
  {
    name: 'slow-use',
    when: { 'key.spec': 'ec-p256' },
    depositaries: twoOfThree,
    operate: { ...usual, ...slow },
  },
  { name: 'slow-release', when: { use: 'decrypt' }, depositaries: twoOfThree, release: slow },
  {
    name: 'at-once',
    when: { 'key.spec': 'ec-p384' },
    depositaries: twoOfThree,
    operate: { ...usual, delay: 'PT4H' },
  },
];

let system: System;
let nowMs = Date.now();
let slowUse: KeyReply;
let slowRelease: KeyReply;
let atOnce: KeyReply;

beforeAll(async () => {
  system = await makeSystem({
    now: () => new Date(nowMs),
    config: (_hsm, directory) => ({
      housekeepingMs: 3_600_000,
      notifications: { file: { path: join(directory, 'notices.ndjson') } },
    }),
  });
  await system.applyRules(RULES);
  const make = async (spec: KeyOrder['spec'], use: KeyOrder['use']): Promise<KeyReply> =>
    (await system.client('admin-1').generateKey({ owner: 'owner', spec, use })).result;
  slowUse = await make('ec-p256', 'sign');
  slowRelease = await make('aes-256', 'decrypt');
  atOnce = await make('ec-p384', 'sign');
});
afterEach(async () => {
  await expectLogHolds(system);
});
afterAll(() => system.remove());

/** A request that stands for two days. */
async function ask(key = slowUse): Promise<string> {
  const scope = { mechanisms: [key === atOnce ? 'ES384' : 'ES256'] } as const;
  const order = key === slowRelease ? toRelease(key, 'P2D') : toOperate(key, scope, 'P2D');
  return (await filed(system, order)).recovery;
}

/** What the depositary's own client says instead of making an approval. */
async function notYet(name: PersonName, recovery: string): Promise<string> {
  const error: unknown = await system.makeApproval(name, recovery).catch((reason: unknown) => reason);
  return error instanceof NotYet ? error.code : `another: ${String(error)}`;
}

/** The approval of somebody whose client does not wait. */
async function impatient(name: PersonName, id: string): Promise<ApprovalOrder> {
  const identity = system.identity(name);
  const client = system.client(name);
  const { origin, identityKey } = identity.pins;
  const now = new Date(nowMs);
  const { generations, approvedKeys } = identity;
  const trust = {
    origin,
    identityKey,
    depositary: name,
    log: identity.logView(client),
    now,
    generations,
    approvedKeys,
  };
  const believed = await believeRecovery(await client.recovery(id), trust);
  return approve(believed as DueRecovery, identity.signer, await identity.depositaryOpener(), now);
}

async function actsOn(recovery: string): Promise<readonly string[]> {
  return (await entriesFrom(system, 0))
    .filter(({ subject, phase }) => subject.recovery === recovery && phase !== 'attempted')
    .filter(({ act }) => act.startsWith('recovery.'))
    .map(({ act, phase, actor, error }) => `${actor} ${act} ${error ?? phase}`);
}

test('intents, the end of the delay, approvals: then the keys are back in the same call', async () => {
  const recovery = await ask();
  expect(await system.client('owner').recovery(recovery)).toMatchObject({
    replies: 'afterDelay',
    intendedBy: [],
  });
  expect(await notYet('manager', recovery)).toBe('intents-incomplete');
  const first = await system.intend('manager', recovery);
  expect(first).toMatchObject({ status: 'pending', intendedBy: ['manager'], approvedBy: [] });
  expect(first.repliesFrom).toBeUndefined();
  expect(await notYet('manager', recovery)).toBe('intents-incomplete');
  nowMs += HOUR_MS;
  const { repliesFrom, status } = await system.intend('officer-1', recovery);
  // counted from the one that completed the quorum
  expect({ repliesFrom, status }).toEqual({
    repliesFrom: new Date(nowMs + 4 * HOUR_MS).toISOString(),
    status: 'pending',
  });

  nowMs += 4 * HOUR_MS - 1000;
  expect(await notYet('manager', recovery)).toBe('delay-running');
  const early = await impatient('manager', recovery);
  expect(await refusalOf(system.client('manager').sendApproval(recovery, early))).toBe('delay-running');
  expect((await system.client('manager').recovery(recovery)).approvedBy).toEqual([]);

  // what began the delay is known to a daemon that starts anew
  await system.stopDaemon();
  await system.startDaemon();
  nowMs += 2000;
  expect((await system.approve('manager', recovery)).status).toBe('pending');
  const active = await system.approve('officer-1', recovery);
  expect(active.status).toBe('active');
  const messages = [Buffer.from('a letter').toString('base64url')];
  await system.client('app').sign(grantOf(active), { mechanism: 'ES256', messages });
  expect(await actsOn(recovery)).toEqual([
    'manager recovery.request done',
    'manager recovery.intend done',
    'officer-1 recovery.intend done',
    'manager recovery.approve delay-running',
    'manager recovery.approve done',
    'officer-1 recovery.approve done',
    'escrowd recovery.activate done',
  ]);
});

test('who is to approve is told when the delay is over, also when no daemon was there then, and once', async () => {
  const recovery = await ask();
  for (const name of ['manager', 'officer-1'] as const) await system.intend(name, recovery);
  const vetoed = await ask();
  for (const name of ['manager', 'officer-1'] as const) await system.intend(name, vetoed);
  await system.client('owner').veto(vetoed, 'I am here');
  await system.stopDaemon();
  nowMs += 5 * HOUR_MS;
  await system.startDaemon();
  await until(() => toldOf(recovery).length === 2);
  // it keeps house before it serves, and once more there is nothing to tell
  await system.stopDaemon();
  await system.startDaemon();
  await system.approve('manager', recovery);
  expect((await system.approve('officer-1', recovery)).status).toBe('active');
  expect((await actsOn(recovery)).filter((act) => act.includes('remind'))).toEqual([
    'escrowd recovery.remind done',
  ]);
  expect(toldOf(recovery)).toEqual(['manager', 'officer-1']);
  expect(toldOf(vetoed)).toEqual([]);
});

test('intents and a veto: no secret has left anybody, and none does', async () => {
  const recovery = await ask(slowRelease);
  await system.intend('manager', recovery);
  await system.intend('officer-1', recovery);
  const owner = system.client('owner');
  const log = system.identity('owner').logView(owner);
  const { result } = await vetoProven(owner, log, recovery, 'I am here');
  expect(result.status).toBe('vetoed');
  nowMs += DAY_MS;
  for (const name of ['manager', 'officer-1'] as const) {
    await expect(system.makeApproval(name, recovery)).rejects.toMatchObject({ code: 'attestation-missing' });
    await expect(system.intend(name, recovery)).rejects.toMatchObject({ code: 'attestation-missing' });
  }
  const acts = await actsOn(recovery);
  expect(acts.filter((act) => act.includes('recovery.approve'))).toEqual([]);
  expect(acts.at(-1)).toBe('owner recovery.veto done');
});

test('a release: the recipient fetches it as soon as the approvals are there', async () => {
  const recovery = await ask(slowRelease);
  await system.intend('manager', recovery);
  await system.intend('officer-2', recovery);
  nowMs += 4 * HOUR_MS;
  await system.approve('manager', recovery);
  expect(await refusalOf(system.client('manager').release(recovery))).toBe('quorum-incomplete');
  await system.approve('officer-2', recovery);
  expect((await system.client('manager').release(recovery)).result.keys).toHaveLength(1);
});

test('who has not said that they intend to does not approve; when they do, the delay is theirs', async () => {
  const recovery = await ask();
  await system.intend('manager', recovery);
  await system.intend('officer-1', recovery);
  nowMs += 5 * HOUR_MS;
  const hasty = await impatient('officer-2', recovery);
  expect(await notYet('officer-2', recovery)).toBe('intents-incomplete');
  expect(await refusalOf(system.client('officer-2').sendApproval(recovery, hasty))).toBe(
    'intents-incomplete',
  );
  expect((await system.intend('officer-2', recovery)).repliesFrom).toBe(
    new Date(nowMs + 4 * HOUR_MS).toISOString(),
  );
  expect(await notYet('officer-2', recovery)).toBe('delay-running');
  expect((await system.approve('manager', recovery)).status).toBe('pending');
  nowMs += 4 * HOUR_MS;
  expect((await system.approve('officer-2', recovery)).status).toBe('active');
});

test('who denies after all has no intent any more', async () => {
  const recovery = await ask();
  await system.intend('manager', recovery);
  await system.intend('officer-1', recovery);
  await system.deny('manager', recovery, 'the owner is at their desk');
  expect(await system.client('officer-1').recovery(recovery)).toMatchObject({ intendedBy: ['officer-1'] });
  nowMs += 5 * HOUR_MS;
  expect(await notYet('officer-1', recovery)).toBe('intents-incomplete');
  const hasty = await impatient('officer-1', recovery);
  expect(await refusalOf(system.client('officer-1').sendApproval(recovery, hasty))).toBe(
    'intents-incomplete',
  );
});

test('an intent is said once, where one is asked for, and is no approval', async () => {
  const recovery = await ask();
  await system.intend('manager', recovery);
  expect(await refusalOf(system.intend('manager', recovery))).toBe('approval-duplicate');
  const other = await ask(atOnce);
  expect(await refusalOf(system.intend('manager', other))).toBe('intent-not-needed');
  await system.client('manager').cancel(other, 'seen enough');
  const { replies } = await impatient('officer-1', recovery);
  const client = system.client('officer-1');
  const by = { identity: system.identity('officer-1'), client, now: new Date(nowMs) };
  const { statement } = await intentBy(by, recovery);
  expect(await refusalOf(client.sendApproval(recovery, { statement, replies }))).toBe('intents-incomplete');
  const approval = await impatient('officer-1', recovery);
  expect(await refusalOf(client.sendIntent(recovery, { statement: approval.statement }))).toBe(
    'approval-signature-invalid',
  );
});

test('a request that does not outlive the delay could never be approved, and is refused', async () => {
  const order = toOperate(slowUse, {}, 'PT4H');
  expect(await refusalOf(system.client('manager').requestRecovery(order))).toBe('scope-not-allowed');
});

test('a cancellation, an end by administrators and a revocation are proven, as a veto is', async () => {
  const of = (name: PersonName) => {
    const client = system.client(name);
    return [client, system.identity(name).logView(client)] as const;
  };
  const [first, second, third] = [await ask(), await ask(), await ask()];
  expect((await cancelProven(...of('manager'), first, 'not needed')).result.status).toBe('cancelled');
  const { requestHash = '' } = await system.client('admin-1').recovery(second);
  const statements = await Promise.all(
    (['admin-1', 'admin-2'] as const).map((name) => {
      const { signer, pins } = system.identity(name);
      const about = { recovery: second, requestHash, reason: 'nobody knows who asked' };
      return signStop(signer, { ...about, logKey: pins.logKey, now: new Date(nowMs), lifetimeMs: HOUR_MS });
    }),
  );
  expect((await stopProven(...of('admin-2'), second, { statements })).result.status).toBe('cancelled');
  for (const name of ['manager', 'officer-1'] as const) await system.intend(name, third);
  nowMs += 4 * HOUR_MS;
  await system.approve('manager', third);
  const grant = grantOf(await system.approve('officer-1', third));
  expect((await revokeProven(...of('owner'), grant, 'back at work')).result.status).toBe('revoked');
});
