import { z } from 'zod';

import { BIRTHS } from '../escrow/records/creation.js';
import type { Policy } from '../escrow/records/policy.js';
import { resealedIn } from '../escrow/records/sealing/resealing.js';
import { depositariesIn } from '../escrow/rules/quorums.js';
import { canonicalJson } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import { documentHash } from '../log/export/format.js';
import type { Documents, Objection } from '../log/export/verifier.js';
import { expectedOf } from './deposits.js';
import { DigestTable } from './digestTable.js';
import type { DrillEvidence } from './drills.js';
import type { LateEnds } from './lateEnds.js';
import type { PolicyInForce } from './policyInForce.js';
import type { QuorumEvidence } from './quorums.js';
import { KekEvidence } from './keks.js';
import { endsRequest } from './recoveries.js';
import type { TermsEvidence } from './terms.js';

const planSchema = z.strictObject({
  rule: z.string(),
  quorums: z.array(z.array(z.string())),
  recipients: z.array(z.strictObject({ depositary: z.string(), fingerprint: z.string() })),
  from: z.record(z.string(), z.int().min(1)),
  keks: z.array(z.string()),
  rotations: z.exactOptional(z.array(z.strictObject({ from: z.string(), to: z.string() }))),
  unrotated: z.exactOptional(z.array(z.string())),
});
const scopeSchema = z.strictObject({
  job: z.string(),
  policyVersion: z.int(),
  policyHash: z.string(),
  plan: z.string(),
});
const descriptionsSchema = z.record(z.string(), z.object({ spec: z.string(), use: z.string() }));

/** Who goes by what keys are sealed to. */
interface Told {
  readonly quorums: Pick<QuorumEvidence, 'resealed'>;
  readonly drills: Pick<DrillEvidence, 'deposited'>;
}

interface Planned {
  readonly plan: z.infer<typeof planSchema>;
  readonly descriptions: z.infer<typeof descriptionsSchema>;
  readonly policyHash: string;
}

/** Acts by which something comes of a request. */
const COMES_OF: ReadonlySet<string> = new Set([
  'recovery.approve',
  'recovery.activate',
  'recovery.release',
  'recovery.reseal',
]);

/**
 * Checks that keys are sealed anew to nobody but those whom the policy gives: what is asked names the rule, the quorums and the keys
 * of people that the policy in force has for each key, and the same policy is in force when it is done; each key is then in the next
 * generation of its deposit, behind the one that the request names and that was recorded last, with one share for each of these people and each
 * of its purposes, and no two alike, under the key-encryption keys that the plan has for it. And that nothing comes of other requests that were open then.
 *
 * Remembers where the deposit of each key was recorded last, the generations of those that were sealed anew, and the keys of open
 * requests.
 */
export class ResealEvidence {
  /** Index of the entry that recorded the deposit of each key, plus 1. */
  readonly #recorded = new DigestTable();
  readonly #generations = new DigestTable();
  readonly #planned = new Map<string, Planned>();
  /** The keys of each open request. */
  readonly #open = new Map<string, readonly string[]>();
  readonly #superseded = new Set<string>();
  readonly #policy: PolicyInForce;
  readonly #terms: Pick<TermsEvidence, 'purposesOf'>;
  readonly #told: Told;
  readonly #keks = new KekEvidence();
  readonly #lateEnds: Pick<LateEnds, 'has'>;

  /** @param told of keys that were sealed anew: which quorums they have, and how they are drilled, from then on */
  constructor(
    policy: PolicyInForce,
    terms: Pick<TermsEvidence, 'purposesOf'>,
    told: Told,
    lateEnds: Pick<LateEnds, 'has'>,
  ) {
    this.#policy = policy;
    this.#terms = terms;
    this.#told = told;
    this.#lateEnds = lateEnds;
  }

  /** Why this entry is refused, if it is. */
  check(entry: Entry, index: number, documents: Documents): Objection | undefined {
    const { act, phase, subject } = entry;
    if (BIRTHS.has(act) && phase === 'done' && subject.key !== undefined) {
      this.#recorded.set(subject.key, index + 1);
      this.#keks.born(subject.key, entry);
    }
    const { recovery } = subject;
    if (recovery === undefined) return undefined;
    if (act === 'recovery.request' && phase === 'done') this.#open.set(recovery, subject.keys ?? []);
    if (act === 'recovery.request' && phase === 'attempted' && entry.detail['purpose'] === 'reseal') {
      return this.#plan(entry, recovery, documents);
    }
    if (act === 'recovery.supersede' && phase === 'attempted' && !this.#superseded.has(recovery)) {
      return `${act} of a request none of whose keys was sealed anew since`;
    }
    if (COMES_OF.has(act) && phase === 'attempted' && this.#superseded.has(recovery)) {
      return `${act} of a request of which a key was sealed anew since it was filed`;
    }
    const reason =
      act === 'recovery.reseal' && phase === 'done'
        ? this.#reseal(entry, recovery, index, documents)
        : undefined;
    if (endsRequest(entry)) this.#end(recovery);
    return reason;
  }

  /** Takes an outcome that its act had before, as far as it ends something. */
  ended(entry: Entry): void {
    if (endsRequest(entry)) this.#end(entry.subject.recovery ?? '');
  }

  #end(recovery: string): void {
    this.#open.delete(recovery);
    this.#planned.delete(recovery);
    this.#superseded.delete(recovery);
  }

  #plan({ subject, detail }: Entry, recovery: string, documents: Documents): Objection | undefined {
    const { owner, keys = [] } = subject;
    const plan = planSchema.safeParse(detail['plan']).data;
    const scope = scopeSchema.safeParse(detail['scope']).data;
    const descriptions = descriptionsSchema.safeParse(detail['descriptions']).data;
    if (plan === undefined || scope === undefined || descriptions === undefined) {
      return 'keys are to be sealed anew, and it is not said to whom';
    }
    // a daemon hashes what it writes, whatever its database says
    if (documentHash(plan) !== scope.plan) return { invented: 'the hash of a plan is of something else' };
    this.#planned.set(recovery, { plan, descriptions, policyHash: scope.policyHash });
    const policy = this.#policy.in(documents);
    if (typeof policy === 'string') return `keys are to be sealed anew, and ${policy}`;
    if (scope.policyHash !== policy.hash || scope.policyVersion !== policy.version) {
      return 'keys are to be sealed anew by another policy than is in force';
    }
    if (Object.keys(plan.from).sort().join(' ') !== keys.join(' ')) {
      return 'other keys are to be sealed anew than were asked for';
    }
    for (const key of keys) {
      const reason = this.#checkPlanned(plan, policy, { key, owner, ...descriptions[key] });
      if (reason !== undefined) return `${key} is to be sealed anew: ${reason}`;
    }
    const reason = this.#keks.checkPlan(keys, plan);
    return reason === undefined ? undefined : `keys are to be sealed anew, and ${reason}`;
  }

  #checkPlanned(
    plan: Planned['plan'],
    policy: Policy,
    { key, ...said }: { readonly key: string; readonly owner: string | undefined },
  ): string | undefined {
    if (plan.from[key] !== (this.#generations.get(key) ?? 1)) return 'not from the deposit that it has';
    const expected = expectedOf(said, policy);
    if (typeof expected === 'string') return expected;
    const { rule, quorums } = expected;
    if (plan.rule !== rule.name) return `by another rule than ${rule.name}, which is for it`;
    if (canonicalJson(plan.quorums) !== canonicalJson(quorums)) {
      return `with quorums other than those that ${rule.name} gives`;
    }
    const people = depositariesIn(quorums).map((depositary) => ({
      depositary,
      fingerprint: policy.principals.get(depositary)?.depositaryKey ?? null,
    }));
    return canonicalJson(plan.recipients) === canonicalJson(people)
      ? undefined
      : 'to other keys of people than the administrators list';
  }

  #reseal(entry: Entry, recovery: string, index: number, documents: Documents): string | undefined {
    const { subject, detail, digest } = entry;
    const { keys = [] } = subject;
    const planned = this.#planned.get(recovery);
    // under way when the second outcome of another act ended the request: no daemon takes it for done, and it is reported
    if (planned === undefined) {
      return this.#lateEnds.has(recovery) ? undefined : 'keys were sealed anew by a request that had ended';
    }
    const policy = this.#policy.in(documents);
    if (typeof policy === 'string' || policy.hash !== planned.policyHash) {
      return 'keys were sealed anew by another policy than was in force';
    }
    const deposits = resealedIn(detail['keys']);
    if ([...deposits.keys()].sort().join(' ') !== keys.join(' ')) {
      return 'other keys were sealed anew than were asked for';
    }
    const digests = Object.fromEntries([...deposits].map(([key, deposit]) => [key, deposit.digest]));
    if (documentHash(digests) !== digest) return 'a reseal does not say what was made';
    const seen = new Set<string>();
    for (const [key, deposit] of deposits) {
      const reason =
        this.#checkResealed(key, deposit, planned.plan, seen) ??
        this.#keks.resealed(key, planned.plan, deposit.keks, planned.descriptions[key]);
      if (reason !== undefined) return `${key} was sealed anew: ${reason}`;
    }
    for (const key of keys) {
      this.#recorded.set(key, index + 1);
      this.#generations.set(key, (this.#generations.get(key) ?? 1) + 1);
      this.#told.quorums.resealed(key, planned.plan.quorums);
    }
    this.#told.drills.deposited(entry);
    for (const [id, asked] of this.#open) {
      if (id !== recovery && asked.some((key) => keys.includes(key))) this.#superseded.add(id);
    }
    return undefined;
  }

  /** @param seen the hashes of shares so far: one share is never that of two */
  #checkResealed(
    key: string,
    { generation, previous, shares }: { generation: number; previous: number; shares: object },
    { recipients }: Planned['plan'],
    seen: Set<string>,
  ): string | undefined {
    if (generation !== (this.#generations.get(key) ?? 1) + 1) return 'into another generation than the next';
    if (previous + 1 !== this.#recorded.get(key))
      return 'in the place of another deposit than the one it had';
    const purposes = Object.entries(shares as Readonly<Record<string, Readonly<Record<string, string>>>>);
    if (
      purposes
        .map(([purpose]) => purpose)
        .sort()
        .join(' ') !== [...this.#terms.purposesOf(key)].sort().join(' ')
    ) {
      return 'for other purposes than it was deposited for';
    }
    const people = recipients.map(({ depositary }) => depositary).join(' ');
    for (const [, ofPurpose] of purposes) {
      if (Object.keys(ofPurpose).sort().join(' ') !== people)
        return 'with shares for others than was planned';
      for (const share of Object.values(ofPurpose)) {
        if (!/^[0-9a-f]{64}$/.test(share) || seen.has(share)) return 'with one share for two';
        seen.add(share);
      }
    }
    return undefined;
  }
}
