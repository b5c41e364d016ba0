import { EscrowError } from '../escrow/records/errors.js';
import type { Send } from './journal/lockedRows.js';
import type { Ask } from './pool.js';

/** How far the clocks of a daemon and of its database may be apart for anything to be decided by them. */
export const CLOCKS_APART_MS = 5_000;

/** Told when the clocks are found apart, with by how much (positive: the daemon's is ahead), and when they agree again. */
export type TellClocks = (apartMs: number | undefined) => void;

/**
 * Whether the clocks of this daemon and of its database agree. Time that daemons must agree on is the database's, and what they
 * decide is decided by their own; so an attempt is recorded only where both say the same, by what the transaction that
 * records it reads.
 */
export class Clocks {
  readonly #own: () => Date;
  readonly #tell: TellClocks;
  #apartMs: number | undefined;

  constructor(own: () => Date, tell: TellClocks) {
    this.#own = own;
    this.#tell = tell;
  }

  /** By how much they were apart when they were compared last; undefined when they agreed. */
  get apartMs(): number | undefined {
    return this.#apartMs;
  }

  /** The daemon's own time. */
  own(): Date {
    return this.#own();
  }

  /**
   * Compares them. What the database says may be from any instant between asking and being answered.
   */
  async agree(read: () => Promise<Date>): Promise<boolean> {
    const before = this.#own().getTime();
    const theirs = (await read()).getTime();
    const after = this.#own().getTime();
    const apart =
      theirs < before - CLOCKS_APART_MS
        ? before - theirs
        : theirs > after + CLOCKS_APART_MS
          ? after - theirs
          : undefined;
    this.#found(apart);
    return apart === undefined;
  }

  /** Takes note that the database has found them to agree. */
  agreed(): void {
    this.#found(undefined);
  }

  #found(apartMs: number | undefined): void {
    const isOther = (apartMs === undefined) !== (this.#apartMs === undefined);
    this.#apartMs = apartMs;
    if (isOther) this.#tell(apartMs);
  }

  /** Compares them by a statement that is sent on this connection, behind what was sent before. */
  agreeOn(send: Send): Promise<boolean> {
    return this.agree(async () => timeIn(await send<TimeRow>({ name: 'clock', text: CLOCK, values: [] })));
  }

  /** Compares them. Throws EscrowError `clock-differs` when they are apart. */
  async require(ask: Ask): Promise<void> {
    if (!(await this.agree(async () => timeIn(await ask<TimeRow>(CLOCK))))) throw apartError();
  }
}

/** What is told to whoever asks for something while the clocks are apart. */
export function apartError(): EscrowError {
  return new EscrowError('clock-differs');
}

interface TimeRow {
  readonly now: Date;
}

const CLOCK = 'select clock_timestamp() as now';

function timeIn([row]: readonly TimeRow[]): Date {
  if (row === undefined) throw new Error('the database does not say what time it is');
  return row.now;
}
