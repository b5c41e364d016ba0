import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { KeyReply } from '../../src/api/replies.js';
import { importSecret, preparePair } from '../../src/client/import/importOne.js';
import { wrapFor } from '../../src/client/import/importPair.js';
import { frameSecret } from '../../src/client/import/secretFrame.js';
import { sha256Hex } from '../../src/escrow/records/digests.js';
import { newId } from '../../src/escrow/records/ids.js';
import { escrowctl, jsonOf } from '../cli/commandLine.js';
import { ownerOf } from '../support/databaseDump.js';
import { freshBytes } from '../support/fresh.js';
import { agree, askForRelease } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import { query } from '../support/postgres.js';
import type { PersonName, System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Passphrases, disk keys and tokens: they come in by a file or standard input, are deposited under rules like keys, and come back
 * byte for byte by a release, and by nothing else.
 */
let system: System;

const PEOPLE = { atLeast: 2, of: ['manager', 'role:security-officer'] };
const SECRETS = {
  name: 'secrets',
  when: { 'key.spec': 'secret', 'owner.department': 'nowhere' },
  depositaries: PEOPLE,
  import: true,
  deliver: true,
  release: { delay: 'PT0S' },
};
const EVERYTHING = {
  name: 'everything',
  depositaries: PEOPLE,
  import: true,
  operate: { operations: ['sign', 'decrypt'], maxUses: 10, maxDuration: 'P1D' },
  release: { delay: 'PT0S' },
};

beforeAll(async () => {
  system = await makeSystem();
  await system.applyRules([{ ...SECRETS, when: { 'key.spec': 'secret' } }, EVERYTHING]);
});
afterAll(() => system.remove());

const as = (name: PersonName): string[] => ['--as', system.identity(name).directory];
const pathOf = (name: string): string => join(system.directory, name);
const imported = async (secret: Buffer, label = ''): Promise<KeyReply> =>
  (
    await importSecret(
      { client: system.client('owner'), pins: system.identity('owner').pins, now: () => new Date() },
      Buffer.from(secret),
      { owner: 'owner', label },
    )
  ).result;

/** Has a key released to the manager, who agrees with an officer; what `recovery release` then did. */
async function released(key: string, ...more: readonly string[]): ReturnType<typeof escrowctl> {
  const { recovery } = await askForRelease(system, key);
  await agree(system, recovery);
  return escrowctl(['recovery', 'release', recovery, ...more, ...as('manager')]);
}

test('a secret of a file is released to a new file that nobody else reads, byte for byte', async () => {
  const secret = Buffer.concat([Buffer.of(0, 0xff, 0x0a), freshBytes(1017), Buffer.of(0x0a, 0, 0, 0)]);
  writeFileSync(pathOf('disk.key'), secret);
  const command = ['secret', 'import', pathOf('disk.key'), '--label', 'disk 7', '--json', ...as('owner')];
  const came = jsonOf(await escrowctl(command)) as { result: KeyReply; bytes: number };
  expect(came).toMatchObject({ bytes: 1024, result: { spec: 'secret', use: 'keep', bornOutside: true } });
  const ran = await released(came.result.key, '--out', pathOf('disk.back'));
  expect([ran.exit, ran.err]).toEqual([0, '']);
  expect(ran.out).toContain('byte for byte');
  expect(readFileSync(pathOf('disk.back'))).toEqual(secret);
  expect(statSync(pathOf('disk.back')).mode & 0o777).toBe(0o600);
  const again = await released(came.result.key, '--out', pathOf('disk.back'));
  expect(again.err).toContain('is not overwritten');
});

test('one of standard input goes to standard output when that is asked, and nothing else goes there', async () => {
  // what was read is overwritten
  const input = (): Buffer => Buffer.from('hunter2\n');
  const piped = await escrowctl(['secret', 'import', '-', ...as('owner')], { input: input() });
  expect(piped.out).toMatch(/a secret of 8 bytes.*\n.*--trim-newline/);
  const trimmed = jsonOf(
    await escrowctl(['secret', 'import', '-', '--trim-newline', '--json', ...as('owner')], {
      input: input(),
    }),
  ) as { result: KeyReply };
  const ran = await released(trimmed.result.key, '--out', '-');
  expect(ran.bytes).toEqual(Buffer.from('hunter2'));
  expect(readdirSync('.')).not.toContain('-');
});

test('openssl and the shell alone bring it back, and say which it is', async () => {
  const { key, checkValue } = await imported(Buffer.from('hunter2'));
  const ran = await released(key, '--no-open', '--sealed-out', pathOf('archive'));
  expect(ran.exit).toBe(0);
  const x = await system.identity('manager').depositaryKey();
  writeFileSync(pathOf('manager.pem'), x.export({ format: 'pem', type: 'pkcs8' }));
  writeFileSync(pathOf('check-text'), 'escrowd secret check value 1\n');
  const page = readFileSync('docs/opening-a-release.md', 'utf8');
  const [script = '', instead = ''] = [...page.matchAll(/```(?:sh|text)\n([\s\S]*?)```/g)].map(
    ([, block]) => block,
  );
  const commands = script
    .slice(script.indexOf('openssl pkeyutl'), script.indexOf('# 3.'))
    .replace('people/officer-1/depositary-key.pem', 'manager.pem');
  const printed = execFileSync('bash', ['-ec', commands + instead], { cwd: system.directory }).toString();
  expect(readFileSync(pathOf('secret'), 'utf8')).toBe('hunter2');
  expect(printed).toContain(Buffer.from(checkValue ?? '', 'base64url').toString('hex'));
});

test('the copy of its owner opens to the same bytes', async () => {
  writeFileSync(pathOf('own'), 'hunter2');
  const command = ['secret', 'import', pathOf('own'), '--deliver', '--json', ...as('owner')];
  const { result } = jsonOf(await escrowctl(command)) as { result: KeyReply };
  const ran = await escrowctl(['key', 'copy', result.key, '--out', pathOf('own.back'), ...as('owner')]);
  expect([ran.exit, readFileSync(pathOf('own.back'), 'utf8')]).toEqual([0, 'hunter2']);
});

test('one that is typed is not shown, and asked for twice', async () => {
  const typed = await escrowctl(['secret', 'import', '-', ...as('owner')], { answers: ['open', 'open'] });
  expect([typed.exit, typed.out + typed.err]).toEqual([0, expect.stringMatching(/a secret of 4 bytes/)]);
  expect(typed.out + typed.err).not.toMatch(/\bopen\b/);
  const differing = await escrowctl(['secret', 'import', '-', ...as('owner')], { answers: ['open', 'opne'] });
  expect([differing.exit, differing.err]).toEqual([2, expect.stringContaining('not the same')]);
  const seen = await escrowctl(['secret', 'import', '-', ...as('owner')], { isInputTyped: true });
  expect([seen.exit, seen.err]).toEqual([2, expect.stringContaining('is not typed where it is seen')]);
});

test.each([
  ['nothing', Buffer.alloc(0), 'secret-empty'],
  ['1,025 bytes', freshBytes(1025), 'secret-too-long'],
  ['a megabyte', Buffer.alloc(1 << 20, 1), 'secret-too-long'],
])('%s is refused before anything is asked of the server', async (_name, content, code) => {
  writeFileSync(pathOf('refused'), content);
  const before = (await entriesFrom(system, 0)).length;
  const ran = await escrowctl(['secret', 'import', pathOf('refused'), '--json', ...as('owner')]);
  expect(ran.exit).toBe(2);
  expect(ran.out + ran.err).toContain(code);
  expect(await entriesFrom(system, before)).toEqual([]);
});

test('it is said to be a secret, and born outside, wherever it is shown', async () => {
  const { key, checkValue } = await imported(Buffer.from('a token'), 'deploy token');
  const shown = await escrowctl(['key', 'show', key, ...as('owner')]);
  expect(shown.out).toMatch(/kind +a secret: kept, and released only/);
  expect(shown.out).toMatch(/born +outside the token: others may have it/);
  expect(shown.out).toContain(checkValue);
  const { recovery } = await askForRelease(system, key);
  const asked = await escrowctl(['recovery', 'approve', recovery, ...as('officer-1')], { answers: ['no'] });
  expect(asked.out + asked.err).toContain('"deploy token", a secret, born outside: others may have it');
  const covered = await escrowctl(['coverage', '--json', ...as('owner')]);
  expect(covered.out).toContain(key);
});

test('sealed anew it is the same secret', async () => {
  const { key, checkValue } = await imported(Buffer.from('a token'));
  const order = { purpose: 'reseal', keys: [key], reason: 'to try it', validFor: 'PT1H' } as const;
  const asked = await system.client('admin-1').requestRecovery({ ...order, job: newId('JobId', freshBytes) });
  expect((await agree(system, asked.result.recovery)).status).toBe('resealed');
  expect(await system.client('owner').key(key)).toMatchObject({ generation: 2, checkValue });
  expect((await released(key, '--out', '-')).out).toBe('a token');
});

test('nobody can ask to have it used, nor have one made', async () => {
  const { key } = await imported(Buffer.from('a token'));
  const scope = { app: 'app', operations: ['decrypt'], mechanisms: ['A256GCM'], input: 'message' } as const;
  const order = { keys: [key], reason: 'to use it', validFor: 'PT1H', purpose: 'operate' } as const;
  await expect(
    system.client('manager').requestRecovery({ ...order, scope: { ...scope, maxUses: 1, duration: 'PT1H' } }),
  ).rejects.toMatchObject({ code: 'purpose-not-allowed' });
  const made = { owner: 'owner', spec: 'secret', use: 'keep' } as unknown as { spec: 'aes-256' };
  await expect(
    system.client('owner').generateKey({ owner: 'owner', use: 'decrypt', ...made }),
  ).rejects.toMatchObject({ code: 'request-malformed' });
});

test('a secret other than is claimed is not taken, nor what is no frame, nor one import key twice', async () => {
  const basis = {
    client: system.client('owner'),
    pins: system.identity('owner').pins,
    now: () => new Date(),
  };
  const [one, other] = [frameSecret(Buffer.from('one')), frameSecret(Buffer.from('other'))];
  const { pair } = await preparePair(basis, 'PT5M');
  const order = { owner: 'owner', checkValue: one.checkValue.toString('base64url') };
  const sent = (content: Buffer): Promise<unknown> =>
    basis.client.importSecret(pair.id, {
      ...order,
      wrapped: wrapFor(pair, content).toString('base64url'),
    });
  // nothing is used up by what can be seen to be no frame
  await expect(sent(freshBytes(136))).rejects.toMatchObject({ code: 'request-malformed' });
  await expect(sent(other.frame)).rejects.toMatchObject({ code: 'import-mismatch' });
  await expect(sent(one.frame)).rejects.toMatchObject({ code: 'import-key-gone' });
});

describe('whoever has the database', () => {
  const RESTORED = 'update deposit set document = $2 where key = $1';
  test('gets no secret in the place of another, nor one shown as another', async () => {
    const [one, other] = [await imported(Buffer.from('one')), await imported(Buffer.from('other'))];
    const { recovery } = await askForRelease(system, one.key);
    await agree(system, recovery);
    const owner = await ownerOf(system);
    const rows = await query<{ key: string; document: object }>(
      owner,
      `select key, document from deposit where key in ('${one.key}', '${other.key}')`,
    );
    const documentOf = (key: string): object => rows.find((row) => row.key === key)?.document ?? {};
    const [ofOne, ofOther] = [documentOf(one.key), documentOf(other.key)] as Record<string, unknown>[];
    const swaps: readonly unknown[] = [
      ofOther,
      { ...ofOther, key: one.key },
      { ...ofOne, checkValue: ofOther?.['checkValue'] },
      { ...ofOne, purposes: ofOther?.['purposes'] },
    ];
    for (const document of swaps) {
      await query(owner, RESTORED, [one.key, JSON.stringify(document)]);
      await expect(system.client('manager').release(recovery)).rejects.toMatchObject({
        code: 'record-mismatch',
      });
    }
    await query(owner, RESTORED, [one.key, JSON.stringify(ofOne)]);
    const ran = await escrowctl(['recovery', 'release', recovery, '--out', '-', ...as('manager')]);
    expect(ran.bytes.toString()).toBe('one');
  });
});

describe('a server that shows another check value', () => {
  test('gets no approval', async () => {
    const { key } = await imported(Buffer.from('one'));
    const { recovery } = await askForRelease(system, key);
    const client = system.client('manager');
    const show = client.recovery.bind(client);
    const lie = async (id: string): ReturnType<typeof show> => {
      const found = await show(id);
      const checkValue = freshBytes(32).toString('base64url');
      return { ...found, keys: found.keys.map((each) => ({ ...each, checkValue })) };
    };
    client.recovery = lie;
    await expect(system.makeApproval('manager', recovery)).rejects.toMatchObject({ code: 'key-mismatch' });
    client.recovery = show;
  });

  test('at the release than at the approval is not believed, before anything is handed out', async () => {
    const { key, checkValue = '' } = await imported(Buffer.from('one'));
    const { recovery } = await askForRelease(system, key);
    await agree(system, recovery);
    const memory = join(system.identity('manager').directory, 'approved-keys.json');
    const kept = readFileSync(memory, 'utf8');
    const hash = sha256Hex(Buffer.from(checkValue, 'base64url'));
    expect(JSON.parse(kept)).toMatchObject({ keys: { [key]: hash } });
    const command = ['recovery', 'release', recovery, '--out', '-', ...as('manager')];
    // to the client it is the same whether the server or its own memory has changed
    writeFileSync(memory, kept.replace(hash, 'ab'.repeat(32)), { mode: 0o600 });
    const refused = await escrowctl(command);
    expect([refused.exit, refused.out]).toEqual([5, '']);
    expect(refused.err).toContain('than when you approved its release');
    expect((await system.client('manager').recovery(recovery)).status).toBe('approved');
    writeFileSync(memory, kept, { mode: 0o600 });
    expect((await escrowctl(command)).out).toBe('one');
  });
});

test('a rule that lets keys be used takes no secret: it says which rule, and what to write', async () => {
  await system.applyRules([SECRETS, EVERYTHING]);
  const owner = { owner: 'other-owner', use: 'keep', spec: 'secret' } as const;
  const choice = await system.client('admin-1').choice(owner);
  expect(choice).toMatchObject({ error: 'secret-release-only' });
  writeFileSync(pathOf('other'), 'a token');
  const command = ['secret', 'import', pathOf('other'), '--owner', 'other-owner', ...as('admin-1')];
  const ran = await escrowctl(command);
  expect(ran.exit).not.toBe(0);
  expect(ran.err).toContain('secret-release-only');
  expect(ran.err).toContain('The rule everything');
});

test('and the log verifies, in which no secret stands', async () => {
  const entries = await entriesFrom(system, 0);
  const imports = entries.filter(({ act, phase }) => act === 'key.import' && phase === 'attempted');
  expect(imports.length).toBeGreaterThan(5);
  for (const { detail } of imports)
    expect(detail).toMatchObject({ spec: 'secret', use: 'keep', bornOutside: true });
  expect(JSON.stringify(entries)).not.toMatch(/hunter2|a token/);
  await expectLogHolds(system);
});
