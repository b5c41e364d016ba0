import type { AttackName } from '../attackNames.js';
import { ATTACKS_TRY } from '../attackNames.js';
import type { OpenToken } from '../openToken.js';
import type { TokenProfile } from '../profile.js';
import { selfTest } from '../selfTest.js';
import type { Trip } from '../trips.js';

/** What the profile says of an attack, and what the token did. */
export type Verdict =
  /** As the profile says: refused. */
  | 'refused'
  /** The profile claims that it is refused, and it is not. */
  | 'SUCCEEDS'
  /** As the profile says: the token cannot refuse it. */
  | 'succeeds, as the profile says'
  /** Better than the profile says. */
  | 'refused, better than the profile says';

/** What a probe found. */
export interface ProbeReport {
  readonly format: 'escrowd-token-probe/v1';
  readonly at: string;
  readonly profile: string;
  readonly device: string;
  readonly label: string;
  readonly trips: readonly Trip[];
  readonly attacks: readonly {
    readonly attack: AttackName;
    readonly tries: string;
    readonly refused: boolean;
    readonly claimed: 'enforced' | 'unenforced';
    readonly verdict: Verdict;
  }[];
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
  const attacks = found.attacks.map(({ attack, refused }) => {
    const claimed = profile.unenforced.includes(attack) ? ('unenforced' as const) : ('enforced' as const);
    return { attack, tries: ATTACKS_TRY[attack], refused, claimed, verdict: VERDICTS[claimed][`${refused}`] };
  });
  const asClaimed =
    trips.every(({ outcome }) => outcome !== 'fails') &&
    attacks.every(({ verdict }) => verdict !== 'SUCCEEDS');
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
    asClaimed,
  };
}

const VERDICTS = {
  enforced: { true: 'refused', false: 'SUCCEEDS' },
  unenforced: { true: 'refused, better than the profile says', false: 'succeeds, as the profile says' },
} as const satisfies Record<string, Record<`${boolean}`, Verdict>>;

/** The report for people. */
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
    report.asClaimed
      ? 'The token does and refuses all that its profile claims.'
      : 'The token does NOT do or refuse all that its profile claims. Do not use it with this profile.',
  ];
  return `${lines.join('\n')}\n`;
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
