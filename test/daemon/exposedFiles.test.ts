import {
  chmodSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { stringify } from 'yaml';

import { readConfig } from '../../src/daemon/config.js';
import { testWitness } from '../log/witnessKeys.js';
import { ConfigError } from '../../src/daemon/start/configError.js';
import { type Looking, refuseExposedFiles } from '../../src/daemon/exposedFiles.js';

/** All that the configuration names, but for the database's directory and its programs. */
const FILES = [
  ...[
    'server.crt',
    'server.key',
    'user.pin',
    'record.json',
    'administrators.json',
    'profile.yaml',
    'module.so',
  ],
  ...['softhsm2.conf', 'witness.ca', 'hook.secret', 'hook.ca', 'mail.ca', 'mail.password'],
];

let top: string;
let directory: string;
let configFile: string;

beforeAll(() => {
  top = mkdtempSync(join(tmpdir(), 'escrowd-exposed-'));
  directory = join(top, 'etc', 'escrowd');
  mkdirSync(join(directory, 'data'), { recursive: true, mode: 0o755 });
  configFile = join(directory, 'escrowd.yaml');
  const config = {
    origin: 'escrow.test/log',
    listen: { host: '127.0.0.1', port: 0 },
    tls: { certificate: 'server.crt', key: 'server.key' },
    token: {
      ...{ profile: './profile.yaml', label: 'escrowd', pinFile: 'user.pin', record: 'record.json' },
      ...{ module: 'module.so', environment: { SOFTHSM2_CONF: './softhsm2.conf', VENDOR: 'no path' } },
    },
    administrators: 'administrators.json',
    database: { directory: 'data', binaries: 'bin' },
    witnesses: [
      { key: testWitness('w1.example.org/w1').key.vkey, url: 'https://localhost', ca: 'witness.ca' },
    ],
    notifications: {
      allowHosts: ['localhost'],
      webhooks: [{ name: 'siem', url: 'https://localhost', secretFiles: ['hook.secret'], ca: 'hook.ca' }],
      smtp: {
        ...{ host: 'localhost', port: 25, from: 'escrowd@example.com', ca: 'mail.ca' },
        credentials: { user: 'escrowd', passwordFile: 'mail.password' },
      },
    },
  };
  writeFileSync(configFile, stringify(config), { mode: 0o644 });
  mkdirSync(join(directory, 'bin'), { mode: 0o755 });
  for (const name of FILES) writeFileSync(join(directory, name), 'x', { mode: 0o600 });
});
afterAll(() => {
  rmSync(top, { recursive: true });
});

const check = (environment: Readonly<Record<string, string>> = {}, looking?: Looking): void => {
  refuseExposedFiles(readConfig(configFile, environment), configFile, looking);
};

const DAEMON = 4_000;
const OTHER = 4_001;
/** The system, were everything here the user's of the daemon, but for one path. */
const owned = (path?: string, uid = OTHER, user = DAEMON): Looking => ({
  user,
  look: (at) => {
    const stats = statSync(at, { throwIfNoEntry: false });
    if (stats === undefined) return undefined;
    return { mode: stats.mode, uid: at === path ? uid : at.startsWith(top) ? user : 0 };
  },
});

const places: readonly (readonly [string, () => string])[] = [
  ...['escrowd.yaml', ...FILES, 'bin'].map((name) => [name, () => join(directory, name)] as const),
  ['the directory', () => directory],
  ['a directory above it', () => join(top, 'etc')],
];

describe.each(places)('%s', (_name, path) => {
  test.each([
    ['its group', 0o020],
    ['everybody', 0o002],
  ])('keeps the daemon from starting while %s can write it', (_who, bit) => {
    check();
    const { mode } = statSync(path());
    chmodSync(path(), mode | bit);
    expect(check).toThrow(ConfigError);
    expect(check).toThrow(`chmod go-w ${path()}`);
    chmodSync(path(), mode);
    check();
  });

  test('keeps it from starting while it belongs to another user, who is not root', () => {
    check({}, owned());
    check({}, owned(path(), 0));
    const refused = (): void => {
      check({}, owned(path()));
    };
    expect(refused).toThrow(ConfigError);
    expect(refused).toThrow(`${path()} belongs to another user (${OTHER}), who can change it`);
    expect(refused).toThrow(`chown -h ${DAEMON} ${path()}`);
  });
});

describe('what the environment names', () => {
  const at = (name: string): string => join(directory, `db.${name}`);
  const url = (names: readonly string[]): string =>
    `postgresql://escrowd@db.test/escrowd?sslmode=verify-full&${names.map((name) => `${name}=${at(name)}`).join('&')}`;
  const TLS = ['sslrootcert', 'sslcert', 'sslkey'];
  const environment = (): Record<string, string> => ({
    DATABASE_URL: url(TLS),
    DATABASE_OWNER_URL: url(['sslrootcert']),
    PGPASSFILE: at('passwords'),
    NODE_EXTRA_CA_CERTS: at('cas'),
  });
  beforeAll(() => {
    for (const name of [...TLS, 'passwords', 'cas']) writeFileSync(at(name), 'x', { mode: 0o600 });
  });

  test.each([...TLS, 'passwords', 'cas'])(
    '%s: neither others can write it, nor does it belong to them',
    (name) => {
      check(environment());
      check(environment(), owned());
      expect(() => {
        check(environment(), owned(at(name)));
      }).toThrow(`${at(name)} belongs to another user`);
      chmodSync(at(name), 0o620);
      expect(() => {
        check(environment());
      }).toThrow(`chmod go-w ${at(name)}`);
      chmodSync(at(name), 0o600);
    },
  );
});

test('root may be given files of others, as by sudo; nobody else may', () => {
  for (const path of [directory, join(directory, 'data'), configFile]) {
    check({}, owned(path, OTHER, 0));
    expect(() => {
      check({}, owned(path));
    }).toThrow(`${path} belongs to another user`);
  }
});

test('a link that belongs to another user can be made to lead elsewhere by them', () => {
  const key = join(directory, 'server.key');
  const elsewhere = join(top, 'etc', 'k');
  renameSync(key, elsewhere);
  symlinkSync(elsewhere, key);
  check();
  if (process.geteuid?.() === 0) {
    lchownSync(key, OTHER, OTHER);
    expect(lstatSync(key).uid).toBe(OTHER);
    expect(() => {
      check({}, { ...owned(), look: (at) => ({ mode: 0o600, uid: lstatSync(at).uid }) });
    }).toThrow(`tls.key: ${key} belongs to another user (${OTHER})`);
  }
  rmSync(key);
  renameSync(elsewhere, key);
});

test('a TLS key that everybody can read keeps it from starting; a group may, as some systems have it', () => {
  const key = join(directory, 'server.key');
  chmodSync(key, 0o644);
  expect(check).toThrow(/server\.key can be read by everybody/);
  chmodSync(key, 0o640);
  check();
  chmodSync(key, 0o600);
});

test('a data directory that everybody can write keeps it from starting; a group may, as volumes have it', () => {
  chmodSync(join(directory, 'data'), 0o777);
  expect(check).toThrow(/database\.directory/);
  chmodSync(join(directory, 'data'), 0o2775);
  check();
  chmodSync(join(directory, 'data'), 0o755);
});

test('a sticky directory above, such as /tmp, is no danger, nor is a data directory that is not used', () => {
  chmodSync(join(top, 'etc'), 0o1777);
  check();
  chmodSync(join(top, 'etc'), 0o755);
  chmodSync(join(directory, 'data'), 0o777);
  check({ DATABASE_URL: 'postgresql://escrowd@elsewhere/escrowd' });
  expect(check).toThrow(/database\.directory/);
  chmodSync(join(directory, 'data'), 0o755);
});

test('where links lead, nobody else may put another file either', () => {
  const key = join(directory, 'server.key');
  const elsewhere = join(top, 'elsewhere');
  mkdirSync(join(elsewhere, 'keys'), { recursive: true, mode: 0o755 });
  renameSync(key, join(elsewhere, 'keys', 'k'));
  symlinkSync('../../linked/k', key);
  symlinkSync(join(elsewhere, 'keys'), join(top, 'linked'));
  check();
  for (const exposed of [join(elsewhere, 'keys'), elsewhere]) {
    chmodSync(exposed, 0o777);
    expect(check).toThrow(`tls.key: ${exposed} can be written by others`);
    chmodSync(exposed, 0o755);
  }
  check();
  symlinkSync('round', join(directory, 'round'));
  rmSync(key);
  symlinkSync('round', key);
  check(); // leads nowhere: whoever reads it says so
});
