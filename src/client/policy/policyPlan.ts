import { parsePrincipalId } from '../../escrow/records/ids.js';
import { USUAL_MINIMUM_QUORUM } from '../../escrow/rules/minimumQuorum.js';
import { type Policy, PURPOSES } from '../../escrow/records/policy.js';
import { POLICY_QUORUM } from '../../escrow/rules/policySignatures.js';
import type { Quorum } from '../../escrow/records/quorum.js';
import { policyWarnings } from '../../escrow/rules/warnings.js';
import { policyChanges } from '../../policy/changes.js';
import type { EscrowClient } from '../escrowClient.js';
import { ServerProblem, ServerUnreachable } from '../errors.js';
import type { LosingKeyReply, PolicyPlanReply } from '../../api/replies.js';
import { checkPolicyDocument, policyDocumentHash, readPolicyInForce } from './policyDocument.js';
import { readPolicyFile } from './policyFile.js';
import { isKnown } from '../../api/reading.js';

/** What putting a document in force would do: what administrators read before they sign, and what they then sign. */
export interface PolicyPlan {
  /** As it is sent: with the keys in it. */
  readonly document: unknown;
  readonly hash: string;
  /** The version in force and its hash: what the document replaces. */
  readonly base: number;
  readonly replaces: string;
  readonly next: Policy;
  readonly signersNeeded: number;
  /** In words; empty when the document says what is in force already. */
  readonly changes: readonly string[];
  readonly warnings: readonly string[];
  /** What it does to the keys that there are; undefined where the server is too old to say so. */
  readonly losses: PlannedLosses | undefined;
}

/** How many keys a policy would leave covered worse than they are, and each of them. */
export interface PlannedLosses {
  /** Without a live quorum: the number to accept. */
  readonly lost: number;
  /** With a single one. */
  readonly oneQuorum: number;
  /** With somebody who is in all that are left. */
  readonly singlePoint: number;
  /** Whether the token said who is enrolled. */
  readonly isTokenAsked: boolean;
  readonly keys: readonly LosingKeyReply[];
}

/** Before the first policy nobody and nothing is listed: all of the document is new. */
const NOTHING = {
  version: 0,
  hash: '',
  administration: { quorum: POLICY_QUORUM, floor: POLICY_QUORUM, minimumQuorum: USUAL_MINIMUM_QUORUM },
  principals: new Map(),
  rules: [],
} as const satisfies Policy;

/**
 * Reads a policy file and weighs it against what runs: the policy in force, the depositaries in the token, and the quorums
 * that deposits were made with. The server says then whether it would be taken at all: what ids and keys were before, and how
 * many signatures its configuration asks for, only it knows.
 *
 * @param progress is told how many of the keys that are covered worse were listed
 * @throws PolicyDocumentError when the file is no policy; ServerProblem `policy-invalid` when it may not follow; what the client throws.
 */
export async function planPolicy(
  client: EscrowClient,
  path: string,
  progress: (done: number, all: number) => void = () => undefined,
): Promise<PolicyPlan> {
  const document = await readPolicyFile(path);
  const next = checkPolicyDocument(document);
  const inForce = await client.policy();
  const { enrolled, deposits } = await client.standing();
  const hash = policyDocumentHash(document);
  const planned = await client.planPolicy(document);
  if (planned.hash !== hash)
    throw new ServerUnreachable('not-escrowd', 'the server reads another document than was sent');
  const losses = await lossesIn(client, document, planned, progress);
  const before = inForce.document === undefined ? NOTHING : readPolicyInForce(inForce.document);
  return {
    document,
    hash,
    base: inForce.version,
    replaces: inForce.hash,
    next,
    signersNeeded: planned.signersNeeded,
    losses,
    changes: policyChanges(before, next),
    warnings: policyWarnings(next, {
      enrolled: new Map(enrolled.map(({ id, fingerprint }) => [id, fingerprint])),
      // what else a newer server has deposits for cannot be weighed here
      deposits: deposits.flatMap(({ purpose, quorums, recipients = [], deposits: keys }) =>
        isKnown(PURPOSES, purpose)
          ? [
              {
                keys,
                purposes: [
                  {
                    purpose,
                    quorums: quorums.map(asQuorum),
                    recipients: new Map(
                      recipients.map(({ depositary, fingerprint }) => [depositary, fingerprint]),
                    ),
                  },
                ],
              },
            ]
          : [],
      ),
    }),
  };
}

/** All pages of the keys that a document leaves covered worse. The counts are those of the last of them. */
async function lossesIn(
  client: EscrowClient,
  document: unknown,
  first: PolicyPlanReply,
  progress: (done: number, all: number) => void,
): Promise<PlannedLosses | undefined> {
  const keys: LosingKeyReply[] = [];
  for (let page = first; ;) {
    const { losses } = page;
    if (losses === undefined) return undefined;
    const { lost, oneQuorum, singlePoint, isTokenAsked, next } = losses;
    keys.push(...losses.keys);
    progress(keys.length, lost + oneQuorum + singlePoint);
    if (next === undefined) return { lost, oneQuorum, singlePoint, isTokenAsked, keys };
    page = await client.planPolicy(document, next);
    const isOther = page.base !== first.base || page.replaces !== first.replaces;
    if (isOther) throw new ServerProblem('policy-stale', 409, 'The policy changed while its plan was read.');
  }
}

function asQuorum(members: readonly string[]): Quorum {
  return members.flatMap((member) => parsePrincipalId(member) ?? []);
}
