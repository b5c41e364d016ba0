import type { Clock } from '../escrow/ports/clock.js';
import type { Policy } from '../escrow/records/policy.js';
import type { Escrow } from '../escrow/escrow.js';
import { sha256Hex } from '../escrow/records/digests.js';
import { Directory } from '../escrow/directory.js';
import { CheckedGrants } from '../escrow/rules/checkedGrant.js';
import { GrantRoom } from '../escrow/rules/grantRoom.js';
import { OpenRequests } from '../escrow/rules/openRequests.js';
import type { FollowedLog } from '../escrow/logged/logFacts.js';
import { type SavedState, type LogState } from '../escrow/logged/logState.js';
import { OwnerChains } from '../escrow/logged/ownerChains.js';
import { Ledger } from '../escrow/ledger/ledger.js';
import type { CheckpointSigner } from '../escrow/ports/signers.js';
import type { Token } from '../escrow/ports/token.js';
import { identityVerifier, statementVerifier } from '../http/caller/statements.js';
import { parsePolicy } from '../http/policyDocument.js';
import type { Metrics } from '../metrics/metrics.js';
import type { Database } from '../postgres/database.js';
import type { Follow } from '../postgres/log/followedState.js';
import { randomPool } from '../system/randomPool.js';
import type { Config } from './config.js';
import { reasonsOf } from './operatorLog.js';
import type { RepeatedLines } from './repeatedLines.js';

/** What the use cases stand on, each part started. */
export interface EscrowParts {
  /** Version 0 of the policy. */
  readonly administrators: Policy;
  readonly facts: LogState;
  readonly database: Database;
  /** The public key of the token's identity (SPKI, DER). */
  readonly identityKey: Uint8Array;
  /** The token, measured. */
  readonly token: Token;
  readonly signer: CheckpointSigner;
  readonly metrics: Pick<Metrics, 'journal' | 'acted'>;
  readonly clock: Clock;
  readonly repeated: RepeatedLines;
}

/** Composes the use cases, with the policy that is in force read and believed. Throws what reading it throws. */
export async function composeEscrow(config: Config, parts: EscrowParts): Promise<Escrow> {
  const { administrators, facts, database, identityKey, token, signer, metrics, clock, repeated } = parts;
  const followed: FollowedLog = {
    facts,
    through: (index) => database.followed.through(index),
    caughtUp: () => database.followed.caughtUp(),
  };
  const directory = new Directory(
    database.store,
    parsePolicy,
    administrators,
    { statements: statementVerifier, logKey: signer.vkey },
    config.policyFloor,
    followed,
  );
  const random = randomPool();
  const ledger = new Ledger({
    journal: metrics.journal(database.journal),
    memory: database,
    followed,
    token,
    clock,
    random,
    policy: () => directory.current(),
    acted: metrics.acted,
    notice: (message, cause) => {
      repeated.tell('warn', message, { reason: reasonsOf(cause) });
    },
    contentionTimeoutMs: config.requests.contentionMs,
    refusals: { budget: config.requests.refusals, seeOnce: (request) => database.store.seeOnce(request) },
  });
  await directory.current();
  const { store, log: reader } = database;
  const identity = identityVerifier(identityKey);
  return {
    ledger,
    directory,
    store,
    log: reader,
    followed,
    grants: new CheckedGrants({ origin: config.origin, logKey: signer.vkey }, identity),
    owners: new OwnerChains(reader),
    openRequests: new OpenRequests(config.requests.openRecoveries),
    grantRoom: new GrantRoom(config.token.maxGrants),
    drillEveryMs: config.drills.everyDays * 24 * 60 * 60 * 1000,
    token,
    statements: statementVerifier,
    identity,
    clock,
    random,
    origin: config.origin,
    logKey: signer.vkey,
    tokenId: sha256Hex(identityKey),
  };
}

/** The state of the log, kept for the next start of the same release. */
export function followWith(facts: LogState, release: string): Follow {
  return {
    take: (index, entry) => {
      facts.take(index, entry);
    },
    state: {
      release,
      save: () => facts.save(),
      // the identity key has signed it for this release: it is what `save` gave
      restore: (saved) => {
        facts.restore(saved as SavedState);
      },
    },
  };
}
