import type { z } from 'zod';

import type { Escrow, OperateCall } from '../../escrow/escrow.js';
import { grantStatusAt } from '../../escrow/records/grant.js';
import { type Used, decryptWithGrant, signWithGrant } from '../../escrow/acts/useGrant.js';
import type { NamedGrant } from '../../escrow/checks/usableGrant.js';
import { revokeGrant } from '../../escrow/acts/revokeGrant.js';
import { listGrants, viewGrant } from '../../escrow/reads/grants.js';
import type { Acted, GrantReply, PlaintextsReply, SignaturesReply } from '../../api/replies.js';
import { grantReply, outputsReply, pageReply } from '../replies.js';
import type { decryptOrder, signOrder } from '../../api/orders.js';
import { ROUTES } from '../../api/routes.js';
import { type Route, act, use, viewByApp } from '../route.js';

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
  viewByApp({
    ...ROUTES.listGrants,
    summary: 'Grants that the caller has a part in, newest first.',
    problems: [],
    run: async (escrow, call, { query }) =>
      pageReply(await listGrants(escrow, call, query), ({ grant, status }) => grantReply(grant, status)),
  }),
  viewByApp({
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
    run: (escrow, call, { path, body }) => sign(escrow, call, path, body),
  }),
  use({
    ...ROUTES.decrypt,
    summary: 'Decrypts a batch of ciphertexts on the owner’s behalf; one use each.',
    problems: [...OF_USES, 'ciphertext-invalid'],
    run: (escrow, call, { path, body }) => decrypt(escrow, call, path, body),
  }),
  use({
    ...ROUTES.signWithKey,
    summary:
      'Signs under whichever grant of the caller allows it with this key; of two, the one that ends first.',
    problems: [...OF_USES, 'key-ambiguous'],
    run: (escrow, call, { path, body }) => sign(escrow, call, path, body),
  }),
  use({
    ...ROUTES.decryptWithKey,
    summary:
      'Decrypts under whichever grant of the caller allows it with this key; of two, the one that ends first.',
    problems: [...OF_USES, 'ciphertext-invalid', 'key-ambiguous'],
    run: (escrow, call, { path, body }) => decrypt(escrow, call, path, body),
  }),
];

async function sign(
  escrow: Escrow,
  call: OperateCall,
  by: NamedGrant,
  { mechanism, context, ...given }: z.output<typeof signOrder>,
): Promise<Acted<SignaturesReply>> {
  const inputs =
    'digests' in given
      ? ({ kind: 'digest', items: given.digests } as const)
      : ({ kind: 'message', items: given.messages } as const);
  const order = { ...by, mechanism, inputs, ...(context === undefined ? {} : { context }) };
  const { answer, index } = await signWithGrant(escrow, call, order);
  return { result: { signatures: outputsReply(answer), ...leftOf(answer) }, entry: index };
}

async function decrypt(
  escrow: Escrow,
  call: OperateCall,
  by: NamedGrant,
  { ciphertexts: inputs, ...rest }: z.output<typeof decryptOrder>,
): Promise<Acted<PlaintextsReply>> {
  const { answer, index } = await decryptWithGrant(escrow, call, { ...by, ...rest, inputs });
  return { result: { plaintexts: outputsReply(answer), ...leftOf(answer) }, entry: index };
}

function leftOf({ grant, remaining }: Used): { readonly grant: string; readonly remaining: number } {
  return { grant, remaining };
}
