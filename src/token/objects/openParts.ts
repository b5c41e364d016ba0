import type { PKCS11 } from 'pkcs11js';
import type { Dialect } from '../profile/dialect.js';
import type { FindHandles } from '../cryptoki/finding.js';
import type { Health } from './health.js';
import type { KekKind } from '../../escrow/records/sealing/keks.js';
import type { GenerateKeyPair } from '../cryptoki/keyPairs.js';
import type { Mechanisms } from '../profile/mechanisms.js';
import type { TokenObjects } from './objects.js';
import type { PairMaker } from './pairMaker.js';
import type { TokenPins } from './ceremonyPins.js';
import type { TokenProfile } from '../profile/profile.js';
import type { SigningThreads } from '../cryptoki/signingThreads.js';
import type { Sessions, TokenLog } from '../cryptoki/sessions.js';
import type { EnrolledDepositary, HeldKek } from '../../escrow/ports/token.js';
import type { PrincipalId } from '../../escrow/records/ids.js';
import type { ServerForVersion } from '../../escrow/records/deposit.js';

/** One open token, as all its loans share it. */
export interface OpenParts {
  readonly driver: PKCS11;
  /** C_GenerateKeyPair on another thread. */
  readonly generatePair: GenerateKeyPair;
  /** Makes transport pairs outside of the queue of token objects, where the token is opened with one. */
  readonly pairMaker: PairMaker | undefined;
  /** C_FindObjects on another thread. */
  readonly findHandles: FindHandles;
  /** Signs many at once beside this thread, where the token is opened with such. */
  readonly signingThreads: SigningThreads | undefined;
  readonly profile: TokenProfile;
  readonly mechanisms: Mechanisms;
  readonly dialect: Dialect;
  readonly pool: Sessions;
  readonly objects: TokenObjects;
  readonly health: Health;
  /** The label of the newest key-encryption key of each kind. */
  readonly newestKek: Readonly<Record<KekKind, string>>;
  readonly heldKeks: KnownKeks;
  readonly serverPairs: NewestPairs;
  /** What the record of the ceremony says, where there is one. */
  readonly pins: TokenPins | undefined;
  readonly log: TokenLog;
}

/** What a look at the depositaries of a token found, in bytes that differ when anything differs, and who is enrolled by that. */
export interface LookAtDepositaries {
  readonly found: Buffer;
  /** When, by the clock of `performance`. */
  readonly atMs: number;
  readonly enrolled: readonly EnrolledDepositary[];
}

/** The key-encryption keys that the token holds, as they were last looked for. */
export interface KnownKeks {
  /** Throws EscrowError `token-unavailable` when the token does not work. */
  list(parts: OpenParts): Promise<readonly HeldKek[]>;
  /** One of them was not found: the next who asks looks again. */
  forget(): void;
}

/** The newest of the server's pairs regarding each depositary, as the last look at the token found it. */
export interface NewestPairs {
  /** The last look that found all as it should be, for the next one; undefined when that is to read everything. */
  last: LookAtDepositaries | undefined;
  /** Looks at the token when it is not known. Throws `depositary-not-enrolled` when there is none. */
  newest(parts: OpenParts, id: PrincipalId): Promise<ServerForVersion>;
  remember(id: PrincipalId, version: ServerForVersion): void;
  forget(id: PrincipalId): void;
}
