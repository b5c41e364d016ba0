import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Client } from 'pg';
import pkcs11 from 'pkcs11js';

import { HttpsConnection } from '../../src/client/connection.js';
import { ServerProblem } from '../../src/client/errors.js';
import { EscrowClient } from '../../src/client/escrowClient.js';
import type { KeyReply, PageReply, RecoveryReply } from '../../src/api/replies.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { readRecord } from '../../src/token/ceremony/record.js';
import { renew } from '../../src/token/ceremony/renew.js';
import { isStaleHandle } from '../../src/token/cryptoki/faults.js';
import { readBytes } from '../../src/token/objects/objects.js';
import type { Receiver } from '../notify/receivers.js';
import { startReceiver } from '../notify/receivers.js';
import type { DaemonProcess } from '../crash/daemonProcess.js';
import { daemonProcess } from '../crash/daemonProcess.js';
import { escrowctl } from '../cli/commandLine.js';
import { freePort } from '../support/freePort.js';
import { chance } from '../support/chance.js';
import { query } from '../support/postgres.js';
import { openRaw } from '../support/rawToken.js';
import type { System } from '../support/system.js';
import { makeSystem, RULES } from '../support/system.js';
import { newId } from '../../src/escrow/records/ids.js';
import { grantOf } from '../support/oneKey.js';
import { toOperate } from './recoveries.js';
import { databaseOf } from './records.js';
import { importOne } from '../../src/client/import/importOne.js';
import { readImportable } from '../../src/client/import/privateKey.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { letPass, until } from '../support/waiting.js';
import { freshBytes } from '../support/fresh.js';

const CALLERS = 3;
/** Kills of a generation; `npm run kill` does a hundred. A third of them are of a request. */
const KILLS = Number(process.env['ESCROWD_TEST_KILLS'] ?? '6');
// each kill is a daemon that starts anew and is asked again
jest.setTimeout(Math.max(600_000, KILLS * 30_000));

let system: System;
let daemon: DaemonProcess;
/** Told what was refused. */
let receiver: Receiver;
const secrets = mkdtempSync(join(tmpdir(), 'escrowd-secrets-'));
/** No kill comes later than this after the first call: about when a daemon that has just started has done it. */
let longestMs = 400;
/** What stood in the token before the first daemon. */
let atFirst: readonly string[];
/** The whole log so far. */
const log: Entry[] = [];

beforeAll(async () => {
  receiver = await startReceiver();
  const { url } = receiver;
  writeFileSync(join(secrets, 'secret'), `whsec_${freshBytes(32).toString('base64')}`, { mode: 0o600 });
  const webhook = { name: 'siem', url, secretFiles: [join(secrets, 'secret')], kinds: ['refused'] };
  system = await makeSystem({
    withoutDaemon: true,
    port: await freePort(),
    config: () => ({ notifications: { allowHosts: ['127.0.0.1'], pollMs: 50, webhooks: [webhook] } }),
  });
  atFirst = labelsInToken();
  daemon = daemonProcess(system.configFile, 'honest');
  await daemon.start();
  await system.applyRules();
  const startedAt = performance.now();
  await generate();
  longestMs = Math.max(longestMs, 2 * (performance.now() - startedAt));
});
afterAll(async () => {
  // a test that failed may have left the database alone: a daemon adopts it, and stops it
  if (daemon.hasEnded() || !daemon.isRunning()) await daemon.start();
  await daemon.stop('SIGTERM');
  await system.remove();
  await receiver.close();
  rmSync(secrets, { recursive: true, force: true });
  daemon.remove();
});

test('a kill at any instant of a generation leaves key, deposit and record, or nothing', async () => {
  const acknowledged = new Map<string, string>();
  // some kills come in the middle: they cut acts short, and let others be done
  const isEnough = (): boolean =>
    outcomes('key.generate', 'failed').length >= KILLS / 4 && acknowledged.size >= KILLS / 4;
  for (const killedAfterMs of instants(KILLS, isEnough)) {
    await whileKilled(killedAfterMs, async () => {
      const { key, digest } = await generate();
      acknowledged.set(key, digest);
    });
    await expectLogHolds(system);
    await readOn();

    const deposits = new Map((await all<KeyReply>('keys')).map(({ key, digest }) => [key, digest]));
    const done = outcomes('key.generate', 'done').map(
      ({ subject, digest }) => [subject.key, digest] as const,
    );
    expect([killedAfterMs, deposits]).toEqual([killedAfterMs, new Map(done)]);
    const lost = [...acknowledged].filter(([key, digest]) => deposits.get(key) !== digest);
    expect([killedAfterMs, lost]).toEqual([killedAfterMs, []]);
    expect([killedAfterMs, withoutOutcome()]).toEqual([killedAfterMs, []]);
  }
  const interrupted = outcomes('key.generate', 'failed');
  expect(new Set(interrupted.map(({ error }) => error))).toEqual(new Set(['interrupted']));
  expect(isEnough()).toBe(true);
});

test('a kill at any instant of an import leaves key, deposit and record, or nothing, and no import key that was used', async () => {
  await system.applyRules(RULES.map((rule) => ({ ...(rule as object), import: true })));
  const before = outcomes('key.generate', 'done').length;
  const acknowledged = new Map<string, string>();
  const cutShort = (): readonly Entry[] =>
    ['key.import', 'import.prepare'].flatMap((act) => outcomes(act, 'failed'));
  const isEnough = (): boolean => cutShort().length >= KILLS / 12;
  for (const killedAfterMs of instants(Math.ceil(KILLS / 3), isEnough)) {
    await whileKilled(2 * killedAfterMs, async () => {
      const { key, digest } = await importKey();
      acknowledged.set(key, digest);
    });
    await expectLogHolds(system);
    await readOn();

    const deposits = new Map(
      (await all<KeyReply>('keys'))
        .filter(({ bornOutside }) => bornOutside === true)
        .map(({ key, digest }) => [key, digest]),
    );
    const done = outcomes('key.import', 'done').map(({ subject, digest }) => [subject.key, digest] as const);
    expect(deposits).toEqual(new Map(done));
    expect([...acknowledged].filter(([key, digest]) => deposits.get(key) !== digest)).toEqual([]);
    expect(withoutOutcome()).toEqual([]);
  }
  expect(isEnough()).toBe(true);
  expect(outcomes('key.generate', 'done')).toHaveLength(before);

  const used = new Set(outcomes('key.import', 'attempted').map(({ detail }) => detail['import']));
  const unused = outcomes('import.prepare', 'done').filter(({ detail }) => !used.has(detail['import']));
  const imports = (): readonly string[] => labelsInToken().filter((label) => label.includes(' import:'));
  // of each that was not used both halves stand, until it is too old
  await until(() => imports().length === 2 * unused.length);
});

test('a kill at any instant of a request leaves the request with its one-time key, or nothing', async () => {
  const [key] = await all<KeyReply>('keys');
  if (key === undefined) throw new Error('there is no key');
  const acknowledged = new Set<string>();
  const isEnough = (): boolean => outcomes('recovery.request', 'failed').length >= KILLS / 12;
  for (const killedAfterMs of instants(Math.ceil(KILLS / 3), isEnough)) {
    await whileKilled(2 * killedAfterMs, async () => {
      const { result } = await system.client('manager').requestRecovery(toOperate(key));
      acknowledged.add(result.recovery);
    });
    await expectLogHolds(system);
    await readOn();

    const filed = new Set((await all<RecoveryReply>('recoveries')).map(({ recovery }) => recovery));
    expect(filed).toEqual(
      new Set(outcomes('recovery.request', 'done').map(({ subject }) => subject.recovery)),
    );
    expect([...acknowledged].filter((recovery) => !filed.has(recovery))).toEqual([]);
    expect(withoutOutcome()).toEqual([]);
  }
  expect(isEnough()).toBe(true);

  const open = [...new Set(outcomes('recovery.request', 'done').map(({ subject }) => subject.recovery))];
  const transports = (): readonly string[] => {
    const labels = labelsInToken().filter((label) => label.includes('transport:'));
    return [...new Set(labels.map((label) => label.split(':').at(-1) ?? ''))];
  };
  // what a kill has left is destroyed once it was looked at twice
  await until(() => transports().length <= open.length);
  await daemon.stop('SIGTERM');
  expect(new Set(transports())).toEqual(new Set(open));
  await daemon.start();
  for (const recovery of open) await system.client('manager').cancel(recovery ?? '', 'enough');
});

/** The next version of every key-encryption key, made while no daemon runs. */
async function renewKeks(): Promise<void> {
  const { place, soPin, userPin } = system.hsm;
  const file = join(system.directory, 'record.json');
  const before = readRecord(readFileSync(file, 'utf8'), place);
  await daemon.stop('SIGTERM');
  const pins = { soPin: Buffer.from(soPin), userPin: Buffer.from(userPin) };
  const ofCeremony = (): readonly string[] =>
    labelsInToken().filter((label) => !/ (grant|transport|import|anchor):/.test(label));
  const older = ofCeremony();
  writeFileSync(file, JSON.stringify(await renew({ ...place, ...pins, now: new Date(), before })));
  atFirst = [...atFirst.filter((label) => !older.includes(label)), ...ofCeremony()].sort();
  await daemon.start();
}

test('a kill at any instant of a reseal that rotates leaves each key with its old or its new deposit, and it is gone on with', async () => {
  await system.applyRules();
  // so many that it takes about as long as the kills are apart
  const made = (await all<KeyReply>('keys')).filter(({ bornOutside }) => bornOutside !== true).slice(0, 24);
  const keys = made.map(({ key }) => key).sort();
  const cutShort = (): number => outcomes('recovery.reseal', 'failed').length;
  const isEnough = (): boolean => cutShort() >= KILLS / 12;
  let version = 1;
  for (const killedAfterMs of instants(Math.ceil(KILLS / 3), isEnough)) {
    await renewKeks();
    version += 1;
    const order = { purpose: 'reseal', keys, reason: 'the kill test', validFor: 'PT1H' } as const;
    const job = newId('JobId', freshBytes);
    const { recovery } = (await system.client('admin-1').requestRecovery({ ...order, job })).result;
    await system.approve('manager', recovery);
    const approval = await system.makeApproval('officer-1', recovery);
    await whileKilled(killedAfterMs, async () => {
      // several send it, and one of them is the first
      await system.client('officer-1').sendApproval(recovery, approval).catch(unlessRefused);
    });
    // what was approved is carried out at the next start, and what was not can be approved again
    await until(async () => {
      const { status } = await system.client('admin-1').recovery(recovery);
      // the database may have been at it still when the daemon was killed
      if (status === 'pending') await system.approve('officer-1', recovery).catch(() => undefined);
      return status === 'resealed';
    });
    await expectLogHolds(system);
    await readOn();
    const newest = outcomes('recovery.reseal', 'done').at(-1)?.detail['keys'] as Record<string, unknown>;
    for (const key of keys) {
      const { digest } = await system.client('admin-1').key(key);
      expect(newest[key]).toMatchObject({ digest, keks: { operate: `kek:operate:sign:v${version}` } });
    }
    expect(withoutOutcome()).toEqual([]);
  }
  expect(isEnough()).toBe(true);
  const [key = ''] = keys;
  const { result } = await system.client('manager').requestRecovery(toOperate({ key }));
  await system.approve('manager', result.recovery);
  expect((await system.approve('officer-1', result.recovery)).status).toBe('active');
  await system
    .client('owner')
    .revoke(grantOf(await system.client('owner').recovery(result.recovery)), 'enough');
});

test('what a receiver was being told while the daemon was killed is told again under the same id, and then no more', async () => {
  const [key] = await all<KeyReply>('keys');
  if (key === undefined) throw new Error('there is no key');
  const isRefused = async (): Promise<void> => {
    await expect(system.client('app').requestRecovery(toOperate(key))).rejects.toMatchObject({
      code: 'forbidden',
    });
  };
  const told = (): readonly unknown[] => receiver.received.map(({ headers }) => headers['webhook-id']);
  const before = told().length;
  receiver.answers.push('silence');
  await isRefused();
  await until(() => told().length === before + 1);
  await daemon.stop('SIGKILL');
  await daemon.start();
  await until(() => told().length === before + 2);
  await isRefused();
  await until(() => told().length === before + 3);
  const [first, again, next] = told().slice(before);
  expect(again).toBe(first);
  expect(next).not.toBe(first);
});

test('what was given up is told again under the same id when an administrator says so, and is given up no more', async () => {
  const [one] = receiver.received.splice(0);
  const id = String(one?.headers['webhook-id']);
  const { data } = JSON.parse(one?.body ?? '') as { readonly data: { readonly entry: number } };
  // as if it had been refused all of its tries, which take minutes
  await query(
    databaseOf(system),
    `insert into notification_dropped (sink, notice, entry, recipient, kind, fault, dropped_at)
     values ('webhook:siem', $1, $2, 'owner', 'refused', 'The receiver answered 410.', now())`,
    [id, data.entry],
  );
  const ask = (name: 'auditor' | 'admin-1', ...argv: string[]): ReturnType<typeof escrowctl> =>
    escrowctl(['notifications', ...argv, '--json', '--as', system.identity(name).directory]);
  const listed = async (): Promise<object> =>
    JSON.parse((await ask('auditor', 'list')).out) as Readonly<Record<string, unknown>>;
  expect(await listed()).toMatchObject({
    items: [{ notice: id, to: 'owner', fault: 'The receiver answered 410.' }],
  });
  const order = ['redeliver', '--sink', 'webhook:siem', '--all'];
  expect((await ask('auditor', ...order)).exit).toBe(3);
  expect(await ask('admin-1', ...order)).toMatchObject({ exit: 0 });
  await until(() => receiver.received.some(({ headers }) => headers['webhook-id'] === id));
  await until(async () => ((await listed()) as { readonly items: readonly object[] }).items.length === 0);
  const told = receiver.received.find(({ headers }) => headers['webhook-id'] === id);
  expect(JSON.parse(told?.body ?? '')).toEqual(JSON.parse(one?.body ?? ''));
  expect((await ask('admin-1', 'redeliver', '--sink', 'webhook:siem', '--notice', id)).exit).toBe(3);
  expect((await ask('admin-1', 'redeliver', '--sink', 'webhook:siem')).exit).toBe(2);
});

test('a creation whose answer a kill cut off is answered when it is asked for again, and was done once', async () => {
  const keys = await all<KeyReply>('keys');
  const proxy = await startProxy(Number(new URL(system.url()).port));
  const connection = new HttpsConnection({
    url: `https://127.0.0.1:${proxy.port}`,
    ca: readFileSync(join(system.directory, 'server.crt'), 'utf8'),
    deadlineMs: 60_000,
  });
  const { signer, pins } = system.identity('owner');
  const elapsedMs = (): number => performance.now();
  const repetition = { forMs: 60_000, elapsedMs, pause: letPass, random: () => 1 };
  const client = new EscrowClient({
    connection,
    signer,
    logKey: pins.logKey,
    now: () => new Date(),
    repetition,
  });
  try {
    await client.keys();
    proxy.isMute = true;
    const answer = client.generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' });
    // it is durable, and its answer was sent into the void
    let made: readonly KeyReply[] = [];
    await until(async () => (made = await all<KeyReply>('keys')).length > keys.length);
    await daemon.stop('SIGKILL');
    proxy.isMute = false;
    proxy.cut();
    await daemon.start();
    const { result, entry } = await answer;
    expect(made.map(({ key }) => key)).toContain(result.key);
    expect(await all<KeyReply>('keys')).toHaveLength(keys.length + 1);
    const [logged] = await entriesFrom(system, entry);
    expect(logged).toMatchObject({ act: 'key.generate', phase: 'done', digest: result.digest });
  } finally {
    client.close();
    await proxy.close();
  }
  await expectLogHolds(system);
  await readOn();
});

test('while the log cannot be written nothing is done and callers are told 503; afterwards all is well by itself', async () => {
  const keys = (await all<KeyReply>('keys')).length;
  const other = new Client({ ...databaseOf(system), ssl: false });
  await other.connect();
  try {
    await other.query('begin');
    await other.query('select from log_head for update');
    await expect(generate()).rejects.toMatchObject({ status: 503, code: 'log-unavailable' });
  } finally {
    await other.end();
  }
  expect(await all<KeyReply>('keys')).toHaveLength(keys);
  await generate();
  expect(await all<KeyReply>('keys')).toHaveLength(keys + 1);
  await expectLogHolds(system);
  await readOn();
  expect(withoutOutcome()).toEqual([]);
});

test('at last the token holds what the ceremony made, and nothing else', async () => {
  await expectLogHolds(system);
  await until(() => labelsInToken().every((label) => !/(grant|transport):/.test(label)));
  await daemon.stop('SIGTERM');
  // import keys that nobody has used stand until they are too old
  const left = labelsInToken().filter((label) => !label.includes(' import:'));
  // Of the log's anchor the one before is kept as well.
  const [first, ...others] = left;
  expect(first).toBe('0 anchor:log');
  expect(others[0] === first ? others : [first, ...others]).toEqual(atFirst);
});

/** By the administrators in turn, each of whom may have so many import keys. */
async function importKey(): Promise<KeyReply> {
  importers.push(importers.shift() ?? 'admin-1');
  const [by = 'admin-1'] = importers;
  const { pins } = system.identity(by);
  const der = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
    format: 'der',
    type: 'pkcs8',
  });
  const key = await readImportable(der, () => Promise.resolve(undefined));
  const basis = { client: system.client(by), pins, now: () => new Date() };
  return (await importOne(basis, key, { owner: 'owner', use: 'sign' })).result;
}
const importers: ('admin-1' | 'admin-2' | 'owner')[] = ['admin-1', 'admin-2', 'owner'];

async function generate(): Promise<KeyReply> {
  const order = { owner: 'owner', spec: 'ec-p256', use: 'sign' } as const;
  return (await system.client('owner').generateKey(order)).result;
}

function unlessRefused(error: unknown): void {
  if (!(error instanceof ServerProblem)) throw error;
}

const { below } = chance('kills');

/**
 * Instants from 0 to longestMs, one by chance in each of so many equal parts; and as many again, up to ten times, as long
 * as it is not enough: how often a kill comes in the middle of an act is for the machine to say.
 */
function* instants(count: number, isEnough: () => boolean): Generator<number> {
  const part = longestMs / count;
  for (let round = 0; round === 0 || (round <= 10 && !isEnough()); round += 1) {
    for (let at = 0; at < count; at += 1) yield Math.floor(at * part) + below(Math.ceil(part));
  }
}

/** Has several callers do this over and over, kills the daemon so long after they began, and starts it again. */
async function whileKilled(afterMs: number, act: () => Promise<void>): Promise<void> {
  let isKilled = false;
  const caller = async (): Promise<void> => {
    while (!isKilled) {
      await act().catch((error: unknown) => {
        if (!isKilled) throw error;
      });
    }
  };
  const callers = Promise.all(Array.from({ length: CALLERS }, caller));
  await Promise.race([letPass(afterMs), callers]);
  isKilled = true;
  await daemon.stop('SIGKILL');
  await callers;
  await daemon.start();
}

async function readOn(): Promise<void> {
  log.push(...(await entriesFrom(system, log.length)));
}

function outcomes(act: string, phase: Entry['phase']): readonly Entry[] {
  return log.filter((entry) => entry.act === act && entry.phase === phase);
}

function withoutOutcome(): readonly string[] {
  const closed = new Set(log.filter(({ phase }) => phase !== 'attempted').map(({ id }) => id));
  return log.flatMap(({ phase, id }) => (phase === 'attempted' && !closed.has(id) ? [id] : []));
}

/** Every page of a list. */
async function all<T extends KeyReply | RecoveryReply>(list: 'keys' | 'recoveries'): Promise<readonly T[]> {
  const items: T[] = [];
  for (let after: string | undefined; ;) {
    const query = { limit: 200, ...(after === undefined ? {} : { after }) };
    const page = (await system.client('auditor')[list](query)) as PageReply<T>;
    items.push(...page.items);
    after = page.next;
    if (after === undefined) return items;
  }
}

/** Class and label of every object in the token; of what a daemon destroys meanwhile, nothing. */
function labelsInToken(): readonly string[] {
  const raw = openRaw(system.hsm, 'user');
  try {
    const { driver, session } = raw;
    return raw
      .find([{ type: pkcs11.CKA_TOKEN, value: true }])
      .flatMap((handle) => {
        try {
          return [readBytes(driver, session, handle, [pkcs11.CKA_CLASS, pkcs11.CKA_LABEL])];
        } catch (error) {
          if (isStaleHandle(error)) return [];
          throw error;
        }
      })
      .map(([objectClass, label]) => `${objectClass?.readUInt32LE() ?? ''} ${label?.toString() ?? ''}`)
      .sort();
  } finally {
    raw.close();
  }
}

/** What stands between a client and the daemon, and can keep what the daemon says to itself. */
interface Proxy {
  readonly port: number;
  isMute: boolean;
  /** Ends all connections. */
  cut(): void;
  close(): Promise<void>;
}

async function startProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.on('data', (chunk: Buffer) => {
      if (!proxy.isMute) near.write(chunk);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy: Proxy = {
    port: (server.address() as AddressInfo).port,
    isMute: false,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: async () => {
      proxy.cut();
      server.close();
      await once(server, 'close');
    },
  };
  return proxy;
}
