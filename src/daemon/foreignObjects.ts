import type { UnaccountedObject } from '../escrow/ports/token.js';
import type { AlarmBook } from './health.js';
import { type OperatorLog, reasonsOf } from './operatorLog.js';

/** How the objects of the token are looked for, and how often; who is told. */
export interface ObjectsWatched {
  /** What nothing accounts for now. */
  readonly look: () => Promise<readonly UnaccountedObject[]>;
  readonly everyMs: number;
  /** What was found is looked for again so much later; longer than it takes to destroy what a record no longer has. */
  readonly againMs: number;
  readonly alarms: Pick<AlarmBook, 'clear'>;
  readonly log: OperatorLog;
}

/** The alarms, and what is said of the objects. */
const MESSAGES = {
  'token-object-foreign': 'the token holds what nothing accounts for',
  'token-object-twice': 'the token holds more than one object of a name',
} as const satisfies Record<UnaccountedObject['alarm'], string>;

/**
 * Looks at once, and then every `everyMs`, for objects that nothing accounts for. One that is found twice, `againMs` apart, is told
 * to the operators as an alarm; that is over when it is not found any more. Returns how to stop it.
 */
export function watchObjects(watched: ObjectsWatched): () => Promise<void> {
  const { look, everyMs, againMs, log } = watched;
  const objectAlarms = new ObjectAlarms(watched);
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;
  let fault = '';
  const lookOnce = async (): Promise<number> => {
    try {
      const isSettled = objectAlarms.take(await look());
      fault = '';
      return isSettled ? everyMs : againMs;
    } catch (error) {
      const reason = reasonsOf(error);
      if (reason !== fault && !isStopped)
        log.warn('the objects of the token could not be accounted for; it is tried again', { reason });
      fault = reason;
      return againMs;
    }
  };
  let round: Promise<void> = Promise.resolve();
  const next = (): void => {
    round = lookOnce().then((waitMs) => {
      if (!isStopped) timer = setTimeout(next, waitMs);
    });
  };
  next();
  return async () => {
    isStopped = true;
    clearTimeout(timer);
    await round;
  };
}

/** So many objects are named, at most. */
const MAX_NAMED = 8;

/** What the operators have been told. */
class ObjectAlarms {
  readonly #told = new Map<UnaccountedObject['alarm'], string>();
  #before: ReadonlySet<string> = new Set();

  constructor(private readonly watched: Pick<ObjectsWatched, 'alarms' | 'log'>) {}

  /** Tells of what was found before as well. Whether all that is found has been told. */
  take(found: readonly UnaccountedObject[]): boolean {
    const keys = found.map(keyOf);
    const lasting = found.filter((object) => this.#before.has(keyOf(object)));
    const isSettled = lasting.length === found.length;
    for (const alarm of Object.keys(MESSAGES) as UnaccountedObject['alarm'][])
      this.#tell(
        alarm,
        lasting.filter((object) => object.alarm === alarm).map(({ what }) => what),
      );
    this.#before = new Set(keys);
    return isSettled;
  }

  #tell(alarm: UnaccountedObject['alarm'], objects: readonly string[]): void {
    const { log, alarms } = this.watched;
    const all = [...objects].sort().join(', ');
    if (all === (this.#told.get(alarm) ?? '')) return;
    this.#told.set(alarm, all);
    if (objects.length === 0) {
      alarms.clear(alarm);
      log.info('the token holds no such object any more', { was: alarm });
      return;
    }
    const named = [...objects].sort().slice(0, MAX_NAMED).join(', ');
    const more = objects.length > MAX_NAMED ? `, and ${objects.length - MAX_NAMED} more` : '';
    log.error(`${MESSAGES[alarm]}: ${named}${more}`, { alarm });
  }
}

const keyOf = ({ alarm, what }: UnaccountedObject): string => `${alarm} ${what}`;
