import { Counter, Gauge, type Registry } from 'prom-client';

import type { DatabaseHealth, PoolConnections } from '../escrow/ports/databaseState.js';
import type { SinkState } from '../escrow/ports/outbox.js';

/** What a daemon knows of itself without asking anybody, as it is when figures are asked for. */
export interface Known {
  readonly health: {
    readonly ok: boolean;
    readonly alarms: readonly { readonly alarm: string; readonly times: number }[];
    readonly notifications: readonly SinkState[];
    readonly unenforced: readonly string[];
  };
  readonly token: {
    readonly isInService: boolean;
    /** How often it was opened. */
    readonly openings: number;
    /** Grants that run, by the log. */
    readonly grants: number;
    /** How many there may be, where that is known. */
    readonly maxGrants: number | undefined;
  };
  /** All configured witnesses, and those of them that do not cosign now. */
  readonly witnesses: { readonly names: readonly string[]; readonly silent: readonly string[] };
  readonly connections: PoolConnections;
  /** The end of validity of the certificate that is served. */
  readonly certificateUntil: Date | undefined;
}

/** Takes what the daemon knows into figures. */
export interface StateFigures {
  /** To be called before each scrape. */
  take(known: Known): void;
  /** To be called when the database was looked after. */
  sawDatabase(seen: DatabaseHealth): void;
}

type Labelled = Readonly<Record<string, string>>;

/** @param now in milliseconds of the epoch */
export function stateIn(registry: Registry, version: string, now: () => number): StateFigures {
  const registers = [registry];
  /** A gauge that is not there before it is set for the first time. */
  const gauge = (
    name: string,
    help: string,
    labelNames: readonly string[] = [],
  ): { set(labels: Labelled, value: number): void; clear(): void } => {
    const made = new Gauge({ name, help, labelNames: [...labelNames], registers });
    const clear = (): void => {
      made.reset();
      // one without labels begins with 0, which is not known yet
      if (labelNames.length === 0) made.remove();
    };
    clear();
    return {
      set: (labels, value) => {
        made.set(labels, value);
      },
      clear,
    };
  };
  gauge('escrowd_build_info', 'The version of escrowd that runs; always 1.', ['version']).set({ version }, 1);
  const database = databaseFigures(gauge, now);
  const taken = [
    healthFigures(gauge),
    tokenFigures(gauge, registry),
    sinkFigures(gauge),
    witnessFigures(gauge),
    placeFigures(gauge),
  ];
  return {
    take: (known) => {
      for (const take of taken) take(known);
    },
    sawDatabase: database,
  };
}

type MakeGauge = (
  name: string,
  help: string,
  labelNames?: readonly string[],
) => { set(labels: Labelled, value: number): void; clear(): void };

function databaseFigures(gauge: MakeGauge, now: () => number): (seen: DatabaseHealth) => void {
  const up = gauge('escrowd_database_up', 'Whether the database answers.');
  const writable = gauge('escrowd_log_writable', 'Whether the log can be written, as far as it was tried.');
  const follows = gauge(
    'escrowd_log_checkpoint_follows',
    'Whether the last try to bring the checkpoint up to date went well.',
  );
  const entries = gauge('escrowd_log_entries', 'Entries of the log.');
  const behind = gauge(
    'escrowd_log_unintegrated_entries',
    'Entries that the newest checkpoint does not cover.',
  );
  const signedAt = gauge(
    'escrowd_log_checkpoint_timestamp_seconds',
    'When this daemon first saw the newest checkpoint. Without new entries there is none newer.',
  );
  const apart = gauge(
    'escrowd_clock_apart_seconds',
    'By how much the clock of this daemon is ahead of that of the database; 0 while they agree within 5 seconds.',
  );
  let covered: number | undefined;
  return (seen) => {
    up.set({}, Number(seen.answers));
    if (!seen.answers) {
      // nobody knows how these are
      for (const unknown of [writable, follows, behind, apart]) unknown.clear();
      return;
    }
    writable.set({}, Number(seen.journalFault === undefined));
    follows.set({}, Number(seen.integratorFault === undefined));
    entries.set({}, seen.entries);
    // read one after the other: a checkpoint may be newer than the size
    behind.set({}, Math.max(0, seen.entries - seen.checkpointed));
    apart.set({}, (seen.clocksApartMs ?? 0) / 1000);
    if (seen.checkpointed !== covered) signedAt.set({}, now() / 1000);
    covered = seen.checkpointed;
  };
}

function healthFigures(gauge: MakeGauge): (known: Known) => void {
  const ready = gauge('escrowd_ready', 'Whether the daemon can work, as /readyz says.');
  const alarms = gauge(
    'escrowd_alarms',
    'How often each alarm was told since the start; not there when it was never, or is over.',
    ['alarm'],
  );
  const unenforced = gauge(
    'escrowd_token_unenforced_attacks',
    'Attacks that the token does not refuse and that the configuration accepts.',
  );
  return ({ health }) => {
    ready.set({}, Number(health.ok));
    alarms.clear();
    for (const { alarm, times } of health.alarms) alarms.set({ alarm }, times);
    unenforced.set({}, health.unenforced.length);
  };
}

function tokenFigures(gauge: MakeGauge, registry: Registry): (known: Known) => void {
  const up = gauge('escrowd_token_up', 'Whether the token works, as its own probe found it last.');
  const grants = gauge(
    'escrowd_token_grants',
    'Grants that run, by the log; each is an object in the token.',
  );
  const limit = gauge('escrowd_token_grants_limit', 'How many grants the token may hold (token.maxGrants).');
  const openings = new Counter({
    name: 'escrowd_token_openings_total',
    help: 'How often the token was opened.',
    registers: [registry],
  });
  let opened = 0;
  return ({ token }) => {
    up.set({}, Number(token.isInService));
    grants.set({}, token.grants);
    if (token.maxGrants !== undefined) limit.set({}, token.maxGrants);
    openings.inc(token.openings - opened);
    opened = token.openings;
  };
}

function sinkFigures(gauge: MakeGauge): (known: Known) => void {
  const waiting = gauge(
    'escrowd_sink_waiting_entries',
    'Entries of the log that a sink of notifications has not come to.',
    ['sink'],
  );
  const failing = gauge('escrowd_sink_failing', 'Whether the last try of a sink failed.', ['sink']);
  const givenUp = gauge(
    'escrowd_sink_given_up_notices',
    'Notices that were given up, and not delivered since.',
    ['sink'],
  );
  return ({ health: { notifications } }) => {
    for (const { sink, waiting: entries, fault, dropped } of notifications) {
      waiting.set({ sink }, entries);
      failing.set({ sink }, Number(fault !== undefined));
      givenUp.set({ sink }, dropped);
    }
  };
}

function witnessFigures(gauge: MakeGauge): (known: Known) => void {
  const cosigns = gauge('escrowd_witness_cosigns', 'Whether a configured witness cosigns now.', ['witness']);
  return ({ witnesses: { names, silent } }) => {
    for (const witness of names) cosigns.set({ witness }, Number(!silent.includes(witness)));
  };
}

function placeFigures(gauge: MakeGauge): (known: Known) => void {
  const connections = gauge(
    'escrowd_database_connections',
    'Connections to the database, but the one that appends.',
    ['state'],
  );
  const limit = gauge('escrowd_database_connections_limit', 'How many of these there may be.');
  const waiting = gauge('escrowd_database_connections_waiting', 'Statements that wait for a connection.');
  const until = gauge(
    'escrowd_tls_certificate_expiry_timestamp_seconds',
    'When the certificate that is served ends.',
  );
  return ({ connections: use, certificateUntil }) => {
    connections.set({ state: 'used' }, use.used);
    connections.set({ state: 'idle' }, use.idle);
    limit.set({}, use.limit);
    waiting.set({}, use.waiting);
    if (certificateUntil !== undefined) until.set({}, certificateUntil.getTime() / 1000);
  };
}
