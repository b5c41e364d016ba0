import { setTimeout as pause } from 'node:timers/promises';

import type { Notice } from '../escrow/records/notice.js';
import type { NoticeCursor, Outbox } from '../escrow/ports/outbox.js';
import type { Clock } from '../escrow/ports/clock.js';
import type { LogReader, StoredEntry } from '../escrow/ports/log.js';
import { backOffMs } from '../system/backOff.js';
import { messageOf } from '../system/errors.js';
import type { DeliveryResult, Notices, Sink } from './sink.js';
import { RESTS, TRIES } from './tries.js';

/** Where a deliverer finds the notices of each entry, and how far each sink has come. */
export interface DelivererParts {
  readonly outbox: Outbox;
  readonly log: Pick<LogReader, 'entries'>;
  /** The notices of an entry, always the same, in the same order. */
  readonly noticesAbout: (entry: StoredEntry) => Promise<readonly Notice[]>;
  /** The notices of other entries that this entry has a sink told again; none for almost every entry. */
  readonly noticesAgain: (entry: StoredEntry, sink: string) => Promise<readonly Notice[]>;
  readonly clock: Pick<Clock, 'now'>;
  /** A number from 0 up to 1. */
  readonly random: () => number;
  /** For the operator's log. */
  readonly report: (
    level: 'info' | 'warn' | 'error',
    message: string,
    facts: Readonly<Record<string, string | number>>,
  ) => void;
  /** How often a sink that has nothing to do looks for something. */
  readonly pollMs: number;
}

/** At most so many entries are looked at in one go. */
const PAGE = 100;

interface Due {
  readonly notice: Notice;
  readonly place: NoticeCursor;
  /** Whether it had been given up before. */
  readonly isAgain: boolean;
}

/**
 * Delivers to one sink what the log says, in order, each notice at least once and under the same id: a place is left behind
 * only when the sink has what came before it, durably. Only one daemon does at a time.
 */
export class Delivery {
  readonly sink: Sink;
  readonly #parts: DelivererParts;
  #lastReport = '';
  /** The last try failed, at the sink. */
  #isRefused = false;

  constructor(sink: Sink, parts: DelivererParts) {
    this.sink = sink;
    this.#parts = parts;
  }

  /**
   * Delivers what is due, until a try fails or `stop` says so. Resolves with how long the sink may rest, in milliseconds;
   * never rejects.
   */
  async round(stop?: AbortSignal): Promise<number> {
    try {
      const rest = await this.#round(stop);
      if (this.#lastReport !== '')
        this.#parts.report('info', 'notices go on: the log and the records can be read again', {
          sink: this.sink.name,
        });
      this.#lastReport = '';
      return rest;
    } catch (error) {
      const reason = messageOf(error);
      // an outage is one line, not one a second
      if (reason !== this.#lastReport)
        this.#parts.report('warn', 'notices wait: the log or the records cannot be read', {
          sink: this.sink.name,
          reason,
        });
      this.#lastReport = reason;
      return this.#parts.pollMs;
    }
  }

  async #round(stop: AbortSignal | undefined): Promise<number> {
    const { outbox, clock, log, pollMs } = this.#parts;
    const { name } = this.sink;
    const progress = await outbox.lease(name);
    if (progress === undefined) return pollMs;
    const waitMs = (progress.notBefore?.getTime() ?? 0) - clock.now().getTime();
    if (waitMs > 0) return Math.min(waitMs, pollMs);

    const entries = await log.entries(progress.place.entry, PAGE);
    const [next, ...others] = await this.#due(entries, progress.place);
    let due: readonly Due[] = next === undefined ? [] : [next, ...others];
    let { place, attempts } = progress;
    const end = { entry: (entries.at(-1)?.index ?? place.entry - 1) + 1, position: 0 };
    while (stop?.aborted !== true) {
      const [first, ...more] = due;
      if (first === undefined) break;
      const result = await this.#deliver([first.notice, ...more.map(({ notice }) => notice)]);
      if (result.accepted === 'none') return this.#failed({ due, place, attempts, end }, result);
      if (this.#isRefused) this.#parts.report('info', 'the sink takes notices again', { sink: name });
      this.#isRefused = false;
      const after = due[result.accepted]?.place ?? end;
      const again = due.slice(0, result.accepted).flatMap((one) => (one.isAgain ? [one.notice.id] : []));
      if (!(await outbox.advance(name, place, after, again))) return pollMs;
      place = after;
      attempts = 0;
      due = due.slice(result.accepted);
    }
    if (stop?.aborted === true) return 0;
    if (place.entry < end.entry && !(await outbox.advance(name, place, end))) return pollMs;
    return entries.length === PAGE ? 0 : pollMs;
  }

  async #due(entries: readonly StoredEntry[], from: NoticeCursor): Promise<readonly Due[]> {
    const due: Due[] = [];
    for (const [offset, entry] of entries.entries()) {
      // what is skipped is never told: better to stand still
      if (entry.index !== from.entry + offset) throw new Error(`entry ${from.entry + offset} is not there`);
      const { noticesAbout, noticesAgain } = this.#parts;
      const own = await noticesAbout(entry);
      const again = await noticesAgain(entry, this.sink.name);
      for (const [position, notice] of [...own, ...again].entries()) {
        const isBehind = entry.index === from.entry && position < from.position;
        if (!isBehind && this.sink.kinds.has(notice.kind))
          due.push({ notice, place: { entry: entry.index, position }, isAgain: position >= own.length });
      }
    }
    return due;
  }

  async #deliver(notices: Notices): Promise<DeliveryResult> {
    try {
      return await this.sink.deliver(notices);
    } catch (error) {
      const fault = 'The sink failed.';
      return { accepted: 'none', because: 'unavailable', fault, reason: messageOf(error) };
    }
  }

  async #failed(
    at: {
      readonly due: readonly Due[];
      readonly place: NoticeCursor;
      readonly attempts: number;
      readonly end: NoticeCursor;
    },
    failure: Extract<DeliveryResult, { readonly accepted: 'none' }>,
  ): Promise<number> {
    const { outbox, clock, random, report, pollMs } = this.#parts;
    const [first, second] = at.due;
    if (first === undefined) return pollMs;
    this.#isRefused = true;
    const { because, fault, reason, retryAfterMs = 0 } = failure;
    const { notice } = first;
    const attempts = at.attempts + 1;
    const facts = { sink: this.sink.name, notice: notice.id, entry: notice.entry, attempts, fault, reason };
    if (attempts >= TRIES[because]) {
      const isOurs = await outbox.drop(this.sink.name, at.place, second?.place ?? at.end, { notice, fault });
      if (isOurs) report('error', 'a notice was given up', { ...facts, to: notice.to });
      return 0;
    }
    const delayMs = Math.max(backOffMs(attempts, RESTS, random), retryAfterMs);
    const notBefore = new Date(clock.now().getTime() + delayMs);
    await outbox.postpone(this.sink.name, at.place, { attempts, notBefore, fault });
    report('warn', 'a notice could not be delivered; it is tried again', { ...facts, delayMs });
    return Math.min(delayMs, pollMs);
  }
}

export interface Deliverer {
  /** Ends when what is in a sink's hands is settled, broken off after `deadlineMs`, and gives the leases back. Never rejects. */
  stop(deadlineMs: number): Promise<void>;
}

/** Delivers to all these sinks, none of which waits for another. They must be registered. */
export function startDeliverer(sinks: readonly Sink[], parts: DelivererParts): Deliverer {
  const stopping = new AbortController();
  const deliverTo = async (sink: Sink): Promise<void> => {
    const delivery = new Delivery(sink, parts);
    while (!stopping.signal.aborted) {
      const restMs = await delivery.round(stopping.signal);
      if (restMs > 0) await pause(restMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    await parts.outbox.release(sink.name).catch(() => undefined);
  };
  const running = Promise.all(sinks.map(deliverTo));
  return {
    stop: async (deadlineMs) => {
      stopping.abort();
      const enough = new AbortController();
      await Promise.race([
        running,
        pause(deadlineMs, undefined, { signal: enough.signal }).catch(() => undefined),
      ]);
      enough.abort();
      for (const sink of sinks) sink.close();
      await running;
    },
  };
}
