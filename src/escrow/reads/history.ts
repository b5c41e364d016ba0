import { decodeEntry } from '../../log/entry/entry.js';
import type { Call, Escrow } from '../escrow.js';
import { type HistoryFilter, isInHistory } from '../records/ownerHistory.js';
import type { StoredEntry } from '../ports/log.js';
import type { Page, PageRequest } from '../ports/store.js';

/** An entry, and the RFC 6962 inclusion proof in the tree of the page's checkpoint. */
export interface ProvenEntry extends StoredEntry {
  readonly proof: readonly Uint8Array[];
}

/** A page of a history. Every proof in it is to the one checkpoint; undefined only while the log is empty. */
export interface HistoryPage extends Page<ProvenEntry> {
  readonly checkpoint: string | undefined;
}

/** So many pages are looked through for a first entry that fits before the caller is asked to come again. */
const PAGES_AT_ONCE = 25;
/**
 * What is in the log about the caller and the caller's own keys, refusals included, newest first, each with its proof.
 * `upTo` is the size of a checkpoint that was given out: later entries are left out, and the proofs are in its tree;
 * without it they are in a checkpoint that covers the newest of them. A page may have few entries, or none, and yet
 * a next one.
 *
 * @throws EscrowError `request-malformed` when there is no checkpoint of that size, `log-unavailable`
 */
export async function history(
  escrow: Pick<Escrow, 'log'>,
  call: Pick<Call, 'caller'>,
  order: { readonly filter: HistoryFilter; readonly upTo: number | undefined; readonly page: PageRequest },
): Promise<HistoryPage> {
  const { log } = escrow;
  const { filter, upTo } = order;
  const owner = call.caller.id;
  let found = { items: [] as readonly StoredEntry[], next: order.page.after };
  for (let turn = 0; turn < PAGES_AT_ONCE && found.items.length === 0; turn += 1) {
    const page = { after: found.next, limit: order.page.limit };
    const { items, next } = await log.entriesAbout(aboutOf(owner, filter), page, upTo);
    found = { items: items.filter(({ entry }) => isInHistory(decodeEntry(entry), owner, filter)), next };
    if (next === undefined) break;
  }
  const { checkpoint, proofs } = await log.inclusions(
    found.items.map(({ index }) => index),
    upTo,
  );
  return {
    items: found.items.map((item, position) => ({ ...item, proof: proofs[position] ?? [] })),
    next: found.next,
    checkpoint,
  };
}

/** What the store looks for; the rest of the filter is in the entries only. */
function aboutOf(owner: string, { key }: HistoryFilter): { readonly owner: string; readonly key?: string } {
  return { owner, ...(key === undefined ? {} : { key }) };
}
