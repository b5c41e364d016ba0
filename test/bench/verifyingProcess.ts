import { createReadStream } from 'node:fs';
import { ExportVerifier } from '../../src/log/verifier.js';

/** What a process of the bench that verifies is told to do. */
export interface VerifyingOrder {
  readonly path: string;
  readonly logKey: string;
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

/* Verifies an export in a process of its own, so that its memory is its own. The first round is not counted. */
const { path, logKey } = JSON.parse(process.argv[2] ?? '') as VerifyingOrder;
let verified: Verified | undefined;
for (let round = 0; round < 2; round += 1) {
  const verifier = new ExportVerifier({ logKey });
  const cpu = process.cpuUsage();
  const begunAt = performance.now();
  // as the client reads a file
  const chunks = createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>;
  for await (const chunk of chunks) verifier.write(chunk);
  const verdict = verifier.finish();
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
