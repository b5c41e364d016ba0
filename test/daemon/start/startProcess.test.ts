import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { parse, stringify } from 'yaml';

import { EXIT_CODES } from '../../../src/daemon/exitCodes.js';
import { freePort } from '../../support/freePort.js';
import { LIMITS_MS } from '../../support/limits.js';
import { programOf } from '../../support/runTs.js';
import { SOFTHSM_PROFILE_FILE } from '../../support/softhsm.js';
import { makeSystem, type System } from '../../support/system.js';
import { until } from '../../support/waiting.js';

jest.setTimeout(LIMITS_MS.system);

const MAIN = join(__dirname, '..', '..', '..', 'src', 'main.ts');

let system: System;
let written = 0;

beforeAll(async () => {
  system = await makeSystem({ withoutDaemon: true });
});
afterAll(async () => {
  await system.remove();
});

function configured(members: object = {}, token: object = {}): string {
  const config = parse(readFileSync(system.configFile, 'utf8')) as Record<string, object>;
  const changed = {
    ...{ ...config, ...members },
    token: { ...config['token'], profile: SOFTHSM_PROFILE_FILE, ...token },
  };
  const file = join(system.directory, `start-${String((written += 1))}.yaml`);
  writeFileSync(file, stringify(changed), { mode: 0o644 });
  return file;
}

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the program to its end. */
function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const env = { ...process.env, ...environment };
    const child = execFile(process.execPath, [programOf(MAIN), ...args], { env }, (_error, out, err) => {
      resolve({ code: child.exitCode, out, err });
    });
  });
}

/** Starts the program, sends SIGTERM when it says this, and resolves with how it ended and all that it said. */
async function stoppedAt(said: string, args: readonly string[], environment = {}): Promise<Ended> {
  const env = { ...process.env, ...environment };
  const child: ChildProcess = spawn(process.execPath, [programOf(MAIN), ...args], { env });
  let out = '';
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await until(() => out.includes(said) || child.exitCode !== null);
  child.kill('SIGTERM');
  return { code: await ended, out, err: '' };
}

test('an unknown level of the log is refused, and so is --json by itself', async () => {
  const file = configured();
  const [level, json] = await Promise.all([
    run(['--config', file, '--log-level', 'trace']),
    run(['--config', file, '--json']),
  ]);
  expect([level.code, json.code]).toEqual([EXIT_CODES.usage.code, EXIT_CODES.usage.code]);
  expect(level.err).toContain('--log-level is one of error, warn, info, debug, not "trace"');
  expect(json.err).toContain('--json is for --check');
});

/** What a test makes may lie there, of which people are warned. */
const IN_MEMORY = 'it lies in memory';

test('why it does not start is said once, with the exit code and what to do', async () => {
  const { code, out, err } = await run([
    '--config',
    configured({ listen: { host: '192.0.2.1', port: 8443 } }),
  ]);
  expect(code).toBe(EXIT_CODES.usage.code);
  expect(err).toBe('');
  expect(
    out
      .trim()
      .split('\n')
      .filter((line) => !line.includes(IN_MEMORY))
      .map((line) => JSON.parse(line) as object),
  ).toMatchObject([
    {
      message: 'cannot run',
      exitCode: EXIT_CODES.usage.code,
      reason: expect.stringMatching(/192\.0\.2\.1:8443.*ip address/) as string,
    },
  ]);
});

test('--check prints for people and for programs, also with variables of the driver', async () => {
  const file = configured();
  const environment = { NODE_PG_FORCE_NATIVE: '1', PGOPTIONS: '-c default_transaction_read_only=on' };
  const text = await run(['--config', file, '--check'], environment);
  expect(text).toMatchObject({ code: 0, err: '' });
  expect(text.out).toContain('0 errors, ');
  expect(text.out.match(/^warning: .*/gm)?.filter((line) => !line.includes(IN_MEMORY)) ?? []).toEqual([]);
  const DATABASE_URL = 'postgresql://escrowd@127.0.0.1:1/escrowd';
  const json = await run(['--config', file, '--check', '--json'], { ...environment, DATABASE_URL });
  expect(json.code).toBe(EXIT_CODES.usage.code);
  const found = JSON.parse(json.out) as readonly { readonly what: string }[];
  expect(found.filter(({ what }) => !what.includes(IN_MEMORY))).toMatchObject([
    { code: 'config', severity: 'error', where: 'NODE_PG_FORCE_NATIVE, PGOPTIONS in the environment' },
  ]);
});

test('SIGTERM ends a start that waits for its database', async () => {
  const DATABASE_URL = `postgresql://escrowd@127.0.0.1:${await freePort()}/escrowd`;
  const { code, out } = await stoppedAt('it is tried for 60000 ms', ['--config', configured()], {
    DATABASE_URL,
  });
  expect(code).toBe(EXIT_CODES.clean.code);
  expect(out).toContain('"stopped"');
});

test('SIGTERM ends a start that tries its token: what it started is stopped; the driver’s variables changed nothing', async () => {
  const file = configured({}, { selfTest: 'full' });
  const { code, out } = await stoppedAt('runs on', ['--config', file], {
    PGOPTIONS: '-c default_transaction_read_only=on',
  });
  expect(code).toBe(EXIT_CODES.clean.code);
  expect(out).toContain('"variables":"PGOPTIONS"');
  expect(out).toContain('"stopped"');
  expect(out).not.toContain('the token has proved itself');
  const data = join(system.directory, 'postgres', 'data');
  expect(['PG_VERSION', 'postmaster.pid'].map((name) => existsSync(join(data, name)))).toEqual([true, false]);
});
