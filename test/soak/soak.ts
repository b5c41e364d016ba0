import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { superviseToken } from '../../src/token/service/supervisedToken.js';
import { deposit, raiseGrant } from '../support/escrowChain.js';
import { makeSoftHsm } from '../support/softhsm.js';
import type { Growth } from './memory.js';
import { difference, measure, measureGrowth, mebibytes } from './memory.js';
import { rawWork } from './rawWork.js';
import { signOne } from '../support/signOne.js';

/*
 * How much memory the token adapter keeps after much work, beside what the bare token keeps after the same work:
 *
 *   npm run soak -- --signatures 200000 --recoveries 2000
 *
 * A recovery makes a transport key, opens a quorum of two, raises a grant, and destroys transport key and grant again;
 * the signatures are spread over the grants. The bare token makes and destroys as many objects under the same templates,
 * in flight and in the token, and as many signatures, in a process of its own, by plain pkcs11js and nothing asynchronous.
 */
const { values } = parseArgs({
  options: {
    signatures: { type: 'string', default: '200000' },
    recoveries: { type: 'string', default: '2000' },
    bare: { type: 'boolean', default: false },
  },
});
const work = { signatures: Number(values.signatures), recoveries: Number(values.recoveries) };
if (!Number.isSafeInteger(work.signatures) || !Number.isSafeInteger(work.recoveries) || work.recoveries < 20)
  throw new Error('--signatures and --recoveries take numbers; at least 20 recoveries');

const KINDS = [
  ['resident', 'residentBytes'],
  ['allocated', 'allocatedBytes'],
] as const;

if (values.bare) process.stdout.write(`${JSON.stringify(await soakBare())}\n`);
else await soak();

async function soak(): Promise<void> {
  const hsm = await makeSoftHsm('soak');
  try {
    const people = [await hsm.enrolDepositary('alice'), await hsm.enrolDepositary('bob')];
    const log = (): undefined => undefined;
    const settings = { probeMs: 1_000, waitMs: 30_000, recycleAfterObjects: 0, log };
    const token = superviseToken(await hsm.open(), { ...settings, open: () => hsm.open() });
    const kept = await deposit(token, 'ec-p256', 'operate', people);
    const digest = Buffer.alloc(32, 1);
    const ours = await measureGrowth('escrowd', work, async (signatures) => {
      const grant = await raiseGrant(token, kept, 'sign', people);
      for (let left = signatures; left > 0; left -= 1)
        await token.lend(['sign'], (lent) => signOne(lent, grant, 'ec-p256', 'ES256', digest));
      await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(grant));
    });
    const recycled = await token.recycle();
    const afterwards = difference(await measure(), ours.start);
    await token.close();
    const bare = runBare();
    for (const [what, which] of KINDS) {
      const ratio = (ours.grown[which] / bare.grown[which]).toFixed(2);
      say(
        `${what}: escrowd ${mebibytes(ours.grown[which])} MiB, bare token ${mebibytes(bare.grown[which])} MiB, ratio ${ratio}`,
      );
      if (recycled) say(`${what}, once the token was opened anew: ${mebibytes(afterwards[which])} MiB`);
    }
  } finally {
    hsm.remove();
  }
}

async function soakBare(): Promise<Growth> {
  const hsm = await makeSoftHsm('soak');
  const raw = rawWork(hsm);
  try {
    return await measureGrowth('bare token', work, raw.recover);
  } finally {
    raw.close();
    hsm.remove();
  }
}

function runBare(): Growth {
  const args = ['--signatures', values.signatures, '--recoveries', values.recoveries, '--bare'];
  const child = spawnSync(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (child.status !== 0) throw new Error('the bare token could not be measured');
  return JSON.parse(child.stdout) as Growth;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
