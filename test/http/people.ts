import type { Policy } from '../../src/escrow/records/policy.js';
import { parsePolicy } from '../../src/http/policyDocument.js';
import type { Identity } from './identities.js';
import { newIdentity } from './identities.js';
import { rsaPair } from '../support/rsaPairs.js';

/** One of each role, and one who has none that the API knows. */
export const PEOPLE = {
  ann: { ...newIdentity('ann'), roles: ['admin'] },
  bob: { ...newIdentity('bob', 'EdDSA'), roles: ['admin'] },
  olga: { ...newIdentity('olga', 'ES384'), roles: ['owner'] },
  oscar: { ...newIdentity('oscar'), roles: ['owner'] },
  dana: { ...newIdentity('dana', 'PS256'), roles: ['depositary', 'security-officer'] },
  dave: { ...newIdentity('dave'), roles: ['depositary'] },
  mailer: { ...newIdentity('mailer'), roles: ['app'] },
  zed: { ...newIdentity('zed'), roles: ['auditor'] },
  gus: { ...newIdentity('gus'), roles: ['gardener'] },
} as const satisfies Record<string, Identity & { readonly roles: readonly string[] }>;

const delivery = rsaPair(2048);
export const DELIVERY_PEM = delivery.publicKey.export({ format: 'pem', type: 'spki' });

/** A policy document of these people, with two rules. */
export function policyDocument(): PolicyDocument {
  return {
    version: 1,
    administration: { minimumQuorum: 1 },
    principals: Object.values(PEOPLE).map(({ id, roles, jwk, alg }) => ({
      id,
      kind: id === 'mailer' ? 'app' : 'person',
      name: id.toUpperCase(),
      roles: [...roles],
      attributes: id === 'olga' ? { department: 'finance', manager: 'dave' } : {},
      keys: [{ ...jwk, alg }],
      ...(id === 'olga' ? { deliveryKey: DELIVERY_PEM } : {}),
      ...(id === 'dana' ? { depositaryKey: 'ab'.repeat(32) } : {}),
    })),
    rules: [
      {
        name: 'finance',
        when: { 'owner.department': 'finance', use: 'sign' },
        depositaries: { atLeast: 2, of: ['manager', 'person:dana'] },
        deliver: true,
        operate: { operations: ['sign'], maxUses: 100, maxDuration: 'P7D' },
        release: { delay: 'PT4H', ownerMayVeto: true },
      },
      {
        name: 'others',
        depositaries: { anyOf: ['role:security-officer', 'person:dave'] },
        requesters: ['depositary', 'admin'],
        release: {},
      },
    ],
  };
}

/** Open enough for tests to spoil it. */
export interface PolicyDocument {
  readonly version: number;
  readonly administration: Readonly<Record<string, unknown>>;
  readonly principals: Record<string, unknown>[];
  readonly rules: Record<string, unknown>[];
}

/** That policy in force. */
export function policy(version = 1): Policy {
  return parsePolicy(JSON.stringify(policyDocument()), version);
}
