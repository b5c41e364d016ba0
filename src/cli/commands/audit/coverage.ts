import type { CommandRow, Result } from '../../command.js';
import type { CommandArguments } from '../../commandArguments.js';
import { coverageAsCsv } from '../../keyCoverage/csv.js';
import { coverageAsHtml } from '../../keyCoverage/html.js';
import { keksOf } from '../../keyCoverage/keks.js';
import {
  type CoverageListing,
  GROUPINGS,
  listCoverage,
  talliesBy,
  tallyOf,
  unlistedLost,
  unrecorded,
} from '../../keyCoverage/listing.js';
import { coverageAsLines } from '../../keyCoverage/text.js';
import { UsageError } from '../../failures.js';
import type { Session } from '../../session.js';
import { bar } from '../../spinner.js';

/** Who can bring back which keys. */
export const coverageCommand: CommandRow = {
  usage: 'coverage',
  summary: 'says of each key who could bring it back now, and which keys nobody can',
  about:
    'Administrators and auditors see all keys, owners their own. A quorum is live while each of its members is listed as a depositary\n' +
    'with a key that signs, and enrolled in the token with the key that their share went to. Listed are the keys of which not\n' +
    'everybody can be spared; --csv, --html and --json have all. Counted as well is which key-encryption keys (UNDER) the keys lie\n' +
    'under, and which of these a reseal rotates; without it in the token a key is lost. For monitoring: exit 8 when a key is lost,\n' +
    'else 0.',
  options: [
    {
      flags: '--csv',
      about: 'write CSV (RFC 4180), a line for each key and purpose, and for what is not listed',
    },
    { flags: '--html', about: 'write a page of HTML that needs nothing else' },
    { flags: '--limit <n>', about: 'how many keys of each kind are listed', default: '50' },
  ],
  examples: ['coverage --as ~/.escrowd', 'coverage --csv > coverage.csv', 'coverage --html > coverage.html'],
  run: coverage,
};

async function coverage(session: Session, given: CommandArguments): Promise<Result> {
  const [isCsv, isHtml] = [given.flag('csv'), given.flag('html')];
  if ([isCsv, isHtml, given.flag('json')].filter((one) => one).length > 1)
    throw new UsageError('--json, --csv and --html are three forms of one answer', 'choose one');
  const limit = given.count('limit');
  const { client } = await session.connect();
  const listing = await session.busy('asking who can bring back which keys', (progress) =>
    listCoverage(client, (done, all) => {
      progress(all === undefined ? `${done} keys listed` : `listing keys ${bar(done, all)}`);
    }),
  );
  const isLost = tallyOf(listing.keys).lost + unrecorded(listing) + unlistedLost(listing) > 0;
  return {
    json: asJson(listing),
    lines: coverageAsLines(listing, limit),
    next: nextFor(listing),
    ...(isCsv ? { raw: coverageAsCsv(listing) } : {}),
    ...(isHtml ? { raw: coverageAsHtml(listing, session.now) } : {}),
    ...(isLost ? { exit: 'unrecoverable' as const } : {}),
  };
}

function asJson(listing: CoverageListing): Readonly<Record<string, unknown>> {
  const { keys, policyVersion, policyHash, isTokenAsked } = listing;
  const by = GROUPINGS.map(({ name, nameOf }) => [name, talliesBy(keys, nameOf)] as const);
  return {
    ...{ policyVersion, policyHash, isTokenAsked },
    totals: tallyOf(keys),
    unrecorded: unrecorded(listing),
    unlistedLost: unlistedLost(listing),
    by: Object.fromEntries(by),
    keks: keksOf(keys),
    keys,
  };
}

function nextFor({ keys }: CoverageListing): string | undefined {
  const worst = (coverage: string): string | undefined => keys.find((key) => key.coverage === coverage)?.key;
  const lost = worst('lost');
  if (lost !== undefined)
    return `escrowctl key show ${lost}; whom the policy removed, it can list again (returns); else make new keys in their place`;
  const thin = worst('one-quorum') ?? worst('single-point');
  return thin === undefined
    ? undefined
    : `escrowctl key show ${thin}; for keys to come the rule can name more people: escrowctl rules test --owner ID --use sign`;
}
