import type { Escrow } from '../../escrow/escrow.js';
import { EscrowError } from '../../escrow/records/errors.js';
import { history } from '../../escrow/reads/history.js';
import { attestHistory } from '../../escrow/acts/attestHistory.js';
import { viewBundle } from '../../escrow/reads/bundles.js';
import type { Witnessed } from '../../escrow/ports/log.js';
import type { Acted, HistoryStatementReply } from '../../api/replies.js';
import { encodeBase64 } from '../../log/note/base64.js';
import { documentHash } from '../../log/export/format.js';
import { parseBundlePath, parseTilePath } from '../../log/tree/tiles.js';
import { entryReply, historyReply, pageReply } from '../replies.js';
import { ROUTES } from '../../api/routes.js';
import { type Reply, type Route, act, download, open, view } from '../route.js';
import { parseStrictJson } from '../limits/strictJson.js';

/** The log: checkpoints and proofs for everyone, owners' own entries, and everything for auditors. */
export const logRoutes: readonly Route[] = [
  open({
    ...ROUTES.getCheckpoint,
    summary:
      'The newest signed checkpoint of the log, or the newest that so many witnesses have cosigned: a C2SP signed note.',
    problems: ['route-unknown', 'checkpoint-unwitnessed'],
    media: 'text/plain',
    run: (escrow, { query: { witnessed: count, by } }) =>
      count === undefined ? newestCheckpoint(escrow) : witnessedCheckpoint(escrow, { count, by }),
  }),
  // C2SP tlog-tiles, with the prefix /v1/log: checkpoint, hashes, entries
  open({
    ...ROUTES.getLogCheckpoint,
    summary: 'The same checkpoint, where C2SP tlog-tiles has it.',
    problems: ['route-unknown'],
    media: 'text/plain',
    run: newestCheckpoint,
  }),
  download({
    ...ROUTES.getEntryBundle,
    summary: 'An entry bundle of the log: C2SP tlog-tiles, <N>[.p/<W>].',
    problems: ['route-unknown'],
    run: (escrow, { path }) => viewBundle(escrow, known(parseBundlePath(`tile/entries/${path.tile}`))),
  }),
  open({
    ...ROUTES.getTile,
    summary: 'A tile of hashes of the log: C2SP tlog-tiles, <L>/<N>[.p/<W>].',
    problems: ['route-unknown'],
    media: 'application/octet-stream',
    run: async (escrow, { path }) => {
      const tile = known(parseTilePath(`tile/${path.tile}`));
      return { status: 200, bytes: known(await escrow.log.tile(tile)), cache: 'public' };
    },
  }),
  open({
    ...ROUTES.getConsistency,
    summary: 'The consistency proof between two sizes of the log, RFC 6962 section 2.1.2.',
    problems: [],
    run: async (escrow, { query }) => {
      const size = (await escrow.log.checkpoint())?.size ?? 0;
      if (query.old > query.new || query.new > size)
        throw new EscrowError(
          'request-malformed',
          'Sizes go from old to new, and up to that of the checkpoint.',
        );
      const proof = await escrow.log.consistency(query.old, query.new);
      return { status: 200, json: { proof: proof.map(encodeBase64) } };
    },
  }),
  view({
    ...ROUTES.listHistory,
    summary: 'Every entry about the caller and their keys, newest first, with its inclusion proof.',
    problems: [],
    run: async (escrow, call, { query }) => historyReply(await history(escrow, call, query)),
  }),
  act({
    ...ROUTES.attestHistory,
    summary: 'The token’s signed statement that the history of the caller is complete.',
    problems: ['history-incomplete'],
    run: async (escrow, call, { body }): Promise<Acted<HistoryStatementReply>> => {
      const { answer, index } = await attestHistory(escrow, call, body);
      const { statement, checkpoint } = answer;
      return { result: { statement, checkpoint }, entry: index };
    },
  }),
  view({
    ...ROUTES.listEntries,
    summary: 'Entries of the log in order, for an export.',
    problems: [],
    run: async (escrow, _call, { query }) => ({
      items: (await escrow.log.entries(query.from, query.limit)).map(entryReply),
    }),
  }),
  view({
    ...ROUTES.listPolicies,
    summary: 'The policies that were ever in force, oldest first.',
    problems: [],
    run: async (escrow, _call, { query }) => {
      const { items, next } = await escrow.store.policyDocuments(query);
      return pageReply(
        { items: await escrow.directory.signedAmong(items), next },
        ({ version, hash, document: text }) => {
          const document = parseStrictJson(text);
          if (documentHash(document) !== hash)
            throw new EscrowError(
              'record-mismatch',
              `The document of policy ${version} is not what was signed.`,
            );
          return { version, hash, document };
        },
      );
    },
  }),
];

async function newestCheckpoint({ log }: Escrow): Promise<Reply> {
  const newest = await log.checkpoint();
  if (newest === undefined) throw new EscrowError('route-unknown', 'The log is empty.');
  return { status: 200, text: newest.note };
}

async function witnessedCheckpoint({ log }: Escrow, by: Witnessed): Promise<Reply> {
  const found = await log.witnessed(by);
  if (found === undefined) throw new EscrowError('checkpoint-unwitnessed');
  return { status: 200, text: found.note };
}

/** A path that names no tile, and a tile that the tree does not have, are the same answer. */
function known<T>(found: T | undefined): T {
  if (found === undefined) throw new EscrowError('route-unknown');
  return found;
}
