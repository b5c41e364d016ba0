import { execFile } from 'node:child_process';
import { constants, publicEncrypt } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { type AgentParts, type RunningAgent, startAgent } from '../../../src/agent/agent.js';
import { readAgentFile } from '../../../src/agent/agentFile.js';
import { publicPartOf } from '../../../src/agent/pkcs11/publicPart.js';
import type { OfferedKey, Told } from '../../../src/agent/use.js';
import type { KeyReply } from '../../../src/api/replies.js';
import type { ScopeOrder } from '../../../src/api/orders.js';
import { agree, askToOperate, makeKey, signingScope } from '../../support/life.js';
import { LIMITS_MS } from '../../support/limits.js';
import { grantOf } from '../../support/oneKey.js';
import { makeSystem, RULES, type System } from '../../support/system.js';
import { until } from '../../support/waiting.js';

jest.setTimeout(LIMITS_MS.system);

/* p11-kit's client and OpenSC's pkcs11-tool, unchanged, use deposited keys that an app was granted; openssl says whether it is right. */

const run = promisify(execFile);
const CLIENT = join(
  '/usr/lib',
  readdirSync('/usr/lib').find((name) => name.endsWith('-linux-gnu')) ?? '',
  'pkcs11/p11-kit-client.so',
);

let system: System;
let configuration: string;
let agent: RunningAgent | undefined;
let env: NodeJS.ProcessEnv;
let offered: readonly OfferedKey[];
const keys: Record<string, KeyReply> = {};
const told: Told[] = [];

beforeAll(async () => {
  system = await makeSystem();
  await system.applyRules(RULES.map((rule) => ({ ...(rule as object), requesters: ['depositary', 'app'] })));
  const rows: string[] = [];
  for (const [name, spec, use] of [
    ['ec', 'ec-p256', 'sign'],
    ['rsa', 'rsa-2048', 'sign'],
    ['mail', 'rsa-2048', 'decrypt'],
  ] as const) {
    const key = await makeKey(system, { spec, use });
    keys[name] = key;
    writeFileSync(file(`${name}.pem`), key.publicKeyPem ?? '', { mode: 0o644 });
    const request = `{ reason: nightly release, maxUses: 2, duration: PT1H, validFor: PT1H }`;
    rows.push(`  - { key: ${key.key}, name: ${name}, publicKey: ${name}.pem, request: ${request} }\n`);
  }
  configuration = file('agent.yaml');
  writeFileSync(configuration, `keys:\n${rows.join('')}`, { mode: 0o644 });
  offered = await readAgentFile(configuration);
  writeFileSync(file('message'), 'what is released');
  for (const hash of ['sha256', 'sha384'])
    await openssl('dgst', `-${hash}`, '-binary', '-out', file(hash), file('message'));
});

afterAll(() => system.remove());

afterEach(async () => {
  await agent?.stop();
  agent = undefined;
});

const file = (name: string): string => join(system.directory, name);
const openssl = (...args: readonly string[]): Promise<{ stdout: string; stderr: string }> =>
  run('openssl', args);
const sentences = (): string => told.map(({ sentence }) => sentence).join('\n');
const codes = (): readonly (string | undefined)[] => told.map(({ code }) => code);
const used = async (grant: string): Promise<number> => (await system.client('app').grant(grant)).used;

async function serve(terms?: Pick<NonNullable<AgentParts['asks']>, 'waitMs' | 'withdraws'>): Promise<void> {
  told.length = 0;
  const client = system.client('app');
  const cancel = (id: string, reason: string): Promise<unknown> => client.cancel(id, reason);
  const asks = terms === undefined ? undefined : { ...terms, cancel };
  agent = await startAgent({
    ...{ client, keys: offered, asks },
    directory: file('sockets'),
    now: () => new Date(),
    tell: (one) => told.push(one),
  });
  env = { ...process.env, P11_KIT_SERVER_ADDRESS: `unix:path=${agent.pkcs11Socket}` };
}

async function granted(name: string, scope: Partial<ScopeOrder>): Promise<string> {
  const asked = await askToOperate(system, keys[name]?.key ?? '', signingScope(scope));
  return grantOf(await agree(system, asked.recovery));
}

/** Runs pkcs11-tool with the key: what it says when it fails. */
async function tool(
  name: string,
  how: readonly string[],
  options: { readonly signal?: AbortSignal } = {},
): Promise<string | undefined> {
  const key = offered.find((one) => one.name === name);
  const id = key === undefined ? undefined : publicPartOf(key.publicKey)?.id.toString('hex');
  const args = ['--module', CLIENT, '--id', id ?? '', ...how];
  return run('pkcs11-tool', args, { env, ...options, killSignal: 'SIGKILL' }).then(
    () => undefined,
    (error: unknown) => (error as { readonly stderr: string }).stderr,
  );
}

const sign = (
  name: string,
  mechanism: string,
  input: string,
  output = 'signature',
  ...more: string[]
): Promise<string | undefined> =>
  tool(name, ['--sign', '-m', mechanism, '-i', file(input), '-o', file(output), ...more]);
const signDigest = (output?: string): Promise<string | undefined> =>
  sign('ec', 'ECDSA', 'sha256', output, '--signature-format', 'openssl');

async function requireVerified(name: string, hash: string, ...more: string[]): Promise<void> {
  const { stdout } = await openssl(
    ...['dgst', `-${hash}`, '-verify', file(`${name}.pem`), '-signature', file('signature'), ...more],
    file('message'),
  );
  expect(stdout).toBe('Verified OK\n');
}

test('the socket is for this user alone, and the tool finds keys and what they can do', async () => {
  await serve();
  expect(statSync(agent?.pkcs11Socket ?? '').mode & 0o777).toBe(0o600);
  const { stdout } = await run('pkcs11-tool', ['--module', CLIENT, '-L', '-M', '-O'], { env });
  expect(stdout).toMatch(/token label +: escrow\n/);
  expect(stdout).toContain('RSA-PKCS-OAEP, keySize={2048,4096}, decrypt\n');
  expect(stdout.match(/label: +(ec|rsa|mail)\n/g)).toHaveLength(6);
});

test('RSA and EC sign by what the tool chooses, RSA decrypts, and each use counts once', async () => {
  const rsa = await granted('rsa', { mechanisms: ['RS256', 'RS384', 'PS256'], input: 'digest', maxUses: 4 });
  const ec = await granted('ec', { input: 'digest', maxUses: 2 });
  const mail = await granted('mail', { operations: ['decrypt'], mechanisms: ['RSA-OAEP'], maxUses: 1 });
  await serve();

  expect(await sign('rsa', 'SHA256-RSA-PKCS', 'message')).toBeUndefined();
  await requireVerified('rsa', 'sha256');
  expect(await sign('rsa', 'SHA384-RSA-PKCS', 'message')).toBeUndefined();
  await requireVerified('rsa', 'sha384');
  expect(
    await sign('rsa', 'RSA-PKCS-PSS', 'sha256', 'signature', '--hash-algorithm', 'SHA256'),
  ).toBeUndefined();
  await requireVerified('rsa', 'sha256', '-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32');
  const info = Buffer.from('3031300d060960864801650304020105000420', 'hex');
  writeFileSync(file('info'), Buffer.concat([info, readFileSync(file('sha256'))]));
  expect(await sign('rsa', 'RSA-PKCS', 'info')).toBeUndefined();
  await requireVerified('rsa', 'sha256');
  expect(await used(rsa)).toBe(4);

  expect(await signDigest()).toBeUndefined();
  await requireVerified('ec', 'sha256');
  // more than the curve takes: its leftmost bits, as openssl has it
  expect(await sign('ec', 'ECDSA', 'sha384', 'signature', '--signature-format', 'openssl')).toBeUndefined();
  await requireVerified('ec', 'sha384');
  expect(await used(ec)).toBe(2);

  const padding = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };
  const publicKey = readFileSync(file('mail.pem'), 'utf8');
  writeFileSync(file('sealed'), publicEncrypt({ key: publicKey, ...padding }, Buffer.from('who is paid')));
  const oaep = ['--decrypt', '-m', 'RSA-PKCS-OAEP', '--hash-algorithm', 'SHA-1'];
  expect(await tool('mail', [...oaep, '-i', file('sealed'), '-o', file('opened')])).toBeUndefined();
  expect(readFileSync(file('opened'), 'utf8')).toBe('who is paid');
  expect(await used(mail)).toBe(1);
  expect(sentences()).toMatch(/pkcs11-tool\[\d+\] had mail decrypt a ciphertext of 256 bytes: 0 uses of/);
  expect(told.every(({ event }) => event === 'used')).toBe(true);
});

test('several tools at once use exactly what they use, and the use after the last fails as a tool says it', async () => {
  const grant = await granted('ec', { input: 'digest', maxUses: 6 });
  await serve();
  const outputs = Array.from({ length: 6 }, (_, at) => `signature-${at}`);
  const said = await Promise.all(outputs.map(signDigest));
  expect(said).toEqual(outputs.map(() => undefined));
  expect(await used(grant)).toBe(6);
  expect(told.map(({ remaining }) => remaining).sort()).toEqual([0, 1, 2, 3, 4, 5]);

  expect(await signDigest()).toContain('CKR_FUNCTION_CANCELED (0x50)');
  // the tool has asked twice: the second time it was only told again
  expect(codes().slice(6)).toEqual(['no-grant']);
  expect(told.at(-1)?.sentence).toMatch(
    /^Refused: pkcs11-tool\[\d+\] wanted ec to sign a digest of 32 bytes \([0-9a-f]{64}\)\. No grant allows app/,
  );
  expect(told.at(-1)?.next).toContain(`escrowctl recovery request ${keys['ec']?.key}`);
  expect(await used(grant)).toBe(6);
});

test('a grant for messages signs what the tool has hashed by the token, no digests, and nothing once it is revoked', async () => {
  const grant = await granted('rsa', { mechanisms: ['RS256'], input: 'message', maxUses: 9 });
  await serve();
  expect(await sign('rsa', 'SHA256-RSA-PKCS', 'message')).toBeUndefined();
  await requireVerified('rsa', 'sha256');
  expect(await sign('rsa', 'RSA-PKCS', 'info')).toContain('CKR_FUNCTION_CANCELED');
  await system.client('owner').revoke(grant, 'back at work');
  expect(await sign('rsa', 'SHA256-RSA-PKCS', 'message')).toContain('CKR_FUNCTION_CANCELED');
  expect(await used(grant)).toBe(1);
});

test.each([
  ['to sign', 'ES256', 'sign', () => signDigest()],
  [
    ...(['to decrypt', 'RSA-OAEP', 'decrypt'] as const),
    () =>
      tool('mail', [
        ...['--decrypt', '-m', 'RSA-PKCS-OAEP', '--hash-algorithm', 'SHA-1'],
        ...['-i', file('sealed'), '-o', file('opened')],
      ]),
  ],
] as const)(
  'a tool that is started first waits %s for two approvals',
  async (_name, mechanism, operation, start) => {
    await serve({ waitMs: 60_000, withdraws: true });
    const waiting = start();
    await until(() => told.some(({ event }) => event === 'asked'));
    const [{ recovery = '' } = {}] = told;
    expect(await system.client('manager').recovery(recovery)).toMatchObject({
      scope: { operations: [operation], mechanisms: [mechanism], maxUses: 2 },
    });
    await agree(system, recovery);
    expect(await waiting).toBeUndefined();
    expect(told.map(({ event }) => event)).toEqual(['asked', 'decided', 'used']);
    expect(await start()).toBeUndefined();
    expect(told.at(-1)).toMatchObject({ event: 'used', remaining: 0 });
  },
);

test('a tool that dies while it waits has its request withdrawn', async () => {
  await serve({ waitMs: 60_000, withdraws: true });
  const ended = new AbortController();
  const args = ['--sign', '-m', 'SHA512-RSA-PKCS', '-i', file('message'), '-o', file('signature')];
  const waiting = tool('rsa', args, { signal: ended.signal });
  await until(() => told.some(({ event }) => event === 'asked'));
  const [{ recovery = '' } = {}] = told;
  ended.abort();
  await waiting;
  await until(() => told.some(({ event }) => event === 'withdrawn'));
  expect((await system.client('manager').recovery(recovery)).status).toBe('cancelled');
});
