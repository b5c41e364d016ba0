import { unclearText } from '../../log/entry/plainText.js';
import { type EnrolledKeys, depositaryProblems, missingIn, partsOf } from './explain.js';
import { liveQuorums, unableInWords } from './liveQuorums.js';
import { smallQuorums, USUAL_MINIMUM_QUORUM } from './minimumQuorum.js';
import { type Kind, kindsOf, namesOf, ownersOf } from './ownerKinds.js';
import type { Policy, QuorumExpression, Rule } from '../records/policy.js';
import { type Principal, API_ROLES, DAEMON_ID, hasRole } from '../records/principals.js';
import type { DepositGroup } from '../records/depositedQuorums.js';

/** What a policy is looked at against. What is undefined is not known, and not warned of. */
export interface Surroundings {
  readonly enrolled: EnrolledKeys;
  readonly deposits: readonly DepositGroup[] | undefined;
}

/**
 * What an administrator should hear before a quorum becomes impossible, and what is hardly meant: sentences, each once,
 * the gravest first. Pure. Thousands of owners are looked at as the few kinds of them that the rules tell apart.
 */
export function policyWarnings(policy: Policy, surroundings: Surroundings): readonly string[] {
  return [
    ...new Set([
      ...depositWarnings(policy, surroundings),
      ...ruleWarnings(policy, surroundings.enrolled),
      ...smallQuorumWarnings(policy),
      ...administratorWarnings(policy),
      ...shadowWarnings(policy.rules),
      ...[...policy.principals.values()].flatMap(principalWarnings),
    ]),
  ];
}

/* --------------------------------------------------------- keys that exist */
function depositWarnings(policy: Policy, { enrolled, deposits = [] }: Surroundings): readonly string[] {
  return deposits.flatMap(({ keys, purposes }) =>
    purposes.flatMap((deposited) => {
      const { purpose, live, unable } = liveQuorums(deposited, policy, enrolled);
      const why = unableInWords(unable);
      const what = `${keys} ${keys === 1 ? 'deposit' : 'deposits'} to ${purpose}`;
      if (live.length === 0) return [`${what} would be left without any quorum that could agree: ${why}`];
      if (live.length === 1 && deposited.quorums.length > 1)
        return [`${what} would be left with one quorum (${live.flat().join(' and ')}): ${why}`];
      return [];
    }),
  );
}

/* ---------------------------------------------------- keys that may be made */
function ruleWarnings(policy: Policy, enrolled: EnrolledKeys): readonly string[] {
  const owners = ownersOf(policy).filter((one) => !one.retired);
  const { kinds, unruled } = kindsOf(policy, owners);
  return [
    ...kinds.flatMap((kind) => kindWarnings(policy, kind, enrolled)),
    ...(policy.rules.length === 0 || unruled.length === 0 ? [] : [`no rule is for ${namesOf(unruled)}`]),
    ...unmatchedWarnings(policy.rules, owners),
  ];
}

function kindWarnings(
  policy: Policy,
  { rule, owners, said }: Kind,
  enrolled: EnrolledKeys,
): readonly string[] {
  const whose = `rule ${rule.name}, for ${namesOf(owners)}`;
  if ('error' in said) {
    const missing = missingIn(rule.depositaries, policy, owners[0]);
    return [`${whose}: no quorum is possible${missing.length === 0 ? '' : `: ${missing.join(', ')}`}`];
  }
  const people = [...new Set(said.quorums.flat())].flatMap((id) => policy.principals.get(id) ?? []);
  const unable = people.flatMap((person) => {
    const [problem] = depositaryProblems(person, enrolled);
    return problem === undefined ? [] : [`${person.id} ${problem}`];
  });
  const roles = rolesIn(rule.depositaries);
  const needed = people
    .filter((person) => roles.some((role) => hasRole(person, role)))
    .filter(({ id }) => said.quorums.every((members) => members.includes(id)));
  return [
    ...(unable.length === 0 ? [] : [`${whose}: no key can be made: ${unable.join(', ')}`]),
    ...needed.map(
      ({ id }) => `${whose}: if ${id} leaves, no quorum is possible any more (${roles.join(', ')})`,
    ),
  ];
}

/** A condition that nobody fulfils is mistyped, in the rule or in the directory. */
function unmatchedWarnings(rules: readonly Rule[], owners: readonly Principal[]): readonly string[] {
  if (owners.length === 0) return [];
  return rules.flatMap(({ name, when }) => {
    const wanted = Object.entries(when.owner);
    const fulfils = ({ attributes }: Principal): boolean =>
      wanted.every(([attribute, value]) => attributes[attribute] === value);
    if (wanted.length === 0 || owners.some(fulfils)) return [];
    const said = wanted.map(([attribute, value]) => `owner.${attribute} ${JSON.stringify(value)}`);
    return [`rule ${name} matches no owner: nobody has ${said.join(' and ')}`];
  });
}

/** Also of what a policy permits itself, and of what one that came into force before it had to say so still gives. */
function smallQuorumWarnings(policy: Policy): readonly string[] {
  return smallQuorums(policy, Math.max(USUAL_MINIMUM_QUORUM, policy.administration.minimumQuorum));
}

function rolesIn(expression: QuorumExpression): readonly string[] {
  return [...new Set('role' in expression ? [expression.role] : partsOf(expression).flatMap(rolesIn))];
}

/* --------------------------------------------------------------- the others */
function administratorWarnings({ principals, administration }: Policy): readonly string[] {
  const able = [...principals.values()].filter(
    (one) => hasRole(one, 'admin') && one.keys.length > 0 && !one.retired,
  );
  if (able.length > administration.quorum) return [];
  return [
    `${able.length} administrators have keys, and ${administration.quorum} must sign: if one leaves, no policy can be applied any more`,
  ];
}

function shadowWarnings(rules: readonly Rule[]): readonly string[] {
  return rules.flatMap((rule, at) => {
    const general = rules.slice(0, at).find(({ when }) => isGeneral(when));
    return general === undefined
      ? []
      : [`rule ${rule.name} is never reached: ${general.name} matches everything`];
  });
}

function isGeneral({ owner, use, spec }: Rule['when']): boolean {
  return use === undefined && spec === undefined && Object.keys(owner).length === 0;
}

/** An address of letters that mail servers take without an extension (RFC 5321 section 4.1.2); none is no fault. */
function isMailable(email: string | undefined): boolean {
  return email === undefined || /^[!-?A-~]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(email);
}

function principalWarnings({ id, roles, keys, retired, kind, attributes }: Principal): readonly string[] {
  const known = roles.some((role) => (API_ROLES as readonly string[]).includes(role));
  const unclear = unclearText(attributes);
  return [
    ...(id === DAEMON_ID
      ? [`${id} has the id that the log has for the daemon itself: what the two did cannot be told apart`]
      : []),
    ...(unclear === undefined
      ? []
      : [
          `${id} has the attribute ${unclear} that is not in Unicode NFC, or has lost a character: rules may not match it`,
        ]),
    ...(keys.length === 0 && !retired ? [`${id} has no key and cannot sign any request`] : []),
    ...(known ? [] : [`${id} has none of the roles ${API_ROLES.join(', ')} and can do nothing`]),
    ...(isMailable(attributes['email'])
      ? []
      : [`${id} has an email that no mail can be sent to: ${JSON.stringify(attributes['email'])}`]),
    ...(kind === 'app' && roles.includes('depositary') ? [`${id} is an app and a depositary`] : []),
  ];
}
