import { createHash } from 'node:crypto';

import { signAcknowledgement } from '../../client/depositary/acknowledgement.js';
import { decodeText } from '../../log/entry/plainText.js';
import { answerChallenge, parseChallenge } from '../../client/depositary/challenge.js';
import { printable } from '../../escrow/records/freeText.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import type { CommandArguments } from '../commandArguments.js';
import { UsageError } from '../failures.js';
import { FORCE, withOutputs } from '../files/outputs.js';
import type { Session } from '../session.js';

/** Enrolment, the depositary's side. */
export const depositaryCommands: readonly CommandRow[] = [
  {
    usage: 'answer <challenge>',
    summary: 'proves to the security officer that you hold the private key of your depositary-public.pem',
    options: [{ flags: '--out <file>', about: 'where the answer goes', required: true }, FORCE],
    examples: ['depositary answer challenge.json --as ~/.escrowd --out answer.json'],
    run: answer,
  },
  {
    usage: 'acknowledge <file>',
    summary: 'acknowledges your duties by your signature: the text that your organisation gives you',
    about:
      'Shows the whole text, and asks. What is signed, and stands in the log, is the SHA-256 of the file, your role, and the\n' +
      'version of the policy in force; the text itself is not sent. Auditors see who has: escrowctl report duties.',
    options: [
      { flags: '--role <role>', about: 'in which of your roles', default: 'depositary' },
      { flags: '--yes', about: 'for scripts: do not ask' },
    ],
    examples: ['depositary acknowledge duties.txt --as ~/.escrowd'],
    run: acknowledge,
  },
];

/** A statement is taken for so long after it was signed. */
const LIFETIME_MS = 600_000;
/** Whoever acknowledges a text has read it. */
const MAX_TEXT_BYTES = 65_536;

async function acknowledge(session: Session, given: CommandArguments): Promise<Result> {
  const path = given.argument(0);
  const role = given.text('role');
  const bytes = await session.readInput(path);
  if (bytes.length > MAX_TEXT_BYTES) throw new UsageError(`${path} is longer than 64 KiB`);
  const text = decodeText(bytes, path);
  if (text.trim() === '') throw new UsageError(`${path} has no text in it`);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const { identity, client } = await session.connect();
  const { policyVersion } = await client.warnings();
  if (policyVersion === undefined)
    throw new UsageError('the server is of a version that takes no acknowledgements');
  const about = facts([
    ['as', `${identity.signer.id}, ${role}`],
    ['text', `${path}, SHA-256 ${sha256}`],
    ['policy', `version ${policyVersion}`],
  ]);
  if (!given.flag('yes')) {
    await agreed(session, [...text.trimEnd().split('\n'), '', ...about]);
  }
  const statement = await signAcknowledgement(identity.signer, {
    ...{ role, text: sha256, policyVersion, logKey: identity.pins.logKey },
    ...{ now: session.now, lifetimeMs: LIFETIME_MS },
  });
  const { result, entry } = await session.busy('sending the acknowledgement', () =>
    client.acknowledgeDuties(statement),
  );
  return {
    json: { ...result, entry, statement },
    lines: [`You have acknowledged your duties; it stands in the log as entry ${entry}.`, ...about],
    next: 'keep the text: the log has only its SHA-256',
  };
}

async function answer(session: Session, given: CommandArguments): Promise<Result> {
  const challenge = parseChallenge(await session.readText(given.argument(0)));
  const out = given.text('out');
  const identity = await session.identity();
  await withOutputs(session, given, [{ path: out, isSecret: false }], async (outputs) => {
    const answered = await answerChallenge(challenge, identity.id, await identity.depositaryOpener());
    await outputs.write([`${JSON.stringify(answered, undefined, 2)}\n`]);
  });
  return {
    json: { id: identity.id, out },
    lines: [`Answered the challenge for ${identity.id}.`],
    next: `give ${out} to the security officer`,
  };
}

/** Shows what is to be signed, and asks. @throws UsageError when nobody is there, or the answer is not yes */
async function agreed({ terminal }: Session, lines: readonly string[]): Promise<void> {
  if (!terminal.isInteractive)
    throw new UsageError('nobody is there to be asked', 'add --yes, after reading the text');
  terminal.writeError(`${lines.map(printable).join('\n')}\n`);
  const answer = await terminal.ask('Acknowledge this by your signature? Type yes: ');
  if (answer.trim().toLowerCase() !== 'yes')
    throw new UsageError('not acknowledged; nothing was signed or sent');
}
