import { type KeyObject, createPublicKey, verify } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { KeyReply, RecoveryReply } from '../../src/api/replies.js';
import { newId } from '../../src/escrow/records/ids.js';
import { destroyOlderKeks } from '../../src/token/ceremony/destroyKeks.js';
import { type CeremonyRecord, type Continued, readRecord } from '../../src/token/ceremony/record.js';
import { renew } from '../../src/token/ceremony/renew.js';
import type { Pins, TokenLocation } from '../../src/token/ceremony/ceremonySession.js';
import { type Ran, escrowctl, jsonOf } from '../cli/commandLine.js';
import { ClosureAttack } from '../support/closure.js';
import { type DatabaseDump, dumpDatabase, ownerOf } from '../support/databaseDump.js';
import { freshBytes } from '../support/fresh.js';
import { agree, makeKey, releaseToManager } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import { only } from '../support/oneKey.js';
import { openDeposit, tokenKeys } from '../support/openedDeposit.js';
import { keptLog } from '../support/operatorLines.js';
import { query } from '../support/postgres.js';
import type { PersonName, System } from '../support/system.js';
import { DEPOSITARIES, makeSystem } from '../support/system.js';
import { until } from '../support/waiting.js';
import { filed, granted, toOperate } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * A ciphertext under a key-encryption key has got about: a house is put under new ones, and the old ones are destroyed, in the order
 * that `ceremony destroy-kek --help` gives. One key after the other is taken through it.
 */
let system: System;
/** What the operator is told. */
let told: readonly Readonly<Record<string, unknown>>[];
let record: CeremonyRecord;
let signing: KeyReply;
let decrypting: KeyReply;
let secret: KeyReply;
/** One that is forgotten. */
let left: KeyReply;
/** What the database had before the rotation, and the keys that the token had. */
let old: {
  readonly dump: DatabaseDump;
  readonly token: ReturnType<typeof tokenKeys>;
  /** The deposit of one key. */
  readonly document: string;
};

const V1 = ['operate:sign', 'operate:decrypt', 'operate:secret', 'release:private', 'release:secret'].map(
  (kind) => `kek:${kind}:v1`,
);
const DECRYPT = { operations: ['decrypt'], mechanisms: ['RSA-OAEP'] } as const;

beforeAll(async () => {
  const { log, lines } = keptLog();
  told = lines;
  system = await makeSystem({ operatorLog: log, config: () => ({ housekeepingMs: 200 }) });
  record = system.hsm.record();
  await system.applyRules();
  signing = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  left = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  decrypting = await makeKey(system, { spec: 'rsa-2048', use: 'decrypt' });
  secret = await makeKey(system, { spec: 'aes-256', use: 'decrypt' });
});
afterAll(() => system.remove());

/** What people do at the ceremony, with every daemon stopped. */
async function ceremony(
  work: (order: TokenLocation & Pins & Continued) => Promise<CeremonyRecord>,
): Promise<void> {
  const { place, soPin, userPin } = system.hsm;
  await system.stopDaemon();
  record = await work({
    ...place,
    soPin: Buffer.from(soPin),
    userPin: Buffer.from(userPin),
    now: new Date(),
    before: readRecord(JSON.stringify(record), place),
  });
  writeFileSync(join(system.directory, 'record.json'), JSON.stringify(record));
  await system.startDaemon();
}

const run = (by: PersonName, ...argv: readonly string[]): Promise<Ran> =>
  escrowctl([...argv, '--as', join(system.directory, 'people', by)]);

interface Covered {
  readonly keks: readonly { readonly kek: string; readonly keys: number; readonly state: string }[];
  readonly totals: { readonly lost: number };
}
async function coverage(): Promise<{
  readonly exit: number;
  readonly under: readonly string[];
  readonly lost: number;
}> {
  const ran = await run('admin-1', 'coverage', '--json');
  const { keks, totals } = jsonOf(ran) as unknown as Covered;
  return {
    exit: ran.exit,
    under: keks.map(({ kek, keys, state }) => `${kek} ${keys} ${state}`),
    lost: totals.lost,
  };
}

/** A deposit as the database has it. */
async function documentOf({ key }: KeyReply): Promise<string> {
  const [row] = await query<{ document: object }>(
    await ownerOf(system),
    'select document from deposit where key = $1',
    [key],
  );
  return JSON.stringify(row?.document);
}

async function askToReseal(...keys: readonly KeyReply[]): Promise<RecoveryReply> {
  const order = {
    purpose: 'reseal',
    keys: keys.map(({ key }) => key).sort(),
    reason: 'the server was read',
    validFor: 'PT1H',
    job: newId('JobId', freshBytes),
  } as const;
  return (await system.client('admin-1').requestRecovery(order)).result;
}

/** Which keys all depositaries' keys and these of the token open, from what a database had. */
async function opened(dump: DatabaseDump, token: ReturnType<typeof tokenKeys>): Promise<readonly string[]> {
  const keys = new Map<string, KeyObject>();
  for (const id of DEPOSITARIES) keys.set(id, await system.identity(id).depositaryKey());
  const loot = new ClosureAttack(dump).lootOf({
    rsa: [...keys.values(), ...token.serverFor.values()],
    aes: [...token.keks.values()],
  });
  const users = old.dump.deposits.flatMap((deposit) => openDeposit(deposit, keys, old.token));
  expect(users).not.toHaveLength(0);
  return [
    ...new Set(users.filter(({ user }) => loot.has(user.toString('hex'))).map(({ key }) => key)),
  ].sort();
}

test('a whole house goes under new key-encryption keys as one job, and depositaries are shown from which to which', async () => {
  expect((await coverage()).under).toEqual([
    'kek:operate:decrypt:v1 1 newest',
    'kek:operate:secret:v1 1 newest',
    'kek:operate:sign:v1 2 newest',
    'kek:release:private:v1 1 newest',
    'kek:release:secret:v1 1 newest',
  ]);
  old = {
    dump: await dumpDatabase(system),
    token: tokenKeys(system.hsm),
    document: await documentOf(signing),
  };
  await ceremony(renew);
  expect((await coverage()).under).toContain('kek:operate:sign:v1 2 rotatable');

  const from = (await entriesFrom(system, 0)).length;
  const asked = await run('admin-1', 'reseal', '--older-keks', '--reason', 'read', '--yes', '--json');
  expect(asked).toMatchObject({ exit: 0, err: '' });
  const { job, requests } = jsonOf(asked) as {
    job: string;
    requests: { recovery: string; keys: string[] }[];
  };
  expect(requests.flatMap(({ keys }) => keys).sort()).toEqual(
    [signing, left, decrypting, secret].map(({ key }) => key).sort(),
  );
  for (const { recovery, keys } of requests.filter(({ keys: [key] }) => key === decrypting.key)) {
    const shown = await run('manager', 'recovery', 'show', recovery);
    expect([keys, shown.out.replace(/\s+/g, ' ')]).toEqual([
      [decrypting.key],
      expect.stringContaining(
        'what lies under kek:operate:decrypt:v1 is put under kek:operate:decrypt:v2, what lies under kek:release:private:v1 is put under kek:release:private:v2',
      ),
    ]);
  }
  await expectLogHolds(system);
  for (const { recovery, keys } of requests) {
    if (keys.includes(signing.key)) await system.client('admin-1').cancel(recovery, 'one apart');
  }
  for (const by of ['manager', 'officer-1'] as const)
    expect(await run(by, 'reseal', 'approve', job, '--yes')).toMatchObject({ exit: 0, err: '' });
  expect((await agree(system, (await askToReseal(signing)).recovery)).status).toBe('resealed');
  expect(await coverage()).toMatchObject({
    exit: 0,
    under: [
      'kek:operate:decrypt:v2 1 newest',
      'kek:operate:secret:v2 1 newest',
      'kek:operate:sign:v1 1 rotatable',
      'kek:operate:sign:v2 1 newest',
      'kek:release:private:v2 1 newest',
      'kek:release:secret:v2 1 newest',
    ],
  });
  const done = (await entriesFrom(system, from)).filter(
    ({ act, phase, subject }) =>
      act === 'recovery.reseal' && phase === 'done' && subject.keys?.includes(decrypting.key),
  );
  expect(done.map(({ detail }) => detail['keys'])).toMatchObject([
    { [decrypting.key]: { keks: { operate: 'kek:operate:decrypt:v2', release: 'kek:release:private:v2' } } },
  ]);
});

test('rotated keys are what they were: a signature verifies, a released key fits its public key, what was encrypted is decrypted', async () => {
  const { grant } = await granted(system, signing);
  const message = Buffer.from('after the rotation');
  const { result } = await system
    .client('app')
    .sign(grant, { mechanism: 'ES256', messages: [message.toString('base64url')] });
  const publicKey = { key: signing.publicKeyPem ?? '', dsaEncoding: 'ieee-p1363' } as const;
  expect(verify('sha256', message, publicKey, Buffer.from(only(result.signatures), 'base64url'))).toBe(true);
  const released = await releaseToManager(system, decrypting);
  const privateKey = released.opened.kind === 'pair' ? released.opened.privateKey : '';
  expect(createPublicKey(privateKey).export({ format: 'pem', type: 'spki' })).toBe(decrypting.publicKeyPem);
  await granted(system, secret, { operations: ['decrypt'], mechanisms: ['A256GCM'] });
  await granted(system, decrypting, DECRYPT);
});

test('a deposit from before the rotation that is put back in the database opens nothing; nor does the name of the old key-encryption key', async () => {
  const owner = await ownerOf(system);
  const text = await documentOf(signing);
  for (const document of [old.document, text.replaceAll('kek:operate:sign:v2', 'kek:operate:sign:v1')]) {
    await query(owner, 'update deposit set document = $2 where key = $1', [signing.key, document]);
    expect(await refusalOf(filed(system, toOperate(signing)))).toBe('record-mismatch');
  }
  await query(owner, 'update deposit set document = $2 where key = $1', [signing.key, text]);
  await granted(system, signing);
});

test("After rotation and destruction of the old KEK the old database opens nothing, not even with the PIN and all depositaries' keys", async () => {
  const all = [signing, left, decrypting, secret].map(({ key }) => key).sort();
  const waits = await filed(system, toOperate(left));
  await system.approve('manager', waits.recovery);
  // the controls: before the destruction, and with a backup of the token, it opens
  expect(await opened(old.dump, tokenKeys(system.hsm))).toEqual(all);
  await ceremony((order) => destroyOlderKeks({ ...order, keks: V1 }));
  expect(await opened(old.dump, tokenKeys(system.hsm))).toEqual([]);
  expect(await opened(old.dump, old.token)).toEqual(all);
  expect(record.objects.filter(({ label }) => label.endsWith(':v1') && label.startsWith('kek'))).toEqual([]);
  expect(record.events.at(-1)?.what).toContain('destroyed: kek:operate:sign:v1 (check value ');

  // which is said: by coverage, to who asks for it, and of who had asked
  expect(await coverage()).toMatchObject({
    exit: 8,
    lost: 1,
    under: expect.arrayContaining(['kek:operate:sign:v1 1 missing']) as unknown,
  });
  expect(told.filter(({ alarm }) => alarm === 'kek-missing').map(({ keks }) => keks)).toEqual([
    'kek:operate:sign:v1 (1)',
  ]);
  expect(await refusalOf(filed(system, toOperate(left)))).toBe('kek-missing');
  expect(await refusalOf(askToReseal(left))).toBe('kek-missing');
  await system.approve('officer-1', waits.recovery);
  await until(async () => (await system.client('admin-1').recovery(waits.recovery)).status === 'failed');
  const { ended } = await system.client('admin-1').recovery(waits.recovery);
  expect(ended?.reason).toContain('does not hold kek:operate:sign:v1');
  // and is in nobody's way
  await granted(system, signing);
  expect((await agree(system, (await askToReseal(signing)).recovery)).status).toBe('resealed');
  await expectLogHolds(system);
});
