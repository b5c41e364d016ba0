import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { importOne, importSecret, preparePair } from '../../src/client/import/importOne.js';
import { wrapFor } from '../../src/client/import/importPair.js';
import { readImportable } from '../../src/client/import/privateKey.js';
import type { KeyReply } from '../../src/api/replies.js';
import type { ImportOrder } from '../../src/api/orders.js';
import { IMPORTABLE_SPECS } from '../../src/escrow/records/keySpecs.js';
import type { ImportableSpec } from '../../src/escrow/records/keySpecs.js';
import { escrowctl, jsonOf } from '../cli/commandLine.js';
import { freshEcKey, openssl } from '../support/keyFiles.js';
import { askForRelease, releaseToManager } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import { rsaPair } from '../support/rsaPairs.js';
import type { PersonName, System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Keys that were born outside: they come in by files and by openssl, are deposited and brought back, and are told to be
 * born outside by everybody who shows them.
 */
let system: System;

const IMPORTS = {
  name: 'old-keys',
  depositaries: { atLeast: 2, of: ['manager', 'role:security-officer'] },
  import: true,
  operate: { operations: ['sign', 'decrypt'], maxUses: 100, maxDuration: 'P7D' },
  release: { delay: 'PT0S' },
};

beforeAll(async () => {
  system = await makeSystem();
  await system.applyRules([IMPORTS]);
});
afterAll(() => system.remove());

const as = (name: PersonName): string[] => ['--as', system.identity(name).directory];
const pemOf = (key: KeyObject): string => key.export({ format: 'pem', type: 'pkcs8' }).toString();
const spkiPem = (key: KeyObject): string =>
  createPublicKey(key).export({ format: 'pem', type: 'spki' }).toString();
const derOf = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'pkcs8' });

function directory(name: string, files: Readonly<Record<string, string | Buffer>>): string {
  const path = join(system.directory, name);
  mkdirSync(path);
  for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content);
  return path;
}

function keyOf(spec: ImportableSpec): KeyObject {
  const curve = /^ec-p(\d+)$/.exec(spec)?.[1];
  if (curve !== undefined) return freshEcKey(`P-${curve}`);
  if (spec === 'rsa-4096') return generateKeyPairSync('rsa', { modulusLength: 4096 }).privateKey;
  return rsaPair(spec === 'rsa-2048' ? 2048 : 3072).privateKey;
}

const basisOf = (name: PersonName): Parameters<typeof importOne>[0] => ({
  client: system.client(name),
  pins: system.identity(name).pins,
  now: () => new Date(),
});

async function imported(key: KeyObject, by: PersonName = 'admin-1'): Promise<KeyReply> {
  const readable = await readImportable(derOf(key), () => Promise.resolve(undefined));
  const { result } = await importOne(basisOf(by), readable, { owner: 'owner', use: 'sign' });
  return result;
}

/** An order for a key under a pair of its own, as a client of somebody's own would send it. */
async function ordered(
  by: PersonName,
  key: KeyObject,
  more: Partial<ImportOrder> = {},
): Promise<{ readonly pair: string; readonly order: ImportOrder }> {
  const { pair } = await preparePair(basisOf(by), 'PT5M');
  const order: ImportOrder = {
    ...{ owner: 'owner', spec: 'ec-p256', use: 'sign' },
    publicKey: createPublicKey(key).export({ format: 'der', type: 'spki' }).toString('base64url'),
    wrapped: wrapFor(pair, derOf(key)).toString('base64url'),
    ...more,
  };
  return { pair: pair.id, order };
}

test.each(IMPORTABLE_SPECS)('%s is imported, released again, and is what went in', async (spec) => {
  const key = keyOf(spec);
  const kept = await imported(key);
  expect(kept).toMatchObject({ spec, owner: 'owner', bornOutside: true, publicKeyPem: spkiPem(key) });
  const { opened } = await releaseToManager(system, kept);
  expect(opened.kind === 'pair' && opened.privateKey.equals(key)).toBe(true);
});

describe('that a key was born outside is told', () => {
  let kept: KeyReply;
  beforeAll(async () => {
    kept = await imported(freshEcKey('P-256'));
  });

  test('by key show and in lists', async () => {
    const shown = await escrowctl(['key', 'show', kept.key, ...as('owner')]);
    expect(shown.out).toMatch(/born +outside the token: others may have it/);
    const listed = await escrowctl(['key', 'list', ...as('owner')]);
    const line = listed.out.split('\n').find((one) => one.includes(kept.key));
    expect(line).toMatch(/ outside/);
    const json = jsonOf(await escrowctl(['key', 'show', kept.key, '--json', ...as('owner')]));
    expect(json).toMatchObject({ bornOutside: true });
  });

  test('to each depositary, in the inbox and before they approve, where their share proves it', async () => {
    const { recovery } = await askForRelease(system, kept.key);
    const inbox = await escrowctl(['inbox', ...as('officer-1')]);
    expect(inbox.out).toContain('born outside: others may have it');
    const asked = await escrowctl(['recovery', 'approve', recovery, ...as('officer-1')], {
      answers: ['no'],
    });
    const shown = asked.out + asked.err;
    const proven = shown.slice(shown.indexOf('Your share proves this'), shown.indexOf('nothing proves it'));
    expect(proven).toContain('born outside: others may have it');
  });

  test('and a server that hides it, or says it of another key, gets no reply', async () => {
    const inside = await system
      .client('admin-1')
      .generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' });
    for (const key of [kept.key, inside.result.key]) {
      const { recovery } = await askForRelease(system, key);
      const client = system.client('manager');
      const show = client.recovery.bind(client);
      client.recovery = async (id) => {
        const found = await show(id);
        return {
          ...found,
          keys: found.keys.map(({ bornOutside, ...rest }) =>
            bornOutside === true ? rest : { ...rest, bornOutside: true },
          ),
        };
      };
      try {
        await expect(system.makeApproval('manager', recovery)).rejects.toMatchObject({
          code: 'entry-mismatch',
        });
      } finally {
        client.recovery = show;
      }
    }
  });

  test('in the log, which verifies', async () => {
    const entries = await entriesFrom(system, 0);
    const attempt = entries.find(
      ({ act, phase, subject }) => act === 'key.import' && phase === 'attempted' && subject.key === kept.key,
    );
    expect(attempt).toMatchObject({ subject: { owner: 'owner' }, detail: { bornOutside: true } });
    await expectLogHolds(system);
  });
});

describe('what is not to be imported', () => {
  test('a blob that was kept is worth nothing: its import key is gone', async () => {
    const { pair, order } = await ordered('admin-1', freshEcKey('P-256'));
    await system.client('admin-1').importKey(pair, order);
    await expect(system.client('admin-1').importKey(pair, order)).rejects.toMatchObject({
      code: 'import-key-gone',
    });
    const { pair: another } = await ordered('admin-1', freshEcKey('P-256'));
    await expect(system.client('admin-1').importKey(another, order)).rejects.toMatchObject({
      code: 'import-malformed',
    });
  });

  test("another's import key, and a key for somebody else", async () => {
    const { pair, order } = await ordered('admin-1', freshEcKey('P-256'));
    await expect(system.client('owner').importKey(pair, order)).rejects.toMatchObject({
      code: 'import-key-gone',
    });
    const own = await ordered('owner', freshEcKey('P-256'), { owner: 'other-owner' });
    await expect(system.client('owner').importKey(own.pair, own.order)).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  test('a key of another public key than is claimed', async () => {
    const claimed = createPublicKey(freshEcKey('P-256')).export({ format: 'der', type: 'spki' });
    const { pair, order } = await ordered('admin-1', freshEcKey('P-256'), {
      publicKey: claimed.toString('base64url'),
    });
    await expect(system.client('admin-1').importKey(pair, order)).rejects.toMatchObject({
      code: 'import-mismatch',
    });
  });

  test('an RSA key of three primes, which the token would keep two of', async () => {
    const three = createPrivateKey(openssl('', 'genrsa', '-primes', '3', '2048'));
    const { pair, order } = await ordered('admin-1', three, { spec: 'rsa-2048' });
    await expect(system.client('admin-1').importKey(pair, order)).rejects.toMatchObject({
      code: 'import-malformed',
    });
  });

  test('a public key in another spelling, or of another kind', async () => {
    const key = freshEcKey('P-256');
    const compressed = openssl(
      pemOf(key),
      ...['pkey', '-pubout', '-outform', 'DER', '-ec_conv_form', 'compressed'],
    );
    for (const publicKey of [compressed, Buffer.alloc(91, 1)]) {
      const { pair, order } = await ordered('admin-1', key, { publicKey: publicKey.toString('base64url') });
      await expect(system.client('admin-1').importKey(pair, order)).rejects.toMatchObject({
        code: 'request-malformed',
      });
      // nothing was used up
      await system.client('admin-1').importKey(pair, {
        ...order,
        publicKey: createPublicKey(key).export({ format: 'der', type: 'spki' }).toString('base64url'),
      });
    }
  });
});

test('a directory is imported, with a report of each file, and again without a second deposit', async () => {
  const [one, two] = [freshEcKey('P-256'), freshEcKey('P-384')];
  const path = directory('old-keys', {
    'one.pem': pemOf(one),
    'two.der': derOf(two),
    'three.pem': openssl(
      pemOf(freshEcKey('P-521')),
      ...['pkcs8', '-topk8', '-scrypt', '-passout', 'pass:secret'],
    ),
    'notes.txt': 'hunter2',
    '.hidden': 'nothing',
  });
  const secret = join(system.directory, 'passphrase');
  writeFileSync(secret, 'secret\n', { mode: 0o600 });
  const command = ['key', 'import', path, '--owner', 'owner', '--key-passphrase-file', secret, '--json'];
  const checked = await escrowctl(['key', 'import', '--check', path, '--key-passphrase-file', secret]);
  expect(checked.out).toMatch(/one\.pem +ec-p256/);
  const ran = await escrowctl([...command, ...as('admin-1')]);
  expect(ran.exit).toBe(2);
  const { files } = jsonOf(ran) as { files: { file: string; key?: string; error?: { code: string } }[] };
  expect(files.map(({ file, error }) => [file.slice(path.length + 1), error?.code])).toEqual([
    ['notes.txt', 'not-a-key'],
    ['one.pem', undefined],
    ['three.pem', undefined],
    ['two.der', undefined],
  ]);
  const again = jsonOf(await escrowctl([...command, ...as('admin-1')])) as { files: readonly object[] };
  expect(again.files.slice(1)).toEqual(files.slice(1).map(({ file, key }) => ({ file, key, already: true })));
  const { label } = await system.client('owner').key(files[1]?.key ?? '');
  expect(label).toBe('one');
  const text = await escrowctl([
    'key',
    'import',
    join(path, 'one.pem'),
    '--label',
    'once more',
    ...as('owner'),
  ]);
  expect(text.out).toContain('Destroy the file now');
  expect(text.out).toContain('holds from now on');
});

test('of a directory nothing is passed over in silence, and no key is deposited twice', async () => {
  const [one, two] = [freshEcKey('P-256'), freshEcKey('P-256')];
  // an owner who has a secret as well has no public key of it
  const { depositaries, release } = IMPORTS;
  const secrets = { name: 'secrets', when: { 'key.spec': 'secret' }, depositaries, import: true, release };
  await system.applyRules([secrets, IMPORTS]);
  await importSecret(basisOf('owner'), Buffer.from('a token'), { owner: 'owner' });
  const path = directory('mixed', {
    'a-one.pem': pemOf(one),
    'b-one.der': derOf(one),
    'cle\u0301.pem': pemOf(two),
  });
  mkdirSync(join(path, 'older'));
  writeFileSync(join(path, 'older', 'forgotten.pem'), pemOf(freshEcKey('P-256')));
  symlinkSync(join(path, 'a-one.pem'), join(path, 'link.pem'));
  const ran = await escrowctl([
    'key',
    'import',
    path,
    '--owner',
    'owner',
    '--use',
    'sign',
    '--json',
    ...as('owner'),
  ]);
  const { files } = jsonOf(ran) as {
    files: { file: string; key?: string; already?: boolean; error?: { code: string } }[];
  };
  expect(
    files.map(({ file, already, error }) => [file.slice(path.length + 1), already ?? error?.code]),
  ).toEqual([
    ['a-one.pem', undefined],
    ['b-one.der', true],
    ['cle\u0301.pem', undefined],
    ['link.pem', true],
    ['older', 'not-a-file'],
  ]);
  expect(files[1]?.key).toBe(files[0]?.key);
  expect(ran.exit).toBe(2);
});

test('what is refused file by file uses no import keys up: those that are allowed come in', async () => {
  await system.applyRules([{ ...IMPORTS, when: { 'key.spec': 'ec-p384' } }]);
  const files = Object.fromEntries(
    Array.from({ length: 17 }, (_, at) => [`${String(at).padStart(2, '0')}.pem`, pemOf(freshEcKey('P-256'))]),
  );
  const path = directory('refused', { ...files, 'z.pem': pemOf(freshEcKey('P-384')) });
  const ran = await escrowctl(['key', 'import', path, '--use', 'sign', '--json', ...as('other-owner')]);
  await system.applyRules([IMPORTS]);
  const came = jsonOf(ran) as { files: { key?: string; error?: { code: string } }[] };
  expect(came.files.map(({ error }) => error?.code)).toEqual([
    ...Array<string>(17).fill('rule-missing'),
    undefined,
  ]);
});

test('the commands of docs/import.md do what they say', async () => {
  const path = directory('recipe', {});
  const key = rsaPair(2048).privateKey;
  writeFileSync(join(path, 'mail.pem'), pemOf(key));
  writeFileSync(join(path, 'pkcs1.pem'), openssl(pemOf(key), 'rsa', '-traditional'));
  writeFileSync(join(path, 'sec1.pem'), openssl(pemOf(freshEcKey('P-256')), 'ec'));
  const bash = (line: string): Buffer =>
    execFileSync('bash', ['-ec', line], { cwd: path, stdio: ['ignore', 'pipe', 'pipe'] });
  bash('openssl req -x509 -new -key mail.pem -subj /CN=olga -out olga.crt');
  bash('openssl pkcs12 -export -in olga.crt -inkey mail.pem -passout pass:p -out olga.p12');
  let pair = '';
  const ran: string[] = [];
  for (const line of commandsOf('docs/import.md')) {
    ran.push(line.split(' ').slice(0, 3).join(' '));
    if (!line.startsWith('escrowctl ')) {
      bash(
        line
          .replace('openssl pkcs12 ', 'openssl pkcs12 -passin pass:p ')
          .replaceAll('pkcs8 -topk8 -scrypt', 'pkcs8 -topk8 -scrypt -passout pass:secret'),
      );
      continue;
    }
    const argv = line
      .split(' ')
      .slice(1)
      .map((word) => (/\.(pem|pub|wrapped)$/.test(word) ? join(path, word) : word.replace('IMPORT', pair)));
    const isOffline = argv.includes('--check');
    const came = await escrowctl([...argv, ...(isOffline ? [] : as('admin-1')), '--json']);
    expect([line, came.exit, came.err]).toEqual([line, 0, '']);
    const { import: id } = jsonOf(came) as { import?: string };
    pair = id ?? pair;
  }
  expect(ran.filter((what) => what.startsWith('escrowctl key'))).toHaveLength(4);
  expect(ran.filter((what) => what.startsWith('openssl '))).toHaveLength(9);
  for (const file of ['olga.pem', 'from-pkcs1.pem', 'from-sec1.pem']) {
    const passphrase = (): Promise<Buffer> => Promise.resolve(Buffer.from('secret'));
    const read = await readImportable(readFileSync(join(path, file)), passphrase);
    expect(read.spec).toBe(file === 'from-sec1.pem' ? 'ec-p256' : 'rsa-2048');
  }
  expect(readdirSync(path)).not.toContain('mail.der');
});

/** The lines of the shell in a page, in their order. */
function commandsOf(file: string): readonly string[] {
  const blocks = readFileSync(file, 'utf8').matchAll(/```sh\n([\s\S]*?)```/g);
  return [...blocks].flatMap(([, block = '']) => block.replaceAll('\\\n', '').trim().split('\n'));
}
