import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { KEY_SPEC_NAMES } from '../../src/escrow/records/keySpecs.js';
import { MECHANISM_NAMES } from '../../src/escrow/records/mechanisms.js';
import { ATTACK_NAMES, ATTACKS_TRY } from '../../src/token/profile/attackNames.js';
import type { TokenProfile } from '../../src/token/profile/profile.js';
import { readProfile } from '../../src/token/profile/profile.js';

/** The profiles that the contract suite runs on a token of their kind. */
const TRIED: ReadonlySet<string> = new Set(['softhsm-2.6', 'nss-softokn-3']);

/**
 * What each kind of token supports, for people, made of its profile. The contract suite holds the tokens to it: what a
 * profile claims must work, and what it does not admit to let through must be refused.
 */
export function supportTable(directory: string): string {
  const profiles = readdirSync(directory)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => readProfile(join(directory, name)));
  const row = (what: string, cell: (profile: TokenProfile) => string): string =>
    `| ${[what, ...profiles.map(cell)].join(' | ')} |`;
  const has = (is: boolean): string => (is ? 'yes' : 'no');
  const head = (title: string): readonly string[] => [
    row(title, ({ profile }) => `\`${profile}\``),
    `| --- |${' --- |'.repeat(profiles.length)}`,
  ];
  return [
    '# What each token supports',
    '',
    'Made of the profiles here by `npm run generate`. `test/token/contract.test.ts` holds a real token of each kind to it, where',
    'the table says that it was tried: what is claimed works, and every attack is refused but those that are admitted.',
    '`escrowctl token probe` says the same of the token at hand.',
    '',
    ...head('token'),
    row('device', ({ device }) => device),
    row('held to it by the contract suite', ({ profile }) => has(TRIED.has(profile))),
    row('security officer marks depositary keys as trusted', ({ depositaryKeys }) =>
      has(depositaryKeys === 'trusted'),
    ),
    row('RSA-OAEP', ({ oaep }) => oaep),
    row("log's key", ({ logKey }) => logKey),
    row('remembers how far the log had come', ({ dataObjects }) => has(dataObjects)),
    row('attributes that it lacks', ({ absentAttributes }) => absentAttributes.join(', ') || 'none'),
    '',
    ...head('kind of user key'),
    ...KEY_SPEC_NAMES.map((spec) => row(`\`${spec}\``, ({ keySpecs }) => has(keySpecs.includes(spec)))),
    '',
    ...head('mechanism of a grant'),
    ...MECHANISM_NAMES.map((name) =>
      row(`\`${name}\``, ({ grantMechanisms }) => has(grantMechanisms.includes(name))),
    ),
    '',
    ...head('attack that is refused'),
    ...ATTACK_NAMES.map((name) =>
      row(`\`${name}\`: ${ATTACKS_TRY[name]}`, ({ unenforced }) =>
        unenforced.includes(name) ? '**no**' : 'yes',
      ),
    ),
    '',
  ].join('\n');
}
