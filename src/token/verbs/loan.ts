import type { Handle, PKCS11 } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import type { Held } from '../../escrow/records/sealing/sealed.js';
import { asEscrowError } from '../cryptoki/faults.js';
import type { SessionSlot, Sessions, TokenLog } from '../cryptoki/sessions.js';

/** The kinds of keys in flight. */
export type HeldKind = Held<'user-key' | 'share-key' | 'layer-key' | 'transfer-key'>['held'];

interface InFlight {
  readonly kind: HeldKind;
  readonly handle: Handle;
}

let lastReference = 0;

/**
 * What one loan of verbs has in the token: one place in the session pool, and the keys in flight that were made
 * in it. Steps run one after another, since a session does one operation at a time. When the loan ends, every
 * key in flight is destroyed; where destroying fails, closing the session does it.
 */
export class Loan {
  readonly #held = new Map<number, InFlight>();
  readonly #scrap: Handle[] = [];
  readonly #pending = new Set<Promise<unknown>>();
  #tail: Promise<unknown> = Promise.resolve();
  #lease: SessionSlot | undefined;
  #over = false;
  #made = 0;

  constructor(
    private readonly driver: PKCS11,
    private readonly pool: Sessions,
    private readonly log: TokenLog,
  ) {}

  /** Runs a verb as part of this loan; refused once the loan is over. */
  async during<T>(verb: () => Promise<T>): Promise<T> {
    if (this.#over) throw new EscrowError('internal', 'A token verb was used after its loan.');
    const running = verb();
    const settled = running.then(
      () => undefined,
      () => undefined,
    );
    this.#pending.add(settled);
    try {
      return await running;
    } catch (error) {
      throw asEscrowError(error);
    } finally {
      this.#pending.delete(settled);
    }
  }

  /**
   * Runs one step on the loan's session. When it fails, that session gets no further work, but what it has made
   * stays usable from the next one until the loan ends.
   */
  step<T>(work: (session: Handle) => T | Promise<T>): Promise<T> {
    const run = this.#tail.then(async () => {
      const lease = (this.#lease ??= await this.pool.acquire());
      try {
        return await work(lease.session());
      } catch (error) {
        lease.spoil();
        throw asEscrowError(error);
      }
    });
    this.#tail = run.catch(() => undefined);
    return run;
  }

  /** How many objects were made, in flight and in the token. */
  get made(): number {
    return this.#made;
  }

  /** Counts objects that stand in the token from now on; they outlive the loan. */
  countStanding(objects: number): void {
    this.#made += objects;
  }

  /** Takes a key in flight into the loan and gives the reference that the core sees. */
  hold<Kind extends HeldKind>(kind: Kind, handle: Handle): Held<Kind> {
    lastReference += 1;
    this.#made += 1;
    this.#held.set(lastReference, { kind, handle });
    return { held: kind, reference: lastReference };
  }

  /** Takes an object into the loan that the core does not see; it goes when the loan ends. */
  discardLater(handle: Handle): void {
    this.#made += 1;
    this.#scrap.push(handle);
  }

  /** The object behind a reference of this very loan. */
  handleOf(key: Held<HeldKind>): Handle {
    const found = this.#held.get(key.reference);
    if (found?.kind !== key.held) throw new EscrowError('internal', 'A key was used outside its loan.');
    return found.handle;
  }

  /** Ends the loan. When it resolves, nothing of it is in flight any more, or the log says what may be. */
  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#pending);
    await this.#tail;
    const lease = this.#lease;
    if (lease === undefined) return;
    const doomed = [...[...this.#held.values()].map(({ handle }) => handle), ...this.#scrap];
    this.#held.clear();
    try {
      for (const handle of doomed) this.driver.C_DestroyObject(lease.session(), handle);
    } catch (error) {
      lease.spoil();
      this.log('warn', 'keys in flight were destroyed by closing their session', { error: String(error) });
    } finally {
      lease.release();
    }
  }
}
