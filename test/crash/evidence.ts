import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportLog } from '../../src/client/log/logExport.js';
import { verifyExport } from '../../src/audit/verifyExport.js';
import { parsePublicParts } from '../../src/client/identity/publicPart.js';
import { decodeEntry, type Entry } from '../../src/log/entry/entry.js';
import { lineKind } from '../../src/log/export/format.js';
import { LineSplitter } from '../../src/log/export/lines.js';
import type { Verdict } from '../../src/log/export/verifier.js';
import { ORIGIN, type System } from '../support/system.js';
import { until } from '../support/waiting.js';

/** What a client was told: that this input was signed, and where in the log that stands. */
export interface Acknowledged {
  readonly entry: number;
  /** SHA-256, hexadecimal, of the message. */
  readonly input: string;
  /** SHA-256, hexadecimal, of the signature that came back. */
  readonly digest: string;
}

/** What the log says of what the clients were told. */
export interface Evidence {
  readonly entries: number;
  /** Why the verifier does not believe the log; undefined when it does. */
  readonly refused: string | undefined;
  /** Attempts without an outcome. */
  readonly open: number;
  /** Acts closed because their daemon was gone. */
  readonly interrupted: number;
  /** Acknowledged, and nowhere in the log. */
  readonly missing: number;
  /** Acknowledged, and in the log, but not where the answer said. */
  readonly misplaced: number;
  /** Attempts at signing. */
  readonly attempts: number;
}

/** Exports the log as the auditor does, verifies it with every signature, and looks up everything that was acknowledged. */
export async function gatherEvidence(
  system: System,
  acknowledged: readonly Acknowledged[],
): Promise<Evidence> {
  const path = join(system.directory, 'log.jsonl');
  const auditor = system.identity('auditor');
  const client = system.client('auditor');
  const { logKey } = auditor.pins;
  const order = { client, log: auditor.logView(client), origin: ORIGIN, logKey, path };
  // until the checkpoint covers the last entry: nobody appends any more
  await until(async () => (await client.entries((await exportLog(order)).size, 1)).length === 0);
  const bootstrap = parsePublicParts(readFileSync(join(system.directory, 'administrators.json'), 'utf8'));
  const { verdict } = await verifyExport({ path, logKey, bootstrap });

  const inputs = new Map<string, string>();
  const places = new Map<string, number>();
  let entries = 0;
  let interrupted = 0;
  for await (const { entry, index } of entriesOf(path)) {
    entries = index + 1;
    if (entry.phase === 'failed' && entry.error === 'interrupted') interrupted += 1;
    if (entry.act !== 'grant.sign') continue;
    if (entry.phase === 'attempted') inputs.set(entry.id, firstInput(entry));
    if (entry.phase === 'done') places.set(`${inputs.get(entry.id) ?? ''} ${entry.digest ?? ''}`, index);
  }
  const found = acknowledged.map(({ entry, input, digest }) => ({
    said: entry,
    stands: places.get(`${input} ${digest}`),
  }));
  return {
    entries,
    refused: verdict.ok ? undefined : `${verdict.reason} (entry ${verdict.index ?? '?'})`,
    open: openOf(verdict),
    interrupted,
    missing: found.filter(({ stands }) => stands === undefined).length,
    misplaced: found.filter(({ said, stands }) => stands !== undefined && stands !== said).length,
    attempts: inputs.size,
  };
}

function openOf(verdict: Verdict): number {
  return verdict.ok ? verdict.open.length : NaN;
}

function firstInput({ detail }: Entry): string {
  const { inputs } = detail;
  return Array.isArray(inputs) ? String(inputs[0]) : '';
}

async function* entriesOf(path: string): AsyncGenerator<{ readonly entry: Entry; readonly index: number }> {
  const splitter = new LineSplitter();
  let line = 0;
  let index = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    for (const { text, bytes } of splitter.push(chunk)) {
      line += 1;
      if (line === 1 || lineKind(text) !== 'entry') continue;
      yield { entry: decodeEntry(bytes), index };
      index += 1;
    }
  }
}
