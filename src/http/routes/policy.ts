import { applyPolicy, planPolicy } from '../../escrow/acts/applyPolicy.js';
import type { Escrow } from '../../escrow/escrow.js';
import { type Explanation, depositaryProblems, explain } from '../../escrow/rules/explain.js';
import { type DepositGroup, byPeopleAlone } from '../../escrow/records/depositedQuorums.js';
import { hasRole } from '../../escrow/records/principals.js';
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
import { losingKeyReply, pageReply } from '../replies.js';
import { listLosingKeys } from '../../escrow/reads/losses.js';
import { ROUTES } from '../../api/routes.js';
import { type Route, act, view } from '../route.js';
import { parseStrictJson } from '../limits/strictJson.js';

/** A document of 10,000 principals has about 5 MiB: the only request that may be so large. */
export const MAX_POLICY_BYTES = 8 * 1024 * 1024;

/** Directory and rules. */
export const policyRoutes: readonly Route[] = [
  act({
    ...ROUTES.applyPolicy,
    summary: 'Puts a directory and rules in force that enough administrators have signed.',
    problems: ['policy-invalid', 'policy-signatures-missing', 'policy-stale', 'unrecoverable-not-accepted'],
    maxBodyBytes: MAX_POLICY_BYTES,
    run: async (escrow, call, { body }) => {
      const { answer, index } = await applyPolicy(escrow, call, parsePolicy, body);
      return { result: { version: answer.version, hash: answer.hash } satisfies PolicyReply, entry: index };
    },
  }),
  view({
    ...ROUTES.getPolicy,
    summary: 'The directory and rules in force.',
    problems: [],
    run: async (escrow): Promise<PolicyReply> => {
      const { policy, document } = await escrow.directory.inForce();
      const { version, hash } = policy;
      return { version, hash, ...(document === undefined ? {} : { document: parseStrictJson(document) }) };
    },
  }),
  view({
    ...ROUTES.chooseDepositaries,
    summary: 'Who would be chosen for a key of this owner, and why, before anything is made.',
    problems: ['owner-unknown'],
    run: async (escrow, _call, { body }): Promise<ChoiceReply> => {
      const policy = await escrow.directory.current();
      const question = { ...body, owner: getOwner(policy, body.owner) };
      return choiceReply(explain(policy, question, await enrolledKeys(escrow)));
    },
  }),
  view({
    ...ROUTES.planPolicy,
    summary:
      'Whether this document may follow the policy in force, what administrators would sign, and which keys it leaves covered worse.',
    problems: ['policy-invalid'],
    maxBodyBytes: MAX_POLICY_BYTES,
    run: async (escrow, _call, { body: { document, after, limit } }): Promise<PolicyPlanReply> => {
      const planned = await planPolicy(escrow, parsePolicy, document);
      const { current, next, signersNeeded, inToken, losses } = planned;
      const { lost, oneQuorum, singlePoint } = losses;
      const page = pageReply(await listLosingKeys(escrow, planned, { after, limit }), losingKeyReply);
      return {
        ...{ hash: next.hash, base: current.version, replaces: current.hash, signersNeeded },
        losses: {
          ...{ lost, oneQuorum, singlePoint, isTokenAsked: inToken.enrolled !== undefined, keys: page.items },
          ...(page.next === undefined ? {} : { next: page.next }),
        },
      };
    },
  }),
  view({
    ...ROUTES.getPolicyStanding,
    summary: 'What a new policy is weighed against: who is enrolled, and which quorums deposits have.',
    problems: [],
    run: async (escrow): Promise<StandingReply> => {
      const policy = await escrow.directory.current();
      return {
        version: policy.version,
        hash: policy.hash,
        signersNeeded: escrow.directory.signersNeeded(policy),
        enrolled: (await escrow.token.enrolled()).map(({ id, fingerprint }) => ({ id, fingerprint })),
        deposits: (await depositGroups(escrow)).flatMap(({ purposes, keys }) =>
          purposes.map(({ purpose, quorums, recipients }) => ({
            purpose,
            quorums,
            recipients: [...recipients].map(([depositary, fingerprint]) => ({ depositary, fingerprint })),
            deposits: keys,
          })),
        ),
      };
    },
  }),
  view({
    ...ROUTES.getPolicyWarnings,
    summary: 'Quorums that are impossible or soon would be; to most callers only about themselves.',
    problems: [],
    run: async (escrow, { caller }): Promise<WarningsReply> => {
      const policy = await escrow.directory.current();
      const enrolled = await enrolledKeys(escrow);
      if (hasRole(caller, 'admin') || hasRole(caller, 'auditor')) {
        const warnings = policyWarnings(policy, { enrolled, deposits: await depositGroups(escrow) });
        return { warnings, policyVersion: policy.version };
      }
      const problems = hasRole(caller, 'depositary') ? depositaryProblems(caller, enrolled) : [];
      return {
        warnings: problems.map((problem) => `${caller.id} ${problem}`),
        policyVersion: policy.version,
      };
    },
  }),
  view({
    ...ROUTES.getPolicyHistory,
    summary: 'The policies that were ever in force, newest first: hash, signers, and when.',
    problems: [],
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

/** Every key that was born, by the log. */
async function depositGroups({ followed }: Escrow): Promise<readonly DepositGroup[]> {
  await followed.caughtUp();
  return byPeopleAlone(followed.facts.depositGroups());
}

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
