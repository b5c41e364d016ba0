#!/usr/bin/env node
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Command, Option } from 'commander';
import { z } from 'zod';
import { obtainPin } from '../ceremony/pins.js';
import { CeremonyRefused } from '../ceremony/ceremonySession.js';
import { TokenNotReady } from '../cryptoki/faults.js';
import { type CardKeyLocation, openCard, readCardKey } from './card.js';

/** Where questions come from: a pipe of its own, since a person types the PIN on the standard input. */
const QUESTIONS = 3;

const question = z.strictObject({ oaep: z.enum(['RSA-OAEP', 'RSA-OAEP-256']), ciphertext: z.base64url() });

interface Options extends CardKeyLocation {
  readonly pinFile?: string;
}

const program = new Command('card').description("A depositary's card, for escrowctl. Not for people.");
for (const command of [
  program.command('public').action((location: Options) => {
    process.stdout.write(readCardKey(location));
  }),
  program.command('open').action(answer),
]) {
  command
    .requiredOption('--module <file>')
    .requiredOption('--token <label>')
    .requiredOption('--key <label>')
    .addOption(new Option('--pin-file <file>'));
}

/** Logs in once; then for each line `{oaep, ciphertext}` answers a line `{secret}` or `{refused}`, until there are no more. */
async function answer({ pinFile, ...location }: Options): Promise<void> {
  const card = openCard(location, await obtainPin('card', pinFile));
  // Not a stream of the file system: a read of that cannot be given up, and the process would not end.
  const questions = new Socket({ fd: QUESTIONS, readable: true, writable: false });
  try {
    for await (const line of createInterface({ input: questions })) {
      const { oaep, ciphertext } = question.parse(JSON.parse(line));
      const secret = card.decrypt(Buffer.from(ciphertext, 'base64url'), oaep);
      const told = secret === undefined ? { refused: true } : { secret: secret.toString('base64url') };
      secret?.fill(0);
      process.stdout.write(`${JSON.stringify(told)}\n`);
    }
  } finally {
    questions.destroy();
    card.close();
  }
}

/** Exit codes: 0 done, 1 the card cannot be used; the standard error says why. */
try {
  await program.parseAsync();
} catch (error) {
  const known = error instanceof CeremonyRefused || error instanceof TokenNotReady;
  const said = error instanceof Error ? error.message : String(error);
  process.stderr.write(known ? `error: ${said}\n` : `error: the card failed: ${said}\n`);
  process.exitCode = 1;
}
