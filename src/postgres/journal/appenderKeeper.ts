import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseError } from 'pg';
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
/**
 * So long what could not be recorded speaks against the log while nobody tries again: who is sent no requests for it must come to
 * try. Longer than anybody waits for an append by default.
 */
const UNTRIED_MS = 15_000;

/** Keeps the one connection that appends, and makes a new one when it is lost. */
export class AppenderKeeper {
  /** The last thing that went wrong. */
  cause: unknown;
  readonly #options: AppenderKeeperOptions;
  #appender: Appender | undefined;
  #failures = 0;
  /** When a server that answers last refused to record, by `performance.now()`; undefined since something was recorded. */
  #refusedAtMs: number | undefined;
  #isUnsafe = false;

  constructor(options: AppenderKeeperOptions) {
    this.#options = options;
  }

  /** Why nothing can be recorded, as far as it was tried; undefined as long as nothing speaks against it. */
  get fault(): unknown {
    const isRefused = this.#refusedAtMs !== undefined && performance.now() - this.#refusedAtMs < UNTRIED_MS;
    return this.#failures > 0 || isRefused ? this.cause : undefined;
  }

  /** A batch was not recorded, and it is not for what is in it: a lost connection, or a server that says why, such as a full disk. */
  failed(error: unknown): void {
    this.cause = error;
    if (!(error instanceof DatabaseError)) return;
    if (this.#failures === 0 && this.#refusedAtMs === undefined)
      this.#options.log.warn(`the log cannot be written: ${reason(error)}`);
    this.#refusedAtMs = performance.now();
  }

  recorded(): void {
    if (this.#refusedAtMs === undefined) return;
    this.#refusedAtMs = undefined;
    this.#options.log.info('the log can be written again');
  }

  /** The connection; undefined, after a pause that grows, when there is none to a log of `atLeast` entries to be had. */
  async connected(atLeast: number): Promise<Appender | undefined> {
    if (this.#appender?.isLost() === false) return this.#appender;
    this.#appender = undefined;
    if (this.#failures > 0) await delay(backOffMs(this.#failures, rests));
    const { connection, timeouts, log, damage } = this.#options;
    try {
      this.#appender = await connectAppender(connection, timeouts, atLeast);
      if (this.#failures > 0 && this.#refusedAtMs === undefined) log.info('the log can be written again');
      this.#failures = 0;
      this.#tellUnsafe(undefined);
      return this.#appender;
    } catch (error) {
      this.cause = error;
      if (error instanceof LogDamaged) damage.found(error);
      if (error instanceof UnsafeDatabase) this.#tellUnsafe(error.message);
      if (this.#failures === 0 && this.#refusedAtMs === undefined)
        log.warn(`the log cannot be written: ${reason(error)}`);
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
