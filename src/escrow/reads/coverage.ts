import type { Call, Escrow } from '../escrow.js';
import { isAsDeposited } from '../lookUp.js';
import type { Page, PageRequest } from '../ports/store.js';
import type { Deposit } from '../records/deposit.js';
import { type DepositGroup, type DepositedQuorums, depositedQuorums } from '../records/depositedQuorums.js';
import { EscrowError } from '../records/errors.js';
import type { PrincipalId } from '../records/ids.js';
import type { Policy } from '../records/policy.js';
import type { Quorum } from '../records/quorum.js';
import type { EnrolledKeys } from '../rules/explain.js';
import { type KekState, isMissing, kekStateOf } from '../rules/kekRotation.js';
import type { InToken } from '../rules/losses.js';
import { seesAll } from '../records/principals.js';
import { type Coverage, type LiveQuorums, coverageOf, liveQuorums, worstOf } from '../rules/liveQuorums.js';

/** By what it is told who can agree: the policy in force, and the token where it answers. */
export interface Standing extends InToken {
  readonly policy: Policy;
}

/** Who is listed and enrolled now, and which key-encryption keys there are. */
export async function standingNow(escrow: Pick<Escrow, 'directory' | 'token'>): Promise<Standing> {
  return { policy: await escrow.directory.current(), ...(await inTokenNow(escrow)) };
}

/** What of it the token has; of both nothing while it is out. */
export async function inTokenNow(escrow: Pick<Escrow, 'token'>): Promise<InToken> {
  const enrolled = await enrolledKeys(escrow);
  const keks = enrolled && (await unlessOut(() => escrow.token.keks()));
  return { enrolled: keks && enrolled, keks };
}

/** Fingerprints of the keys that the token has enrolled, by depositary; undefined while the token is out. */
export async function enrolledKeys({ token }: Pick<Escrow, 'token'>): Promise<EnrolledKeys> {
  const enrolled = await unlessOut(() => token.enrolled());
  return enrolled && new Map(enrolled.map(({ id, fingerprint }) => [id, fingerprint]));
}

async function unlessOut<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof EscrowError && error.code === 'token-unavailable') return undefined;
    throw error;
  }
}

/** Who can bring a key back for one purpose, and under what it lies. */
export interface CoveredPurpose extends LiveQuorums {
  /** Undefined while the token is out. */
  readonly kek: KekState | undefined;
}

/** Who can bring a key back, for each of its purposes. */
export function coverageOfKey(
  { purposes, spec, use }: Pick<Deposit, 'purposes' | 'spec' | 'use'>,
  standing: Standing,
): readonly CoveredPurpose[] {
  return purposes.map((sealed) => ({
    ...liveUnder(depositedQuorums(sealed), standing),
    kek: standing.keks && kekStateOf(sealed.kek, { purpose: sealed.purpose, spec, use }, standing.keks),
  }));
}

/** Nobody brings back what lies under a key-encryption key that the token does not hold, whoever agrees. */
function liveUnder(deposited: DepositedQuorums, { policy, enrolled, keks }: Standing): LiveQuorums {
  const live = liveQuorums(deposited, policy, enrolled);
  if (!isMissing(deposited.kek, keks)) return live;
  return { ...live, live: [], conceivable: [], singlePoints: [] };
}

/** A key, and who can bring it back. */
export interface CoveredKey {
  readonly deposit: Deposit;
  /** Of the owner, as the directory lists them now. */
  readonly department: string | undefined;
  readonly lastUsedAt: Date | undefined;
  /** False: what the database has is not what was made with the key, and opens nothing. */
  readonly isAsLogged: boolean;
  /** For the purpose for which it is covered worst. */
  readonly coverage: Coverage;
  readonly purposes: readonly DrilledPurpose[];
}

/** Who can bring a key back for one purpose, and what was drilled of that. */
export interface DrilledPurpose extends CoveredPurpose {
  /** The last drill of each share that was ever drilled. */
  readonly drills: readonly LastDrill[];
  /** The live quorums of which every share opened when it was drilled last. */
  readonly drilled: readonly Quorum[];
}

/** When a depositary's share was drilled last, and what came of it. */
export interface LastDrill {
  readonly depositary: PrincipalId;
  readonly at: Date;
  readonly isOpened: boolean;
  /** Whether a hash of its chain shows it; else it is their word. */
  readonly isProven: boolean;
}

/** How many keys there are, by the log before any row was read, and of how many of them nobody, or not everybody, can be spared. */
export interface CoverageTotals extends Readonly<Record<Coverage, number>> {
  readonly keys: number;
}

/** One page of the keys with who can bring them back, by one policy and one look at the token. */
export interface CoveragePage extends Page<CoveredKey> {
  readonly standing: Standing;
  /** Of all keys; for those alone who see all. */
  readonly totals: CoverageTotals | undefined;
}

/**
 * The keys that the caller may see, newest first, with who can bring them back: all, or their own. The log says how many there are,
 * whatever rows there are.
 */
export async function listCoverage(
  escrow: Escrow,
  { caller }: Pick<Call, 'caller'>,
  page: PageRequest,
): Promise<CoveragePage> {
  const isOfAll = seesAll(caller);
  const standing = await standingNow(escrow);
  await escrow.followed.caughtUp();
  // before the rows are read: a key that is born meanwhile has one, and is not missed
  const totals = isOfAll ? totalsOf(escrow, standing) : undefined;
  const { items, next } = await escrow.store.deposits(isOfAll ? {} : { owner: caller.id }, page);
  const covered: CoveredKey[] = [];
  for (const deposit of items) covered.push(await coveredKey(escrow, deposit, standing));
  return { items: covered, next, standing, totals };
}

async function coveredKey(escrow: Escrow, deposit: Deposit, standing: Standing): Promise<CoveredKey> {
  const purposes = coverageOfKey(deposit, standing);
  const isAsLogged = await isAsDeposited(escrow, deposit);
  const usedMs = escrow.followed.facts.lastUsedMs(deposit.key);
  return {
    deposit,
    department: standing.policy.principals.get(deposit.owner)?.attributes['department'],
    lastUsedAt: usedMs === undefined ? undefined : new Date(usedMs),
    isAsLogged,
    coverage: isAsLogged ? worstOf(purposes.map(coverageOf)) : 'lost',
    purposes: purposes.map((purpose) => withDrills(escrow, deposit, purpose)),
  };
}

function withDrills(
  { followed }: Pick<Escrow, 'followed'>,
  { key, purposes }: Deposit,
  live: CoveredPurpose,
): DrilledPurpose {
  const shares = purposes.find(({ purpose }) => purpose === live.purpose)?.shares ?? [];
  const drills = shares.flatMap(({ depositary }): readonly LastDrill[] => {
    const drill = followed.facts.drill(key, live.purpose, depositary);
    if (drill?.atMs === undefined) return [];
    const { atMs, isOpened, isProven } = drill;
    return [{ depositary, at: new Date(atMs), isOpened, isProven }];
  });
  const opened = new Set(drills.filter(({ isOpened }) => isOpened).map(({ depositary }) => depositary));
  return { ...live, drills, drilled: live.live.filter((members) => members.every((one) => opened.has(one))) };
}

/** So many kinds of deposits are looked at before others have their turn. */
const SLICE = 20;

/**
 * Of how many keys nobody, or not everybody, can be spared, by the log alone; undefined while the token is out, when nobody knows.
 * Costs what there are of kinds of deposits, not of keys; `turn` is waited for now and then, so that others have theirs.
 */
export async function countCoverage(
  escrow: Pick<Escrow, 'directory' | 'token' | 'followed'>,
  turn: () => Promise<void>,
): Promise<CoverageTotals | undefined> {
  const standing = await standingNow(escrow);
  if (standing.enrolled === undefined) return undefined;
  await escrow.followed.caughtUp();
  const totals = noTotals();
  for (const [at, group] of escrow.followed.facts.depositGroups().entries()) {
    if (at % SLICE === SLICE - 1) await turn();
    add(totals, group, standing);
  }
  return totals;
}

/** A key-encryption key that the token does not hold, and how many keys lie under it, by the log. */
export interface MissingKek {
  readonly kek: string;
  readonly keys: number;
}

/** Those of them under which keys lie, in lexical order; undefined while the token is out. */
export async function missingKeks(
  escrow: Pick<Escrow, 'token' | 'followed'>,
): Promise<readonly MissingKek[] | undefined> {
  const held = await unlessOut(() => escrow.token.keks());
  if (held === undefined) return undefined;
  const missing = new Map<string, number>();
  for (const { purposes, keys } of escrow.followed.facts.depositGroups()) {
    for (const kek of new Set(purposes.flatMap((one) => one.kek ?? []))) {
      if (!held.some(({ label }) => label === kek)) missing.set(kek, (missing.get(kek) ?? 0) + keys);
    }
  }
  return [...missing].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kek, keys]) => ({ kek, keys }));
}

function totalsOf({ followed }: Escrow, standing: Standing): CoverageTotals {
  const totals = noTotals();
  for (const group of followed.facts.depositGroups()) add(totals, group, standing);
  return totals;
}

function noTotals(): Record<Coverage | 'keys', number> {
  return { keys: 0, lost: 0, 'one-quorum': 0, 'single-point': 0, covered: 0 };
}

function add(
  totals: ReturnType<typeof noTotals>,
  { purposes, keys }: DepositGroup,
  standing: Standing,
): void {
  totals.keys += keys;
  totals[worstOf(purposes.map((one) => coverageOf(liveUnder(one, standing))))] += keys;
}
