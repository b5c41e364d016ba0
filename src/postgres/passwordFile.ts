import { Client } from 'pg';
import { decodeUtf8 } from '../log/entry/plainText.js';
import { messageOf } from '../system/errors.js';
import { readNamedFile } from '../system/namedFile.js';
import { DatabaseRefused } from './faults.js';

/**
 * A `postgresql://` URL with the password that the password file has for it (PostgreSQL documentation, "The Password File"): the
 * first line whose host, port, database and user are those of the URL or `*`. A URL that has a password, or no line, is left as it is.
 *
 * @param file the path; undefined where none is named. libpq's own `~/.pgpass` is left to the driver
 * @throws DatabaseRefused when it cannot be read, or others than its owner may read it, which libpq only warns of
 */
export function withPassword(url: string, file: string | undefined): string {
  const [, scheme, user, rest] = /^(postgres(?:ql)?:\/\/)([^/?#@:]+)@(.*)$/.exec(url) ?? [];
  if (file === undefined || scheme === undefined || user === undefined || rest === undefined) return url;
  const { host, port, database, user: role } = new Client({ connectionString: url });
  const wanted = [host, String(port), database, role];
  const password = readLines(file).find(
    (fields) => fields.length >= 5 && wanted.every((value, at) => fields[at] === '*' || fields[at] === value),
  )?.[4];
  return password === undefined ? url : `${scheme}${user}:${encodeURIComponent(password)}@${rest}`;
}

/** The fields of each line; `\` makes a letter of what follows. */
function readLines(file: string): readonly (readonly string[])[] {
  let text: string;
  try {
    const { bytes, mode } = readNamedFile(file);
    if (process.platform !== 'win32' && (mode & 0o077) !== 0)
      throw new DatabaseRefused(
        'credentials',
        `the password file ${file} (PGPASSFILE) can be read by others than its owner; run: chmod 600 ${file}`,
        `run: chmod 600 ${file}`,
      );
    text = decodeUtf8(bytes, file);
  } catch (error) {
    if (error instanceof DatabaseRefused) throw error;
    throw new DatabaseRefused(
      'credentials',
      `the password file ${file} (PGPASSFILE) cannot be read: ${messageOf(error)}`,
      'name a file in PGPASSFILE that the user of the daemon can read',
      { cause: error },
    );
  }
  return text
    .split(/\r?\n/)
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) =>
      [...line.matchAll(/(?:^|:)((?:\\.|[^\\:])*)/g)].map(([, field = '']) => field.replace(/\\(.)/g, '$1')),
    );
}
