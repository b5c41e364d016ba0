import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { type RunningAgent, startAgent } from '../../../src/agent/agent.js';
import { readAgentFile } from '../../../src/agent/agentFile.js';
import type { ScopeOrder } from '../../../src/api/orders.js';
import { agree, askToOperate, makeKey, signingScope } from '../../support/life.js';
import { LIMITS_MS } from '../../support/limits.js';
import { grantOf } from '../../support/oneKey.js';
import { makeSystem, type System } from '../../support/system.js';

jest.setTimeout(LIMITS_MS.system);

/* The commands of docs/agent-pkcs11.md, as they stand there, by the tools that they name. Run by `npm run tools`. */

const run = promisify(execFile);
const PAGE = readFileSync('docs/agent-pkcs11.md', 'utf8');
const BLOCKS = [...PAGE.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block);
const CONFIGURATION = /`escrow\.cfg`:\n\n```\n(.*?)^```$/ms.exec(PAGE)?.[1] ?? '';
/** After this one the agent is started anew, with the certificate that it has made. */
const MAKES_CERTIFICATE = BLOCKS.findIndex((block) => block.includes('-out release.crt'));
const KEYS = [
  ['release', 'rsa-2048', 'sign'],
  ['release-ec', 'ec-p256', 'sign'],
  ['mail', 'rsa-2048', 'decrypt'],
] as const;

let system: System;
let work: string;
let agent: RunningAgent | undefined;
const grants: Record<string, string> = {};
const ids: Record<string, string> = {};

beforeAll(async () => {
  system = await makeSystem();
  work = join(system.directory, 'work');
  mkdirSync(work);
  for (const [name, spec, use] of KEYS) {
    const key = await makeKey(system, { spec, use });
    ids[name] = key.key;
    writeFileSync(join(work, `${name}.pem`), key.publicKeyPem ?? '', { mode: 0o644 });
    const scope: Partial<ScopeOrder> =
      use === 'decrypt'
        ? { operations: ['decrypt'], mechanisms: ['RSA-OAEP'] }
        : { mechanisms: spec === 'ec-p256' ? ['ES256'] : ['RS256', 'PS256'], input: 'digest' };
    const asked = await askToOperate(system, key.key, signingScope({ ...scope, maxUses: 50 }));
    grants[name] = grantOf(await agree(system, asked.recovery));
  }
  writeFileSync(join(work, 'letter.txt'), 'Dear Sir or Madam\n');
  writeFileSync(join(work, 'escrow.cfg'), CONFIGURATION);
  await shell(`
    jar cf release.jar letter.txt
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -subj /CN=authority -out ca.crt -days 9 2> /dev/null
    openssl x509 -new -force_pubkey mail.pem -CA ca.crt -CAkey ca.key -subj /CN=mail -days 9 -out mail.crt
  `);
});

afterAll(async () => {
  await agent?.stop();
  await system.remove();
});

async function serve(publicKeys: Readonly<Record<string, string>>): Promise<void> {
  await agent?.stop();
  const rows = KEYS.map(
    ([name]) => `  - { key: ${ids[name]}, name: ${name}, publicKey: ${publicKeys[name] ?? `${name}.pem`} }\n`,
  );
  const file = join(work, 'agent.yaml');
  writeFileSync(file, `keys:\n${rows.join('')}`, { mode: 0o644 });
  agent = await startAgent({
    ...{ client: system.client('app'), keys: await readAgentFile(file), asks: undefined },
    directory: join(work, 'escrowd'),
    now: () => new Date(),
    tell: ({ event, sentence }) => {
      if (event !== 'used') process.stderr.write(`${sentence}\n`);
    },
  });
}

async function shell(script: string): Promise<string> {
  const env = { ...process.env, XDG_RUNTIME_DIR: work, LC_ALL: 'C.UTF-8' };
  try {
    const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', script], { cwd: work, env });
    return stdout;
  } catch (cause) {
    const { stdout, stderr } = cause as { readonly stdout: string; readonly stderr: string };
    throw new Error(`the commands failed; they said:\n${stdout}${stderr}`, { cause });
  }
}

const uses = (): Promise<readonly number[]> =>
  Promise.all(KEYS.map(async ([name]) => (await system.client('app').grant(grants[name] ?? '')).used));

test('every command of the page works, what it makes verifies, and each use counts once', async () => {
  await serve({});
  const first = await shell(BLOCKS.slice(0, MAKES_CERTIFICATE + 1).join('\n'));
  expect(first.match(/^Verified OK$/gm)).toHaveLength(2);
  expect(readFileSync(join(work, 'letter.opened'), 'utf8')).toBe('Dear Sir or Madam\n');
  const checked = await shell(`
    openssl dgst -sha256 -verify release.pem -signature letter.sig letter.txt
    openssl dgst -sha256 -verify release.pem -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 \
      -signature letter.pss letter.txt
    openssl req -in release-ec.csr -verify -noout 2>&1
    openssl verify -x509_strict -CAfile release.crt release.crt
  `);
  expect(checked.split('\n')).toEqual([
    ...['Verified OK', 'Verified OK', 'Certificate request self-signature verify OK', 'release.crt: OK', ''],
  ]);
  expect(await uses()).toEqual([4, 3, 1]);

  await serve({ release: 'release.crt', mail: 'mail.crt' });
  await shell('rm letter.opened');
  const settings = BLOCKS.flatMap((block) => block.match(/^export .*$/gm) ?? []);
  const second = await shell([...settings, ...BLOCKS.slice(MAKES_CERTIFICATE + 1)].join('\n'));
  expect(second).toMatch(/^jar verified\.$/m);
  expect(readFileSync(join(work, 'letter.opened'), 'utf8').replaceAll('\r', '')).toBe('Dear Sir or Madam\n');
  await shell(
    'openssl cms -verify -binary -inform DER -in letter.p7s -content letter.txt -CAfile release.crt -purpose any -out /dev/null',
  );
  expect(await uses()).toEqual([6, 3, 2]);
});
