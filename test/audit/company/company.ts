import type { Policy } from '../../../src/escrow/records/policy.js';
import type { Chance } from '../../support/chance.js';
import type { Agenda } from './agenda.js';
import type { SignedLog } from './signedLog.js';

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** The people and things of the year, as far as they have come. */
export interface Company {
  readonly log: SignedLog;
  readonly agenda: Agenda;
  readonly chance: Chance;
  readonly keys: Key[];
  /** The one in force. */
  readonly policy: () => Policy;
  readonly newId: (kind: 'key' | 'rec' | 'grant') => string;
}

/** A key that was made. */
export interface Key {
  readonly key: string;
  readonly owner: string;
  readonly label: string;
  readonly spec: 'ec-p256' | 'rsa-3072';
  readonly use: 'sign' | 'decrypt';
  readonly quorums: readonly (readonly string[])[];
}

/** A request that was filed. */
export interface Asked {
  readonly recovery: string;
  readonly requestHash: string;
  readonly subject: { readonly recovery: string; readonly owner: string; readonly keys: readonly string[] };
  readonly requester: string;
  readonly key: Key;
  readonly quorum: readonly string[];
  /** The same people, as they decide one after the other: who asks is the first. */
  readonly order: readonly string[];
  readonly scope: {
    readonly app?: string;
    readonly maxUses?: number;
    readonly recipient?: string;
  };
}
