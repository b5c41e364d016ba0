import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { codeOf } from '../system/errors.js';
import { writeNewFile } from '../system/files.js';
import { BackupError } from './faults.js';

/** A file of a token: the path below the directory of tokens, and its bytes. */
export interface TokenFile {
  readonly path: string;
  readonly content: Uint8Array;
}

/** What SoftHSM keeps of a token; whatever else lies there is somebody else's. */
const OWN = /^(generation|[A-Za-z0-9-]+\.(object|lock))$/;
/** A token that is used writes objects now and then; between that it is read twice and found the same. */
const TRIES = 40;
const REST_MS = 250;

/**
 * The files of the SoftHSM token with this label, as they stood at one instant: read until two readings are the same.
 *
 * @throws BackupError when there is no such token, or its files do not stand still.
 */
export async function readTokenFiles(tokens: string, label: string): Promise<readonly TokenFile[]> {
  const directory = await directoryOf(tokens, label);
  let before = '';
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (tries > 0) await pause(REST_MS);
    const files = await readAll(tokens, directory);
    const hash = createHash('sha256');
    for (const { path, content } of files ?? []) hash.update(`${path}\0${content.length}\0`).update(content);
    const now = files === undefined ? '' : hash.digest('hex');
    if (files !== undefined && now === before) return files;
    before = now;
  }
  throw new BackupError(
    `the files of the token in ${tokens} changed at each look: make the backup when there is less to do, or with the daemon stopped`,
  );
}

/** Where SoftHSM keeps its tokens, by its configuration file. Throws {@link BackupError}. */
export async function tokensIn(configuration: string): Promise<string> {
  const text = await readFile(configuration, 'utf8').catch((cause: unknown) => {
    throw new BackupError(`the configuration of SoftHSM, ${configuration}, cannot be read`, { cause });
  });
  const values = (name: string): readonly string[] =>
    [
      ...text.matchAll(new RegExp(`^[ \\t]*${name.replace('.', '\\.')}[ \\t]*=[ \\t]*(.*?)[ \\t]*$`, 'gm')),
    ].map(([, value = '']) => value);
  const [tokens, ...others] = values('directories.tokendir');
  if (others.length > 0) throw new BackupError(`${configuration} names several places of tokens`);
  if (tokens === undefined || tokens === '')
    throw new BackupError(`${configuration} does not say where the tokens are (directories.tokendir)`);
  if (values('objectstore.backend').some((kind) => kind !== 'file'))
    throw new BackupError(
      `the tokens of ${configuration} are not kept in files (objectstore.backend): back them up as what keeps them says`,
    );
  return tokens;
}

/** A configuration of SoftHSM, all of it, for tokens in this directory: an absolute path. */
export function configurationFor(tokens: string): string {
  const lines = [`directories.tokendir = ${tokens}`, 'objectstore.backend = file', 'log.level = ERROR'];
  return [...lines, 'slots.removable = false', ''].join('\n');
}

/** Writes a file of a token below `tokens`. */
export async function writeTokenFile(tokens: string, { path, content }: TokenFile): Promise<void> {
  await mkdir(join(tokens, path, '..'), { recursive: true, mode: 0o700 });
  await writeNewFile(join(tokens, path), content, 0o600);
}

/** SoftHSM has a directory a token, and in it a file with the label, filled up with blanks to 32 bytes (PKCS#11, CK_TOKEN_INFO). */
async function directoryOf(tokens: string, label: string): Promise<string> {
  const names = await readdir(tokens).catch((cause: unknown) => {
    throw new BackupError(`the tokens in ${tokens} cannot be read`, { cause });
  });
  const found: string[] = [];
  const padded = Buffer.alloc(32, 0x20);
  padded.write(label);
  for (const name of names) {
    const described = await readFile(join(tokens, name, 'token.object')).catch(() => Buffer.alloc(0));
    if (described.includes(padded)) found.push(name);
  }
  const [only, ...others] = found;
  if (only === undefined || others.length > 0)
    throw new BackupError(`in ${tokens} there are ${found.length} tokens with the label "${label}"`);
  return only;
}

/** Undefined when a file went away meanwhile. */
async function readAll(tokens: string, directory: string): Promise<readonly TokenFile[] | undefined> {
  try {
    const names = (await readdir(join(tokens, directory))).filter((name) => OWN.test(name)).sort();
    return await Promise.all(
      names.map(async (name) => {
        const path = join(directory, name);
        return { path, content: await readFile(join(tokens, path)) };
      }),
    );
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
