import { createReadStream } from 'node:fs';

import { type HistoryFilter, filterAsJson, isInHistory } from '../../escrow/records/ownerHistory.js';
import type { HistoryReply } from '../../api/replies.js';
import { canonicalJson } from '../../log/entry/canonical.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { type Entry, EntryError } from '../../log/entry/entry.js';
import { writeWhole } from '../../system/files.js';
import { NotBelieved } from '../errors.js';
import type { EscrowClient } from '../escrowClient.js';
import type { BelievedHistory, HistoryPins, RefusedHistory } from './historyFile.js';
import { historyEntryLine, historyHeaderLine, HistoryVerifier } from './historyFile.js';
import { openHistoryStatement, requireFresh } from './historyStatement.js';
import { decodeBase64url } from '../../log/note/base64.js';
import type { LogView } from '../log/logView.js';

/** The server gives at most so many entries at once. */
const PAGE = 200;

/** Whose history is read, and what it is believed by. */
export interface HistoryReader {
  readonly client: Pick<EscrowClient, 'history' | 'historyStatement'>;
  readonly log: LogView;
  readonly owner: string;
}

export interface OwnEntry {
  readonly index: number;
  readonly entry: Entry;
}

/**
 * The newest entries of the caller's history, at most `limit`. Each is believed: see {@link ownEntries}.
 *
 * @throws NotBelieved, ServerProblem, ServerUnreachable
 */
export async function readHistory(
  reader: HistoryReader,
  filter: HistoryFilter,
  limit: number,
): Promise<{ readonly items: readonly OwnEntry[]; readonly hasMore: boolean }> {
  const items: OwnEntry[] = [];
  for await (const entry of ownEntries(reader, filter, limit + 1)) {
    if (items.length === limit) return { items, hasMore: true };
    items.push(entry);
  }
  return { items, hasMore: false };
}

/**
 * The caller's history, newest first, as it is read; `wanted` at once where that is fewer than a page. Each entry is believed: it
 * is in the log, which continues what was seen before, and belongs to this history. That none is left out, only
 * {@link exportHistory} shows.
 *
 * @throws NotBelieved, ServerProblem, ServerUnreachable
 */
export async function* ownEntries(
  reader: HistoryReader,
  filter: HistoryFilter,
  wanted = PAGE,
): AsyncGenerator<OwnEntry> {
  let last = Infinity;
  let given = 0;
  let upTo: number | undefined;
  let after: string | undefined;
  do {
    const page = await reader.client.history({
      ...filter,
      limit: Math.max(1, Math.min(PAGE, wanted - given)),
      ...(upTo === undefined ? {} : { upTo }),
      ...(after === undefined ? {} : { after }),
    });
    const checkpoint = await believed(reader, page, upTo);
    upTo = checkpoint?.size;
    for (const { index, entry, proof } of page.items) {
      if (checkpoint === undefined) throw refused('the server shows entries without a checkpoint');
      const hashes = proof.map((hash) => decodeBase64url(hash) ?? new Uint8Array(0));
      const shown = { index, entry: Buffer.from(entry), proof: hashes };
      const decoded = reader.log.believeInclusion(shown, checkpoint);
      if (!isInHistory(decoded, reader.owner, filter)) throw refused(`entry ${index} is not part of it`);
      if (index >= last) throw refused(`entry ${index} stands out of order`);
      last = index;
      given += 1;
      yield { index, entry: decoded };
    }
    after = page.next;
  } while (after !== undefined);
}

/** An export of the caller's history to a file. */
export interface HistoryExport extends HistoryReader {
  readonly pins: HistoryPins;
  readonly filter: HistoryFilter;
  readonly path: string;
  readonly now: Date;
  /** Told as entries arrive. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Writes the caller's history up to now with every proof, and the token's signed statement that it is complete: in the
 * format that {@link verifyHistory} reads, and verified as it is written. The file appears whole, or not at all; one
 * that stands there is replaced.
 *
 * @throws NotBelieved, ServerProblem, ServerUnreachable
 */
export async function exportHistory(order: HistoryExport): Promise<BelievedHistory> {
  const { client, log, filter, pins, owner, path } = order;
  const { result } = await client.historyStatement(filter);
  const checkpoint = await log.believe(result.checkpoint);
  const said = openHistoryStatement(result.statement, pins, checkpoint);
  requireFresh(said, order.now);
  if (said.sub !== owner || canonicalJson(said.filter) !== canonicalJson(filterAsJson(filter))) {
    throw refused('the statement is about another history than was asked for');
  }
  const verifier = new HistoryVerifier({ ...pins, owner });
  return writeWhole(path, 0o600, async (file) => {
    const write = async (lines: readonly string[]): Promise<void> => {
      for (const line of lines) verifier.line(line);
      await file.write(lines.map((line) => `${line}\n`).join(''));
    };
    await write([historyHeaderLine(result)]);
    let done = 0;
    for await (const lines of entryLines(client, filter, checkpoint.size)) {
      await write(lines);
      done += lines.length;
      order.onProgress?.(done, said.count);
      // what is beyond is refused below; a server must not go on for ever
      if (done > said.count) break;
    }
    const verdict = verifier.finish();
    if (!verdict.ok) throw refused(reasonOf(verdict));
    return verdict;
  });
}

/** Verifies the file of a history, offline, as it is read. @throws an error of the file system */
export async function verifyHistory(
  path: string,
  pins: HistoryPins,
): Promise<BelievedHistory | RefusedHistory> {
  const verifier = new HistoryVerifier(pins);
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) verifier.write(chunk);
  return verifier.finish();
}

/** `entry 7: reason`, where an entry is to blame. */
export function reasonOf({ index, reason }: RefusedHistory): string {
  return index === undefined ? reason : `entry ${index}: ${reason}`;
}

async function* entryLines(
  client: HistoryReader['client'],
  filter: HistoryFilter,
  upTo: number,
): AsyncGenerator<readonly string[]> {
  let after: string | undefined;
  do {
    const page = await client.history({
      ...filter,
      upTo,
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    yield page.items.map(({ index, entry, proof }) => {
      const hashes = proof.map((hash) => decodeBase64url(hash) ?? new Uint8Array(0));
      try {
        return historyEntryLine({ index, entry: Buffer.from(entry), proof: hashes });
      } catch (error) {
        if (error instanceof EntryError)
          throw refused(`entry ${index}: it is not an entry: ${error.message}`);
        throw error;
      }
    });
    after = page.next;
  } while (after !== undefined);
}

async function believed(
  { log }: HistoryReader,
  page: HistoryReply,
  upTo: number | undefined,
): Promise<Checkpoint | undefined> {
  if (page.checkpoint === undefined) {
    await log.expectNothingSeen();
    return undefined;
  }
  const checkpoint = await log.believe(page.checkpoint);
  if (upTo !== undefined && checkpoint.size !== upTo) throw refused('its pages are of different times');
  return checkpoint;
}

function refused(why: string): NotBelieved {
  return new NotBelieved('history-refused', `the history shown cannot be believed: ${why}`);
}
