import type { Call, Escrow } from '../../escrow/context.js';
import { approveRecovery, cancelRecovery, denyRecovery, vetoRecovery } from '../../escrow/decideRecovery.js';
import { EscrowError } from '../../escrow/errors.js';
import { grantStatusAt } from '../../escrow/grant.js';
import { activateRecovery, releaseKey } from '../../escrow/recoverKey.js';
import type { Recovery } from '../../escrow/recovery.js';
import { requestRecovery } from '../../escrow/requestRecovery.js';
import { sealed } from '../../escrow/sealed.js';
import { listRecoveries, proofOfFiling, viewOf, viewRecovery } from '../../escrow/views.js';
import type { Acted, WireGrant, WireRecovery, WireRelease } from '../../escrow/wire.js';
import { grantReply, pageReply, recoveryReply, releaseReply } from '../replies.js';
import type { Route } from '../route.js';
import { act, view } from '../route.js';
import { approval, denial, nothing, pageQuery, reason, recoveryOrder, recoveryPath } from '../schemas.js';

const EVERYONE = ['admin', 'auditor', 'owner', 'depositary', 'app'] as const;
const REQUESTERS = ['admin', 'depositary', 'app'] as const;

/** Recovery requests: filing, deciding, and what comes of them. */
export const recoveryRoutes: readonly Route[] = [
  act({
    path: '/v1/recoveries',
    act: 'recovery.request',
    roles: REQUESTERS,
    body: recoveryOrder,
    status: 201,
    run: async (escrow, call, { body }) => {
      const { key, reason: why, validFor: validForMs } = body;
      const asked =
        body.purpose === 'operate'
          ? { purpose: body.purpose, scope: body.scope }
          : { purpose: body.purpose, recipient: body.recipient };
      return recoveryActed(
        escrow,
        call,
        await requestRecovery(escrow, call, { key, reason: why, validForMs, asked }),
      );
    },
  }),
  view({
    path: '/v1/recoveries',
    act: 'recovery.read',
    roles: EVERYONE,
    query: pageQuery,
    run: async (escrow, call, { query }) =>
      pageReply(await listRecoveries(escrow, call, query), (found) =>
        recoveryReply(found, escrow.token.abilities.oaep),
      ),
  }),
  view({
    path: '/v1/recoveries/:recovery',
    act: 'recovery.read',
    roles: EVERYONE,
    parameters: recoveryPath,
    run: async (escrow, call, { path }) => {
      const found = await viewRecovery(escrow, call, path.recovery);
      const logged = found.share === undefined ? undefined : await proofOfFiling(escrow, path.recovery);
      return recoveryReply(found, escrow.token.abilities.oaep, logged);
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/approvals',
    act: 'recovery.approve',
    roles: ['depositary'],
    parameters: recoveryPath,
    body: approval,
    run: async (escrow, call, { path, body }) => {
      const reply = sealed('transport', body.reply);
      const order = { recovery: path.recovery, statement: body.statement, reply };
      return recoveryActed(escrow, call, await approveRecovery(escrow, call, order));
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/denials',
    act: 'recovery.deny',
    roles: ['depositary'],
    parameters: recoveryPath,
    body: denial,
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, statement: body.statement };
      return recoveryActed(escrow, call, await denyRecovery(escrow, call, order));
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/veto',
    act: 'recovery.veto',
    roles: ['owner'],
    parameters: recoveryPath,
    body: reason,
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, reason: body.reason };
      return recoveryActed(escrow, call, await vetoRecovery(escrow, call, order));
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/cancel',
    act: 'recovery.cancel',
    roles: REQUESTERS,
    parameters: recoveryPath,
    body: reason,
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, reason: body.reason };
      return recoveryActed(escrow, call, await cancelRecovery(escrow, call, order));
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/activate',
    act: 'recovery.activate',
    roles: REQUESTERS,
    parameters: recoveryPath,
    body: nothing,
    run: async (escrow, call, { path }): Promise<Acted<WireGrant>> => {
      const { answer, index } = await activateRecovery(escrow, call, path);
      return { result: grantReply(answer, grantStatusAt(answer, escrow.clock.now())), entry: index };
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/release',
    act: 'recovery.release',
    roles: ['depositary'],
    parameters: recoveryPath,
    body: nothing,
    run: async (escrow, call, { path }): Promise<Acted<WireRelease>> => {
      const { answer, index } = await releaseKey(escrow, call, path);
      if (answer.state.status !== 'released') throw new EscrowError('internal');
      return { result: releaseReply(answer.state.answer, escrow.token.abilities.oaep), entry: index };
    },
  }),
];

async function recoveryActed(
  escrow: Escrow,
  call: Call,
  { answer, index }: { readonly answer: Recovery; readonly index: number },
): Promise<Acted<WireRecovery>> {
  const found = await viewOf(escrow, call, answer);
  return { result: recoveryReply(found, escrow.token.abilities.oaep), entry: index };
}
