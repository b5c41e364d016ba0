import type { CoveredKeyReply } from '../../api/replies.js';
import { quoted } from '../../escrow/records/freeText.js';
import type { Coverage } from '../../escrow/rules/liveQuorums.js';
import { table } from '../columns.js';
import { liveInWords, unableInWords } from '../words.js';
import { drillsInWords } from './drills.js';
import { folded } from './folded.js';
import { kekMissingInWords, kekStateInWords, keksOf } from './keks.js';
import {
  type CoverageListing,
  type Tally,
  coverageIn,
  GROUPINGS,
  talliesBy,
  tallyOf,
  unlistedInWords,
} from './listing.js';

/** How a key is covered, in words; the worst first. */
export const COVERAGE_WORDS = {
  lost: 'nobody can bring it back',
  'one-quorum': 'one quorum left',
  'single-point': 'depends on one person',
  covered: 'anybody can be spared',
} as const satisfies Record<Coverage, string>;

const TITLES = {
  lost: 'Keys that nobody can bring back',
  'one-quorum': 'Keys with one quorum left',
  'single-point': 'Keys that depend on one person',
} as const satisfies Partial<Record<Coverage, string>>;

/** So many owners, departments or rules are listed; the others are in --json, --csv and --html. */
const MAX_NAMED = 20;
/** Longer names are cut short in a table, so that it is at most 80 wide. */
const MAX_NAME = 30;

/** The totals, and of the keys those of which not everybody can be spared: of each kind so many as `limit` says. */
export function coverageAsLines(listing: CoverageListing, limit: number): readonly string[] {
  const { keys, policyVersion, isTokenAsked } = listing;
  return [
    `${keys.length} ${keys.length === 1 ? 'key' : 'keys'} under policy version ${policyVersion}.`,
    ...(isTokenAsked ? [] : ['The token is out: who is enrolled in it is not counted.']),
    ...unlistedInWords(listing).flatMap((said) => folded(`! ${said} Tell the operator.`, '')),
    '',
    ...tallyTable('', [tallyOf(keys)]),
    ...drillsInWords(keys).flatMap((said) => ['', ...folded(said, '')]),
    ...GROUPINGS.flatMap(({ name, nameOf }) => grouped(name, talliesBy(keys, nameOf))),
    ...kekLines(keys),
    ...(Object.keys(TITLES) as (keyof typeof TITLES)[]).flatMap((coverage) =>
      listed(
        TITLES[coverage],
        keys.filter((key) => coverageIn(key) === coverage),
        limit,
      ),
    ),
  ];
}

function grouped(name: string, tallies: readonly Tally[]): readonly string[] {
  if (tallies.length === 0) return [];
  const more = tallies.length - MAX_NAMED;
  return [
    '',
    ...tallyTable(name.toUpperCase(), tallies.slice(0, MAX_NAMED)),
    ...(more > 0 ? [`and ${more} more: --csv has all`] : []),
  ];
}

function tallyTable(heading: string, tallies: readonly Tally[]): readonly string[] {
  return table(
    [heading, 'KEYS', 'LOST', 'ONE QUORUM', 'ONE PERSON', 'COVERED'],
    tallies.map(({ name, keys, covered, ...left }) => [
      shortened(name === '' ? '(none)' : name),
      ...[keys, left.lost, left['one-quorum'], left['single-point'], covered].map(String),
    ]),
  );
}

function shortened(name: string): string {
  return name.length <= MAX_NAME ? name : `${name.slice(0, MAX_NAME - 3)}...`;
}

function kekLines(keys: readonly CoveredKeyReply[]): readonly string[] {
  const tallies = keksOf(keys);
  if (tallies.length === 0) return [];
  const rows = tallies.map(({ kek, keys: count, state }) => [kek, String(count), kekStateInWords(state)]);
  return ['', ...table(['UNDER', 'KEYS', 'STATE'], rows)];
}

function listed(title: string, keys: readonly CoveredKeyReply[], limit: number): readonly string[] {
  if (keys.length === 0) return [];
  const more = keys.length - limit;
  return [
    '',
    `${title}: ${keys.length}`,
    ...keys.slice(0, limit).flatMap(keyLines),
    ...(more > 0 ? [`  and ${more} more: --limit ${keys.length}, or --csv`] : []),
  ];
}

function keyLines({ key, owner, label, rule, isAsLogged, purposes }: CoveredKeyReply): readonly string[] {
  return [
    ...folded(`${key}  ${owner}${label === '' ? '' : `  ${quoted(label)}`}, rule ${rule}`, '  ', '    '),
    ...(isAsLogged
      ? purposes.flatMap(purposeLines)
      : folded('its record is not what was made with the key: tell the operator', '    ')),
  ];
}

/** For one purpose: how many quorums are left, and why not the others. */
export function purposeLines(purpose: {
  readonly purpose: string;
  readonly quorums?: number;
  readonly live: CoveredKeyReply['purposes'][number]['live'];
  readonly singlePoints: CoveredKeyReply['purposes'][number]['singlePoints'];
  readonly unable: CoveredKeyReply['purposes'][number]['unable'];
  readonly kek?: string;
  readonly kekState?: string | undefined;
}): readonly string[] {
  const why = kekMissingInWords(purpose) ?? unableInWords(purpose.unable);
  const said = `to ${purpose.purpose}: ${liveInWords(purpose, purpose.quorums)}`;
  return folded(why === undefined ? said : `${said}; ${why}`, '    ');
}
