import type { NoticeCursor, Outbox, SinkProgress } from '../../src/escrow/ports/outbox.js';

/** The progress of one sink in memory, for one daemon: as the database's, which test/postgres/store/outbox.test.ts holds to the same. */
export interface MemoryOutbox extends Outbox {
  progress: SinkProgress & { readonly fault?: string };
  readonly dropped: string[];
  /** What was delivered after it had been given up. */
  readonly again: string[];
  /** Stands for another daemon that has taken over. */
  isTaken: boolean;
}

export function memoryOutbox(entry = 0): MemoryOutbox {
  const isAt = (place: NoticeCursor): boolean =>
    !outbox.isTaken && JSON.stringify(place) === JSON.stringify(outbox.progress.place);
  const move = (from: NoticeCursor, to: NoticeCursor): Promise<boolean> => {
    if (!isAt(from)) return Promise.resolve(false);
    outbox.progress = { place: to, attempts: 0, notBefore: undefined };
    return Promise.resolve(true);
  };
  const outbox: MemoryOutbox = {
    progress: { place: { entry, position: 0 }, attempts: 0, notBefore: undefined },
    dropped: [],
    again: [],
    isTaken: false,
    register: () => Promise.resolve(),
    lease: () => Promise.resolve(outbox.isTaken ? undefined : outbox.progress),
    advance: async (_sink, from, to, again = []) => {
      if (!(await move(from, to))) return false;
      outbox.again.push(...again);
      return true;
    },
    postpone: (_sink, at, failure) => {
      if (!isAt(at)) return Promise.resolve(false);
      outbox.progress = { place: at, ...failure };
      return Promise.resolve(true);
    },
    drop: async (_sink, from, to, { notice }) => {
      if (!(await move(from, to))) return false;
      outbox.dropped.push(notice.id);
      return true;
    },
    release: () => Promise.resolve(),
    states: () => Promise.resolve([]),
  };
  return outbox;
}
