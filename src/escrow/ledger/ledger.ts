import type { Entry } from '../../log/entry/entry.js';
import { encodeEntry } from '../../log/entry/entry.js';
import type { Act, LentFor } from './means.js';
import { MEANS } from './means.js';
import type { ErrorCode } from '../records/errors.js';
import { EscrowError } from '../records/errors.js';
import type { ActId, RandomBytes } from '../records/ids.js';
import { newId } from '../records/ids.js';
import type { Change, Claim, Journal } from '../ports/journal.js';
import type { Subject } from '../../log/entry/entry.js';
import type { AsOf, FollowedLog, Secondary } from '../logged/logFacts.js';
import type { Token, TokenVerbs } from '../ports/token.js';
import type { Clock } from '../ports/clock.js';
import type { LogMemory } from '../ports/log.js';
import type { Store } from '../ports/store.js';
import type { Actor, Obsolete, Outcome, ActOrder, Recorded, Plan, Repeated } from './act.js';
import type { Policy } from '../records/policy.js';
import type { CountedRefusals, RefusalBudget } from './refusals.js';
import { countedAsJson, Refusals } from './refusals.js';
import { CameToNothing } from './act.js';
import { NotHeld } from '../ports/journal.js';
import { AT_HAND, checkClaim, claimsOf, CONTENDED, contradicted, freshness } from './claims.js';
import { asEscrowError, FAULTS, UNRECORDED } from './faults.js';

/** What the door guards, by what it decides, and how long an act waits there. */
export interface LedgerParts {
  readonly journal: Journal;
  readonly token: Token;
  /** What the log's entries say, which decides where a row or a query could leave something out. */
  readonly followed: FollowedLog;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** The policy in force now. */
  readonly policy: () => Promise<Policy>;
  /** For the operator's log: what went wrong without changing the answer. */
  readonly notice: (message: string, cause: unknown) => void;
  readonly memory: LogMemory;
  /**
   * Told of each outcome that this daemon has recorded, and of each refusal that it has counted to be recorded together with others.
   * The act is one of `MEANS`, or what an entry of another version calls it. Must not throw.
   */
  readonly acted?: (act: string, outcome: 'done' | 'denied' | 'failed', code?: ErrorCode) => void;
  /** How long an act waits for another act on the same thing. */
  readonly contentionTimeoutMs: number;
  /**
   * How many refusals of a caller have an entry each, and what uses up the request of one that is only counted; without it
   * every refusal has an entry.
   */
  readonly refusals?: { readonly budget: RefusalBudget; readonly seeOnce: Store['seeOnce'] };
}

/** How long an act waits before it looks again whether a thing is free. */
const CONTENTION_PAUSE_MS = 25;

/** Verbs after which something stands in the token that was not there. */
const LEAVE_OBJECTS: ReadonlySet<keyof TokenVerbs> = new Set([
  'createTransport',
  'createImportPair',
  'raiseGrant',
] as const);

/** What the operator is told of an outcome that makes nothing. */
const SECONDARY = {
  void: (index) =>
    `Entry ${index} comes behind another, or behind the end of its request, and counts for nothing.`,
  late: (index) => `Entry ${index} is the second one. What it ends has ended all the same.`,
} as const satisfies Record<Secondary, (index: number) => string>;

/**
 * The one door. Whatever changes state or uses the token goes through {@link Ledger.perform}: decide, record the
 * attempt with its claims, use the token, record the outcome with what follows, answer.
 */
export class Ledger {
  readonly #parts: LedgerParts;
  readonly #underWay = new Set<ActId>();
  /** Those of them whose attempts were followed in the log. */
  readonly #seen = new Set<ActId>();
  readonly #refusals: Refusals;
  #tokenDoubts = 0;

  constructor(parts: LedgerParts) {
    this.#parts = parts;
    this.#refusals = new Refusals(parts.refusals?.budget);
  }

  /** See {@link LogMemory.requireOwnToken}. */
  requireOwnToken(): Promise<void> {
    return this.#parts.memory.requireOwnToken();
  }

  /**
   * Grows whenever an act may have left something in the token that belongs to nothing, or did not find in it what it needed:
   * acts of this daemon that failed, and those of others that it has closed.
   */
  get tokenDoubts(): number {
    return this.#tokenDoubts;
  }

  /** Acts that this daemon is in the middle of. */
  get underWay(): ReadonlySet<ActId> {
    return this.#underWay;
  }

  /**
   * Performs an act, unless it finds that it is done already. A caller's act is theirs by the policy that is in force when the
   * attempt is recorded, or they are refused; when that is another than they were let in by, it is decided anew by it. What it claims, such as uses of a grant, is claimed
   * with the attempt and stays so; an act that needs the token is refused before that while the token is known to be
   * out. When it resolves, the outcome is durable and `index` is its entry's place in the log. When it throws an
   * EscrowError, the refusal or failure is in the log, unless that is `log-unavailable` or `clock-differs`. Many may run at once.
   */
  async perform<A extends Act, P, R>(performance: ActOrder<A, P, R>): Promise<Recorded<R>> {
    const id = newId('ActId', this.#parts.random);
    this.#underWay.add(id);
    try {
      const attempt = await this.#attempt(id, performance);
      if ('repeats' in attempt) return attempt.repeats;
      const asOf = await this.#checkLogged(id, performance, attempt);
      const ended: Ended = { obsolete: undefined };
      try {
        const done = await this.#withMeans(performance.act, id, performance.actor, attempt.subject, (lent) =>
          this.#execute(id, performance, { ...attempt, asOf }, lent, ended),
        );
        if (MEANS[performance.act].some((verb) => LEAVE_OBJECTS.has(verb)))
          await this.#tidy('to remember an act', () => this.#parts.memory.anchored(done.index));
        return done;
      } catch (error) {
        this.#doubt(performance.act, error);
        throw error;
      } finally {
        // not before the act's own loan is given back: a token that is being opened anew waits for that
        await this.#destroy(ended.obsolete);
      }
    } finally {
      this.#underWay.delete(id);
      this.#seen.delete(id);
    }
  }

  /** Records a refusal that was decided before any use case was reached, such as a body that is not valid. */
  async refuse(act: Act, actor: Actor, subject: Subject, error: EscrowError): Promise<void> {
    await this.#deny(newId('ActId', this.#parts.random), act, actor, subject, error);
  }

  /**
   * Records refusals that were counted for so long, those of one caller about one owner in one entry, and resolves with how
   * many entries that made. Housekeeping asks for it, and whoever ends the daemon, with 0.
   * @throws EscrowError `log-unavailable`; what is not recorded stays counted
   */
  async recordCounted(forMs: number): Promise<number> {
    const due = this.#refusals.takeCounted(forMs, this.#parts.clock.now());
    let recorded = 0;
    for (const counted of due) {
      try {
        await this.#recordTogether(counted);
        recorded += 1;
      } catch (error) {
        for (const left of due.slice(recorded)) this.#refusals.back(left);
        throw error;
      }
    }
    return recorded;
  }

  async #recordTogether(counted: CountedRefusals): Promise<void> {
    const { act, actor, subject, code } = counted.sample;
    const id = newId('ActId', this.#parts.random);
    await this.#append({
      id,
      role: 'alone',
      entry: {
        ...this.#entryOf(id, act, actor, subject),
        phase: 'denied',
        error: code,
        detail: { together: countedAsJson(counted) },
      },
      claims: [],
      changes: [],
    });
  }

  /**
   * Records that an act was cut short: by a crash of its daemon, or because its outcome could not be written. Resolves with false,
   * and the operator is told, when the log has no attempt of it that is open, whatever the records say: nothing is recorded.
   */
  async closeInterrupted(id: ActId): Promise<boolean> {
    const { followed } = this.#parts;
    await followed.caughtUp();
    const attempt = followed.facts.openAttempt(id);
    if (attempt === undefined) {
      this.#parts.notice('the records have an act as open that is not', contradicted(`${id} is not open.`));
      return false;
    }
    await this.#append({
      id,
      role: 'closes',
      entry: {
        ...this.#outcomeOf(id, attempt.act, attempt.actor, attempt.subject),
        phase: 'failed',
        error: 'interrupted',
      },
      claims: [],
      changes: [],
    });
    this.#tokenDoubts += 1;
    this.#parts.acted?.(attempt.act, 'failed', 'interrupted');
    return true;
  }

  async #attempt<A extends Act, P, R>(
    id: ActId,
    performance: ActOrder<A, P, R>,
  ): Promise<Attempt<P> | Repeated<R>> {
    const { act, actor, decide } = performance;
    const deadline = this.#parts.clock.now().getTime() + this.#parts.contentionTimeoutMs;
    let subject: Subject = {};
    const about = (found: Subject): void => {
      subject = { ...subject, ...found };
    };
    let isOtherPolicy = false;
    // what was at hand and did not hold is worth another look, however little time there is
    const lookedAgain = new Set<NotHeld['what']>();
    for (;;) {
      try {
        if (isOtherPolicy) actor.known?.renew(await this.#parts.policy());
        const plan = await decide(about).catch((error: unknown) => this.#refusedInForce(actor, error));
        if ('repeats' in plan) return plan;
        if (MEANS[act].length > 0) this.#parts.token.requireInService();
        const { index } = await this.#append({
          id,
          role: 'opens',
          entry: {
            ...this.#entryOf(id, act, actor, subject),
            phase: 'attempted',
            detail: plan.detail,
          },
          claims: [...claimsOf(actor), ...plan.claims],
          changes: [],
        });
        return { subject, index, plan };
      } catch (error) {
        const contended = error instanceof NotHeld && CONTENDED.has(error.what);
        isOtherPolicy = contended && error.what === 'policy-in-force';
        if (contended && AT_HAND.has(error.what) && !lookedAgain.has(error.what)) {
          lookedAgain.add(error.what);
          continue;
        }
        if (contended && this.#parts.clock.now().getTime() < deadline) {
          await this.#parts.clock.pause(CONTENTION_PAUSE_MS);
          continue;
        }
        const refusal = asEscrowError(error);
        // what the daemon itself decides not to begin is nobody's refusal: there is nothing to record
        const isOfCaller = actor.request !== undefined || actor.certificate !== undefined;
        const isAsked = isOfCaller && !UNRECORDED.has(refusal.code);
        if (isAsked) await this.#deny(id, act, actor, subject, refusal);
        throw refusal;
      }
    }
  }

  /** Throws why a caller is refused; NotHeld when that was by a policy which is in force no more. */
  async #refusedInForce({ known }: Actor, error: unknown): Promise<never> {
    const isRefusal = known !== undefined && error instanceof EscrowError;
    if (isRefusal && known.policy.version !== (await this.#parts.policy()).version)
      throw new NotHeld('policy-in-force');
    throw error;
  }

  /**
   * Checks an attempt against what the log says as of its place in it: what the database let through is decided again by the
   * entries before it. Where the rule says so, waits until the attempt is proven to be in the log. Resolves with what the log says.
   * When that refuses, nothing was done, and the outcome says so.
   */
  async #checkLogged<A extends Act, P, R>(
    id: ActId,
    { act, actor }: ActOrder<A, P, R>,
    { subject, index, plan }: Attempt<P>,
  ): Promise<AsOf> {
    const { followed } = this.#parts;
    try {
      await followed.through(index);
      const asOf = followed.facts.asOf(id);
      this.#seen.add(id);
      // somebody has closed it already, or the log does not say what was attempted
      if (asOf === undefined) throw new NotHeld('act-open');
      for (const claim of [...claimsOf(actor), ...plan.claims]) checkClaim(claim, asOf);
      plan.holds?.(asOf);
      if (plan.logged === 'proven') await this.#parts.journal.proven(index);
      return asOf;
    } catch (error) {
      throw await this.#conclude(this.#outcomeOf(id, act, actor.id, subject), error);
    }
  }

  /** Borrows the act's verbs. When the token cannot lend them, that is the attempt's outcome. */
  async #withMeans<A extends Act, T>(
    act: A,
    id: ActId,
    actor: Actor,
    subject: Subject,
    use: (lent: LentFor<A>) => Promise<T>,
  ): Promise<T> {
    const verbs: readonly (keyof TokenVerbs)[] = MEANS[act];
    const loan = { begun: false };
    // the table of means is what LentFor is made of: a loan has exactly these verbs
    if (verbs.length === 0) return use({} as LentFor<A>);
    try {
      return await this.#parts.token.lend(verbs, (lent) => {
        loan.begun = true;
        return use(lent);
      });
    } catch (error) {
      if (loan.begun) throw error;
      throw await this.#conclude(this.#outcomeOf(id, act, actor.id, subject), error);
    }
  }

  async #execute<A extends Act, P, R>(
    id: ActId,
    performance: ActOrder<A, P, R>,
    attempt: Attempt<P> & { readonly asOf: AsOf },
    lent: LentFor<A>,
    ended: Ended,
  ): Promise<Recorded<R>> {
    const { act, actor, run } = performance;
    const outcomeOf = this.#outcomeOf(id, act, actor.id, attempt.subject);
    let outcome: Outcome<R>;
    try {
      outcome = await run(lent, attempt.plan.plan, attempt.asOf);
    } catch (error) {
      throw await this.#conclude(outcomeOf, error, ended);
    }
    try {
      const { index } = await this.#append({
        id,
        role: 'closes',
        entry: { ...outcomeOf, phase: 'done', detail: outcome.detail, digest: outcome.digest },
        claims: [],
        changes: outcome.changes,
      });
      await this.#requireCounted(index);
      ended.obsolete = outcome.obsolete;
      this.#parts.acted?.(act, 'done');
      return { answer: outcome.answer, index };
    } catch (error) {
      // nothing was written that counts, so what was made is taken back. Otherwise the fate of the entry is unknown;
      // what stands in the token is settled against the records by `keepHouse`.
      if (!(error instanceof NotHeld || error instanceof NotAnEntry)) throw error;
      await this.#tidy('to undo an act', outcome.undo);
      throw await this.#conclude(outcomeOf, error, ended);
    }
  }

  /**
   * Throws NotHeld unless the outcome at this index counts, as the log says: the database may have had a daemon that takes this
   * one for gone record another before. The operator is told of either.
   */
  async #requireCounted(index: number): Promise<void> {
    const { followed, notice } = this.#parts;
    await followed.through(index);
    const secondary = followed.facts.secondary(index);
    if (secondary === undefined) return;
    notice('an act has two outcomes', contradicted(SECONDARY[secondary](index)));
    if (secondary === 'void') throw new NotHeld('act-open');
  }

  /** Records that an attempt was refused or failed, and returns what to throw. */
  async #conclude(outcomeOf: OutcomeEntry, error: unknown, ended?: Ended): Promise<EscrowError> {
    const refusal = asEscrowError(error);
    const hasBegun = refusal instanceof CameToNothing;
    const ending: CameToNothing['ending'] = hasBegun ? refusal.ending : { detail: {}, changes: [] };
    const phase = hasBegun || FAULTS.has(refusal.code) ? 'failed' : 'denied';
    try {
      const { index } = await this.#append({
        id: outcomeOf.id as ActId,
        role: 'closes',
        entry: {
          ...outcomeOf,
          phase,
          error: refusal.code,
          detail: ending.detail,
        },
        claims: [],
        changes: ending.changes,
      });
      refusal.recordedAt = index;
      this.#parts.acted?.(outcomeOf.act, phase, refusal.code);
      if (ended === undefined || ending.obsolete === undefined) return refusal;
      await this.#requireCounted(index);
      ended.obsolete = ending.obsolete;
    } catch (appendError) {
      // someone else has closed it (this daemon was taken for dead), or the log cannot be written: told as such
      if (!(appendError instanceof NotHeld)) return asEscrowError(appendError);
    }
    return refusal;
  }

  /**
   * Records a refusal without an attempt, or counts it when the caller has used up their budget. The request is used up by it
   * either way; one seen before is recorded as that.
   */
  async #deny(id: ActId, act: Act, actor: Actor, subject: Subject, error: EscrowError): Promise<void> {
    const now = this.#parts.clock.now();
    if (!this.#refusals.take(actor.id, now)) {
      const isNew = error.code === 'request-replayed' || (await this.#useUp(actor));
      const code = isNew ? error.code : 'request-replayed';
      this.#refusals.count({ act, actor, subject, code }, now);
      this.#parts.acted?.(act, 'denied', code);
      if (isNew) return;
      throw new EscrowError(code);
    }
    const write = async (refusal: EscrowError, claims: readonly Claim[]): Promise<void> => {
      const { index } = await this.#append({
        id,
        role: 'alone',
        entry: { ...this.#entryOf(id, act, actor, subject), phase: 'denied', error: refusal.code },
        claims,
        changes: [],
      });
      refusal.recordedAt = index;
      this.#parts.acted?.(act, 'denied', refusal.code);
    };
    try {
      await write(error, error.code === 'request-replayed' ? [] : freshness(actor));
    } catch (failure) {
      if (!(failure instanceof NotHeld)) throw failure;
      const replayed = new EscrowError('request-replayed');
      await write(replayed, []);
      throw replayed;
    }
  }

  /** Whether a request is new, from now on it is not. */
  async #useUp({ request }: Actor): Promise<boolean> {
    const { refusals } = this.#parts;
    if (request === undefined || refusals === undefined) return true;
    const { kid, jti, expiresAt } = request;
    return refusals.seeOnce({ kid, jti, expiresAt });
  }

  #entryOf(id: ActId, act: Act, actor: Actor, subject: Subject): Omit<Entry, 'phase'> {
    const common = this.#outcomeOf(id, act, actor.id, subject);
    if (actor.certificate !== undefined) return { ...common, v: 2, certificate: actor.certificate };
    return { ...common, ...(actor.request === undefined ? {} : { request: actor.request.jws }) };
  }

  #outcomeOf(id: ActId, act: string, actor: string, subject: Subject): OutcomeEntry {
    return { v: 1, time: this.#parts.clock.now().toISOString(), act, id, actor, subject, detail: {} };
  }

  async #append(write: {
    readonly id: ActId;
    readonly role: 'opens' | 'closes' | 'alone';
    readonly entry: Entry;
    readonly claims: readonly Claim[];
    readonly changes: readonly Change[];
  }): Promise<{ readonly index: number }> {
    const { id, role, claims, changes } = write;
    // whoever takes this daemon for gone may have closed it: what the records have as open does not count then
    const isClosed =
      role === 'closes' && this.#seen.has(id) && this.#parts.followed.facts.openAttempt(id) === undefined;
    if (isClosed) throw new NotHeld('act-open');
    const entry = encoded({ ...write.entry, time: this.#parts.clock.now().toISOString() });
    return this.#parts.journal.append({ id, role, entry, about: write.entry.subject, claims, changes });
  }

  /** Destroys what nothing needs any more. While the token is out it stays, and housekeeping finds it. */
  async #destroy(obsolete: Obsolete | undefined): Promise<void> {
    if (obsolete === undefined) return;
    const { transport, grant, importPair } = obsolete;
    await this.#tidy('after an act', async () => {
      await this.requireOwnToken();
      await this.#parts.token.lend(
        ['destroyTransport', 'destroyGrant', 'destroyImportPair'],
        async (lent) => {
          if (transport !== undefined) await lent.destroyTransport(transport);
          if (grant !== undefined) await lent.destroyGrant(grant);
          if (importPair !== undefined) await lent.destroyImportPair(importPair);
        },
      );
    });
  }

  /** What failed may have made an object and not destroyed it, or ended one that stands still. */
  #doubt(act: Act, error: unknown): void {
    const isFault = !(error instanceof EscrowError) || FAULTS.has(error.code);
    if (isFault || MEANS[act].some((verb) => LEAVE_OBJECTS.has(verb))) this.#tokenDoubts += 1;
  }

  /** Housekeeping in the token must not change the answer: what is left behind is found by `keepHouse`. */
  async #tidy(when: string, work: (() => Promise<void>) | undefined): Promise<void> {
    try {
      await work?.();
    } catch (error) {
      this.#tokenDoubts += 1;
      this.#parts.notice(`work in the token ${when} failed`, error);
    }
  }
}

/** What is left to do when an act has ended. */
interface Ended {
  obsolete: Obsolete | undefined;
}

interface Attempt<P> {
  readonly subject: Subject;
  readonly index: number;
  readonly plan: Plan<P>;
}

type OutcomeEntry = Omit<Entry, 'phase' | 'request' | 'certificate' | 'digest' | 'error'>;

/** What was to be recorded cannot be, such as what is longer than an entry can be: nothing was written. */
class NotAnEntry extends Error {
  override readonly name = 'NotAnEntry';
}

function encoded(entry: Entry): Uint8Array {
  try {
    return encodeEntry(entry);
  } catch (cause) {
    throw new NotAnEntry(`an entry of ${entry.act} cannot be written`, { cause });
  }
}
