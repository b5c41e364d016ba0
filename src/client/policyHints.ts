import type { Policy, QuorumExpression, Rule } from '../escrow/policy.js';
import type { Principal } from '../escrow/principals.js';
import { API_ROLES, hasRole } from '../escrow/principals.js';

/**
 * What is allowed, and yet hardly meant: for a person to read before the document is signed. Empty when there is
 * nothing to say.
 */
export function policyHints({ principals, rules }: Policy): readonly string[] {
  const everyone = [...principals.values()];
  return [...everyone.flatMap(principalHints), ...ruleHints(rules, everyone)];
}

function principalHints({ id, roles, keys, retired, kind }: Principal): readonly string[] {
  const hints: string[] = [];
  if (keys.length === 0 && !retired) hints.push(`${id} has no key and cannot sign any request`);
  if (!roles.some((role) => (API_ROLES as readonly string[]).includes(role))) {
    hints.push(`${id} has none of the roles ${API_ROLES.join(', ')} and can do nothing`);
  }
  if (kind === 'app' && roles.includes('depositary')) hints.push(`${id} is an app and a depositary`);
  return hints;
}

function ruleHints(rules: readonly Rule[], everyone: readonly Principal[]): readonly string[] {
  const owners = everyone.filter((one) => hasRole(one, 'owner'));
  return rules.flatMap((rule, at) => {
    const hints = namesIn(rule.depositaries).flatMap((name) => nameHint(name, everyone, owners, rule.name));
    const general = rules.slice(0, at).find(({ when }) => isGeneral(when));
    if (general !== undefined)
      hints.push(`rule ${rule.name} is never reached: ${general.name} matches everything`);
    return hints;
  });
}

function isGeneral({ owner, use, spec }: Rule['when']): boolean {
  return use === undefined && spec === undefined && Object.keys(owner).length === 0;
}

type Name = Extract<
  QuorumExpression,
  { readonly person: unknown } | { readonly attribute: unknown } | { readonly role: unknown }
>;

function nameHint(
  name: Name,
  everyone: readonly Principal[],
  owners: readonly Principal[],
  rule: string,
): readonly string[] {
  if ('role' in name) {
    const members = everyone.filter(
      (one) => hasRole(one, name.role) && hasRole(one, 'depositary') && !one.retired,
    );
    return members.length === 0 ? [`rule ${rule}: no depositary has the role ${name.role}`] : [];
  }
  if ('person' in name) return personHint(name.person, everyone, `rule ${rule}`);
  return owners.flatMap(({ id, attributes }) => {
    const person = attributes[name.attribute];
    return person === undefined
      ? [`rule ${rule}: the owner ${id} has no attribute ${name.attribute}`]
      : personHint(person, everyone, `rule ${rule}, ${name.attribute} of ${id}`);
  });
}

function personHint(id: string, everyone: readonly Principal[], where: string): readonly string[] {
  const person = everyone.find((one) => one.id === id);
  if (person === undefined) return [`${where}: there is no ${id}`];
  if (!hasRole(person, 'depositary')) return [`${where}: ${id} is no depositary`];
  return person.retired ? [`${where}: ${id} is retired`] : [];
}

function namesIn(expression: QuorumExpression): readonly Name[] {
  if ('allOf' in expression) return expression.allOf.flatMap(namesIn);
  if ('anyOf' in expression) return expression.anyOf.flatMap(namesIn);
  return 'of' in expression ? expression.of.flatMap(namesIn) : [expression];
}
