import type { TokenVerbs } from '../ports/token.js';
import { TAKING_AWAY as NAMES } from '../records/takingAway.js';

/** What shows that a key comes back, before its record says that it is deposited. */
const PROVING = ['proveWrapped', 'proveSealed', 'unwrapLayer', 'openUnder'] as const;

/**
 * The table of means: every act that escrowd knows, and the token verbs it is lent. A use case holds no verb
 * itself, so an act that is not logged cannot be written. Acts without verbs change records only, and are done while the
 * token is out: whatever ends a request or a grant must not wait for it. The `.read` acts appear in the log only when they
 * are refused.
 */
export const MEANS = {
  'policy.apply': [],
  'key.generate': [
    'generateUserKey',
    'wrapUnderKek',
    'generateShareKey',
    'generateLayerKey',
    'wrapToDepositary',
    'wrapToServerFor',
    'sealUnder',
    ...PROVING,
    'generateTransferKey',
    'wrapToOwner',
    'wrapUnderTransfer',
  ],
  'import.prepare': ['createImportPair', 'destroyImportPair', 'attest'],
  'import.expire': [],
  'key.import': [
    'unwrapImported',
    'unwrapSecret',
    'wrapUnderKek',
    'generateShareKey',
    'generateLayerKey',
    'wrapToDepositary',
    'wrapToServerFor',
    'sealUnder',
    ...PROVING,
    'generateTransferKey',
    'wrapToOwner',
    'wrapUnderTransfer',
  ],
  'key.drill': ['proveServerFor'],
  'recovery.request': ['createTransport', 'destroyTransport', 'attest'],
  'recovery.intend': [],
  'recovery.approve': ['unwrapReply', 'openUnder'],
  'recovery.deny': [],
  'recovery.veto': [],
  'recovery.cancel': [],
  'recovery.stop': [],
  'recovery.expire': [],
  'recovery.supersede': [],
  'recovery.remind': [],
  'recovery.confirm': [],
  'recovery.forget': [],
  'recovery.activate': ['unwrapReply', 'openUnder', 'unwrapLayer', 'raiseGrant', 'destroyGrant', 'attest'],
  'recovery.release': [
    'unwrapReply',
    'openUnder',
    'unwrapLayer',
    'unwrapForRelease',
    'generateTransferKey',
    'wrapToDepositary',
    'wrapUnderTransfer',
  ],
  'recovery.reseal': [
    'unwrapReply',
    'openUnder',
    'unwrapLayer',
    'rewrap',
    'generateShareKey',
    'generateLayerKey',
    'wrapToDepositary',
    'wrapToServerFor',
    'sealUnder',
    'proveSealed',
    'proveWrapped',
  ],
  'grant.sign': ['sign'],
  'grant.decrypt': ['decrypt'],
  'grant.certify': ['attest'],
  'grant.revoke': [],
  'grant.expire': [],
  'grant.exhaust': [],
  'log.loss': [],
  'notification.redeliver': [],
  'depositary.acknowledge': [],
  'token.tidy': ['destroyTransport', 'destroyGrant', 'destroyImportPair'],
  'history.attest': ['attest'],
  'policy.read': [],
  'key.read': [],
  'recovery.read': [],
  'grant.read': [],
  'history.read': [],
  'log.read': [],
  'notification.read': [],
} as const satisfies Record<string, readonly (keyof TokenVerbs)[]>;

/** Acts that only take something away. */
export const TAKING_AWAY: ReadonlySet<Act> = new Set<Act>(NAMES);

/** The name of an act. */
export type Act = keyof typeof MEANS;
/** The verbs that an act is lent. */
export type LentFor<A extends Act> = Pick<TokenVerbs, (typeof MEANS)[A][number]>;
