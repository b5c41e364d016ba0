/** Something that can happen in a state, in words, and what comes of it. */
export interface Move<State> {
  readonly what: string;
  readonly to: State;
}

/** A protocol among those who keep to it and one who does not. Finite: there are only so many different states. */
export interface Model<State> {
  readonly initial: State;
  /** Equal for states that are the same. */
  key(state: State): string;
  moves(state: State): Iterable<Move<State>>;
  /** The promise that is broken in this state, in words. */
  broken(state: State): string | undefined;
}

/** What a search found: every state that can be reached holds all promises, or the shortest way to one that does not. */
export type Found =
  | { readonly states: number }
  | { readonly states: number; readonly promise: string; readonly attack: readonly string[] };

/** Visits every state that can be reached, breadth first, or up to the first that breaks a promise. */
export function explore<State>(model: Model<State>): Found {
  const cameBy = new Map<string, { readonly from: string; readonly what: string } | undefined>();
  const queue: State[] = [model.initial];
  cameBy.set(model.key(model.initial), undefined);
  for (const state of queue) {
    const key = model.key(state);
    const promise = model.broken(state);
    if (promise !== undefined) return { states: cameBy.size, promise, attack: wayTo(key, cameBy) };
    for (const { what, to } of model.moves(state)) {
      const next = model.key(to);
      if (cameBy.has(next)) continue;
      cameBy.set(next, { from: key, what });
      queue.push(to);
    }
  }
  return { states: cameBy.size };
}

function wayTo(
  key: string,
  cameBy: ReadonlyMap<string, { readonly from: string; readonly what: string } | undefined>,
): readonly string[] {
  const steps: string[] = [];
  for (let step = cameBy.get(key); step !== undefined; step = cameBy.get(step.from)) steps.unshift(step.what);
  return steps;
}
