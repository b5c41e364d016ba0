import { EscrowError } from '../../escrow/errors.js';
import { history } from '../../escrow/views.js';
import { encodeBase64 } from '../../log/base64.js';
import { entryReply, pageReply } from '../replies.js';
import { pageOf, REPLIES } from '../replySchemas.js';
import type { Route } from '../route.js';
import { open, view } from '../route.js';
import { consistencyQuery, entriesQuery, pageQuery } from '../schemas.js';
import { parseStrictJson } from '../strictJson.js';

/** The log: checkpoints and proofs for everyone, owners' own entries, and everything for auditors. */
export const logRoutes: readonly Route[] = [
  open({
    path: '/v1/checkpoint',
    name: 'getCheckpoint',
    summary: 'The newest signed checkpoint of the log: a C2SP signed note.',
    problems: ['route-unknown'],
    reply: REPLIES.checkpoint,
    media: 'text/plain',
    run: async (escrow) => {
      const newest = await escrow.log.checkpoint();
      if (newest === undefined) throw new EscrowError('route-unknown', 'The log is empty.');
      return { status: 200, text: newest.note };
    },
  }),
  open({
    path: '/v1/log/consistency',
    name: 'getConsistency',
    summary: 'The consistency proof between two sizes of the log, RFC 6962 section 2.1.2.',
    problems: [],
    reply: REPLIES.consistency,
    query: consistencyQuery,
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
    path: '/v1/history',
    name: 'listHistory',
    summary: 'Every entry about the caller and their keys, newest first.',
    problems: [],
    reply: pageOf(REPLIES.logEntry),
    act: 'history.read',
    roles: ['owner'],
    query: pageQuery,
    run: async (escrow, call, { query }) => pageReply(await history(escrow, call, query), entryReply),
  }),
  view({
    path: '/v1/log/entries',
    name: 'listEntries',
    summary: 'Entries of the log in order, for an export.',
    problems: [],
    reply: REPLIES.entries,
    act: 'log.read',
    roles: ['auditor'],
    query: entriesQuery,
    run: async (escrow, _call, { query }) => ({
      items: (await escrow.log.entries(query.from, query.limit)).map(entryReply),
    }),
  }),
  view({
    path: '/v1/log/policies',
    name: 'listPolicies',
    summary: 'Every policy that was ever in force, oldest first.',
    problems: [],
    reply: REPLIES.documents,
    act: 'log.read',
    roles: ['auditor'],
    run: async (escrow) => ({
      items: (await escrow.store.policies()).map(({ version, hash, document }) => ({
        version,
        hash,
        document: parseStrictJson(document),
      })),
    }),
  }),
];
