import { access } from 'node:fs/promises';

import { writeNewFile } from '../../client/atomicFile.js';
import type { EscrowClient } from '../../client/escrowClient.js';
import type { Identity } from '../../client/identity.js';
import { destroyOpened, exportOpened, openReleaseWith } from '../../client/release.js';
import type { WireRecovery, WireRelease } from '../../escrow/wire.js';
import type { CommandRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { Given } from '../given.js';
import type { Session } from '../session.js';
import { openedInWords } from '../words.js';

const FORMATS = ['pem', 'jwk', 'raw'] as const;

/** Receiving a released key. */
export const releaseCommand: CommandRow = {
  usage: 'release <id>',
  summary: 'receives the private key, encrypted to you, and opens it',
  about:
    'For the recipient, who must be one of those who approved. The server hands the key out in one act; the same answer\n' +
    'can be fetched again. It is checked against the public key. With --sealed-out the two encrypted parts are\n' +
    'kept as they are: openssl alone can open them (PREFIX.transfer: RSA-OAEP of an AES key; PREFIX.wrapped: the\n' +
    'private key under it, RFC 5649).',
  options: [
    { flags: '--out <file>', about: 'a new file for the private key' },
    { flags: '--format <format>', about: 'how (default: pem, raw for AES)', choices: FORMATS },
    {
      flags: '--sealed-out <prefix>',
      about: 'keep the encrypted parts in PREFIX.transfer and PREFIX.wrapped',
    },
    { flags: '--no-open', about: 'do not open it: only keep the encrypted parts' },
  ],
  examples: [
    'recovery release rec_0123456789abcdef0123456789abcdef --out archive.pem',
    'recovery release rec_0123456789abcdef0123456789abcdef --no-open --sealed-out archive',
  ],
  run: release,
};

async function release(session: Session, given: Given): Promise<Result> {
  const { out, sealed } = await outputsOf(given);
  const { identity, client } = await session.connect();
  const recovery = await session.busy('asking for the request', () => client.recovery(given.argument(0)));
  const { answer, entry } = await session.busy('receiving the key', () => receive(client, recovery));
  if (sealed !== undefined) {
    // kept first: whatever happens then, the key has arrived
    await writeNewFile(sealed.transfer, Buffer.from(answer.transferKey, 'base64url'), 0o600);
    await writeNewFile(sealed.wrapped, Buffer.from(answer.wrappedKey, 'base64url'), 0o600);
  }
  if (out !== undefined) await open(identity, recovery, answer, out, given);
  return {
    json: {
      recovery: recovery.recovery,
      key: recovery.key.key,
      ...(entry === undefined ? {} : { entry }),
      ...(out === undefined ? {} : { out }),
      ...(sealed === undefined ? {} : { sealed }),
      oaep: answer.oaep,
    },
    lines: [
      ...(out === undefined ? [] : [openedInWords(recovery.key, out)]),
      ...(sealed === undefined ? [] : [`Still encrypted to you: ${sealed.transfer} and ${sealed.wrapped}.`]),
    ],
    ...(out === undefined
      ? {
          next: `openssl pkeyutl -decrypt -inkey depositary-key.pem -in ${sealed?.transfer ?? ''} -pkeyopt rsa_padding_mode:oaep${answer.oaep === 'RSA-OAEP' ? '' : ' -pkeyopt rsa_oaep_md:sha256'}`,
        }
      : {}),
  };
}

interface Outputs {
  readonly out: string | undefined;
  readonly sealed: { readonly transfer: string; readonly wrapped: string } | undefined;
}

/** Looked at before the server is asked: the key must have somewhere to go. */
async function outputsOf(given: Given): Promise<Outputs> {
  const opens = given.flag('open');
  const out = given.find('out');
  const prefix = given.find('sealedOut');
  if (opens && out === undefined)
    throw new UsageError(
      '--out is missing: where does the key go?',
      'add --out FILE, or --no-open --sealed-out PREFIX',
    );
  if (!opens && prefix === undefined) throw new UsageError('--no-open needs --sealed-out PREFIX');
  const sealed =
    prefix === undefined ? undefined : { transfer: `${prefix}.transfer`, wrapped: `${prefix}.wrapped` };
  const outputs = { out: opens ? out : undefined, sealed };
  for (const path of [outputs.out, sealed?.transfer, sealed?.wrapped]) {
    if (path !== undefined && (await exists(path)))
      throw new UsageError(`${path} exists already, and is not overwritten`);
  }
  return outputs;
}

async function receive(
  client: EscrowClient,
  recovery: WireRecovery,
): Promise<{ readonly answer: WireRelease; readonly entry: number | undefined }> {
  // handed out before: the same answer stands with the request
  if (recovery.release !== undefined) return { answer: recovery.release, entry: undefined };
  const { result, entry } = await client.release(recovery.recovery);
  return { answer: result, entry };
}

async function open(
  identity: Identity,
  recovery: WireRecovery,
  answer: WireRelease,
  out: string,
  given: Given,
): Promise<void> {
  const { publicKeyPem } = recovery.key;
  const opened = await openReleaseWith(answer, await identity.depositaryOpener(), { publicKeyPem });
  try {
    const format = given.oneOf('format', FORMATS) ?? (opened.kind === 'pair' ? 'pem' : 'raw');
    await writeNewFile(out, exportOpened(opened, format), 0o600);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  } finally {
    destroyOpened(opened);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
