import { answerChallenge, parseChallenge } from '../../client/depositary/challenge.js';
import type { CommandRow, Result } from '../command.js';
import type { CommandArguments } from '../commandArguments.js';
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
];

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
