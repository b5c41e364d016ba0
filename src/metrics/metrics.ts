import { X509Certificate } from 'node:crypto';

import { Registry, collectDefaultMetrics } from 'prom-client';

import type { Clock } from '../escrow/ports/clock.js';
import type { DatabaseHealth } from '../escrow/ports/databaseState.js';
import type { Journal } from '../escrow/ports/journal.js';
import type { WitnessedLog } from '../escrow/ports/log.js';
import { type Counted, countedIn } from './counted.js';
import { meteredJournal, meteredWitnessedLog } from './meteredLog.js';
import { type TokenMeter, tokenMeterIn } from './meteredToken.js';
import { type Known, stateIn } from './state.js';
import { type Surveyed, startSurvey } from './survey.js';

/** The figures of one daemon, for whoever runs it. */
export interface Metrics extends Counted, TokenMeter {
  /** The same journal, measured. */
  journal(journal: Journal): Journal;
  /** The same log, measured. */
  witnessed(log: WitnessedLog): WitnessedLog;
  /** The database was looked after, and says this of itself. */
  sawDatabase(seen: DatabaseHealth): void;
  /** This certificate (PEM) is served from now on. */
  serves(certificate: string): void;
  /** See {@link startSurvey}. */
  survey(surveyed: Surveyed): () => Promise<void>;
  /** All figures in the text format of Prometheus 0.0.4. It asks neither token nor database. */
  scrape(known: Omit<Known, 'certificateUntil'>): Promise<Scraped>;
}

export interface Scraped {
  readonly contentType: string;
  readonly text: string;
}

/** Figures that begin at 0. Nothing in them is secret, and no label names an owner, a key, a person or an address. */
export function metricsOf(version: string, clock: Pick<Clock, 'now'>): Metrics {
  const registry = new Registry();
  const now = (): number => clock.now().getTime();
  const state = stateIn(registry, version, now);
  let certificateUntil: Date | undefined;
  let hasProcess = false;
  return {
    ...countedIn(registry),
    ...tokenMeterIn(registry, now),
    journal: (journal) => meteredJournal(registry, journal),
    witnessed: (log) => meteredWitnessedLog(registry, log),
    sawDatabase: (seen) => {
      state.sawDatabase(seen);
    },
    serves: (certificate) => {
      certificateUntil = new Date(new X509Certificate(certificate).validTo);
    },
    survey: (surveyed) => startSurvey(registry, surveyed),
    scrape: async (known) => {
      // its observers cost something, and nobody may ever ask
      if (!hasProcess) collectDefaultMetrics({ register: registry });
      hasProcess = true;
      state.take({ ...known, certificateUntil });
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}
