import { EscrowError } from '../../escrow/errors.js';
import { history } from '../../escrow/views.js';
import { encodeBase64 } from '../../log/base64.js';
import { entryReply, pageReply } from '../replies.js';
import type { Route } from '../route.js';
import { open, view } from '../route.js';
import { consistencyQuery, entriesQuery, pageQuery } from '../schemas.js';
import { parseStrictJson } from '../strictJson.js';

/** The log: checkpoints and proofs for everyone, owners' own entries, and everything for auditors. */
export const logRoutes: readonly Route[] = [
  open({
    path: '/v1/checkpoint',
    run: async (escrow) => {
      const newest = await escrow.log.checkpoint();
      if (newest === undefined) throw new EscrowError('route-unknown', 'The log is empty.');
      return { status: 200, text: newest.note };
    },
  }),
  open({
    path: '/v1/log/consistency',
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
    act: 'history.read',
    roles: ['owner'],
    query: pageQuery,
    run: async (escrow, call, { query }) => pageReply(await history(escrow, call, query), entryReply),
  }),
  view({
    path: '/v1/log/entries',
    act: 'log.read',
    roles: ['auditor'],
    query: entriesQuery,
    run: async (escrow, _call, { query }) => ({
      items: (await escrow.log.entries(query.from, query.limit)).map(entryReply),
    }),
  }),
  view({
    path: '/v1/log/policies',
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
