import { type AttackName, ATTACKS_TRY } from '../profile/attackNames.js';
import type { OpenToken } from '../service/openToken.js';
import type { TokenProfile } from '../profile/profile.js';
import { selfTest } from '../selfTest/selfTest.js';
import type { RoundTrip } from '../selfTest/roundTrips.js';

/** What the profile says of an attack, and what the token did. */
export type Verdict =
  /** As the profile says: refused. */
  | 'refused'
  /** The profile claims that it is refused, and it is not. */
  | 'SUCCEEDS'
  /** As keys of an older ceremony are made: `ceremony renew` makes keys that refuse it. */
  | 'succeeds, until the ceremony is renewed'
  /** As the profile says: the token cannot refuse it. */
  | 'succeeds, as the profile says'
  /** Better than the profile says. */
  | 'refused, better than the profile says';

export interface ProbeReport {
  readonly format: 'escrowd-token-probe/v1';
  readonly at: string;
  readonly profile: string;
  readonly device: string;
  readonly label: string;
  readonly trips: readonly RoundTrip[];
  readonly attacks: readonly {
    readonly attack: AttackName;
    readonly tries: string;
    readonly refused: boolean;
    readonly claimed: 'enforced' | 'unenforced';
    readonly verdict: Verdict;
  }[];
  /** What an older ceremony made and is in use: `ceremony renew` makes it anew. */
  readonly older: readonly string[];
  /** Whether every round trip works and every attack that the profile claims is refused is refused. */
  readonly asClaimed: boolean;
}

/** Tries all that a token must do and must refuse, against what its profile claims. Nothing of it stays. */
export async function probe(
  token: OpenToken,
  about: { readonly profile: TokenProfile; readonly label: string; readonly now: Date },
): Promise<ProbeReport> {
  const { profile, label, now } = about;
  const found = await selfTest(token, 'full');
  const { trips } = found;
  const attacks = found.attacks.map(({ attack, refused, olderKek }) => {
    const claimed = profile.unenforced.includes(attack) ? ('unenforced' as const) : ('enforced' as const);
    const verdict: Verdict =
      claimed === 'enforced' && !refused && olderKek !== undefined
        ? UNTIL_RENEWED
        : VERDICTS[claimed][`${refused}`];
    return { attack, tries: ATTACKS_TRY[attack], refused, claimed, verdict };
  });
  const asClaimed =
    trips.every(({ outcome }) => outcome !== 'fails') &&
    attacks.every(({ verdict }) => verdict !== 'SUCCEEDS' && verdict !== UNTIL_RENEWED);
  const format = 'escrowd-token-probe/v1';
  const { device } = profile;
  return {
    format,
    at: now.toISOString(),
    profile: profile.profile,
    device,
    label,
    trips,
    attacks,
    older: token.older,
    asClaimed,
  };
}

const UNTIL_RENEWED = 'succeeds, until the ceremony is renewed' satisfies Verdict;
const VERDICTS = {
  enforced: { true: 'refused', false: 'SUCCEEDS' },
  unenforced: { true: 'refused, better than the profile says', false: 'succeeds, as the profile says' },
} as const satisfies Record<string, Record<`${boolean}`, Verdict>>;

export function reportText(report: ProbeReport): string {
  const lines = [
    `Token     ${report.label}`,
    `Profile   ${report.profile} (${report.device})`,
    `Probed    ${report.at}`,
    '',
    ...table(
      ['Round trip', 'Outcome'],
      report.trips.map(({ trip, outcome, detail }) => [
        trip,
        `${outcome === 'fails' ? 'FAILS' : outcome}${detail === undefined ? '' : `: ${detail}`}`,
      ]),
    ),
    '',
    ...table(
      ['Attack', 'Outcome', 'With the host and the user PIN, somebody tries to'],
      report.attacks.map(({ attack, verdict, tries }) => [attack, verdict, tries]),
    ),
    '',
    ...renewal(report),
    verdictInWords(report),
  ];
  return `${lines.join('\n')}\n`;
}

function renewal({ older }: ProbeReport): readonly string[] {
  if (older.length === 0) return [];
  return [
    `Keys of an older ceremony are in use: ${older.join(', ')}.`,
    'Run `ceremony renew` with both PINs: it makes them anew, beside the old, and they refuse what is made to be refused.',
    '',
  ];
}

function verdictInWords({ asClaimed, trips, attacks }: ProbeReport): string {
  if (asClaimed) return 'The token does and refuses all that its profile claims.';
  const isOnlyOlder =
    trips.every(({ outcome }) => outcome !== 'fails') &&
    attacks.every(({ verdict }) => verdict !== 'SUCCEEDS');
  return isOnlyOlder
    ? 'The token does and refuses all that its profile claims, but for what its older keys do not insist on.'
    : 'The token does NOT do or refuse all that its profile claims. Do not use it with this profile.';
}

function table(heading: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const every = [heading, ...rows];
  const widths = heading.map((_, column) => Math.max(...every.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [line(heading), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)];
}
