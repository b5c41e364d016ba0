import type { SinkState } from '../escrow/ports/outbox.js';
import type { Alarm, Health } from '../http/management.js';
import { type OperatorLog, reasonsOf } from './operatorLog.js';
import type { Database } from '../postgres/database.js';
import type { Witnessing } from '../cosigning/witnessing.js';

/** What is looked at to say how a daemon is; to look is no use of any of it. */
export interface HealthParts {
  /** The token, as its own probe found it last. Asking it here is no use of it. */
  readonly token: { requireInService(): void; readonly older: readonly string[] };
  readonly database: Pick<Database, 'health'>;
  readonly witnessing: Pick<Witnessing, 'silent'>;
  readonly notifications: { states(): Promise<readonly SinkState[]> };
  readonly alarms: AlarmBook;
  /** What is to be said of certificates that end. */
  readonly certificates?: {
    state(): { readonly problems: readonly string[]; readonly notes: readonly string[] };
  };
  readonly unenforced: readonly string[];
}

/** The health of a daemon, as it was found last. */
export interface HealthWatch {
  /** Costs nothing. One that was found too long ago is a problem itself. */
  latest(): Health;
  stop(): Promise<void>;
}

/** So many rounds may be missed before the daemon no longer believes what it knows of itself. */
const MISSED_ROUNDS = 5;

/**
 * Looks after the health of a daemon every `everyMs`, so that nobody who asks for it makes it ask anything. Resolves when it was
 * found for the first time.
 *
 * @param staleMs what was found longer ago than that is not believed any more
 */
export async function watchHealth(
  parts: HealthParts,
  {
    everyMs,
    staleMs,
    log,
  }: { readonly everyMs: number; readonly staleMs: number; readonly log: OperatorLog },
): Promise<HealthWatch> {
  let found = { health: await healthOf(parts), atMs: performance.now() };
  const changes = new Changes(log);
  changes.tell(found.health.problems);
  let fault = '';
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;
  let round = Promise.resolve();
  const next = (): void => {
    if (isStopped) return;
    timer = setTimeout(() => {
      round = healthOf(parts)
        .then((health) => {
          found = { health, atMs: performance.now() };
          changes.tell(health.problems);
          fault = '';
        })
        .catch((error: unknown) => {
          const reason = reasonsOf(error);
          if (reason !== fault) log.warn('the health of the daemon could not be found', { reason });
          fault = reason;
        })
        .finally(next);
    }, everyMs);
    timer.unref();
  };
  next();
  return {
    latest: () => {
      const alarms = parts.alarms.list();
      const isStale = performance.now() - found.atMs > staleMs + MISSED_ROUNDS * everyMs;
      if (!isStale) return { ...found.health, alarms };
      const problems = ['How the daemon is has not been found for too long.', ...found.health.problems];
      return { ...found.health, ok: false, problems, alarms };
    },
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
      await round;
    },
  };
}

/** Tells the operators what begins to keep the daemon from working, and what is over: a line each, however long it lasts. */
class Changes {
  #problems = new Map<string, string>();

  constructor(private readonly log: OperatorLog) {}

  tell(problems: readonly string[]): void {
    // by how much clocks are apart changes all the time
    const now = new Map(problems.map((problem) => [problem.replace(/[0-9]+/g, '#'), problem]));
    for (const [kind, problem] of now)
      if (!this.#problems.has(kind)) this.log.warn('the daemon cannot work', { problem });
    for (const [kind, problem] of this.#problems)
      if (!now.has(kind)) this.log.info('the daemon can work again, as far as this goes', { problem });
    this.#problems = now;
  }
}

async function healthOf(parts: HealthParts): Promise<Health> {
  const { token, database, witnessing, notifications, unenforced } = parts;
  const certificates = parts.certificates?.state();
  const health = await database.health();
  const problems = [
    ...(isInService(token) ? [] : ['The token does not answer.']),
    ...(health.answers ? [] : ['The database does not answer.']),
    ...(health.answers && health.journalFault !== undefined ? ['The log cannot be written.'] : []),
    ...(health.answers && health.clocksApartMs !== undefined ? [apartInWords(health.clocksApartMs)] : []),
    ...(health.answers && health.integratorFault !== undefined ? ['Checkpoints do not follow the log.'] : []),
    ...(certificates?.problems ?? []),
  ];
  const notes = [
    ...witnessing.silent.map((name) => `The witness ${name} does not cosign now.`),
    ...olderInWords(token.older),
    ...(certificates?.notes ?? []),
  ];
  // who is not told yet is told later: that keeps nobody from working
  const sinks = health.answers ? await notifications.states().catch(() => []) : [];
  return { ok: problems.length === 0, problems, notes, notifications: sinks, alarms: [], unenforced };
}

/** So many keys of an older ceremony are named, at most. */
const MAX_NAMED = 8;

/** The KEKs first: what is under them is what a renewal is for. */
function olderInWords(older: readonly string[]): readonly string[] {
  if (older.length === 0) return [];
  const keks = older.filter((label) => label.startsWith('kek:'));
  const all = [...keks, ...older.filter((label) => !label.startsWith('kek:'))];
  const more = all.length > MAX_NAMED ? ` and ${all.length - MAX_NAMED} more` : '';
  const named = `${all.slice(0, MAX_NAMED).join(', ')}${more}`;
  return [`Keys of an older ceremony are in use (${named}): run \`ceremony renew\`.`];
}

/** While they are apart nothing begins and nothing ends. */
function apartInWords(apartMs: number): string {
  const seconds = Math.max(1, Math.round(Math.abs(apartMs) / 1000));
  const which = apartMs > 0 ? 'ahead of' : 'behind';
  return `The clock of this daemon is ${seconds} seconds ${which} that of the database: nothing begins and nothing ends.`;
}

function isInService(token: HealthParts['token']): boolean {
  try {
    token.requireInService();
    return true;
  } catch {
    return false;
  }
}

/** The most kinds of alarms that are kept. Their names are a closed list in the program, and far fewer. */
const MAX_ALARMS = 64;

/** The alarms that the operators' log was told since the daemon started, and that are not over: one of each name, with how often. */
export class AlarmBook {
  readonly #alarms = new Map<string, Alarm>();
  readonly #now: () => Date;

  constructor(log: OperatorLog, now: () => Date) {
    this.#now = now;
    log.on('data', (line: Readonly<Record<string, unknown>>) => {
      const { alarm, message } = line;
      if (typeof alarm === 'string') this.#note(alarm, String(message));
    });
  }

  /** Whatever it was about is over. */
  clear(alarm: string): void {
    this.#alarms.delete(alarm);
  }

  list(): readonly Alarm[] {
    return [...this.#alarms.values()];
  }

  #note(alarm: string, message: string): void {
    const times = (this.#alarms.get(alarm)?.times ?? 0) + 1;
    if (times === 1 && this.#alarms.size >= MAX_ALARMS) return;
    this.#alarms.set(alarm, { alarm, message, times, lastAt: this.#now() });
  }
}
