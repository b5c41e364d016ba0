import { encodeBase64 } from '../../log/note/base64.js';
import { canonicalJson } from '../../log/entry/canonical.js';
import { decodeEntry } from '../../log/entry/entry.js';
import { leafHash } from '../../log/tree/merkle.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { base64url, sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { OwnerChain } from '../logged/ownerChains.js';
import { chainOf, incomplete, isSameChain } from '../logged/ownerChains.js';
import type { HistoryFilter, HistoryStatementPayload } from '../records/ownerHistory.js';
import { filterAsJson, HISTORY_TYPE, HistoryList, isInHistory } from '../records/ownerHistory.js';
import type { Performed } from '../ledger/act.js';
import type { Page, PageRequest, StoredEntry } from '../ports/token.js';

/** An entry, and the RFC 6962 inclusion proof in the tree of the page's checkpoint. */
export interface ProvenEntry extends StoredEntry {
  readonly proof: readonly Uint8Array[];
}

/** A page of a history. Every proof in it is to the one checkpoint; undefined only while the log is empty. */
export interface HistoryPage extends Page<ProvenEntry> {
  readonly checkpoint: string | undefined;
}

/** A signed statement of completeness, and the signed checkpoint that it is about. */
export interface HistoryStatement {
  /** Compact JWS by the identity key (ES256), see {@link HistoryStatementPayload}. */
  readonly statement: string;
  readonly checkpoint: string;
}

/** So many pages are looked through for a first entry that fits before the caller is asked to come again. */
const PAGES_AT_ONCE = 25;
/** Entries read at a time for a statement. */
const SCAN_PAGE = 200;

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
    items: found.items.map((item, place) => ({ ...item, proof: proofs[place] ?? [] })),
    next: found.next,
    checkpoint,
  };
}

/**
 * Signs that the entries which {@link history} shows with this filter, up to a checkpoint that covers all that is there
 * now, are all that there are. What an owner's entries are is known from all entries of the log, read in order under the tree
 * of that checkpoint (see {@link OwnerChains}); the index by which they are found again is only held against that.
 *
 * @throws EscrowError `history-incomplete`, `log-unavailable`, `token-unavailable`
 */
export function attestHistory(
  escrow: Escrow,
  call: Call,
  filter: HistoryFilter,
): Promise<Performed<HistoryStatement>> {
  const owner = call.caller.id;
  return escrow.ledger.perform({
    act: 'history.attest',
    actor: actorOf(call),
    decide: async (about) => {
      about({ owner });
      const { chain, tree } = await escrow.owners.of(owner, () => checkpointOver(escrow, owner));
      const { checkpoint, size } = tree;
      const list = await listOf(escrow, { owner, size, chain }, filter);
      const said = {
        filter: filterAsJson(filter),
        checkpoint: { size, root: encodeBase64(tree.root) },
        count: list.count,
        list: list.digest(),
      };
      return { detail: said, claims: [], plan: { said, checkpoint } };
    },
    run: async (lent, { said, checkpoint }) => {
      const payload: HistoryStatementPayload = {
        iss: escrow.origin,
        sub: owner,
        iat: Math.floor(escrow.clock.now().getTime() / 1000),
        ...said,
      };
      const input = [{ alg: 'ES256', typ: HISTORY_TYPE }, payload]
        .map((part) => base64url(Buffer.from(canonicalJson(part))))
        .join('.');
      const statement = `${input}.${base64url(await lent.attest(Buffer.from(input, 'ascii')))}`;
      return { detail: {}, digest: sha256Hex(statement), changes: [], answer: { statement, checkpoint } };
    },
  });
}

/** A checkpoint that covers everything about the owner which is in the log now. */
async function checkpointOver({ log }: Escrow, owner: string): Promise<string> {
  const { items } = await log.entriesAbout({ owner }, { after: undefined, limit: 1 });
  const { checkpoint } = await log.inclusions(
    items.map(({ index }) => index),
    undefined,
  );
  if (checkpoint === undefined) throw new EscrowError('route-unknown', 'The log is empty.');
  return checkpoint;
}

/** The list of those of an owner's entries below `size` that the filter takes; the owner's entries are all of them, or none. */
async function listOf(
  { log }: Escrow,
  { owner, size, chain }: { readonly owner: string; readonly size: number; readonly chain: OwnerChain },
  filter: HistoryFilter,
): Promise<HistoryList> {
  const list = new HistoryList();
  const found: { readonly index: number; readonly leaf: Uint8Array }[] = [];
  let after: string | undefined;
  do {
    const page = await log.entriesAbout({ owner }, { after, limit: SCAN_PAGE }, size);
    for (const { index, entry } of page.items) {
      const leaf = leafHash(entry);
      found.push({ index, leaf });
      if (isInHistory(decodeEntry(entry), owner, filter)) list.add(index, entry);
    }
    after = page.next;
  } while (after !== undefined && found.length <= chain.count);
  if (!isSameChain(chainOf(found.reverse()), chain)) {
    throw incomplete(
      `the index has ${found.length} entries about ${owner}, and the log ${chain.count}, or others`,
    );
  }
  return list;
}

/** What the store looks for; the rest of the filter is in the entries only. */
function aboutOf(owner: string, { key }: HistoryFilter): { readonly owner: string; readonly key?: string } {
  return { owner, ...(key === undefined ? {} : { key }) };
}
