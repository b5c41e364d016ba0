import { KEY_SPEC_NAMES } from '../../escrow/keySpecs.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import type { Given } from '../given.js';
import type { Session } from '../session.js';
import { quorumsInWords } from '../words.js';

const USES = ['sign', 'decrypt'] as const;

/** What the rules would say. */
export const rulesCommands: readonly CommandRow[] = [
  {
    usage: 'test',
    summary: 'says who would be the depositaries of a key, without making one',
    options: [
      { flags: '--owner <id>', about: 'whose key', required: true },
      { flags: '--use <use>', about: 'what for', required: true, choices: USES },
      {
        flags: '--spec <spec>',
        about: 'which kind (default: ec-p256 to sign, rsa-3072 to decrypt)',
        choices: KEY_SPEC_NAMES,
      },
    ],
    examples: ['rules test --as ~/.escrowd --owner olga --use sign'],
    run: test,
  },
];

async function test(session: Session, given: Given): Promise<Result> {
  const owner = given.text('owner');
  const use = given.oneOf('use', USES) ?? 'sign';
  const spec = given.oneOf('spec', KEY_SPEC_NAMES) ?? (use === 'sign' ? 'ec-p256' : 'rsa-3072');
  const { client } = await session.connect();
  const choice = await session.busy('asking the rules', () => client.choice({ owner, spec, use }));
  return {
    json: { owner, spec, use, ...choice },
    lines: [
      ...facts([
        ['rule', choice.rule],
        ['enough are', quorumsInWords(choice.quorums)],
        ['not enrolled', choice.notEnrolled.length === 0 ? undefined : choice.notEnrolled.join(', ')],
      ]),
    ],
    next:
      choice.notEnrolled.length === 0
        ? `escrowctl key generate --owner ${owner} --use ${use} --spec ${spec}`
        : 'the security officer enrols those who are not; until then no key can be made',
  };
}
