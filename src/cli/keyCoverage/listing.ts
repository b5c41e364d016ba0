import type { EscrowClient } from '../../client/escrowClient.js';
import type { CoveragePageReply, CoveredKeyReply } from '../../api/replies.js';
import { isKnown } from '../../api/reading.js';
import { type Coverage, COVERAGES } from '../../escrow/rules/liveQuorums.js';
import { UsageError } from '../failures.js';

/** All keys that somebody may see, with who can bring them back, by one policy. */
export interface CoverageListing {
  readonly policyVersion: number;
  readonly policyHash: string;
  readonly isTokenAsked: boolean;
  readonly keys: readonly CoveredKeyReply[];
  /** So many keys there are by the log, when the first page was read; undefined to those who do not see all. */
  readonly keysInLog: number | undefined;
  /** So many of them nobody could bring back then, by the log; undefined as that. */
  readonly lostInLog: number | undefined;
}

/** The server gives at most so many at once. */
const PAGE = 200;
/** A listing begins again when another policy came into force meanwhile: so often, at most. */
const TRIES = 3;

/**
 * Reads all pages.
 *
 * @param progress is told how many keys were listed, and of how many
 * @throws UsageError when policies come into force faster than keys can be listed
 */
export async function listCoverage(
  client: Pick<EscrowClient, 'coverage'>,
  progress: (done: number, all: number | undefined) => void,
): Promise<CoverageListing> {
  for (let tried = 0; tried < TRIES; tried += 1) {
    const listing = await listOnce(client, progress);
    if (listing !== undefined) return listing;
  }
  throw new UsageError('policies come into force while the keys are listed', 'run it again');
}

/** Undefined when another policy came into force, or the token went or came back, before the last page. */
async function listOnce(
  client: Pick<EscrowClient, 'coverage'>,
  progress: (done: number, all: number | undefined) => void,
): Promise<CoverageListing | undefined> {
  const keys = new Map<string, CoveredKeyReply>();
  const first = await client.coverage({ limit: PAGE });
  for (let page: CoveragePageReply = first; ;) {
    if (page.policyVersion !== first.policyVersion || page.isTokenAsked !== first.isTokenAsked)
      return undefined;
    for (const item of page.items) keys.set(item.key, worseOf(keys.get(item.key), item));
    progress(keys.size, first.totals?.keys);
    if (page.next === undefined) break;
    page = await client.coverage({ limit: PAGE, after: page.next });
  }
  const { policyVersion, policyHash, isTokenAsked, totals } = first;
  return {
    ...{ policyVersion, policyHash, isTokenAsked },
    ...{ keys: [...keys.values()], keysInLog: totals?.keys, lostInLog: totals?.lost },
  };
}

/** A key that is listed twice is one key, and no better covered than it is said where it is said worst. */
function worseOf(before: CoveredKeyReply | undefined, item: CoveredKeyReply): CoveredKeyReply {
  if (before === undefined) return item;
  return COVERAGES.indexOf(coverageIn(item)) < COVERAGES.indexOf(coverageIn(before)) ? item : before;
}

/** How a key is covered; what a newer server says that is not known here is not taken for good. */
export function coverageIn({ coverage }: Pick<CoveredKeyReply, 'coverage'>): Coverage {
  return isKnown(COVERAGES, coverage) ? coverage : 'lost';
}

/** How many keys there are of something, and how many are covered how. */
export interface Tally extends Readonly<Record<Coverage, number>> {
  /** An owner, a department or a rule; empty where the directory says no department. */
  readonly name: string;
  readonly keys: number;
}

/** The keys by a property of theirs, those of which most are lost first. */
export function talliesBy(
  keys: readonly CoveredKeyReply[],
  nameOf: (key: CoveredKeyReply) => string,
): readonly Tally[] {
  const counts = new Map<string, Record<Coverage, number> & { keys: number }>();
  for (const key of keys) {
    const name = nameOf(key);
    const of = counts.get(name) ?? { keys: 0, lost: 0, 'one-quorum': 0, 'single-point': 0, covered: 0 };
    of.keys += 1;
    of[coverageIn(key)] += 1;
    counts.set(name, of);
  }
  const worstFirst = (a: Tally, b: Tally): number =>
    b.lost - a.lost ||
    b['one-quorum'] - a['one-quorum'] ||
    b['single-point'] - a['single-point'] ||
    (a.name < b.name ? -1 : 1);
  return [...counts].map(([name, of]) => ({ name, ...of })).sort(worstFirst);
}

/** The same of all of them. */
export function tallyOf(keys: readonly CoveredKeyReply[]): Tally {
  const [all] = talliesBy(keys, () => 'all');
  return all ?? { name: 'all', keys: 0, lost: 0, 'one-quorum': 0, 'single-point': 0, covered: 0 };
}

interface Grouping {
  readonly name: string;
  readonly nameOf: (key: CoveredKeyReply) => string;
}

/** By what keys are counted together. */
export const GROUPINGS: readonly Grouping[] = [
  { name: 'rule', nameOf: (key: CoveredKeyReply): string => key.rule },
  { name: 'department', nameOf: (key: CoveredKeyReply): string => key.department ?? '' },
  { name: 'owner', nameOf: (key: CoveredKeyReply): string => key.owner },
];

/** Keys of the log that the server has no record of: nobody can bring them back. */
export function unrecorded({ keys, keysInLog = 0 }: Pick<CoverageListing, 'keys' | 'keysInLog'>): number {
  return Math.max(0, keysInLog - keys.length);
}

/** Keys that nobody can bring back by the log, beyond those that are listed as lost and those without a record. */
export function unlistedLost(listing: Pick<CoverageListing, 'keys' | 'keysInLog' | 'lostInLog'>): number {
  return Math.max(0, (listing.lostInLog ?? 0) - tallyOf(listing.keys).lost - unrecorded(listing));
}

/** What the log has of lost keys and no key that is listed shows, in sentences; nothing where there are none. */
export function unlistedInWords(
  listing: Pick<CoverageListing, 'keys' | 'keysInLog' | 'lostInLog'>,
): readonly string[] {
  const [missing, lost] = [unrecorded(listing), unlistedLost(listing)];
  return [
    ...(missing === 0
      ? []
      : [
          `${missing} ${missing === 1 ? 'key of the log has' : 'keys of the log have'} no record: nobody can bring ${missing === 1 ? 'it' : 'them'} back.`,
        ]),
    ...(lost === 0
      ? []
      : [`${lost} more ${lost === 1 ? 'key is' : 'keys are'} lost by the log than are listed as lost.`]),
  ];
}
