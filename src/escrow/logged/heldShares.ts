import type { DepositGroup } from '../records/depositedQuorums.js';
import type { LoggedDrills } from './drills.js';
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
  const purposesOf = logged.groups.map(({ purposes }) =>
    purposes
      .filter(({ quorums }) => quorums.some((members) => members.some((id) => id === depositary)))
      .map(({ purpose }) => purpose),
  );
  let [keys, due] = [0, 0];
  for (const { name, generation, group } of logged.keys) {
    const purposes = purposesOf[group] ?? [];
    if (purposes.length === 0) continue;
    keys += 1;
    const isDue = purposes.some((purpose) => {
      const drill = logged.drills.get(name, purpose, depositary, generation);
      return drill?.isOpened !== true || (drill.atMs ?? 0) < drilledSinceMs;
    });
    if (isDue) due += 1;
  }
  return { keys, due };
}
