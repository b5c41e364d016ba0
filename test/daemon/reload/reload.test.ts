import type { ChildProcess } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';

import { parse, stringify } from 'yaml';

import { readManagement } from '../../../src/client/management.js';
import { checkStart } from '../../../src/daemon/check/checkStart.js';
import { EXIT_CODES } from '../../../src/daemon/exitCodes.js';
import { testWitness } from '../../log/witnessKeys.js';
import { freePort } from '../../support/freePort.js';
import { DISK } from '../../support/disk.js';
import { LIMITS_MS } from '../../support/limits.js';
import { runTs } from '../../support/runTs.js';
import { SOFTHSM_PROFILE_FILE } from '../../support/softhsm.js';
import { makeCertificate, makeSystem, startDaemonAt, type System } from '../../support/system.js';
import { letPass, until } from '../../support/waiting.js';

jest.setTimeout(LIMITS_MS.system);

type Line = Readonly<Record<string, unknown>>;

let system: System;
let child: ChildProcess;
let ports: { api: number; management: number };
const lines: Line[] = [];
const UNLIMITED = { perSecond: 1_000_000, burst: 1_000_000 };

const at = (name: string): string => join(system.directory, name);

/** Changes the configuration that the daemon reads. */
function configure(change: (config: Record<string, unknown>) => void): void {
  const config = parse(readFileSync(system.configFile, 'utf8')) as Record<string, unknown>;
  change(config);
  writeFileSync(system.configFile, stringify(config));
}

/** Puts certificate and key of this directory in the place of those that the daemon serves with. */
function install(directory: string): void {
  for (const name of ['server.crt', 'server.key']) copyFileSync(join(directory, name), at(name));
}

/** Sends SIGHUP, and waits for what the daemon says of it. */
async function reload(): Promise<Line> {
  const before = lines.length;
  const said = (): Line | undefined =>
    lines.slice(before).find(({ message }) => String(message).startsWith('the configuration was read again'));
  child.kill('SIGHUP');
  await until(() => said() !== undefined);
  return said() ?? {};
}

/** What the server answers, and the certificate that it shows on this connection. */
function asked(agent?: Agent): Promise<{ readonly status: number; readonly shown: string | undefined }> {
  return new Promise((resolve, reject) => {
    const asking = request(
      {
        host: '127.0.0.1',
        port: ports.api,
        path: '/v1/server',
        agent: agent ?? false,
        rejectUnauthorized: false,
      },
      (answer) => {
        const { socket } = answer;
        const shown = socket instanceof TLSSocket ? socket.getPeerX509Certificate()?.toString() : undefined;
        answer.on('error', reject).on('end', () => {
          resolve({ status: answer.statusCode ?? 0, shown });
        });
        answer.resume();
      },
    );
    asking.on('error', reject).end();
  });
}

beforeAll(async () => {
  system = await makeSystem({ withoutDaemon: true });
  ports = { api: await freePort(), management: await freePort() };
  for (const name of ['one', 'two']) {
    mkdirSync(at(name));
    makeCertificate(at(name));
  }
  install(at('one'));
  configure((config) => {
    config['listen'] = { host: '127.0.0.1', port: ports.api };
    config['management'] = { port: ports.management };
    config['token'] = { ...(config['token'] as object), profile: SOFTHSM_PROFILE_FILE };
    config['requests'] = { ...(config['requests'] as object), perAddress: UNLIMITED };
  });
  const main = join(__dirname, '..', '..', '..', 'src', 'main.ts');
  child = runTs(main, { args: ['--config', system.configFile] });
  let rest = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    const [last = '', ...whole] = (rest + chunk.toString()).split('\n').reverse();
    rest = last;
    lines.push(...whole.reverse().map((line) => JSON.parse(line) as Line));
  });
  await until(() => lines.some(({ message }) => message === 'serving'));
});
afterAll(async () => {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  expect(await ended).toBe(EXIT_CODES.clean.code);
  await system.remove();
});

test('while it serves a check finds its addresses taken by itself, and says when it shows another certificate', async () => {
  const check = (): ReturnType<typeof checkStart> =>
    checkStart({
      configFile: system.configFile,
      environment: { PATH: process.env['PATH'] },
      packageDirectory: process.cwd(),
      fileSystemAt: () => DISK,
    });
  const found = await check();
  expect(found.list).toMatchObject([{ code: 'daemon-runs', severity: 'note' }]);
  expect(found.exitCode).toBe(0);
  install(at('two'));
  const renewed = await check();
  install(at('one'));
  expect(renewed.list).toMatchObject([{ code: 'daemon-runs' }, { code: 'tls', severity: 'warning' }]);
  await expect(startDaemonAt(system.configFile, { now: () => new Date() })).rejects.toMatchObject({
    name: 'AlreadyServing',
  });
});

test('under load no request fails, and who connects from then on is shown the new certificate', async () => {
  let isOver = false;
  const failed: unknown[] = [];
  let answers = 0;
  const kept = Array.from({ length: 4 }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
  const client = async (agent?: Agent): Promise<void> => {
    while (!isOver) {
      await asked(agent).then(
        ({ status }) => (status === 200 ? (answers += 1) : failed.push(status)),
        (error: unknown) => failed.push(error),
      );
    }
  };
  const load = [...kept.map((agent) => client(agent)), ...Array.from({ length: 4 }, () => client())];
  const answered = async (more: number): Promise<void> => {
    const before = answers;
    await until(() => answers > before + more);
  };
  try {
    for (const name of ['two', 'one', 'two']) {
      await answered(40);
      install(at(name));
      expect(await reload()).toMatchObject({ level: 'info', changed: 'tls' });
      expect((await asked()).shown).toBe(readFileSync(at(`${name}/server.crt`), 'utf8'));
    }
    await answered(40);
  } finally {
    isOver = true;
    await Promise.all(load);
  }
  for (const agent of kept) agent.destroy();
  expect(failed).toEqual([]);
});

test.each<[string, () => () => void, RegExp]>([
  [
    'a key of another certificate',
    () => {
      copyFileSync(at('one/server.key'), at('server.key'));
      copyFileSync(at('two/server.crt'), at('server.crt'));
      return () => {
        install(at('two'));
      };
    },
    /not that of the key/,
  ],
  [
    'a configuration with a fault, whatever else is new in it',
    () => {
      const before = readFileSync(system.configFile);
      configure((config) => Object.assign(config, { logLevel: 'error', lissen: {} }));
      return () => {
        writeFileSync(system.configFile, before);
      };
    },
    /lissen/,
  ],
  [
    'a CA of a witness that is not there',
    () => {
      const before = readFileSync(system.configFile);
      install(at('one'));
      configure((config) => {
        config['witnesses'] = [{ key: testWitness('w/1').vkey, url: 'https://127.0.0.1:1', ca: 'none.crt' }];
      });
      return () => {
        writeFileSync(system.configFile, before);
        install(at('two'));
      };
    },
    /none\.crt/,
  ],
])('with %s nothing changes, and the log says why', async (_what, spoil, why) => {
  const { shown } = await asked();
  const mend = spoil();
  try {
    const line = await reload();
    expect(line).toMatchObject({ level: 'error', reason: expect.stringMatching(why) as string });
    expect(await asked()).toEqual({ status: 200, shown });
  } finally {
    mend();
  }
  // the level of the log has not become another either
  expect(await reload()).toMatchObject({ level: 'info', changed: '' });
});

test('witnesses, sinks, limits and the level of the log are taken; what needs a restart is named', async () => {
  const health = (): ReturnType<typeof readManagement> =>
    readManagement(`http://127.0.0.1:${ports.management}`, 5_000);
  const port = await freePort();
  configure((config) => {
    config['witnesses'] = [{ key: testWitness('w.example/1').vkey, url: `http://127.0.0.1:${port}` }];
    config['notifications'] = { file: { path: 'notices.ndjson' } };
    config['requests'] = { ...(config['requests'] as object), perAddress: { perSecond: 1, burst: 3 } };
    config['housekeepingMs'] = 700;
    config['listen'] = { host: '127.0.0.1', port: 1 };
  });
  expect(await reload()).toMatchObject({ changed: 'notifications requests witnesses' });
  await until(() => lines.some(({ members }) => members === 'housekeepingMs listen.port'));
  await until(async () => (await health()).notifications.some(({ sink }) => sink === 'file'));
  const statuses = [];
  for (let at = 0; at < 6; at += 1) statuses.push((await asked()).status);
  expect(statuses).toContain(429);

  configure((config) => Object.assign(config, { logLevel: 'error', witnesses: [], notifications: {} }));
  expect(await reload()).toMatchObject({ changed: 'notifications witnesses' });
  await until(async () => (await health()).notifications.length === 0);
  // of what follows only what is an error has a line
  const before = lines.length;
  child.kill('SIGHUP');
  configure((config) => Object.assign(config, { lissen: {} }));
  await until(() => {
    child.kill('SIGHUP');
    return lines.length > before;
  });
  expect(lines[before]).toMatchObject({ level: 'error', reason: expect.stringMatching(/lissen/) as string });
});

test('when nobody reads its lines any more it goes on without them', async () => {
  child.stdout?.destroy();
  // the configuration cannot be used by now: each of these is a line of level error
  for (let times = 0; times < 3; times += 1) {
    child.kill('SIGHUP');
    await letPass(300);
  }
  expect([child.exitCode, child.signalCode]).toEqual([null, null]);
  expect((await readManagement(`http://127.0.0.1:${ports.management}`, 5_000)).problems).toEqual([]);
});
