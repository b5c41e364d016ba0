import { Worker } from 'node:worker_threads';
import type { Handle, Mechanism } from 'pkcs11js';
import { holding } from './attributes.js';
import { NativeFault } from './nativeFunction.js';

/** Signatures to be made one after another, in one session that nobody else uses meanwhile. */
export interface ManySignatures {
  readonly session: Handle;
  readonly key: Handle;
  readonly mechanism: Mechanism;
  readonly inputs: readonly Uint8Array[];
  /** How long a signature is, at most. */
  readonly bytes: number;
}

/** Threads that sign beside the main one, with the module, the sessions and the login of this process. */
export interface SigningThreads {
  /**
   * Signs, in the order of the inputs: `made` is given each signature. Rejects with the token's fault, when those before it were
   * given; with {@link SigningThreadEnded} when it is not known what was made.
   */
  sign(order: ManySignatures, made: (signature: Uint8Array) => void): Promise<void>;
  /** Ends them. Nothing may be under way. */
  close(): Promise<void>;
}

/** Starts the threads of a module that is loaded and initialised. */
export type StartSigningThreads = (modulePath: string) => SigningThreads;

/** A thread that signs has ended by itself. */
export class SigningThreadEnded extends Error {
  override readonly name = 'SigningThreadEnded';

  constructor(options?: ErrorOptions) {
    super('a thread that signs has ended', options);
  }
}

/** Byte strings in a row: so that they go to another thread as one. */
export interface Packed {
  readonly bytes: Uint8Array;
  readonly lengths: readonly number[];
}

/** What a thread is told. */
export type SigningOrder = Omit<ManySignatures, 'session' | 'key' | 'inputs'> & {
  readonly session: Uint8Array;
  readonly key: Uint8Array;
  readonly inputs: Packed;
};

/** What it answers: what was made, and the CK_RV of what was not. */
export interface SigningAnswer {
  readonly signatures: Packed;
  readonly fault?: number;
}

/** What marks a thread that was started here. */
export const SIGNS = 'sign';

/** What a thread is started with. */
export interface SigningThreadData {
  readonly work: typeof SIGNS;
  readonly modulePath: string;
  /** One number, shared: it counts every signature up as soon as that is made. */
  readonly made: Int32Array;
}

/** From so many signatures on another thread is worth the way there. */
export const WORTH_A_THREAD = 4;

/** So many threads, each of which runs `program` and is started when it is first needed. */
export function signingThreads(program: string, count: number): StartSigningThreads {
  return (modulePath) => new Threads(program, count, modulePath);
}

/** An order that a thread is at, or has before it. */
interface Ordered {
  readonly resolve: (answer: SigningAnswer) => void;
  readonly reject: (error: Error) => void;
}

class Threads implements SigningThreads {
  readonly #threads: Thread[] = [];

  constructor(
    private readonly program: string,
    private readonly count: number,
    private readonly modulePath: string,
  ) {}

  async sign(order: ManySignatures, made: (signature: Uint8Array) => void): Promise<void> {
    const { session, key, inputs, mechanism, bytes } = order;
    const sent = {
      session: Uint8Array.from(session),
      key: Uint8Array.from(key),
      inputs: packed(inputs),
      mechanism,
      bytes,
    };
    const thread = this.#idlest();
    // as many as a slow token takes minutes for, or that wait behind others, are no call that hangs
    const answer = await holding([], () => thread.sign(sent), thread.progress());
    for (const signature of unpacked(answer.signatures)) made(signature);
    if (answer.fault !== undefined) throw new NativeFault(answer.fault);
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.splice(0).map((thread) => thread.close()));
  }

  #idlest(): Thread {
    const alive = this.#threads.filter(({ hasEnded }) => !hasEnded);
    const [first] = alive.sort((a, b) => a.waiting - b.waiting);
    if (first !== undefined && (first.waiting === 0 || alive.length >= this.count)) return first;
    const fresh = new Thread(this.program, this.modulePath);
    this.#threads.splice(0, this.#threads.length, ...alive, fresh);
    return fresh;
  }
}

class Thread {
  readonly #worker: Worker;
  readonly #ordered: Ordered[] = [];
  readonly #made = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  #hasEnded = false;

  constructor(program: string, modulePath: string) {
    const data: SigningThreadData = { work: SIGNS, modulePath, made: this.#made };
    this.#worker = new Worker(program, { workerData: data });
    this.#worker.unref();
    this.#worker.on('message', (answer: SigningAnswer) => this.#ordered.shift()?.resolve(answer));
    this.#worker.on('error', (cause) => {
      this.#end({ cause });
    });
    this.#worker.on('exit', () => {
      this.#end();
    });
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** How many orders it has not answered. */
  get waiting(): number {
    return this.#ordered.length;
  }

  /** A question: whether it has signed anything since it was asked last, or since now. */
  progress(): () => boolean {
    let last = Atomics.load(this.#made, 0);
    return () => {
      const before = last;
      last = Atomics.load(this.#made, 0);
      return last !== before;
    };
  }

  sign(order: SigningOrder): Promise<SigningAnswer> {
    return new Promise((resolve, reject) => {
      // what cannot be sent throws, and gets no answer: nothing may wait for one in its place
      this.#worker.postMessage(order);
      this.#ordered.push({ resolve, reject });
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #end(why?: ErrorOptions): void {
    this.#hasEnded = true;
    for (const { reject } of this.#ordered.splice(0)) reject(new SigningThreadEnded(why));
  }
}

/** Byte strings as they go to another thread. */
export function packed(items: readonly Uint8Array[]): Packed {
  const lengths = items.map(({ length }) => length);
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const item of items) {
    bytes.set(item, at);
    at += item.length;
  }
  return { bytes, lengths };
}

/** What {@link packed} has packed. */
export function unpacked({ bytes, lengths }: Packed): readonly Uint8Array[] {
  let at = 0;
  return lengths.map((length) => {
    at += length;
    return bytes.subarray(at - length, at);
  });
}
