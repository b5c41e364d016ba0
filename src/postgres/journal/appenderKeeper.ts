import { setTimeout as delay } from 'node:timers/promises';
import { connectAppender, type Appender } from './appender.js';
import { backOffMs } from '../../system/backOff.js';
import { messageOf } from '../../system/errors.js';
import type { Connection } from '../connection.js';
import type { Damage } from '../damage.js';
import { LogDamaged, UnsafeDatabase } from '../faults.js';
import type { Servers } from '../servers.js';

export interface AppenderKeeperOptions {
  readonly connection: Connection | Servers;
  readonly timeouts: { readonly connectMs: number; readonly appendMs: number };
  readonly log: { warn(message: string): void; info(message: string): void };
  /** Told why the server may lose what it acknowledges, once; and with nothing when it is another, or mended. */
  readonly onUnsafe?: (reason: string | undefined) => void;
  /** Told when the server's log is shorter than what was acknowledged. */
  readonly damage: Damage;
}

const rests = { firstMs: 10, longestMs: 500 } as const;

/** Keeps the one connection that appends, and makes a new one when it is lost. */
export class AppenderKeeper {
  /** The last thing that went wrong. */
  cause: unknown;
  readonly #options: AppenderKeeperOptions;
  #appender: Appender | undefined;
  #failures = 0;
  #isUnsafe = false;

  constructor(options: AppenderKeeperOptions) {
    this.#options = options;
  }

  /** Why there is no connection; undefined as long as nothing speaks against one. */
  get fault(): unknown {
    return this.#failures === 0 ? undefined : this.cause;
  }

  /** The connection; undefined, after a pause that grows, when there is none to a log of `atLeast` entries to be had. */
  async connected(atLeast: number): Promise<Appender | undefined> {
    if (this.#appender?.isLost() === false) return this.#appender;
    this.#appender = undefined;
    if (this.#failures > 0) await delay(backOffMs(this.#failures, rests));
    const { connection, timeouts, log, damage } = this.#options;
    try {
      this.#appender = await connectAppender(connection, timeouts, atLeast);
      if (this.#failures > 0) log.info('the log can be written again');
      this.#failures = 0;
      this.#tellUnsafe(undefined);
      return this.#appender;
    } catch (error) {
      this.cause = error;
      if (error instanceof LogDamaged) damage.found(error);
      if (error instanceof UnsafeDatabase) this.#tellUnsafe(error.message);
      if (this.#failures === 0) log.warn(`the log cannot be written: ${reason(error)}`);
      this.#failures += 1;
      return undefined;
    }
  }

  #tellUnsafe(reason: string | undefined): void {
    const isUnsafe = reason !== undefined;
    if (isUnsafe !== this.#isUnsafe) this.#options.onUnsafe?.(reason);
    this.#isUnsafe = isUnsafe;
  }

  /** Ends the connection in good order. */
  async close(): Promise<void> {
    await this.#appender?.close();
  }
}

function reason(error: unknown): string {
  if (error instanceof LogDamaged || error instanceof UnsafeDatabase) return error.message;
  return messageOf(error);
}
