import { generateKey } from '../../escrow/acts/generateKey.js';
import { listCoverage, standingNow } from '../../escrow/reads/coverage.js';
import { listKeys, viewKey, viewPublicKey } from '../../escrow/reads/keys.js';
import { publicKeyReply } from '../publicKey.js';
import { coveragePageReply, keyReply, pageReply } from '../replies.js';
import { ROUTES } from '../../api/routes.js';
import { type Route, act, view, viewByApp } from '../route.js';

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
      return { result: keyReply(answer, call.caller.id, await standingNow(escrow)), entry: index };
    },
  }),
  view({
    ...ROUTES.listKeys,
    summary: 'Deposited keys that the caller has a part in, newest first.',
    problems: [],
    run: async (escrow, call, { query }) => {
      const [page, standing] = [await listKeys(escrow, call, query), await standingNow(escrow)];
      return pageReply(page, (deposit) => keyReply(deposit, call.caller.id, standing));
    },
  }),
  view({
    ...ROUTES.getKey,
    summary: 'A deposited key.',
    problems: ['key-unknown'],
    run: async (escrow, call, { path }) => {
      const deposit = await viewKey(escrow, call, path.key);
      return keyReply(deposit, call.caller.id, await standingNow(escrow));
    },
  }),
  viewByApp({
    ...ROUTES.getPublicKey,
    summary: 'The public half of a key: to an app by id or label, while a grant of its own for the key runs.',
    problems: ['key-unknown', 'key-ambiguous'],
    run: async (escrow, call, { path }) => publicKeyReply(await viewPublicKey(escrow, call, path.key)),
  }),
  view({
    ...ROUTES.listCoverage,
    summary: 'Keys with the quorums that could bring them back now, newest first; to owners their own.',
    problems: [],
    run: async (escrow, call, { query }) => coveragePageReply(await listCoverage(escrow, call, query)),
  }),
];
