import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { Client } from 'pg';
import pkcs11 from 'pkcs11js';

import type { WireKey, WirePage, WireRecovery } from '../../src/escrow/wire.js';
import type { Entry } from '../../src/log/entry.js';
import { readBytes } from '../../src/token/objects.js';
import { openRaw } from '../support/rawToken.js';
import { transpileTs } from '../support/runTs.js';
import type { System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { toOperate } from './recoveries.js';
import { databaseOf } from './records.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';

const CALLERS = 3;

let system: System;
let program: string;
let packageDirectory: string;
let daemon: ChildProcess | undefined;
/** No kill comes later than this after the first call: about when a daemon that has just started has done it. */
let longestMs = 400;
/** What stood in the token before the first daemon. */
let atFirst: readonly string[];
/** The whole log so far. */
const log: Entry[] = [];

beforeAll(async () => {
  system = await makeSystem({ withoutDaemon: true, port: await freePort() });
  atFirst = labelsInToken();
  packageDirectory = mkdtempSync(join(tmpdir(), 'escrowd-package-'));
  const repository = join(__dirname, '..', '..');
  program = transpileTs(join(repository, 'src', 'main.ts'), packageDirectory);
  symlinkSync(join(repository, 'hsm-config'), join(packageDirectory, 'hsm-config'));
  await start();
  await system.applyRules();
  const startedAt = performance.now();
  await generate();
  longestMs = Math.max(longestMs, 2 * (performance.now() - startedAt));
});
afterAll(async () => {
  // a test that failed may have left the database alone: a daemon adopts it, and stops it
  if (daemon === undefined) await start();
  await stop('SIGTERM');
  await system.remove();
  rmSync(packageDirectory, { recursive: true, force: true });
});

test('a kill at any instant of a generation leaves key, deposit and record, or nothing', async () => {
  const acknowledged = new Map<string, string>();
  for (const killedAfterMs of instants(30)) {
    await whileKilled(killedAfterMs, async () => {
      const { key, digest } = await generate();
      acknowledged.set(key, digest);
    });
    await expectLogHolds(system);
    await readOn();

    const deposits = new Map((await all<WireKey>('keys')).map(({ key, digest }) => [key, digest]));
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
  // the kills did come in the middle: they cut acts short, and let others be done
  expect(interrupted.length).toBeGreaterThanOrEqual(10);
  expect(acknowledged.size).toBeGreaterThanOrEqual(10);
}, 300_000);

test('a kill at any instant of a request leaves the request with its one-time key, or nothing', async () => {
  const [key] = await all<WireKey>('keys');
  if (key === undefined) throw new Error('there is no key');
  const acknowledged = new Set<string>();
  for (const killedAfterMs of instants(6)) {
    await whileKilled(2 * killedAfterMs, async () => {
      const { result } = await system.client('manager').requestRecovery(toOperate(key));
      acknowledged.add(result.recovery);
    });
    await expectLogHolds(system);
    await readOn();

    const filed = new Set((await all<WireRecovery>('recoveries')).map(({ recovery }) => recovery));
    expect(filed).toEqual(
      new Set(outcomes('recovery.request', 'done').map(({ subject }) => subject.recovery)),
    );
    expect([...acknowledged].filter((recovery) => !filed.has(recovery))).toEqual([]);
    expect(withoutOutcome()).toEqual([]);
  }
  expect(outcomes('recovery.request', 'failed').length).toBeGreaterThanOrEqual(3);

  await stop('SIGTERM');
  const open = [...new Set(outcomes('recovery.request', 'done').map(({ subject }) => subject.recovery))];
  const transports = labelsInToken().filter((label) => label.includes('transport:'));
  expect(new Set(transports.map((label) => label.split(':').at(-1)))).toEqual(new Set(open));
  await start();
  for (const recovery of open) await system.client('manager').cancel(recovery ?? '', 'enough');
}, 120_000);

test('while the log cannot be written nothing is done and callers are told 503; afterwards all is well by itself', async () => {
  const keys = (await all<WireKey>('keys')).length;
  const other = new Client({ ...databaseOf(system), ssl: false });
  await other.connect();
  try {
    await other.query('begin');
    await other.query('select from log_head for update');
    await expect(generate()).rejects.toMatchObject({ status: 503, code: 'log-unavailable' });
  } finally {
    await other.end();
  }
  expect(await all<WireKey>('keys')).toHaveLength(keys);
  await generate();
  expect(await all<WireKey>('keys')).toHaveLength(keys + 1);
  await expectLogHolds(system);
  await readOn();
  expect(withoutOutcome()).toEqual([]);
});

test('at last the token holds what the ceremony made, and nothing else', async () => {
  await expectLogHolds(system);
  await stop('SIGTERM');
  // Of the log's anchor the one before is kept as well.
  const [first, ...others] = labelsInToken();
  expect(first).toBe('0 anchor:log');
  expect(others[0] === first ? others : [first, ...others]).toEqual(atFirst);
});

async function generate(): Promise<WireKey> {
  const order = { owner: 'owner', spec: 'ec-p256', use: 'sign' } as const;
  return (await system.client('owner').generateKey(order)).result;
}

/** Instants from 0 to longestMs, one at random in each of so many equal parts. */
function instants(count: number): readonly number[] {
  const part = longestMs / count;
  return Array.from({ length: count }, (_, at) => Math.floor(at * part) + randomInt(Math.ceil(part)));
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
  await Promise.race([pause(afterMs), callers]);
  isKilled = true;
  await stop('SIGKILL');
  await callers;
  await start();
}

async function start(): Promise<void> {
  const child = spawn(process.execPath, [program, '--config', system.configFile], {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  daemon = child;
  const said: string[] = [];
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      said.push(chunk.toString());
      if (said.join('').includes('"serving"')) resolve();
    });
    child.once('exit', () => {
      reject(new Error(`the daemon ended: ${said.join('')}`));
    });
  });
}

async function stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const child = daemon;
  daemon = undefined;
  if (child?.exitCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
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
async function all<T extends WireKey | WireRecovery>(list: 'keys' | 'recoveries'): Promise<readonly T[]> {
  const items: T[] = [];
  for (let after: string | undefined; ;) {
    const query = { limit: 200, ...(after === undefined ? {} : { after }) };
    const page = (await system.client('auditor')[list](query)) as WirePage<T>;
    items.push(...page.items);
    after = page.next;
    if (after === undefined) return items;
  }
}

/** Class and label of every object in the token. No daemon may be running. */
function labelsInToken(): readonly string[] {
  const raw = openRaw(system.hsm, 'user');
  try {
    const { driver, session } = raw;
    return raw
      .find([{ type: pkcs11.CKA_TOKEN, value: true }])
      .map((handle) => readBytes(driver, session, handle, [pkcs11.CKA_CLASS, pkcs11.CKA_LABEL]))
      .map(([objectClass, label]) => `${objectClass?.readUInt32LE() ?? ''} ${label?.toString() ?? ''}`)
      .sort();
  } finally {
    raw.close();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
