import { readFile } from 'node:fs/promises';

import { decodeText } from '../../log/entry/plainText.js';
import { replaceFile } from '../../system/files.js';
import { answerChallenge, parseChallenge } from '../../client/depositary/challenge.js';
import type { CommandRow, Result } from '../command.js';
import type { CommandArguments } from '../commandArguments.js';
import type { Session } from '../session.js';

/** Enrolment, the depositary's side. */
export const depositaryCommands: readonly CommandRow[] = [
  {
    usage: 'answer <challenge>',
    summary: 'proves to the security officer that you hold the private key of your depositary-public.pem',
    options: [{ flags: '--out <file>', about: 'where the answer goes', required: true }],
    examples: ['depositary answer challenge.json --as ~/.escrowd --out answer.json'],
    run: answer,
  },
];

async function answer(session: Session, given: CommandArguments): Promise<Result> {
  const identity = await session.identity();
  const challenge = parseChallenge(decodeText(await readFile(given.argument(0)), given.argument(0)));
  const answered = await answerChallenge(challenge, identity.id, await identity.depositaryOpener());
  const out = given.text('out');
  await replaceFile(out, `${JSON.stringify(answered, undefined, 2)}\n`, 0o644);
  return {
    json: { id: identity.id, out },
    lines: [`Answered the challenge for ${identity.id}.`],
    next: `give ${out} to the security officer`,
  };
}
