import type { Entry } from '../../log/entry/entry.js';
import { IDEMPOTENCY_KEY_KEPT_MS } from '../records/creation.js';
import type { CreationFact } from './logFacts.js';

/** Acts that make something, and take an Idempotency-Key. */
const CREATIONS: ReadonlySet<string> = new Set(['key.generate', 'key.import', 'recovery.request']);
/** Clocks that record and clocks that forget may differ by so much. */
const TOLERANCE_MS = 300_000;
const CERTAINLY_KEPT_MS = IDEMPOTENCY_KEY_KEPT_MS - TOLERANCE_MS;
const CERTAINLY_FORGOTTEN_MS = IDEMPOTENCY_KEY_KEPT_MS + TOLERANCE_MS;

/** What a key stands for, since when. */
export interface Creation extends CreationFact {
  readonly name: string;
  readonly atMs: number;
}

/** The same, as it is saved. */
export interface SavedCreations {
  readonly byName: ReadonlyMap<string, Creation>;
  readonly open: ReadonlyMap<string, string>;
  readonly sweptAtMs: number;
}

/** What Idempotency-Keys stand for by the log, as long as they are kept; what came to nothing leaves its key free. */
export class LoggedCreations {
  readonly #byName: Map<string, Creation>;
  /** The name of each that has no outcome yet, by its act. */
  readonly #open: Map<string, string>;
  #sweptAtMs: number;

  /** @param saved what {@link save} gave */
  constructor(
    { byName, open, sweptAtMs }: SavedCreations = { byName: new Map(), open: new Map(), sweptAtMs: 0 },
  ) {
    this.#byName = new Map(byName);
    this.#open = new Map(open);
    this.#sweptAtMs = sweptAtMs;
  }

  save(): SavedCreations {
    return { byName: this.#byName, open: this.#open, sweptAtMs: this.#sweptAtMs };
  }

  get(principal: string, key: string): CreationFact | undefined {
    return this.#byName.get(nameOf(principal, key));
  }

  /** Takes an attempt, and says whether its key stood for another creation. */
  attempted({ act, actor, id, request, time, subject }: Entry): boolean {
    const key = CREATIONS.has(act) && request !== undefined ? keyIn(request) : undefined;
    if (key === undefined) return false;
    const [name, atMs] = [nameOf(actor, key), Date.parse(time)];
    this.#sweep(atMs);
    const before = this.#byName.get(name);
    if (before !== undefined && before.atMs > atMs - CERTAINLY_KEPT_MS) return true;
    this.#byName.set(name, { name, atMs, act: id, isDone: false, about: subject });
    this.#open.set(id, name);
    return false;
  }

  concluded({ id, phase, subject }: Entry): void {
    const name = this.#open.get(id);
    const creation = name === undefined ? undefined : this.#byName.get(name);
    this.#open.delete(id);
    if (creation === undefined) return;
    if (phase === 'done') this.#byName.set(creation.name, { ...creation, isDone: true, about: subject });
    else this.#byName.delete(creation.name);
  }

  #sweep(nowMs: number): void {
    if (nowMs < this.#sweptAtMs + TOLERANCE_MS) return;
    this.#sweptAtMs = nowMs;
    for (const [name, { atMs }] of this.#byName)
      if (atMs <= nowMs - CERTAINLY_FORGOTTEN_MS) this.#byName.delete(name);
  }
}

function nameOf(principal: string, key: string): string {
  return JSON.stringify([principal, key]);
}

/** The `ik` of a signed request, whose signature was verified before it was recorded. */
function keyIn(request: string): string | undefined {
  try {
    const payload = JSON.parse(Buffer.from(request.split('.')[1] ?? '', 'base64url').toString()) as unknown;
    const { ik } = (payload ?? {}) as { readonly ik?: unknown };
    return typeof ik === 'string' ? ik : undefined;
  } catch {
    return undefined; // not a request: nobody's key
  }
}
