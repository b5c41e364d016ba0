import type { DepositGroup } from '../records/depositedQuorums.js';
import { type LoggedDrills, holderName } from './drills.js';
import type { CountedKey } from './newestDeposits.js';

/** Of how many keys somebody has shares, by the log. */
export interface HeldShares {
  readonly keys: number;
  /** Of how many a share was not drilled for too long, never, or without success. */
  readonly due: number;
}

/** Counts them; costs what there are of keys. */
export function heldShares(
  depositary: string,
  drilledSinceMs: number,
  logged: {
    readonly keys: Iterable<CountedKey>;
    /** In the order of their numbers. */
    readonly groups: readonly DepositGroup[];
    readonly drills: Pick<LoggedDrills, 'get'>;
  },
): HeldShares {
  const holdersOf = logged.groups.map(({ purposes }) =>
    purposes
      .filter(({ quorums }) => quorums.some((members) => members.some((id) => id === depositary)))
      .map(({ purpose }) => holderName(purpose, depositary)),
  );
  let [keys, due] = [0, 0];
  // anybody may ask: for who has no share no key is looked at
  if (holdersOf.every((holders) => holders.length === 0)) return { keys, due };
  for (const { name, generation, group } of logged.keys) {
    const holders = holdersOf[group] ?? [];
    if (holders.length === 0) continue;
    keys += 1;
    const isDue = holders.some((holder) => {
      const drill = logged.drills.get(name, holder, generation);
      return drill?.isOpened !== true || (drill.atMs ?? 0) < drilledSinceMs;
    });
    if (isDue) due += 1;
  }
  return { keys, due };
}
