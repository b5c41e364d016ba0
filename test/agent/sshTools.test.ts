import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { type AgentParts, type RunningAgent, startAgent } from '../../src/agent/agent.js';
import { readAgentFile } from '../../src/agent/agentFile.js';
import type { Told } from '../../src/agent/use.js';
import type { KeyReply } from '../../src/api/replies.js';
import { agree, askToOperate, makeKey, signingScope } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import { grantOf } from '../support/oneKey.js';
import { makeSystem, RULES, type System } from '../support/system.js';
import { until } from '../support/waiting.js';

jest.setTimeout(LIMITS_MS.system);

/* OpenSSH's own programs and git, unchanged, sign with a deposited key that an app was granted. */

const run = promisify(execFile);

let system: System;
let key: KeyReply;
let rsa: KeyReply;
let configuration: string;
let agent: RunningAgent | undefined;
const told: Told[] = [];

beforeAll(async () => {
  system = await makeSystem();
  await system.applyRules(
    RULES.map((rule) => ({ ...(rule as object), requesters: ['depositary', 'app'] })),
    {},
  );
  key = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  rsa = await makeKey(system, { spec: 'rsa-2048', use: 'sign' });
  writeFileSync(join(system.directory, 'ec.pem'), key.publicKeyPem ?? '', { mode: 0o644 });
  writeFileSync(join(system.directory, 'rsa.pem'), rsa.publicKeyPem ?? '', { mode: 0o644 });
  configuration = join(system.directory, 'agent.yaml');
  const request = `request: { reason: nightly release, maxUses: 2, duration: PT1H, validFor: PT1H }`;
  writeFileSync(
    configuration,
    `keys:\n  - { key: ${key.key}, name: release, publicKey: ec.pem, ${request} }\n  - { key: ${rsa.key}, name: old, publicKey: rsa.pem }\n`,
    { mode: 0o644 },
  );
  chmodSync(configuration, 0o644);
});

afterAll(() => system.remove());

afterEach(async () => {
  await agent?.stop();
  agent = undefined;
});

async function serve(
  terms?: Pick<NonNullable<AgentParts['asks']>, 'waitMs' | 'withdraws'>,
): Promise<Record<string, string>> {
  told.length = 0;
  const client = system.client('app');
  const cancel = (id: string, reason: string): Promise<unknown> => client.cancel(id, reason);
  const asks = terms === undefined ? undefined : { ...terms, cancel };
  agent = await startAgent({
    client,
    keys: await readAgentFile(configuration),
    directory: join(system.directory, 'sockets'),
    now: () => new Date(),
    tell: (one) => told.push(one),
    asks,
  });
  return { ...process.env, SSH_AUTH_SOCK: agent.sshSocket };
}

/** The public half in SSH form, as a file that `ssh-keygen -Y sign` takes. */
async function publicFile(env: Record<string, string>, name: string): Promise<string> {
  const { stdout } = await run('ssh-add', ['-L'], { env });
  const line = stdout.split('\n').find((each) => each.endsWith(` ${name}`)) ?? '';
  const file = join(system.directory, `${name}.pub`);
  writeFileSync(file, `${line}\n`);
  return file;
}

async function signFile(env: Record<string, string>, publicKey: string, text: string): Promise<void> {
  const file = join(system.directory, 'signed.txt');
  writeFileSync(file, text);
  // ssh-keygen would ask whether to write over it
  rmSync(`${file}.sig`, { force: true });
  await run('ssh-keygen', ['-Y', 'sign', '-q', '-f', publicKey, '-n', 'file', file], { env });
}

async function requireVerified(publicKey: string): Promise<void> {
  const allowed = join(system.directory, 'allowed');
  writeFileSync(allowed, `app ${readFileSync(publicKey, 'utf8')}`);
  const file = join(system.directory, 'signed.txt');
  const { stdout } = await run('sh', [
    '-c',
    `ssh-keygen -Y verify -f "$1" -I app -n file -s "$2.sig" < "$2"`,
    ...['sh', allowed, file],
  ]);
  expect(stdout).toMatch(/^Good "file" signature for app/);
}

const sentences = (): string => told.map(({ sentence }) => sentence).join('\n');
const codes = (): readonly (string | undefined)[] => told.map(({ code }) => code);

test('the sockets are for this user alone', async () => {
  await serve();
  expect(statSync(join(system.directory, 'sockets')).mode & 0o777).toBe(0o700);
  expect(statSync(agent?.sshSocket ?? '').mode & 0o777).toBe(0o600);
  await expect(serve()).rejects.toThrow('Another agent serves');
});

test('without a grant nothing is signed, and the person is told what to type', async () => {
  const env = await serve();
  const file = await publicFile(env, 'release');
  await expect(signFile(env, file, 'no grant')).rejects.toMatchObject({ code: 255 });
  expect(codes()).toEqual(['no-grant']);
  expect(told[0]?.next).toContain(`escrowctl recovery request ${key.key} --purpose operate --app app`);
});

test('ssh-keygen and git sign under a grant, every use is one of it, and the use after the last fails', async () => {
  const asked = await askToOperate(system, key.key, signingScope({ maxUses: 3 }));
  const grant = grantOf(await agree(system, asked.recovery));
  const env = await serve();
  const file = await publicFile(env, 'release');
  await signFile(env, file, 'first');
  await requireVerified(file);
  expect(told).toMatchObject([{ event: 'used', grant, remaining: 2 }]);
  expect(sentences()).toMatch(/^ssh-keygen\[\d+\] had release sign a file or commit for "file" \(sha512 /);

  const repository = join(system.directory, 'repository');
  mkdirSync(repository);
  const git = (...args: readonly string[]): Promise<{ stdout: string; stderr: string }> =>
    run('git', ['-c', 'user.name=app', '-c', 'user.email=app@example.com', '-C', repository, ...args], {
      env,
    });
  await git('init', '-q');
  for (const [name, value] of [
    ['gpg.format', 'ssh'],
    ['user.signingkey', file],
    ['gpg.ssh.allowedSignersFile', join(system.directory, 'allowed')],
  ] as const)
    await git('config', name, value);
  writeFileSync(join(system.directory, 'allowed'), `app@example.com ${readFileSync(file, 'utf8')}`);
  await git('commit', '-q', '-S', '--allow-empty', '-m', 'signed');
  expect((await git('verify-commit', 'HEAD')).stderr).toMatch(/^Good "git" signature for app@example.com/);
  await git('tag', '-s', 'v1', '-m', 'signed');
  expect((await system.client('app').grant(grant)).used).toBe(3);

  await expect(signFile(env, file, 'fourth')).rejects.toMatchObject({ code: 255 });
  expect(codes().at(-1)).toBe('no-grant');
  expect((await system.client('app').grant(grant)).used).toBe(3);
});

test('a revoked grant ends at the next use, and another that is live is found', async () => {
  const asked = await askToOperate(system, key.key, signingScope({ maxUses: 9 }));
  const grant = grantOf(await agree(system, asked.recovery));
  const env = await serve();
  const file = await publicFile(env, 'release');
  await signFile(env, file, 'before');
  await system.client('owner').revoke(grant, 'back at work');
  await expect(signFile(env, file, 'after')).rejects.toMatchObject({ code: 255 });
  const again = await askToOperate(system, key.key, signingScope({ maxUses: 1 }));
  await agree(system, again.recovery);
  await signFile(env, file, 'again');
  await requireVerified(file);
});

test('RSA signs by SHA-256 and SHA-512, and eight programs at once use exactly what they use', async () => {
  const scope = signingScope({ maxUses: 8, mechanisms: ['RS256', 'RS512'] });
  const grant = grantOf(await agree(system, (await askToOperate(system, rsa.key, scope)).recovery));
  const env = await serve();
  const file = await publicFile(env, 'old');
  await Promise.all(
    Array.from({ length: 8 }, async (_, at) => {
      const signed = join(system.directory, `at-once-${at}.txt`);
      writeFileSync(signed, `file ${at}`);
      await run('ssh-keygen', ['-Y', 'sign', '-q', '-f', file, '-n', 'file', signed], { env });
    }),
  );
  expect((await system.client('app').grant(grant)).used).toBe(8);
  expect(told.map(({ remaining }) => remaining).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test('the program that is started first waits for two approvals, and then it is signed', async () => {
  const env = await serve({ waitMs: 60_000, withdraws: true });
  const file = await publicFile(env, 'release');
  const signing = signFile(env, file, 'waited for');
  await until(() => told.some(({ event }) => event === 'asked'));
  const [{ recovery = '' } = {}] = told;
  expect(await system.client('manager').recovery(recovery)).toMatchObject({
    requester: 'app',
    reason: 'nightly release',
    scope: { app: 'app', mechanisms: ['ES256'], input: 'digest', maxUses: 2, duration: 'PT1H' },
  });
  expect(told[0]?.next).toBe(`depositaries decide by: escrowctl recovery approve ${recovery}`);
  await agree(system, recovery);
  await signing;
  await requireVerified(file);
  expect(told.map(({ event }) => event)).toEqual(['asked', 'decided', 'used']);
  await signFile(env, file, 'by the same grant');
  expect(told.at(-1)).toMatchObject({ event: 'used', remaining: 0 });
});

test('what is denied ends the call of the program with the reason, and is not asked for again by itself', async () => {
  const env = await serve({ waitMs: 60_000, withdraws: true });
  const file = await publicFile(env, 'release');
  const signing = signFile(env, file, 'denied').catch((error: unknown) => error);
  await until(() => told.some(({ event }) => event === 'asked'));
  const [{ recovery = '' } = {}] = told;
  await system.deny('manager', recovery, 'not today');
  await system.deny('officer-1', recovery, 'nor by me');
  expect(await signing).toMatchObject({ code: 255 });
  expect(sentences()).toContain('"not today"');
  await expect(signFile(env, file, 'once more')).rejects.toMatchObject({ code: 255 });
  expect(told.filter(({ event }) => event === 'asked')).toHaveLength(1);
});

test('a program that ends while it waits has its request withdrawn', async () => {
  const env = await serve({ waitMs: 60_000, withdraws: true });
  const file = await publicFile(env, 'release');
  const ended = new AbortController();
  const signed = join(system.directory, 'killed.txt');
  writeFileSync(signed, 'killed');
  const signing = run('ssh-keygen', ['-Y', 'sign', '-q', '-f', file, '-n', 'file', signed], {
    ...{ env, signal: ended.signal, killSignal: 'SIGKILL' },
  }).catch(() => undefined);
  await until(() => told.some(({ event }) => event === 'asked'));
  const [{ recovery = '' } = {}] = told;
  ended.abort();
  await signing;
  await until(() => told.some(({ event }) => event === 'withdrawn'));
  expect((await system.client('manager').recovery(recovery)).status).toBe('cancelled');
});

test('with no time to wait the request is filed once, the tool is refused, and the next call finds what was granted', async () => {
  const env = await serve({ waitMs: 0, withdraws: false });
  const file = await publicFile(env, 'release');
  await expect(signFile(env, file, 'filed')).rejects.toMatchObject({ code: 255 });
  await expect(signFile(env, file, 'filed')).rejects.toMatchObject({ code: 255 });
  const asked = new Set(told.flatMap(({ recovery }) => recovery ?? []));
  expect(asked.size).toBe(1);
  await agree(system, [...asked][0] ?? '');
  await signFile(env, file, 'filed');
  await requireVerified(file);
});
