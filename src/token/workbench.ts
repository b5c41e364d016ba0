import type { PKCS11 } from 'pkcs11js';
import type { Dialect } from './dialect.js';
import type { FindHandles } from './finding.js';
import type { Health } from './health.js';
import type { KekKind } from './keks.js';
import type { GenerateKeyPair } from './keyPairs.js';
import type { Mechanisms } from './mechanisms.js';
import type { TokenObjects } from './objects.js';
import type { PairMaker } from './pairMaker.js';
import type { TokenPins } from './pins.js';
import type { TokenProfile } from './profile.js';
import type { Sessions, TokenLog } from './sessions.js';
import type { ServerPairs } from './trusted.js';

/** What the verbs work with. */
export interface Workbench {
  readonly driver: PKCS11;
  /** C_GenerateKeyPair on another thread. */
  readonly generatePair: GenerateKeyPair;
  /** Makes transport pairs outside of the queue of token objects, where the token is opened with one. */
  readonly pairMaker: PairMaker | undefined;
  /** C_FindObjects on another thread. */
  readonly findHandles: FindHandles;
  readonly profile: TokenProfile;
  readonly mechanisms: Mechanisms;
  readonly dialect: Dialect;
  readonly pool: Sessions;
  readonly objects: TokenObjects;
  readonly health: Health;
  /** The label of the newest key-encryption key of each kind. */
  readonly newestKek: Readonly<Record<KekKind, string>>;
  readonly serverPairs: ServerPairs;
  /** What the record of the ceremony says, where there is one. */
  readonly pins: TokenPins | undefined;
  readonly log: TokenLog;
}
