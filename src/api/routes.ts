import type { z } from 'zod';

import type { Act } from '../escrow/ledger/means.js';
import { type ApiRole, API_ROLES } from '../escrow/records/principals.js';
import * as orders from './orders.js';
import type { ReplyName } from './replies.js';

/** A route of the API: who asks for what, and what is answered. */
export interface ApiRoute {
  readonly method: 'GET' | 'POST';
  /** With parameters: `:key` is one step of the path, `*tile` the rest of it. */
  readonly path: string;
  /** What it is logged as: an act always, a read where it is refused. Not given: for everyone, and not logged. */
  readonly act?: Act;
  /** One of these is enough to get in; whose key or request it is, the core decides. */
  readonly roles?: readonly ApiRole[];
  readonly parameters?: z.ZodType;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  /** Of what went well; 200 where it is not given. */
  readonly status?: 201;
  /** Whether a caller may name what is made with an Idempotency-Key, and so ask for it again. */
  readonly takesIdempotencyKey?: true;
  /** Whether an app may ask for it by its client certificate, in place of a signed request. */
  readonly takesCertificate?: true;
  /** Whether the daemon does it by itself as well. */
  readonly isAlsoDoneByDaemon?: true;
  /** What is answered; of an act, what its answer has in `result`. */
  readonly reply: ReplyName;
}

const EVERYONE = ['admin', 'auditor', 'owner', 'depositary', 'app'] as const;
const REQUESTERS = ['admin', 'depositary', 'app'] as const;

/**
 * Every route, by the name of its operation, which is unique and stable: clients are generated from it. The server answers
 * these, in this order, and no others; clients ask for them; and the offline verifier knows by them which signed request
 * asks for which act.
 */
export const ROUTES = named({
  getServer: {
    method: 'GET',
    path: '/v1/server',
    reply: 'server',
  },
  applyPolicy: {
    method: 'POST',
    path: '/v1/policy',
    act: 'policy.apply',
    roles: ['admin'],
    body: orders.policyOrder,
    reply: 'policy',
  },
  getPolicy: {
    method: 'GET',
    path: '/v1/policy',
    act: 'policy.read',
    roles: ['admin', 'auditor'],
    reply: 'policy',
  },
  chooseDepositaries: {
    method: 'POST',
    path: '/v1/policy/choice',
    act: 'policy.read',
    roles: ['admin'],
    body: orders.choiceOrder,
    reply: 'choice',
  },
  planPolicy: {
    method: 'POST',
    path: '/v1/policy/plan',
    act: 'policy.read',
    roles: ['admin', 'auditor'],
    body: orders.policyPlanOrder,
    reply: 'policyPlan',
  },
  getPolicyStanding: {
    method: 'GET',
    path: '/v1/policy/standing',
    act: 'policy.read',
    roles: ['admin', 'auditor'],
    reply: 'standing',
  },
  getPolicyWarnings: {
    method: 'GET',
    path: '/v1/policy/warnings',
    act: 'policy.read',
    roles: API_ROLES,
    reply: 'warnings',
  },
  getPolicyHistory: {
    method: 'GET',
    path: '/v1/policy/history',
    act: 'policy.read',
    roles: ['admin', 'auditor'],
    query: orders.pageQuery,
    reply: 'appliedPolicyPage',
  },
  generateKey: {
    method: 'POST',
    path: '/v1/keys',
    act: 'key.generate',
    roles: ['admin', 'owner'],
    body: orders.keyOrder,
    status: 201,
    takesIdempotencyKey: true,
    reply: 'key',
  },
  listKeys: {
    method: 'GET',
    path: '/v1/keys',
    act: 'key.read',
    roles: ['admin', 'auditor', 'owner', 'depositary'],
    query: orders.pageQuery,
    reply: 'keyPage',
  },
  getKey: {
    method: 'GET',
    path: '/v1/keys/:key',
    act: 'key.read',
    roles: ['admin', 'auditor', 'owner', 'depositary'],
    parameters: orders.keyPath,
    reply: 'key',
  },
  getPublicKey: {
    method: 'GET',
    path: '/v1/keys/:key/public-key',
    act: 'key.read',
    roles: EVERYONE,
    parameters: orders.namedKeyPath,
    takesCertificate: true,
    reply: 'publicKey',
  },
  listCoverage: {
    method: 'GET',
    path: '/v1/coverage',
    act: 'key.read',
    roles: ['admin', 'auditor', 'owner'],
    query: orders.pageQuery,
    reply: 'coveragePage',
  },
  listDrills: {
    method: 'GET',
    path: '/v1/drills',
    act: 'key.read',
    // who has no share is shown none
    roles: EVERYONE,
    query: orders.drillsQuery,
    reply: 'drillPage',
  },
  drillShares: {
    method: 'POST',
    path: '/v1/drills',
    act: 'key.drill',
    roles: ['depositary'],
    body: orders.drillOrder,
    reply: 'drilled',
  },
  prepareImport: {
    method: 'POST',
    path: '/v1/imports',
    act: 'import.prepare',
    roles: ['admin', 'owner'],
    body: orders.importKeyOrder,
    status: 201,
    reply: 'importKey',
  },
  importKey: {
    method: 'POST',
    path: '/v1/imports/:import/key',
    act: 'key.import',
    roles: ['admin', 'owner'],
    parameters: orders.importPath,
    body: orders.importOrder,
    status: 201,
    takesIdempotencyKey: true,
    reply: 'key',
  },
  importSecret: {
    method: 'POST',
    path: '/v1/imports/:import/secret',
    act: 'key.import',
    roles: ['admin', 'owner'],
    parameters: orders.importPath,
    body: orders.secretOrder,
    status: 201,
    takesIdempotencyKey: true,
    reply: 'key',
  },
  requestRecovery: {
    method: 'POST',
    path: '/v1/recoveries',
    act: 'recovery.request',
    roles: REQUESTERS,
    body: orders.recoveryOrder,
    status: 201,
    takesIdempotencyKey: true,
    reply: 'recovery',
  },
  listRecoveries: {
    method: 'GET',
    path: '/v1/recoveries',
    act: 'recovery.read',
    roles: EVERYONE,
    query: orders.recoveriesQuery,
    reply: 'recoveryPage',
  },
  getRecovery: {
    method: 'GET',
    path: '/v1/recoveries/:recovery',
    act: 'recovery.read',
    roles: EVERYONE,
    parameters: orders.recoveryPath,
    reply: 'recovery',
  },
  intendRecovery: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/intents',
    act: 'recovery.intend',
    roles: ['depositary'],
    parameters: orders.recoveryPath,
    body: orders.intent,
    reply: 'recovery',
  },
  approveRecovery: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/approvals',
    act: 'recovery.approve',
    roles: ['depositary'],
    parameters: orders.recoveryPath,
    body: orders.approval,
    reply: 'recovery',
  },
  denyRecovery: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/denials',
    act: 'recovery.deny',
    roles: ['depositary'],
    parameters: orders.recoveryPath,
    body: orders.denial,
    reply: 'recovery',
  },
  vetoRecovery: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/veto',
    act: 'recovery.veto',
    roles: ['owner'],
    parameters: orders.recoveryPath,
    body: orders.reason,
    reply: 'recovery',
  },
  cancelRecovery: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/cancel',
    act: 'recovery.cancel',
    roles: REQUESTERS,
    parameters: orders.recoveryPath,
    body: orders.reason,
    reply: 'recovery',
  },
  stopRecovery: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/stop',
    act: 'recovery.stop',
    roles: ['admin'],
    parameters: orders.recoveryPath,
    body: orders.stop,
    reply: 'recovery',
  },
  activateRecovery: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/activate',
    act: 'recovery.activate',
    roles: REQUESTERS,
    parameters: orders.recoveryPath,
    body: orders.nothing,
    isAlsoDoneByDaemon: true,
    reply: 'grants',
  },
  releaseKeys: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/release',
    act: 'recovery.release',
    roles: ['depositary'],
    parameters: orders.recoveryPath,
    body: orders.nothing,
    reply: 'releasedKeys',
  },
  resealKeys: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/reseal',
    act: 'recovery.reseal',
    roles: REQUESTERS,
    parameters: orders.recoveryPath,
    body: orders.nothing,
    isAlsoDoneByDaemon: true,
    reply: 'recovery',
  },
  confirmRelease: {
    method: 'POST',
    path: '/v1/recoveries/:recovery/confirmation',
    act: 'recovery.confirm',
    roles: ['depositary'],
    parameters: orders.recoveryPath,
    body: orders.confirmation,
    reply: 'recovery',
  },
  listGrants: {
    method: 'GET',
    path: '/v1/grants',
    act: 'grant.read',
    roles: EVERYONE,
    query: orders.pageQuery,
    takesCertificate: true,
    reply: 'grantPage',
  },
  getGrant: {
    method: 'GET',
    path: '/v1/grants/:grant',
    act: 'grant.read',
    roles: EVERYONE,
    parameters: orders.grantPath,
    takesCertificate: true,
    reply: 'grant',
  },
  revokeGrant: {
    method: 'POST',
    path: '/v1/grants/:grant/revoke',
    act: 'grant.revoke',
    roles: ['owner', 'admin', 'depositary'],
    parameters: orders.grantPath,
    body: orders.reason,
    reply: 'grant',
  },
  sign: {
    method: 'POST',
    path: '/v1/grants/:grant/sign',
    act: 'grant.sign',
    roles: ['app'],
    parameters: orders.grantPath,
    body: orders.signOrder,
    takesCertificate: true,
    reply: 'signatures',
  },
  decrypt: {
    method: 'POST',
    path: '/v1/grants/:grant/decrypt',
    act: 'grant.decrypt',
    roles: ['app'],
    parameters: orders.grantPath,
    body: orders.decryptOrder,
    takesCertificate: true,
    reply: 'plaintexts',
  },
  signWithKey: {
    method: 'POST',
    path: '/v1/keys/:key/sign',
    act: 'grant.sign',
    roles: ['app'],
    parameters: orders.namedKeyPath,
    body: orders.signOrder,
    takesCertificate: true,
    reply: 'signatures',
  },
  decryptWithKey: {
    method: 'POST',
    path: '/v1/keys/:key/decrypt',
    act: 'grant.decrypt',
    roles: ['app'],
    parameters: orders.namedKeyPath,
    body: orders.decryptOrder,
    takesCertificate: true,
    reply: 'plaintexts',
  },
  getCheckpoint: {
    method: 'GET',
    path: '/v1/checkpoint',
    query: orders.checkpointQuery,
    reply: 'checkpoint',
  },
  getLogCheckpoint: {
    method: 'GET',
    path: '/v1/log/checkpoint',
    reply: 'checkpoint',
  },
  getEntryBundle: {
    method: 'GET',
    path: '/v1/log/tile/entries/*tile',
    act: 'log.read',
    roles: ['auditor'],
    parameters: orders.tilePath,
    reply: 'bytes',
  },
  getTile: {
    method: 'GET',
    path: '/v1/log/tile/*tile',
    parameters: orders.tilePath,
    reply: 'bytes',
  },
  getConsistency: {
    method: 'GET',
    path: '/v1/log/consistency',
    query: orders.consistencyQuery,
    reply: 'consistency',
  },
  listHistory: {
    method: 'GET',
    path: '/v1/history',
    act: 'history.read',
    roles: ['owner'],
    query: orders.historyQuery,
    reply: 'history',
  },
  attestHistory: {
    method: 'POST',
    path: '/v1/history/statement',
    act: 'history.attest',
    roles: ['owner'],
    body: orders.historyFilter,
    reply: 'historyStatement',
  },
  listEntries: {
    method: 'GET',
    path: '/v1/log/entries',
    act: 'log.read',
    roles: ['auditor'],
    query: orders.entriesQuery,
    reply: 'entries',
  },
  listPolicies: {
    method: 'GET',
    path: '/v1/log/policies',
    act: 'log.read',
    roles: ['auditor'],
    query: orders.policiesQuery,
    reply: 'documents',
  },
  acknowledgeDuties: {
    method: 'POST',
    path: '/v1/acknowledgements',
    act: 'depositary.acknowledge',
    roles: ['depositary'],
    body: orders.acknowledgement,
    reply: 'acknowledgement',
  },
  listGivenUpNotices: {
    method: 'GET',
    path: '/v1/notifications/given-up',
    act: 'notification.read',
    roles: ['admin', 'auditor'],
    query: orders.givenUpQuery,
    reply: 'givenUpPage',
  },
  redeliverNotices: {
    method: 'POST',
    path: '/v1/notifications/redeliver',
    act: 'notification.redeliver',
    roles: ['admin'],
    body: orders.redeliveryOrder,
    reply: 'redelivery',
  },
});

function named<const T extends Readonly<Record<string, ApiRoute>>>(
  rows: T,
): { readonly [N in keyof T]: T[N] & { readonly name: N } } {
  const all = Object.entries(rows).map(([name, row]) => [name, { ...row, name }] as const);
  return Object.fromEntries(all) as { [N in keyof T]: T[N] & { readonly name: N } };
}
