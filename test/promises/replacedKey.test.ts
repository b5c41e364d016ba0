import { type KeyObject, createPrivateKey } from 'node:crypto';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { KeyReply, RecoveryReply } from '../../src/api/replies.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import { keysLeft } from '../../src/client/resealing/resealJob.js';
import { newId } from '../../src/escrow/records/ids.js';
import { type CeremonyRecord, readRecord } from '../../src/token/ceremony/record.js';
import { replace } from '../../src/token/ceremony/replace.js';
import { type Retirement, retire } from '../../src/token/ceremony/retire.js';
import { ClosureAttack } from '../support/closure.js';
import { type DatabaseDump, dumpDatabase } from '../support/databaseDump.js';
import { freshBytes } from '../support/fresh.js';
import { makeKey } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import { openDeposit, tokenKeys } from '../support/openedDeposit.js';
import type { PersonName, System } from '../support/system.js';
import { makeSystem, RULES } from '../support/system.js';
import { makeDepositary } from '../support/testToken.js';
import { proofOf } from '../token/ceremony/proof.js';
import { until } from '../support/waiting.js';
import { filed, toOperate } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { expectLogHolds } from './wholeLog.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * officer-2 gets another key, and then leaves: which keys can be brought back by whom, before and after each step of the order that
 * `ceremony replace --help` and `ceremony retire --help` give.
 */
let system: System;
let record: CeremonyRecord;
/** What the directory lists of officer-2 by now. */
let listed: Readonly<Record<string, object>> = {};

const rulesOf = (depositaries: object): readonly unknown[] =>
  RULES.map((rule) => ({ ...(rule as object), depositaries }));
const WITH_OFFICER_2 = rulesOf({ allOf: ['person:manager', 'person:officer-2'] });
const WITHOUT = rulesOf({ allOf: ['person:manager', 'person:officer-1'] });

beforeAll(async () => {
  const operatorLog = createOperatorLog('error', true);
  operatorLog.silent = true; // a key that is gone, which it would tell
  system = await makeSystem({ operatorLog, config: () => ({ housekeepingMs: 200 }) });
  record = system.hsm.record();
  await system.applyRules(WITH_OFFICER_2);
});
afterAll(() => system.remove());

/** What people do at the ceremony, with every daemon stopped. */
async function ceremony(
  work: (order: Omit<Retirement, 'serverKeys'>) => Promise<CeremonyRecord>,
): Promise<void> {
  const { place, soPin, userPin } = system.hsm;
  await system.stopDaemon();
  record = await work({
    ...place,
    soPin: Buffer.from(soPin),
    userPin: Buffer.from(userPin),
    id: 'officer-2',
    now: new Date(),
    before: readRecord(JSON.stringify(record), place),
  });
  writeFileSync(join(system.directory, 'record.json'), JSON.stringify(record));
  await system.startDaemon();
}

async function asked(key: KeyReply): Promise<RecoveryReply> {
  const order = {
    purpose: 'reseal',
    keys: [key.key],
    reason: 'officer-2 has another key',
    validFor: 'PT1H',
    job: newId('JobId', freshBytes),
  } as const;
  return (await system.client('admin-1').requestRecovery(order)).result;
}

/** What comes of it when these two agree. */
async function agreed(recovery: string, second: PersonName): Promise<string> {
  await system.approve('manager', recovery);
  return (await system.approve(second, recovery)).status;
}
const backBy = async (key: KeyReply, second: PersonName): Promise<string> =>
  agreed((await filed(system, toOperate(key))).recovery, second);

/** Whether the token's keys as they are and these two open a key from what a database had. */
function opens(
  { key }: KeyReply,
  { dump, keys }: { readonly dump: DatabaseDump; readonly keys: ReadonlyMap<string, KeyObject> },
  token = tokenKeys(system.hsm),
): boolean {
  const wanted = dump.deposits.filter((deposit) => deposit.key === key);
  const secrets = wanted.flatMap((deposit) => openDeposit(deposit, keys, everyKey));
  const rows = dump.rows.filter(({ text }) => text.includes(key));
  const known = {
    rsa: [...keys.values(), ...token.serverFor.values()],
    aes: [...token.keks.values()],
  };
  const loot = new ClosureAttack({ ...dump, rows }).lootOf(known);
  expect(secrets).not.toHaveLength(0);
  return secrets.some(({ user }) => loot.has(user.toString('hex')));
}
/** The token with all that it ever had. */
let everyKey: ReturnType<typeof tokenKeys>;

test('a key that is replaced, and a depositary who leaves', async () => {
  const person = (id: PersonName): string => join(system.directory, 'people', id);
  const file = join(person('officer-2'), 'depositary-key.pem');
  const key = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  const other = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  const next = makeDepositary('officer-2');

  // the ceremony: what was sealed opens by the old key, and nothing is sealed before the policy lists the new one
  await ceremony((order) => replace({ ...order, ...proofOf(next) }));
  expect(await backBy(key, 'officer-2')).toBe('active');
  expect(await refusalOf(makeKey(system, { spec: 'ec-p256', use: 'sign' }))).toBe('depositary-not-enrolled');
  const enrolled = record.objects.find(({ label }) => label === 'depositary:officer-2');
  const { principals } = (await system.client('admin-1').policy()).document as {
    principals: readonly { readonly id: string }[];
  };
  const before = principals.find(({ id }) => id === 'officer-2');
  listed = { 'officer-2': { ...before, depositaryKey: enrolled?.fingerprint } };
  await system.applyRules(WITH_OFFICER_2, listed);

  // the keys that are to be sealed anew are found by it, and none is when they are
  const ofOldKey = async (): Promise<readonly string[]> =>
    (await keysLeft(system.client('admin-1'), { otherKey: 'officer-2' }, [])).keys.map(({ key: id }) => id);
  expect([...(await ofOldKey())].sort()).toEqual([key.key, other.key].sort());

  // the old key approves that keys are sealed anew, the new one cannot; what comes is for the new one
  const { recovery } = await asked(key);
  copyFileSync(file, `${file}.old`);
  writeFileSync(file, next.privateKeyPem, { mode: 0o600 });
  await expect(system.makeApproval('officer-2', recovery)).rejects.toThrow('does not open with this');
  copyFileSync(`${file}.old`, file);
  expect(await agreed(recovery, 'officer-2')).toBe('resealed');
  await expect(backBy(key, 'officer-2')).rejects.toThrow('does not open with this');
  expect(await ofOldKey()).toEqual([other.key]);
  expect(await agreed((await asked(other)).recovery, 'officer-2')).toBe('resealed');
  expect(await ofOldKey()).toEqual([]);
  writeFileSync(file, next.privateKeyPem, { mode: 0o600 });
  expect(await backBy(key, 'officer-2')).toBe('active');
  expect(await backBy(await makeKey(system, { spec: 'ec-p256', use: 'sign' }), 'officer-2')).toBe('active');

  // officer-2 leaves; one key is sealed to those who are left, of the other it is forgotten
  everyKey = tokenKeys(system.hsm);
  const keys = new Map<string, KeyObject>();
  for (const id of ['manager', 'officer-2'] as const) keys.set(id, await system.identity(id).depositaryKey());
  keys.set('officer-2', createPrivateKey(next.privateKeyPem));
  const copy = { dump: await dumpDatabase(system), keys };
  await system.applyRules(WITHOUT, listed);
  expect(await agreed((await asked(key)).recovery, 'officer-2')).toBe('resealed');
  expect(opens(key, copy)).toBe(true);
  await ceremony((order) => retire({ ...order, serverKeys: 'destroyed' }));
  expect(opens(key, copy)).toBe(false);
  expect(opens(key, copy, everyKey)).toBe(true); // a backup of the token
  expect(await backBy(key, 'officer-1')).toBe('active');

  // what was forgotten is lost, and ends as such
  const lost = await filed(system, toOperate(other));
  await system.approve('manager', lost.recovery);
  await system.approve('officer-2', lost.recovery).catch(() => undefined);
  await until(async () => (await system.client('admin-1').recovery(lost.recovery)).status === 'failed');
  const { ended } = await system.client('admin-1').recovery(lost.recovery);
  expect(ended?.reason).toContain('officer-2');
  await expectLogHolds(system);
});
