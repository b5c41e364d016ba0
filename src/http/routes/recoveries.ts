import type { Call, Escrow } from '../../escrow/escrow.js';
import { approveRecovery } from '../../escrow/acts/approveRecovery.js';
import { denyRecovery } from '../../escrow/acts/denyRecovery.js';
import { cancelRecovery, vetoRecovery } from '../../escrow/acts/endRecovery.js';
import { grantStatusAt } from '../../escrow/records/grant.js';
import { intendRecovery } from '../../escrow/acts/intendRecovery.js';
import { confirmRelease } from '../../escrow/acts/keptReleases.js';
import { activateRecovery } from '../../escrow/acts/activateRecovery.js';
import { releaseKeys } from '../../escrow/acts/releaseKeys.js';
import type { Recovery } from '../../escrow/records/recovery.js';
import { requestRecovery } from '../../escrow/acts/requestRecovery.js';
import { stopRecovery } from '../../escrow/acts/stopRecovery.js';
import { sealed } from '../../escrow/records/sealed.js';
import { listRecoveries, viewOf, viewRecovery } from '../../escrow/reads/recoveries.js';
import { proofsOf } from '../../escrow/reads/proofs.js';
import type { Acted, GrantsReply, RecoveryReply, ReleasedKeysReply } from '../../api/replies.js';
import { grantReply, pageReply, recoveryReply, releasedKeysReply } from '../replies.js';
import { REPLIES } from '../../api/replies.js';
import type { Route } from '../route.js';
import { act, view } from '../route.js';
import {
  approval,
  confirmation,
  denial,
  intent,
  nothing,
  pageQuery,
  reason,
  recoveryOrder,
  recoveryPath,
  stop,
} from '../../api/orders.js';

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
  'approval-too-long',
] as const;
const REQUESTERS = ['admin', 'depositary', 'app'] as const;

/** Recovery requests: filing, deciding, and what comes of them. */
export const recoveryRoutes: readonly Route[] = [
  act({
    path: '/v1/recoveries',
    name: 'requestRecovery',
    summary: 'Files a request for keys of one owner, for depositaries to decide.',
    problems: [
      'key-unknown',
      'owners-differ',
      'purpose-not-allowed',
      'scope-not-allowed',
      'app-unknown',
      'mechanism-unsupported',
      'recoveries-too-many',
    ],
    reply: REPLIES.recovery,
    act: 'recovery.request',
    roles: REQUESTERS,
    body: recoveryOrder,
    status: 201,
    takesIdempotencyKey: true,
    run: async (escrow, call, { body }) => {
      const { keys, reason: why, validFor: validForMs } = body;
      const asked =
        body.purpose === 'operate'
          ? { purpose: body.purpose, scope: body.scope }
          : { purpose: body.purpose, recipient: body.recipient };
      return recoveryActed(
        escrow,
        call,
        await requestRecovery(escrow, call, { keys, reason: why, validForMs, asked }),
      );
    },
  }),
  view({
    path: '/v1/recoveries',
    name: 'listRecoveries',
    summary: 'Recovery requests that the caller has a part in, newest first.',
    problems: [],
    reply: REPLIES.page(REPLIES.recovery),
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
    summary: 'A recovery request; to a depositary of its keys with all that is needed to decide.',
    problems: ['recovery-unknown'],
    reply: REPLIES.recovery,
    act: 'recovery.read',
    roles: EVERYONE,
    parameters: recoveryPath,
    run: async (escrow, call, { path }) => {
      const found = await viewRecovery(escrow, call, path.recovery);
      const isAsked = found.keys.some(({ share }) => share !== undefined);
      const proofs = isAsked ? await proofsOf(escrow, found) : undefined;
      return recoveryReply(found, escrow.token.abilities.oaep, proofs);
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/intents',
    name: 'intendRecovery',
    summary: 'Hands in a depositary’s signed intent to approve, where replies are taken after the delay.',
    problems: [...UNDECIDED, 'intent-not-needed'],
    reply: REPLIES.recovery,
    act: 'recovery.intend',
    roles: ['depositary'],
    parameters: recoveryPath,
    body: intent,
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, statement: body.statement };
      return recoveryActed(escrow, call, await intendRecovery(escrow, call, order));
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/approvals',
    name: 'approveRecovery',
    summary: 'Hands in a depositary’s signed approval and re-encrypted shares.',
    problems: [
      ...UNDECIDED,
      'quorum-complete',
      'intents-incomplete',
      'delay-running',
      'share-malformed',
      'share-wrong-key',
      'share-mismatch',
    ],
    reply: REPLIES.recovery,
    act: 'recovery.approve',
    roles: ['depositary'],
    parameters: recoveryPath,
    body: approval,
    run: async (escrow, call, { path, body }) => {
      const replies = body.replies.map(({ key, reply }) => ({ key, reply: sealed('transport', reply) }));
      const order = { recovery: path.recovery, statement: body.statement, replies };
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
    summary: 'The owner stops a request, where the rule allows it.',
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
    path: '/v1/recoveries/:recovery/stop',
    name: 'stopRecovery',
    summary: 'Administrators end an open request, by as many signed statements as a policy needs.',
    problems: [
      ...STANDING,
      'stop-signature-invalid',
      'stop-signatures-missing',
      'approval-mismatch',
      'approval-expired',
    ],
    reply: REPLIES.recovery,
    act: 'recovery.stop',
    roles: ['admin'],
    parameters: recoveryPath,
    body: stop,
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, statements: body.statements };
      return recoveryActed(escrow, call, await stopRecovery(escrow, call, order));
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/activate',
    name: 'activateRecovery',
    summary: 'Makes the grants of an approved request, where that was cut short.',
    problems: [
      ...STANDING,
      'purpose-not-allowed',
      'quorum-incomplete',
      'delay-running',
      'grant-expired',
      'recovery-failed',
    ],
    reply: REPLIES.grants,
    act: 'recovery.activate',
    roles: REQUESTERS,
    parameters: recoveryPath,
    body: nothing,
    run: async (escrow, call, { path }): Promise<Acted<GrantsReply>> => {
      const { answer, index } = await activateRecovery(escrow, call, path);
      const now = escrow.clock.now();
      const grants = answer.map((grant) => grantReply(grant, grantStatusAt(grant, now)));
      return { result: { grants }, entry: index };
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/release',
    name: 'releaseKeys',
    summary: 'The keys, encrypted to the recipient; once for each request.',
    problems: [
      ...STANDING,
      'purpose-not-allowed',
      'quorum-incomplete',
      'delay-running',
      'depositary-not-enrolled',
      'recovery-failed',
    ],
    reply: REPLIES.releasedKeys,
    act: 'recovery.release',
    roles: ['depositary'],
    parameters: recoveryPath,
    body: nothing,
    run: async (escrow, call, { path }): Promise<Acted<ReleasedKeysReply>> => {
      const { answer, index } = await releaseKeys(escrow, call, path);
      return { result: releasedKeysReply(answer, escrow.token.abilities.oaep), entry: index };
    },
  }),
  act({
    path: '/v1/recoveries/:recovery/confirmation',
    name: 'confirmRelease',
    summary: 'The recipient confirms that released keys are written and open: the server forgets them.',
    problems: ['recovery-unknown', 'release-gone', 'approval-signature-invalid', 'approval-mismatch'],
    reply: REPLIES.recovery,
    act: 'recovery.confirm',
    roles: ['depositary'],
    parameters: recoveryPath,
    body: confirmation,
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, statement: body.statement };
      return recoveryActed(escrow, call, await confirmRelease(escrow, call, order));
    },
  }),
];

async function recoveryActed(
  escrow: Escrow,
  call: Call,
  { answer, index }: { readonly answer: Recovery; readonly index: number },
): Promise<Acted<RecoveryReply>> {
  const found = await viewOf(escrow, call, answer);
  return { result: recoveryReply(found, escrow.token.abilities.oaep), entry: index };
}
