import { lstatSync, readlinkSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve, sep } from 'node:path';

import { type Config, profileFile } from './config.js';
import { ConfigError } from './start/configError.js';
import type { Fault } from './start/fault.js';

/** Group and others may write; others may; others may read. */
const WRITABLE = 0o022;
const WRITABLE_BY_ALL = 0o002;
const READABLE_BY_ALL = 0o004;
/** In a directory with this bit, only owners rename and delete their files. */
const STICKY = 0o1000;

/** A file that the daemon goes by, and how it is called in its configuration. */
interface OwnFile {
  readonly name: string;
  readonly path: string;
  /** Whoever reads it is the daemon. */
  readonly isSecret?: true;
  /** Who must not be able to write it; group and others, if nothing else is said. */
  readonly writable?: number;
}

/** Whom files may belong to besides root, and what is known of a path. */
export interface Looking {
  readonly user: number | undefined;
  /** `mode` is of what the path leads to, `uid` of the path itself, a link too. Undefined when there is nothing. */
  readonly look: (path: string) => { readonly mode: number; readonly uid: number } | undefined;
}

const SYSTEM: Looking = { user: process.geteuid?.(), look: lookAt };

/**
 * Finds files that others could change: whoever can write the configuration, a key, a pin or the data directory, or put another in
 * its place, says what the daemon does. So each of them, and every directory above it, must belong to this user or to root, who
 * alone may write it (a sticky directory, such as /tmp, aside), also those that a symbolic link leads through. Root is given files of
 * others by who may become root, as by sudo: for it their owners are not looked at; a group may write the data directory, as volumes have it, for what lies in it is its
 * owner's alone; the TLS key is not readable by everybody. The PIN and other secrets of one line are
 * looked at where they are read ({@link readSecretFile}). What is not there is not looked at. Nothing is checked on Windows.
 */
export function exposedFiles(
  config: Config,
  configFile: string,
  given: Partial<Looking> = {},
): readonly Fault[] {
  if (process.platform === 'win32') return [];
  const looking = { ...SYSTEM, ...given };
  return ownFiles(config, configFile).flatMap((file) => exposureOf(file, looking) ?? []);
}

/** @throws ConfigError naming each of {@link exposedFiles}, and the command that mends it */
export function refuseExposedFiles(config: Config, configFile: string, given: Partial<Looking> = {}): void {
  const exposed = exposedFiles(config, configFile, given);
  if (exposed.length > 0) throw new ConfigError(exposed);
}

function ownFiles(config: Config, configFile: string): readonly OwnFile[] {
  const { tls, token, administrators, database, databaseUrl, witnesses, notifications } = config;
  const { webhooks, smtp } = notifications;
  const named = (name: string, ...paths: readonly (string | undefined)[]): readonly OwnFile[] =>
    paths.flatMap((path) => (path === undefined ? [] : [{ name, path }]));
  return [
    { name: 'the configuration', path: configFile },
    { name: 'tls.certificate', path: tls.certificate },
    { name: 'tls.key', path: tls.key, isSecret: true },
    { name: 'administrators', path: administrators },
    { name: 'token.pinFile', path: token.pinFile },
    ...named('token.record', token.record),
    // one without a path is the program's own
    ...named(
      'token.profile',
      token.profile.includes('/') ? profileFile(token.profile, '', configFile) : undefined,
    ),
    ...named('token.module', token.module),
    ...Object.entries(token.environment).flatMap(([name, value]) =>
      isFile(value) ? named(`token.environment.${name}`, value) : [],
    ),
    ...(databaseUrl === undefined
      ? [{ name: 'database.directory', path: database.directory, writable: WRITABLE_BY_ALL }]
      : []),
    ...(databaseUrl === undefined ? named('database.binaries', database.binaries) : []),
    ...named('witnesses.ca', ...witnesses.map(({ ca }) => ca)),
    ...named('notifications.webhooks.ca', ...webhooks.map(({ ca }) => ca)),
    ...named('notifications.webhooks.secretFiles', ...webhooks.flatMap(({ secretFiles }) => secretFiles)),
    ...named('notifications.smtp.ca', smtp?.ca),
    ...named('notifications.smtp.credentials.passwordFile', smtp?.credentials?.passwordFile),
    ...config.environmentFiles,
  ];
}

/** Of what a module is given: configurations that lie somewhere. */
function isFile(value: string): boolean {
  return isAbsolute(value) && statSync(value, { throwIfNoEntry: false })?.isFile() === true;
}

function exposureOf(file: OwnFile, looking: Looking): Fault | undefined {
  for (const path of waysTo(resolve(file.path))) {
    const exposure = exposureAt({ ...file, path }, looking);
    if (exposure !== undefined) return exposure;
  }
  return undefined;
}

/** A link may lead to a link. The system follows no more than 40 (path_resolution(7)). */
const MAX_LINKS = 40;

/** What the path is after each symbolic link in it, without any first: what a command is then told to mend is no link. */
function waysTo(path: string): readonly string[] {
  const ways = [path];
  for (let next = followed(path); next !== undefined && ways.length <= MAX_LINKS; next = followed(next))
    ways.push(next);
  return ways.reverse();
}

/** The path with its first symbolic link followed; undefined when there is none. */
function followed(path: string): string | undefined {
  const parts = path.split(sep);
  for (let end = 2; end <= parts.length; end += 1) {
    const at = parts.slice(0, end).join(sep);
    const target = targetOf(at);
    if (target !== undefined) return resolve(dirname(at), target, join(...parts.slice(end)));
  }
  return undefined;
}

function targetOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // no link, or nothing there
  }
}

function exposureAt(file: OwnFile, looking: Looking): Fault | undefined {
  const { name, path, isSecret, writable = WRITABLE } = file;
  for (let at = path, isFile = true; ; at = dirname(at), isFile = false) {
    const found = looking.look(at);
    if (found === undefined && isFile) return undefined;
    const { mode, uid } = found ?? { mode: 0, uid: 0 };
    const where = isFile ? '' : `, and ${path} lies in it`;
    if ((mode & writable) !== 0 && (isFile || (mode & STICKY) === 0))
      return {
        where: name,
        what: `${at} can be written by others than its owner${where}`,
        do: `see who has, then: chmod go-w ${at}`,
      };
    if (looking.user !== 0 && uid !== 0 && uid !== looking.user)
      return {
        where: name,
        what: `${at} belongs to another user (${uid}), who can change it${where}`,
        do: `see what is in it, then: chown -h ${looking.user ?? 0} ${at}`,
      };
    if (isFile && isSecret === true && (mode & READABLE_BY_ALL) !== 0)
      return {
        where: name,
        what: `${at} can be read by everybody`,
        do: `make a new key, and: chmod o-r ${at}`,
      };
    if (at === dirname(at)) return undefined;
  }
}

function lookAt(path: string): ReturnType<Looking['look']> {
  try {
    return { mode: statSync(path).mode, uid: lstatSync(path).uid };
  } catch {
    return undefined; // whoever reads it says so
  }
}
