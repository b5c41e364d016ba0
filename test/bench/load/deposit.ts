import { startChild, type Child } from '../child.js';
import { atMost, type Bench, type Findings } from '../findings.js';
import { count, milliseconds, times } from '../table.js';
import type { CommitTimes } from './commits.js';
import { costlyLoad, signedBy, type CostlyLoad } from './costlyLoad.js';
import type { LoadOrder } from './loadGenerator.js';
import { mediansOf, seriesOf } from './series.js';
import { withDaemonUnderLoad, type UnderLoad } from './underLoad.js';

const CLIENTS = [1, 8] as const;
/** The most that a deposit of an EC key may take: the median of one client. */
const MOST_MS = 8;

interface Round {
  readonly clients: number;
  readonly ours: CostlyLoad;
  readonly token: CommitTimes;
  readonly commits: CommitTimes;
}

/**
 * Keys that are made and deposited through the whole daemon, P-256, two of three depositaries, beside the calls that this
 * takes of the token alone, and two commits on the same cluster.
 */
export const depositBench: Bench = ({ progress, seconds, rounds, profileInto }) =>
  withDaemonUnderLoad({ progress, profileInto }, async (daemon): Promise<Findings> => {
    const generator = startChild('load/loadGenerator.ts', {});
    const committing = startChild('load/commits.ts', daemon.owner);
    const depositing = startChild('load/rawDeposit.ts', { ...daemon.copyToken(), grants: {} });
    for (const child of [committing, depositing]) await child.next();
    const alone = async (child: Child): Promise<CommitTimes> => {
      child.tell(JSON.stringify(seconds));
      return child.next<CommitTimes>();
    };
    const measured: Round[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      progress(`deposit: round ${round} of ${rounds}`);
      const commits = await alone(committing);
      const token = await alone(depositing);
      for (const clients of CLIENTS) {
        const ours = await costlyLoad(generator, depositOrder(daemon, clients, seconds), daemon);
        measured.push({ clients, ours, token, commits });
      }
    }
    for (const child of [generator, committing, depositing]) await child.ended();
    return findingsOf(measured);
  });

/** Asks for P-256 keys of the owner, as an administrator. */
export function depositOrder(daemon: UnderLoad, clients: number, seconds: number): LoadOrder {
  const { signer } = signedBy(daemon.system, 'admin-1');
  return {
    port: daemon.port,
    ca: daemon.tls.cert,
    target: '/v1/keys',
    body: JSON.stringify({ owner: 'owner', spec: 'ec-p256', use: 'sign' }),
    caller: { signer: { ...signer, isRepeatable: true } },
    clients,
    seconds,
  };
}

function findingsOf(measured: readonly Round[]): Findings {
  const figures = CLIENTS.map((clients) => {
    const rounds = measured.filter((each) => each.clients === clients);
    const ours = mediansOf(
      rounds.map(({ ours: each }) => each),
      ['requestsPerSecond', 'p50Ms', 'p99Ms', 'nodeMicros', 'postgresMicros'],
    );
    const tokenP50Ms = seriesOf(rounds.map(({ token }) => token.p50Ms));
    const commitsP50Ms = seriesOf(rounds.map(({ commits }) => commits.p50Ms));
    return { clients, ...ours, tokenP50Ms, commitsP50Ms };
  });
  const [one] = figures;
  return {
    bench: 'deposit',
    tables: [
      {
        title:
          'P-256 keys made and deposited, two of three (medians), beside the same calls of the token alone and two commits',
        columns: [
          'clients',
          'keys/s',
          'p50 ms',
          'p99 ms',
          'token p50 ms',
          'commits p50 ms',
          'of both',
          'Node us',
          'PostgreSQL us',
        ],
        rows: figures.map((each) => [
          count(each.clients),
          count(each.requestsPerSecond.median),
          ...[each.p50Ms, each.p99Ms, each.tokenP50Ms, each.commitsP50Ms].map(({ median }) =>
            milliseconds(median),
          ),
          times(each.p50Ms.median, each.tokenP50Ms.median + each.commitsP50Ms.median),
          count(each.nodeMicros.median),
          count(each.postgresMicros.median),
        ]),
      },
    ],
    figures,
    targets:
      one === undefined
        ? []
        : [atMost('deposit of a P-256 key, one client, p50 in ms', one.p50Ms.median, MOST_MS)],
  };
}
