import { applyPolicy, planPolicy } from '../../escrow/acts/applyPolicy.js';
import type { Escrow } from '../../escrow/escrow.js';
import type { Explanation } from '../../escrow/rules/explain.js';
import { depositaryProblems, explain } from '../../escrow/rules/explain.js';
import { API_ROLES, hasRole } from '../../escrow/records/principals.js';
import { getOwner } from '../../escrow/rules/rules.js';
import { policyWarnings } from '../../escrow/rules/warnings.js';
import type {
  AppliedPolicyReply,
  ChoiceReply,
  PageReply,
  PolicyPlanReply,
  PolicyReply,
  StandingReply,
  WarningsReply,
} from '../../api/replies.js';
import { parsePolicy } from '../policyDocument.js';
import { pageReply } from '../replies.js';
import { REPLIES } from '../../api/replies.js';
import type { Route } from '../route.js';
import { act, view } from '../route.js';
import { choiceOrder, pageQuery, policyDraft, policyOrder } from '../../api/orders.js';
import { parseStrictJson } from '../limits/strictJson.js';

/** A document of 10,000 principals has about 5 MiB: the only request that may be so large. */
export const MAX_POLICY_BYTES = 8 * 1024 * 1024;

/** Directory and rules. */
export const policyRoutes: readonly Route[] = [
  act({
    path: '/v1/policy',
    name: 'applyPolicy',
    summary: 'Puts a directory and rules in force that enough administrators have signed.',
    problems: ['policy-invalid', 'policy-signatures-missing', 'policy-stale'],
    reply: REPLIES.policy,
    act: 'policy.apply',
    roles: ['admin'],
    body: policyOrder,
    maxBodyBytes: MAX_POLICY_BYTES,
    run: async (escrow, call, { body }) => {
      const { answer, index } = await applyPolicy(escrow, call, parsePolicy, body);
      return { result: { version: answer.version, hash: answer.hash } satisfies PolicyReply, entry: index };
    },
  }),
  view({
    path: '/v1/policy',
    name: 'getPolicy',
    summary: 'The directory and rules in force.',
    problems: [],
    reply: REPLIES.policy,
    act: 'policy.read',
    roles: ['admin', 'auditor'],
    run: async (escrow): Promise<PolicyReply> => {
      const { policy, document } = await escrow.directory.inForce();
      const { version, hash } = policy;
      return { version, hash, ...(document === undefined ? {} : { document: parseStrictJson(document) }) };
    },
  }),
  view({
    path: '/v1/policy/choice',
    name: 'chooseDepositaries',
    summary: 'Who would be chosen for a key of this owner, and why, before anything is made.',
    problems: ['owner-unknown'],
    reply: REPLIES.choice,
    act: 'policy.read',
    roles: ['admin'],
    body: choiceOrder,
    run: async (escrow, _call, { body }): Promise<ChoiceReply> => {
      const policy = await escrow.directory.current();
      const question = { ...body, owner: getOwner(policy, body.owner) };
      return choiceReply(explain(policy, question, await enrolledKeys(escrow)));
    },
  }),
  view({
    path: '/v1/policy/plan',
    name: 'planPolicy',
    summary: 'Whether this document may follow the policy in force, and what administrators would sign.',
    problems: ['policy-invalid'],
    reply: REPLIES.policyPlan,
    act: 'policy.read',
    roles: ['admin', 'auditor'],
    body: policyDraft,
    maxBodyBytes: MAX_POLICY_BYTES,
    run: async (escrow, _call, { body }): Promise<PolicyPlanReply> => {
      const { current, next, signersNeeded } = await planPolicy(escrow, parsePolicy, body.document);
      return { hash: next.hash, base: current.version, replaces: current.hash, signersNeeded };
    },
  }),
  view({
    path: '/v1/policy/standing',
    name: 'getPolicyStanding',
    summary: 'What a new policy is weighed against: who is enrolled, and which quorums deposits have.',
    problems: [],
    reply: REPLIES.standing,
    act: 'policy.read',
    roles: ['admin', 'auditor'],
    run: async (escrow): Promise<StandingReply> => {
      const policy = await escrow.directory.current();
      return {
        version: policy.version,
        hash: policy.hash,
        signersNeeded: escrow.directory.signersNeeded(policy),
        enrolled: (await escrow.token.enrolled()).map(({ id, fingerprint }) => ({ id, fingerprint })),
        deposits: (await escrow.store.depositedQuorums()).map(({ purpose, quorums, deposits }) => ({
          purpose,
          quorums,
          deposits,
        })),
      };
    },
  }),
  view({
    path: '/v1/policy/warnings',
    name: 'getPolicyWarnings',
    summary: 'Quorums that are impossible or soon would be; to most callers only about themselves.',
    problems: [],
    reply: REPLIES.warnings,
    act: 'policy.read',
    roles: API_ROLES,
    run: async (escrow, { caller }): Promise<WarningsReply> => {
      const policy = await escrow.directory.current();
      const enrolled = await enrolledKeys(escrow);
      if (hasRole(caller, 'admin') || hasRole(caller, 'auditor')) {
        const deposits = await escrow.store.depositedQuorums();
        return { warnings: policyWarnings(policy, { enrolled, deposits }) };
      }
      const problems = hasRole(caller, 'depositary') ? depositaryProblems(caller, enrolled) : [];
      return { warnings: problems.map((problem) => `${caller.id} ${problem}`) };
    },
  }),
  view({
    path: '/v1/policy/history',
    name: 'getPolicyHistory',
    summary: 'The policies that were ever in force, newest first: hash, signers, and when.',
    problems: [],
    reply: REPLIES.page(REPLIES.appliedPolicy),
    act: 'policy.read',
    roles: ['admin', 'auditor'],
    query: pageQuery,
    run: async (escrow, _call, { query }): Promise<PageReply<AppliedPolicyReply>> => {
      const { items, next } = await escrow.store.policyHistory(query);
      return pageReply(
        { items: await escrow.directory.signedAmong(items), next },
        ({ version, hash, appliedAt, signers }): AppliedPolicyReply => ({
          version,
          hash,
          ...(appliedAt === undefined ? {} : { appliedAt: appliedAt.toISOString() }),
          signers,
        }),
      );
    },
  }),
];

async function enrolledKeys(escrow: Escrow): Promise<ReadonlyMap<string, string>> {
  return new Map((await escrow.token.enrolled()).map(({ id, fingerprint }) => [id, fingerprint]));
}

function choiceReply(explanation: Explanation): ChoiceReply {
  const { considered, rule, quorums, candidates, missing, error } = explanation;
  return {
    considered,
    ...(rule === undefined ? {} : { rule }),
    quorums,
    candidates: candidates.map(({ id, name, keys, depositaryKey, problems }) => ({
      id,
      name,
      keys,
      ...(depositaryKey === undefined ? {} : { depositaryKey }),
      problems,
    })),
    missing,
    ...(error === undefined ? {} : { error }),
  };
}
