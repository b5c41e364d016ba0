import { canonicalJson } from '../../log/entry/canonical.js';
import { type AskedKey, brakesOfAll, mayDecide } from '../rules/requestTerms.js';
import { getAskedKeys } from '../lookUp.js';
import { attestationPayload } from '../rules/attestation.js';
import type { Escrow } from '../escrow.js';
import { repliesDigest, requestHash, sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { PrincipalId } from '../records/ids.js';
import { NotHeld } from '../ports/journal.js';
import type { AsOf, RequestFacts } from '../logged/logFacts.js';
import type { Policy } from '../records/policy.js';
import { type TimedIntent, completion, repliesFromMs } from '../rules/quorumProgress.js';
import { type Approval, type Intent, type Recovery, approvalsAt, intentsAt } from '../records/recovery.js';
import { checkStatement } from '../rules/statement.js';
import { ATTESTATION_TYPE } from '../records/statementTypes.js';

declare const checked: unique symbol;

/**
 * A request whose record says what was attested when it was filed, with the approvals that count. The database is storage,
 * not a witness: an act that gives something away takes one of these, never a record.
 */
export interface CheckedRequest {
  readonly [checked]: true;
  readonly recovery: Recovery;
  readonly keys: readonly AskedKey[];
  /** Those of its intents that count now. */
  readonly intents: readonly Intent[];
  /** Those of its approvals that count now. */
  readonly approvals: readonly Approval[];
  /** Whose approvals count no more, though they have not expired: the directory does not list the key that signed. */
  readonly lapsed: readonly PrincipalId[];
  /** By whose keys the approvals were checked. */
  readonly policy: Policy;
  /** What the log says of it. */
  readonly facts: RequestFacts;
}

/**
 * Checks a request as it was read: its hash is of what the record says, the identity key has attested exactly that, its keys
 * are of its owner and as they were deposited. An approval counts when a key that the directory lists now for this depositary
 * signed it about exactly this request and these replies, it has not expired, and the rules let them decide; where replies are
 * taken after the delay, only when that is over by the intents that the log has. An intent counts likewise. `known` are keys that
 * were read before, and the policy that the act claims.
 *
 * @throws EscrowError `record-mismatch`, `key-unknown`, `purpose-not-allowed`, `recovery-superseded`
 */
export async function checkRequest(
  escrow: Escrow,
  recovery: Recovery,
  known: { readonly keys?: readonly AskedKey[]; readonly policy?: Policy | undefined } = {},
): Promise<CheckedRequest> {
  const keys = known.keys ?? (await getAskedKeys(escrow, recovery));
  const facts = await checkRecord(escrow, recovery, keys);
  if (facts.isSuperseded) throw new EscrowError('recovery-superseded');
  const policy = known.policy ?? (await escrow.directory.current());
  const now = escrow.clock.now();
  const approvals: Approval[] = [];
  const lapsed: PrincipalId[] = [];
  for (const approval of approvalsAt(recovery, now)) {
    const verdict = await verdictOn(escrow, policy, { recovery, keys, facts }, approval);
    if (verdict === 'counts') approvals.push(approval);
    if (verdict === 'lapsed') lapsed.push(approval.depositary);
  }
  const intents: Intent[] = [];
  for (const intent of intentsAt(recovery, now)) {
    const { depositary, statement } = intent;
    if (facts.intents.get(depositary)?.statement !== sha256Hex(statement)) continue;
    const verdict = await verdictOnStatement(escrow, policy, { recovery, keys }, intent, 'intend');
    if (verdict === 'counts') intents.push(intent);
  }
  return { recovery, keys, intents, approvals, lapsed, policy, facts } as unknown as CheckedRequest;
}

/**
 * Where an open request stands by the approvals that count: one whose quorums are complete no more, since somebody who had
 * approved has left or has another key, is pending again.
 */
export function countedStatus(
  status: 'pending' | 'approved',
  keys: readonly AskedKey[],
  approvals: readonly Approval[],
): 'pending' | 'approved' {
  return status === 'approved' && completion(keys, approvals) === undefined ? 'pending' : status;
}

/**
 * When the replies of this depositary are taken, of a request that takes them after the delay: by the intents that count, as the
 * log has recorded them. Undefined as long as no quorum of them is complete that the depositary is in.
 */
export function repliesFrom(
  { keys, intents, facts }: Pick<CheckedRequest, 'keys' | 'intents' | 'facts'>,
  depositary?: PrincipalId,
): Date | undefined {
  const timed = intents.map((intent) => ({
    depositary: intent.depositary,
    atMs: facts.intents.get(intent.depositary)?.atMs ?? Infinity,
  }));
  const fromMs = repliesFromMs(keys, timed, depositary);
  return fromMs === undefined ? undefined : new Date(fromMs);
}

/** So many names fit into what a problem says. */
const MAX_NAMED = 8;

/** Why quorums are incomplete, where somebody has approved whose approval counts no more. */
export function quorumIncomplete({ lapsed }: Pick<CheckedRequest, 'lapsed'>): EscrowError {
  if (lapsed.length === 0) return new EscrowError('quorum-incomplete');
  const more = lapsed.length > MAX_NAMED ? ` and ${lapsed.length - MAX_NAMED} more` : '';
  return new EscrowError(
    'quorum-incomplete',
    `Not enough depositaries have approved: the directory no longer lists the key that signed for ${lapsed.slice(0, MAX_NAMED).join(', ')}${more}.`,
  );
}

/**
 * Checks that a record says what was hashed, attested and logged when its request was filed, that it is of the owner of its
 * keys, and that it has not ended by the log, nor been denied by anybody whom the record leaves out. What holds now holds in the
 * act when the log says the same then: see {@link whileLogged}.
 *
 * @throws EscrowError `record-mismatch`
 */
export async function checkRecord(
  escrow: Escrow,
  recovery: Recovery,
  keys: readonly AskedKey[],
): Promise<RequestFacts> {
  const deposits = keys.map(({ deposit }) => deposit);
  if (requestHash({ ...recovery, recovery: recovery.id, keys: deposits }) !== recovery.requestHash) {
    throw new EscrowError('record-mismatch', 'The hash of the request is not that of its record.');
  }
  if (deposits.some(({ owner }) => owner !== recovery.owner)) {
    throw new EscrowError('record-mismatch', 'A key of the request is not of its owner.');
  }
  const attested = await escrow.identity.verify(recovery.attestation, ATTESTATION_TYPE);
  const transport = sha256Hex(recovery.transportKey);
  const expected = attestationPayload(escrow.origin, recovery, deposits, transport);
  if (attested === undefined || !isSame(attested, expected)) {
    throw new EscrowError('record-mismatch', 'The token has not attested what the record says.');
  }
  return getFacts(escrow, recovery);
}

/** What must still hold when the attempt stands in the log: about the request, the log says what it said before. */
export function whileLogged(facts: RequestFacts): (asOf: AsOf) => void {
  return (asOf) => {
    if (asOf.request !== facts) throw new EscrowError('record-mismatch', 'The log says more of the request.');
  };
}

/** What the log says of this request; NotHeld when the record is older, so that it is read anew. */
async function getFacts({ followed, store }: Escrow, recovery: Recovery): Promise<RequestFacts> {
  await followed.caughtUp();
  const facts = followed.facts.request(recovery.id);
  const denied = new Set<string>(recovery.denials.map(({ depositary }) => depositary));
  const isLogged =
    facts?.requestHash === recovery.requestHash &&
    facts.attestation === sha256Hex(recovery.attestation) &&
    facts.owner === recovery.owner &&
    facts.keys.join(' ') === recovery.keys.join(' ') &&
    [...facts.denials].every((depositary) => denied.has(depositary));
  if (isLogged) return facts;
  const now = await store.findRecovery(recovery.id);
  if (now?.revision !== recovery.revision) throw new NotHeld('alone-on-recovery');
  throw new EscrowError('record-mismatch', 'The log says something else of the request.');
}

type Verdict = 'counts' | 'lapsed' | 'void';

async function verdictOn(
  escrow: Escrow,
  policy: Policy,
  { recovery, keys, facts }: Pick<CheckedRequest, 'recovery' | 'keys' | 'facts'>,
  approval: Approval,
): Promise<Verdict> {
  const { depositary: id, statement, replies } = approval;
  const fact = facts.approvals.get(id);
  if (fact?.statement !== sha256Hex(statement) || fact.replies !== repliesDigest(replies)) return 'void';
  if (brakesOfAll(keys).replies === 'afterDelay') {
    const fromMs = repliesFromMs(keys, intentsIn(facts), id);
    if (fromMs === undefined || escrow.clock.now().getTime() < fromMs) return 'void';
  }
  return verdictOnStatement(escrow, policy, { recovery, keys }, approval, { approve: replies });
}

/** The intents that the log has, whoever denied since. */
function intentsIn({ intents, denials }: RequestFacts): readonly TimedIntent[] {
  return [...intents].flatMap(([depositary, { atMs }]) =>
    denials.has(depositary) ? [] : [{ depositary: depositary as PrincipalId, atMs }],
  );
}

async function verdictOnStatement(
  escrow: Escrow,
  policy: Policy,
  { recovery, keys }: Pick<CheckedRequest, 'recovery' | 'keys'>,
  { depositary: id, statement, expiresAt }: Intent | Approval,
  decision: Parameters<typeof checkStatement>[4],
): Promise<Verdict> {
  if (id === recovery.owner || !mayDecide(recovery, keys, id)) return 'void';
  const depositary = policy.principals.get(id);
  if (depositary === undefined) return 'lapsed';
  try {
    const said = await checkStatement(escrow, depositary, recovery, statement, decision);
    return said.expiresAt.getTime() === expiresAt.getTime() ? 'counts' : 'void';
  } catch (error) {
    if (!(error instanceof EscrowError)) throw error;
    return error.code === 'approval-signature-invalid' ? 'lapsed' : 'void';
  }
}

function isSame(found: unknown, expected: unknown): boolean {
  try {
    return canonicalJson(found) === canonicalJson(expected);
  } catch {
    return false; // not even canonical JSON: certainly not what was expected
  }
}
