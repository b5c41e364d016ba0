import { generateKey } from '../../escrow/acts/generateKey.js';
import { listKeys, viewKey } from '../../escrow/reads/keys.js';
import { keyReply, pageReply } from '../replies.js';
import { ROUTES } from '../../api/routes.js';
import { type Route, act, view } from '../route.js';

/** Keys, which are born deposited. */
export const keyRoutes: readonly Route[] = [
  act({
    ...ROUTES.generateKey,
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
    run: async (escrow, call, { body }) => {
      const { answer, index } = await generateKey(escrow, call, body);
      return { result: keyReply(answer, call.caller.id), entry: index };
    },
  }),
  view({
    ...ROUTES.listKeys,
    summary: 'Deposited keys that the caller has a part in, newest first.',
    problems: [],
    run: async (escrow, call, { query }) =>
      pageReply(await listKeys(escrow, call, query), (deposit) => keyReply(deposit, call.caller.id)),
  }),
  view({
    ...ROUTES.getKey,
    summary: 'A deposited key.',
    problems: ['key-unknown'],
    run: async (escrow, call, { path }) => keyReply(await viewKey(escrow, call, path.key), call.caller.id),
  }),
];
