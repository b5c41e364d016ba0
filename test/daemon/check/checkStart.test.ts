import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { basename, dirname, join } from 'node:path';

import { parse, stringify } from 'yaml';

import { checkStart } from '../../../src/daemon/check/checkStart.js';
import { checkFileSink } from '../../../src/daemon/check/fileSinkCheck.js';
import type { FindingCode } from '../../../src/daemon/check/finding.js';
import { Findings } from '../../../src/daemon/check/findings.js';
import { jsonOf, textOf } from '../../../src/daemon/check/report.js';
import { reachDatabase } from '../../../src/daemon/start/reachDatabase.js';
import { EXIT_CODES, exitCodeOf } from '../../../src/daemon/exitCodes.js';
import { migrate } from '../../../src/postgres/schema/migrate.js';
import type { FileSystem } from '../../../src/system/place.js';
import { DISK } from '../../support/disk.js';
import { findModule } from '../../../src/token/cryptoki/module.js';
import { testWitness } from '../../log/witnessKeys.js';
import { freePort } from '../../support/freePort.js';
import { MIGRATE_MS } from '../../support/freshCluster.js';
import { until } from '../../support/waiting.js';
import { LIMITS_MS } from '../../support/limits.js';
import { SOFTHSM_PROFILE_FILE } from '../../support/softhsm.js';
import { copySpyModule } from '../../support/spyModule.js';
import { type Pooler, startPooler } from '../../support/pooler.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { makeCertificate, makeSystem, startDaemonAt, type System } from '../../support/system.js';

jest.setTimeout(LIMITS_MS.system);

type Config = Record<string, Record<string, unknown>>;
type Changes = (config: Config) => void;
type Environment = Readonly<Record<string, string>>;

let system: System;
let server: TestServer;
let busy: Server;
let busyPort: number;
let idlePort: number;
let other: string;

beforeAll(async () => {
  [system, server] = await Promise.all([makeSystem({ withoutDaemon: true }), startTestServer()]);
  busy = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(busy, 'listening');
  busyPort = (busy.address() as AddressInfo).port;
  idlePort = await freePort();
  other = join(system.directory, 'other');
  mkdirSync(other, { mode: 0o755 });
  makeCertificate(other);
});
afterAll(async () => {
  busy.close();
  await system.remove();
  await server.stop();
});

/** In memory. */
const TMPFS = 0x01021994;

let written = 0;

/** The system's configuration, changed so, in a file of its own. */
function configured(change: Changes = () => undefined): string {
  const config = parse(readFileSync(system.configFile, 'utf8')) as Config;
  change(config);
  const file = join(system.directory, `check-${String((written += 1))}.yaml`);
  writeFileSync(file, stringify(config), { mode: 0o644 });
  return file;
}

function check(
  configFile: string,
  environment: Environment = {},
  now?: () => Date,
  selfTest = false,
): Promise<Findings> {
  const given = { selfTest, configFile, environment: { PATH: process.env['PATH'], ...environment } };
  const fileSystemAt = (path: string): FileSystem => (/^\/(proc|sys)/.test(path) ? statfsSync(path) : DISK);
  return checkStart({
    ...given,
    fileSystemAt,
    packageDirectory: process.cwd(),
    ...(now === undefined ? {} : { now }),
  });
}

/** A file beside the configuration. */
function file(name: string, text: string, mode = 0o600): string {
  const path = join(system.directory, name);
  writeFileSync(path, text, { mode });
  chmodSync(path, mode);
  return path;
}

const textIn = (name: string): string => readFileSync(join(system.directory, name), 'utf8');

function softHsmConf(text: string): Changes {
  return (config) => {
    const SOFTHSM2_CONF = file('other-softhsm.conf', text);
    config['token'] = { ...config['token'], environment: { SOFTHSM2_CONF } };
  };
}

const token =
  (members: object | (() => object)): Changes =>
  (config) => {
    const changed: object = members instanceof Function ? members() : members;
    config['token'] = { ...config['token'], ...changed };
  };
const tls =
  (members: () => object): Changes =>
  (config) => {
    config['tls'] = { ...config['tls'], ...members() };
  };

/** What people put in the place of a file, and what is said of it. */
const UNUSABLE = {
  nothing: { what: /cannot be read: it is not there/, make: () => undefined },
  'a directory': {
    what: /it is a directory/,
    make: (path) => {
      mkdirSync(path);
    },
  },
  'a pipe': { what: /it is a pipe/, make: (path) => execFileSync('mkfifo', [path]) },
  'a device': {
    what: /it is a device/,
    make: (path) => {
      symlinkSync('/dev/zero', path);
    },
  },
  'a link to itself': {
    what: /links lead round/,
    make: (path) => {
      symlinkSync(path, path);
    },
  },
  'a file of 2 MiB': {
    what: /more than 1048576 bytes/,
    make: (path) => {
      writeFileSync(path, Buffer.alloc(2 * 1024 * 1024, 'a'), { mode: 0o600 });
    },
  },
  'an empty file': {
    what: /./,
    make: (path) => {
      writeFileSync(path, '', { mode: 0o600 });
    },
  },
  'a file that is not UTF-8': {
    what: /is not UTF-8/,
    make: (path) => {
      writeFileSync(path, Buffer.from('caf\xe9', 'latin1'), { mode: 0o600 });
    },
  },
} satisfies Record<string, { readonly what: RegExp; readonly make: (path: string) => unknown }>;
type Unusable = keyof typeof UNUSABLE;

const pathOf = (kind: Unusable, name: string): string =>
  join(system.directory, `unusable-${Object.keys(UNUSABLE).indexOf(kind)}-${name}`);

/** Makes it, once. */
function madeAs(kind: Unusable, name: string): string {
  const path = pathOf(kind, name);
  rmSync(path, { recursive: true, force: true });
  UNUSABLE[kind].make(path);
  return path;
}

/** A file for each setting that names one, in the order in which a start reads them. */
const FILES = [
  ...['tls.crt', 'tls.key', 'administrators.json', 'witness.ca', 'hook.secret', 'hook.ca', 'mail.password'],
  ...['mail.ca', 'profile.yaml', 'record.json', 'user.pin'],
] as const;

function withFiles(config: Config, path: (name: (typeof FILES)[number]) => string): void {
  const url = 'https://localhost:1/';
  Object.assign(config, {
    tls: { certificate: path('tls.crt'), key: path('tls.key') },
    administrators: path('administrators.json'),
    witnesses: [{ key: testWitness('w1.example.org/w1').key.vkey, url, ca: path('witness.ca') }],
    notifications: {
      allowHosts: ['localhost'],
      webhooks: [{ name: 'siem', url, secretFiles: [path('hook.secret')], ca: path('hook.ca') }],
      smtp: {
        ...{ host: 'localhost', port: 1, tls: 'implicit', from: 'escrowd@example.com', ca: path('mail.ca') },
        credentials: { user: 'escrowd', passwordFile: path('mail.password') },
      },
    },
  });
  token({ profile: path('profile.yaml'), record: path('record.json'), pinFile: path('user.pin') })(config);
}

function danglingLink(): string {
  const path = join(system.directory, 'dangling');
  rmSync(path, { force: true });
  symlinkSync(join(system.directory, 'not-there'), path);
  return join(path, 'postgres');
}

interface Row {
  readonly change?: Changes;
  readonly code: FindingCode;
  readonly exit: keyof typeof EXIT_CODES;
  readonly where: RegExp;
  readonly what: RegExp;
  readonly do: RegExp;
  /** The same through a start, which ends before it has cost anything. */
  readonly start?: true;
}

const files: readonly (readonly [string, Row])[] = [
  [
    'one address for both listeners',
    {
      change: (config) =>
        Object.assign(config, {
          management: { ...config['listen'], port: 7 },
          listen: { ...config['listen'], port: 7 },
        }),
      ...{ code: 'config', exit: 'usage', where: /management/, what: /address of the API/, do: /another/ },
    },
  ],
  ...['[null, null]', '"ann"', '[{ "id": 7, "keys": [] }]'].map((text): readonly [string, Row] => [
    `${text} as administrators`,
    {
      change: (config) => Object.assign(config, { administrators: file('people.json', text, 0o644) }),
      ...{
        code: 'file',
        exit: 'usage',
        where: /people\.json/,
        what: /each must be \{ "id"/,
        do: /id and keys/,
      },
    },
  ]),
  ...(['a pipe', 'an empty file'] as const).map((kind): readonly [string, Row] => [
    `${kind} as the directory of the database`,
    {
      change: (config) => (config['database'] = { directory: madeAs(kind, 'cluster') }),
      ...{
        code: 'cluster',
        exit: 'database',
        where: /database\.directory/,
        what: /is not a directory/,
        do: /docs/,
      },
      start: true,
    },
  ]),
  ...(
    [
      ['in /proc', () => '/proc/escrowd', /\/proc is of a file system that keeps no files \(proc\)/],
      ['in /sys, deep down', () => '/sys/none/postgres', /\/sys is of .* \(sysfs\)/],
      ['below a file', () => join(madeAs('an empty file', 'above'), 'postgres'), /above is not a directory/],
      ['behind a link that leads nowhere', danglingLink, /dangling is a link that leads nowhere/],
      ['that is a link to itself', () => madeAs('a link to itself', 'cluster'), /in a circle/],
    ] as const
  ).map(([name, directory, what]): readonly [string, Row] => [
    `a directory of the database ${name}`,
    {
      change: (config) => (config['database'] = { directory: directory() }),
      ...{ code: 'cluster', exit: 'database', where: /database\.directory/, what, do: /docs/, start: true },
    },
  ]),
  [
    'an unknown member',
    {
      change: (config) => (config['lissen'] = {}),
      ...{
        code: 'config',
        exit: 'usage',
        where: /check-\d+\.yaml/,
        what: /lissen/,
        do: /correct it/,
        start: true,
      },
    },
  ],
  [
    'an unknown level of the log',
    {
      change: (config) => Object.assign(config, { logLevel: 'trace' }),
      ...{
        code: 'config',
        exit: 'usage',
        where: /logLevel/,
        what: /"error"\|"warn"/,
        do: /correct/,
        start: true,
      },
    },
  ],
  [
    'an environment variable with a number for a value',
    {
      change: token({ environment: { SOFTHSM2_CONF: 7 } }),
      ...{
        code: 'config',
        exit: 'usage',
        where: /token\.environment\.SOFTHSM2_CONF/,
        what: /string/,
        do: /correct/,
      },
    },
  ],
  [
    'a configuration that a group can write',
    {
      change: (config) =>
        (config['administrators'] = file('open.json', textIn('administrators.json'), 0o664) as never),
      ...{
        code: 'file-mode',
        exit: 'usage',
        where: /administrators/,
        what: /open\.json can be written/,
        do: /chmod go-w/,
      },
      start: true,
    },
  ],
  [
    'a TLS key that everybody can read',
    {
      change: tls(() => ({ key: file('open.key', textIn('server.key'), 0o644) })),
      ...{
        code: 'file-mode',
        exit: 'usage',
        where: /tls\.key/,
        what: /read by everybody/,
        do: /chmod o-r/,
        start: true,
      },
    },
  ],
  [
    'a certificate that is not there',
    {
      change: tls(() => ({ certificate: 'nowhere.crt' })),
      ...{
        code: 'tls',
        exit: 'usage',
        where: /nowhere\.crt/,
        what: /is not there/,
        do: /put it there/,
        start: true,
      },
    },
  ],
  [
    'the key of another certificate',
    {
      change: tls(() => ({ key: join(other, 'server.key') })),
      ...{
        code: 'tls',
        exit: 'usage',
        where: /server\.crt/,
        what: /not that of the key in .*server\.key/,
        do: /name the/,
      },
      start: true,
    },
  ],
  [
    "certificates in the wrong order, an authority's first",
    {
      change: tls(() => ({
        certificate: file(
          'order.crt',
          readFileSync(join(other, 'server.crt'), 'utf8') + textIn('server.crt'),
        ),
      })),
      ...{
        code: 'tls',
        exit: 'usage',
        where: /order\.crt/,
        what: /is the 2\. of the file/,
        do: /own certificate first/,
      },
    },
  ],
  [
    'an encrypted key',
    {
      change: tls(() => {
        const key = join(system.directory, 'encrypted.key');
        const made = execFileSync('openssl', [
          'pkey',
          '-in',
          join(system.directory, 'server.key'),
          '-aes256',
          '-passout',
          'pass:x',
        ]);
        return { key: file('encrypted.key', made.toString()) && key };
      }),
      ...{ code: 'tls', exit: 'usage', where: /encrypted\.key/, what: /is encrypted/, do: /openssl pkey/ },
    },
  ],
  [
    'a key in the place of the certificate',
    {
      change: tls(() => ({ certificate: 'server.key' })),
      ...{
        code: 'tls',
        exit: 'usage',
        where: /server\.key/,
        what: /no certificate in it/,
        do: /BEGIN CERTIFICATE/,
      },
    },
  ],
  [
    'administrators that are none',
    {
      change: (config) => (config['administrators'] = file('none.json', '{}', 0o644) as never),
      ...{
        code: 'file',
        exit: 'usage',
        where: /none\.json/,
        what: /not a list of administrators/,
        do: /id and keys/,
      },
    },
  ],
  [
    'a webhook secret that is none',
    {
      change: (config) => {
        const hook = {
          name: 'siem',
          url: 'http://localhost:1/',
          secretFiles: [file('hook.secret', 'hunter2')],
        };
        config['notifications'] = { allowHosts: ['localhost'], webhooks: [hook] };
      },
      ...{
        code: 'file',
        exit: 'usage',
        where: /hook\.secret/,
        what: /no webhook secret/,
        do: /whsec_/,
        start: true,
      },
    },
  ],
  [
    'a port that another program has',
    {
      change: (config) => (config['listen'] = { host: '127.0.0.1', port: busyPort }),
      ...{
        code: 'address',
        exit: 'usage',
        where: /listen: 127\.0\.0\.1:\d+/,
        what: /another program/,
        do: /ss -ltnp/,
      },
      start: true,
    },
  ],
  [
    'an address that is not of this machine',
    {
      change: (config) => (config['listen'] = { host: '192.0.2.1', port: 8443 }),
      ...{
        code: 'address',
        exit: 'usage',
        where: /192\.0\.2\.1:8443/,
        what: /no such address/,
        do: /ip address/,
      },
      start: true,
    },
  ],
  [
    'a management port that another program has',
    {
      change: (config) => (config['management'] = { port: busyPort }),
      ...{
        code: 'address',
        exit: 'usage',
        where: /management: 127/,
        what: /another program/,
        do: /management\.port/,
      },
      start: true,
    },
  ],
  [
    'one port for the API and for the management',
    {
      change: (config) => {
        config['listen'] = { host: '127.0.0.1', port: idlePort };
        config['management'] = { host: '0.0.0.0', port: idlePort };
      },
      ...{
        code: 'address',
        exit: 'usage',
        where: /management: 0\.0\.0\.0:\d+/,
        what: /listen \(127\.0\.0\.1:\d+\) has this port/,
        do: /another management\.port/,
      },
      start: true,
    },
  ],
  [
    'binaries of PostgreSQL that are not there',
    {
      change: (config) => (config['database'] = { directory: 'postgres', binaries: '/nonexistent' }),
      ...{
        code: 'cluster',
        exit: 'database',
        where: /postgres/,
        what: /\/nonexistent has no postgres/,
        do: /Database/,
      },
      start: true,
    },
  ],
  [
    'a token profile that there is not',
    {
      change: token({ profile: 'softhsm-9' }),
      ...{
        code: 'token',
        exit: 'usage',
        where: /softhsm-9\.yaml/,
        what: /cannot be read: it is not there/,
        do: /name another/,
      },
    },
  ],
  [
    'a record of another token',
    {
      change: token({ label: 'another' }),
      ...{
        code: 'token',
        exit: 'usage',
        where: /token\.record/,
        what: /record of the token/,
        do: /of this token/,
      },
    },
  ],
  [
    'a PIN that others can read',
    {
      change: token(() => ({ pinFile: file('open.pin', '1234', 0o644) })),
      ...{ code: 'file', exit: 'usage', where: /open\.pin/, what: /read by others/, do: /chmod 600/ },
    },
  ],
  [
    'a PIN that is not there',
    {
      change: token({ pinFile: 'nowhere.pin' }),
      ...{ code: 'file', exit: 'usage', where: /nowhere\.pin/, what: /is not there/, do: /put it there/ },
    },
  ],
  [
    'a module that is not there',
    {
      change: token({ module: '/nonexistent/module.so' }),
      ...{
        code: 'token',
        exit: 'token',
        where: /token "/,
        what: /no PKCS#11 module at \/none/,
        do: /token\.module/,
      },
    },
  ],
  [
    'a configuration of SoftHSM that is not there',
    {
      change: token({ environment: { SOFTHSM2_CONF: '/nonexistent/softhsm2.conf' } }),
      ...{
        code: 'token',
        exit: 'token',
        where: /token "/,
        what: /\/nonexistent\/softhsm2\.conf cannot be read/,
        do: /token/,
      },
    },
  ],
  [
    'a directory of tokens that is not there',
    {
      change: softHsmConf('directories.tokendir = /nonexistent/tokens\n'),
      ...{
        code: 'token',
        exit: 'token',
        where: /token "/,
        what: /\/nonexistent\/tokens, which .* names, is not there/,
        do: /token/,
      },
    },
  ],
  [
    'a label that no token has',
    {
      change: token({ label: 'nobody', record: undefined }),
      ...{
        code: 'token',
        exit: 'token',
        where: /"nobody"/,
        what: /It shows "escrowd/,
        do: /token\.label/,
      },
    },
  ],
  [
    'a wrong PIN',
    {
      change: token(() => ({ pinFile: file('wrong.pin', 'not the pin') })),
      ...{
        code: 'token-pin',
        exit: 'pin',
        where: /token "/,
        what: /refused the user PIN/,
        do: /before anything tries/,
      },
    },
  ],
];

/** The code that a start ends with. */
async function startedWith(configFile: string, environment: Environment = {}): Promise<number> {
  try {
    const daemon = await startDaemonAt(configFile, { environment, now: () => new Date() });
    await daemon.stop();
    return EXIT_CODES.clean.code;
  } catch (error) {
    return exitCodeOf(error);
  }
}

/** What is wrong and nothing else. */
async function onlyFinds(found: Findings, { code, exit, where, what, do: remedy }: Row): Promise<void> {
  const errors = found.list.filter(({ severity }) => severity === 'error');
  expect(errors).toEqual([
    {
      code,
      severity: 'error',
      where: expect.stringMatching(where) as string,
      what: expect.stringMatching(what) as string,
      do: expect.stringMatching(remedy) as string,
    },
  ]);
  expect(found.exitCode).toBe(EXIT_CODES[exit].code);
  expect(JSON.parse(jsonOf(found))).toEqual(found.list);
  for (const secret of [system.hsm.userPin, 'not the pin', 'hunter2'])
    expect(jsonOf(found) + textOf(found)).not.toContain(secret);
  return Promise.resolve();
}

describe('a check finds, with the exit code of the start,', () => {
  it.each(files)('%s', async (_what, row) => {
    const configFile = configured(row.change);
    await onlyFinds(await check(configFile), row);
    if (row.start === true) expect(await startedWith(configFile)).toBe(EXIT_CODES[row.exit].code);
  });

  it.each(Object.keys(UNUSABLE) as Unusable[])(
    '%s in the place of every file, and waits for none',
    async (kind) => {
      const found = await check(
        configured((config) => {
          withFiles(config, (name) => madeAs(kind, name));
        }),
      );
      // that others may write a device is told besides
      const errors = found.list.filter(({ severity, code }) => severity === 'error' && code !== 'file-mode');
      expect(errors.map(({ where }) => FILES.find((name) => where.endsWith(pathOf(kind, name))))).toEqual(
        FILES,
      );
      for (const { what, do: remedy } of errors) {
        expect(what).toMatch(UNUSABLE[kind].what);
        expect(remedy).not.toBe('');
      }
      expect(found.exitCode).toBe(EXIT_CODES.usage.code);
      const ofConfiguration = await check(madeAs(kind, 'escrowd.yaml'));
      expect(ofConfiguration.list).toMatchObject([{ code: 'config', severity: 'error' }].map(matching));
      expect(ofConfiguration.list[0]?.what).toMatch(
        kind === 'an empty file' ? /object/ : UNUSABLE[kind].what,
      );
    },
  );

  it.each(['a directory', 'a pipe'] as const)(
    '%s as the module, and as the configuration of SoftHSM',
    async (kind) => {
      const module = await check(configured(token(() => ({ module: madeAs(kind, 'module.so') }))));
      const errorsOf = ({ list }: Findings): Findings['list'] =>
        list.filter(({ severity }) => severity === 'error');
      expect(errorsOf(module)).toMatchObject(
        [{ code: 'token', what: /is no file, and no PKCS#11 module/ }].map(matching),
      );
      const SOFTHSM2_CONF = madeAs(kind, 'softhsm.conf');
      const conf = await check(configured(token({ environment: { SOFTHSM2_CONF } })));
      expect(errorsOf(conf)).toMatchObject([{ code: 'token', what: UNUSABLE[kind].what }].map(matching));
    },
  );

  it('nothing wrong with a byte order mark in front of every file, the PIN of which is tried without it', async () => {
    const marked = (from: string): string =>
      file(`marked-${basename(from)}`, `\uFEFF${readFileSync(from, 'utf8')}`);
    const configFile = configured((config) => {
      const ofToken = config['token'];
      withFiles(config, (name) => {
        if (name === 'hook.secret')
          return marked(file(name, `whsec_${Buffer.alloc(24).toString('base64')}\n`));
        if (name === 'mail.password') return marked(file(name, 'hunter2\n'));
        if (name === 'profile.yaml') return marked(SOFTHSM_PROFILE_FILE);
        if (name === 'user.pin') return marked(join(system.directory, 'user.pin'));
        if (name === 'record.json') return marked(join(system.directory, 'record.json'));
        if (name === 'administrators.json') return marked(join(system.directory, 'administrators.json'));
        return marked(join(system.directory, name === 'tls.key' ? 'server.key' : 'server.crt'));
      });
      config['token'] = { ...ofToken, ...config['token'] };
    });
    const found = await check(file('marked.yaml', `\uFEFF${readFileSync(configFile, 'utf8')}`, 0o644));
    expect(found.list.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(found.exitCode).toBe(EXIT_CODES.clean.code);
  });

  it('whatever is wrong with files, all of it at once, and a start makes no database before', async () => {
    const hook = (name: string, secret: string, ca: string): object => ({
      ...{ name, url: 'https://localhost:1/', secretFiles: [secret], ca },
    });
    const directory = join(system.directory, 'never');
    const configFile = configured((config) => {
      const witness = {
        key: testWitness('w1.example.org/w1').key.vkey,
        url: 'https://localhost:1',
        ca: 'no-ca-1',
      };
      Object.assign(config, {
        tls: { certificate: 'no.crt', key: 'no.key' },
        administrators: 'no-administrators.json',
        database: { directory },
        witnesses: [witness, { ...witness, key: testWitness('w2.example.org/w2').key.vkey, ca: 'no-ca-2' }],
        notifications: {
          allowHosts: ['localhost'],
          webhooks: [hook('a', 'no-secret-1', 'no-ca-3'), hook('b', 'no-secret-2', 'no-ca-4')],
        },
      });
      token({ record: 'no-record.json', pinFile: 'no.pin', profile: 'no-profile' })(config);
    });
    const found = await check(configFile);
    const errors = found.list.filter(({ severity }) => severity === 'error');
    const named = errors.map(({ where }) => /no[-a-z0-9]*(\.[a-z]+)?$/.exec(where)?.[0]);
    expect(named).toEqual([
      ...['no.crt', 'no.key', 'no-administrators.json', 'no-ca-1', 'no-ca-2'],
      ...['no-secret-1', 'no-ca-3', 'no-secret-2', 'no-ca-4', 'no-profile.yaml', 'no-record.json', 'no.pin'],
    ]);
    expect(found.exitCode).toBe(EXIT_CODES.usage.code);
    const onlyPin = configured((config) => {
      token({ pinFile: 'no.pin' })(config);
      config['database'] = { directory };
    });
    expect(await startedWith(onlyPin)).toBe(EXIT_CODES.usage.code);
    expect(existsSync(directory)).toBe(false);
  });

  it('whatever is wrong with the text, all of it at once', async () => {
    const { vkey } = testWitness('w1.example.org/w1').key;
    const configFile = configured((config) => {
      const witness = { key: vkey, url: 'https://localhost:1' };
      Object.assign(config, { witnesses: [witness, witness] });
      token({ pinFile: 'credential:pin' })(config);
    });
    const found = await check(configFile, { DATABASE_URL: 'mysql://x' });
    expect(found.list).toMatchObject([
      { code: 'config', where: `${configFile}: witnesses`, do: 'take one of the two away' },
      {
        code: 'config',
        where: `${configFile}: token.pinFile`,
        do: expect.stringContaining('unit') as string,
      },
      { code: 'config', where: 'DATABASE_URL in the environment' },
    ]);
  });

  it('a configuration that is not there, and one that is no YAML', async () => {
    const missing = await check(join(system.directory, 'nowhere.yaml'));
    expect(missing.list).toMatchObject([
      { code: 'config', what: expect.stringContaining('is not there') as string },
    ]);
    const broken = await check(file('broken.yaml', 'origin: [\n'));
    expect(broken.list).toMatchObject([
      { code: 'config', where: expect.stringContaining('broken.yaml') as string },
    ]);
    expect([missing.exitCode, broken.exitCode]).toEqual([2, 2]);
  });
});

describe('of a database that is named by URL', () => {
  const urlOf = (
    changed: Partial<TestServer['daemon']> = {},
    role: 'daemon' | 'owner' = 'daemon',
  ): string => {
    const { host, port, user, password, database } = { ...server[role], ...changed };
    return `postgresql://${user}:${encodeURIComponent(password)}@/${database}?host=${encodeURIComponent(host)}&port=${port}`;
  };
  const named = (changed: Partial<TestServer['daemon']> = {}): Environment => ({
    DATABASE_URL: urlOf(changed),
  });
  let pooler: Pooler | undefined;
  afterEach(async () => {
    await pooler?.close();
    pooler = undefined;
  });

  type DatabaseRow = Row & {
    readonly environment: () => Environment | Promise<Environment>;
    /** Done as the owner of the database, and undone. */
    readonly sql?: readonly [string, string];
  };
  const rows: readonly (readonly [string, DatabaseRow])[] = [
    [
      'several hosts, one of which is none',
      {
        environment: () => ({ DATABASE_URL: 'postgresql://a:geheim@h1:5432,h2:/escrowd' }),
        ...{
          code: 'config',
          exit: 'usage',
          where: /DATABASE_URL/,
          what: /the 2\. is no host/,
          do: /HOST1:PORT1/,
        },
      },
    ],
    [
      'several hosts, at none of which anybody answers',
      {
        environment: async () => ({
          DATABASE_URL: `postgresql://a:geheim@127.0.0.1:${await freePort()},127.0.0.1:${await freePort()}/escrowd`,
        }),
        ...{
          code: 'database',
          exit: 'database',
          where: /DATABASE_URL/,
          what: /none of the servers .*127\.0\.0\.1:\d+: .*ECONNREFUSED.*; 127\.0\.0\.1:\d+: .*ECONNREFUSED/,
          do: /start it/,
          start: true,
        },
      },
    ],
    ...(['sslrootcert', 'sslcert', 'sslkey'] as const).map((name): readonly [string, DatabaseRow] => [
      `a pipe as ${name}`,
      {
        environment: () => ({
          DATABASE_URL: `postgresql://a:geheim@h1/escrowd?${name}=${madeAs('a pipe', name)}`,
        }),
        ...{
          code: 'config',
          exit: 'usage',
          where: /DATABASE_URL/,
          what: new RegExp(`^${name}: .* cannot be read: it is a pipe`),
          do: /regular file/,
          start: true,
        },
      },
    ]),
    [
      'variables of the driver',
      {
        environment: () => ({ ...named(), PGOPTIONS: '-c default_transaction_read_only=on' }),
        ...{ code: 'config', exit: 'usage', where: /PGOPTIONS/, what: /driver/, do: /unset/ },
      },
    ],
    [
      'that nobody answers',
      {
        environment: async () => ({
          DATABASE_URL: `postgresql://a:geheim@127.0.0.1:${await freePort()}/escrowd`,
        }),
        ...{
          code: 'database',
          exit: 'database',
          where: /DATABASE_URL/,
          what: /ECONNREFUSED/,
          do: /start it/,
          start: true,
        },
      },
    ],
    [
      'a wrong password',
      {
        environment: () => named({ password: 'geheim' }),
        ...{
          code: 'database',
          exit: 'database',
          where: /DATABASE_URL/,
          what: /refuses the role/,
          do: /pg_hba/,
          start: true,
        },
      },
    ],
    [
      'a database that there is not',
      {
        environment: () => named({ database: 'nowhere' }),
        ...{
          code: 'database',
          exit: 'database',
          where: /DATABASE_URL/,
          what: /nowhere|pg_hba/,
          do: /URL/,
          start: true,
        },
      },
    ],
    [
      'transactions that are read-only',
      {
        environment: () => named(),
        sql: [
          'alter database escrowd set default_transaction_read_only = on',
          'set transaction read write; alter database escrowd reset default_transaction_read_only',
        ],
        ...{
          code: 'database-settings',
          exit: 'database',
          where: /DATABASE_URL/,
          what: /set by: database/,
          do: /reset it/,
        },
        start: true,
      },
    ],
    [
      'commits that are not waited for',
      {
        environment: () => named(),
        sql: [
          'alter database escrowd set synchronous_commit = off',
          'alter database escrowd reset synchronous_commit',
        ],
        ...{
          code: 'database-settings',
          exit: 'database',
          where: /DATABASE_URL/,
          what: /synchronous_commit/,
          do: /set it/,
        },
        start: true,
      },
    ],
    [
      'rights that were taken away',
      {
        environment: () => named(),
        sql: [
          'revoke insert on log_entry from escrowd_daemon',
          'grant insert on log_entry to escrowd_daemon',
        ],
        ...{
          code: 'database-rights',
          exit: 'database',
          where: /DATABASE_URL/,
          what: /log_entry/,
          do: /OWNER_URL/,
          start: true,
        },
      },
    ],
    [
      'a schema of a newer program, and both versions by name',
      {
        environment: () => ({ DATABASE_URL: urlOf(), DATABASE_OWNER_URL: urlOf({}, 'owner') }),
        sql: [
          `insert into knex_migrations (name, batch, migration_time) values ('999_later', 9, now())`,
          `delete from knex_migrations where name = '999_later'`,
        ],
        ...{
          code: 'schema',
          exit: 'database',
          where: /DATABASE_URL/,
          what: /999_later.*up to \d+/,
          do: /version/,
          start: true,
        },
      },
    ],
    [
      'a pooler that shares backends out',
      {
        environment: async () => {
          pooler = await startPooler(server.daemon, 'transaction');
          return { DATABASE_URL: urlOf({ host: '127.0.0.1', port: pooler.port }) };
        },
        ...{
          code: 'database-pooler',
          exit: 'database',
          where: /DATABASE_URL/,
          what: /one backend/,
          do: /session/,
          start: true,
        },
      },
    ],
  ];

  it.each(rows)('it finds %s', async (_what, row) => {
    // a start that waits for a database waits no longer than this
    const configFile = configured((config) => (config['database'] = { startMs: 1, directory: 'postgres' }));
    const [done, undone] = row.sql ?? [];
    if (done !== undefined) await query(server.owner, done);
    try {
      const environment = await row.environment();
      const found = await check(configFile, environment);
      await onlyFinds(found, row);
      expect(textOf(found)).not.toContain('geheim');
      if (row.start === true)
        expect(await startedWith(configFile, environment)).toBe(EXIT_CODES[row.exit].code);
    } finally {
      if (undone !== undefined) await query(server.owner, undone);
    }
  });

  it('a pooler in session mode is a warning, and an empty DATABASE_OWNER_URL is none', async () => {
    pooler = await startPooler(server.daemon, 'session');
    const DATABASE_URL = urlOf({ host: '127.0.0.1', port: pooler.port });
    const found = await check(configured(), { DATABASE_URL, DATABASE_OWNER_URL: '' });
    expect(found.exitCode).toBe(0);
    expect(found.list).toMatchObject(
      [{ code: 'database', severity: 'warning', do: /session mode/ }].map(matching),
    );
  });

  it('without a schema it says what a start would do: with the owner make it, else end; the check makes none', async () => {
    await server.empty();
    try {
      const alone = await check(configured(), named());
      expect(alone.list.filter(({ severity }) => severity === 'error')).toMatchObject([{ code: 'schema' }]);
      expect(alone.exitCode).toBe(EXIT_CODES.database.code);
      const both = { ...named(), DATABASE_OWNER_URL: urlOf({}, 'owner') };
      const found = await check(configured(), both);
      expect(found.exitCode).toBe(0);
      expect(found.list).toMatchObject(
        [{ code: 'schema', severity: 'note', what: /a start makes it/ }].map(matching),
      );
      const tables = await query(server.owner, `select 1 from pg_tables where schemaname = 'public'`);
      expect(tables).toHaveLength(0);
    } finally {
      await migrate(server.owner, server.daemon.user, MIGRATE_MS);
    }
  });

  it('a policy that nobody has signed, with the exit code of the start', async () => {
    const principals: unknown = JSON.parse(
      readFileSync(join(system.directory, 'administrators.json'), 'utf8'),
    );
    const document = JSON.stringify({ version: 1, principals, rules: [] });
    await query(
      server.owner,
      `insert into policy (version, hash, document, signatures, applied_at) values (1, 'x', $1, '{}', now())`,
      [document],
    );
    try {
      const found = await check(configured(), named());
      expect(found.list).toMatchObject(
        [{ code: 'policy', severity: 'error', what: /version 1 .* is not signed/, do: /do not start/ }].map(
          matching,
        ),
      );
      expect(found.exitCode).toBe(EXIT_CODES.policy.code);
    } finally {
      await server.reset();
    }
  });

  it('a clock that is off is a warning', async () => {
    const ahead = await check(configured(), named(), () => new Date(Date.now() + 62_000));
    expect(ahead.list).toMatchObject(
      [{ code: 'clock', severity: 'warning', what: /6\d(\.\d)? seconds ahead/ }].map(matching),
    );
    expect(ahead.exitCode).toBe(0);
  });
});

test('a database that comes while it is waited for is taken, and one that refuses is not waited for', async () => {
  const port = await freePort();
  const { user, password, database } = server.daemon;
  const daemon = `postgresql://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
  const told: string[] = [];
  const bounds = {
    connectMs: 5_000,
    startMs: 60_000,
    stop: undefined,
    tell: (line: string) => told.push(line),
  };
  const reached = reachDatabase({ daemon }, bounds);
  await until(() => told.length > 0);
  expect(told).toEqual([expect.stringMatching(/does not answer .*ECONNREFUSED.* tried for 60000 ms/)]);
  const pooler = await startPooler(server.daemon, 'session', port);
  try {
    await reached;
    expect(told.at(-1)).toMatch(/a pooler stands between/);
    const { host } = server.daemon;
    const wrong = `postgresql://${user}:wrong@/${database}?host=${encodeURIComponent(host)}`;
    const began = performance.now();
    await expect(reachDatabase({ daemon: wrong }, bounds)).rejects.toMatchObject({ reason: 'credentials' });
    expect(performance.now() - began).toBeLessThan(bounds.startMs);
  } finally {
    await pooler.close();
  }
});

/** A row whose regular expressions are to be matched. */
function matching(row: Readonly<Record<string, string | RegExp>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      value instanceof RegExp ? (expect.stringMatching(value) as unknown) : value,
    ]),
  );
}

test('all that is wrong is found at once, in the order of a start, whose code is that of the first', async () => {
  const found = await check(
    configured((config) => {
      config['listen'] = { host: '127.0.0.1', port: busyPort };
      config['tls'] = { ...config['tls'], key: join(other, 'server.key') };
      config['token'] = { ...config['token'], pinFile: file('wrong-too.pin', 'not the pin') };
      config['database'] = { binaries: '/nonexistent' };
    }),
  );
  expect(found.list.map(({ code }) => code)).toEqual(['tls', 'address', 'cluster', 'token-pin']);
  expect(found.exitCode).toBe(EXIT_CODES.usage.code);
  expect(textOf(found)).toContain('4 errors, 0 warnings, 0 notes: a start would end with exit code 2.');
  const wrong = await check(
    configured((config) => Object.assign(config, { lissen: {}, anchorMs: -1 })),
    { DATABASE_URL: 'postgresql://a@h1,/c' },
  );
  expect(wrong.list.map(({ code }) => code)).toEqual(['config', 'config', 'config']);
});

test('witnesses and sinks that are not reached are warnings', async () => {
  const port = await freePort();
  const found = await check(
    configured((config) => {
      const hook = {
        name: 'siem',
        url: `http://localhost:${port}/`,
        secretFiles: [file('good.secret', `whsec_${Buffer.alloc(24).toString('base64')}`)],
      };
      config['witnesses'] = [
        { key: testWitness('w.example/1').vkey, url: `https://127.0.0.1:${port}` },
      ] as never;
      config['notifications'] = {
        allowHosts: ['localhost'],
        webhooks: [hook],
        smtp: { host: 'localhost', port, tls: 'none', from: 'escrowd@example.com' },
        file: { path: '/nonexistent/notices.ndjson' },
      };
    }),
  );
  const warnings = found.list.filter(({ severity }) => severity === 'warning');
  expect(warnings.map(({ code, where }) => `${code} ${where}`)).toEqual([
    'witness witnesses: w.example/1',
    'sink notifications.webhooks: siem',
    'sink notifications.smtp',
    'sink notifications.file: /nonexistent/notices.ndjson',
  ]);
  expect(found.exitCode).toBe(0);
});

test.each([
  ['a directory', () => madeAs('a directory', 'notices'), /no regular file/],
  ['a pipe', () => madeAs('a pipe', 'notices'), /no regular file/],
  ['a link, also to a file', () => madeAs('a device', 'notices'), /a link, which is not followed/],
  ['a link that leads nowhere', () => dirname(danglingLink()), /a link, which is not followed/],
  [
    'a file whose directory is not there',
    () => join(system.directory, 'none', 'x'),
    /directory is not there/,
  ],
  ['a file below a file', () => join(madeAs('an empty file', 'above'), 'x'), /not a directory/],
  ['a file of /proc', () => '/proc/self/status', /keeps no files \(proc\)/],
  ['a new file in /proc', () => '/proc/notices', /keeps no files \(proc\)/],
  ['a file that is there', () => madeAs('an empty file', 'notices'), undefined],
  ['a file that is not there', () => pathOf('nothing', 'notices'), undefined],
])('for the sink of notices, %s is a warning unless it can be appended to', (_what, path, what) => {
  const found = new Findings();
  const onDisk = (at: string): FileSystem => (at.startsWith('/proc') ? statfsSync(at) : DISK);
  const notifications = { file: { path: path(), kinds: [] } } as never;
  checkFileSink({ notifications } as never, found, onDisk);
  const warnings = what === undefined ? [] : [matching({ code: 'sink', severity: 'warning', what })];
  expect(found.list).toMatchObject(warnings);
  expect(found.list).toHaveLength(warnings.length);
});

test.each([
  ['in memory', { type: TMPFS }, ['warning place: it lies in memory', 'warning place: it lies in memory']],
  ['nearly full', { bavail: 512 }, ['warning place: .* room for 2 MiB', 'error cluster: .* room for 2 MiB']],
  ['full', { bavail: 0 }, ['error place: .* room for 0 MiB', 'error cluster: .* room for 0 MiB']],
  ['out of files', { ffree: 0 }, ['error place: .* room for 0 MiB', 'error cluster: .* room for 0 MiB']],
])(
  'of a place that is %s is told, for the token and for a first database',
  async (_what, differing, said) => {
    const found = await checkStart({
      configFile: configured((config) => (config['database'] = { directory: 'first' })),
      environment: { PATH: process.env['PATH'] },
      packageDirectory: process.cwd(),
      fileSystemAt: () => ({ ...DISK, ...differing }),
    });
    const told = found.list.filter(({ severity }) => severity !== 'note');
    expect(told.map(({ severity, code, what }) => `${severity} ${code}: ${what}`)).toEqual(
      said.map((each) => expect.stringMatching(each) as string),
    );
    const { clean, database, usage } = EXIT_CODES;
    const [first = ''] = said.filter((each) => each.startsWith('error'));
    expect(found.exitCode).toBe((first === '' ? clean : first.includes('cluster') ? database : usage).code);
  },
);

test('a certificate that ends soon, or has, is a warning', async () => {
  const after = (days: number) => (): Date => new Date(Date.now() + days * 86_400_000);
  const soon = await check(configured(), {}, after(390));
  const over = await check(configured(), {}, after(401));
  const [first, second] = [soon, over].map(({ list }) =>
    list.filter(({ severity }) => severity === 'warning'),
  );
  const where = 'tls.certificate';
  expect(first).toMatchObject([matching({ code: 'tls-expiry', where, what: /expires in 9 days/ })]);
  expect(second).toMatchObject([matching({ code: 'tls-expiry', where, what: /has expired/, do: /SIGHUP/ })]);
  expect([soon.exitCode, over.exitCode]).toEqual([0, 0]);
});

test('the PIN is tried once, and nothing is made: no database is started, no file or object made', async () => {
  const spied = join(system.directory, 'check.spy');
  const { place } = system.hsm;
  const environment = {
    ...place.environment,
    PKCS11SPY: findModule(place.profile, undefined),
    PKCS11SPY_OUTPUT: spied,
  };
  const module = copySpyModule(system.directory);
  const configFile = configured((config) => {
    config['token'] = { ...config['token'], module, allowSpy: true, environment };
    config['database'] = { directory: 'first' };
  });
  const listed = (): readonly string[] =>
    readdirSync(system.directory, { recursive: true })
      .map(String)
      .filter((name) => name !== 'check.spy')
      .sort();
  const objects = (): readonly string[] =>
    readdirSync(system.hsm.directory, { recursive: true }).map(String).sort();
  const before = [listed(), objects(), statSync(system.directory).mtimeMs] as const;
  const found = await check(configFile);
  expect(found.exitCode).toBe(0);
  expect([listed(), objects()]).toEqual(before.slice(0, 2));
  expect(existsSync(join(system.directory, 'first'))).toBe(false);
  const said = readFileSync(spied, 'latin1');
  const calls = [...said.matchAll(/^\d+: (C_\w+)$/gm)].map(([, call]) => call);
  expect(calls.filter((call) => call === 'C_Login')).toHaveLength(1);
  const making = ['C_GenerateKey', 'C_GenerateKeyPair', 'C_CopyObject', 'C_UnwrapKey', 'C_SetAttributeValue'];
  expect(calls.filter((call) => making.includes(call ?? ''))).toEqual([]);
  // what tells a KEK is tried on a known key that lives as long as the session
  const created = said.split(/^(?=\d+: C_)/m).filter((call) => /^\d+: C_CreateObject/.test(call));
  expect(created.length).toBeGreaterThan(0);
  for (const call of created) expect(call).toMatch(/CKA_TOKEN +False/);
});

test('a database that is older than what the token remembers is found, also where there is none', async () => {
  const opened = await system.hsm.open();
  await opened.writeAnchor({
    ...{ size: 5, root: new Uint8Array(32), policy: undefined, unsigned: 0, recorded: undefined },
  });
  await opened.close();
  const found = await check(configured((config) => (config['database'] = { directory: 'none' })));
  expect(found.exitCode).toBe(EXIT_CODES.logDamaged.code);
  expect(found.list.at(-1)).toMatchObject(
    matching({ code: 'log', severity: 'error', what: /the token remembers one over 5/ }),
  );
});

test('where it is told to, the token proves itself, and what it does not refuse ends with the exit code of the start', async () => {
  const proved = await check(configured(), {}, undefined, true);
  expect(proved.list.filter(({ severity }) => severity === 'error')).toEqual([]);
  const profile = file(
    'admitting.yaml',
    readFileSync(SOFTHSM_PROFILE_FILE, 'utf8').replace('unenforced: []', 'unenforced: [rotate-used]'),
  );
  const admitting = configured(token({ profile }));
  const found = await check(admitting, {}, undefined, true);
  expect(found.list.filter(({ severity }) => severity === 'error')).toMatchObject(
    [{ code: 'token-test', what: /does not refuse: rotate-used/ }].map(matching),
  );
  expect(found.exitCode).toBe(EXIT_CODES.enforcement.code);
  // without it nothing is tried
  expect((await check(admitting)).exitCode).toBe(EXIT_CODES.clean.code);
});

test.each([
  ['rsa:1024', [], /RSA of 1024 bits/],
  ['ec', ['-pkeyopt', 'ec_paramgen_curve:secp256k1'], /secp256k1/],
] as const)(
  'a certificate for a key that clients do not take (%s) is a warning',
  async (kind, more, what) => {
    const [certificate, key] = [join(system.directory, 'weak.crt'), join(system.directory, 'weak.key')];
    const subject = ['-subj', '/CN=weak', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '400'];
    const made = [
      'req',
      '-x509',
      '-nodes',
      '-newkey',
      kind,
      ...more,
      ...subject,
      '-keyout',
      key,
      '-out',
      certificate,
    ];
    execFileSync('openssl', made, { stdio: 'ignore' });
    const found = await check(configured(tls(() => ({ certificate, key }))));
    expect(found.list.filter(({ code }) => code === 'tls')).toMatchObject(
      [{ severity: 'warning', what, do: /P-256/ }].map(matching),
    );
  },
);
