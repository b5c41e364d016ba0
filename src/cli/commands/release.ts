import { join } from 'node:path';

import type { EscrowClient } from '../../client/escrowClient.js';
import { NotBelieved, ServerProblem, ServerUnreachable } from '../../client/errors.js';
import type { DecryptionKey } from '../../client/identity/decryptionKey.js';
import type { Identity } from '../../client/identity/identity.js';
import { publicKeyHash } from '../../client/depositary/attestation.js';
import {
  confirmation,
  destroyOpened,
  exportOpened,
  openReleaseWith,
} from '../../client/depositary/release.js';
import type { RecoveryKeyReply, RecoveryReply, ReleaseReply, ReleasedKeysReply } from '../../api/replies.js';
import type { CommandRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import { FORCE, type OutputPlace, type Outputs, withOutputs } from '../files/outputs.js';
import { idOf } from '../ids.js';
import type { Session } from '../session.js';
import { openedInWords } from '../words.js';
import { formatOf, KEY_FORMATS } from './key.js';

/** What --out says for it. */
const STANDARD_OUTPUT = '-';

/** Receiving released keys. */
export const releaseCommand: CommandRow = {
  usage: 'release <id>',
  summary: 'receives the private keys of a request, encrypted to you, and opens them',
  about:
    'For the recipient, who must be one of those who approved. The server hands the keys out in one act. Each is checked\n' +
    'against its public key, or its check value. When all are written and open the server is told so, and keeps no copy; until then, and for a\n' +
    'day at most, the same answer can be fetched again. With --sealed-out the two encrypted parts of each are kept as they\n' +
    'are: openssl alone can open them (PREFIX.transfer: RSA-OAEP of an AES key; PREFIX.wrapped: the private key under it,\n' +
    'RFC 5649; of several keys PREFIX.KEY.transfer and PREFIX.KEY.wrapped).',
  options: [
    {
      flags: '--out <path>',
      about:
        'a new file for the private key, - for standard output; of several keys a new directory for files named after them',
    },
    {
      flags: '--format <format>',
      about: 'how (default: pem, raw for AES and secrets)',
      choices: KEY_FORMATS,
    },
    {
      flags: '--sealed-out <prefix>',
      about: 'keep the encrypted parts in PREFIX.transfer and PREFIX.wrapped',
    },
    { flags: '--no-open', about: 'do not open them: only keep the encrypted parts' },
    FORCE,
  ],
  examples: [
    'recovery release rec_0123456789abcdef0123456789abcdef --out archive.pem',
    'recovery release rec_0123456789abcdef0123456789abcdef --out olgas-keys',
    'recovery release rec_0123456789abcdef0123456789abcdef --no-open --sealed-out archive',
  ],
  run: release,
};

async function release(session: Session, given: CommandArguments): Promise<Result> {
  checkOptions(given);
  const { identity, client } = await session.connect();
  const id = await idOf(session, client, 'rec', given.argument(0));
  const recovery = await session.busy('asking for the request', () => client.recovery(id));
  const outputs = outputsOf(given, recovery);
  await requireApproved(identity, recovery);
  // before the keys are asked for: each must have somewhere to go, and they must open
  const depositaryKey = given.flag('open') ? await identity.depositaryOpener() : undefined;
  const { received, answer, entry, raw } = await withPlaces(
    session,
    given,
    outputs,
    async (sealed, opened) => {
      const got = await session.busy('receiving the keys', () => receive(client, recovery));
      const keys = receivedOf(outputs, got.answer);
      // kept first: whatever happens then, the keys have arrived
      await sealed?.write(
        keys.flatMap(({ released }) => sealedParts(released)),
        AGAIN,
      );
      const shown =
        depositaryKey === undefined ? undefined : await writeOpened(opened, keys, depositaryKey, given);
      return { received: keys, ...got, raw: shown };
    },
  );
  // what goes to standard output may still get lost on the way there
  const isForgotten =
    given.flag('open') && raw === undefined && (await confirm(session, identity, client, recovery, answer));
  const [first] = received;
  return {
    ...(raw === undefined ? {} : { raw }),
    json: {
      recovery: recovery.recovery,
      ...(entry === undefined ? {} : { entry }),
      keys: received.map(({ key, out, sealed, released }) => ({
        key: key.key,
        ...(out === undefined ? {} : { out }),
        ...(sealed === undefined ? {} : { sealed }),
        oaep: released.oaep,
      })),
    },
    lines: received
      .flatMap(({ key, out, sealed }) => [
        ...(out === undefined ? [] : [openedInWords(key, out)]),
        ...(sealed === undefined
          ? []
          : [`Still encrypted to you: ${sealed.transfer} and ${sealed.wrapped}.`]),
      ])
      .concat(
        isForgotten
          ? ['You have confirmed that; the server keeps no copy.']
          : ['The server keeps its copy, which only your key opens, for a day.'],
      ),
    ...(first?.out === undefined
      ? {
          next: `openssl pkeyutl -decrypt -inkey depositary-key.pem -in ${first?.sealed?.transfer ?? ''} -pkeyopt rsa_padding_mode:oaep${first?.released.oaep === 'RSA-OAEP' ? '' : ' -pkeyopt rsa_oaep_md:sha256'}`,
        }
      : {}),
  };
}

/** Where one key goes. */
interface Output {
  readonly key: RecoveryKeyReply;
  readonly out: string | undefined;
  readonly sealed: { readonly transfer: string; readonly wrapped: string } | undefined;
}

const AGAIN = 'run the same command again, with other places: for a day the server hands out the same';

/** What is wrong whatever the request is for. */
function checkOptions(given: CommandArguments): void {
  const opens = given.flag('open');
  if (opens && given.find('out') === undefined)
    throw new UsageError(
      '--out is missing: where do the keys go?',
      'add --out PATH, or --no-open --sealed-out PREFIX',
    );
  if (!opens && given.find('sealedOut') === undefined)
    throw new UsageError('--no-open needs --sealed-out PREFIX');
}

/** Where each key goes, and in which form: one that a key does not have is refused here. */
function outputsOf(given: CommandArguments, { keys }: RecoveryReply): readonly Output[] {
  const path = given.flag('open') ? given.find('out') : undefined;
  const prefix = given.find('sealedOut');
  const isOne = keys.length === 1;
  if (path === STANDARD_OUTPUT && !isOne)
    throw new UsageError('--out - is for a request for one key: several go into a directory');
  return keys.map((key): Output => {
    const sealed = isOne ? prefix : prefix && `${prefix}.${key.key}`;
    const format = path === undefined ? undefined : formatOf(given, key);
    return {
      key,
      out: path === undefined || isOne ? path : join(path, `${key.key}.${format ?? ''}`),
      sealed:
        sealed === undefined ? undefined : { transfer: `${sealed}.transfer`, wrapped: `${sealed}.wrapped` },
    };
  });
}

/** What is shown now must be what was shown when its release was approved. @throws NotBelieved `release-mismatch` */
async function requireApproved({ approvedKeys }: Identity, { keys }: RecoveryReply): Promise<void> {
  for (const key of keys) {
    const approved = await approvedKeys.of(key.key);
    if (approved === undefined || approved === publicKeyHash(key)) continue;
    throw new NotBelieved(
      'release-mismatch',
      `the server shows ${key.key} with another public key or check value than when you approved its release`,
    );
  }
}

/** Lends the places of the encrypted parts and of the opened keys, each where there are such. */
function withPlaces<T>(
  session: Session,
  given: CommandArguments,
  outputs: readonly Output[],
  work: (sealed: Outputs | undefined, opened: Outputs | undefined) => Promise<T>,
): Promise<T> {
  const secret = (path: string): OutputPlace => ({ path, isSecret: true });
  const sealed = outputs.flatMap(({ sealed: parts }) => (parts ? [parts.transfer, parts.wrapped] : []));
  const opened = outputs.flatMap(({ out }) => (out === undefined || out === STANDARD_OUTPUT ? [] : [out]));
  const directory = opened.length > 1 ? given.text('out') : undefined;
  const withOpened = (parts: Outputs | undefined): Promise<T> =>
    opened.length === 0
      ? work(parts, undefined)
      : withOutputs(session, given, opened.map(secret), (keys) => work(parts, keys), directory);
  return sealed.length === 0
    ? withOpened(undefined)
    : withOutputs(session, given, sealed.map(secret), withOpened);
}

function sealedParts({ transferKey, wrappedKey }: ReleaseReply): readonly Buffer[] {
  return [transferKey, wrappedKey].map((part) => Buffer.from(part, 'base64url'));
}

async function receive(
  client: EscrowClient,
  recovery: RecoveryReply,
): Promise<{ readonly answer: ReleasedKeysReply; readonly entry: number | undefined }> {
  if (recovery.status === 'released' && recovery.release === undefined) {
    throw new UsageError(
      'the keys were received and confirmed, or their day is over: the server keeps no copy',
      `if they are lost, file a new request: escrowctl recovery request --purpose release`,
    );
  }
  // handed out before: the same answer stands with the request
  if (recovery.release !== undefined) return { answer: recovery.release, entry: undefined };
  const { result, entry } = await client.release(recovery.recovery);
  return { answer: result, entry };
}

/** Whether the server was told that all is written and open, and forgets it. What speaks against that changes nothing here. */
async function confirm(
  session: Session,
  { signer, pins }: Identity,
  client: EscrowClient,
  { recovery }: RecoveryReply,
  answer: ReleasedKeysReply,
): Promise<boolean> {
  try {
    const statement = await confirmation(signer, pins.logKey, recovery, answer, session.now);
    await session.busy('confirming that they have come', () => client.confirmRelease(recovery, statement));
    return true;
  } catch (error) {
    if (error instanceof ServerProblem || error instanceof ServerUnreachable) return false;
    throw error;
  }
}

/** A key that has arrived. */
interface Received extends Output {
  readonly released: ReleaseReply;
}

/** All that has somewhere to go must have come, and nothing else. */
function receivedOf(outputs: readonly Output[], { keys }: ReleasedKeysReply): readonly Received[] {
  const received = outputs.flatMap((output) => {
    const released = keys.find(({ key }) => key === output.key.key);
    return released === undefined ? [] : [{ ...output, released }];
  });
  if (received.length === outputs.length && keys.length === outputs.length) return received;
  throw new NotBelieved('release-malformed', 'the server released other keys than the request is for');
}

/** Opens all, and only then writes all. The bytes of what goes to standard output are answered instead. */
async function writeOpened(
  outputs: Outputs | undefined,
  received: readonly Received[],
  depositaryKey: DecryptionKey,
  given: CommandArguments,
): Promise<Buffer | undefined> {
  const contents: Buffer[] = [];
  try {
    for (const { key, released } of received) {
      const { publicKeyPem, checkValue } = key;
      const opened = await openReleaseWith(released, depositaryKey, { publicKeyPem, checkValue });
      try {
        contents.push(exportOpened(opened, formatOf(given, key)));
      } finally {
        destroyOpened(opened);
      }
    }
    if (outputs === undefined) return contents.pop();
    await outputs.write(contents, AGAIN);
    return undefined;
  } finally {
    for (const content of contents) content.fill(0);
  }
}
