import { createHash } from 'node:crypto';

import type { Use, UseRefused } from './use.js';

/** How many refusals are remembered at once: the oldest goes first. */
const MOST = 1024;

/**
 * Refusals of the last seconds. Tools ask again when they are refused, some at once and with the same input: they get the same answer,
 * and nobody is asked twice.
 */
export class RecentRefusals {
  readonly #known = new Map<string, { readonly untilMs: number; readonly refusal: UseRefused }>();

  constructor(
    private readonly keepMs: number,
    private readonly now: () => Date,
  ) {}

  find(use: Use): UseRefused | undefined {
    const known = this.#known.get(nameOf(use));
    if (known === undefined) return undefined;
    const leftMs = known.untilMs - this.now().getTime();
    // more is left than there was where the clock was set back
    return leftMs > 0 && leftMs <= this.keepMs ? known.refusal : undefined;
  }

  keep(use: Use, refusal: UseRefused): void {
    const name = nameOf(use);
    this.#known.delete(name);
    this.#known.set(name, { untilMs: this.now().getTime() + this.keepMs, refusal });
    const [oldest] = this.#known.keys();
    if (this.#known.size > MOST && oldest !== undefined) this.#known.delete(oldest);
  }
}

function nameOf({ key, mechanism, input }: Use): string {
  const digest = createHash('sha256').update(input.bytes).digest('hex');
  return `${key.key} ${mechanism} ${input.kind} ${digest}`;
}
