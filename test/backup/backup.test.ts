import { spawn } from 'node:child_process';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import pkcs11 from 'pkcs11js';
import { parse, stringify } from 'yaml';

import { readArchive, writeArchive } from '../../src/backup/archive.js';
import { makeBackup } from '../../src/backup/backup.js';
import { BackupError } from '../../src/backup/faults.js';
import { removeAll, restoreBackup } from '../../src/backup/restore.js';
import { migrate } from '../../src/postgres/schema/migrate.js';
import { startCluster } from '../../src/privatePostgres/cluster.js';
import { readBytes } from '../../src/token/objects/objects.js';
import type { KeyReply } from '../../src/api/replies.js';
import { expectLogHolds } from '../promises/wholeLog.js';
import { dumpDatabase } from '../support/databaseDump.js';
import { freePort } from '../support/freePort.js';
import { CLUSTER } from '../support/freshCluster.js';
import { agree, askToOperate, makeKey, signingScope } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import { grantOf } from '../support/oneKey.js';
import { databaseEnvironment, query, startTestServer, type TestServer } from '../support/postgres.js';
import { programOf } from '../support/runTs.js';
import { schemaDigest } from '../support/unusedDatabase.js';
import { openRaw } from '../support/rawToken.js';
import { SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';
import { makeSystem, startDaemonAt, type System } from '../support/system.js';
import { until } from '../support/waiting.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * What was deposited is brought back from a backup, on another machine as it were: the directory of the system that it is of is not
 * used for it.
 */

let system: System;
let key: KeyReply;
let directory: string;
let backup: string;
let made = 0;
const place = (): string => join(directory, `place-${(made += 1)}`);

beforeAll(async () => {
  const port = await freePort();
  system = await makeSystem({ port });
  key = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  directory = mkdtempSync(join(tmpdir(), 'escrowd-backup-'));
  backup = place();
  await backUp(backup);
});
afterAll(async () => {
  await system.remove();
  rmSync(directory, { recursive: true });
});

const PARTS = { packageDirectory: process.cwd(), tell: (): void => undefined };

function backUp(
  to: string,
  more: Partial<Parameters<typeof makeBackup>[0]> = {},
): ReturnType<typeof makeBackup> {
  const environment = { PATH: process.env['PATH'] };
  const order = { configFile: system.configFile, to, recipients: [], environment, now: new Date() };
  return makeBackup({ ...PARTS, ...order, ...more });
}

function restore(
  to: string,
  more: Partial<Parameters<typeof restoreBackup>[0]> = {},
): ReturnType<typeof restoreBackup> {
  const environment = { PATH: process.env['PATH'] };
  return restoreBackup({
    ...PARTS,
    from: backup,
    identities: [],
    to,
    server: undefined,
    environment,
    stop: new AbortController().signal,
    ...more,
  });
}

/** What the command line does, in a process of its own: its exit code, and what it said. */
async function run(...args: readonly string[]): Promise<{ code: unknown; out: string; err: string }> {
  const program = programOf(join(__dirname, '..', '..', 'src', 'backup', 'main.ts'));
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (said.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said.err += chunk.toString()));
  const [code] = (await once(child, 'close')) as unknown[];
  return { code, ...said };
}

/** The files below a directory, by their hashes. */
function treeOf(top: string): Readonly<Record<string, string>> {
  const names = readdirSync(top, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  return Object.fromEntries(
    names.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [path, createHash('sha256').update(readFileSync(path)).digest('hex')];
    }),
  );
}

const pinFile = (): readonly string[] => ['--user-pin-file', join(system.directory, 'user.pin')];

/** Where the tokens of the system are. */
function liveTokens(): string {
  const configuration = readFileSync(system.hsm.place.environment.SOFTHSM2_CONF, 'utf8');
  return /tokendir = (.*)/.exec(configuration)?.[1] ?? '';
}

/** The names of what it holds, but of the anchor, which the daemon replaces as the log grows. */
function objectsHeld(): readonly string[] {
  const raw = openRaw(system.hsm, 'as is');
  try {
    const labels = raw
      .find([{ type: pkcs11.CKA_TOKEN, value: true }])
      .flatMap((handle) => readBytes(raw.driver, raw.session, handle, [pkcs11.CKA_LABEL]).map(String));
    expect(labels).toContain('anchor:log');
    return labels.filter((label) => label !== 'anchor:log').sort();
  } finally {
    raw.close();
  }
}

describe('a backup of a system that serves', () => {
  it('holds no PIN, no key and no password', async () => {
    const config = parse(readFileSync(system.configFile, 'utf8')) as Record<string, unknown>;
    const secrets = ['webhook.secret', 'smtp.password', 'server.key', 'user.pin'];
    for (const name of secrets.slice(0, 2))
      writeFileSync(join(system.directory, name), `the content of ${name}`, { mode: 0o600 });
    config['notifications'] = {
      allowHosts: ['hooks.example.com', 'mail.example.com'],
      file: { path: '/var/log/notices.ndjson' },
      webhooks: [
        {
          name: 'siem',
          url: 'https://hooks.example.com/',
          secretFiles: ['webhook.secret'],
          ca: 'server.crt',
        },
      ],
      smtp: {
        host: 'mail.example.com',
        port: 465,
        from: 'escrowd@example.com',
        ca: 'server.crt',
        credentials: { user: 'escrowd', passwordFile: 'smtp.password' },
      },
    };
    const configFile = join(system.directory, 'full.yaml');
    writeFileSync(configFile, stringify(config), { mode: 0o600 });
    const to = place();
    const { manifest } = await backUp(to, { configFile });
    expect(manifest.secrets).toEqual(['server.key', 'user.pin', 'webhook-siem-1.secret', 'smtp.password']);
    const bytes = readFileSync(to);
    const passwords = readFileSync(join(system.directory, 'postgres', 'passwords.json'), 'utf8');
    const { owner, daemon } = JSON.parse(passwords) as Record<string, string>;
    const contents = secrets.map((name) => readFileSync(join(system.directory, name), 'utf8').trim());
    for (const secret of [...contents, owner, daemon, system.hsm.soPin]) {
      expect(secret).toMatch(/./);
      expect(bytes.includes(secret ?? '')).toBe(false);
    }
    // what is written down there is found, so that what is not found is not there
    expect(bytes.includes(readFileSync(join(system.directory, 'server.crt'), 'utf8').trim())).toBe(true);
    expect(bytes.includes('passwordFile: ./smtp.password')).toBe(true);
  });
});

describe('the database of a backup', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.stop());
  const roles = (): { ownerUrl: string; daemonUrl: string } => {
    const { DATABASE_OWNER_URL: ownerUrl = '', DATABASE_URL: daemonUrl = '' } = databaseEnvironment(server);
    return { ownerUrl, daemonUrl };
  };
  const digest = (): Promise<string> => schemaDigest((sql) => query(server.owner, sql));

  it('goes to a server and back, row by row, and its guards stand as before', async () => {
    await server.reset();
    const unused = await digest();
    await system.stopDaemon();
    const here = place();
    await backUp(here);
    const there = place();
    await restore(there, { from: here, server: roles() });
    expect(await digest()).toBe(unused);
    const moved = place();
    const environment = { PATH: process.env['PATH'], ...databaseEnvironment(server) };
    await backUp(moved, { environment });
    const back = place();
    await restore(back, { from: moved });
    const cluster = await startCluster({ ...CLUSTER, directory: join(back, 'postgres') });
    const own = await startCluster({ ...CLUSTER, directory: join(system.directory, 'postgres') });
    try {
      const rows = async (owner: typeof cluster.owner): Promise<unknown> => {
        const tables = await query<{ name: string }>(
          owner,
          `select tablename as name from pg_tables where schemaname = 'public' and tablename !~ '^knex' order by 1`,
        );
        const all: unknown[] = [];
        for (const { name } of tables)
          all.push([name, await query(owner, `select to_jsonb(t)::text as row from ${name} t order by 1`)]);
        return all;
      };
      const original = await rows(own.owner);
      expect(await rows(server.owner)).toEqual(original);
      expect(await rows(cluster.owner)).toEqual(original);
    } finally {
      await cluster.stop();
      await own.stop();
    }
    await removeAll(back);
    await system.startDaemon();
    expect((await dumpDatabase(system)).deposits).toHaveLength(1);
  });

  it('leaves the label of a token that it does not hold to whoever restores it', async () => {
    const config = parse(readFileSync(system.configFile, 'utf8')) as { token: Record<string, unknown> };
    // a module that is SoftHSM's by no name: what is in an HSM is copied by its vendor's tools
    const module = join(directory, 'vendor.so');
    copyFileSync(modulePath(), module);
    config.token = { ...config.token, module, profile: SOFTHSM_PROFILE_FILE };
    const configFile = join(system.directory, 'vendor.yaml');
    writeFileSync(configFile, stringify(config), { mode: 0o600 });
    const from = place();
    const { about, manifest } = await backUp(from, { configFile });
    expect(about.token).toEqual({ label: system.hsm.place.label, included: false });
    expect(manifest.files.filter(({ path }) => path.startsWith('token/'))).toEqual([]);
    const to = place();
    await server.reset();
    const restored = await restore(to, { from, server: roles() });
    const there = parse(readFileSync(restored.configFile, 'utf8')) as { token: Record<string, unknown> };
    expect(there.token['label']).toBeUndefined();
    expect(there.token['profile']).toBe('./profile.yaml');
    expect(readFileSync(join(to, 'profile.yaml'), 'utf8')).toBe(readFileSync(SOFTHSM_PROFILE_FILE, 'utf8'));
  });

  it('is not put where there are tables of others, which stay as they are', async () => {
    await server.empty();
    await query(server.owner, 'create table customers as select 1 as id');
    await expect(restore(place(), { server: roles() })).rejects.toThrow(
      /holds customers, which is not escrowd's/,
    );
    const tables = await query(server.owner, `select tablename from pg_tables where schemaname = 'public'`);
    expect(tables).toEqual([{ tablename: 'customers' }]);
    expect(await query(server.owner, 'select * from customers')).toEqual([{ id: 1 }]);
    await query(server.owner, 'drop table customers');
    await migrate(server.owner, server.daemon.user, LIMITS_MS.database);
  });

  it('that is in use is not migrated before it is refused', async () => {
    await server.reset();
    await query(server.owner, 'update log_head set size = 1');
    await query(server.owner, `delete from knex_migrations where id = (select max(id) from knex_migrations)`);
    const migrations = await query(server.owner, 'select name from knex_migrations');
    await expect(restore(place(), { server: roles() })).rejects.toThrow(/holds a log already/);
    expect(await query(server.owner, 'select name from knex_migrations')).toEqual(migrations);
    await server.empty();
    await migrate(server.owner, server.daemon.user, LIMITS_MS.database);
  });

  it('is not there when the configuration is missing', async () => {
    await server.reset();
    const from = place();
    await rewritten(from, (path, content) => (path.endsWith('escrowd.yaml') ? undefined : content));
    await expect(restore(place(), { from, server: roles() })).rejects.toThrow(/holds no configuration/);
    expect(await query(server.owner, 'select from deposit')).toEqual([]);
  });

  it('is said to have lost the keys whose deposits are not there as they were logged', async () => {
    await server.reset();
    const from = place();
    const without = (path: string, content: Buffer): Buffer | undefined =>
      path.startsWith('database/deposit/') ? undefined : content;
    await rewritten(from, without, backup, [], { deposit: 0 });
    const { lost } = await restore(place(), { from, server: roles() });
    expect(lost).toEqual([key.key]);
    const tried = await run('restore', from, '--drill', ...pinFile());
    expect(tried).toMatchObject({ code: 1, err: expect.stringContaining('of 1 keys') as string });
  });

  it('is not put into one that holds a log already', async () => {
    await server.reset();
    await query(server.owner, 'update log_head set size = 1');
    const to = place();
    await expect(restore(to, { server: roles() })).rejects.toThrow(/holds a log already/);
    expect(existsSync(to)).toBe(false);
    expect(await query(server.owner, 'select from deposit')).toEqual([]);
  });

  const OTHERS: readonly (readonly [string, (names: string[]) => string[], RegExp])[] = [
    ['newer', (names) => [...names, '999-later'], /of a newer version of escrowd, which knows 999-later/],
    ['older', (names) => names.slice(0, -1), /of an older version of escrowd, whose schema ended with/],
  ];
  it.each(OTHERS)('is not put into the schema of another version: %s', async (_which, change, said) => {
    await server.reset();
    const from = place();
    await rewritten(from, (path, content) => {
      if (path !== 'about.json') return content;
      const about = JSON.parse(content.toString()) as { migrations: string[] };
      return Buffer.from(JSON.stringify({ ...about, migrations: change(about.migrations) }));
    });
    await expect(restore(place(), { from, server: roles() })).rejects.toThrow(said);
    expect(await query(server.owner, 'select from deposit')).toEqual([]);
  });

  it('is not there at all when the backup is damaged at its end', async () => {
    await server.reset();
    const bytes = readFileSync(backup);
    const from = place();
    writeFileSync(from, bytes.subarray(0, bytes.lastIndexOf('manifest.json')));
    const to = place();
    await expect(restore(to, { from, server: roles() })).rejects.toThrow(BackupError);
    expect(existsSync(to)).toBe(false);
    expect(await query(server.owner, 'select from log_entry')).toEqual([]);
    expect(await query(server.owner, 'select from deposit')).toEqual([]);
    // nor anything of a cluster that was begun for it, wherever that lies
    const told: string[] = [];
    await expect(restore(to, { from, tell: (line) => void told.push(line) })).rejects.toThrow(BackupError);
    const home = /making a PostgreSQL \d+ cluster in (\S+)/.exec(told.join('\n'))?.[1] ?? '';
    expect([home, existsSync(home), existsSync(to)]).toEqual([expect.stringContaining('/'), false, false]);
  });
});

describe('the commands', () => {
  it('back up while the daemon is used, and try that without touching its token', async () => {
    const { recovery } = await askToOperate(system, key.key, signingScope({ maxUses: 100 }));
    const grant = grantOf(await agree(system, recovery));
    const over = new AbortController();
    const signing = (async (): Promise<number> => {
      let signed = 0;
      const messages = [Buffer.from('one of many').toString('base64url')];
      for (; !over.signal.aborted && signed < 90; signed += 1)
        await system.client('app').sign(grant, { mechanism: 'ES256', messages });
      return signed;
    })();
    const to = place();
    const done = await run('backup', '--config', system.configFile, '--to', to);
    over.abort();
    expect(await signing).toBeGreaterThan(0);
    expect(done).toMatchObject({ code: 0, err: '' });
    expect(done.out).toMatch(
      /Backed up 1 keys and \d+ entries .*\n.*server\.key, user\.pin\.\nnext: try it: scripts\/restore/,
    );
    const before = objectsHeld();
    const drilled = await run('restore', to, '--drill', ...pinFile(), '--json');
    expect(drilled).toMatchObject({ code: 0, err: expect.not.stringContaining('error') as string });
    expect(JSON.parse(drilled.out)).toMatchObject({
      keys: 1,
      missing: [],
      about: { origin: 'escrow.test/log' },
    });
    expect(objectsHeld()).toEqual(before);
    // the grant is used on, as if nothing had been
    const messages = [Buffer.from('afterwards').toString('base64url')];
    expect(
      (await system.client('app').sign(grant, { mechanism: 'ES256', messages })).result.signatures,
    ).toHaveLength(1);

    const older = place();
    const isOfDatabase = (path: string, content: Buffer): Buffer | undefined =>
      path.startsWith('token/') ? undefined : content;
    await rewritten(older, isOfDatabase, to, await tokenFilesOf(backup));
    const tried = await run('restore', older, '--drill', ...pinFile());
    expect(tried.code).toBe(0);
    expect(tried.out).toContain(`The token is older than the database; it does not hold: grant:${grant}.`);
  });

  const USAGE: readonly (readonly [string, readonly string[], number, RegExp])[] = [
    ['backup without a file', ['backup', '--config', 'x'], 2, /required option '--to <file>'/],
    [
      'backup of no configuration',
      ['backup', '--config', '/nonexistent.yaml', '--to', '/tmp/never'],
      1,
      /error: \/nonexistent.yaml: it cannot be read/,
    ],
    ['restore both ways', ['restore', '/nonexistent', '--drill', '--to', 'x'], 1, /name a directory/],
    ['an option that there is not', ['restore', 'x', '--fast'], 2, /unknown option '--fast'/],
  ];
  it.each(USAGE)('say what is wrong: %s', async (_what, args, code, said) => {
    const done = await run(...args);
    expect(done.code).toBe(code);
    expect(done.err).toMatch(said);
    expect(done.err).not.toMatch(/unexpected|\n {4}at /);
  });

  it('refuse a directory that is not empty, and leave it as it is', async () => {
    const to = place();
    mkdirSync(to);
    writeFileSync(join(to, 'mine'), 'mine');
    const done = await run('restore', backup, '--to', to);
    expect(done).toMatchObject({ code: 1, err: expect.stringContaining('is not empty') as string });
    expect(readdirSync(to)).toEqual(['mine']);
  });

  it('refuse what is no directory, or can be written by others, and leave it as it is', async () => {
    const file = place();
    writeFileSync(file, 'precious');
    await expect(restore(file)).rejects.toThrow(/cannot be restored into/);
    expect(readFileSync(file, 'utf8')).toBe('precious');
    const open = place();
    mkdirSync(open);
    chmodSync(open, 0o777);
    await expect(restore(open)).rejects.toThrow(/can be written by others/);
    const mine = place();
    mkdirSync(mine, { mode: 0o700 });
    await expect(restore(mine, { from: file })).rejects.toThrow(BackupError);
    expect(readdirSync(mine)).toEqual([]);
  });

  it('load no module that a backup names, and reach no token that it names', async () => {
    const from = place();
    await rewritten(from, (path, content) => {
      if (!path.endsWith('escrowd.yaml')) return content;
      const config = parse(content.toString()) as { token: object };
      const token = {
        ...config.token,
        module: '/nonexistent/evil.so',
        environment: { SOFTHSM2_CONF: '/nonexistent' },
      };
      return Buffer.from(stringify({ ...config, token }));
    });
    expect(await run('restore', from, '--drill', ...pinFile())).toMatchObject({ code: 0 });
  });

  it('take back what a drill has begun when they are told to end', async () => {
    const program = programOf(join(__dirname, '..', '..', 'src', 'backup', 'main.ts'));
    const scratch = mkdtempSync(join(directory, 'scratch-'));
    chmodSync(directory, 0o755);
    chmodSync(scratch, 0o755);
    const child = spawn(process.execPath, [program, 'restore', backup, '--drill', ...pinFile()], {
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: scratch },
    });
    await until(() =>
      readdirSync(scratch, { recursive: true }).some((name) => String(name).endsWith('tokens')),
    );
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([130, null]);
    expect(readdirSync(scratch)).toEqual([]);
  });

  it('say that a drill with the wrong PIN, or of a damaged token, does not start, and leave nothing', async () => {
    const scratches = (): readonly string[] =>
      readdirSync(tmpdir()).filter((name) => name.startsWith('escrowd-drill-'));
    const before = scratches();
    const wrong = join(directory, 'wrong.pin');
    writeFileSync(wrong, '00000000', { mode: 0o600 });
    const done = await run('restore', backup, '--drill', '--user-pin-file', wrong);
    expect(done).toMatchObject({
      code: 1,
      err: expect.stringContaining('the restored system does not start') as string,
    });
    expect(scratches()).toEqual(before);
  });
});

// the last: who has seen the log of the restored one believes no other any more
describe('in a restored system', () => {
  it('the quorum brings a key back, and the log goes on; the token in use is not touched', async () => {
    const from = place();
    await backUp(from);
    const to = place();
    const { configFile, about, manifest } = await restore(to, { from });
    expect(about.token.included).toBe(true);
    expect(manifest.rows).toMatchObject({ deposit: 1 });
    for (const secret of manifest.secrets) copyFileSync(join(system.directory, secret), join(to, secret));
    await system.stopDaemon();
    const before = treeOf(liveTokens());
    const restored = await startDaemonAt(configFile, { now: () => new Date() });
    try {
      const { recovery } = await askToOperate(system, key.key, signingScope());
      const grant = grantOf(await agree(system, recovery));
      const message = Buffer.from('it is back');
      const { result } = await system.client('app').sign(grant, {
        mechanism: 'ES256',
        messages: [message.toString('base64url')],
      });
      const [signature = ''] = result.signatures;
      const publicKey = { key: createPublicKey(key.publicKeyPem ?? ''), dsaEncoding: 'ieee-p1363' } as const;
      expect(verify('sha256', message, publicKey, Buffer.from(signature, 'base64url'))).toBe(true);
      await expectLogHolds(system);
    } finally {
      await restored.stop();
      await removeAll(to);
    }
    expect(treeOf(liveTokens())).toEqual(before);
  });
});

/** Writes a backup like another, but for what is made of each of its files; `more` stands before its end. */
async function rewritten(
  to: string,
  change: (path: string, content: Buffer) => Buffer | undefined,
  from = backup,
  more: readonly (readonly [string, Buffer])[] = [],
  otherRows: Readonly<Record<string, number>> = {},
): Promise<void> {
  await writeArchive(to, [], async (add) => {
    const { checkpoint, rows, secrets } = await readArchive(from, [], async (path, content) => {
      const changed = change(path, content);
      if (changed !== undefined) await add(path, changed);
    });
    for (const [path, content] of more) await add(path, content);
    return { checkpoint, rows: { ...rows, ...otherRows }, secrets };
  });
}

async function tokenFilesOf(from: string): Promise<readonly (readonly [string, Buffer])[]> {
  const files: (readonly [string, Buffer])[] = [];
  await readArchive(from, [], (path, content) => {
    if (path.startsWith('token/')) files.push([path, content]);
    return Promise.resolve();
  });
  return files;
}

function modulePath(): string {
  const profile = parse(readFileSync(SOFTHSM_PROFILE_FILE, 'utf8')) as { modules: readonly string[] };
  return profile.modules.find((path) => existsSync(path)) ?? '';
}
