import { setTimeout as pause } from 'node:timers/promises';
import { types } from 'node:util';

import type { WitnessedLog } from '../escrow/ports/log.js';
import { backOffMs } from '../system/backOff.js';
import { Cosigning } from './cosigning.js';
import { submissionTo, type WitnessAt } from './submission.js';

/** The log, the witnesses that it is shown to, and how often. */
export interface WitnessingParts {
  readonly witnesses: readonly WitnessAt[];
  readonly log: WitnessedLog;
  /** The daemon's clock, which that of a witness must be near to. */
  readonly now: () => Date;
  /** For each request to a witness. */
  readonly timeoutMs: number;
  /** How often, at most, a witness is asked; after failures less and less often, down to 60 times less. */
  readonly intervalMs: number;
  /** The operator's log: told when a witness ceases to cosign, or gives another reason, and when it begins again. */
  readonly tell: { info(message: string): void; warn(message: string): void };
}

/** The log is shown to its witnesses, until it is stopped. */
export interface Witnessing {
  /** Names of the witnesses that do not cosign now. */
  readonly silent: readonly string[];
  /** Waits for what is under way, at most as long as one request may take. */
  stop(): Promise<void>;
}

const longestBackOff = 60;

/**
 * Shows each new checkpoint to the witnesses and keeps what they say: each by itself, so that one that hangs holds up
 * nobody, and beside everything else that the daemon does. The newest checkpoint is shown; those between are not.
 * Several daemons may do so at once.
 */
export function startWitnessing(parts: WitnessingParts): Witnessing {
  const stopping = new AbortController();
  const silent = new Map<string, string>();
  const lanes = parts.witnesses.map((witness) => keepUp(parts, witness, silent, stopping.signal));
  return {
    get silent() {
      return [...silent.keys()];
    },
    stop: async () => {
      stopping.abort();
      await Promise.all(lanes);
    },
  };
}

async function keepUp(
  { log, now, timeoutMs, intervalMs, tell }: WitnessingParts,
  witness: WitnessAt,
  silent: Map<string, string>,
  stop: AbortSignal,
): Promise<void> {
  const { name } = witness.key;
  const submission = submissionTo(witness, timeoutMs);
  const forgot = (said: number, kept: number): void => {
    tell.warn(
      `the witness ${name} says that it has cosigned ${said} entries, and its cosignature of ${kept} is kept: it has lost its state, and could be had to sign a fork`,
    );
  };
  const cosigning = new Cosigning({ witness: witness.key, log, submission, now, forgot });
  const rests = { firstMs: 2 * intervalMs, longestMs: longestBackOff * intervalMs };
  let failures = 0;
  try {
    while (!stop.aborted) {
      try {
        await cosigning.bringUpToDate();
        if (silent.delete(name)) tell.info(`the witness ${name} cosigns again`);
        failures = 0;
      } catch (error) {
        // once for each kind of reason: that it refuses is news after that it did not answer
        const { name: kind, message } = types.isNativeError(error) ? error : new Error(String(error));
        if (silent.get(name) !== kind) tell.warn(`the witness ${name} does not cosign: ${message}`);
        silent.set(name, kind);
        failures += 1;
      }
      const restMs = failures === 0 ? intervalMs : backOffMs(failures, rests);
      await pause(restMs, undefined, { signal: stop }).catch(() => undefined);
    }
  } finally {
    submission.close();
  }
}
