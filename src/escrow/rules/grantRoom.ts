import type { LogFacts } from '../logged/logFacts.js';
import { EscrowError } from '../records/errors.js';

/**
 * Keeps grants within what the token can hold, where that is known: each that runs is an object in it. What several daemons begin in
 * the same moment may go beyond; then the token refuses it.
 */
export class GrantRoom {
  readonly #most: number;

  /** @param most how many grants may stand in the token; undefined: as many as it takes */
  constructor(most: number | undefined) {
    this.#most = most ?? Infinity;
  }

  /**
   * Requires room for so many grants more than run or are being made, by the log. Asked before anything is opened for them.
   * @throws EscrowError `token-full`
   */
  require(facts: Pick<LogFacts, 'runningGrantIds' | 'openAttempts'>, more: number): void {
    if (this.#most === Infinity) return;
    const making = facts.openAttempts().reduce((sum, { grants }) => sum + grants.length, 0);
    const held = facts.runningGrantIds().length + making;
    if (held + more <= this.#most) return;
    throw new EscrowError(
      'token-full',
      `The token holds ${held} grants and may hold ${this.#most}: there is no room for ${more} more until others end.`,
    );
  }
}
