import { applyPolicy } from '../../escrow/applyPolicy.js';
import { choose, getOwner } from '../../escrow/rules.js';
import type { WireChoice, WirePolicy } from '../../escrow/wire.js';
import { parsePolicy } from '../policyDocument.js';
import { REPLIES } from '../replySchemas.js';
import type { Route } from '../route.js';
import { act, view } from '../route.js';
import { choiceOrder, policyOrder } from '../schemas.js';
import { parseStrictJson } from '../strictJson.js';

/** Directory and rules. */
export const policyRoutes: readonly Route[] = [
  act({
    path: '/v1/policy',
    name: 'applyPolicy',
    summary: 'Puts a directory and rules in force that two administrators have signed.',
    problems: ['policy-invalid', 'policy-signatures-missing', 'policy-stale'],
    reply: REPLIES.policy,
    act: 'policy.apply',
    roles: ['admin'],
    body: policyOrder,
    run: async (escrow, call, { body }) => {
      const { answer, index } = await applyPolicy(escrow, call, parsePolicy, body);
      return { result: { version: answer.version, hash: answer.hash } satisfies WirePolicy, entry: index };
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
    run: async (escrow): Promise<WirePolicy> => {
      const found = await escrow.store.findPolicy();
      if (found !== undefined)
        return { version: found.version, hash: found.hash, document: parseStrictJson(found.document) };
      const { version, hash } = await escrow.directory.current();
      return { version, hash };
    },
  }),
  view({
    path: '/v1/policy/choice',
    name: 'chooseDepositaries',
    summary: 'Who would be chosen for a key of this owner, before anything is made.',
    problems: [
      'owner-unknown',
      'rule-missing',
      'depositary-unknown',
      'depositary-retired',
      'quorum-impossible',
      'quorum-too-large',
    ],
    reply: REPLIES.choice,
    act: 'policy.read',
    roles: ['admin'],
    body: choiceOrder,
    run: async (escrow, _call, { body }): Promise<WireChoice> => {
      const policy = await escrow.directory.current();
      const { rule, quorums } = choose(policy, getOwner(policy, body.owner), body.spec, body.use);
      const enrolled = new Set((await escrow.token.enrolled()).map(({ id }) => id));
      const notEnrolled = [...new Set(quorums.flat())].filter((id) => !enrolled.has(id)).sort();
      return { rule: rule.name, quorums, notEnrolled };
    },
  }),
];
