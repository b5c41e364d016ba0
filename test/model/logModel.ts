import type { Off } from './ceremony.js';
import type { Model, Move } from './explorer.js';

/** What stands against whoever owns the schema of the log, or puts an old copy of it back. */
export type LogCheck =
  | 'leaves-signed-by-writers'
  | 'own-leaves-compared'
  | 'history-from-state'
  | 'anchor-in-token'
  | 'reader-remembers';

interface LogState {
  /** The log as it lies in the database: who wrote each entry. */
  readonly stored: readonly ('daemon' | 'database')[];
  /** How many entries the daemon was told are stored. */
  readonly acknowledged: number;
  /** The largest tree that was signed: what it covers. */
  readonly signed: readonly ('daemon' | 'database')[];
  /** The tree that a reader saw last. */
  readonly seen: string | undefined;
  readonly stopped: boolean;
  readonly broken: string | undefined;
}

const ACTS = 3;

/** A daemon appends three entries and signs trees; a reader looks. The adversary does to the stored log as they like. */
export function logModel(off: Off<LogCheck>): Model<LogState> {
  return {
    initial: { stored: [], acknowledged: 0, signed: [], seen: undefined, stopped: false, broken: undefined },
    key: (state) => JSON.stringify(state),
    moves: (state) => (state.broken !== undefined || state.stopped ? [] : movesIn(state, off)),
    broken: (state) => state.broken,
  };
}

function* movesIn(state: LogState, off: Off<LogCheck>): Iterable<Move<LogState>> {
  const { stored, acknowledged, signed, seen } = state;
  if (acknowledged < ACTS) {
    const told = { ...state, acknowledged: acknowledged + 1 };
    yield { what: 'the daemon appends an entry', to: { ...told, stored: [...stored, 'daemon'] } };
    yield { what: 'an append is acknowledged and not stored', to: told };
  }
  if (stored.length < ACTS + 1)
    yield { what: 'the database inserts an entry', to: { ...state, stored: [...stored, 'database'] } };
  if (stored.length > signed.length) yield signs(state, off);
  if (signed.length > 0) {
    yield {
      what: 'a copy from before the last tree is put back, and the daemon starts on it',
      to: off.has('anchor-in-token')
        ? { ...state, broken: 'the log cannot be cut short unnoticed' }
        : { ...state, stopped: true },
    };
    const tree = signed.join();
    if (seen === undefined || tree.startsWith(seen))
      yield { what: 'a reader sees the newest tree', to: { ...state, seen: tree } };
    // whoever holds the log's key as well: the reader's memory is what there is against it
    if (seen !== undefined && off.has('reader-remembers'))
      yield {
        what: 'a reader is shown another log',
        to: { ...state, broken: 'no reader believes two logs' },
      };
    if (off.has('history-from-state'))
      yield {
        what: 'an entry is left out of the index of its owner',
        to: { ...state, broken: 'a history that is said to be complete is' },
      };
  }
}

/** The integrator hashes every leaf itself; the daemon compares its own. */
function signs(state: LogState, off: Off<LogCheck>): Move<LogState> {
  const { stored, acknowledged } = state;
  const what = 'a tree over all that is stored is signed';
  const hasForeign = stored.includes('database');
  if (hasForeign && !off.has('leaves-signed-by-writers'))
    return { what: 'the tree is refused', to: { ...state, stopped: true } };
  const isMissing = stored.filter((by) => by === 'daemon').length < acknowledged;
  if (isMissing && !off.has('own-leaves-compared'))
    return { what: 'the daemon misses a leaf of its own', to: { ...state, stopped: true } };
  const broken = hasForeign
    ? 'no tree has an entry that no daemon wrote'
    : isMissing
      ? 'what was acknowledged is in the next tree'
      : undefined;
  return { what, to: { ...state, signed: stored, broken } };
}
