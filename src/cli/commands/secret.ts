import { open } from 'node:fs/promises';

import { importSecret } from '../../client/import/importOne.js';
import { requireSecret } from '../../client/import/secretFrame.js';
import { printable } from '../../escrow/records/freeText.js';
import { MAX_SECRET_BYTES } from '../../escrow/records/keySpecs.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import type { CommandArguments } from '../commandArguments.js';
import { UsageError } from '../failures.js';
import type { Session } from '../session.js';
import { keyFacts } from './key.js';

/** Secrets that are no keys: kept under the same rules, and handed out by a release. */
export const secretCommands: readonly CommandRow[] = [
  {
    usage: 'import <file>',
    summary: 'imports a passphrase, a disk key or a token, and deposits it',
    about:
      'All bytes of the file, 1 to 1024 of them; - for standard input, which a terminal does not show and asks for twice.\n' +
      'The secret is never an argument, since others on the machine can read those. It is framed here so that nobody sees its\n' +
      'length or guesses it, wrapped to a key that the token has made for it alone, and proven in the token to be what was sent.\n' +
      'It can be released only: escrowctl recovery request KEY --purpose release. The rule for it must have import and release,\n' +
      'and no operate (when: { key.spec: secret }).',
    options: [
      { flags: '--owner <id>', about: 'whose secret (default: yours)' },
      { flags: '--label <text>', about: 'what people call it' },
      { flags: '--deliver', about: 'also give the owner a copy, encrypted to their delivery key' },
      { flags: '--trim-newline', about: 'leave out one line end at the end, such as echo writes' },
    ],
    examples: [
      'secret import --as ~/.escrowd laptop-7.key --owner olga --label "disk of laptop 7"',
      'secret import - --trim-newline --label "root of db-1"',
    ],
    run: importOneSecret,
  },
];

async function importOneSecret(session: Session, given: CommandArguments): Promise<Result> {
  const isTrimmed = given.flag('trimNewline');
  const whole = await bytesOf(session, given.argument(0));
  try {
    const secret = isTrimmed ? whole.subarray(0, whole.length - lineEndOf(whole)) : whole;
    requireSecret(secret);
    const bytes = secret.length;
    const endsInNewline = lineEndOf(secret) > 0;
    const { identity, client } = await session.connect();
    const label = given.findWords('label');
    const { result: key, entry } = await session.busy('importing the secret', () =>
      importSecret({ client, pins: identity.pins, now: () => session.now }, secret, {
        owner: given.find('owner') ?? identity.id,
        ...(label === undefined ? {} : { label }),
        ...(given.flag('deliver') ? { deliver: true } : {}),
      }),
    );
    return {
      json: { result: key, entry, bytes },
      lines: [
        `Imported a secret of ${bytes} ${bytes === 1 ? 'byte' : 'bytes'} as ${key.key} and deposited it (log entry ${entry}).`,
        ...(endsInNewline
          ? ['Its last byte is a line end, which was taken with it: --trim-newline leaves it out.']
          : []),
        ...facts(keyFacts(key, session.now)),
        '',
        'Whoever has the secret already still has it: what nobody else is to have, change after this, or destroy its copies.',
      ],
      next: `escrowctl key show ${key.key}`,
    };
  } finally {
    whole.fill(0);
  }
}

/** Bytes of a line end at the end: LF, or CR LF. */
function lineEndOf(bytes: Buffer): number {
  if (bytes.at(-1) !== 0x0a) return 0;
  return bytes.at(-2) === 0x0d ? 2 : 1;
}

async function bytesOf(session: Session, path: string): Promise<Buffer> {
  if (path !== '-') return fileBytes(path);
  const { terminal } = session;
  if (terminal.isInteractive) return asked(session);
  if (!terminal.isInputTyped) return terminal.readInput(MOST_BYTES);
  throw new UsageError(
    'a secret is not typed where it is seen',
    'let standard error be the terminal as well, or give a file',
  );
}

async function asked({ terminal }: Session): Promise<Buffer> {
  const first = await terminal.askHidden('Secret: ');
  let isSame = false;
  try {
    const again = await terminal.askHidden('The same again: ');
    isSame = first.equals(again);
    again.fill(0);
  } finally {
    if (!isSame) first.fill(0);
  }
  if (isSame) return first;
  throw new UsageError('the two are not the same: nothing was imported');
}

/** What is longer than a secret and a line end is too long, whatever follows. */
const MOST_BYTES = MAX_SECRET_BYTES + 3;

/** No more of a file than shows that it is too long. */
async function fileBytes(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    if ((await file.stat()).isDirectory()) throw new UsageError(`${printable(path)} is a directory`);
    const bytes = Buffer.alloc(MOST_BYTES);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, MOST_BYTES - length);
      length += bytesRead;
      if (bytesRead === 0 || length === MOST_BYTES) return bytes.subarray(0, length);
    }
  } finally {
    await file.close();
  }
}
