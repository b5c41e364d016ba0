import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import type { RecoveryId } from '../../../src/escrow/records/ids.js';
import { findModule, libraryParameters } from '../../../src/token/cryptoki/module.js';
import type { PairTokenLocation } from '../../../src/token/objects/pairMaker.js';
import { MAKES_PAIRS, pairProcess } from '../../../src/token/objects/pairMaker.js';
import type { OpenToken, TokenGeneration } from '../../../src/token/service/openToken.js';
import { superviseToken } from '../../../src/token/service/supervisedToken.js';
import { newRecovery } from '../../support/escrowChain.js';
import { openRaw } from '../../support/rawToken.js';
import { programOf } from '../../support/runTs.js';
import type { SoftHsm } from '../../support/softhsm.js';
import { enrolledSoftHsm } from '../../support/softhsm.js';
import { letPass, until } from '../../support/waiting.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

const PROGRAM = programOf(join(process.cwd(), 'src', 'pairProgram.ts'));
const ALWAYS_LOGGED_OUT = `if (order === 'make') process.send({ answer: 0x101 });`;
const ENDS_AT_ONCE = `process.exit(1);`;

const programs = mkdtempSync(join(tmpdir(), 'escrowd-pairs-'));
const lines: { readonly message: string; readonly fields: unknown }[] = [];
const log = (_level: string, message: string, fields?: unknown): void => void lines.push({ message, fields });
let hsm: SoftHsm;

beforeAll(async () => {
  ({ hsm } = await enrolledSoftHsm('alice'));
});
afterAll(() => {
  hsm.remove();
  rmSync(programs, { recursive: true, force: true });
});
beforeEach(() => {
  lines.splice(0);
});

/** A process that does `text` at each order. */
function program(name: string, text: string): string {
  const file = join(programs, `${name}.cjs`);
  writeFileSync(file, `process.on('message', ({ order }) => { ${text} });\n`);
  return file;
}

async function makeAndDestroy(token: OpenToken): Promise<void> {
  const recovery = newRecovery();
  const lent = ['createTransport', 'destroyTransport'] as const;
  await token.lend(lent, (verbs) => verbs.createTransport(recovery));
  await token.lend(lent, (verbs) => verbs.destroyTransport(recovery));
}

/** Opens the token over and over with what `programOfNth` says, and notes when. */
function opener(programOfNth: (nth: number) => string): {
  readonly openedAt: number[];
  readonly generations: TokenGeneration[];
  readonly open: () => Promise<TokenGeneration>;
} {
  const openedAt: number[] = [];
  const generations: TokenGeneration[] = [];
  return {
    openedAt,
    generations,
    open: async () => {
      const file = programOfNth(openedAt.length);
      openedAt.push(performance.now());
      const generation = await hsm.open({ startPairs: pairProcess(file, { deadlineMs: 60_000, log }) });
      generations.push(generation);
      return generation;
    },
  };
}

const watched = { probeMs: 50, waitMs: 10_000, recycleAfterObjects: 0, log };

describe('a process that makes pairs and ends unasked', () => {
  test('is replaced by itself: the token is opened anew beside the requests, and none of them fails', async () => {
    const broken = program('logged-out', ALWAYS_LOGGED_OUT);
    const { open, openedAt, generations } = opener((nth) => (nth === 0 ? broken : PROGRAM));
    const token = superviseToken(await open(), { open, ...watched });
    try {
      for (let made = 0; made < 3; made += 1) await makeAndDestroy(token);
      await until(() => generations.length === 2);
      await makeAndDestroy(token);
      expect(generations[1]?.lacksPairMaker()).toBe(false);
      expect(openedAt).toHaveLength(2);
      expect(lines).toContainEqual({
        message: 'the process that makes key pairs met a fault of the token: it is ended',
        fields: { fault: 'CKR_0x101' },
      });
      expect(lines).toContainEqual(
        expect.objectContaining({
          message: 'the token was opened anew so that another process makes its key pairs',
        }),
      );
    } finally {
      await token.close();
    }
  });

  test('each time does not have the token opened in a loop: each pause is twice as long', async () => {
    const broken = program('ends-at-once', ENDS_AT_ONCE);
    const { open, openedAt } = opener(() => broken);
    const token = superviseToken(await open(), { open, ...watched });
    try {
      await until(() => openedAt.length === 4);
      const [, second = 0, third = 0, fourth = 0] = openedAt;
      expect(third - second).toBeGreaterThanOrEqual(1_000);
      expect(fourth - third).toBeGreaterThanOrEqual(2_000);
      await makeAndDestroy(token);
      await token.check();
    } finally {
      await token.close();
    }
  });

  test('while a request is under way lets that end first', async () => {
    const broken = program('logged-out-too', ALWAYS_LOGGED_OUT);
    const { open, openedAt } = opener((nth) => (nth === 0 ? broken : PROGRAM));
    const token = superviseToken(await open(), { open, ...watched });
    try {
      await token.lend(['createTransport', 'destroyTransport', 'attest'], async (lent) => {
        const recovery = newRecovery();
        await lent.createTransport(recovery);
        await letPass(500);
        expect(openedAt).toHaveLength(1);
        await lent.destroyTransport(recovery);
        await lent.attest(Buffer.from('x'));
      });
      await until(() => openedAt.length === 2);
    } finally {
      await token.close();
    }
  });

  test('because the token is closed is not missed', async () => {
    const { open, generations } = opener(() => PROGRAM);
    const token = superviseToken(await open(), { open, ...watched });
    try {
      expect(await token.recycle()).toBe(true);
      await letPass(500);
      expect(generations).toHaveLength(2);
      expect(lines.map(({ message }) => message).filter((message) => message.includes('has ended'))).toEqual(
        [],
      );
    } finally {
      await token.close();
    }
  });
});

describe('what it is given of the environment', () => {
  const MEANT_FOR_THE_DAEMON = {
    NODE_OPTIONS: '--inspect=127.0.0.1:0',
    NODE_EXTRA_CA_CERTS: '/nowhere',
    PGPASSWORD: 'a password',
    PGSERVICEFILE: '/nowhere',
    DATABASE_URL: 'postgresql://user:password@host/db',
    DATABASE_OWNER_URL: 'postgresql://owner:password@host/db',
    CREDENTIALS_DIRECTORY: '/nowhere',
  };
  const MEANT_FOR_MODULES = {
    SOFTHSM2_CONF: '/a/configuration',
    ChrystokiConfigurationPath: '/a/configuration',
    CS_PKCS11_R2_CFG: '/a/configuration',
    OPENSSL_CONF: '/a/configuration',
    LC_ALL: 'C.UTF-8',
    TZ: 'UTC',
  };

  test('is what modules may read, and nothing that is meant for the daemon', async () => {
    const before = { ...process.env };
    Object.assign(process.env, MEANT_FOR_THE_DAEMON, MEANT_FOR_MODULES);
    const told = join(programs, 'environment.json');
    const text = `require('node:fs').writeFileSync(${JSON.stringify(told)}, JSON.stringify(process.env)); process.exit(0);`;
    try {
      const maker = pairProcess(program('tells-environment', text), { deadlineMs: 60_000, log })(
        place(),
        Buffer.from('PIN'),
      );
      await until(() => !maker.isAtWork);
      await maker.close();
    } finally {
      for (const name of Object.keys({ ...MEANT_FOR_THE_DAEMON, ...MEANT_FOR_MODULES })) {
        if (before[name] === undefined) Reflect.deleteProperty(process.env, name);
        else process.env[name] = before[name];
      }
    }
    const given = JSON.parse(readFileSync(told, 'utf8')) as Record<string, string>;
    expect(given).toMatchObject(MEANT_FOR_MODULES);
    expect(given['PATH']).toBe(before['PATH']);
    expect(given['LD_PRELOAD']).toBe(before['LD_PRELOAD']);
    const shown = Object.keys(given).filter((name) => name in MEANT_FOR_THE_DAEMON);
    expect(shown).toEqual([]);
  });
});

function place(): PairTokenLocation {
  const { profile, label, environment } = hsm.place;
  const modulePath = findModule(profile, undefined);
  return {
    profile,
    label,
    modulePath,
    environment,
    parameters: libraryParameters(profile, label, environment),
  };
}

describe('the program itself', () => {
  const found = (recovery: RecoveryId): number => {
    const raw = openRaw(hsm, 'user');
    try {
      const left = raw.find([{ type: pkcs11.CKA_LABEL, value: `transport:${recovery}` }]);
      for (const handle of left) raw.driver.C_DestroyObject(raw.session, handle);
      return left.length;
    } finally {
      raw.close();
    }
  };

  function start(parent: number, execArgv: readonly string[] = []): ChildProcess {
    return fork(PROGRAM, [MAKES_PAIRS, String(parent)], {
      serialization: 'advanced',
      execArgv: [...execArgv],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
  }

  function order(child: ChildProcess, recovery: RecoveryId): void {
    child.send({ order: 'open', location: place(), pin: Buffer.from(hsm.userPin) }, () => undefined);
    child.send({ order: 'make', label: `transport:${recovery}` }, () => undefined);
  }

  test('started by one that had ended before it looked, it makes nothing of what it was asked, and is gone', async () => {
    const recovery = newRecovery();
    const child = start(process.pid + 1);
    order(child, recovery);
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    expect(found(recovery)).toBe(0);
  });

  test('control: asked the same by the one that started it, it makes the pair', async () => {
    const recovery = newRecovery();
    const child = start(process.pid);
    const answered = once(child, 'message');
    order(child, recovery);
    expect(await answered).toMatchObject([{ answer: 0 }]);
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    expect(found(recovery)).toBe(2);
  });

  test.each([
    { how: 'asked for', execArgv: ['--inspect=127.0.0.1:0'] },
    {
      how: 'opened by SIGUSR1 before the program ignores it',
      execArgv: ['--import', "data:text/javascript,process.kill(process.pid,'SIGUSR1')"],
    },
  ])('with an inspector that was $how it takes no PIN, and is gone', async ({ execArgv }) => {
    const recovery = newRecovery();
    const child = start(process.pid, execArgv);
    order(child, recovery);
    expect(await once(child, 'exit')).toEqual([1, null]);
    expect(found(recovery)).toBe(0);
  });
});
