import type { Directory } from './directory.js';
import type { IdempotencyKey } from './records/creation.js';
import type { RandomBytes } from './records/ids.js';
import type { CheckedGrants } from './rules/checkedGrant.js';
import type { KnownCaller } from './ledger/knownCaller.js';
import type { Ledger } from './ledger/ledger.js';
import type { FollowedLog } from './logged/logFacts.js';
import type { GrantRoom } from './rules/grantRoom.js';
import type { OpenRequests } from './rules/openRequests.js';
import type { OwnerChains } from './logged/ownerChains.js';
import type { Actor, SignedRequest } from './ledger/act.js';
import type { Token } from './ports/token.js';
import type { IdentityVerifier } from './ports/signers.js';
import type { StatementVerifier } from './ports/statements.js';
import type { Clock } from './ports/clock.js';
import type { LogReader } from './ports/log.js';
import type { Store } from './ports/store.js';
import type { Policy } from './records/policy.js';
import type { Principal } from './records/principals.js';

/** What the use cases stand on. The token is here for what it can tell; what it can do is lent by the ledger. */
export interface Escrow {
  readonly ledger: Ledger;
  readonly directory: Directory;
  readonly store: Store;
  readonly log: LogReader;
  /** What the log's entries say, as it was followed. */
  readonly followed: FollowedLog;
  readonly grants: CheckedGrants;
  readonly owners: OwnerChains;
  readonly openRequests: OpenRequests;
  readonly grantRoom: GrantRoom;
  /** How long a share counts as drilled. */
  readonly drillEveryMs: number;
  readonly token: Pick<Token, 'abilities' | 'enrolled' | 'keks' | 'standing' | 'openings'>;
  readonly statements: StatementVerifier;
  readonly identity: IdentityVerifier;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** The log's origin: the issuer of attestations. */
  readonly origin: string;
  /** The log's C2SP verifier key: the audience of requests, statements and certificates. */
  readonly logKey: string;
  /** SHA-256 (hex) of the DER SubjectPublicKeyInfo of the token's identity key: which token a deposit is bound to. */
  readonly tokenId: string;
}

export interface Call {
  /** As the policy lists them that their act claims: asked anew, this may be another than before. */
  readonly caller: Principal;
  readonly known: KnownCaller;
  /** By which they were known, and which their act claims: it is decided by this one. */
  readonly policy: Policy;
  readonly request: SignedRequest;
  /** The caller's name for what is to be made, where the request has one. */
  readonly idempotency?: IdempotencyKey;
}

/**
 * A call without a signature, of an app that has proven in TLS that it has the key of a certificate which the policy
 * binds to it. Enough to sign and decrypt under grants, and to read of these; no other use case takes one.
 */
export interface CertifiedCall {
  readonly caller: Principal;
  readonly known: KnownCaller;
  /** See {@link Call.policy}. */
  readonly policy: Policy;
  readonly request: undefined;
  /** `x5t#S256` (RFC 8705 section 3.1). */
  readonly certificate: string;
}

/** A call of an app, either way. */
export type OperateCall = Call | CertifiedCall;

/** A call of somebody known; `caller` and `policy` follow `known`. */
export function callOf<Rest extends object>(
  known: KnownCaller,
  rest: Rest,
): Rest & Pick<Call, 'caller' | 'known' | 'policy'> {
  return {
    ...rest,
    known,
    get caller() {
      return known.principal;
    },
    get policy() {
      return known.policy;
    },
  };
}

/** The caller as the ledger wants it. */
export function actorOf(call: OperateCall): Actor {
  const { caller, known, request } = call;
  return request === undefined
    ? { id: caller.id, known, request, certificate: call.certificate }
    : { id: caller.id, known, request };
}
