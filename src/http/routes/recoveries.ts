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
import { pageOf, REPLIES } from '../replySchemas.js';
import type { Route } from '../route.js';
import { act, view } from '../route.js';
import { approval, denial, nothing, pageQuery, reason, recoveryOrder, recoveryPath } from '../schemas.js';

const EVERYONE = ['admin', 'auditor', 'owner', 'depositary', 'app'] as const;
/** What can be wrong with the request that is named. */
const STANDING = ['recovery-unknown', 'recovery-ended', 'recovery-expired'] as const;
/** What can be wrong with a decision, besides. */
const UNDECIDED = [
  ...STANDING,
  'approval-duplicate',
  'approval-signature-invalid',
  'approval-mismatch',
  'approval-expired',
] as const;
const REQUESTERS = ['admin', 'depositary', 'app'] as const;

/** Recovery requests: filing, deciding, and what comes of them. */
export const recoveryRoutes: readonly Route[] = [
  act({
    path: '/v1/recoveries',
    name: 'requestRecovery',
    summary: 'Files a recovery request, for depositaries to decide.',
    problems: [
      'key-unknown',
      'purpose-not-allowed',
      'scope-not-allowed',
      'app-unknown',
      'mechanism-unsupported',
    ],
    reply: REPLIES.recovery,
    act: 'recovery.request',
    roles: REQUESTERS,
    body: recoveryOrder,
    status: 201,
    takesIdempotencyKey: true,
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
    name: 'listRecoveries',
    summary: 'Recovery requests that the caller has a part in, newest first.',
    problems: [],
    reply: pageOf(REPLIES.recovery),
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
    name: 'getRecovery',
    summary: 'A recovery request; to a depositary of the key with all that is needed to decide.',
    problems: ['recovery-unknown'],
    reply: REPLIES.recovery,
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
    name: 'approveRecovery',
    summary: 'Hands in a depositary’s signed approval and re-encrypted share.',
    problems: [...UNDECIDED, 'quorum-complete', 'share-malformed', 'share-wrong-key', 'share-mismatch'],
    reply: REPLIES.recovery,
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
    name: 'denyRecovery',
    summary: 'Hands in a depositary’s signed denial.',
    problems: [...UNDECIDED, 'quorum-complete'],
    reply: REPLIES.recovery,
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
    name: 'vetoRecovery',
    summary: 'The owner stops a release, where the rule allows it.',
    problems: [...STANDING, 'veto-not-allowed'],
    reply: REPLIES.recovery,
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
    name: 'cancelRecovery',
    summary: 'The requester takes a request back.',
    problems: [...STANDING],
    reply: REPLIES.recovery,
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
    name: 'activateRecovery',
    summary: 'Makes the grant of an approved request, where that was cut short.',
    problems: [...STANDING, 'purpose-not-allowed', 'quorum-incomplete', 'delay-running'],
    reply: REPLIES.grant,
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
    name: 'releaseKey',
    summary: 'The key, encrypted to the recipient; once for each request.',
    problems: [
      ...STANDING,
      'purpose-not-allowed',
      'quorum-incomplete',
      'delay-running',
      'depositary-not-enrolled',
    ],
    reply: REPLIES.release,
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
