import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

import type { StandingObjects, Token, TokenVerbs, UnaccountedObject } from '../escrow/ports/token.js';
import type { CheckpointSigner } from '../escrow/ports/signers.js';

const CALL_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** Takes the time of calls of the token, and notes what those who look through it find. */
export interface TokenMeter {
  /** The same token, measured. */
  token(token: Token): Token;
  /** The same signer, measured as `signCheckpoint`. */
  signer(signer: CheckpointSigner): CheckpointSigner;
}

/** Any verb, as far as it is measured: what it is given and answers goes through. */
type AnyVerb = (...given: unknown[]) => Promise<unknown>;

/** @param now in milliseconds of the epoch */
export function tokenMeterIn(registry: Registry, now: () => number): TokenMeter {
  const registers = [registry];
  const calls = new Histogram({
    name: 'escrowd_token_call_duration_seconds',
    help: 'Calls of the token by the verb that is lent to acts; one call of sign may make many signatures.',
    labelNames: ['verb'],
    buckets: CALL_SECONDS,
    registers,
  });
  const failures = new Counter({
    name: 'escrowd_token_call_failures_total',
    help: 'Calls of the token that failed; a ciphertext that it refuses is no failure.',
    labelNames: ['verb'],
    registers,
  });
  const meters = new Map<string, { observe(seconds: number): void }>();
  const meterOf = (verb: string): { observe(seconds: number): void } => {
    const known = meters.get(verb);
    if (known !== undefined) return known;
    const meter = calls.labels({ verb });
    meters.set(verb, meter);
    return meter;
  };
  const measured = async <T>(verb: string, call: () => Promise<T>): Promise<T> => {
    const beganAt = performance.now();
    try {
      return await call();
    } catch (error) {
      failures.inc({ verb });
      throw error;
    } finally {
      meterOf(verb).observe((performance.now() - beganAt) / 1000);
    }
  };
  const lent = <V extends keyof TokenVerbs>(
    verbs: readonly V[],
    given: Pick<TokenVerbs, V>,
  ): Pick<TokenVerbs, V> => {
    const all: Partial<Record<V, unknown>> = {};
    for (const verb of verbs) {
      const call = given[verb] as unknown as AnyVerb;
      all[verb] = (...args: readonly unknown[]) => measured(verb, () => call.apply(given, [...args]));
    }
    // every verb of `verbs` is there, and takes and answers what it did
    return all as Pick<TokenVerbs, V>;
  };
  const found = foundIn(registry, now);
  return {
    token: (token) => ({
      abilities: token.abilities,
      get openings() {
        return token.openings;
      },
      requireInService: () => {
        token.requireInService();
      },
      enrolled: () => token.enrolled(),
      keks: () => token.keks(),
      lend: (verbs, use) => token.lend(verbs, (given) => use(lent(verbs, given))),
      standing: async () => found.standing(await token.standing()),
      unaccounted: async (records) =>
        found.unaccounted(
          await token.unaccounted((named) => {
            found.standing(named);
            return records(named);
          }),
        ),
    }),
    signer: (signer) => ({
      origin: signer.origin,
      vkey: signer.vkey,
      sign: (text) => measured('signCheckpoint', () => signer.sign(text)),
    }),
  };
}

/** Notes what was found when the token was looked through for another reason: to list its objects takes time. */
function foundIn(
  registry: Registry,
  now: () => number,
): {
  standing(found: StandingObjects): StandingObjects;
  unaccounted(found: readonly UnaccountedObject[]): readonly UnaccountedObject[];
} {
  const registers = [registry];
  const objects = new Gauge({
    name: 'escrowd_token_objects',
    help: 'One-time keys and grants in the token, when it was last looked through.',
    labelNames: ['kind'],
    registers,
  });
  const seenAt = new Gauge({
    name: 'escrowd_token_objects_timestamp_seconds',
    help: 'When the objects of the token were last listed.',
    registers,
  });
  const unaccounted = new Gauge({
    name: 'escrowd_token_objects_unaccounted',
    help: 'Objects of the token that nothing accounted for at the last look; what is just being made may be among them.',
    registers,
  });
  seenAt.remove();
  unaccounted.remove();
  return {
    standing: (found) => {
      objects.set({ kind: 'grant' }, found.grants.length);
      objects.set({ kind: 'transport' }, found.transports.length);
      objects.set({ kind: 'import' }, found.imports.length);
      seenAt.set(now() / 1000);
      return found;
    },
    unaccounted: (found) => {
      unaccounted.set(found.length);
      return found;
    },
  };
}
