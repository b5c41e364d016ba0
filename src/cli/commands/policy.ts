import { printable, quoted } from '../../escrow/records/freeText.js';
import { PolicyDocumentError } from '../../client/errors.js';
import {
  checkPolicyDocument,
  policyDocumentHash,
  readPolicyInForce,
} from '../../client/policy/policyDocument.js';
import { readPolicyFile } from '../../client/policy/policyFile.js';
import { smallQuorums } from '../../escrow/rules/minimumQuorum.js';
import { policyWarnings } from '../../escrow/rules/warnings.js';
import { policyFileSchema } from '../../policy/jsonSchema.js';
import { ruleInWords } from '../../policy/inWords.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import { FORCE, writePublic } from '../files/outputs.js';
import { listed } from '../pages.js';
import type { Session } from '../session.js';
import { localTime } from '../times.js';

/** Directory and rules: looking at them. Changing them is `plan` and `apply`. */
export const policyCommands: readonly CommandRow[] = [
  {
    usage: 'check <file>',
    summary: 'checks a policy file without asking the server',
    about: 'YAML or JSON. `keysFrom: path/to/public.json` stands for the keys in that file.',
    examples: ['policy check escrow.yaml'],
    run: check,
  },
  {
    usage: 'schema',
    summary: 'prints the JSON Schema of policy files, for editors',
    about: 'In the file: # yaml-language-server: $schema=escrow.schema.json',
    examples: ['policy schema > escrow.schema.json'],
    run: (): Promise<Result> => {
      const schema = policyFileSchema();
      return Promise.resolve({ json: schema, lines: JSON.stringify(schema, undefined, 2).split('\n') });
    },
  },
  {
    usage: 'show',
    summary: 'shows the policy in force',
    options: [{ flags: '--out <file>', about: 'also write its document to this file, as JSON' }, FORCE],
    examples: ['policy show --as ~/.escrowd', 'policy show --json | jq .document.rules'],
    run: show,
  },
  {
    usage: 'history',
    summary: 'lists the policies that were in force, newest first: hash, and who signed',
    options: [{ flags: '--limit <n>', about: 'how many', default: '50' }],
    examples: ['policy history --as ~/.escrowd'],
    run: history,
  },
];

async function check(_session: Session, given: CommandArguments): Promise<Result> {
  const document = await readPolicyFile(given.argument(0));
  const policy = checkPolicyDocument(document);
  const [small] = smallQuorums(policy, policy.administration.minimumQuorum);
  if (small !== undefined)
    throw new PolicyDocumentError([
      `${small}, and administration.minimumQuorum is ${policy.administration.minimumQuorum}`,
    ]);
  const warnings = policyWarnings(policy, { enrolled: undefined, deposits: undefined });
  const hash = policyDocumentHash(document);
  const { principals, rules } = policy;
  return {
    json: { ok: true, hash, principals: principals.size, rules: rules.length, warnings },
    lines: [
      `The form is right: ${principals.size} principals, ${rules.length} rules.`,
      ...facts([['hash', hash]]),
      ...(warnings.length === 0 ? [] : ['', 'Warnings', ...warnings.map((text) => `  ! ${printable(text)}`)]),
    ],
    next: `escrowctl plan -f ${given.argument(0)}`,
  };
}

async function show(session: Session, given: CommandArguments): Promise<Result> {
  const { client } = await session.connect();
  const policy = await session.busy('asking for the policy', () => client.policy());
  const out = given.find('out');
  if (out !== undefined) {
    if (policy.document === undefined) throw new UsageError('no document is in force yet');
    const text = `${JSON.stringify(policy.document, undefined, 2)}\n`;
    await writePublic(session, given, out, text);
  }
  return {
    json: policy,
    lines: [
      ...facts([
        ['version', String(policy.version)],
        ['hash', policy.hash],
      ]),
      ...documentLines(policy.document),
    ],
  };
}

function documentLines(document: unknown): readonly string[] {
  if (document === undefined)
    return ['', 'Only the first administrators are known; no document is in force yet.'];
  const { administration, principals, rules } = readPolicyInForce(document);
  return [
    ...facts([
      ['signed by', `${administration.quorum} administrators (floor ${administration.floor})`],
      ['quorums', `of ${administration.minimumQuorum} depositaries at least`],
    ]),
    '',
    'Principals',
    ...facts(
      [...principals.values()].map(({ id, name, roles, retired }) => [
        id,
        `${quoted(name)} (${roles.join(', ')})${retired ? ', retired' : ''}`,
      ]),
    ),
    '',
    'Rules, the first that matches holds',
    ...facts(rules.map((rule) => [rule.name, ruleInWords(rule)])),
  ];
}

function history(session: Session, given: CommandArguments): Promise<Result> {
  return listed(session, given, {
    busy: 'asking for the policies',
    page: (client, query) => client.policyHistory(query),
    none: 'No document is in force yet.',
    columns: [
      ['version', ({ version }) => String(version)],
      ['applied', ({ appliedAt }) => (appliedAt === undefined ? '' : localTime(new Date(appliedAt)))],
      ['signed by', ({ signers }) => signers.join(', ')],
      ['hash', ({ hash }) => hash],
    ],
    next: () => 'the auditor has every document: escrowctl log export',
  });
}
