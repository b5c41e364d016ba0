import { printable, quoted } from '../../escrow/records/freeText.js';
import { checkPolicyDocument } from '../../client/policy/policyDocument.js';
import { readPolicyFile } from '../../client/policy/policyFile.js';
import { type Explanation, explain } from '../../escrow/rules/explain.js';
import { type KeySpec, type KeyUse, KEY_SPEC_NAMES, KEY_USES } from '../../escrow/records/keySpecs.js';
import type { ChoiceReply } from '../../api/replies.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import type { Session } from '../session.js';
import { quorumsInWords } from '../words.js';

/** The kind that is meant where only the use is said. */
const USUAL = { sign: 'ec-p256', decrypt: 'rsa-3072', keep: 'secret' } as const satisfies Record<
  KeyUse,
  KeySpec
>;

/** What the rules would say. */
export const rulesCommands: readonly CommandRow[] = [
  {
    usage: 'test',
    summary: 'explains who would be the depositaries of a key, without making one',
    about:
      'Says which rule matches and why the earlier ones do not, which quorums result, and who is missing.\n' +
      'Asks the server about what runs; with -f, looks into a file instead, and at the token where --as is given.',
    options: [
      { flags: '--owner <id>', about: 'whose key', required: true },
      { flags: '--use <use>', about: 'what for', required: true, choices: KEY_USES },
      {
        flags: '--spec <spec>',
        about: 'which kind (default: ec-p256 to sign, rsa-3072 to decrypt, secret to keep)',
        choices: KEY_SPEC_NAMES,
      },
      { flags: '--app <id>', about: 'which app would use it' },
      { flags: '-f, --file <file>', about: 'a policy file, instead of what runs' },
    ],
    examples: [
      'rules test --as ~/.escrowd --owner olga --use sign',
      'rules test -f escrow.yaml --owner olga --use sign',
    ],
    run: test,
  },
];

interface Asked {
  readonly owner: string;
  readonly use: KeyUse;
  readonly spec: KeySpec;
  readonly app?: string;
}

async function test(session: Session, given: CommandArguments): Promise<Result> {
  const use = given.oneOf('use', KEY_USES) ?? 'sign';
  const spec = given.oneOf('spec', KEY_SPEC_NAMES) ?? USUAL[use];
  const app = given.find('app');
  const asked: Asked = { owner: given.text('owner'), use, spec, ...(app === undefined ? {} : { app }) };
  const file = given.find('file');
  const answer = file === undefined ? await askServer(session, asked) : await askFile(session, asked, file);
  return {
    json: { ...asked, ...answer },
    lines: explanationLines(answer),
    next:
      answer.missing.length > 0 || file !== undefined
        ? undefined
        : spec === 'secret'
          ? `escrowctl secret import FILE --owner ${asked.owner}`
          : `escrowctl key generate --owner ${asked.owner} --use ${use} --spec ${spec}`,
  };
}

async function askServer(session: Session, asked: Asked): Promise<ChoiceReply> {
  const { client } = await session.connect();
  return session.busy('asking the rules', () => client.choice(asked));
}

async function askFile(session: Session, asked: Asked, file: string): Promise<Explanation> {
  const policy = checkPolicyDocument(await readPolicyFile(file));
  const owner = [...policy.principals.values()].find(
    ({ id, roles }) => id === asked.owner && roles.includes('owner'),
  );
  if (owner === undefined) throw new UsageError(`${file} has no owner ${asked.owner}`);
  return explain(policy, { ...asked, owner }, await enrolledNow(session));
}

async function enrolledNow(session: Session): Promise<ReadonlyMap<string, string> | undefined> {
  if (!session.hasIdentity) return undefined;
  const { client } = await session.connect();
  const { enrolled } = await client.standing();
  return new Map(enrolled.map(({ id, fingerprint }) => [id, fingerprint]));
}

function explanationLines(answer: ChoiceReply | Explanation): readonly string[] {
  const { considered, rule, quorums, candidates, missing, error } = answer;
  return [
    'Rules, in order',
    ...facts(
      considered.map(({ rule: name, because }) => [
        name,
        because.length === 0 ? 'matches' : `does not match: ${because.join('; ')}`,
      ]),
    ),
    '',
    ...facts([
      ['rule', rule ?? 'none'],
      ['enough are', quorums.length === 0 ? 'nobody' : quorumsInWords(quorums)],
      ['refused with', error],
    ]),
    ...candidates.flatMap(({ id, name, keys, depositaryKey }) => [
      '',
      `  ${printable(`${id} (${quoted(name)})`)}`,
      ...facts([
        ['  signs with', keys.length === 0 ? 'no key' : keys.join(', ')],
        ['  shares to', depositaryKey ?? 'no key'],
      ]),
    ]),
    ...(missing.length === 0 ? [] : ['', 'Missing', ...missing.map((text) => `  ! ${printable(text)}`)]),
  ];
}
