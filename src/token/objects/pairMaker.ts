import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { EscrowError } from '../../escrow/records/errors.js';
import type { ModuleEnvironment } from '../cryptoki/module.js';
import { NativeFault } from '../cryptoki/nativeFunction.js';
import type { TokenProfile } from '../profile/profile.js';
import type { TokenLog } from '../cryptoki/sessions.js';

/** Where pairs are made. */
export interface PairPlace {
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
   * replaced. A PKCS#11 fault as the driver has it; EscrowError `token-unavailable` when it has ended meanwhile.
   */
  make(label: string): Promise<void>;
  /** Ends it. Nothing may be in the making. */
  close(): Promise<void>;
}

/** Starts a {@link PairMaker} that logs in by itself. `pin` was accepted a moment ago, and is zeroed. */
export type StartPairMaker = (place: PairPlace, pin: Buffer) => PairMaker;

/** What the process of its own is told. */
export type PairOrder =
  | { readonly order: 'open'; readonly place: PairPlace; readonly pin: Uint8Array }
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
 * that takes longer than `deadlineMs` ends it too.
 */
export function pairProcess(
  program: string,
  how: { readonly deadlineMs: number; readonly log: TokenLog },
): StartPairMaker {
  return (place, pin) => new PairProcess(startProcess(program), { ...how, place, pin });
}

function startProcess(program: string): ChildProcess {
  // passwords of the database have no place there
  const environment = { ...process.env, DATABASE_URL: undefined, DATABASE_OWNER_URL: undefined };
  return fork(program, [MAKES_PAIRS], {
    serialization: 'advanced', // bytes stay bytes
    execArgv: [],
    env: environment,
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
  #isClosing = false;

  constructor(
    private readonly child: ChildProcess,
    private readonly how: {
      readonly place: PairPlace;
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
    const { place, pin } = how;
    this.#send({ order: 'open', place, pin });
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
        reject(ended());
        return;
      }
      const timer = setTimeout(() => {
        this.how.log('error', 'a key pair was not made in time: the process that makes them is ended');
        this.child.kill('SIGKILL');
      }, this.how.deadlineMs);
      this.#making = { resolve, reject, timer };
      this.#send({ order: 'make', label });
    });
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.child.kill('SIGKILL');
    await this.#ended;
  }

  #send(order: PairOrder): void {
    // a process that is gone says so by its end
    this.child.send(order, () => undefined);
  }

  #settle(answer: number): void {
    const making = this.#taken();
    if (answer === 0) making?.resolve();
    else making?.reject(new NativeFault(answer));
  }

  #end(): void {
    if (!this.#isAtWork) return;
    this.#isAtWork = false;
    this.#taken()?.reject(ended());
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

function ended(): EscrowError {
  const cause = new Error('the process that makes key pairs has ended');
  return new EscrowError('token-unavailable', undefined, { cause });
}
