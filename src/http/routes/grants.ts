import { grantStatusAt } from '../../escrow/records/grant.js';
import { decryptWithGrant, signWithGrant } from '../../escrow/acts/useGrant.js';
import { revokeGrant } from '../../escrow/acts/revokeGrant.js';
import { listGrants, viewGrant } from '../../escrow/reads/grants.js';
import type { Acted, GrantReply, PlaintextsReply, SignaturesReply } from '../../api/replies.js';
import { grantReply, outputsReply, pageReply } from '../replies.js';
import { ROUTES } from '../../api/routes.js';
import { type Route, act, use, view } from '../route.js';

/** What can be wrong with the grant that is named. */
const OF_ENDED = ['grant-unknown', 'grant-revoked', 'grant-expired', 'grant-exhausted'] as const;
const OF_USES = [
  ...OF_ENDED,
  'grant-not-started',
  'grant-rate-exceeded',
  'operation-not-granted',
  'mechanism-unsupported',
] as const;

/** Grants, and the use of keys on their owners' behalf. */
export const grantRoutes: readonly Route[] = [
  view({
    ...ROUTES.listGrants,
    summary: 'Grants that the caller has a part in, newest first.',
    problems: [],
    run: async (escrow, call, { query }) =>
      pageReply(await listGrants(escrow, call, query), ({ grant, status }) => grantReply(grant, status)),
  }),
  view({
    ...ROUTES.getGrant,
    summary: 'A grant.',
    problems: ['grant-unknown'],
    run: async (escrow, call, { path }) => {
      const { grant, status } = await viewGrant(escrow, call, path.grant);
      return grantReply(grant, status);
    },
  }),
  act({
    ...ROUTES.revokeGrant,
    summary: 'Ends a grant at once.',
    problems: OF_ENDED,
    run: async (escrow, call, { path, body }): Promise<Acted<GrantReply>> => {
      const order = { grant: path.grant, reason: body.reason };
      const { answer, index } = await revokeGrant(escrow, call, order);
      return { result: grantReply(answer, grantStatusAt(answer, escrow.clock.now())), entry: index };
    },
  }),
  use({
    ...ROUTES.sign,
    summary: 'Signs a batch of messages or digests on the owner’s behalf; one use each.',
    problems: OF_USES,
    run: async (escrow, call, { path, body }): Promise<Acted<SignaturesReply>> => {
      const { mechanism, context } = body;
      const inputs =
        'digests' in body
          ? ({ kind: 'digest', items: body.digests } as const)
          : ({ kind: 'message', items: body.messages } as const);
      const order = { grant: path.grant, mechanism, inputs, ...(context === undefined ? {} : { context }) };
      const { answer, index } = await signWithGrant(escrow, call, order);
      return { result: { signatures: outputsReply(answer), remaining: answer.remaining }, entry: index };
    },
  }),
  use({
    ...ROUTES.decrypt,
    summary: 'Decrypts a batch of ciphertexts on the owner’s behalf; one use each.',
    problems: [...OF_USES, 'ciphertext-invalid'],
    run: async (escrow, call, { path, body }): Promise<Acted<PlaintextsReply>> => {
      const { ciphertexts: inputs, ...rest } = body;
      const order = { grant: path.grant, ...rest, inputs };
      const { answer, index } = await decryptWithGrant(escrow, call, order);
      return { result: { plaintexts: outputsReply(answer), remaining: answer.remaining }, entry: index };
    },
  }),
];
