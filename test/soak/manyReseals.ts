import { memoryUsage } from 'node:process';
import { parseArgs } from 'node:util';

import { fileReseals, keysLeft, newJob, requestsOf } from '../../src/client/resealing/resealJob.js';
import { freshBytes } from '../support/fresh.js';
import { type PersonName, type System, makeSystem, RULES } from '../support/system.js';

/*
 * npm run reseal:many -- --keys 10000: so many keys are made, one of their depositaries leaves, and all of them are sealed anew in one
 * job. Says how long each part took, and what memory the process has in which the daemon runs with everybody's clients.
 */
const { values } = parseArgs({ options: { keys: { type: 'string', default: '1000' } } });
const KEYS = Number(values.keys);
const AT_ONCE = 8;

async function main(): Promise<void> {
  const system = await makeSystem();
  try {
    await timed(`${KEYS} keys made`, KEYS, () => makeKeys(system));
    const depositaries = { allOf: ['person:manager', 'person:officer-1'] };
    await system.applyRules(RULES.map((rule) => ({ ...(rule as object), depositaries })));
    const job = newJob(freshBytes);
    const admin = system.client('admin-1');
    const { keys } = await keysLeft(admin, { leaving: 'officer-2' }, []);
    const terms = { job, reason: 'officer-2 leaves', validFor: 'P1D', leaving: 'officer-2' };
    const { requests, refused } = await timed('filed', keys.length, () =>
      fileReseals(admin, keys, terms, (done) => {
        tell(`filing: ${done} of ${keys.length}`);
      }),
    );
    if (refused.length > 0) throw new Error(`refused: ${JSON.stringify(refused[0])}`);
    const ids = requests.map(({ recovery }) => recovery);
    await timed('approved by the first', keys.length, () => approveAll(system, 'manager', ids));
    await timed('approved by the second, and sealed anew', keys.length, () =>
      approveAll(system, 'officer-1', ids),
    );
    const { keys: left } = await keysLeft(admin, { leaving: 'officer-2' }, await requestsOf(admin, job));
    if (left.length > 0) throw new Error(`${left.length} keys are left`);
    process.stdout.write(`${keys.length} keys in ${ids.length} requests; none is left\n`);
  } finally {
    await system.remove();
  }
}

async function makeKeys(system: System): Promise<void> {
  let begun = 0;
  const maker = async (): Promise<void> => {
    while (begun < KEYS) {
      begun += 1;
      await system.client('admin-1').generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' });
      if (begun % 100 === 0) tell(`making keys: ${begun} of ${KEYS}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, maker));
}

async function approveAll(system: System, by: PersonName, ids: readonly string[]): Promise<void> {
  for (const [at, id] of ids.entries()) {
    await system.approve(by, id);
    tell(`${by}: ${at + 1} of ${ids.length} requests`);
  }
}

async function timed<T>(what: string, count: number, work: () => Promise<T>): Promise<T> {
  const from = performance.now();
  const result = await work();
  const seconds = (performance.now() - from) / 1000;
  const megabytes = Math.round(memoryUsage.rss() / 1e6);
  process.stdout.write(
    `${what}: ${seconds.toFixed(1)} s, ${(count / seconds).toFixed(0)} keys/s, RSS ${megabytes} MB\n`,
  );
  return result;
}

function tell(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

await main();
