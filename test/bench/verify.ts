import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jwsHolds, parseJws } from '../../src/jose/jws.js';
import { testKey } from '../log/noteKeys.js';
import { actsOn, grantForBench } from './acts.js';
import { startChild } from './child.js';
import { writeExport } from './exportFile.js';
import type { Bench } from './findings.js';
import { count, times } from './table.js';
import type { Verified, VerifyingOrder } from './verifyingProcess.js';

const ORIGIN = 'bench.example/log';

/** Entries of the exports: memory must be the same for both. */
const SMALL = 100_000;
const LARGE = 800_000;

/**
 * How fast an export is verified: the form of every entry with all that is in it, pairing, tree and checkpoint. What
 * `escrowctl log verify` checks besides (whose requests these are, and what they allow) is left out: the
 * signatures of requests, which are counted by themselves, take most of its time. One thread of JavaScript; the
 * file is read by another, whose CPU time counts as well.
 */
export const verifyBench: Bench = async ({ seconds, progress }) => {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-bench-'));
  try {
    const logKey = testKey(ORIGIN);
    const found: Verified[] = [];
    for (const entries of [SMALL, LARGE]) {
      progress(`log: verifying ${count(entries)} entries`);
      const path = join(directory, `${entries}.jsonl`);
      await writeExport(path, { origin: ORIGIN, logKey, entries: entriesOfActs(entries) });
      const order: VerifyingOrder = { path, logKey: logKey.vkey };
      const child = startChild('verifyingProcess.ts', order);
      found.push(await child.next<Verified>());
      await child.ended();
    }
    const signaturesPerSecond = measureSignatures(seconds);
    const [small, large] = found;
    const growth = (large?.peakBytes ?? NaN) / (small?.peakBytes ?? NaN);
    return {
      bench: 'log: verifying',
      tables: [
        {
          title: `Verifying an export: hashing and structure. Request signatures (ES256) besides: ${count(signaturesPerSecond)} per CPU second`,
          columns: [
            'entries',
            'seconds',
            'entries/s',
            'CPU seconds',
            'entries/CPU s',
            'peak MiB',
            'of the first',
          ],
          rows: found.map(({ entries, seconds: took, cpuSeconds, peakBytes }) => [
            count(entries),
            took.toFixed(2),
            count(entries / took),
            cpuSeconds.toFixed(2),
            count(entries / cpuSeconds),
            count(peakBytes / 2 ** 20),
            times(peakBytes, small?.peakBytes ?? NaN),
          ]),
        },
      ],
      figures: [...found, { signaturesPerSecond }],
      targets: [
        {
          what: `memory for ${LARGE / SMALL} times the entries, times that for the fewer: ${growth.toFixed(2)}, asked at most 1.5`,
          met: growth <= 1.5,
        },
      ],
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
};

/** So many entries of acts as they are appended by the other bench. */
function* entriesOfActs(entries: number): Generator<Uint8Array> {
  const nextAct = actsOn(grantForBench());
  for (let made = 0; made < entries; made += 2) for (const { entry } of nextAct()) yield entry;
}

/** How many request signatures one core checks in a second of its time, as the client's verifier does. */
function measureSignatures(seconds: number): number {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'ES256' })}.${part({ htm: 'POST', htu: '/v1/grants/grant_1/sign' })}`;
  const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const;
  const text = `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
  const { kty = '', crv = '', x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const known = { jwk: { kty, crv, x, y }, alg: 'ES256' } as const;
  let checked = 0;
  const cpu = process.cpuUsage();
  const begunAt = performance.now();
  while (performance.now() - begunAt < seconds * 1000) {
    const jws = parseJws(text);
    if (jws === undefined || !jwsHolds(jws, known)) throw new Error('the signature does not hold');
    checked += 1;
  }
  const used = process.cpuUsage(cpu);
  return (checked / (used.user + used.system)) * 1e6;
}
