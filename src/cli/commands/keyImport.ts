import { basename, resolve } from 'node:path';

import {
  type ImportBasis,
  type ImportWanted,
  importOne,
  preparePair,
} from '../../client/import/importOne.js';
import { importPairs } from '../../client/import/importPairs.js';
import {
  type ImportableKey,
  claimedSpki,
  destroyImportable,
  readImportable,
  specOfPublic,
} from '../../client/import/privateKey.js';
import type { KeyReply } from '../../api/replies.js';
import { formatDuration } from '../../policy/durations.js';
import { printable } from '../../escrow/records/freeText.js';
import { facts, table } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import type { CommandArguments } from '../commandArguments.js';
import type { ExitName } from '../exitCodes.js';
import { type Failure, UsageError, failureOf } from '../failures.js';
import { type FoundPath, labelOf, pathsOf } from '../files/keyFiles.js';
import { FORCE, withOutputs } from '../files/outputs.js';
import { collect } from '../pages.js';
import { readSecretLine } from '../secretFile.js';
import type { Session } from '../session.js';
import { USES, keyFacts, useOf } from './key.js';

const OPTIONS: NonNullable<CommandRow['options']> = [
  { flags: '--owner <id>', about: 'whose key (default: yours)' },
  {
    flags: '--use <use>',
    about: 'what for (default: what the kind allows, if that is one thing)',
    choices: USES,
  },
  { flags: '--label <text>', about: 'what people call it (of several files: their names)' },
  { flags: '--deliver', about: 'also give the owner a copy, encrypted to their delivery key' },
];

/** Keys that come from outside. */
export const importCommands: readonly CommandRow[] = [
  {
    usage: 'import <path...>',
    summary: 'imports private keys from files, and deposits them',
    about:
      'PKCS#8 in PEM or DER, plain or under a passphrase (scrypt or PBKDF2); of a directory all files in it. Each key is\n' +
      'checked here, wrapped to a key that the token has made for it alone, and proven in the token. It is said to be born\n' +
      'outside, for ever. Other files are converted by openssl: docs/import.md.',
    options: [
      ...OPTIONS,
      {
        flags: '--public-key <file>',
        about: 'the public key (PEM, DER, or a certificate) that it must be of',
      },
      { flags: '--key-passphrase-file <file>', about: 'the passphrase of the files, instead of asking' },
      { flags: '--check', about: 'read and check the files, and send nothing' },
    ],
    examples: [
      'key import --as ~/.escrowd mail.pem --use decrypt --label mail',
      'key import old-keys/ --owner olga --use decrypt --json',
      'key import --check old-keys/',
    ],
    run: importKeys,
  },
  {
    usage: 'prepare-import',
    summary: 'makes an import key, for a private key that openssl wraps',
    about: 'It is yours, for one key, once. docs/import.md has what openssl does with it.',
    options: [
      { flags: '--out <file>', about: 'a new file for the import key (PEM)', required: true },
      { flags: '--valid-for <duration>', about: 'how long it can be used, a day at most', default: '24h' },
      FORCE,
    ],
    examples: ['key prepare-import --out import-key.pem --valid-for 8h'],
    run: prepare,
  },
  {
    usage: 'import-wrapped <blob>',
    summary: 'imports a private key that openssl has wrapped to an import key',
    about:
      'RSA-OAEP of an AES-256 key, and PKCS#8 under that by AES key wrap with padding (CKM_RSA_AES_KEY_WRAP). What is inside\n' +
      'cannot be checked here: the token proves that it is the private half of --public-key, and no more.',
    options: [
      { flags: '--import <id>', about: 'which import key it is wrapped to', required: true },
      { flags: '--public-key <file>', about: 'the public key (PEM or DER) of the key', required: true },
      ...OPTIONS,
    ],
    examples: [
      'key import-wrapped mail.wrapped --import imp_0123456789abcdef0123456789abcdef --public-key mail.pub --use decrypt',
    ],
    run: importWrapped,
  },
];

/** What came of one file. */
type Outcome =
  | { readonly file: string; readonly imported: KeyReply; readonly entry: number }
  | { readonly file: string; readonly already: string }
  | { readonly file: string; readonly checked: ImportableKey['spec'] }
  | { readonly file: string; readonly failure: Failure };

async function importKeys(session: Session, given: CommandArguments): Promise<Result> {
  const isChecked = given.flag('check');
  const files = await pathsOf(given.all);
  const claimed = given.find('publicKey');
  if (claimed !== undefined && files.length > 1)
    throw new UsageError('--public-key is of one key, and there are several files');
  const spki = claimed === undefined ? undefined : await session.readInput(claimed);
  if (isChecked) return reported(await inTurn(session, given, { files, spki, send: checkOnly }));
  const { identity, client } = await session.connect();
  const owner = given.find('owner') ?? identity.id;
  const basis: ImportBasis = { client, pins: identity.pins, now: () => session.now };
  const known = files.length > 1 ? await deposited(session, basis, owner) : new Map<string, string>();
  const lend = importPairs(basis);
  const send = async (file: string, key: ImportableKey, place: string): Promise<Outcome> => {
    const name = key.publicKey.toString('base64');
    const already = known.get(name);
    if (already !== undefined) {
      destroyImportable(key);
      return { file, already };
    }
    const wanted = wantedOf(given, key.spec, owner, files.length > 1 ? file : undefined);
    const { result, entry } = await session.busy(`importing ${place}${basename(file)}`, () =>
      importOne(basis, key, wanted, lend),
    );
    known.set(name, result.key);
    return { file, imported: result, entry };
  };
  return reported(await inTurn(session, given, { files, spki, send }), session.now);
}

const checkOnly = (file: string, key: ImportableKey): Promise<Outcome> => {
  destroyImportable(key);
  return Promise.resolve({ file, checked: key.spec });
};

/** One file after the other; the only one fails as itself, and after what concerns all no other is tried. */
async function inTurn(
  session: Session,
  given: CommandArguments,
  {
    files,
    spki,
    send,
  }: {
    readonly files: readonly FoundPath[];
    readonly spki: Buffer | undefined;
    readonly send: (file: string, key: ImportableKey, place: string) => Promise<Outcome>;
  },
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const [at, { path: file, isPassedOver }] of files.entries()) {
    if (isPassedOver) {
      outcomes.push({ file, failure: NOT_A_FILE });
      continue;
    }
    try {
      const passphrase = (): Promise<Buffer | undefined> => passphraseOf(session, given, file);
      const key = await readImportable(await session.readInput(file), passphrase, spki);
      outcomes.push(await send(file, key, files.length === 1 ? '' : `${at + 1} of ${files.length}: `));
    } catch (error) {
      if (files.length === 1) throw error;
      const failure = failureOf(error);
      outcomes.push({ file, failure });
      if (OF_ALL.has(failure.exit)) {
        const notTried = { ...failure, code: 'not-tried', sentence: `not tried: ${failure.sentence}` };
        return [...outcomes, ...files.slice(at + 1).map(({ path }) => ({ file: path, failure: notTried }))];
      }
    }
  }
  return outcomes;
}

/** Nobody takes it for imported, and destroys it. */
const NOT_A_FILE: Failure = {
  exit: 'usage',
  code: 'not-a-file',
  sentence: 'a directory or no regular file: what is in it was not looked at',
  next: undefined,
};

/** What is of the server and not of a file. */
const OF_ALL: ReadonlySet<ExitName> = new Set<ExitName>([
  'unreachable',
  'disbelieved',
  'unavailable',
  'unexpected',
]);

async function passphraseOf(
  { terminal }: Session,
  given: CommandArguments,
  file: string,
): Promise<Buffer | undefined> {
  const secret = given.find('keyPassphraseFile');
  if (secret !== undefined) return readSecretLine(resolve(secret));
  return terminal.isInteractive ? terminal.askHidden(`Passphrase of ${printable(file)}: `) : undefined;
}

/** The keys of the owner that are deposited already, by their public keys: what was stopped halfway can be begun again. */
async function deposited(
  session: Session,
  { client }: ImportBasis,
  owner: string,
): Promise<Map<string, string>> {
  const { items } = await session.busy('looking for keys that are there already', () =>
    collect(
      (query) => client.keys(query),
      Infinity,
      (key) => key.owner === owner && key.bornOutside === true,
    ),
  );
  return new Map(
    // a secret has no public key
    items.flatMap(({ key, publicKeyPem }) =>
      publicKeyPem === undefined
        ? []
        : [[claimedSpki(Buffer.from(publicKeyPem)).toString('base64'), key] as const],
    ),
  );
}

function wantedOf(
  given: CommandArguments,
  spec: ImportableKey['spec'],
  owner: string,
  file: string | undefined,
): ImportWanted {
  const label = given.findWords('label') ?? (file === undefined ? undefined : labelOf(file));
  return {
    owner,
    use: useOf(spec, given),
    ...(label === undefined ? {} : { label }),
    ...(given.flag('deliver') ? { deliver: true } : {}),
  };
}

const NOW_DESTROY =
  'Destroy the file now, and every copy and backup of it: who has one has the key, and nobody sees them use it.';
const BEGINS =
  'That no key is in the clear, is brought back without a quorum, or leaves, holds from now on, not before.';

function reported(outcomes: readonly Outcome[], now?: Date): Result {
  const [first] = outcomes;
  const failed = outcomes.flatMap((one) => ('failure' in one ? [one.failure] : []));
  const imported = outcomes.flatMap((one) => ('imported' in one ? [one] : []));
  const json = { files: outcomes.map(asJson) };
  const next =
    imported[0] === undefined
      ? undefined
      : `escrowctl key show ${imported[0].imported.key}; then destroy the file`;
  if (outcomes.length === 1 && first !== undefined && 'imported' in first && now !== undefined) {
    const { imported: key, entry } = first;
    return {
      json: { ...json, result: key, entry },
      lines: [
        `Imported ${key.key} and deposited it (log entry ${entry}).`,
        ...facts(keyFacts(key, now)),
        '',
        BEGINS,
        NOW_DESTROY,
      ],
      next,
    };
  }
  return {
    json,
    lines: [
      ...table(
        ['FILE', 'CAME TO', 'WHY NOT'],
        outcomes.map((one) => [printable(one.file), ...cells(one)]),
      ),
      '',
      ...(imported.length === 0
        ? []
        : [`Imported ${imported.length} of ${outcomes.length}. ${BEGINS}`, NOW_DESTROY]),
      ...(failed.length === 0 ? [] : [`Of ${failed.length} nothing was deposited.`]),
    ],
    next,
    ...(failed[0] === undefined ? {} : { exit: failed[0].exit }),
  };
}

function cells(one: Outcome): readonly [string, string] {
  if ('imported' in one) return [one.imported.key, ''];
  if ('already' in one) return [one.already, 'was imported before'];
  if ('checked' in one) return [one.checked, ''];
  return ['nothing', `${one.failure.code}: ${one.failure.sentence}`];
}

function asJson(one: Outcome): unknown {
  const { file } = one;
  if ('imported' in one) return { file, key: one.imported.key, entry: one.entry };
  if ('already' in one) return { file, key: one.already, already: true };
  if ('checked' in one) return { file, spec: one.checked };
  return { file, error: { code: one.failure.code, message: one.failure.sentence } };
}

const OVER_SOON = 'the import key is of no use without the file, and ends by itself: make another';

async function prepare(session: Session, given: CommandArguments): Promise<Result> {
  const out = given.text('out');
  const validFor = formatDuration(given.duration('validFor'));
  const { shown, entry } = await withOutputs(
    session,
    given,
    [{ path: out, isSecret: false }],
    async (outputs) => {
      const { identity, client } = await session.connect();
      const basis: ImportBasis = { client, pins: identity.pins, now: () => session.now };
      const made = await session.busy('making an import key', () => preparePair(basis, validFor));
      await outputs.write([made.pair.publicKey.export({ format: 'pem', type: 'spki' })], OVER_SOON);
      return made;
    },
  );
  const { import: id, oaep, expiresAt } = shown;
  return {
    json: { import: id, oaep, expiresAt, out, entry },
    lines: [
      `The import key ${id} is in ${out}. The token attests that it has made it, for you and for one key.`,
      `It can be used until ${expiresAt}, once. Encrypt the AES key to it by ${oaep}.`,
    ],
    next: `wrap the private key as docs/import.md says; then: escrowctl key import-wrapped BLOB --import ${id} --public-key FILE`,
  };
}

async function importWrapped(session: Session, given: CommandArguments): Promise<Result> {
  const file = given.argument(0);
  const wrapped = await session.readInput(file);
  if (wrapped.length < 384 + 24 || wrapped.length > 384 + 4096)
    throw new UsageError(
      `${printable(file)} is no wrapped key: it has ${wrapped.length} bytes`,
      'first the AES key under the import key, 384 bytes, then the private key under the AES key: docs/import.md',
    );
  const spki = claimedSpki(await session.readInput(given.text('publicKey')));
  const spec = specOfPublic(spki);
  if (spec === undefined) throw new UsageError('the public key is of no kind that can be imported');
  const { identity, client } = await session.connect();
  const wanted = wantedOf(given, spec, given.find('owner') ?? identity.id, undefined);
  const { result, entry } = await session.busy('importing the key', () =>
    client.importKey(given.text('import'), {
      ...wanted,
      spec,
      publicKey: spki.toString('base64url'),
      wrapped: wrapped.toString('base64url'),
    }),
  );
  return reported([{ file, imported: result, entry }], session.now);
}
