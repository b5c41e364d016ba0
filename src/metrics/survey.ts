import { setImmediate, setTimeout as pause } from 'node:timers/promises';

import { Gauge, type Registry } from 'prom-client';

import type { Escrow } from '../escrow/escrow.js';
import type { SinkState } from '../escrow/ports/outbox.js';
import { countCoverage } from '../escrow/reads/coverage.js';
import { statusAt } from '../escrow/records/recovery.js';
import { COVERAGES } from '../escrow/rules/liveQuorums.js';
import { decodeEntry } from '../log/entry/entry.js';

/** What is looked at, and how often. */
export interface Surveyed {
  readonly escrow: Pick<Escrow, 'directory' | 'token' | 'followed' | 'store' | 'log' | 'clock'>;
  /** How far each sink of notifications is. */
  readonly sinks: () => Promise<readonly SinkState[]>;
  readonly everyMs: number;
  /** Told when something could not be looked at; once for each reason in a row. */
  readonly failed: (what: string, error: unknown) => void;
}

/** One thing to look at. What could not be seen stays as it was, with the time of then. */
interface Look {
  readonly what: string;
  readonly look: (surveyed: Surveyed) => Promise<void>;
}

/**
 * Looks, at once and every `everyMs`, at what costs too much to look at whenever somebody asks: who could bring back how many
 * keys, how long requests wait, and what waits at the sinks. Returns how to stop it.
 */
export function startSurvey(registry: Registry, surveyed: Surveyed): () => Promise<void> {
  const looks = [keysIn(registry), requestsIn(registry), sinksIn(registry)];
  const reasons = new Map<string, string>();
  const stopping = new AbortController();
  const rounds = (async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      for (const { what, look } of looks) {
        try {
          await look(surveyed);
          reasons.delete(what);
        } catch (error) {
          const reason = String(error);
          if (reasons.get(what) !== reason) surveyed.failed(what, error);
          reasons.set(what, reason);
        }
      }
      await pause(surveyed.everyMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  })();
  return async () => {
    stopping.abort();
    await rounds;
  };
}

function keysIn(registry: Registry): Look {
  const keys = new Gauge({
    name: 'escrowd_keys',
    help: 'Deposited keys by how well they are covered, each for the purpose for which it is covered worst.',
    labelNames: ['coverage'],
    registers: [registry],
  });
  const countedAt = timestamp(
    registry,
    'escrowd_keys_timestamp_seconds',
    'When the keys were last counted; not while the token is out.',
  );
  return {
    what: 'who could bring back the keys',
    look: async ({ escrow }) => {
      const totals = await countCoverage(escrow, () => setImmediate());
      if (totals === undefined) return;
      for (const coverage of COVERAGES) keys.set({ coverage }, totals[coverage]);
      countedAt.set(escrow.clock.now());
    },
  };
}

function requestsIn(registry: Registry): Look {
  const open = new Gauge({
    name: 'escrowd_recoveries_open',
    help: 'Recovery requests that have not ended: pending ones wait for people, approved ones are due or wait for a delay.',
    labelNames: ['status'],
    registers: [registry],
  });
  const oldest = timestamp(
    registry,
    'escrowd_recovery_oldest_pending_timestamp_seconds',
    'When the oldest of the pending requests was filed; not there when none is pending.',
  );
  const lookedAt = timestamp(
    registry,
    'escrowd_recoveries_timestamp_seconds',
    'When the open requests were last counted.',
  );
  return {
    what: 'the open requests',
    look: async ({ escrow: { store, clock } }) => {
      const all = await store.openRecoveries();
      const now = clock.now();
      const pending = all.filter((one) => statusAt(one, now) === 'pending');
      const approved = all.filter((one) => statusAt(one, now) === 'approved');
      open.set({ status: 'pending' }, pending.length);
      open.set({ status: 'approved' }, approved.length);
      oldest.set(earliest(pending.map(({ filedAt }) => filedAt)));
      lookedAt.set(now);
    },
  };
}

function sinksIn(registry: Registry): Look {
  const oldest = new Gauge({
    name: 'escrowd_sink_oldest_waiting_timestamp_seconds',
    help: 'When the first entry was recorded that a sink has not come to; not there when it has come to all.',
    labelNames: ['sink'],
    registers: [registry],
  });
  return {
    what: 'what waits at the sinks',
    look: async ({ escrow: { log }, sinks }) => {
      const found: (readonly [sink: string, at: number])[] = [];
      for (const { sink, waiting, next } of await sinks()) {
        if (waiting <= 0) continue;
        const [first] = await log.entries(next, 1);
        if (first !== undefined) found.push([sink, Date.parse(decodeEntry(first.entry).time)]);
      }
      oldest.reset();
      for (const [sink, at] of found) oldest.set({ sink }, at / 1000);
    },
  };
}

function earliest(instants: readonly Date[]): Date | undefined {
  return instants.reduce<Date | undefined>(
    (first, one) => (first === undefined || one < first ? one : first),
    undefined,
  );
}

/** An instant, which is not there while there is none. */
function timestamp(registry: Registry, name: string, help: string): { set(at: Date | undefined): void } {
  const gauge = new Gauge({ name, help, registers: [registry] });
  gauge.remove();
  return {
    set: (at) => {
      if (at === undefined) gauge.remove();
      else gauge.set(at.getTime() / 1000);
    },
  };
}
