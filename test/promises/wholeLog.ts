import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { exportLog } from '../../src/client/log/logExport.js';
import { verifyExport } from '../../src/audit/verifyExport.js';
import { parsePublicParts } from '../../src/client/identity/publicPart.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { decodeEntry } from '../../src/log/entry/entry.js';
import type { Believed, Verdict } from '../../src/log/export/verifier.js';
import { ExportVerifier } from '../../src/log/export/verifier.js';
import type { System } from '../support/system.js';
import { ORIGIN } from '../support/system.js';
import { letPass } from '../support/waiting.js';

/** How long checkpoints may take to cover the entries, and open acts to get their outcome. */
const SETTLED_WITHIN_MS = 60_000;
const PAGE = 1000;

/** The newest checkpoint that was verified of each system: what comes next must extend it. */
const verified = new WeakMap<System, string>();

/**
 * Exports the whole log as the auditor does, once its checkpoint covers every entry, and verifies the file twice: form,
 * tree and signature by the log's own verifier, and everybody's signatures by the client's. It must extend what was
 * verified before, and every act in it must have its outcome.
 */
export async function expectLogHolds(system: System): Promise<Believed> {
  const deadline = performance.now() + SETTLED_WITHIN_MS;
  for (;;) {
    const { path, size } = await exported(system);
    const verdict = believed(await verify(system, path));
    const isComplete = (await system.client('auditor').entries(size, 1)).length === 0;
    if (isComplete && verdict.open.length === 0) {
      verified.set(system, verdict.checkpoint);
      return verdict;
    }
    if (performance.now() > deadline) {
      expect(verdict.open).toEqual([]);
      throw new Error('the checkpoint does not cover the log');
    }
    await letPass(50);
  }
}

/** Entries from an index on, decoded. */
export async function entriesFrom(system: System, from: number): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  for (;;) {
    const page = await system.client('auditor').entries(from + entries.length, PAGE);
    entries.push(...page.map(({ entry }) => decodeEntry(Buffer.from(entry))));
    if (page.length === 0) return entries;
  }
}

async function exported(system: System): Promise<{ readonly path: string; readonly size: number }> {
  const path = join(system.directory, 'log.jsonl');
  const auditor = system.identity('auditor');
  const client = system.client('auditor');
  const { logKey } = auditor.pins;
  const { size } = await exportLog({ client, log: auditor.logView(client), origin: ORIGIN, logKey, path });
  return { path, size };
}

async function verify(system: System, path: string): Promise<Verdict> {
  const { logKey, identityKey } = system.identity('auditor').pins;
  const older = verified.get(system);
  const against = older === undefined ? {} : { against: older };
  const verifier = new ExportVerifier({ logKey, origin: ORIGIN, ...against });
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) verifier.write(chunk);
  believed(verifier.finish());
  const bootstrap = parsePublicParts(readFileSync(join(system.directory, 'administrators.json'), 'utf8'));
  const { verdict, requests } = await verifyExport({ path, logKey, identityKey, bootstrap, ...against });
  expect(requests.unknown).toBe(0);
  return verdict;
}

function believed(verdict: Verdict): Believed {
  if (verdict.ok) return verdict;
  throw new Error(`the log is not believed: ${verdict.reason} (entry ${verdict.index ?? '?'})`);
}
