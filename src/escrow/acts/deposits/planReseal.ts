import { type Json, canonicalJson } from '../../../log/entry/canonical.js';
import { maximumEntryBytes } from '../../../log/entry/entry.js';
import type { Call, Escrow } from '../../escrow.js';
import type { AsOf } from '../../logged/logFacts.js';
import { type Deposit, generationOf } from '../../records/deposit.js';
import { descriptionsAsJson } from '../../records/digests.js';
import { MAX_CHAINED } from '../../records/drills/drilling.js';
import { EscrowError } from '../../records/errors.js';
import type { JobId, PrincipalId } from '../../records/ids.js';
import type { Policy } from '../../records/policy.js';
import type { Asked, Recovery } from '../../records/recovery.js';
import {
  type ResealPlan,
  type ResealedKey,
  resealPlanAsJson,
  resealedAsJson,
} from '../../records/sealing/resealing.js';
import type { EnrolledDepositary } from '../../ports/token.js';
import { choose, getOwner } from '../../rules/rules.js';
import { planRotations, plannedKek } from '../../rules/kekRotation.js';
import { checkEach } from '../../rules/requestTerms.js';
import { recipientsOf } from './planDeposit.js';

/** That the deposits of keys are to be replaced by ones to the people that the rules give now. */
export interface ResealOrder {
  readonly purpose: 'reseal';
  /** Which requests belong together. */
  readonly job: JobId;
  /** Who must not be among these people. */
  readonly leaving: PrincipalId | undefined;
}

type AskedReseal = Extract<Asked, { readonly purpose: 'reseal' }>;

/** An entry has room for other facts beside what it says of the keys: the signed request and the longest reason above all. */
const FACTS_BYTES = 6144;
/** What the subject of an entry takes for a key. */
const NAMED_KEY_BYTES = 40;
const HASH = '0'.repeat(64);
const CHAIN_END = '0'.repeat(43);

/**
 * Decides to whom these keys, all of one owner, are sealed anew: those whom the first rule that is for each of them gives now. And
 * under which key-encryption keys they lie then: the newest of their kind, where they can be put under these.
 *
 * @throws EscrowError `owner-unknown`, `rule-missing`, `depositary-unknown`, `depositary-retired`, `depositary-not-enrolled`,
 *   `quorum-impossible`, `quorum-too-large`, `reseal-open`, `token-unavailable`; `scope-not-allowed` when other rules are for some of the keys, or who
 *   leaves would be among these people; `request-malformed` when these are too many keys for one entry of the log
 */
export async function planReseal(
  escrow: Escrow,
  { policy }: Pick<Call, 'policy'>,
  deposits: readonly Deposit[],
  { job, leaving }: ResealOrder,
  open: readonly Recovery[],
): Promise<AskedReseal> {
  checkEach(deposits, ({ key }) => {
    const other = open.find(({ asked, keys }) => isPlannedBy(policy, asked) && keys.includes(key));
    if (other === undefined) return;
    throw new EscrowError('reseal-open', `A request to seal ${key} anew is open already: ${other.id}.`);
  });
  const { rule, quorums } = choiceFor(policy, deposits);
  const recipients = (await recipientsOf(escrow, policy, quorums)).map(({ id, fingerprint }) => ({
    depositary: id,
    fingerprint,
  }));
  if (leaving !== undefined && recipients.some(({ depositary }) => depositary === leaving)) {
    throw new EscrowError(
      'scope-not-allowed',
      `The rule ${rule} still has ${leaving} decide about these keys: retire them in the policy first.`,
    );
  }
  const plan: ResealPlan = {
    rule,
    quorums,
    recipients,
    from: Object.fromEntries(deposits.map((deposit) => [deposit.key, generationOf(deposit)])),
    ...planRotations(deposits, await escrow.token.keks()),
  };
  requireRoom(deposits, plan);
  return { purpose: 'reseal', job, policy: { version: policy.version, hash: policy.hash }, plan };
}

/** Whether this is asked by the policy in force: of what was planned by another nothing comes any more, and it is in nobody's way. */
function isPlannedBy({ version, hash }: Policy, asked: Asked): boolean {
  return asked.purpose === 'reseal' && asked.policy.version === version && asked.policy.hash === hash;
}

/**
 * The people of a plan, as they are enrolled now.
 *
 * @throws EscrowError `policy-changed` when another policy is in force, or somebody has another key than the plan says
 */
export async function requirePlanned(
  escrow: Pick<Escrow, 'token'>,
  policy: Policy,
  asked: AskedReseal,
): Promise<readonly EnrolledDepositary[]> {
  const { plan } = asked;
  if (!isPlannedBy(policy, asked)) throw new EscrowError('policy-changed');
  const enrolled = await recipientsOf(escrow, policy, plan.quorums);
  const isSame = enrolled.every(
    ({ id, fingerprint }, at) =>
      plan.recipients[at]?.depositary === id && plan.recipients[at].fingerprint === fingerprint,
  );
  if (isSame && enrolled.length === plan.recipients.length) return enrolled;
  throw new EscrowError(
    'policy-changed',
    'Somebody has another key by now than the one that was planned with. File the request again.',
  );
}

/**
 * When the attempt to file a request stands in the log, its keys are deposited as it was planned with, and none of them is being sealed
 * anew.
 * @throws EscrowError `busy`
 */
export function requireDeposited(
  { followed }: Pick<Escrow, 'followed'>,
  { plan }: AskedReseal,
  asOf: AsOf,
): void {
  // a generation never gets lower: what it is by now it was then
  const isAsPlanned = Object.entries(plan.from).every(
    ([key, generation]) => followed.facts.deposit(key)?.generation === generation,
  );
  if (asOf.isResealUnderWay || !isAsPlanned) throw resealUnderWay();
}

/**
 * Keys are sealed anew by the policy that was planned with: not while another is being put in force, nor while one of them is by another
 * request.
 * @throws EscrowError `busy`
 */
export function unlessPolicyOrKeysChange({ isPolicyUnderWay, isResealUnderWay }: AsOf): void {
  if (isPolicyUnderWay) throw new EscrowError('busy', 'A policy is being put in force; try again.');
  if (isResealUnderWay) throw resealUnderWay();
}

/** @throws EscrowError `busy` */
export function unlessKeysAreResealed({ isResealUnderWay }: AsOf): void {
  if (isResealUnderWay) throw resealUnderWay();
}

function resealUnderWay(): EscrowError {
  return new EscrowError('busy', 'Keys are being sealed anew; try again.');
}

function choiceFor(policy: Policy, deposits: readonly Deposit[]): Pick<ResealPlan, 'rule' | 'quorums'> {
  // one for each kind of key: the quorums of a rule take long to make
  const made = new Map<string, Pick<ResealPlan, 'rule' | 'quorums'>>();
  const choices = deposits.map(({ key, owner, spec, use }) => {
    const kind = `${spec} ${use}`;
    const choice = made.get(kind) ?? choiceOf(policy, { owner, spec, use });
    made.set(kind, choice);
    return { key, ...choice };
  });
  const [first] = choices;
  if (first === undefined) throw new EscrowError('internal'); // a request has at least one key
  const other = choices.find(({ rule }) => rule !== first.rule);
  if (other === undefined) return { rule: first.rule, quorums: first.quorums };
  throw new EscrowError(
    'scope-not-allowed',
    `The rule ${first.rule} is for ${first.key}, and ${other.rule} for ${other.key}: ask apart.`,
  );
}

function choiceOf(
  policy: Policy,
  { owner, spec, use }: Pick<Deposit, 'owner' | 'spec' | 'use'>,
): Pick<ResealPlan, 'rule' | 'quorums'> {
  const { rule, quorums } = choose(policy, getOwner(policy, owner), spec, use);
  return { rule: rule.name, quorums };
}

/** What is recorded of the keys must fit into one entry, when they are asked for and when they are sealed anew. */
function requireRoom(deposits: readonly Deposit[], plan: ResealPlan): void {
  const ofAll = (value: string): Readonly<Record<string, string>> =>
    Object.fromEntries(plan.recipients.map(({ depositary }) => [depositary, value]));
  const byPurpose = (purposes: Deposit['purposes'], value: string): ResealedKey['shares'] =>
    Object.fromEntries(purposes.map(({ purpose }) => [purpose, ofAll(value)]));
  const keys = deposits.map(({ key, purposes, ...kind }): [string, ResealedKey] => [
    key,
    {
      generation: Number.MAX_SAFE_INTEGER,
      previous: Number.MAX_SAFE_INTEGER,
      digest: HASH,
      shares: byPurpose(purposes, HASH),
      ...(plan.recipients.length > MAX_CHAINED ? {} : { drills: byPurpose(purposes, CHAIN_END) }),
      ...(plan.rotations === undefined
        ? {}
        : {
            keks: Object.fromEntries(
              purposes.map(({ purpose, kek }) => [purpose, plannedKek(plan, kek, { ...kind, purpose })]),
            ),
          }),
    },
  ]);
  const asked = { plan: resealPlanAsJson(plan), descriptions: descriptionsAsJson(deposits) };
  const takes =
    Math.max(...[asked, resealedAsJson(new Map(keys))].map(bytesOf)) + deposits.length * NAMED_KEY_BYTES;
  const room = maximumEntryBytes - FACTS_BYTES;
  if (takes <= room) return;
  if (deposits.length === 1) {
    throw new EscrowError(
      'quorum-too-large',
      `The rule ${plan.rule} names so many people that one entry of the log has no room for them and their keys.`,
    );
  }
  const most = Math.max(1, Math.floor((deposits.length * room) / takes));
  throw new EscrowError(
    'request-malformed',
    `The log has room for ${most} of these keys in one entry: ask for fewer at once.`,
  );
}

function bytesOf(value: Json): number {
  return Buffer.byteLength(canonicalJson(value));
}
