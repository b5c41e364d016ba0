import type { Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import type { ImportPairFacts, ImportsAsOf } from './logFacts.js';

/** Acts that use an import pair up, whatever comes of them. */
const USING_UP: ReadonlySet<string> = new Set(['key.import', 'import.expire']);

/** The import pairs that stand by the log: made, and neither used nor over. A pair is used up by the attempt. */
export class LoggedImportPairs {
  readonly #pairs: Map<string, ImportPairFacts>;

  /** @param saved what {@link save} gave */
  constructor(saved: ReadonlyMap<string, ImportPairFacts> = new Map()) {
    this.#pairs = new Map(saved);
  }

  save(): ReadonlyMap<string, ImportPairFacts> {
    return this.#pairs;
  }

  get(id: string): ImportPairFacts | undefined {
    return this.#pairs.get(id);
  }

  ids(): readonly string[] {
    return [...this.#pairs.keys()];
  }

  /** Takes an attempt, and says what stood before it; undefined when it is about no pair. `open` are those without an outcome. */
  attempted(entry: Entry, open: () => readonly Pick<Entry, 'act' | 'actor'>[]): ImportsAsOf | undefined {
    const id = importPairIn(entry);
    if (id === undefined) return undefined;
    const making = open().filter(({ act }) => act === 'import.prepare');
    const all = [...this.#pairs.values()].map(({ by }) => by).concat(making.map(({ actor }) => actor));
    const pair = this.#pairs.get(id);
    const mayUse = entry.act === 'import.expire' || pair?.by === entry.actor;
    if (USING_UP.has(entry.act) && mayUse) this.#pairs.delete(id);
    return { pair, all: all.length, own: all.filter((by) => by === entry.actor).length };
  }

  concluded(entry: Entry): void {
    const id = importPairIn(entry);
    if (id === undefined || entry.phase !== 'done') return;
    if (entry.act === 'import.expire') this.#pairs.delete(id);
    if (entry.act !== 'import.prepare') return;
    this.#pairs.set(id, { by: entry.actor, expiresAtMs: instantOf(entry.detail['expiresAt']) });
  }
}

/** The import pair that an entry is about; undefined when it is about none. */
export function importPairIn({ act, detail }: Pick<Entry, 'act' | 'detail'>): string | undefined {
  const isOfPair = act === 'import.prepare' || USING_UP.has(act);
  const pair = detail['import'];
  return isOfPair && typeof pair === 'string' ? pair : undefined;
}

/** Milliseconds of the epoch; long ago when it is no instant. */
function instantOf(value: Json | undefined): number {
  return typeof value === 'string' ? Date.parse(value) : 0;
}
