import { Counter, Histogram, type Registry } from 'prom-client';

import { MEANS } from '../escrow/ledger/means.js';
import type { LedgerParts } from '../escrow/ledger/ledger.js';

/** A request that is over, as far as it is counted. */
export interface RequestCounted {
  readonly method: string | undefined;
  /** The path of a route, with its parameters' names; undefined: of none. */
  readonly route: string | undefined;
  readonly status: number;
  readonly code: string | undefined;
  readonly durationMs: number;
  readonly isCut: boolean;
}

/** Told of what happens: each call adds to numbers in memory, and waits for nothing. */
export interface Counted {
  readonly acted: NonNullable<LedgerParts['acted']>;
  readonly answered: (request: RequestCounted) => void;
}

const REQUEST_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** What routes have; a caller may name any other. */
const METHODS: ReadonlySet<string | undefined> = new Set(['GET', 'POST']);

/** Counts acts and requests. No label has a value that a caller chooses: routes, codes and acts are those of the program. */
export function countedIn(registry: Registry): Counted {
  const registers = [registry];
  const acts = new Counter({
    name: 'escrowd_acts_total',
    help: 'Outcomes of acts that this daemon has recorded in the log, or counted to be recorded together.',
    labelNames: ['act', 'outcome', 'code'],
    registers,
  });
  const requests = new Histogram({
    name: 'escrowd_request_duration_seconds',
    help: 'Requests to the API, from the end of the headers to the end of the answer.',
    labelNames: ['method', 'route', 'status'],
    buckets: REQUEST_SECONDS,
    registers,
  });
  const problems = new Counter({
    name: 'escrowd_request_problems_total',
    help: 'Requests that were answered with a problem, by its code.',
    labelNames: ['code'],
    registers,
  });
  const cut = new Counter({
    name: 'escrowd_requests_cut_total',
    help: 'Requests whose connection was lost before the whole answer had left.',
    registers,
  });
  // what it is about is looked up by one text: the library would sort and join its labels each time
  const durations = new Map<string, { observe(seconds: number): void }>();
  const done = new Map<string, { inc(): void }>();
  return {
    acted: (act, outcome, code) => {
      const name = `${act} ${outcome} ${code ?? ''}`;
      let counter = done.get(name);
      if (counter === undefined) {
        counter = acts.labels({ act: Object.hasOwn(MEANS, act) ? act : 'other', outcome, code: code ?? '' });
        done.set(name, counter);
      }
      counter.inc();
    },
    answered: ({ method, route = 'none', status, code, durationMs, isCut }) => {
      const called = METHODS.has(method) ? String(method) : 'other';
      const name = `${called} ${route} ${status}`;
      let histogram = durations.get(name);
      if (histogram === undefined) {
        const family = `${Math.floor(status / 100)}xx`;
        histogram = requests.labels({ method: called, route, status: family });
        durations.set(name, histogram);
      }
      histogram.observe(durationMs / 1000);
      if (code !== undefined) problems.inc({ code });
      if (isCut) cut.inc();
    },
  };
}
