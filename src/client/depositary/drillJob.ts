import type { DrilledReply } from '../../api/replies.js';
import { type Drill, MAX_DRILLED, MAX_DRILL_PAGE } from '../../escrow/records/drills/drilling.js';
import { PURPOSES } from '../../escrow/records/policy.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { ServerProblem } from '../errors.js';
import type { EscrowClient } from '../escrowClient.js';
import type { DecryptionKey } from '../identity/decryptionKey.js';
import type { Signer } from '../identity/signingKey.js';
import {
  type DrillTrust,
  type FoundShare,
  type ShareToDrill,
  believeDrills,
  findShare,
  signDrills,
} from './drill.js';

/** Which shares are drilled. */
export type WhichShares = 'all' | 'due' | { readonly keys: readonly string[] };

/** What came of one share. */
export interface DrilledShare {
  readonly key: string;
  readonly purpose: string;
  readonly owner: string;
  readonly label: string;
  /** `opened`, or why not: a word of `DRILL_RESULTS`, or of a newer server; `used-up` of one whose chain has no hash left. */
  readonly result: string;
  /** Whether a hash of its chain proves it. */
  readonly isProven: boolean;
  /** Index of the entry; undefined: it is not in the log. */
  readonly entry: number | undefined;
}

/** What came of all. */
export interface DrillReport {
  readonly shares: readonly DrilledShare[];
  /** What the server refused to take, with the keys that it was about. */
  readonly refused: readonly { readonly keys: readonly string[]; readonly problem: ServerProblem }[];
  /** Of so many keys, of those that were looked at, the log has shares of this depositary, and the database has nothing. */
  readonly unlisted: number;
  /** Keys that were named, and of which no share is shown: this depositary has none, or the database has lost the record. */
  readonly notShown: readonly string[];
}

export interface DrillJob {
  readonly client: Pick<EscrowClient, 'drills' | 'sendDrill'>;
  readonly trust: DrillTrust;
  readonly signer: Signer;
  readonly depositaryKey: DecryptionKey;
  readonly now: () => Date;
  /** Told how many shares were looked at, of how many keys there are, where that is known. */
  readonly progress: (shares: number, keys: number | undefined) => void;
}

/**
 * Drills shares of this depositary: each is opened here, and what came of it is handed in, a few of one owner at a time. What fails, or is
 * refused, stops none of the others; run again, it begins anew.
 *
 * @throws NotBelieved, ServerUnreachable; ServerProblem when the server does not show the shares
 */
export async function drillAll(job: DrillJob, which: WhichShares): Promise<DrillReport> {
  const found: FoundShare[] = [];
  const listed = new Set<string>();
  let keys = 0;
  for await (const page of pagesOf(job, which)) {
    keys += page.keys ?? 0;
    for (const share of page.shares) {
      listed.add(share.key);
      if (which === 'due' && !share.shown.isDue) continue;
      found.push(await findShare(share, job.depositaryKey, job.trust));
      job.progress(found.length, keys === 0 || typeof which === 'object' ? undefined : keys);
    }
  }
  await job.trust.generations.opened(
    new Map(
      found
        .filter(({ finding }) => finding === 'opened')
        .map(({ key, recorded }) => [key, recorded.generation]),
    ),
  );
  const handedIn = await handIn(job, found);
  const named = typeof which === 'object' ? [...new Set(which.keys)] : [];
  return {
    ...handedIn,
    unlisted: Math.max(0, keys - listed.size),
    notShown: named.filter((key) => !listed.has(key)),
  };
}

interface ShownPage {
  readonly shares: readonly ShareToDrill[];
  /** Of how many keys there are shares by the log, where that is said: of the key that is named, or once of all. */
  readonly keys: number | undefined;
}

async function* pagesOf({ client, trust }: DrillJob, which: WhichShares): AsyncGenerator<ShownPage> {
  if (typeof which === 'object') {
    for (const key of new Set(which.keys)) {
      const page = await client.drills({ key });
      yield { shares: await believeDrills(page, trust), keys: page.held?.keys };
    }
    return;
  }
  let after: string | undefined;
  do {
    const page = await client.drills({ limit: MAX_DRILL_PAGE, ...(after === undefined ? {} : { after }) });
    yield { shares: await believeDrills(page, trust), keys: page.held?.keys };
    after = page.next;
  } while (after !== undefined);
}

async function handIn(
  { client, signer, trust, now }: DrillJob,
  found: readonly FoundShare[],
): Promise<Pick<DrillReport, 'shares' | 'refused'>> {
  const shares: DrilledShare[] = [];
  const refused: { keys: readonly string[]; problem: ServerProblem }[] = [];
  for (const one of found.filter(({ drill }) => drill === undefined)) {
    shares.push({ ...asDrilled(one), result: 'used-up', isProven: false, entry: undefined });
  }
  const batches = [...batchesOf(found)];
  for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
    const drills = batch.flatMap(({ drill }) => drill ?? []);
    const order = await signDrills(drills, newestOf(batch), signer, { logKey: trust.log.key, now: now() });
    try {
      const { result, entry } = await client.sendDrill(order);
      for (const one of batch) shares.push({ ...asDrilled(one), ...outcomeOf(one, result), entry });
    } catch (error) {
      if (!(error instanceof ServerProblem)) throw error;
      if (batch.length > 1 && OF_ONE_SHARE.has(error.code)) {
        batches.unshift(...batch.map((one) => [one]));
        continue;
      }
      refused.push({ keys: [...new Set(drills.map(({ key }) => key))], problem: error });
      for (const one of batch) {
        shares.push({ ...asDrilled(one), result: one.finding, isProven: false, entry: undefined });
      }
    }
  }
  return { shares, refused };
}

/** What the server refuses of one share, and with it all that are handed in together: the others are handed in by themselves then. */
const OF_ONE_SHARE: ReadonlySet<string> = new Set([
  'drill-out-of-turn',
  'drill-mismatch',
  'forbidden',
  'key-unknown',
  'owners-differ',
]);

/** As many of one owner as one statement is about, in ascending order. */
function batchesOf(found: readonly FoundShare[]): readonly (readonly FoundShare[])[] {
  const byOwner = new Map<string, FoundShare[]>();
  for (const one of found) {
    if (one.drill === undefined) continue;
    const ofOwner = byOwner.get(one.owner) ?? [];
    byOwner.set(one.owner, ofOwner);
    ofOwner.push(one);
  }
  return [...byOwner.values()].flatMap((ofOwner) => {
    const sorted = ofOwner.toSorted((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
    const batches: FoundShare[][] = [];
    for (let at = 0; at < sorted.length; at += MAX_DRILLED) batches.push(sorted.slice(at, at + MAX_DRILLED));
    return batches;
  });
}

function placeOf({ key, purpose }: FoundShare): string {
  return `${key} ${PURPOSES.indexOf(purpose)}`;
}

/** The largest tree that was shown with these. */
function newestOf(batch: readonly FoundShare[]): Checkpoint {
  const [first, ...others] = batch.map(({ checkpoint }) => checkpoint);
  if (first === undefined) throw new Error('a batch has shares');
  return others.reduce((newest, one) => (one.size > newest.size ? one : newest), first);
}

function asDrilled({
  key,
  purpose,
  owner,
  shown,
}: FoundShare): Omit<DrilledShare, 'result' | 'isProven' | 'entry'> {
  return { key, purpose, owner, label: shown.label };
}

/** What was found here counts before what the server says: it cannot know better. */
function outcomeOf(
  { key, purpose, finding, drill }: FoundShare,
  { results }: DrilledReply,
): Pick<DrilledShare, 'result' | 'isProven'> {
  const said = results.find((one) => one.key === key && one.purpose === purpose)?.result;
  const result = finding === 'opened' ? (said ?? 'not-recorded') : finding;
  return { result, isProven: result === 'opened' && isShown(drill) };
}

function isShown(drill: Drill | undefined): boolean {
  return drill?.preimage !== null && drill?.preimage !== undefined;
}
