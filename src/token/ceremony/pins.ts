import { readFileSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CeremonyRefused } from './ceremonySession.js';

/** A PIN from a file that only its owner may read, or typed without echo. Never from an argument or the environment. */
export async function obtainPin(who: string, file: string | undefined): Promise<Buffer> {
  return file === undefined ? typePin(`PIN of the ${who}: `) : readPinFile(file);
}

/** A new PIN: from a file, or typed twice without echo. */
export async function obtainNewPin(who: string, file: string | undefined): Promise<Buffer> {
  if (file !== undefined) return readPinFile(file);
  const first = await typePin(`New PIN of the ${who}: `);
  const second = await typePin(`The same again: `);
  if (!first.equals(second)) throw new CeremonyRefused('The two PINs differ. Nothing was done.');
  return first;
}

/** Reads a PIN of one line. */
export function readPinFile(file: string): Buffer {
  let bytes: Buffer;
  let mode: number;
  try {
    mode = statSync(file).mode;
    bytes = readFileSync(file);
  } catch (error) {
    throw new CeremonyRefused(`The PIN file ${file} cannot be read.`, { cause: error });
  }
  if ((mode & 0o077) !== 0) {
    throw new CeremonyRefused(`The PIN file ${file} can be read by others. Run: chmod 600 ${file}`);
  }
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end -= 1;
  if (end === 0) throw new CeremonyRefused(`The PIN file ${file} is empty.`);
  return bytes.subarray(0, end);
}

async function typePin(question: string): Promise<Buffer> {
  if (!process.stdin.isTTY) {
    throw new CeremonyRefused(
      'There is no terminal to ask for a PIN: give --so-pin-file and --user-pin-file.',
    );
  }
  process.stderr.write(question);
  const nowhere = new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
  // readline in terminal mode turns the echo of the terminal off and writes its own to `output`.
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    const typed = await lines.question('').catch(() => '');
    const pin = Buffer.from(typed);
    if (pin.length === 0) throw new CeremonyRefused('No PIN was given. Nothing was done.');
    return pin;
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
