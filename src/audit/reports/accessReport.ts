import type { Policy } from '../../escrow/records/policy.js';
import type { Coverage } from '../../escrow/rules/liveQuorums.js';
import { INABILITIES, coverageOf, liveQuorums } from '../../escrow/rules/liveQuorums.js';
import type { KeyFacts } from './keys.js';
import type { People } from './people.js';
import { type Report, type Row, NO_ACTS, isIn } from './report.js';

/** How well a key is covered, in words. */
const COVERAGE_WORDS = {
  lost: 'nobody can',
  'one-quorum': 'one quorum left',
  'single-point': 'depends on one',
  covered: 'covered',
} as const satisfies Record<Coverage, string>;

/** For what a key has been brought back, in words. */
const BROUGHT_BACK: ReadonlyMap<string, string> = new Map([
  ['recovery.activate', 'operate'],
  ['recovery.release', 'release'],
  ['recovery.reseal', 'reseal'],
]);

/** Who can bring back which key. */
export const accessReport: Report = {
  name: 'access',
  summary: 'all keys: whose they are, who can bring each of them back, when that was last done',
  about:
    'As it was at the end of the period, by the directory in force then; with --from only keys that were made since. A line\n' +
    'for each key and purpose. The log does not say whom the token has enrolled: escrowctl coverage asks it.',
  options: ['isLost', 'isUntried'],
  acts: NO_ACTS,
  columns: [
    { name: 'keys', heading: 'key', is: 'keys' },
    { name: 'owner', heading: 'owner', is: 'people' },
    { name: 'department', heading: 'department', is: 'text' },
    { name: 'spec', heading: 'spec', is: 'text', isMore: true },
    { name: 'use', heading: 'use', is: 'text', isMore: true },
    { name: 'rule', heading: 'rule', is: 'text', isMore: true },
    { name: 'purpose', heading: 'purpose', is: 'text' },
    { name: 'coverage', heading: 'coverage', is: 'text' },
    { name: 'live', heading: 'who can bring it back', is: 'text' },
    { name: 'lost', heading: 'quorums that cannot agree', is: 'number', isMore: true },
    { name: 'unable', heading: 'who cannot agree', is: 'text', isMore: true },
    { name: 'singlePoints', heading: 'nobody without', is: 'people', isMore: true },
    { name: 'bornAt', heading: 'made', is: 'instant', isMore: true },
    { name: 'bornBy', heading: 'made by', is: 'people', isMore: true },
    { name: 'whence', heading: 'born', is: 'text', isMore: true },
    { name: 'generation', heading: 'generation', is: 'number', isMore: true },
    { name: 'lastUsedAt', heading: 'last used', is: 'instant', isMore: true },
    { name: 'broughtBackAt', heading: 'last brought back', is: 'instant' },
    { name: 'broughtBackFor', heading: 'brought back for', is: 'text', isMore: true },
    { name: 'entry', heading: 'entry', is: 'number', isMore: true },
  ],
  rows: ({ keys, people, period }, { isLost = false, isUntried = false }) =>
    keys.all
      .filter(({ bornAt }) => isIn(period, bornAt))
      .filter(({ broughtBack }) => !isUntried || broughtBack === undefined)
      .flatMap((key) => rowsOf(key, people, isLost)),
  notes: ({ people }, rows) => {
    const keys = new Set(rows.flatMap(({ about }) => about.keys ?? [])).size;
    const by =
      people.policy === undefined
        ? 'no policy was in force, or this version cannot read it: nobody counts as able'
        : `by policy version ${people.policy.version}`;
    return [`${keys} ${keys === 1 ? 'key' : 'keys'}, ${by}.`];
  },
};

const NOBODY: Pick<Policy, 'principals'> = { principals: new Map() };

function rowsOf(key: KeyFacts, people: People, isLost: boolean): readonly Row[] {
  const covered = key.purposes.map((deposited) => {
    const live = liveQuorums(deposited, people.policy ?? NOBODY, undefined);
    return { ...live, coverage: coverageOf(live), lost: deposited.quorums.length - live.live.length };
  });
  const cells = commonCells(key, people);
  const about = { owners: [key.owner], keys: [key.key] };
  // there is no deposit without a purpose, unless an entry does not say what was deposited
  if (covered.length === 0) return [{ cells: { ...cells, coverage: COVERAGE_WORDS.lost }, about }];
  return covered
    .filter(({ coverage }) => !isLost || coverage === 'lost')
    .map(({ purpose, live, singlePoints, unable, coverage, lost }) => ({
      cells: {
        ...cells,
        ...{ purpose, coverage: COVERAGE_WORDS[coverage], lost, singlePoints },
        live: live.map((members) => members.join(' and ')),
        unable: unable.map(({ depositary, because }) => `${depositary} ${INABILITIES[because]}`),
      },
      about: { ...about, people: live.flat() },
    }));
}

function commonCells(key: KeyFacts, people: People): Row['cells'] {
  const { owner, spec, use, rule, bornAt, bornBy, generation, lastUsedAt, broughtBack, entry } = key;
  return {
    ...{ keys: [key.key], owner, department: people.departmentOf(owner), spec, use, rule, bornAt, bornBy },
    whence: key.isBornOutside ? 'outside' : 'in the token',
    ...{ generation, lastUsedAt, broughtBackAt: broughtBack?.at, entry },
    broughtBackFor: broughtBack === undefined ? undefined : BROUGHT_BACK.get(broughtBack.act),
  };
}
