import { LogState } from '../../src/escrow/logged/logState.js';
import type { Database } from '../../src/postgres/database.js';
import { openDatabase } from '../../src/postgres/database.js';
import type { Follow } from '../../src/postgres/log/followedState.ts';
import { followOf } from '../adversary/database/loggedActs.js';
import { anchorage, clock, silent } from '../postgres/fixtures.js';
import { certifierOf, signerOf, softwareIdentityKey, softwareLogKey } from '../support/signer.js';
import { actsOn, grantForBench } from './acts.js';
import type { Bench } from './findings.js';
import { withServer } from './server.js';
import { count } from './table.js';

const SIZES = [0, 10_000, 135_000] as const;
const TIMES = 3;

/**
 * How long it takes to open the database, with the state that the last daemon kept and without it, when every entry is read. The
 * log is of signatures on behalf. Starting the server, the token and HTTP are left out.
 */
export const startBench: Bench = ({ progress }) =>
  withServer(progress, async (roles) => {
    const by = { signer: signerOf(softwareLogKey()), certifier: certifierOf(softwareIdentityKey()) };
    const opened = (follow: Follow): Promise<Database> =>
      openDatabase({ ...roles, ...by, anchorage: anchorage(), clock, log: silent, follow });
    const measured = async (follow: (facts: LogState) => Follow): Promise<number> => {
      const tookMs: number[] = [];
      for (let time = 0; time < TIMES; time += 1) {
        const beganAt = performance.now();
        const database = await opened(follow(new LogState()));
        tookMs.push(performance.now() - beganAt);
        await database.close();
      }
      return tookMs.sort((a, b) => a - b)[Math.floor(TIMES / 2)] ?? NaN;
    };
    const figures: { readonly entries: number; readonly withMs: number; readonly withoutMs: number }[] = [];
    let written = 0;
    for (const entries of SIZES) {
      progress(`start: a log of ${count(entries)} entries`);
      const database = await opened(followOf(new LogState()));
      await append(database, entries - written);
      written = entries;
      await database.close();
      const withMs = await measured((facts) => followOf(facts));
      const withoutMs = await measured((facts) => ({
        take: (index, entry) => {
          facts.take(index, entry);
        },
      }));
      figures.push({ entries, withMs, withoutMs });
    }
    return {
      bench: 'start',
      tables: [
        {
          title: `Opening the database: the median of ${TIMES}, in ms`,
          columns: ['entries', 'with the state that was kept', 'every entry read'],
          rows: figures.map(({ entries, withMs, withoutMs }) => [
            count(entries),
            count(withMs),
            count(withoutMs),
          ]),
        },
      ],
      figures,
      targets: [],
    };
  });

/** Entries of acts, appended by as many at once as make large batches. */
async function append(database: Database, entries: number): Promise<void> {
  const nextAct = actsOn(grantForBench());
  const act = async (): Promise<void> => {
    for (const write of nextAct()) await database.journal.append({ ...write, claims: [], changes: [] });
  };
  for (let done = 0; done < entries; done += 2_000) await Promise.all(Array.from({ length: 1_000 }, act));
}
