import { API_ROLES } from '../escrow/principals.js';
import type { ExpressionText, PolicyDocument } from './policyDocument.js';

type Principal = PolicyDocument['principals'][number];

/**
 * What is allowed, and yet hardly meant: for a person to read before the document is signed. Empty when there is
 * nothing to say.
 */
export function policyHints(document: PolicyDocument): readonly string[] {
  return [...administratorHints(document), ...principalHints(document), ...ruleHints(document)];
}

function administratorHints({ principals }: PolicyDocument): readonly string[] {
  const active = principals.filter((one) => one.roles.includes('admin') && one.retired !== true);
  return active.length >= 2
    ? []
    : [`there are ${active.length} administrators; two are needed to apply the next policy`];
}

function principalHints({ principals }: PolicyDocument): readonly string[] {
  return principals.flatMap(({ id, roles, keys, retired, kind }) => {
    const hints: string[] = [];
    if (keys.length === 0 && retired !== true) hints.push(`${id} has no key and cannot sign any request`);
    if (!roles.some((role) => (API_ROLES as readonly string[]).includes(role))) {
      hints.push(`${id} has none of the roles ${API_ROLES.join(', ')} and can do nothing`);
    }
    if (kind === 'app' && roles.includes('depositary')) hints.push(`${id} is an app and a depositary`);
    return hints;
  });
}

function ruleHints({ principals, rules }: PolicyDocument): readonly string[] {
  const owners = principals.filter(({ roles }) => roles.includes('owner'));
  return rules.flatMap((rule, at) => {
    const hints = namesIn(rule.depositaries).flatMap((name) => nameHint(name, principals, owners, rule.name));
    const first = rules.findIndex(({ name }) => name === rule.name);
    if (first !== at) hints.push(`two rules are called ${rule.name}`);
    const general = rules.slice(0, at).find(({ when }) => Object.keys(when ?? {}).length === 0);
    if (general !== undefined)
      hints.push(`rule ${rule.name} is never reached: ${general.name} matches everything`);
    return hints;
  });
}

function nameHint(
  name: string,
  principals: readonly Principal[],
  owners: readonly Principal[],
  rule: string,
): readonly string[] {
  if (name.startsWith('role:')) {
    const role = name.slice('role:'.length);
    const members = principals.filter(
      (one) => one.roles.includes(role) && one.roles.includes('depositary') && one.retired !== true,
    );
    return members.length === 0 ? [`rule ${rule}: no depositary has the role ${role}`] : [];
  }
  if (name.startsWith('person:')) return personHint(name.slice('person:'.length), principals, `rule ${rule}`);
  return owners.flatMap(({ id, attributes }) => {
    const person = attributes[name];
    return person === undefined
      ? [`rule ${rule}: the owner ${id} has no attribute ${name}`]
      : personHint(person, principals, `rule ${rule}, ${name} of ${id}`);
  });
}

function personHint(id: string, principals: readonly Principal[], where: string): readonly string[] {
  const person = principals.find((one) => one.id === id);
  if (person === undefined) return [`${where}: there is no ${id}`];
  if (!person.roles.includes('depositary')) return [`${where}: ${id} is no depositary`];
  return person.retired === true ? [`${where}: ${id} is retired`] : [];
}

function namesIn(expression: ExpressionText): readonly string[] {
  if (typeof expression === 'string') return [expression];
  if ('allOf' in expression) return expression.allOf.flatMap(namesIn);
  return ('anyOf' in expression ? expression.anyOf : expression.of).flatMap(namesIn);
}
