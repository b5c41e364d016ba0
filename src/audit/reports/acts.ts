import type { Entry, Phase, Subject } from '../../log/entry/entry.js';
import { standsAlone } from '../../log/export/actPairing.js';
import type { SeenEntry } from './follower.js';

/** An act, with what came of it. */
export interface ActFacts {
  /** The entry of the attempt; of what was refused before any, that of the refusal. */
  readonly entry: number;
  readonly time: string;
  readonly act: string;
  readonly actor: string;
  /** Of the attempt. */
  readonly subject: Subject;
  readonly detail: Entry['detail'];
  /** Undefined while the log has none. */
  readonly outcome: Outcome | undefined;
  /** Why it is not what it should be; reported, and nothing came of it. */
  readonly doubt: string | undefined;
  /** See {@link SeenEntry.signers}. */
  readonly signers: readonly string[] | undefined;
}

export interface Outcome {
  readonly phase: Exclude<Phase, 'attempted'>;
  readonly error: string | undefined;
  readonly detail: Entry['detail'];
  /** As far as known: the attempt to make a thing does not name it. */
  readonly subject: Subject;
}

/** Which acts are kept. */
export interface ActsWanted {
  /** From this instant on. */
  readonly from: string | undefined;
  /** Asked of the attempt. */
  readonly begins: (entry: Entry) => boolean;
  /** Asked when the outcome is known. */
  readonly ends?: (act: ActFacts) => boolean;
}

/** Gathers the acts that are wanted, and nothing of the others: so its memory is that of what is told. */
export class Acts {
  readonly #wanted: ActsWanted;
  readonly #kept: (ActFacts | undefined)[] = [];
  /** Where each stands that has no outcome. */
  readonly #open = new Map<string, number>();

  constructor(wanted: ActsWanted) {
    this.#wanted = wanted;
  }

  /** Takes the next entry. */
  follow(seen: SeenEntry): void {
    const { entry, index, doubt, signers } = seen;
    const { id, time, act, actor, subject, detail, phase } = entry;
    const { from } = this.#wanted;
    if (phase !== 'attempted' && !standsAlone(entry)) {
      this.#close(id, phase, entry);
      return;
    }
    if ((from !== undefined && time < from) || !this.#wanted.begins(entry)) return;
    const at = this.#kept.push({
      ...{ entry: index, time, act, actor, subject, detail: withoutBulk(detail) },
      ...{ outcome: undefined, doubt, signers },
    });
    this.#open.set(id, at - 1);
    if (phase !== 'attempted') this.#close(id, phase, entry);
  }

  /** In the order of the log. */
  get all(): readonly ActFacts[] {
    return this.#kept.filter((act) => act !== undefined);
  }

  #close(id: string, phase: Outcome['phase'], { error, detail, subject }: Entry): void {
    const at = this.#open.get(id);
    const begun = at === undefined ? undefined : this.#kept[at];
    if (at === undefined || begun === undefined) return;
    this.#open.delete(id);
    const ended = { ...begun, outcome: { phase, error, detail: withoutBulk(detail), subject } };
    this.#kept[at] = this.#wanted.ends?.(ended) === false ? undefined : ended;
  }
}

/** Signatures and plans are for the verifier; what is told needs none of them. */
const BULK: ReadonlySet<string> = new Set(['signatures', 'statements', 'statement', 'certificate', 'plan']);

function withoutBulk(detail: Entry['detail']): Entry['detail'] {
  return Object.fromEntries(Object.entries(detail).filter(([name]) => !BULK.has(name)));
}
