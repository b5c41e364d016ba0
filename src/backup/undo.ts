/** What is to be done when something ends, however it ends: the last first. */
export class Undo {
  #steps: (() => Promise<unknown>)[] = [];

  add(step: () => Promise<unknown>): void {
    this.#steps.push(step);
  }

  /** Does all that was not done yet. Never rejects: what one step cannot do is no reason to leave out the others. */
  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop())
      await step().catch(() => undefined);
  }
}
