import type { CoveredKeyReply } from '../../api/replies.js';

type Purpose = CoveredKeyReply['purposes'][number];

/** When a share was drilled last of those for a purpose; empty: never. */
export function lastDrillOf({ drills = [] }: Purpose): string {
  return (
    drills
      .map(({ at }) => at)
      .sort()
      .at(-1) ?? ''
  );
}

/** Whose shares did not open when they were drilled last. */
export function failedDrillsOf({ drills = [] }: Purpose): readonly string[] {
  return drills.filter(({ isOpened }) => !isOpened).map(({ depositary }) => depositary);
}

/** What was drilled of a purpose, in words. */
export function drilledInWords(purpose: Purpose): string {
  const { drilled = [], live } = purpose;
  const last = lastDrillOf(purpose);
  if (last === '') return 'never drilled';
  const failed = failedDrillsOf(purpose);
  const whole = `${drilled.length} of ${live.length} live quorums drilled, the last share on ${last.slice(0, 10)}`;
  return failed.length === 0 ? whole : `${whole}; the shares of ${failed.join(', ')} did not open`;
}

/** What the drills of all keys come to, in sentences; nothing of a server that knows no drills. */
export function drillsInWords(keys: readonly CoveredKeyReply[]): readonly string[] {
  const isTold = keys.some(({ purposes }) => purposes.some(({ drilled }) => drilled !== undefined));
  if (!isTold) return [];
  const whole = keys.filter(({ purposes }) => purposes.every(({ drilled = [] }) => drilled.length > 0));
  const failed = keys.filter(({ purposes }) => purposes.some((one) => failedDrillsOf(one).length > 0));
  return [
    `Drilled: ${whole.length} of ${keys.length} keys have for each purpose a live quorum whose shares all opened.`,
    ...failed.map(({ key }) => `! A share of ${key} did not open when it was drilled last.`),
  ];
}
