import { partsOf, quorumsOf } from './explain.js';
import { type KeySpec, type KeyUse, KEY_USES, specAllows } from '../records/keySpecs.js';
import type { Policy, QuorumExpression, Rule } from '../records/policy.js';
import { type Principal, hasRole } from '../records/principals.js';
import { mismatches } from './rules.js';

/** Owners for whom a rule says the same, and what it says. */
export interface Kind {
  readonly rule: Rule;
  readonly owners: readonly [Principal, ...Principal[]];
  readonly said: ReturnType<typeof quorumsOf>;
}

/** Everybody whose keys a policy has rules for. */
export function ownersOf({ principals }: Policy): readonly Principal[] {
  return [...principals.values()].filter((one) => hasRole(one, 'owner'));
}

/**
 * The kinds of these owners that the rules tell apart, each with the quorums of its rule, and the owners whom no rule is for.
 * What holds for every kind holds for every key that these owners can have: thousands of owners are a few kinds.
 */
export function kindsOf(
  policy: Policy,
  owners: readonly Principal[],
): { readonly kinds: readonly Kind[]; readonly unruled: readonly Principal[] } {
  const ruled = new Set<Principal>();
  const kinds = new Map<string, { rule: Rule; owners: [Principal, ...Principal[]]; said: Kind['said'] }>();
  for (const { use, spec } of kindsOfKeys(policy.rules)) {
    for (const owner of owners) {
      const rule = policy.rules.find((one) => mismatches(one, owner, spec, use).length === 0);
      // a secret is refused where its rule has operate: no kind of key that there can be
      if (rule === undefined || (spec === 'secret' && rule.operate !== undefined)) continue;
      ruled.add(owner);
      const name = `${rule.name} ${kindOf(owner, rule.depositaries)}`;
      const known = kinds.get(name);
      if (known === undefined)
        kinds.set(name, { rule, owners: [owner], said: quorumsOf(policy, { owner, spec, use }) });
      else if (!known.owners.includes(owner)) known.owners.push(owner);
    }
  }
  return { kinds: [...kinds.values()], unruled: owners.filter((owner) => !ruled.has(owner)) };
}

/** A few names, and how many more there are. */
export function namesOf(people: readonly Principal[]): string {
  const names = people.slice(0, 3).map(({ id }) => id);
  const others = people.length - names.length;
  return others === 0 ? names.join(', ') : `${names.join(', ')} and ${others} more`;
}

/** Every kind of key that the rules may tell apart. */
function kindsOfKeys(rules: readonly Rule[]): readonly { readonly use: KeyUse; readonly spec: KeySpec }[] {
  const named = rules.flatMap(({ when }) => when.spec ?? []);
  return KEY_USES.flatMap((use) => {
    const usual: KeySpec = use === 'keep' ? 'secret' : use === 'sign' ? 'ec-p256' : 'rsa-3072';
    return [...new Set([usual, ...named])]
      .filter((spec) => specAllows(spec, use))
      .map((spec) => ({ use, spec }));
  });
}

/** What the depositaries of a rule depend on, of an owner. */
function kindOf(owner: Principal, expression: QuorumExpression): string {
  const attributes = attributesIn(expression).map((name) => owner.attributes[name] ?? '');
  return JSON.stringify([hasRole(owner, 'depositary') ? owner.id : '', ...attributes]);
}

function attributesIn(expression: QuorumExpression): readonly string[] {
  return 'attribute' in expression ? [expression.attribute] : partsOf(expression).flatMap(attributesIn);
}
