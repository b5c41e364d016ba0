import { Gauge, Histogram, type Registry } from 'prom-client';

import { NotHeld, type Journal } from '../escrow/ports/journal.js';
import type { WitnessedLog } from '../escrow/ports/log.js';

const APPEND_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** The same journal; how long each entry takes to be durable is measured. */
export function meteredJournal(registry: Registry, journal: Journal): Journal {
  const appends = new Histogram({
    name: 'escrowd_log_append_duration_seconds',
    help: 'Entries handed to the log: recorded, not recorded because a claim did not hold (not-held), or failed.',
    labelNames: ['result'],
    buckets: APPEND_SECONDS,
    registers: [registry],
  });
  const results = {
    recorded: appends.labels('recorded'),
    'not-held': appends.labels('not-held'),
    failed: appends.labels('failed'),
  };
  return {
    append: async (write) => {
      const beganAt = performance.now();
      let result: keyof typeof results = 'failed';
      try {
        const stands = await journal.append(write);
        result = 'recorded';
        return stands;
      } catch (error) {
        if (error instanceof NotHeld) result = 'not-held';
        throw error;
      } finally {
        results[result].observe((performance.now() - beganAt) / 1000);
      }
    },
    openActs: () => journal.openActs(),
    proven: (index) => journal.proven(index),
  };
}

/** The same log, for those who show it to witnesses; what each has cosigned is noted as it passes. */
export function meteredWitnessedLog(registry: Registry, log: WitnessedLog): WitnessedLog {
  const registers = [registry];
  const entries = new Gauge({
    name: 'escrowd_witness_cosigned_entries',
    help: 'Entries under the newest checkpoint that a witness has cosigned.',
    labelNames: ['witness'],
    registers,
  });
  const cosignedAt = new Gauge({
    name: 'escrowd_witness_cosigned_timestamp_seconds',
    help: 'When a witness last cosigned, by its own clock; 0: never.',
    labelNames: ['witness'],
    registers,
  });
  const note = (witness: string, size: number, at: number): void => {
    entries.set({ witness }, size);
    cosignedAt.set({ witness }, at);
  };
  return {
    newest: () => log.newest(),
    consistency: (oldSize, newSize) => log.consistency(oldSize, newSize),
    cosignedBy: async (name, keyId) => {
      const kept = await log.cosignedBy(name, keyId);
      note(name, kept.size, kept.at);
      return kept;
    },
    keep: async (cosignature) => {
      await log.keep(cosignature);
      note(cosignature.name, cosignature.size, cosignature.at);
    },
  };
}
