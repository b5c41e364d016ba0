import { z } from 'zod';

import { type KeyUse, OPERATIONS } from '../escrow/records/keySpecs.js';
import { INPUTS } from '../escrow/records/scope.js';
import { MECHANISM_NAMES } from '../escrow/records/mechanisms.js';
import { type Brakes, type Rule, PURPOSES } from '../escrow/records/policy.js';
import type { AskedPurpose } from '../escrow/records/recovery.js';
import { beyondTerms } from '../escrow/rules/scopeTerms.js';
import type { Entry } from '../log/entry/entry.js';
import { DigestTable } from './digestTable.js';

/** What a key was deposited under. */
interface Terms {
  readonly rule: Rule;
  readonly use: KeyUse;
}

const scopeSchema = z.object({
  operations: z.array(z.enum(OPERATIONS)),
  mechanisms: z.array(z.enum(MECHANISM_NAMES)),
  input: z.enum(INPUTS),
  maxUses: z.int().min(0),
  rate: z
    .object({ uses: z.int().min(0), perMs: z.int().min(1) })
    .nullish()
    .transform((rate) => rate ?? undefined),
  durationMs: z.int().min(0),
});

const askedSchema = z.discriminatedUnion('purpose', [
  z.object({ purpose: z.literal('operate'), scope: scopeSchema }),
  z.object({ purpose: z.literal('release') }),
  z.object({ purpose: z.literal('reseal') }),
]);
const timesSchema = z.object({ expiresAt: z.iso.datetime(), approvalsHoldMs: z.int().min(0) });

/**
 * Checks that nothing was asked for that the rule of the key, by which it was deposited, does not allow: not for another
 * purpose, for more uses, faster, for longer, by other operations or mechanisms, and not to be decided over a longer time.
 *
 * Remembers the rule of each key, once for all keys that have the same.
 */
export class TermsEvidence {
  /** The place, counted from 1, in {@link #kinds} of what each key was deposited under. */
  readonly #places = new DigestTable();
  readonly #kinds: Terms[] = [];
  /** The place of each in that list, by policy, rule and use. */
  readonly #placeOf = new Map<string, number>();

  /** Takes note of the rule by which a key was ordered, under the policy with this hash. */
  deposited(key: string, policyHash: string, terms: Terms): void {
    const name = `${policyHash} ${terms.rule.name} ${terms.use}`;
    const place = this.#placeOf.get(name) ?? this.#kinds.push(terms);
    this.#placeOf.set(name, place);
    this.#places.set(key, place);
  }

  /** How long the rule of a key has what was agreed wait, in milliseconds; 0 where nothing is known of the key. */
  delayMs(key: string, purpose: AskedPurpose): number {
    return Math.max(0, ...this.#brakesOf(key, purpose).map(({ delayMs }) => delayMs));
  }

  /** Whether the rule of a key takes replies after the delay. */
  isAfterDelay(key: string, purpose: AskedPurpose): boolean {
    return this.#brakesOf(key, purpose).some(({ replies }) => replies === 'afterDelay');
  }

  /** Which purposes a key was deposited for. */
  purposesOf(key: string): readonly string[] {
    const rule = this.#kinds[(this.#places.get(key) ?? 0) - 1]?.rule;
    return PURPOSES.filter((purpose) => rule?.[purpose] !== undefined);
  }

  /** What the rule of a key has stand in between; of a reseal, for all of its purposes. */
  #brakesOf(key: string, purpose: AskedPurpose): readonly Brakes[] {
    const rule = this.#kinds[(this.#places.get(key) ?? 0) - 1]?.rule;
    return (purpose === 'reseal' ? PURPOSES : [purpose]).flatMap((each) => rule?.[each] ?? []);
  }

  /** How many denials end a request for a key; Infinity where its rule gives no number. */
  denialsToEnd(key: string): number {
    return this.#kinds[(this.#places.get(key) ?? 0) - 1]?.rule.requests.denialsToEnd ?? Infinity;
  }

  /** Whether a key of this id was ordered before. */
  has(key: string): boolean {
    return this.#places.get(key) !== undefined;
  }

  /** Why this entry is refused, if it is. */
  check({ act, phase, subject, detail, time }: Entry): string | undefined {
    if (act !== 'recovery.request' || phase !== 'attempted') return undefined;
    for (const key of subject.keys ?? []) {
      const terms = this.#kinds[(this.#places.get(key) ?? 0) - 1];
      // that a key without a deposit comes back is found when it does
      const beyond = terms === undefined ? undefined : beyondRule(terms, detail, time);
      if (beyond !== undefined) return `${key} is asked for beyond its rule: ${beyond}`;
    }
    return undefined;
  }
}

function beyondRule({ rule, use }: Terms, detail: Entry['detail'], time: string): string | undefined {
  const asked = askedSchema.safeParse(detail);
  const times = timesSchema.safeParse(detail);
  if (!asked.success || !times.success) return 'what is asked for cannot be read';
  const { maxValidForMs, approvalsHoldMs } = rule.requests;
  if (Date.parse(times.data.expiresAt) > Date.parse(time) + maxValidForMs) {
    return `a request stands for at most ${maxValidForMs / 1000} seconds`;
  }
  if (times.data.approvalsHoldMs > approvalsHoldMs) {
    return `an approval counts for at most ${approvalsHoldMs / 1000} seconds`;
  }
  if (asked.data.purpose === 'reseal') return undefined;
  if (rule[asked.data.purpose] === undefined) return `not for ${asked.data.purpose}`;
  if (asked.data.purpose === 'release' || rule.operate === undefined) return undefined;
  return beyondTerms(rule.operate, use, asked.data.scope)?.replace(/\.$/, '');
}
