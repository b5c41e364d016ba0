import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jwsHolds, parseJws } from '../../src/client/jws.js';
import type { CheckpointSigner } from '../../src/escrow/ports.js';
import { formatCheckpoint } from '../../src/log/checkpoint.js';
import { checkpointLine, headerLine } from '../../src/log/export.js';
import { Frontier, leafHash } from '../../src/log/merkle.js';
import { formatNote, noteSigningBytes } from '../../src/log/note.js';
import { noteVerifier } from '../../src/log/noteKey.js';
import { softwareSigner } from '../support/signer.js';
import { actsOn, grantForBench } from './acts.js';
import { startChild } from './child.js';
import { atLeast, type Bench } from './findings.js';
import { count, times } from './table.js';
import type { Verified, VerifyingOrder } from './verifyingProcess.js';

/** Entries of the exports: memory must be the same for both. */
const SMALL = 100_000;
const LARGE = 800_000;

/**
 * How fast an export is verified: form, pairing, tree and checkpoint, without the signatures of requests, which are counted
 * by themselves. One thread of JavaScript; the file is read by another.
 */
export const verifyBench: Bench = async ({ seconds, progress }) => {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-bench-'));
  try {
    const signer = softwareSigner();
    const found: Verified[] = [];
    for (const entries of [SMALL, LARGE]) {
      progress(`log: verifying ${count(entries)} entries`);
      const path = join(directory, `${entries}.jsonl`);
      await writeExport(path, entries, signer);
      const order: VerifyingOrder = { path, logKey: signer.vkey };
      const child = startChild('verifyingProcess.ts', order);
      found.push(await child.next<Verified>());
      await child.ended();
    }
    const signaturesPerSecond = measureSignatures(seconds);
    const [small, large] = found;
    const rate = (large?.entries ?? NaN) / (large?.cpuSeconds ?? NaN);
    const growth = (large?.peakBytes ?? NaN) / (small?.peakBytes ?? NaN);
    return {
      bench: 'log: verifying',
      tables: [
        {
          title: `Verifying an export: hashing and structure. Request signatures (ES256) besides: ${count(signaturesPerSecond)}/s`,
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
        atLeast('entries verified per second of one core', rate, 100_000),
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

/** Writes an export of acts as they are appended by the other bench. */
async function writeExport(path: string, entries: number, signer: CheckpointSigner): Promise<void> {
  const file = createWriteStream(path);
  const put = async (line: string | Uint8Array): Promise<void> => {
    file.write(line);
    if (!file.write('\n')) await once(file, 'drain');
  };
  await put(headerLine({ origin: signer.origin, logKey: signer.vkey }));
  const frontier = Frontier.empty();
  const nextAct = actsOn(grantForBench());
  while (frontier.size < entries) {
    for (const { entry } of nextAct()) {
      frontier.append(leafHash(entry));
      await put(entry);
    }
  }
  const text = formatCheckpoint({ origin: signer.origin, size: frontier.size, root: frontier.root() });
  const signature = await signer.sign(noteSigningBytes(text));
  const { name, keyId } = noteVerifier(signer.vkey);
  await put(checkpointLine(formatNote(text, [{ name, keyId, signature }])));
  file.end();
  await once(file, 'close');
}

/** How many request signatures one core checks in a second, as the client's verifier does. */
function measureSignatures(seconds: number): number {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'ES256' })}.${part({ htm: 'POST', htu: '/v1/grants/grant_1/sign' })}`;
  const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const;
  const text = `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
  const { kty = '', crv = '', x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const known = { jwk: { kty, crv, x, y }, alg: 'ES256' } as const;
  let checked = 0;
  const begunAt = performance.now();
  while (performance.now() - begunAt < seconds * 1000) {
    const jws = parseJws(text);
    if (jws === undefined || !jwsHolds(jws, known)) throw new Error('the signature does not hold');
    checked += 1;
  }
  return (checked / (performance.now() - begunAt)) * 1000;
}
