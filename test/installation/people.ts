import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { signerOf } from '../../src/client/identity/signingKey.js';
import type { InitEnvironment } from '../../src/installation/main.js';
import { runInit } from '../../src/installation/main.js';

/** Writes `ID.json` for somebody with fresh keys, of whom nobody has the private halves; returns its path. */
export function handIn(directory: string, id: string, isDepositary = false): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keys = [signerOf(id, privateKey).publicJwk];
  // nothing here encrypts to it
  const part = {
    id,
    keys,
    ...(isDepositary ? { depositaryKey: Buffer.from(id.padEnd(32)).toString('hex') } : {}),
  };
  const file = join(directory, `${id}.json`);
  writeFileSync(file, JSON.stringify(part));
  return file;
}

/** What `escrowd init` printed, and its exit code. */
export interface InitRun {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Runs `escrowd init` in this process. */
export async function init(
  args: readonly string[],
  questions: InitEnvironment['questions'] = () => undefined,
): Promise<InitRun> {
  let [out, error] = ['', ''];
  const code = await runInit(args, {
    packageDirectory: process.cwd(),
    print: (text) => {
      out += text;
    },
    printError: (text) => {
      error += text;
    },
    questions,
  });
  return { code, out, error };
}
