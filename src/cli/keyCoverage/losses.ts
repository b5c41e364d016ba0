import type { PlannedLosses } from '../../client/policy/policyPlan.js';
import type { LosingKeyReply } from '../../api/replies.js';
import type { Coverage } from '../../escrow/rules/liveQuorums.js';
import { quoted } from '../../escrow/records/freeText.js';
import { folded } from './folded.js';
import { purposeLines } from './text.js';

/** So many keys are listed of each kind; all of them are in `--json`. */
const MAX_LISTED = 1000;

const TITLES = {
  lost: 'Keys that nobody could bring back any more',
  'one-quorum': 'Keys that would be left with one quorum',
  'single-point': 'Keys that would depend on one person',
} as const satisfies Partial<Record<Coverage, string>>;

type Worse = keyof typeof TITLES;

/** The keys that a policy would leave covered worse, the gravest first; nothing where there are none. */
export function lossesInWords(losses: PlannedLosses): readonly string[] {
  const { keys, lost, oneQuorum, singlePoint, isTokenAsked } = losses;
  const counts = { lost: lost, 'one-quorum': oneQuorum, 'single-point': singlePoint };
  const lines = (Object.keys(TITLES) as Worse[]).flatMap((worse) => {
    const those = keys.filter((key) => worstOf(key) === worse);
    const unlisted = counts[worse] - Math.min(those.length, MAX_LISTED);
    if (counts[worse] === 0 && those.length === 0) return [];
    return [
      '',
      `${TITLES[worse]}: ${counts[worse]}`,
      ...those.slice(0, MAX_LISTED).flatMap(keyInWords),
      ...(unlisted > 0 ? [`  and ${unlisted} more: see --json, or keys that are being made`] : []),
    ];
  });
  if (isTokenAsked) return lines;
  return [...lines, '', 'The token is out: who is enrolled in it is not counted.'];
}

function worstOf({ purposes }: LosingKeyReply): Worse {
  const after = purposes.map((purpose) => purpose.after);
  return (Object.keys(TITLES) as Worse[]).find((worse) => after.includes(worse)) ?? 'single-point';
}

/** A key with whose it is, and on lines of their own what becomes of it and why. */
function keyInWords({ key, owner, label, purposes }: LosingKeyReply): readonly string[] {
  return [
    ...folded(`${key}  ${owner}${label === '' ? '' : `  ${quoted(label)}`}`, '  ', '    '),
    ...purposes.flatMap(purposeLines),
  ];
}
