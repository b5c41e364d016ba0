import type { Grant } from '../../src/escrow/records/grant.js';
import type { Database } from '../../src/postgres/database.js';
import { openDatabase } from '../../src/postgres/database.js';
import { anchorage, clock, silent } from '../postgres/fixtures.js';
import { writeOf } from '../postgres/records.js';
import { certifierOf, signerOf, softwareIdentityKey, softwareLogKey } from '../support/signer.js';
import { grantForBench, measureActs, type Rate } from './acts.js';
import type { AppendingOrder } from './appendingDaemon.js';
import { startChild } from './child.js';
import { atLeast, type Bench, type Findings, type Progress } from './findings.js';
import { connectOneByOne, type Form } from './oneByOne.js';
import { withServer, type Roles } from './server.js';
import { count, milliseconds, times } from './table.js';

const CALLERS = [1, 8, 64, 256] as const;
/** Connections of the baseline: the server of the daemon allows 50. */
const CONNECTIONS = 32;

interface Figure {
  readonly callers: number;
  readonly grouped: Rate;
  /** One transaction for each append, as a daemon that does not group them would. */
  readonly single: Rate;
  /** The same, where all of it is one statement, as in a group. */
  readonly statement: Rate;
}

/**
 * Durable appends a second. An act is a signature on behalf as the log sees it: the attempt, with the claims that the
 * request is new and that the grant has a use left, then the outcome. Measured from `Journal.append` to its answer; making
 * the entries, integrating them in the tree and signing checkpoints (by a software key) go on in the same process meanwhile.
 * No token, no HTTP.
 */
export const appendBench: Bench = ({ seconds, progress }) =>
  withServer(progress, async (roles): Promise<Findings> => {
    const keys = { logKey: softwareLogKey(), identityKey: softwareIdentityKey() };
    const by = { signer: signerOf(keys.logKey), certifier: certifierOf(keys.identityKey) };
    const database = await openDatabase({
      ...roles,
      ...by,
      anchorage: anchorage(),
      clock,
      log: silent,
    });
    const grants = await makeGrants(database);
    await measureActs((write) => database.journal.append(write), grants, 64, seconds / 2);
    const figures: Figure[] = [];
    for (const callers of CALLERS) {
      progress(`log: ${callers} concurrent acts`);
      const grouped = await measureActs((write) => database.journal.append(write), grants, callers, seconds);
      const single = await measureSingle(roles, by, grants, callers, seconds, 'judged');
      const statement = await measureSingle(roles, by, grants, callers, seconds, 'one statement');
      figures.push({ callers, grouped, single, statement });
    }
    await database.close();
    const together = await measureDaemons(roles, keys, grants, seconds, progress);
    const at64 = figures.find(({ callers }) => callers === 64);
    const ratio = at64 === undefined ? NaN : at64.grouped.appendsPerSecond / at64.single.appendsPerSecond;
    return {
      bench: 'log: appending',
      tables: [
        {
          title: `Durable appends: acts of two entries with their claims, beside one transaction for each append (${CONNECTIONS} connections), judged apart and in one statement`,
          columns: [
            'concurrent acts',
            'appends/s',
            'p50 ms',
            'p99 ms',
            'one by one/s',
            'p99 ms',
            'ratio',
            'in one statement/s',
            'p99 ms',
            'ratio',
          ],
          rows: figures.map(({ callers, grouped, single, statement }) => [
            count(callers),
            ...cells(grouped),
            ...[single, statement].flatMap((each) => [
              count(each.appendsPerSecond),
              milliseconds(each.p99Ms),
              times(grouped.appendsPerSecond, each.appendsPerSecond),
            ]),
          ]),
        },
        {
          title: 'Several daemons on one database, each a process with 64 concurrent acts',
          columns: ['daemons', 'appends/s', 'p50 ms', 'p99 ms', 'of one'],
          rows: together.map(({ daemons, rate }) => [
            count(daemons),
            ...cells(rate),
            times(rate.appendsPerSecond, together[0]?.rate.appendsPerSecond ?? NaN),
          ]),
        },
      ],
      figures: [...figures, ...together],
      targets: [
        atLeast('appends at 64 concurrent acts, times one by one', ratio, 20),
        atLeast(
          'appends/s at 64 concurrent acts, two idle cores',
          at64?.grouped.appendsPerSecond ?? NaN,
          30_000,
        ),
        atLeast('appends of three daemons, times those of one', shareOf(together), 0.7),
      ],
    };
  });

async function makeGrants(database: Database): Promise<readonly Grant[]> {
  const grants = Array.from({ length: 16 }, grantForBench);
  const changes = grants.map((grant) => ({ change: 'grant-created', grant }) as const);
  await database.journal.append(writeOf('alone', { changes }));
  return grants;
}

async function measureSingle(
  { daemon }: Roles,
  by: Parameters<typeof connectOneByOne>[3],
  grants: readonly Grant[],
  callers: number,
  seconds: number,
  form: Form,
): Promise<Rate> {
  const baseline = await connectOneByOne(daemon, Math.min(callers, CONNECTIONS), form, by);
  try {
    return await measureActs(baseline.append, grants, callers, seconds);
  } finally {
    await baseline.close();
  }
}

interface Together {
  readonly daemons: number;
  /** The sum of their rates; percentiles are those of the slowest. */
  readonly rate: Rate;
}

/** One daemon and three, in processes of their own: the bench's own process is not in their way. */
async function measureDaemons(
  { daemon }: Roles,
  keys: Pick<AppendingOrder, 'logKey' | 'identityKey'>,
  grants: readonly Grant[],
  seconds: number,
  progress: Progress,
): Promise<readonly Together[]> {
  const together: Together[] = [];
  for (const daemons of [1, 3]) {
    progress(`log: ${daemons} daemon(s)`);
    const order: AppendingOrder = { daemon, ...keys, grants, callers: 64, seconds };
    const children = Array.from({ length: daemons }, () => startChild('appendingDaemon.ts', order));
    await Promise.all(children.map((child) => child.next()));
    for (const child of children) child.tell('go');
    const rates = await Promise.all(children.map((child) => child.next<Rate>()));
    await Promise.all(children.map((child) => child.ended()));
    const rate = {
      appendsPerSecond: rates.reduce((sum, { appendsPerSecond }) => sum + appendsPerSecond, 0),
      p50Ms: Math.max(...rates.map(({ p50Ms }) => p50Ms)),
      p99Ms: Math.max(...rates.map(({ p99Ms }) => p99Ms)),
    };
    together.push({ daemons, rate });
  }
  return together;
}

function shareOf([one, three]: readonly Together[]): number {
  return (three?.rate.appendsPerSecond ?? NaN) / (one?.rate.appendsPerSecond ?? NaN);
}

function cells({ appendsPerSecond, p50Ms, p99Ms }: Rate): readonly string[] {
  return [count(appendsPerSecond), milliseconds(p50Ms), milliseconds(p99Ms)];
}
