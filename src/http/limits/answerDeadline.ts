import { EscrowError } from '../../escrow/records/errors.js';

/** How long a request may wait for its answer. The time that its body takes to come is not counted. */
export class AnswerDeadline {
  readonly #ms: number;
  readonly #passed: Promise<'passed'>;
  #pass: (passed: 'passed') => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  /** It runs from now on. */
  constructor(ms: number) {
    this.#ms = ms;
    this.#passed = new Promise((resolve) => {
      this.#pass = resolve;
    });
    this.#run();
  }

  /** Does not run while this is going on, and begins anew after it. */
  async without<T>(work: () => Promise<T>): Promise<T> {
    clearTimeout(this.#timer);
    try {
      return await work();
    } finally {
      this.#run();
    }
  }

  /**
   * What came of the work. When it takes too long it goes on, and `late` is told how it failed.
   * @throws EscrowError `deadline-exceeded`; what `work` throws goes through
   */
  async answer<T>(work: Promise<T>, late: (error: unknown) => void): Promise<T> {
    try {
      const first = await Promise.race([work.then((value) => ({ value })), this.#passed]);
      if (first !== 'passed') return first.value;
      work.catch(late);
      throw new EscrowError('deadline-exceeded');
    } finally {
      this.#isOver = true;
      clearTimeout(this.#timer);
    }
  }

  #run(): void {
    if (!this.#isOver) this.#timer = setTimeout(this.#pass, this.#ms, 'passed' as const);
  }
}
