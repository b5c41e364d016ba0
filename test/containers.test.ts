import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

import { parse } from 'yaml';

import { readConfig } from '../src/daemon/config.js';
import { listenForManagement } from '../src/http/management.js';
import { startCluster } from '../src/privatePostgres/cluster.js';
import { migrate } from '../src/postgres/schema/migrate.js';
import { asSuperuser, placeOf } from './support/databaseCopies.js';
import { CLUSTER, freshCluster, MIGRATE_MS } from './support/freshCluster.js';
import { freePort } from './support/freePort.js';
import { LIMITS_MS } from './support/limits.js';
import { query } from './support/postgres.js';

/* What can be told of image and compose file without building and starting them. */

jest.setTimeout(LIMITS_MS.programs);

const ROOT = resolve(__dirname, '..');
const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** The stages of the Dockerfile, each with its instructions; the first is its FROM. */
function stagesOf(text: string): readonly (readonly Instruction[])[] {
  const lines = text
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '');
  const stages: Instruction[][] = [];
  for (const line of lines) {
    const [, name = '', rest = ''] = /^([A-Z]+) +(.*)$/.exec(line) ?? [];
    if (name === 'FROM') stages.push([]);
    stages.at(-1)?.push({ name, rest: rest.replace(/ +/g, ' ') });
  }
  return stages;
}

const stages = stagesOf(textOf('Dockerfile'));
const build = stages[0] ?? [];
const last = stages.at(-1) ?? [];
const of = (stage: readonly Instruction[], wanted: string): readonly string[] =>
  stage.filter(({ name }) => name === wanted).map(({ rest }) => rest);

describe('the image', () => {
  test('has two stages of the Node that .nvmrc names and that package.json admits', () => {
    expect(stages).toHaveLength(2);
    const { engines } = JSON.parse(textOf('package.json')) as { engines: { node: string } };
    const [, least = ''] = /^>=(\d+)\./.exec(engines.node) ?? [];
    for (const stage of stages) {
      const [, major = ''] = /^node:(\d+)-bookworm-slim\b/.exec(stage[0]?.rest ?? '') ?? [];
      expect(major).toBe(textOf('.nvmrc').trim());
      expect(Number(major)).toBeGreaterThanOrEqual(Number(least));
    }
  });

  test('copies what is there, and nothing else is given to the builder', () => {
    const copies = stages.flatMap((stage) => of(stage, 'COPY'));
    const sources = copies
      .filter((rest) => !rest.startsWith('--from='))
      .flatMap((rest) => rest.split(' ').slice(0, -1));
    expect(sources.length).toBeGreaterThan(5);
    for (const source of sources) expect([source, existsSync(join(ROOT, source))]).toEqual([source, true]);
    const ignored = textOf('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(ignored[0]).toBe('*');
    expect(new Set(ignored.slice(1))).toEqual(new Set(sources.map((source) => `!${source}`)));
    // what the last stage takes of the first one is made there
    const taken = copies.filter((rest) => rest.startsWith('--from=build')).map((rest) => rest.split(' ')[1]);
    expect(taken).toEqual(['/build/node_modules', '/build/dist']);
    expect(of(build, 'WORKDIR')).toEqual(['/build']);
    expect(of(build, 'RUN').join(' ')).toMatch(/npm ci.*npm run build && npm prune --omit=dev/);
  });

  test('has no compiler in the last stage, and runs as a number that is not root', () => {
    const run = of(last, 'RUN').join(' ');
    const packages = /apt-get install -y --no-install-recommends ([a-z0-9 .+-]+?) &&/
      .exec(run)?.[1]
      ?.split(' ');
    expect(packages).toEqual(['softhsm2', 'openssl']);
    expect(run).not.toMatch(/\b(gcc|g\+\+|make|python3|build-essential|npm|curl)\b/);
    expect(of(last, 'USER')).toEqual(['10001:10001']);
    const at = (name: string): number => last.findIndex((one) => one.name === name);
    expect(at('USER')).toBeLessThan(at('ENTRYPOINT'));
    expect(at('USER')).toBeGreaterThan(last.map(({ name }) => name).lastIndexOf('RUN'));
    // made before it is a volume: what others can write the daemon refuses
    expect(run).toContain('install -d -m 0700 -o 10001 -g 10001 /data');
  });

  test('starts what package.json calls escrowd, with a configuration in the volume', () => {
    const { bin } = JSON.parse(textOf('package.json')) as { bin: { escrowd: string } };
    const [work = ''] = of(last, 'WORKDIR');
    expect(JSON.parse(of(last, 'ENTRYPOINT')[0] ?? '')).toEqual(['node', `${work}/${bin.escrowd}`]);
    const [option, file = ''] = JSON.parse(of(last, 'CMD')[0] ?? '[]') as string[];
    expect(option).toBe('--config');
    expect(of(last, 'VOLUME')).toEqual([dirname(file)]);
    expect(of(last, 'ENV').join(' ')).toContain(`PATH=${work}/scripts:`);
  });

  test('is healthy when the management listener is where it is by default, and says that the daemon is ready', async () => {
    const [check = ''] = of(last, 'HEALTHCHECK');
    const [program = '', ...args] = JSON.parse(check.slice(check.indexOf('CMD ') + 4)) as string[];
    const { management } = readConfig(configIn(CONFIGURATION), {});
    const usual = management === 'off' ? '' : `http://${management.host}:${management.port}/`;
    expect(args.join(' ')).toContain(usual);
    let ok = true;
    const health = { ok, problems: [], notes: [], notifications: [], alarms: [], unenforced: [] };
    const metrics = (): Promise<never> => Promise.reject(new Error('not asked for'));
    const sources = { health: () => ({ ...health, ok }), metrics };
    const listener = await listenForManagement({ host: '127.0.0.1', port: 0 }, sources);
    const exit = (port: number): Promise<number> =>
      new Promise((done) => {
        const moved = args.map((arg) => arg.replace(usual, `http://127.0.0.1:${port}/`));
        execFile(program, moved, (error) => {
          done(error === null ? 0 : Number(error.code));
        });
      });
    try {
      expect(await exit(listener.port)).toBe(0);
      ok = false;
      expect(await exit(listener.port)).toBe(1);
      expect(await exit(await freePort())).toBe(1);
    } finally {
      await listener.close();
    }
  });
});

interface Service {
  readonly build?: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
  readonly ports?: readonly string[];
  readonly restart: string;
  readonly cap_drop?: readonly string[];
  readonly read_only?: boolean;
  readonly networks: readonly string[];
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
}

const COMPOSE = 'docs/examples/compose.yaml';
const compose = parse(textOf(COMPOSE)) as {
  readonly services: Readonly<Record<'postgres' | 'escrowd', Service>>;
  readonly configs: Readonly<Record<string, { readonly content: string }>>;
  readonly networks: Readonly<Record<string, object>>;
  readonly volumes: Readonly<Record<string, object>>;
};
const { escrowd, postgres } = compose.services;

/** The configuration that the page about containers shows. */
const CONFIGURATION = /```yaml\n(origin: [^]*?)```/.exec(textOf('docs/containers.md'))?.[1] ?? '';

const scratch: string[] = [];
afterAll(() => {
  for (const directory of scratch) rmSync(directory, { recursive: true, force: true });
});
function configIn(text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-container-'));
  scratch.push(directory);
  writeFileSync(join(directory, 'escrowd.yaml'), text);
  return join(directory, 'escrowd.yaml');
}

/** What Compose makes of a text: `${NAME:?}` is the value of a variable, `$$` a dollar. */
const PASSWORDS = { POSTGRES_PASSWORD: 'aa11', OWNER_PASSWORD: 'bb22', ESCROWD_PASSWORD: 'cc33' } as const;
function interpolated(text: string): string {
  return text.replace(/\$\$|\$\{(\w+):\?\}/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$';
    const value = Object.hasOwn(PASSWORDS, name) ? PASSWORDS[name as keyof typeof PASSWORDS] : undefined;
    if (value === undefined) throw new Error(`no such variable: ${whole}`);
    return value;
  });
}

describe('the compose file', () => {
  test('builds this image, keeps the API alone reachable, and takes from the daemon what it needs not', () => {
    expect(existsSync(join(ROOT, dirname(COMPOSE), escrowd.build ?? '', 'Dockerfile'))).toBe(true);
    expect(of(last, 'EXPOSE')).toEqual([escrowd.ports?.[0]?.split(':')[1]]);
    expect(postgres.ports).toBeUndefined();
    expect(escrowd).toMatchObject({ restart: 'no', cap_drop: ['ALL'], read_only: true });
    expect(escrowd.volumes).toEqual([`./data:${of(last, 'VOLUME')[0] ?? ''}`]);
    for (const service of [escrowd, postgres])
      for (const network of service.networks) expect(Object.keys(compose.networks)).toContain(network);
    for (const { source } of postgres.configs ?? []) expect(Object.keys(compose.configs)).toContain(source);
    // the comment that makes the variables makes all of them
    const made = /for name in ([A-Z ]+);/.exec(textOf(COMPOSE))?.[1]?.split(' ') ?? [];
    expect(made.map((name) => `${name}_PASSWORD`)).toEqual(Object.keys(PASSWORDS));
  });

  test('the configuration beside it is one, and listens where the port leads', () => {
    const config = readConfig(configIn(CONFIGURATION), {
      DATABASE_URL: interpolated(escrowd.environment['DATABASE_URL'] ?? ''),
      DATABASE_OWNER_URL: interpolated(escrowd.environment['DATABASE_OWNER_URL'] ?? ''),
    });
    expect(config.listen).toEqual({ host: '0.0.0.0', port: 8443 });
    expect(config.databaseUrl).toBe('postgresql://escrowd:cc33@postgres:5432/escrow');
    expect(Object.keys(escrowd.environment).sort()).toEqual(['DATABASE_OWNER_URL', 'DATABASE_URL']);
  });

  test('makes roles and a database in which the owner can migrate and the daemon can work, and no more', async () => {
    const top = mkdtempSync(join(tmpdir(), 'escrowd-compose-'));
    chmodSync(top, 0o755); // the database's user must reach it
    const directory = join(top, 'data');
    await freshCluster(directory, 'none');
    const cluster = await startCluster({ ...CLUSTER, directory, sharedDirectory: join(top, 'shared') });
    try {
      const { host, port } = cluster.owner;
      const as = (name: 'DATABASE_URL' | 'DATABASE_OWNER_URL'): typeof cluster.owner => {
        const url = new URL(interpolated(escrowd.environment[name] ?? ''));
        const [user, password, database] = [url.username, url.password, url.pathname.slice(1)];
        return { ...cluster.owner, ...{ host, port, user, password, database } };
      };
      await asSuperuser(
        await placeOf(directory),
        async (superuser) => {
          for (const statement of interpolated(compose.configs['roles']?.content ?? '').split(';\n'))
            if (statement.trim() !== '') await superuser.query(statement);
          await migrate(as('DATABASE_OWNER_URL'), as('DATABASE_URL').user, MIGRATE_MS);
          expect(await query(as('DATABASE_URL'), 'select size from log_head')).toHaveLength(1);
          await expect(query(as('DATABASE_URL'), 'delete from log_entry')).rejects.toMatchObject({
            code: '42501',
          });
          await expect(query(as('DATABASE_URL'), 'create table x ()')).rejects.toMatchObject({
            code: '42501',
          });
        },
        'local escrow all scram-sha-256\n',
      );
    } finally {
      await cluster.stop();
      rmSync(top, { recursive: true, force: true });
    }
  });
});
