import { BIRTHS } from '../escrow/records/creation.js';
import { chainValue } from '../escrow/records/drills/drilling.js';
import { EscrowError } from '../escrow/records/errors.js';
import { parsePrincipalId } from '../escrow/records/ids.js';
import { type KeyUse, KEY_SPEC_NAMES, KEY_USES, specAllows } from '../escrow/records/keySpecs.js';
import { type Policy, type Rule, PURPOSES } from '../escrow/records/policy.js';
import type { Principal } from '../escrow/records/principals.js';
import { depositariesIn } from '../escrow/rules/quorums.js';
import { type Choice, choose, getOwner } from '../escrow/rules/rules.js';
import { type Json, canonicalJson, isJsonObject } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import type { Documents } from '../log/export/verifier.js';
import type { PolicyInForce } from './policyInForce.js';
import type { TermsEvidence } from './terms.js';

/** What has to become of an order for a key, by the policy that was in force when it was decided. */
interface Expected extends Choice {
  readonly policy: Policy;
  readonly owner: Principal;
  readonly use: KeyUse;
}

/**
 * Checks that each key was deposited as the policy in force has it: by the first of its rules that is for such a key, with
 * the quorums that this rule gives for this owner, for the purposes that it allows, and with shares for these depositaries
 * and nobody else, to the keys that the administrators have listed, each share another one. So a server cannot deposit a key with friends of its own.
 *
 * Remembers orders for keys that are under way.
 */
export class DepositEvidence {
  readonly #underWay = new Map<string, Expected>();
  readonly #terms: TermsEvidence;
  readonly #policy: PolicyInForce;

  /** @param terms is told the rule of each key, and knows by it which keys there are */
  constructor(terms: TermsEvidence, policy: PolicyInForce) {
    this.#terms = terms;
    this.#policy = policy;
  }

  /** Why this entry is refused, if it is. */
  check(entry: Entry, documents: Documents): string | undefined {
    const { act, phase, id } = entry;
    if (!BIRTHS.has(act)) return undefined;
    if (phase === 'attempted') return this.#checkOrder(entry, documents);
    const expected = this.#underWay.get(id);
    this.#underWay.delete(id);
    return expected !== undefined && phase === 'done' ? checkDeposit(entry, expected) : undefined;
  }

  #checkOrder(entry: Entry, documents: Documents): string | undefined {
    const { id, detail } = entry;
    const key = entry.subject.key ?? '';
    if (this.#terms.has(key)) return `${key} is ordered a second time`;
    const policy = this.#policy.in(documents);
    if (typeof policy === 'string') return `a key is ordered, and ${policy}`;
    if (detail['policyHash'] !== policy.hash || detail['policyVersion'] !== policy.version) {
      return 'a key is ordered under another policy than is in force';
    }
    const expected = expectedOf({ owner: entry.subject.owner, ...detail }, policy);
    if (typeof expected === 'string') return expected;
    const { rule, quorums } = expected;
    const whence = checkWhence(entry, rule);
    if (whence !== undefined) return whence;
    if (detail['rule'] !== rule.name)
      return `a key is ordered by a rule other than ${rule.name}, which is for it`;
    if (!isSame(detail['quorums'], quorums)) {
      return `a key is ordered with quorums other than those that ${rule.name} gives`;
    }
    this.#underWay.set(id, expected);
    this.#terms.deposited(key, policy.hash, expected);
    return undefined;
  }
}

/** What the policy says about a key of which this is said, or why there can be no such key. */
export function expectedOf(
  said: { readonly owner: string | undefined } & Readonly<Record<string, Json | undefined>>,
  policy: Policy,
): Expected | string {
  const id = parsePrincipalId(said.owner ?? '');
  const spec = KEY_SPEC_NAMES.find((name) => name === said['spec']);
  const use = KEY_USES.find((name) => name === said['use']);
  if (id === undefined || spec === undefined || use === undefined || !specAllows(spec, use)) {
    return 'a key is ordered without saying what kind of key, and for whom';
  }
  try {
    const owner = getOwner(policy, id);
    return { ...choose(policy, owner, spec, use), policy, owner, use };
  } catch (error) {
    if (error instanceof EscrowError)
      return `a key is ordered that the policy does not allow (${error.code})`;
    throw error;
  }
}

/** An imported key says that it is one, and of which public key, or of which check value; and its rule lets it be imported. */
function checkWhence({ act, detail }: Entry, rule: Rule): string | undefined {
  if (act === 'key.generate') {
    if (detail['spec'] === 'secret') return 'a secret is made in the token, where none is';
    return detail['bornOutside'] === undefined
      ? undefined
      : 'a key is made in the token and said to be born outside';
  }
  const isSecret = detail['spec'] === 'secret';
  const said = [detail['publicKey'], detail['checkValue']];
  const [known, other] = isSecret ? said.toReversed() : said;
  if (detail['bornOutside'] !== true || !isHash(known) || other !== undefined)
    return 'a key is imported and not said to be born outside, or not of which public key or check value it is';
  return rule.import === true ? undefined : `a key is imported that ${rule.name} does not let be`;
}

function checkDeposit({ detail }: Entry, { policy, owner, rule, quorums }: Expected): string | undefined {
  const recipients = depositariesIn(quorums).map((depositary) => ({
    depositary,
    recipient: policy.principals.get(depositary)?.depositaryKey ?? null,
  }));
  const expected = PURPOSES.filter((purpose) => rule[purpose] !== undefined).map((purpose) => ({
    purpose,
    recipients,
  }));
  if (!isSame(sharesOf(detail['shares']), expected)) {
    return `a key is deposited with others than ${rule.name} gives, or to other keys than theirs`;
  }
  const hashes = hashesOf(detail['shares']);
  const isRecorded = hashes.every((hash) => hash === undefined) || new Set(hashes).size === hashes.length;
  if (!isRecorded || (hashes.includes(undefined) && hashes.some((hash) => hash !== undefined))) {
    return 'a key is deposited with one share for two, or with shares that are not all recorded';
  }
  const mayDeliver = rule.deliver && owner.deliveryKey !== undefined;
  return detail['delivered'] === false || (detail['delivered'] === true && mayDeliver)
    ? undefined
    : `a copy of the key was made that ${rule.name} does not allow`;
}

/**
 * For each purpose, to whose key each share went. The version of the KEK, and which ciphertext the share is, are for nobody to
 * foresee.
 */
function sharesOf(shares: Json | undefined): readonly Json[] {
  return listOf(shares).map((share) => {
    if (!isJsonObject(share)) return share;
    const { kek, recipients, ...others } = share;
    return typeof kek === 'string' ? { ...others, recipients: listOf(recipients).map(withoutShare) } : share;
  });
}

function withoutShare(recipient: Json): Json {
  if (!isJsonObject(recipient)) return recipient;
  const { share, drill, ...others } = recipient;
  return isHash(share) && (drill === undefined || chainValue(drill) !== undefined) ? others : recipient;
}

/** The hashes of all shares, which entries from before they were recorded lack. */
function hashesOf(shares: Json | undefined): readonly (Json | undefined)[] {
  return listOf(shares).flatMap((share) =>
    isJsonObject(share)
      ? listOf(share['recipients']).map((recipient) =>
          isJsonObject(recipient) ? recipient['share'] : undefined,
        )
      : [],
  );
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}

function isHash(value: Json | undefined): boolean {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

function isSame(found: Json | undefined, expected: unknown): boolean {
  return found !== undefined && canonicalJson(found) === canonicalJson(expected);
}
