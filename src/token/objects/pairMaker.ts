import { type ChildProcess, fork } from 'node:child_process';
import { EscrowError } from '../../escrow/records/errors.js';
import type { ModuleEnvironment } from '../cryptoki/module.js';
import { NativeFault } from '../cryptoki/nativeFunction.js';
import type { TokenProfile } from '../profile/profile.js';
import type { TokenLog } from '../cryptoki/sessions.js';

/** Where pairs are made. */
export interface PairTokenLocation {
  readonly profile: TokenProfile;
  readonly label: string;
  readonly modulePath: string;
  readonly environment: ModuleEnvironment;
  readonly parameters: string | undefined;
}

/** Makes pairs that stay in the token, outside of the queue of token objects. One at a time. */
export interface PairMaker {
  /** False when it has ended, and makes nothing any more. */
  readonly isAtWork: boolean;
  /**
   * Resolves when an unwrapping pair stands in the token under this label; the one that was made under it just before is
   * replaced. {@link PairMakerEnded} when it has ended, by a fault of the token as well: it makes nothing any more, and what it
   * has begun may stand in the token. EscrowError `token-unavailable` when it took too long, which ends it too.
   */
  make(label: string): Promise<void>;
  /** Ends it. Nothing may be in the making. */
  close(): Promise<void>;
}

/** A {@link PairMaker} has ended and made no pair; the cause is the PKCS#11 fault, where there was one. */
export class PairMakerEnded extends Error {
  override readonly name = 'PairMakerEnded';

  constructor(options?: ErrorOptions) {
    super('the process that makes key pairs has ended', options);
  }
}

/** Starts a {@link PairMaker} that logs in by itself. `pin` was accepted a moment ago, and is zeroed. */
export type StartPairMaker = (location: PairTokenLocation, pin: Buffer) => PairMaker;

/** What the process of its own is told. */
export type PairOrder =
  | { readonly order: 'open'; readonly location: PairTokenLocation; readonly pin: Uint8Array }
  | { readonly order: 'make'; readonly label: string };

/** What it answers to each `make`: the CK_RV. */
export interface PairAnswer {
  readonly answer: number;
}

/** What marks a process that was started here. */
export const MAKES_PAIRS = 'make-pairs';

/**
 * Makes pairs in a process of its own, which runs `program`: SoftHSM 2.6 cannot make one token object while another is found
 * or destroyed in the same process, and its locks hold between processes. It ends with this process, however that ends. A pair
 * that takes longer than `deadlineMs` ends it too, and so does any fault: its login may be gone, which only a new one mends.
 */
export function pairProcess(
  program: string,
  how: { readonly deadlineMs: number; readonly log: TokenLog },
): StartPairMaker {
  return (location, pin) => new PairProcess(startProcess(program), { ...how, location, pin });
}

/** What is meant for the daemon: Node's own, which can open a debugger, libpq's and the database's, and the credentials. */
const NOT_FOR_PAIRS = /^(NODE_|PG|DATABASE_|CREDENTIALS_DIRECTORY$)/;

/** Everything else stays: modules read variables of their own, which no list here could know. */
function environmentForPairs(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !NOT_FOR_PAIRS.test(name)));
}

/** Before Node 22.14 there is no such option: a process there looks by itself whether the signal has opened the inspector. */
function withoutInspector(): readonly string[] {
  const option = '--disable-sigusr1';
  return process.allowedNodeEnvironmentFlags.has(option) ? [option] : [];
}

function startProcess(program: string): ChildProcess {
  return fork(program, [MAKES_PAIRS, String(process.pid)], {
    serialization: 'advanced', // bytes stay bytes
    execArgv: [...withoutInspector()],
    env: environmentForPairs(),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
}

interface Making {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

class PairProcess implements PairMaker {
  readonly #ended: Promise<void>;
  #making: Making | undefined;
  #isAtWork = true;
  #hasEnded = false;
  #isClosing = false;
  /** Why it was ended from here. */
  #fault: NativeFault | undefined;
  #isLate = false;

  constructor(
    private readonly child: ChildProcess,
    private readonly how: {
      readonly location: PairTokenLocation;
      readonly pin: Buffer;
      readonly deadlineMs: number;
      readonly log: TokenLog;
    },
  ) {
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        this.#end();
        resolve();
      };
      child.on('exit', end);
      child.on('error', end);
    });
    child.on('message', (message) => {
      this.#settle((message as PairAnswer).answer);
    });
    const { location, pin } = how;
    this.#send({ order: 'open', location, pin });
    pin.fill(0);
    child.unref();
    child.channel?.unref();
  }

  get isAtWork(): boolean {
    return this.#isAtWork;
  }

  make(label: string): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#isAtWork) {
        reject(new PairMakerEnded({ cause: this.#fault }));
        return;
      }
      const timer = setTimeout(() => {
        this.how.log('error', 'a key pair was not made in time: the process that makes them is ended');
        this.#isLate = true;
        this.#kill();
      }, this.how.deadlineMs);
      this.#making = { resolve, reject, timer };
      this.#send({ order: 'make', label });
    });
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#kill();
    await this.#ended;
  }

  #send(order: PairOrder): void {
    // a process that is gone says so by its end
    this.child.send(order, () => undefined);
  }

  #kill(): void {
    this.#isAtWork = false;
    this.child.kill('SIGKILL');
  }

  /** After a fault whoever waits is told at its end: until then it may hold something in the token. */
  #settle(answer: number): void {
    if (answer === 0) {
      this.#taken()?.resolve();
      return;
    }
    this.#fault = new NativeFault(answer);
    this.how.log('error', 'the process that makes key pairs met a fault of the token: it is ended', {
      fault: this.#fault.message,
    });
    this.#kill();
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#isAtWork = false;
    this.#taken()?.reject(this.#isLate ? late() : new PairMakerEnded({ cause: this.#fault }));
    if (this.#isClosing) return;
    this.how.log(
      'warn',
      'the process that makes key pairs has ended: until the token is opened anew, what needs the token waits for each pair',
    );
  }

  #taken(): Making | undefined {
    const making = this.#making;
    this.#making = undefined;
    clearTimeout(making?.timer);
    return making;
  }
}

function late(): EscrowError {
  const cause = new Error('a key pair was not made in time');
  return new EscrowError('token-unavailable', undefined, { cause });
}
