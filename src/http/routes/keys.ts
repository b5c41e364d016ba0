import { generateKey } from '../../escrow/acts/generateKey.js';
import { listKeys, viewKey } from '../../escrow/reads/keys.js';
import { keyReply, pageReply } from '../replies.js';
import { REPLIES } from '../../api/replies.js';
import type { Route } from '../route.js';
import { act, view } from '../route.js';
import { keyOrder, keyPath, pageQuery } from '../../api/orders.js';

/** Keys, which are born deposited. */
export const keyRoutes: readonly Route[] = [
  act({
    path: '/v1/keys',
    name: 'generateKey',
    summary: 'Generates a key in the token and deposits it in the same act.',
    problems: [
      'owner-unknown',
      'rule-missing',
      'depositary-unknown',
      'depositary-retired',
      'quorum-impossible',
      'quorum-too-large',
      'depositary-not-enrolled',
      'key-use-unsupported',
      'key-spec-unsupported',
      'delivery-not-allowed',
      'delivery-key-missing',
    ],
    reply: REPLIES.key,
    act: 'key.generate',
    roles: ['admin', 'owner'],
    body: keyOrder,
    status: 201,
    takesIdempotencyKey: true,
    run: async (escrow, call, { body }) => {
      const { answer, index } = await generateKey(escrow, call, body);
      return { result: keyReply(answer, call.caller.id), entry: index };
    },
  }),
  view({
    path: '/v1/keys',
    name: 'listKeys',
    summary: 'Deposited keys that the caller has a part in, newest first.',
    problems: [],
    reply: REPLIES.page(REPLIES.key),
    act: 'key.read',
    roles: ['admin', 'auditor', 'owner', 'depositary'],
    query: pageQuery,
    run: async (escrow, call, { query }) =>
      pageReply(await listKeys(escrow, call, query), (deposit) => keyReply(deposit, call.caller.id)),
  }),
  view({
    path: '/v1/keys/:key',
    name: 'getKey',
    summary: 'A deposited key.',
    problems: ['key-unknown'],
    reply: REPLIES.key,
    act: 'key.read',
    roles: ['admin', 'auditor', 'owner', 'depositary'],
    parameters: keyPath,
    run: async (escrow, call, { path }) => keyReply(await viewKey(escrow, call, path.key), call.caller.id),
  }),
];
