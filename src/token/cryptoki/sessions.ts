import type { Handle, PKCS11 } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import { asEscrowError } from './faults.js';

/** What the adapter tells the operator's log. */
export type TokenLog = (
  level: 'info' | 'warn' | 'error',
  message: string,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void;

/** A place in the pool, held by one piece of work at a time. */
export interface SessionSlot {
  /** The session to use now; opened when needed. */
  session(): Handle;
  /**
   * The session in use has seen an error and may be left with an operation active. It gets no further work, and
   * is closed when the lease ends (what it made must live until then).
   */
  spoil(): void;
  /** Gives the place back. Every session that was spoiled is closed, and its objects die with it. */
  release(): void;
}

/** Why a `token-unavailable` was thrown that says nothing about the token: its sessions were all at work. */
export class SessionsBusy extends Error {
  override readonly name = 'SessionsBusy';
}

interface Waiting {
  readonly admit: () => void;
  readonly timer: NodeJS.Timeout;
}

/** Opens a read-write session. */
export function openSession(driver: PKCS11, slot: Handle): Handle {
  const CKF_RW_SESSION = 0x2;
  const CKF_SERIAL_SESSION = 0x4;
  return driver.C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION);
}

/** Closes a session. One that cannot be closed is told and left: its token is gone, or soon finalised. */
export function closeSession(driver: PKCS11, session: Handle, log: TokenLog): void {
  try {
    driver.C_CloseSession(session);
  } catch (error) {
    log('error', 'a token session could not be closed', { error: String(error) });
  }
}

/**
 * At most `size` sessions at work; who comes later waits, first come first served, no longer than `waitMs`.
 * C_Logout and C_CloseAllSessions are never called: they would end every key in flight.
 */
export class Sessions {
  readonly #idle: Handle[] = [];
  readonly #waiting: Waiting[] = [];
  #leased = 0;

  constructor(
    private readonly driver: PKCS11,
    private readonly slot: Handle,
    private readonly bounds: { readonly size: number; readonly waitMs: number },
    private readonly log: TokenLog,
  ) {}

  /** A place; EscrowError `token-unavailable` when none became free in time. */
  async acquire(): Promise<SessionSlot> {
    if (this.#leased >= this.bounds.size) await this.#wait();
    else this.#leased += 1;
    return this.#lease();
  }

  /** Lends a place for the length of `work`. A failure that is not an EscrowError spoils the session. */
  async exclusive<T>(work: (session: Handle) => T | Promise<T>): Promise<T> {
    const lease = await this.acquire();
    try {
      return await work(lease.session());
    } catch (error) {
      lease.spoil();
      throw asEscrowError(error);
    } finally {
      lease.release();
    }
  }

  /** Closes what is idle. Call it when nothing is leased. */
  close(): void {
    for (const session of this.#idle.splice(0)) closeSession(this.driver, session, this.log);
  }

  #wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        const cause = new SessionsBusy(`all ${this.bounds.size} sessions are at work`);
        reject(new EscrowError('token-unavailable', 'The token is busy; try again.', { cause }));
      }, this.bounds.waitMs);
      const waiting = { admit: resolve, timer };
      this.#waiting.push(waiting);
    });
  }

  #lease(): SessionSlot {
    const spoiled: Handle[] = [];
    let current: Handle | undefined;
    let released = false;
    return {
      session: () => (current ??= this.#idle.pop() ?? openSession(this.driver, this.slot)),
      spoil: () => {
        if (current !== undefined) spoiled.push(current);
        current = undefined;
      },
      release: () => {
        if (released) return;
        released = true;
        for (const session of spoiled) closeSession(this.driver, session, this.log);
        if (current !== undefined) this.#idle.push(current);
        const next = this.#waiting.shift();
        if (next === undefined) {
          this.#leased -= 1;
        } else {
          clearTimeout(next.timer);
          next.admit();
        }
      },
    };
  }
}
