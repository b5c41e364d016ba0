import { createHash, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseJws } from '../../src/jose/jws.js';
import { encodeEntry, type Entry } from '../../src/log/entry/entry.js';
import { administrators, document, goldenEntries, logKey, ORIGIN } from '../client/goldenLog.js';
import { fixedPrivateKey } from '../log/noteKeys.js';
import { startChild } from './child.js';
import { writeExport } from './exportFile.js';
import type { Bench } from './findings.js';
import { count } from './table.js';
import type { Verified, VerifyingOrder } from './verifyingProcess.js';

/** Keys that are made in the exports. */
const FEW = 20_000;
const MANY = 200_000;
/** One key after another, so that they are made within a day or so. */
const EVERY_MS = 400;

/**
 * What it takes to verify an export of very many keys with everything in it: whose requests these are, by what rule each key
 * was deposited, and that none was ordered twice. That is what the verifier remembers most of.
 */
export const verifyKeysBench: Bench = async ({ progress }) => {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-bench-'));
  try {
    const found: Verified[] = [];
    for (const keys of [FEW, MANY]) {
      progress(`keys: making and verifying a log of ${count(keys)} keys`);
      const path = join(directory, `${keys}.jsonl`);
      const entries = entriesOfKeys(await goldenEntries(), keys);
      await writeExport(path, { origin: ORIGIN, logKey, documents: [document], entries });
      const order: VerifyingOrder = { path, logKey: logKey.vkey, bootstrap: administrators };
      const child = startChild('verifyingProcess.ts', order);
      found.push(await child.next<Verified>());
      await child.ended();
    }
    const [few, many] = found;
    const perKey = ((many?.peakBytes ?? NaN) - (few?.peakBytes ?? NaN)) / (MANY - FEW);
    return {
      bench: 'keys: verifying',
      tables: [
        {
          title: 'Verifying an export of keys, with every signature (Ed25519) and rule',
          columns: ['keys', 'entries', 'CPU seconds', 'entries/CPU s', 'peak MiB'],
          rows: found.map(({ entries, cpuSeconds, peakBytes }) => [
            count((entries - 2) / 2),
            count(entries),
            cpuSeconds.toFixed(2),
            count(entries / cpuSeconds),
            count(peakBytes / 2 ** 20),
          ]),
        },
      ],
      figures: found,
      targets: [
        {
          what: `memory for each further key: ${count(perKey)} bytes, asked at most 400`,
          met: perKey <= 400,
        },
      ],
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
};

/** The policy of the golden log, and then its order for a key over and over, each signed by its owner anew. */
function* entriesOfKeys(golden: readonly Entry[], keys: number): Generator<Uint8Array> {
  const [applying, applied, ordered, made] = golden;
  const signed = parseJws(ordered?.request ?? '');
  if (
    applying === undefined ||
    applied === undefined ||
    ordered === undefined ||
    made === undefined ||
    signed === undefined
  ) {
    throw new Error('the golden log begins with a policy and a key');
  }
  yield encodeEntry(applying);
  yield encodeEntry(applied);
  const owner = fixedPrivateKey('golden olga');
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const header = part(signed.header);
  const startMs = Date.parse(ordered.time);
  for (let key = 0; key < keys; key += 1) {
    const atMs = startMs + key * EVERY_MS;
    const iat = Math.floor(atMs / 1000);
    const random = createHash('sha256').update(`key ${key}`).digest('hex');
    const claims = { ...signed.payload, iat, exp: iat + 60, jti: random.slice(0, 22), ik: random };
    const input = `${header}.${part(claims)}`;
    const request = `${input}.${sign(null, Buffer.from(input), owner).toString('base64url')}`;
    const common = {
      id: `act_${random.slice(32)}`,
      time: new Date(atMs).toISOString(),
      subject: { ...ordered.subject, key: `key_${random.slice(0, 32)}` },
    };
    yield encodeEntry({ ...ordered, ...common, request });
    yield encodeEntry({ ...made, ...common });
  }
}
