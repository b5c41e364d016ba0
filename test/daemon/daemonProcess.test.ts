import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { parse, stringify } from 'yaml';

import { EXIT_CODES } from '../../src/daemon/exitCodes.js';
import { findModule } from '../../src/token/cryptoki/module.js';
import { runTs } from '../support/runTs.js';
import { SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';
import type { System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { LIMITS_MS } from '../support/limits.js';
import { copySpyModule } from '../support/spyModule.js';

jest.setTimeout(LIMITS_MS.system);

const NOBODY = 65_534;

type Changes = (config: Record<string, Record<string, unknown>>) => void;

let system: System;
const children: ChildProcess[] = [];
const scratch: string[] = [];
let started = 0;

beforeAll(async () => {
  system = await makeSystem({ withoutDaemon: true });
});
afterEach(async () => {
  for (const child of children.splice(0)) await ended(child, 'SIGKILL');
});
afterAll(async () => {
  for (const directory of scratch) rmSync(directory, { recursive: true, force: true });
  await system.remove();
});

/** Starts the daemon as a process of its own, with the system's configuration changed so. */
function daemon(change: Changes = () => undefined): ChildProcess {
  const config = parse(readFileSync(system.configFile, 'utf8')) as Record<string, Record<string, unknown>>;
  config['token'] = { ...config['token'], profile: SOFTHSM_PROFILE_FILE };
  change(config);
  const file = join(system.directory, `escrowd-${String((started += 1))}.yaml`);
  writeFileSync(file, stringify(config));
  const child = runTs(join(__dirname, '..', '..', 'src', 'main.ts'), { args: ['--config', file] });
  children.push(child);
  return child;
}

/** The port that the daemon says it serves on. */
function serving(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const found = /"url":"https:\/\/127\.0\.0\.1:(\d+)"/.exec(said);
      if (found !== null) resolve(Number(found[1]));
    });
    child.once('exit', () => {
      reject(new Error(`the daemon ended: ${said}`));
    });
  });
}

/** Resolves when the daemon's output has this in it. */
function said(child: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes(text)) resolve();
    });
    child.once('exit', () => {
      reject(new Error(`the daemon ended before it said: ${text}`));
    });
  });
}

/** Configuration with which OpenSC's spy writes every call to the token into a file. */
function spyingTo(file: string): {
  readonly module: string;
  readonly allowSpy: true;
  readonly environment: Readonly<Record<string, string>>;
} {
  const { place } = system.hsm;
  const target = findModule(place.profile, undefined);
  const environment = { ...place.environment, PKCS11SPY: target, PKCS11SPY_OUTPUT: file };
  return { module: copySpyModule(system.directory), allowSpy: true, environment };
}

/** What each C_Login answered, as the spy wrote it down. */
function loginsIn(file: string): readonly (string | undefined)[] {
  const text = readFileSync(file, 'latin1');
  return [...text.matchAll(/^\d+: C_Login\n(?:(?!\d+: C_).*\n)*?Returned: +\d+ (CKR_\w+)$/gm)].map(
    ([, answer]) => answer,
  );
}

async function ended(child: ChildProcess, signal?: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  if (signal !== undefined) child.kill(signal);
  return exit;
}

describe('the daemon as a process', () => {
  it('serves, and ends with 0 when asked to; SIGUSR1 opens no inspector', async () => {
    const child = daemon();
    await serving(child);
    child.kill('SIGUSR1');
    const inspector = await new Promise((resolve) => {
      const socket = connect(9229, '127.0.0.1');
      socket.once('connect', () => {
        socket.destroy();
        resolve('open');
      });
      socket.once('error', () => {
        resolve('closed');
      });
    });
    expect(inspector).toBe('closed');
    expect(await ended(child, 'SIGTERM')).toBe(EXIT_CODES.clean.code);
  });

  it('is refused beside another on the same directory, which goes on', async () => {
    const first = daemon();
    await serving(first);
    expect(await ended(daemon())).toBe(EXIT_CODES.inUse.code);
    expect(await ended(first, 'SIGTERM')).toBe(EXIT_CODES.clean.code);
  });

  it('starts again where one was killed', async () => {
    const first = daemon();
    await serving(first);
    await ended(first, 'SIGKILL');
    const second = daemon();
    await serving(second);
    expect(await ended(second, 'SIGTERM')).toBe(EXIT_CODES.clean.code);
  });

  it('leaves no core dump, whatever limit it was started with', async () => {
    const setLimit = (core: string): void => {
      execFileSync('prlimit', ['--pid', String(process.pid), `--core=${core}:`]);
    };
    const [limit = '0'] = execFileSync('prlimit', ['--core', '--noheadings', '--output=SOFT', '--raw'], {
      encoding: 'utf8',
    }).split('\n');
    setLimit('4096');
    const child = daemon();
    setLimit(limit.trim());
    await serving(child);
    const limits = readFileSync(`/proc/${String(child.pid)}/limits`, 'utf8');
    expect(limits).toMatch(/^Max core file size +0 +0 /m);
  });

  it('tries a wrong PIN once, and says so by its exit code', async () => {
    const spied = join(system.directory, 'wrong-pin.spy');
    const pinFile = join(system.directory, 'refused.pin');
    writeFileSync(pinFile, 'not the pin', { mode: 0o600 });
    const child = daemon((config) => {
      config['token'] = { ...config['token'], ...spyingTo(spied), pinFile };
    });
    expect(await ended(child)).toBe(EXIT_CODES.pin.code);
    expect(loginsIn(spied)).toEqual(['CKR_PIN_INCORRECT']);
  });

  it('ends with that code when the PIN is refused at the return of a token that was gone: tried once', async () => {
    const spied = join(system.directory, 'returned.spy');
    const pinFile = join(system.directory, 'changed.pin');
    writeFileSync(pinFile, system.hsm.userPin, { mode: 0o600 });
    const child = daemon((config) => {
      config['token'] = { ...config['token'], ...spyingTo(spied), pinFile, probeMs: 50 };
    });
    await serving(child);
    const tokens = join(system.hsm.directory, 'tokens');
    const aside = join(system.hsm.directory, 'aside');
    const [name = ''] = readdirSync(tokens);
    renameSync(join(tokens, name), aside);
    await said(child, 'it is opened anew');
    writeFileSync(pinFile, 'not the pin');
    renameSync(aside, join(tokens, name));
    expect(await ended(child)).toBe(EXIT_CODES.pin.code);
    // the process that makes key pairs logs in as well, once the daemon has
    const [first, ...later] = loginsIn(spied);
    expect(first).toBe('CKR_OK');
    expect(later.filter((answer) => answer === 'CKR_PIN_INCORRECT')).toHaveLength(1);
  });

  describe('ends by itself when a call into the token does not come back', () => {
    let module: string;
    let when: string;
    beforeAll(() => {
      module = join(system.directory, 'hanging.so');
      when = join(system.directory, 'hang-now');
      const source = join(__dirname, '..', 'support', 'hangingModule.c');
      execFileSync('gcc', ['-shared', '-fPIC', '-o', module, source, '-ldl']);
    });
    afterEach(() => {
      rmSync(when, { force: true });
    });

    const hanging: Changes = (config) => {
      const { place } = system.hsm;
      const environment = {
        ...place.environment,
        HANGING_TARGET: findModule(place.profile, undefined),
        HANGING_WHEN: when,
      };
      config['token'] = { ...config['token'], module, environment, probeMs: 50, hangMs: 8_000 };
    };

    it('on the main thread, where it stops everything: the next one starts and settles what was left', async () => {
      const child = daemon(hanging);
      await serving(child);
      const alarm = said(child, '"alarm":"token-call-hangs"');
      writeFileSync(when, 'sign');
      await alarm;
      expect(await ended(child)).toBe(EXIT_CODES.hang.code);
      rmSync(when);
      const next = daemon(hanging);
      await serving(next);
      expect(await ended(next, 'SIGTERM')).toBe(EXIT_CODES.clean.code);
    });

    it('on another thread, where it holds a session for ever', async () => {
      // the self-test makes an RSA pair
      writeFileSync(when, 'rsa');
      const child = daemon(hanging);
      await said(child, '"alarm":"token-call-hangs"');
      expect(await ended(child)).toBe(EXIT_CODES.hang.code);
    });
  });

  it('cannot be looked into by others of its user, and its core is dumped nowhere', async () => {
    const into = mkdtempSync(join(tmpdir(), 'escrowd-process-'));
    scratch.push(into);
    // it ends for want of a configuration, past the point where it forbids itself core dumps, and is held there
    const hold = join(into, 'hold.mjs');
    const waiting = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);';
    const held = `import { writeSync } from 'node:fs';\nprocess.on('exit', () => { writeSync(1, 'held\\n'); ${waiting} });\n`;
    writeFileSync(hold, held, { mode: 0o644 });
    const asNobody = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
    const entry = join(__dirname, '..', '..', 'src', 'main.ts');
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: object };
    const packages = Object.keys(dependencies); // nobody may not be able to reach the repository's
    const args = ['--config', join(into, 'none.yaml')];
    const environment = { NODE_OPTIONS: `--import=${hold}` };
    const child = runTs(entry, { args, environment, apart: { into, packages }, ...asNobody });
    children.push(child);
    await once(child.stdout ?? child, 'data');
    // PR_SET_DUMPABLE 0 gives the files in /proc to root (proc(5)): else they are the user's
    const proc = `/proc/${String(child.pid)}/status`;
    expect(statSync(proc).uid).toBe(0);
    expect(readFileSync(proc, 'utf8')).toMatch(
      new RegExp(`^Uid:\\t${String(asNobody.uid ?? process.getuid?.())}\\t`, 'm'),
    );
    await ended(child, 'SIGKILL');
  });

  const refusals: readonly (readonly [string, Changes, keyof typeof EXIT_CODES])[] = [
    ['an unknown member in the configuration', (config) => (config['lissen'] = {}), 'usage'],
    [
      'a PIN file that others can read',
      (config) => {
        const pinFile = join(system.directory, 'open.pin');
        writeFileSync(pinFile, 'pin', { mode: 0o644 });
        config['token'] = { ...config['token'], pinFile };
      },
      'usage',
    ],
    [
      'a wrong PIN',
      (config) => {
        const pinFile = join(system.directory, 'wrong.pin');
        writeFileSync(pinFile, 'not the pin', { mode: 0o600 });
        config['token'] = { ...config['token'], pinFile };
      },
      'pin',
    ],
    [
      'a spy on the token',
      (config) => {
        const { environment } = spyingTo(join(system.directory, 'refused.spy'));
        config['token'] = { ...config['token'], environment };
      },
      'usage',
    ],
    [
      'a spy for a module',
      (config) => (config['token'] = { ...config['token'], module: copySpyModule(system.directory) }),
      'token',
    ],
    [
      'a label that no token has',
      (config) => {
        // without the record, which is of another token than this
        config['token'] = { ...config['token'], label: 'nobody', record: undefined };
      },
      'token',
    ],
    [
      'a database directory without binaries',
      (config) => (config['database'] = { directory: 'postgres', binaries: '/nonexistent' }),
      'database',
    ],
  ];

  it.each(refusals)('does not start with %s', async (_what, change, reason) => {
    expect(await ended(daemon(change))).toBe(EXIT_CODES[reason].code);
  });
});
