import { setTimeout as pause } from 'node:timers/promises';
import { type Housekeeping, keepHouse } from '../escrow/acts/housekeeping.js';
import { HouseMemory } from '../escrow/acts/houseMemory.js';
import { STRAY_FOR_MS } from '../escrow/acts/strays.js';
import type { Escrow } from '../escrow/escrow.js';
import { missingKeks } from '../escrow/reads/coverage.js';
import { EscrowError } from '../escrow/records/errors.js';
import type { Database } from '../postgres/database.js';
import type { AlarmBook } from './health.js';
import { type OperatorLog, reasonsOf } from './operatorLog.js';

/**
 * Keeps house once before serving and then every `everyMs`; the whole token is looked through at the start, when there is reason
 * to, and every `tokenEveryMs`. Returns how to stop it.
 */
export async function keepHouseRegularly(
  {
    escrow,
    database,
    alarms,
    log,
  }: {
    readonly escrow: Escrow;
    readonly database: Database;
    readonly alarms: AlarmBook;
    readonly log: OperatorLog;
  },
  { everyMs, tokenEveryMs }: { readonly everyMs: number; readonly tokenEveryMs: number },
): Promise<() => Promise<void>> {
  let missed = '';
  let contradicted = '';
  let lostKeks = '';
  const memory = new HouseMemory(tokenEveryMs);
  const round = async (): Promise<Housekeeping> => {
    const done = await keepHouse(escrow, database.journal, memory);
    const missing = done.missing.join(' ');
    if (missing !== missed && missing !== '')
      log.error('the token does not hold what the records say that it holds', {
        alarm: 'token-object-missing',
        objects: missing,
      });
    missed = missing;
    const records = done.contradictions.map(({ id }) => id).join(' ');
    if (records !== contradicted && records === '') {
      alarms.clear('record-mismatch');
      log.info('the records say what the log says again');
    } else if (records !== contradicted) {
      log.error('records do not say what the log says; they are passed over', {
        alarm: 'record-mismatch',
        records: inWords(done.contradictions),
      });
    }
    contradicted = records;
    const lost =
      (await missingKeks(escrow))?.map(({ kek, keys }) => `${kek} (${keys})`).join(', ') ?? lostKeks;
    if (lost !== lostKeks && lost !== '')
      log.error(
        'keys lie under key-encryption keys that the token does not hold: nobody brings these back by it',
        {
          alarm: 'kek-missing',
          keks: lost,
        },
      );
    lostKeks = lost;
    if (done.strays > 0)
      log.info('destroyed what belonged to nothing in the token', { objects: done.strays });
    return done;
  };
  // a daemon whose clock is off serves nobody, and goes on by itself when that is over
  const first = await round().catch((error: unknown) => {
    if (error instanceof EscrowError && error.code === 'clock-differs') return undefined;
    throw error;
  });
  if (first !== undefined) {
    const { missing, contradictions, ...counts } = first;
    log.info('settled what was left', {
      ...counts,
      missing: missing.length,
      contradictions: contradictions.length,
    });
  }
  const stopping = new AbortController();
  const rounds = (async (): Promise<void> => {
    // what may be a stray is looked at again as soon as it can be told
    const nextMs = (): number => (memory.token.strays.size > 0 ? Math.min(everyMs, STRAY_FOR_MS) : everyMs);
    let fault = '';
    while (await pausedFor(nextMs(), stopping.signal)) {
      try {
        await round();
        if (fault !== '') log.info('housekeeping works again');
        fault = '';
      } catch (error) {
        const reason = reasonsOf(error);
        if (reason !== fault) log.warn('housekeeping failed; it is tried again', { reason });
        fault = reason;
      }
    }
  })();
  return async () => {
    stopping.abort();
    await rounds;
    await escrow.ledger.recordCounted(0).catch((error: unknown) => {
      log.warn('refusals that were counted could not be recorded', { reason: reasonsOf(error) });
    });
  };
}

/** Whether the time passed without being told to stop. */
async function pausedFor(ms: number, stop: AbortSignal): Promise<boolean> {
  await pause(ms, undefined, { signal: stop }).catch(() => undefined);
  return !stop.aborted;
}

/** So many records are named, at most. */
const MAX_NAMED = 8;

function inWords(contradictions: Housekeeping['contradictions']): string {
  const named = contradictions.slice(0, MAX_NAMED).map(({ id, reason }) => `${id} (${reason})`);
  const more = contradictions.length - named.length;
  return `${named.join(', ')}${more > 0 ? `, and ${more} more` : ''}`;
}
