import { createReadStream } from 'node:fs';
import { verifyExport } from '../../src/audit/verifyExport.js';
import type { PublicPart } from '../../src/client/identity/publicPart.js';
import type { Verdict } from '../../src/log/export/verifier.js';
import { ExportVerifier } from '../../src/log/export/verifier.js';

/** What a process of the bench that verifies is told to do. */
export interface VerifyingOrder {
  readonly path: string;
  readonly logKey: string;
  /** To check everything, with the keys of these first administrators; else hashing and structure. */
  readonly bootstrap?: readonly PublicPart[];
}

/** How that went. */
export interface Verified {
  readonly entries: number;
  readonly seconds: number;
  /** Of all threads of the process. */
  readonly cpuSeconds: number;
  /** The most that was resident at any time. */
  readonly peakBytes: number;
}

/*
 * Verifies an export in a process of its own, so that its memory is its own. The first round is not counted, where one is a
 * matter of seconds.
 */
const order = JSON.parse(process.argv[2] ?? '') as VerifyingOrder;
let verified: Verified | undefined;
const rounds = order.bootstrap === undefined ? 2 : 1;
for (let round = 0; round < rounds; round += 1) {
  const cpu = process.cpuUsage();
  const begunAt = performance.now();
  const verdict = await verdictOn(order);
  if (!verdict.ok) throw new Error(verdict.reason);
  const used = process.cpuUsage(cpu);
  verified = {
    entries: verdict.size,
    seconds: (performance.now() - begunAt) / 1000,
    cpuSeconds: (used.user + used.system) / 1e6,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}
process.stdout.write(`${JSON.stringify(verified)}\n`);

async function verdictOn({ path, logKey, bootstrap }: VerifyingOrder): Promise<Verdict> {
  if (bootstrap !== undefined) return (await verifyExport({ path, logKey, bootstrap })).verdict;
  const verifier = new ExportVerifier({ logKey });
  // as the client reads a file
  const chunks = createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>;
  for await (const chunk of chunks) verifier.write(chunk);
  return verifier.finish();
}
