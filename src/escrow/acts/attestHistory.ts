import { canonicalJson } from '../../log/entry/canonical.js';
import { decodeEntry } from '../../log/entry/entry.js';
import { encodeBase64 } from '../../log/note/base64.js';
import { leafHash } from '../../log/tree/merkle.js';
import { type Call, actorOf } from '../escrow.js';
import type { Escrow } from '../escrow.js';
import type { Recorded } from '../ledger/act.js';
import { type OwnerChain, isSameChain, chainOf, incomplete } from '../logged/ownerChains.js';
import { base64url, sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import {
  filterAsJson,
  type HistoryFilter,
  HistoryList,
  type HistoryStatementPayload,
  isInHistory,
} from '../records/ownerHistory.js';
import { HISTORY_TYPE } from '../records/statementTypes.js';

/** Entries read at a time for a statement. */
const SCAN_PAGE = 200;
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

/** A signed statement of completeness, and the signed checkpoint that it is about. */
export interface HistoryStatement {
  /** Compact JWS by the identity key (ES256), see {@link HistoryStatementPayload}. */
  readonly statement: string;
  readonly checkpoint: string;
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
): Promise<Recorded<HistoryStatement>> {
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
