import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { problem } from '../client/fakeServer.js';
import { exportOf, logKey, sampleEntries } from '../client/sampleLog.js';
import { honestScene, RECOVERY } from '../client/scene.js';
import { escrowctl, type Ran, type World } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.commands);

let office: Office;
beforeAll(async () => {
  office = await openOffice();
  office.server.routes.set('GET /v1/keys', () => ({ json: { items: [] } }));
});
afterAll(() => office.close());

const PASSPHRASE = 'geheim';
const openssl = (...args: string[]): void => {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'ignore'] });
};

describe('a signing key', () => {
  const own = (): string => join(office.dana, 'signing-key.pem');
  const pkcs8 =
    (...more: string[]) =>
    (from: string, to: string) => {
      openssl('pkcs8', '-topk8', '-in', from, '-out', to, '-passout', `pass:${PASSPHRASE}`, ...more);
    };
  const changed = (change: (pem: string) => string) => (from: string, to: string) => {
    pkcs8()(from, to);
    writeFileSync(to, change(readFileSync(to, 'latin1')), 'latin1');
  };

  test.each<[form: string, make: (from: string, to: string) => void, said: RegExp | undefined]>([
    ['in PKCS#8 under the passphrase', pkcs8(), undefined],
    ['the same with scrypt', pkcs8('-scrypt'), undefined],
    [
      'in the form of before under the passphrase',
      (from, to) => {
        openssl('ec', '-in', from, '-aes256', '-passout', `pass:${PASSPHRASE}`, '-out', to);
      },
      undefined,
    ],
    ['with CR LF', changed((pem) => pem.replaceAll('\n', '\r\n')), undefined],
    ['with a byte order mark', changed((pem) => `\u00ef\u00bb\u00bf${pem}`), undefined],
    ['under another passphrase', pkcs8('-passout', 'pass:other'), /the passphrase does not open/],
    [
      'under RC2',
      pkcs8('-v1', 'PBE-SHA1-RC2-40', '-provider', 'legacy', '-provider', 'default'),
      /encrypted in a way that is not read here.*the passphrase was not tried/,
    ],
    ['that is cut off', changed((pem) => pem.slice(0, 120)), /is cut off/],
    ['that is damaged', changed((pem) => pem.replace('\nM', '\n!')), /damaged/],
    [
      'that is a public key',
      (from, to) => {
        openssl('pkey', '-in', from, '-pubout', '-out', to);
      },
      /is not a private key: it holds a public key/,
    ],
    [
      'that is in DER',
      (from, to) => {
        openssl('pkey', '-in', from, '-outform', 'DER', '-out', to);
      },
      /is not UTF-8 in line 1/,
    ],
    [
      'of OpenSSH',
      (_from, to) => {
        writeFileSync(to, '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n');
      },
      /ssh-keygen -p -m PKCS8/,
    ],
  ])('%s', async (form, make, said) => {
    const directory = office.path(`key ${form.length} ${form.slice(-9)}`);
    cpSync(office.dana, directory, { recursive: true });
    const key = join(directory, 'signing-key.pem');
    rmSync(key);
    make(own(), key);
    execFileSync('chmod', ['600', key]);
    const secret = office.path('passphrase');
    writeFileSync(secret, `\ufeff${PASSPHRASE}\r\n`, { mode: 0o600 });
    const ran = await escrowctl(['key', 'list', '--as', directory, '--passphrase-file', secret]);
    expect(ran.exit).toBe(said === undefined ? 0 : 2);
    if (said !== undefined) expect(ran.err).toMatch(said);
  });
});

describe('an export that was changed on its way is told from one that is forged:', () => {
  test.each<[what: string, change: (text: string) => string | Buffer, exit: number, said: RegExp]>([
    ['CR LF', (text) => text.replaceAll('\n', '\r\n'), 2, /CR LF[^]*tr -d/],
    ['a byte order mark', (text) => `\ufeff${text}`, 2, /byte order mark/],
    ['UTF-16', (text) => Buffer.from(`\ufeff${text}`, 'utf16le'), 2, /UTF-16/],
    ['gzip', () => Buffer.from('1f8b08000000', 'hex'), 2, /gzip[^]*gunzip/],
    ['zip', () => Buffer.from('504b030414000000', 'hex'), 2, /zip archive[^]*unzip/],
    [
      'other spaces',
      (text) =>
        text.replaceAll(/^.+$/gm, (line) =>
          JSON.stringify(JSON.parse(line), undefined, 1).replaceAll('\n', ''),
        ),
      2,
      /written anew/,
    ],
    [
      'many lines',
      (text) =>
        JSON.stringify(
          text
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line) as unknown),
          undefined,
          2,
        ),
      2,
      /written anew/,
    ],
    ['nothing', () => '', 2, /it is empty/],
    ['a web page', () => '<!DOCTYPE html><html>', 2, /web page/],
    ['the end missing', (text) => text.slice(0, -200), 5, /truncated[^]*copy or export it again/],
    [
      'another owner',
      (text) => text.replace('"owner":"olga"', '"owner":"olgb"'),
      5,
      /Do not believe it[^]*security team/,
    ],
  ])('%s', async (_what, change, exit, said) => {
    const text = `${exportOf(await sampleEntries()).join('\n')}\n`;
    const path = office.path('export.ndjson');
    writeFileSync(path, text);
    const verify = (): Promise<Ran> => escrowctl(['log', 'verify', path, '--log-key', logKey.vkey]);
    expect((await verify()).exit).toBe(0);
    writeFileSync(path, change(text));
    const ran = await verify();
    expect(ran.exit).toBe(exit);
    expect(ran.out).toMatch(said);
  });
});

describe('what breaks it off', () => {
  test('at a question is 130, and nothing was sent', async () => {
    office.server.routes.set(`GET /v1/recoveries/${RECOVERY}`, () => ({ json: honestScene().recovery }));
    const gone: World = { interrupted: Promise.resolve() };
    expect(await escrowctl(['recovery', 'show', RECOVERY, '--as', office.dana], gone)).toMatchObject({
      exit: 130,
      err: expect.stringContaining('interrupted; nothing was sent') as string,
    });
  });

  test('while something is sent is 130, and it may have been done', async () => {
    const grant = `grant_${'3'.repeat(32)}`;
    let interrupt = (): void => undefined;
    const interrupted = new Promise<void>((resolve) => (interrupt = resolve));
    office.server.routes.set(`POST /v1/grants/${grant}/sign`, () => {
      interrupt();
      return new Promise(() => undefined);
    });
    writeFileSync(office.path('letter'), 'x');
    const out = office.path('broken.sig');
    const sign = ['sign', office.path('letter'), '--grant', grant, '--mechanism', 'ES256', '--out', out];
    const ran = await escrowctl([...sign, '--as', office.dana], { interrupted });
    expect(ran).toMatchObject({ exit: 130, err: expect.stringContaining('may have been done') as string });
  });
});

test('a clock that differs is measured from the answer, and said', async () => {
  office.server.routes.set('GET /v1/grants', () => problem(401, 'request-expired'));
  const now = new Date(Date.now() + 100_000);
  const ran = await escrowctl(['grant', 'list', '--as', office.dana], { now });
  expect(ran.exit).toBe(3);
  expect(ran.err).toMatch(
    /this machine's clock is [12] minutes? ahead of the server's: set the one that is wrong/,
  );
});

test('a path in the configuration may begin with the home directory, and with nobody else’s', async () => {
  const home = office.path('home');
  mkdirSync(join(home, '.config/escrowctl'), { recursive: true });
  cpSync(office.dana, join(home, '.escrowd'), { recursive: true });
  const config = join(home, '.config/escrowctl/config.yaml');
  writeFileSync(config, 'identity: ~/.escrowd\n');
  const list = (): Promise<Ran> => escrowctl(['key', 'list'], { variables: { HOME: home } });
  expect((await list()).exit).toBe(0);
  writeFileSync(config, 'identity: ~dana/.escrowd\n');
  expect(await list()).toMatchObject({ exit: 2, err: expect.stringContaining('~ is your home') as string });
});

test.each([
  ['a time that no timer has', ['key', 'list', '--timeout=999d'], /longer than a day/],
  ['an export to standard output', ['log', 'export', '-'], /- is no file/],
])('%s is a mistake on the command line', async (_what, argv, said) => {
  const ran = await escrowctl([...argv, '--as', office.dana]);
  expect(ran.exit).toBe(2);
  expect(ran.err).toMatch(said);
});

test('an address that is not https is a wrong argument, and nothing was sent', async () => {
  const plain = office.path('plain');
  cpSync(office.dana, plain, { recursive: true });
  const file = join(plain, 'identity.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace('https:', 'http:'), { mode: 0o600 });
  const ran = await escrowctl(['key', 'list', '--as', plain, '--json']);
  expect(ran.exit).toBe(2);
  expect(ran.err).toMatch(/speaks https, and nothing else/);
});
