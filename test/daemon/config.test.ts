import { chmodSync, copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { stringify } from 'yaml';

import type { Config } from '../../src/daemon/config.js';
import { readConfig } from '../../src/daemon/config.js';
import { ConfigError } from '../../src/daemon/start/configError.js';
import { readSecretFile } from '../../src/daemon/start/namedFiles.js';
import { findModule } from '../../src/token/cryptoki/module.js';
import { readProfile } from '../../src/token/profile/profile.js';
import { SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';

const SPY = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/pkcs11-spy.so`;

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-config-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function read(token: object = {}, environment: Readonly<Record<string, string>> = {}): Config {
  const file = join(directory, 'escrowd.yaml');
  const config = {
    origin: 'escrow.test/log',
    listen: { host: '127.0.0.1', port: 0 },
    tls: { certificate: 'server.crt', key: 'server.key' },
    token: { profile: 'softhsm-2.6', label: 'escrowd', pinFile: 'user.pin', ...token },
    administrators: 'administrators.json',
  };
  writeFileSync(file, stringify(config));
  return readConfig(file, environment);
}

test('the PIN comes from a file beside the configuration, or from a credential of systemd', () => {
  expect(read().token.pinFile).toBe(join(directory, 'user.pin'));
  const environment = { CREDENTIALS_DIRECTORY: '/run/credentials/escrowd.service' };
  expect(read({ pinFile: 'credential:user.pin' }, environment).token.pinFile).toBe(
    '/run/credentials/escrowd.service/user.pin',
  );
});

test.each(['credential:', 'credential:../user.pin', 'credential:a/b', 'credential:.', 'credential:..'])(
  '%s names no credential',
  (pinFile) => {
    const environment = { CREDENTIALS_DIRECTORY: directory };
    expect(() => read({ pinFile }, environment)).toThrow(ConfigError);
  },
);

test('a credential is not looked for when systemd has given none', () => {
  expect(() => read({ pinFile: 'credential:user.pin' })).toThrow(/LoadCredential=user.pin/);
});

test('of a credential the bits of the group are the mask of an access list; those of everybody else are not', () => {
  const file = join(directory, 'credential.pin');
  writeFileSync(file, '1234\n');
  chmodSync(file, 0o440);
  expect(readSecretFile(file, directory).toString()).toBe('1234');
  expect(() => readSecretFile(file, join(directory, 'elsewhere'))).toThrow(/read by others/);
  expect(() => readSecretFile(file, undefined)).toThrow(/read by others/);
  for (const mode of [0o444, 0o460]) {
    chmodSync(file, mode);
    expect(() => readSecretFile(file, directory)).toThrow(/read by others/);
  }
});

test('a PIN has no place in the configuration or in the environment', () => {
  expect(() => read({ pin: '1234' })).toThrow(ConfigError);
  const { token } = read({}, { PIN: '1234', ESCROWD_PIN: '1234', TOKEN_PIN: '1234' });
  expect(JSON.stringify(token)).not.toContain('1234');
});

test('a PIN that others can read is not read', () => {
  const file = join(directory, 'user.pin');
  writeFileSync(file, '1234\n', { mode: 0o600 });
  expect(readSecretFile(file).toString()).toBe('1234');
  chmodSync(file, 0o640);
  expect(() => readSecretFile(file)).toThrow(/chmod 600/);
});

test('variables of a spy on the token are refused, wherever they are set, unless a spy is allowed', () => {
  const PKCS11SPY = '/usr/lib/softhsm/libsofthsm2.so';
  expect(() => read({ environment: { PKCS11SPY } })).toThrow(/token\.environment/);
  expect(() => read({}, { PKCS11SPY })).toThrow(/the environment/);
  expect(read({ environment: { PKCS11SPY }, allowSpy: true }, { PKCS11SPY }).token.allowSpy).toBe(true);
  expect(read().token.allowSpy).toBe(false);
});

test('a spy is refused as the module, by its name, by a link to it and as a copy under another name', () => {
  const profile = readProfile(SOFTHSM_PROFILE_FILE);
  const [link, copy] = [join(directory, 'link.so'), join(directory, 'copy.so')];
  symlinkSync(SPY, link);
  copyFileSync(SPY, copy);
  for (const path of [SPY, link, copy]) {
    expect(() => findModule(profile, path)).toThrow(/writes the PIN down/);
    expect(() => findModule({ ...profile, modules: [path] }, undefined)).toThrow(/writes the PIN down/);
    expect(findModule(profile, path, 'spy allowed')).toBe(path);
  }
  expect(profile.modules).toContain(findModule(profile, undefined));
});

test('the self-test is a full one, unless a quick one is asked for', () => {
  expect(read().token.selfTest).toBe('full');
  expect(read({ selfTest: 'quick' }).token.selfTest).toBe('quick');
  expect(() => read({ selfTest: 'none' })).toThrow(/token\.selfTest/);
});

describe('who is told outside of the API', () => {
  const hook = { name: 'siem', url: 'https://hooks.example.com/in', secretFiles: ['webhook.secret'] };
  const smtp = { host: 'mail.example.com', port: 465, from: 'escrowd@example.com' };
  const allowHosts = ['hooks.example.com', 'mail.example.com'];
  const readWith = (notifications: object): Config['notifications'] => {
    const file = join(directory, 'notifying.yaml');
    const config = {
      origin: 'escrow.test/log',
      listen: { host: '127.0.0.1', port: 0 },
      tls: { certificate: 'server.crt', key: 'server.key' },
      token: { profile: 'softhsm-2.6', label: 'escrowd', pinFile: 'user.pin' },
      administrators: 'administrators.json',
      notifications,
    };
    writeFileSync(file, stringify(config));
    return readConfig(file, {}).notifications;
  };

  test('is nobody unless the configuration says so; its files lie beside it', () => {
    expect(read().notifications).toMatchObject({ webhooks: [], allowHosts: [] });
    const credentials = { user: 'escrowd', passwordFile: 'smtp.password' };
    const {
      webhooks,
      file,
      smtp: mail,
    } = readWith({
      allowHosts,
      file: { path: 'notices.ndjson' },
      webhooks: [hook],
      smtp: { ...smtp, credentials },
    });
    expect(webhooks[0]?.secretFiles).toEqual([join(directory, 'webhook.secret')]);
    expect(webhooks[0]?.kinds).toEqual([
      ...['asked', 'approval-due', 'used', 'decided', 'refused', 'imported', 'drill-failed'],
    ]);
    expect(file?.path).toBe(join(directory, 'notices.ndjson'));
    expect(mail).toMatchObject({
      tls: 'implicit',
      credentials: { passwordFile: join(directory, 'smtp.password') },
    });
  });

  test.each<[string, object, RegExp]>([
    [
      'a webhook to a host that is not listed',
      { allowHosts: ['example.com'], webhooks: [hook] },
      /notifications\.webhooks\.0\.url: hooks\.example\.com is not one of notifications\.allowHosts/,
    ],
    [
      'a mail server that is not listed',
      { smtp },
      /notifications\.smtp\.host: mail\.example\.com is not one/,
    ],
    [
      'a webhook in the clear',
      { allowHosts, webhooks: [{ ...hook, url: 'http://hooks.example.com/' }] },
      /webhooks\.0\.url: must be https/,
    ],
    [
      'credentials in a URL',
      { allowHosts, webhooks: [{ ...hook, url: 'https://a:b@hooks.example.com/' }] },
      /webhooks\.0\.url: must not hold credentials/,
    ],
    [
      'another scheme',
      { allowHosts, webhooks: [{ ...hook, url: 'file:///etc/passwd' }] },
      /webhooks\.0\.url: must be an https URL/,
    ],
    [
      'two webhooks of one name',
      { allowHosts, webhooks: [hook, hook] },
      /webhooks\.1\.name: siem stands twice/,
    ],
    ['a webhook without a secret', { allowHosts, webhooks: [{ ...hook, secretFiles: [] }] }, /secretFiles/],
    ['mail in the clear', { allowHosts, smtp: { ...smtp, tls: 'none' } }, /smtp\.tls: must not be none/],
    [
      'a sender with a header in it',
      { allowHosts, smtp: { ...smtp, from: 'a@example.com\r\nBcc: b@example.com' } },
      /smtp\.from: must be a mail address/,
    ],
    ['a kind that there is not', { allowHosts, webhooks: [{ ...hook, kinds: ['all'] }] }, /kinds/],
    ['a member that there is not', { hosts: [] }, /notifications/],
  ])('%s is refused, by name', (_what, notifications, message) => {
    expect(() => readWith(notifications)).toThrow(ConfigError);
    expect(() => readWith(notifications)).toThrow(message);
  });
});

describe('NODE_TLS_REJECT_UNAUTHORIZED=0', () => {
  const unchecked = { NODE_TLS_REJECT_UNAUTHORIZED: '0' };

  test.each(['DATABASE_URL', 'DATABASE_OWNER_URL'])('is refused with %s', (name) => {
    const url = { [name]: 'postgresql://escrowd@database.example.com/escrowd?sslmode=require' };
    expect(() => read({}, { ...url, ...unchecked })).toThrow(/NODE_TLS_REJECT_UNAUTHORIZED=0/);
    expect(read({}, { ...url, NODE_TLS_REJECT_UNAUTHORIZED: '1' }).databaseUrl ?? '').toBe(
      name === 'DATABASE_URL' ? url[name] : '',
    );
  });

  test('changes nothing where the database is the daemon’s own, on a socket', () => {
    expect(read({}, unchecked).databaseUrl).toBeUndefined();
  });
});
