import { startChild } from '../child.js';
import { atMost, type Bench, type Findings } from '../findings.js';
import { count, times } from '../table.js';
import { askFor } from './grants.js';
import { mediansOf } from './series.js';
import { withDaemonUnderLoad, type UnderLoad } from './underLoad.js';

/** Keys of somebody who leaves: as many as a request can have. */
export const LEFT_KEYS = 64;
/** The most that their activation may take. */
const MOST_SECONDS = 2;

/** How long the parts of a recovery took, in milliseconds. */
export interface RecoveryTimes {
  /** The request is filed. */
  readonly filedMs: number;
  /** A depositary's client checks all that it is shown, and makes its replies. */
  readonly approvalMadeMs: number;
  /** The approval of the first depositary is taken. */
  readonly approvedMs: number;
  /** The approval that completes the quorum is taken, and every grant is there. */
  readonly activatedMs: number;
}

/** All keys of a leaver recovered in one request, beside what the token alone takes for as many grants. */
export const recoveryBench: Bench = ({ progress, rounds, profileInto }) =>
  withDaemonUnderLoad({ progress, profileInto }, async (daemon): Promise<Findings> => {
    const raising = startChild('load/rawRecovery.ts', { ...daemon.copyToken(), grants: {} });
    await raising.next();
    const measured: (RecoveryTimes & { readonly tokenMs: number })[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      progress(`recovery: round ${round} of ${rounds}: ${LEFT_KEYS} keys`);
      raising.tell(JSON.stringify(LEFT_KEYS));
      const tokenMs = await raising.next<number>();
      measured.push({ ...(await recover(daemon, await makeKeys(daemon, LEFT_KEYS))), tokenMs });
    }
    await raising.ended();
    const figures = mediansOf(measured, [
      'filedMs',
      'approvalMadeMs',
      'approvedMs',
      'activatedMs',
      'tokenMs',
    ]);
    return {
      bench: 'recovery',
      tables: [
        {
          title: `${LEFT_KEYS} P-256 keys of a leaver, in one request: the median in ms, and the least and most of a round`,
          columns: ['part', 'median ms', 'least', 'most', 'of the token alone'],
          rows: Object.entries(figures).map(([name, { median, least, most }]) => [
            PARTS[name as keyof typeof figures],
            ...[median, least, most].map(count),
            times(median, figures.tokenMs.median),
          ]),
        },
      ],
      figures: [{ keys: LEFT_KEYS, ...figures }],
      targets: [activationTarget(figures.activatedMs.median)],
    };
  });

const PARTS = {
  filedMs: 'the request is filed',
  approvalMadeMs: 'a depositary makes an approval',
  approvedMs: 'the first approval is taken',
  activatedMs: 'the second is taken, all grants are there',
  tokenMs: 'as many grants by the token alone',
} as const;

/** What is asked of the activation of a leaver's keys. */
export function activationTarget(activatedMs: number): ReturnType<typeof atMost> {
  return atMost(`${LEFT_KEYS} keys of a leaver activated, in seconds`, activatedMs / 1000, MOST_SECONDS);
}

/** So many P-256 keys of the owner. */
export async function makeKeys({ system }: UnderLoad, keys: number): Promise<readonly string[]> {
  const client = system.client('admin-1');
  const made: string[] = [];
  while (made.length < keys) {
    const { result } = await client.generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' });
    made.push(result.key);
  }
  return made;
}

/** Has these keys recovered in one request, and times its parts. */
export async function recover({ system }: UnderLoad, keys: readonly string[]): Promise<RecoveryTimes> {
  const asked = await timed(() => askFor(system, keys, 'p256'));
  const first = await timed(() => system.makeApproval('manager', asked.result));
  const approved = await timed(() => system.client('manager').sendApproval(asked.result, first.result));
  const second = await timed(() => system.makeApproval('officer-1', asked.result));
  const activated = await timed(() => system.client('officer-1').sendApproval(asked.result, second.result));
  const { keys: granted } = activated.result.result;
  if (granted.length !== keys.length || granted.some(({ grant }) => grant === undefined))
    throw new Error('not every key has its grant');
  return {
    filedMs: asked.ms,
    approvalMadeMs: (first.ms + second.ms) / 2,
    approvedMs: approved.ms,
    activatedMs: activated.ms,
  };
}

async function timed<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly ms: number }> {
  const begunAt = performance.now();
  const result = await work();
  return { result, ms: performance.now() - begunAt };
}
