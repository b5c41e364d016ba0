import type { z } from 'zod';

import type { Call, Escrow } from '../../escrow/escrow.js';
import { approveRecovery } from '../../escrow/acts/approveRecovery.js';
import { denyRecovery } from '../../escrow/acts/denyRecovery.js';
import { cancelRecovery, vetoRecovery } from '../../escrow/acts/endRecovery.js';
import { grantStatusAt } from '../../escrow/records/grant.js';
import { intendRecovery } from '../../escrow/acts/intendRecovery.js';
import { confirmRelease } from '../../escrow/acts/keptReleases.js';
import { activateRecovery } from '../../escrow/acts/activateRecovery.js';
import { releaseKeys } from '../../escrow/acts/releaseKeys.js';
import type { DecidedRequest } from '../../escrow/checks/undecided.js';
import type { Recorded } from '../../escrow/ledger/act.js';
import type { Recovery } from '../../escrow/records/recovery.js';
import { type RecoveryOrder as AskedOrder, requestRecovery } from '../../escrow/acts/requestRecovery.js';
import { resealKeys } from '../../escrow/acts/carryingOut/resealKeys.js';
import { stopRecovery } from '../../escrow/acts/stopRecovery.js';
import { sealed } from '../../escrow/records/sealing/sealed.js';
import { listRecoveries, viewOf, viewRecovery } from '../../escrow/reads/recoveries.js';
import { proofsOf } from '../../escrow/reads/proofs.js';
import type { Acted, GrantsReply, RecoveryReply, ReleasedKeysReply } from '../../api/replies.js';
import { grantReply, pageReply, recoveryReply, releasedKeysReply } from '../replies.js';
import type { recoveryOrder } from '../../api/orders.js';
import { ROUTES } from '../../api/routes.js';
import { type Route, act, view } from '../route.js';

/** What can be wrong with the request that is named. */
const STANDING = ['recovery-unknown', 'recovery-ended', 'recovery-expired'] as const;
/** What can be wrong with a decision, besides. */
const UNDECIDED = [
  ...STANDING,
  'recovery-superseded',
  'approval-duplicate',
  'approval-signature-invalid',
  'approval-mismatch',
  'approval-expired',
  'approval-too-long',
] as const;

/** Recovery requests: filing, deciding, and what comes of them. */
export const recoveryRoutes: readonly Route[] = [
  act({
    ...ROUTES.requestRecovery,
    summary: 'Files a request for keys of one owner, for depositaries to decide.',
    problems: [
      'key-unknown',
      'owners-differ',
      'purpose-not-allowed',
      'scope-not-allowed',
      'app-unknown',
      'mechanism-unsupported',
      'quorum-impossible',
      'kek-missing',
      'recoveries-too-many',
      'reseal-open',
      'owner-unknown',
      'rule-missing',
      'depositary-unknown',
      'depositary-retired',
      'depositary-not-enrolled',
      'quorum-too-large',
      'secret-release-only',
    ],
    run: async (escrow, call, { body }) => {
      const { keys, reason: why, validFor: validForMs } = body;
      const asked = askedIn(body);
      return recoveryActed(
        escrow,
        call,
        await requestRecovery(escrow, call, { keys, reason: why, validForMs, asked }),
      );
    },
  }),
  view({
    ...ROUTES.listRecoveries,
    summary:
      'Recovery requests that the caller has a part in, newest first; those of one job, where it is given.',
    problems: [],
    run: async (escrow, call, { query }) =>
      pageReply(await listRecoveries(escrow, call, query.page, query.job), (found) =>
        recoveryReply(found, escrow.token.abilities.oaep),
      ),
  }),
  view({
    ...ROUTES.getRecovery,
    summary: 'A recovery request; to a depositary of its keys with all that is needed to decide.',
    problems: ['recovery-unknown'],
    run: async (escrow, call, { path }) => {
      const found = await viewRecovery(escrow, call, path.recovery);
      const isAsked = found.keys.some(({ share }) => share !== undefined);
      const proofs = isAsked ? await proofsOf(escrow, found) : undefined;
      return recoveryReply(found, escrow.token.abilities.oaep, proofs);
    },
  }),
  act({
    ...ROUTES.intendRecovery,
    summary: 'Hands in a depositary’s signed intent to approve, where replies are taken after the delay.',
    problems: [...UNDECIDED, 'intent-not-needed'],
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, statement: body.statement };
      return recoveryActed(escrow, call, await intendRecovery(escrow, call, order));
    },
  }),
  act({
    ...ROUTES.approveRecovery,
    summary: 'Hands in a depositary’s signed approval and re-encrypted shares.',
    problems: [
      ...UNDECIDED,
      'quorum-complete',
      'policy-changed',
      'depositary-not-enrolled',
      'intents-incomplete',
      'delay-running',
      'share-malformed',
      'share-wrong-key',
      'share-mismatch',
    ],
    run: async (escrow, call, { path, body }) => {
      const replies = body.replies.map(({ reply, ...of }) => ({ ...of, reply: sealed('transport', reply) }));
      const order = { recovery: path.recovery, statement: body.statement, replies };
      return recoveryActed(escrow, call, await approveRecovery(escrow, call, order));
    },
  }),
  act({
    ...ROUTES.denyRecovery,
    summary: 'Hands in a depositary’s signed denial.',
    problems: [...UNDECIDED, 'quorum-complete'],
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, statement: body.statement };
      return recoveryActed(escrow, call, await denyRecovery(escrow, call, order));
    },
  }),
  act({
    ...ROUTES.vetoRecovery,
    summary: 'The owner stops a request, where the rule allows it.',
    problems: [...STANDING, 'veto-not-allowed'],
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, reason: body.reason };
      return recoveryActed(escrow, call, await vetoRecovery(escrow, call, order));
    },
  }),
  act({
    ...ROUTES.cancelRecovery,
    summary: 'The requester takes a request back.',
    problems: [...STANDING],
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, reason: body.reason };
      return recoveryActed(escrow, call, await cancelRecovery(escrow, call, order));
    },
  }),
  act({
    ...ROUTES.stopRecovery,
    summary: 'Administrators end an open request, by as many signed statements as a policy needs.',
    problems: [
      ...STANDING,
      'stop-signature-invalid',
      'stop-signatures-missing',
      'approval-mismatch',
      'approval-expired',
    ],
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, statements: body.statements };
      return recoveryActed(escrow, call, await stopRecovery(escrow, call, order));
    },
  }),
  act({
    ...ROUTES.activateRecovery,
    summary: 'Makes the grants of an approved request, where that was cut short.',
    problems: [
      ...STANDING,
      'recovery-superseded',
      'purpose-not-allowed',
      'quorum-incomplete',
      'delay-running',
      'grant-expired',
      'recovery-failed',
    ],
    run: async (escrow, call, { path }): Promise<Acted<GrantsReply>> => {
      const { answer, index } = await activateRecovery(escrow, call, path);
      const now = escrow.clock.now();
      const grants = answer.map((grant) => grantReply(grant, grantStatusAt(grant, now)));
      return { result: { grants }, entry: index };
    },
  }),
  act({
    ...ROUTES.releaseKeys,
    summary: 'The keys, encrypted to the recipient; once for each request.',
    problems: [
      ...STANDING,
      'recovery-superseded',
      'purpose-not-allowed',
      'quorum-incomplete',
      'delay-running',
      'depositary-not-enrolled',
      'recovery-failed',
    ],
    run: async (escrow, call, { path }): Promise<Acted<ReleasedKeysReply>> => {
      const { answer, index } = await releaseKeys(escrow, call, path);
      return { result: releasedKeysReply(answer, escrow.token.abilities.oaep), entry: index };
    },
  }),
  act({
    ...ROUTES.resealKeys,
    summary: 'Seals the keys of an approved request anew, where that was cut short.',
    problems: [
      ...STANDING,
      'recovery-superseded',
      'purpose-not-allowed',
      'quorum-incomplete',
      'delay-running',
      'recovery-failed',
    ],
    run: async (escrow, call, { path }) => recoveryActed(escrow, call, await resealKeys(escrow, call, path)),
  }),
  act({
    ...ROUTES.confirmRelease,
    summary: 'The recipient confirms that released keys are written and open: the server forgets them.',
    problems: ['recovery-unknown', 'release-gone', 'approval-signature-invalid', 'approval-mismatch'],
    run: async (escrow, call, { path, body }) => {
      const order = { recovery: path.recovery, statement: body.statement };
      return recoveryActed(escrow, call, await confirmRelease(escrow, call, order));
    },
  }),
];

function askedIn(body: z.output<typeof recoveryOrder>): AskedOrder['asked'] {
  switch (body.purpose) {
    case 'operate':
      return { purpose: body.purpose, scope: body.scope };
    case 'release':
      return { purpose: body.purpose, recipient: body.recipient };
    case 'reseal':
      return { purpose: body.purpose, job: body.job, leaving: body.leaving };
  }
}

async function recoveryActed(
  escrow: Escrow,
  call: Call,
  { answer, index, ...read }: Recorded<Recovery> | DecidedRequest,
): Promise<Acted<RecoveryReply>> {
  const found = await viewOf(escrow, call, answer, read);
  return { result: recoveryReply(found, escrow.token.abilities.oaep), entry: index };
}
