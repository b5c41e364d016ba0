import type { Json } from '../../log/entry/canonical.js';
import { type Entry, decodeEntry } from '../../log/entry/entry.js';
import { standsAlone } from '../../log/export/actPairing.js';
import { type SavedCalls, LoggedCalls } from './calls.js';
import { type SavedCreations, LoggedCreations } from './creations.js';
import { type SavedDeposits, LoggedDeposits } from './deposits.js';
import type { DepositGroup } from '../records/depositedQuorums.js';
import type {
  AsOf,
  CreationFact,
  DueFacts,
  GrantFacts,
  ImportPairFacts,
  LogFacts,
  OpenAttempt,
  PolicyFacts,
  ReleaseFacts,
  RequestFacts,
  Secondary,
} from './logFacts.js';
import { type SavedGrant, LoggedGrants } from './grants.js';
import { type DrillFact, LoggedDrills, holderName } from './drills.js';
import { type HeldShares, heldShares } from './heldShares.js';
import { LoggedImportPairs, importPairIn } from './importPairs.js';
import { type DepositFact, NewestDeposits, keyName } from './newestDeposits.js';
import { LoggedReleases } from './releases.js';
import { type SavedRequests, LoggedRequests } from './requests.js';
import { followsFromSecond } from './secondOutcomes.js';
import { BIRTHS } from '../records/creation.js';
import { resealedIn } from '../records/sealing/resealing.js';
import { grantsNamedIn } from '../records/activationEntry.js';

/** An attempt that waits for its outcome. */
export interface Attempt {
  readonly of: OpenAttempt;
  readonly recovery: string | undefined;
  readonly asOf: AsOf;
}

/** The state as it is saved: a value for the structured clone algorithm. */
export interface SavedState {
  readonly policy: PolicyFacts | undefined;
  readonly newest: Uint8Array;
  readonly deposits: SavedDeposits;
  readonly drills: Uint8Array;
  readonly requests: SavedRequests;
  readonly releases: ReadonlyMap<string, ReleaseFacts>;
  readonly grants: ReadonlyMap<string, SavedGrant>;
  readonly importPairs: ReadonlyMap<string, ImportPairFacts>;
  readonly attempts: ReadonlyMap<string, Attempt>;
  readonly calls: SavedCalls;
  readonly creations: SavedCreations;
}

/** Entries that make nothing and are remembered: for those whose acts they were, who ask at once. */
const SECONDARY_LIMIT = 1000;

/**
 * The state that the log's entries make: what is open, what runs, what is newest. It takes every entry, in order, each once,
 * and asks nobody; what has ended it forgets. Of two outcomes of an act the first counts; the second does as far as it ends something.
 */
export class LogState implements LogFacts {
  #newest = new NewestDeposits();
  #deposits = new LoggedDeposits();
  #drills = new LoggedDrills();
  #requests = new LoggedRequests();
  #releases = new LoggedReleases();
  #grants = new LoggedGrants();
  #importPairs = new LoggedImportPairs();
  #attempts = new Map<string, Attempt>();
  #calls = new LoggedCalls();
  #creations = new LoggedCreations();
  #policy: PolicyFacts | undefined;
  /** Not saved: who asks is in the middle of the act. */
  readonly #secondary = new Map<number, Secondary>();
  readonly due: DueFacts = {
    overRequests: (nowMs) => this.#requests.over(nowMs),
    releasableRequests: (nowMs) => this.#requests.releasable(nowMs),
    supersededRequests: () => this.#requests.superseded(),
    unremindedRequests: () => this.#requests.unreminded(),
    overGrants: (nowMs) => this.#grants.over(nowMs),
    uncertifiedGrants: () => this.#grants.uncertified(),
    releasesUntil: (ms) => this.#releases.until(ms),
  };

  /** All of it, to be written down before the next entry is taken: what is in it changes with that. */
  save(): SavedState {
    return {
      policy: this.#policy,
      newest: this.#newest.save(),
      deposits: this.#deposits.save(),
      drills: this.#drills.save(),
      requests: this.#requests.save(),
      releases: this.#releases.save(),
      grants: this.#grants.save(),
      importPairs: this.#importPairs.save(),
      attempts: this.#attempts,
      calls: this.#calls.save(),
      creations: this.#creations.save(),
    };
  }

  /** Becomes what {@link save} gave, in place of taking the entries that had made it. */
  restore(saved: SavedState): void {
    const { policy, newest, deposits, drills, requests, releases, grants, ...rest } = saved;
    const { importPairs, attempts, calls, creations } = rest;
    const [asked, running] = [new LoggedRequests(requests), LoggedGrants.of(grants)];
    const [newestDeposits, drilled] = [new NewestDeposits(newest), new LoggedDrills(drills)];
    const kept = new LoggedReleases(releases);
    this.#importPairs = new LoggedImportPairs(importPairs);
    this.#calls = new LoggedCalls(calls);
    this.#creations = new LoggedCreations(creations);
    this.#attempts = new Map(attempts);
    this.#policy = policy;
    this.#newest = newestDeposits;
    this.#deposits = new LoggedDeposits(deposits);
    this.#drills = drilled;
    this.#requests = asked;
    this.#releases = kept;
    this.#grants = running;
  }

  get policy(): PolicyFacts | undefined {
    return this.#policy;
  }

  request(id: string): RequestFacts | undefined {
    return this.#requests.get(id);
  }

  openRequestIds(): readonly string[] {
    return this.#requests.ids();
  }

  keptRelease(id: string): ReleaseFacts | undefined {
    return this.#releases.get(id);
  }

  grant(id: string): GrantFacts | undefined {
    return this.#grants.get(id);
  }

  grantsNamed(app: string, name: string): readonly string[] {
    return this.#grants.named(app, name);
  }

  runningGrantIds(): readonly string[] {
    return this.#grants.ids();
  }

  importPair(id: string): ImportPairFacts | undefined {
    return this.#importPairs.get(id);
  }

  importPairIds(): readonly string[] {
    return this.#importPairs.ids();
  }

  deposit(key: string): DepositFact | undefined {
    return this.#newest.get(key);
  }

  lastUsedMs(key: string): number | undefined {
    return this.#newest.lastUsedMs(key);
  }

  drill(key: string, purpose: string, depositary: string): DrillFact | undefined {
    const generation = this.#newest.get(key)?.generation;
    return generation === undefined
      ? undefined
      : this.#drills.get(keyName(key), holderName(purpose, depositary), generation);
  }

  heldBy(depositary: string, drilledSinceMs: number, key?: string): HeldShares {
    return heldShares(depositary, drilledSinceMs, {
      keys: key === undefined ? this.#newest.keys() : [this.#newest.counted(key) ?? []].flat(),
      groups: this.#deposits.all(),
      drills: this.#drills,
    });
  }

  depositGroups(): readonly DepositGroup[] {
    return this.#deposits.groups();
  }

  depositsBeingMade(): readonly DepositGroup[] {
    return this.#deposits.beingMade();
  }

  asOf(act: string): AsOf | undefined {
    return this.#attempts.get(act)?.asOf;
  }

  secondary(index: number): Secondary | undefined {
    return this.#secondary.get(index);
  }

  openAttempt(act: string): OpenAttempt | undefined {
    return this.#attempts.get(act)?.of;
  }

  openAttempts(): readonly OpenAttempt[] {
    return [...this.#attempts.values()].map(({ of }) => of);
  }

  creation(principal: string, key: string): CreationFact | undefined {
    return this.#creations.get(principal, key);
  }

  /** Takes the entry at the next index. */
  take(index: number, bytes: Uint8Array): void {
    const entry = decodeEntry(bytes);
    const isRepeated = this.#calls.take(entry);
    if (entry.phase === 'attempted') this.#attempt(entry, isRepeated);
    else if (this.#attempts.delete(entry.id) && !this.#isUsedUp(entry)) this.#outcome(index, entry);
    else if (!standsAlone(entry)) this.#second(index, entry);
  }

  /** Whether this releases or makes grants of a request that has ended since that was attempted. */
  #isUsedUp(entry: Entry): boolean {
    const { recovery = '' } = entry.subject;
    const isRecovering = entry.phase === 'done' && followsFromSecond(entry) === 'over';
    return isRecovering && this.#requests.get(recovery) === undefined;
  }

  /** Takes an outcome that makes nothing: it ends what it ends all the same. */
  #second(index: number, entry: Entry): void {
    const follows = followsFromSecond(entry);
    this.#note(index, follows === 'counts' ? 'late' : 'void');
    if (follows === 'counts') {
      this.#outcome(index, entry);
      return;
    }
    if (follows === undefined) return;
    // what was released is kept until the record has forgotten it
    if (entry.phase === 'done') this.#releases.concluded(entry);
    this.#requests.concluded(entry);
  }

  #note(index: number, secondary: Secondary): void {
    const [oldest] = this.#secondary.keys();
    if (oldest !== undefined && this.#secondary.size >= SECONDARY_LIMIT) this.#secondary.delete(oldest);
    this.#secondary.set(index, secondary);
  }

  #attempt(entry: Entry, isRepeated: boolean): void {
    const { id, act, actor, subject, time } = entry;
    const { recovery, grant } = subject;
    const isOnRequest = recovery !== undefined && act.startsWith('recovery.') && act !== 'recovery.request';
    const isUse = act === 'grant.sign' || act === 'grant.decrypt';
    const useRefused = isUse ? this.#grants.use(grant ?? '', entry, Date.parse(time)) : undefined;
    const used = isUse ? this.#grants.get(grant ?? '') : undefined;
    this.#attempts.set(id, {
      of: { id, act, actor, subject, grants: grantsNamedIn(entry), importPair: importPairIn(entry) },
      recovery: isOnRequest ? recovery : undefined,
      asOf: {
        policyVersion: this.#policy?.version ?? 0,
        request: isOnRequest ? this.#requests.get(recovery) : undefined,
        isContended: isOnRequest && this.#isUnderWay(recovery),
        useRefused,
        usesLeft: used && used.maxUses - used.used,
        isRepeated,
        isKeyTaken: this.#creations.attempted(entry),
        isPolicyUnderWay: (BIRTHS.has(act) || act === 'recovery.reseal') && this.#isPolicyUnderWay(),
        isResealUnderWay: this.#isResealUnderWay(act, subject.keys ?? []),
        imports: this.#importPairs.attempted(entry, () => this.openAttempts()),
        drills: this.#drills.attempted(entry, (key) => this.#newest.get(key)?.generation),
      },
    });
    this.#deposits.attempted(entry);
    this.#requests.attempted(entry);
  }

  #isUnderWay(recovery: string): boolean {
    for (const attempt of this.#attempts.values()) if (attempt.recovery === recovery) return true;
    return false;
  }

  #used({ subject: { key, keys = [] }, time }: Entry): void {
    for (const each of key === undefined ? keys : [key]) this.#newest.used(each, Date.parse(time));
  }

  /** Whether a policy is being put in force: few acts are under way at once. */
  #isPolicyUnderWay(): boolean {
    for (const { of } of this.#attempts.values()) if (of.act === 'policy.apply') return true;
    return false;
  }

  /** Whether keys are being sealed anew: one of these, or any at all when a policy is to be put in force. */
  #isResealUnderWay(act: string, keys: readonly string[]): boolean {
    const isOfPolicy = act === 'policy.apply';
    if (!isOfPolicy && act !== 'recovery.reseal' && act !== 'recovery.request') return false;
    for (const { of } of this.#attempts.values()) {
      if (of.act !== 'recovery.reseal') continue;
      if (isOfPolicy || of.subject.keys?.some((key) => keys.includes(key)) === true) return true;
    }
    return false;
  }

  /** Takes the birth of a key, or that none came of it. */
  #born(index: number, entry: Entry): void {
    const { phase, subject, digest } = entry;
    const key = phase === 'done' && digest !== undefined ? subject.key : undefined;
    const isBirth = key !== undefined && this.#newest.get(key) === undefined;
    const group = this.#deposits.concluded(entry, isBirth);
    if (key !== undefined && digest !== undefined && group !== undefined)
      this.#newest.born(key, { digest, index }, group);
  }

  /** Takes that the keys of a request were sealed anew: what else is asked for them was asked of what they were. */
  #resealed(index: number, { subject, detail }: Entry): void {
    const { recovery = '', keys = [] } = subject;
    const reseal = this.#requests.get(recovery)?.reseal;
    if (reseal === undefined) return;
    const deposits = resealedIn(detail['keys']);
    for (const key of keys) {
      const deposit = deposits.get(key);
      const group = this.#newest.groupOf(key);
      const next = (this.#newest.get(key)?.generation ?? 0) + 1;
      if (deposit === undefined || group === undefined || deposit.generation !== next) continue;
      this.#newest.resealed(key, { ...deposit, index }, this.#deposits.resealed(group, reseal, deposit.keks));
    }
    this.#requests.supersede(keys, recovery);
  }

  #outcome(index: number, entry: Entry): void {
    this.#creations.concluded(entry);
    const { act, phase, detail } = entry;
    if (phase === 'done' && act === 'policy.apply') {
      this.#policy = { version: Number(detail['version']), hash: textOf(detail['policyHash']) };
    }
    if (BIRTHS.has(act)) this.#born(index, entry);
    if (phase === 'done' && act === 'recovery.reseal') this.#resealed(index, entry);
    if (phase === 'done' && USES.has(act)) this.#used(entry);
    if (phase === 'done' && act === 'key.drill')
      this.#drills.concluded(entry, (key) => this.#newest.get(key)?.generation);
    this.#importPairs.concluded(entry);
    if (phase === 'done') this.#releases.concluded(entry);
    const made = this.#requests.concluded(entry);
    if (made !== undefined) this.#grants.made(entry, made);
    if (phase === 'done' && act.startsWith('grant.')) this.#grants.concluded(entry);
  }
}

/** Acts by which keys are used. */
const USES: ReadonlySet<string> = new Set(['grant.sign', 'grant.decrypt', 'recovery.release']);

function textOf(fact: Json | undefined): string {
  return typeof fact === 'string' ? fact : '';
}
