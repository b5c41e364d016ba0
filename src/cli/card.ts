import { once } from 'node:events';
import { type ChildProcess, spawn } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';

import type { DecryptionKey } from '../client/identity/decryptionKey.js';
import { IdentityError } from '../client/errors.js';
import type { CardKeyLocation } from '../client/identity/identity.js';

/** How the program beside escrowctl is reached that talks to cards: nothing in escrowctl can load a token's module. */
export interface CardProgram {
  /** The file to run. */
  readonly program: string;
  /** A file with the card's PIN; asked on the terminal when it is not given. */
  readonly pinFile: string | undefined;
}

/** A key on a card, as long as it is needed. */
export interface CardKey extends DecryptionKey {
  close(): void;
}

/** Reads the public key of a card's key (SPKI PEM). Needs no PIN. @throws IdentityError `key-missing` */
export async function cardPublicKey({ program }: CardProgram, location: CardKeyLocation): Promise<string> {
  const child = spawn(process.execPath, [program, 'public', ...options(location)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [pem, code] = await Promise.all([text(child.stdout), exitOf(child)]);
  if (code !== 0) throw new IdentityError('key-missing', 'the card cannot be read; see what is said above');
  return pem;
}

/** The key on a card. It is asked for the PIN when it is used first, once. */
export function cardKey(how: CardProgram, location: CardKeyLocation, publicKeyPem: string): CardKey {
  let reader: Reader | undefined;
  return {
    publicKey: createPublicKey(publicKeyPem).export({ format: 'der', type: 'spki' }),
    open: async (ciphertext, oaep) => {
      reader ??= startReader(how, location);
      const answer = await reader.ask({ oaep, ciphertext: Buffer.from(ciphertext).toString('base64url') });
      return answer.secret === undefined ? undefined : Buffer.from(answer.secret, 'base64url');
    },
    close: () => {
      reader?.close();
    },
  };
}

interface Answer {
  readonly secret?: string;
}

interface Reader {
  ask(question: Readonly<Record<string, string>>): Promise<Answer>;
  close(): void;
}

function startReader({ program, pinFile }: CardProgram, location: CardKeyLocation): Reader {
  const pin = pinFile === undefined ? [] : [`--pin-file=${pinFile}`];
  const child = spawn(process.execPath, [program, 'open', ...options(location), ...pin], {
    stdio: ['inherit', 'pipe', 'inherit', 'pipe'],
  });
  const questions = child.stdio[3];
  if (!(questions instanceof Writable) || child.stdout === null) throw new Error('the card has no pipes');
  // what it says when it is gone is said by the exit
  questions.on('error', () => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    ask: async (question) => {
      questions.write(`${JSON.stringify(question)}\n`);
      const line = await lines.next();
      if (line.done === true) {
        throw new IdentityError('key-missing', 'the card cannot be used; see what is said above');
      }
      return JSON.parse(line.value) as Answer;
    },
    close: () => questions.end(),
  };
}

function options({ module, token, key }: CardKeyLocation): readonly string[] {
  return [`--module=${module}`, `--token=${token}`, `--key=${key}`];
}

/** The exit code of a process, once its pipes are closed as well; null when a signal ended it. Rejects when it cannot be started. */
export async function exitOf(child: ChildProcess): Promise<number | null> {
  const [code] = (await once(child, 'close')) as [number | null];
  return code;
}
