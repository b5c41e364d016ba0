import type { ExportCheck } from '../audit/verifyExport.js';
import { type PublicPart, parsePublicParts } from '../client/identity/publicPart.js';
import { readTrustedFile } from '../client/files/trustedFile.js';
import { decodeText, decodeUtf8 } from '../log/entry/plainText.js';
import type { OptionRow } from './command.js';
import type { CommandArguments } from './commandArguments.js';
import { UsageError } from './failures.js';
import type { Session } from './session.js';
import { witnessesIn } from './witnessesIn.js';

/** By what an export is believed, besides what is in it. */
export type LogTrust = Omit<ExportCheck, 'path' | 'follower'>;

/** The options that {@link logTrust} reads. */
export const TRUST_OPTIONS: readonly OptionRow[] = [
  {
    flags: '--log-key <vkey>',
    about: 'the pinned verifier key of the log (default: that of your identity)',
  },
  {
    flags: '--against <file>',
    about: 'an older signed checkpoint (default: the last that your identity saw)',
  },
  {
    flags: '--witness <vkey>',
    about: 'verifier key of a witness that counts (default: those of your identity)',
    many: true,
  },
  { flags: '--require <k>', about: 'how many of the witnesses must have cosigned the checkpoint' },
  {
    flags: '--administrators <file>',
    about: 'public.json of the first administrators, to check what they signed before the first policy',
    many: true,
  },
];

/** What was given on the command line, else what the identity has pinned and seen. @throws UsageError when neither says which log */
export async function logTrust(session: Session, given: CommandArguments): Promise<LogTrust> {
  const witnesses = witnessesIn(given);
  const againstFile = given.find('against');
  const against =
    againstFile === undefined ? undefined : decodeUtf8(await readTrustedFile(againstFile), againstFile);
  const bootstrap = await administratorsOf(given.list('administrators'));
  const logKey = given.find('logKey');
  if (logKey !== undefined) return trustIn({ logKey, bootstrap }, { against, witnesses });
  if (!session.hasIdentity)
    throw new UsageError('which log key is to be believed?', 'add --as DIR, or --log-key VKEY');
  const { pins, memory, witnesses: pinned } = await session.identity();
  return trustIn(
    { logKey: pins.logKey, identityKey: pins.identityKey, bootstrap },
    { against: against ?? (await memory.last()), witnesses: witnesses ?? pinned },
  );
}

type Optional = 'against' | 'witnesses';

function trustIn(
  known: Omit<LogTrust, Optional>,
  { against, witnesses }: { readonly [Name in Optional]: LogTrust[Name] | undefined },
): LogTrust {
  return {
    ...known,
    ...(against === undefined ? {} : { against }),
    ...(witnesses === undefined ? {} : { witnesses }),
  };
}

async function administratorsOf(paths: readonly string[]): Promise<readonly PublicPart[]> {
  const parts = await Promise.all(
    paths.map(async (path) => parsePublicParts(decodeText(await readTrustedFile(path), path))),
  );
  return parts.flat();
}
