import type { Bench, Findings } from '../findings.js';
import { startBaselines } from './baselines.js';
import { cellsOf, KEYS, nameOf, type Cell, type KeyWord } from './cells.js';
import { makeUsableKey, type UsableKey } from './grants.js';
import { findingsOf, type CellRound, type KeyRound } from './signFindings.js';
import { Signing } from './signing.js';
import { withDaemonUnderLoad } from './underLoad.js';

/** So long each server is asked before anything counts: programs that have just begun are slow. */
const WARMING_SECONDS = 3;

/**
 * Signatures through the whole daemon, beside the token alone and a bare server on the same machine, by one load generator.
 * Each round measures all of them one after another, so that what else the machine does falls on all alike.
 */
export const signBench: Bench = ({ progress, seconds, rounds, only, profileInto }) =>
  withDaemonUnderLoad({ progress, profileInto }, async (daemon): Promise<Findings> => {
    const cells = cellsOf(only);
    const words = [...new Set(cells.map(({ key }) => key))];
    const keys = new Map<KeyWord, UsableKey>();
    for (const word of words) keys.set(word, await makeUsableKey(daemon.system, word));
    const grants = Object.fromEntries([...keys].map(([word, { grant }]) => [word, grant]));
    const baselines = await startBaselines(daemon, grants);
    const signing = new Signing(daemon, keys);
    for (const caller of ['certificate', 'signed'] as const) {
      const cell: Cell = { key: words[0] ?? 'p256', size: 'single', caller, clients: 32 };
      progress(`sign: warming up, ${nameOf(cell)}`);
      await signing.bare(cell, WARMING_SECONDS, baselines.bare);
      await signing.ours(cell, WARMING_SECONDS);
    }
    const ofKeys: KeyRound[] = [];
    const ofCells: CellRound[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      const say = (what: string): void => {
        progress(`sign: round ${round} of ${rounds}: ${what}`);
      };
      say('two commits');
      const commits = await baselines.commits(seconds);
      for (const key of words) {
        say(`${KEYS[key].title}, the token alone`);
        const one = await baselines.raw(key, 1, seconds);
        const two = await baselines.raw(key, 2, seconds);
        ofKeys.push({ key, one, two, commits });
        for (const cell of cells.filter((each) => each.key === key)) {
          say(nameOf(cell));
          const bare = await signing.bare(cell, seconds, baselines.bare);
          const ours = await signing.ours(cell, seconds);
          ofCells.push({ cell, bare, ours });
        }
      }
    }
    await signing.stop();
    await baselines.stop();
    return findingsOf(ofKeys, ofCells);
  });
