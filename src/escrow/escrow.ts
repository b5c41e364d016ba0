import type { Directory } from './directory.js';
import { EscrowError } from './records/errors.js';
import type { IdempotencyKey } from './records/creation.js';
import type { GrantId, KeyId, RandomBytes, RecoveryId } from './records/ids.js';
import type { Deposit } from './records/deposit.js';
import { checkDeposit } from './checks/checkedDeposit.js';
import type { Grant } from './records/grant.js';
import type { GrantCertificates } from './rules/grantCertificate.js';
import type { KnownCaller } from './ledger/knownCaller.js';
import type { Ledger } from './ledger/ledger.js';
import type { FollowedLog } from './logged/logFacts.js';
import type { OpenRequests } from './rules/openRequests.js';
import type { OwnerChains } from './logged/ownerChains.js';
import type { Actor, SignedRequest } from './ledger/act.js';
import type { Clock, IdentityVerifier, LogReader, StatementVerifier, Store, Token } from './ports/token.js';
import type { Principal } from './records/principals.js';
import type { Recovery } from './records/recovery.js';

/** What the use cases stand on. The token is here for what it can tell; what it can do is lent by the ledger. */
export interface Escrow {
  readonly ledger: Ledger;
  readonly directory: Directory;
  readonly store: Store;
  readonly log: LogReader;
  /** What the log's entries say, as it was followed. */
  readonly followed: FollowedLog;
  readonly certificates: GrantCertificates;
  readonly owners: OwnerChains;
  readonly openRequests: OpenRequests;
  readonly token: Pick<Token, 'abilities' | 'enrolled' | 'standing'>;
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

/** An authenticated call. */
export interface Call {
  /** As the policy lists them that their act claims: asked anew, this may be another than before. */
  readonly caller: Principal;
  readonly known: KnownCaller;
  readonly request: SignedRequest;
  /** The caller's name for what is to be made, where the request has one. */
  readonly idempotency?: IdempotencyKey;
}

/**
 * A call without a signature, of an app that has proven in TLS that it has the key of a certificate which the policy
 * binds to it. Enough to sign and decrypt under grants; no other use case takes one.
 */
export interface CertifiedCall {
  readonly caller: Principal;
  readonly known: KnownCaller;
  readonly request: undefined;
  /** `x5t#S256` (RFC 8705 section 3.1). */
  readonly certificate: string;
}

/** A call to use a grant, either way. */
export type OperateCall = Call | CertifiedCall;

/** A call of somebody known; `caller` follows `known`. */
export function callOf<Rest extends object>(
  known: KnownCaller,
  rest: Rest,
): Rest & Pick<Call, 'caller' | 'known'> {
  return {
    ...rest,
    known,
    get caller() {
      return known.principal;
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

/** The deposit, or EscrowError `key-unknown`, `record-mismatch`. */
export async function getDeposit(escrow: Escrow, id: KeyId): Promise<Deposit> {
  const deposit = await escrow.store.findDeposit(id);
  if (deposit === undefined) throw new EscrowError('key-unknown');
  await checkDeposit(escrow, deposit);
  return deposit;
}

/** The recovery, or EscrowError `recovery-unknown`, `record-mismatch`. */
export async function getRecovery(escrow: Escrow, id: RecoveryId): Promise<Recovery> {
  const recovery = await escrow.store.findRecovery(id);
  if (recovery === undefined) throw new EscrowError('recovery-unknown');
  if (recovery.id !== id) throw new EscrowError('record-mismatch', 'The record is of another request.');
  return recovery;
}

/** The grant, or EscrowError `grant-unknown`. */
export async function getGrant(escrow: Escrow, id: GrantId): Promise<Grant> {
  const grant = await escrow.store.findGrant(id);
  if (grant === undefined) throw new EscrowError('grant-unknown');
  return grant;
}
