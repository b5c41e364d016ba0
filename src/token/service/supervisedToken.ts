import { EscrowError } from '../../escrow/records/errors.js';
import type { Token, TokenAbilities, TokenVerbs } from '../../escrow/ports/token.js';
import type { Anchor, Anchoring } from '../../log/anchor.js';
import { backOffMs } from '../../system/backOff.js';
import { Admission } from './admission.js';
import { mayBeFull, TokenNotReady } from '../cryptoki/faults.js';
import type { OpenToken, TokenGeneration } from './openToken.js';
import { type TokenLog, SessionsBusy } from '../cryptoki/sessions.js';
import { BackOff, InterruptiblePause } from './interruptiblePause.js';

export interface Supervision {
  /** Opens the token anew, logging in once. Nothing of the generation before is open then. */
  readonly open: () => Promise<TokenGeneration>;
  /** How often the token is tried by its known answer. */
  readonly probeMs: number;
  /** How long a use waits while the token is opened anew though it works. */
  readonly waitMs: number;
  /** After how many objects made the token is opened anew, to give back what it has leaked; 0: never. */
  readonly recycleAfterObjects: number;
  readonly log: TokenLog;
  /** Whether what keeps the token's objects has no room, as far as that can be seen. */
  readonly isFull?: () => boolean;
}

/** A token that is watched, and opened anew by itself. */
export interface SupervisedToken extends OpenToken {
  /** Resolves with the reason when the token cannot be used again without a person; never rejects. */
  readonly failed: Promise<Error>;
  /**
   * Opens the token anew though it works: what is under way ends first, what comes meanwhile waits, nothing is refused.
   * Resolves when that is done; `false` when the work under way did not end in time and all stayed as it was.
   */
  recycle(): Promise<boolean>;
}

/**
 * Watches an open token by its known-answer probe. When the probe fails, uses are refused with `token-unavailable`
 * at once, those under way end, and the token is finalised and opened anew until that works: by itself, with a pause of
 * at most a second between tries, and without keeping the PIN. A PIN that is refused then is not tried again, and a token
 * with other keys is not taken for the same one: `failed` says so. A token that works is opened anew too when it has made
 * `recycleAfterObjects` objects, and when the process that makes its key pairs has ended, each time later if that goes on.
 */
export function superviseToken(first: TokenGeneration, supervision: Supervision): SupervisedToken {
  return new Supervisor(first, supervision);
}

/** Pauses between tries of opening: what a token's return costs, at most. */
const RETRY = { firstMs: 50, longestMs: 1_000 } as const;
/** Between two probes, however many uses ask for one. */
const PROBE_AT_MOST_EVERY_MS = 50;
/** How often it is told that calls into a broken token do not come back. */
const STUCK_REMINDER_MS = 30_000;
/** How soon a stop is noticed while work under way is waited for. */
const DRAIN_SLICE_MS = 100;
/** When the work under way did not end for it, the next attempt to shed a leak comes so much later. */
const RECYCLE_AGAIN_MS = 60_000;
/** Pauses between two openings for a new process that makes key pairs; one that has lived for the longest begins with none. */
const PAIRS_AGAIN = { firstMs: 1_000, mostMs: 600_000 } as const;

type State =
  | { readonly is: 'serving' | 'recycling'; readonly generation: TokenGeneration }
  /** `generation` is the broken one, until it is finalised. */
  | { readonly is: 'away'; readonly generation: TokenGeneration | undefined; readonly cause: unknown }
  | { readonly is: 'failed'; readonly cause: Error }
  | { readonly is: 'closed' };

type Why = 'to give back what it had leaked' | 'so that another process makes its key pairs';

class Supervisor implements SupervisedToken {
  readonly abilities: TokenAbilities;
  readonly identityKey: Uint8Array;
  readonly logKey: OpenToken['logKey'];
  readonly older: readonly string[];
  readonly failed: Promise<Error>;
  readonly #supervision: Supervision;
  readonly #admission = new Admission();
  readonly #wakeable = new InterruptiblePause();
  readonly #watching: Promise<void>;
  #state: State;
  #closing = false;
  #recycling: ((done: boolean) => void)[] = [];
  #recycleNotBefore = -Infinity;
  readonly #pairs = new BackOff(PAIRS_AGAIN);
  #fail: (error: Error) => void = () => undefined;
  #openings = 1;

  constructor(first: TokenGeneration, supervision: Supervision) {
    const { abilities, identityKey, logKey, older } = first;
    this.abilities = abilities;
    this.identityKey = identityKey;
    this.logKey = logKey;
    this.older = older;
    this.#supervision = supervision;
    this.#state = { is: 'serving', generation: first };
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#watching = this.#watch().catch((error: unknown) => {
      this.#giveUp(error instanceof Error ? error : new Error(String(error)));
    });
  }

  requireInService(): void {
    // one that is opened anew though it works will be back before a use has waited for it
    if (this.#state.is !== 'recycling' && !this.#admission.isShut) this.#inService();
  }

  get openings(): number {
    return this.#openings;
  }

  enrolled(): ReturnType<Token['enrolled']> {
    return this.#use((token) => token.enrolled());
  }

  keks(): ReturnType<Token['keks']> {
    return this.#use((token) => token.keks());
  }

  standing(): ReturnType<Token['standing']> {
    return this.#use((token) => token.standing());
  }

  unaccounted(records: Parameters<Token['unaccounted']>[0]): ReturnType<Token['unaccounted']> {
    return this.#use((token) => token.unaccounted(records));
  }

  lend<V extends keyof TokenVerbs, T>(
    verbs: readonly V[],
    use: (lent: Pick<TokenVerbs, V>) => Promise<T>,
  ): Promise<T> {
    return this.#use((token) => token.lend(verbs, use));
  }

  signCheckpoint(text: Uint8Array): Promise<Uint8Array> {
    return this.#use((token) => token.signCheckpoint(text));
  }

  check(): Promise<void> {
    return this.#use((token) => token.check());
  }

  readAnchor(): Promise<Anchor> {
    return this.#use((token) => token.readAnchor());
  }

  writeAnchor(anchor: Anchoring): Promise<void> {
    return this.#use((token) => token.writeAnchor(anchor));
  }

  recycle(): Promise<boolean> {
    if (this.#closing || this.#state.is === 'failed') return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#recycling.push(resolve);
      this.#wakeable.wake();
    });
  }

  async close(drainMs?: number): Promise<void> {
    this.#closing = true;
    this.#admission.open();
    this.#wakeable.wake();
    await this.#watching;
    const state = this.#state;
    this.#state = { is: 'closed' };
    if ('generation' in state) await state.generation?.close(drainMs);
  }

  async #use<T>(work: (token: TokenGeneration) => Promise<T>): Promise<T> {
    try {
      return await this.#admission.enter(this.#supervision.waitMs, () => work(this.#inService()));
    } catch (error) {
      if (isAboutTheToken(error)) this.#wakeable.wake();
      throw mayBeFull(error) && this.#supervision.isFull?.() === true
        ? new EscrowError('token-full', undefined, { cause: error })
        : error;
    }
  }

  #inService(): TokenGeneration {
    if (this.#closing) throw new EscrowError('shutting-down');
    const state = this.#state;
    switch (state.is) {
      case 'serving':
        return state.generation;
      case 'away':
      case 'failed':
        throw new EscrowError('token-unavailable', undefined, { cause: state.cause });
      case 'recycling':
        throw new EscrowError('internal', 'A use was let in while the token is opened anew.');
      case 'closed':
        throw new EscrowError('shutting-down');
    }
  }

  /** The only one who changes the state while the supervisor is open. */
  async #watch(): Promise<void> {
    while (!this.#closing && this.#state.is !== 'failed') {
      const state = this.#state;
      if (state.is === 'serving') await this.#look(state.generation);
      else await this.#reopen();
    }
    for (const tell of this.#recycling.splice(0)) tell(false);
  }

  #giveUp(cause: Error): void {
    this.#state = { is: 'failed', cause };
    for (const tell of this.#recycling.splice(0)) tell(false);
    this.#admission.open();
    this.#fail(cause);
  }

  async #look(generation: TokenGeneration): Promise<void> {
    const asked = this.#recycling.splice(0);
    const why = asked.length > 0 ? 'to give back what it had leaked' : this.#due(generation);
    if (why !== undefined) {
      const done = await this.#recycle(generation, why);
      for (const tell of asked) tell(done);
      return;
    }
    const startedAt = performance.now();
    const cause = await generation.check().then(
      () => undefined,
      (error: unknown) => error,
    );
    if (cause !== undefined && isAboutTheToken(cause)) {
      this.#state = { is: 'away', generation, cause };
      this.#supervision.log('error', 'the token does not answer as it should: it is opened anew', {
        reason: reasonOf(cause),
      });
      return;
    }
    const passedMs = performance.now() - startedAt;
    await this.#wakeable.pause(Math.max(this.#supervision.probeMs - passedMs, PROBE_AT_MOST_EVERY_MS), {
      atLeastMs: PROBE_AT_MOST_EVERY_MS,
      until: () => this.#closing || this.#recycling.length > 0,
    });
  }

  /** For what a token that works is to be opened anew, if for anything. */
  #due(generation: TokenGeneration): Why | undefined {
    const { recycleAfterObjects } = this.#supervision;
    if (performance.now() < this.#recycleNotBefore) return undefined;
    if (recycleAfterObjects !== 0 && generation.objectsMade() >= recycleAfterObjects)
      return 'to give back what it had leaked';
    return generation.lacksPairMaker() && this.#pairs.isOver()
      ? 'so that another process makes its key pairs'
      : undefined;
  }

  /** Opens a token that works anew. Uses wait at the door meanwhile. */
  async #recycle(generation: TokenGeneration, why: Why): Promise<boolean> {
    const { log, waitMs } = this.#supervision;
    const startedAt = performance.now();
    const objects = generation.objectsMade();
    const isForPairs = generation.lacksPairMaker();
    this.#admission.shut();
    this.#state = { is: 'recycling', generation };
    try {
      // Half of what the others wait at most: they must get their turn when this comes to nothing.
      if (!(await this.#drained(waitMs / 2))) {
        this.#recycleNotBefore = performance.now() + RECYCLE_AGAIN_MS;
        this.#state = { is: 'serving', generation };
        log('warn', 'the token is too busy to be opened anew; it is tried again later');
        return false;
      }
      this.#state = { is: 'away', generation, cause: new Error('the token is opened anew') };
      await this.#reopen();
      if (isForPairs) this.#pairs.begin();
      const tookMs = Math.round(performance.now() - startedAt);
      log('info', `the token was opened anew ${why}`, { objects, tookMs });
      return true;
    } finally {
      this.#admission.open();
    }
  }

  /** Gives the broken generation back once nothing of it is under way, and opens the next until that works. */
  async #reopen(): Promise<void> {
    const state = this.#state;
    if (state.is !== 'away' || !(await this.#giveBack(state))) return;
    let lastReason = '';
    for (let failures = 1; !this.#closing; failures += 1) {
      try {
        const generation = await this.#openSame();
        this.#openings += 1;
        this.#state = { is: 'serving', generation };
        this.#supervision.log('info', 'the token is open');
        return;
      } catch (error) {
        if (error instanceof TokenNotReady && isFinal(error)) {
          this.#giveUp(error);
          return;
        }
        this.#state = { is: 'away', generation: undefined, cause: error };
        this.#admission.open();
        const reason = reasonOf(error);
        if (reason !== lastReason)
          this.#supervision.log('warn', 'the token cannot be opened; it is tried again', { reason });
        lastReason = reason;
        const pauseMs = backOffMs(failures, RETRY);
        await this.#wakeable.pause(pauseMs, { atLeastMs: pauseMs, until: () => this.#closing });
      }
    }
  }

  /** Finalising a module at work crashes the process, so this waits as long as it takes, unless the daemon stops. */
  async #giveBack({ generation, cause }: State & { readonly is: 'away' }): Promise<boolean> {
    if (generation === undefined) return true;
    while (!(await this.#drained(STUCK_REMINDER_MS))) {
      if (this.#closing) return false;
      this.#supervision.log(
        'error',
        'calls into the token do not come back; the daemon ends itself if this lasts (token.hangMs)',
      );
    }
    await generation.close();
    this.#state = { is: 'away', generation: undefined, cause };
    return true;
  }

  /** Whether nothing is under way within this time; gives up early when the daemon stops. */
  async #drained(withinMs: number): Promise<boolean> {
    const deadline = performance.now() + withinMs;
    while (!(await this.#admission.drained(DRAIN_SLICE_MS))) {
      if (this.#closing || performance.now() >= deadline) return false;
    }
    return true;
  }

  async #openSame(): Promise<TokenGeneration> {
    const generation = await this.#supervision.open();
    const isSame =
      Buffer.from(generation.identityKey).equals(this.identityKey) &&
      Buffer.from(generation.logKey.publicKey).equals(this.logKey.publicKey);
    if (isSame) return generation;
    await generation.close();
    throw new TokenNotReady(
      'keys-changed',
      'The token has another identity key or log key than when the daemon started. Find out who changed it.',
    );
  }
}

/** What no further try may or can mend. */
function isFinal(error: TokenNotReady): boolean {
  return error.reason === 'pin-refused' || error.reason === 'keys-changed';
}

/** That all sessions are at work says nothing about the token, and neither does what a caller did wrong. */
function isAboutTheToken(error: unknown): boolean {
  if (!(error instanceof EscrowError)) return true;
  return error.code === 'token-unavailable' && !(error.cause instanceof SessionsBusy);
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : undefined;
  return cause === undefined ? String(error) : `${String(error)} <- ${String(cause)}`;
}
