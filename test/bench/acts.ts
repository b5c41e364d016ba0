import { randomBytes } from 'node:crypto';
import type { Grant } from '../../src/escrow/records/grant.js';
import { newId } from '../../src/escrow/records/ids.js';
import type { Journal, JournalWrite } from '../../src/escrow/ports/journal.js';
import { encodeEntry, type Entry } from '../../src/log/entry/entry.js';
import { aGrant } from '../postgres/records.js';

/** How fast, and how long each took. Percentiles are over appends. */
export interface Rate {
  readonly appendsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * The two writes of a signature on behalf, as the ledger makes them: the attempt with its claims that the request is new
 * and that the grant has a use left, and the outcome. The entries are made once and then differ in the act's id only, so
 * that making them costs next to nothing beside appending them.
 */
export function actsOn(grant: Grant): () => readonly [attempt: JournalWrite, outcome: JournalWrite] {
  const { key, owner, recovery, expiresAt } = grant;
  const about = { grant: grant.id, recovery, key, owner };
  const model = newId('ActId', randomBytes);
  const common = {
    v: 1,
    time: new Date().toISOString(),
    act: 'grant.sign',
    id: model,
    actor: grant.scope.app,
    subject: about,
  } as const satisfies Partial<Entry>;
  const hash = randomBytes(32).toString('hex');
  // an ES256 request of usual length: what it says is of no matter here
  const request = [120, 250, 64].map((length) => randomBytes(length).toString('base64url')).join('.');
  const detail = { mechanism: 'ES256', input: 'message', inputs: [hash] };
  const attempted = Buffer.from(encodeEntry({ ...common, phase: 'attempted', request, detail }));
  const done = Buffer.from(encodeEntry({ ...common, phase: 'done', detail: { uses: 1 }, digest: hash }));
  const withId = (entry: Buffer, id: string): Buffer => {
    const copy = Buffer.from(entry);
    copy.write(id, entry.indexOf(model), 'latin1');
    return copy;
  };
  return () => {
    const random = randomPool();
    const id = newId('ActId', () => random);
    const unused = { kid: 'bench', jti: random.toString('base64url'), expiresAt };
    return [
      {
        id,
        role: 'opens',
        entry: withId(attempted, id),
        about,
        claims: [
          { claim: 'request-unused', ...unused },
          { claim: 'uses-counted', grant: grant.id, uses: 1, at: grant.startsAt },
        ],
        changes: [],
      },
      { id, role: 'closes', entry: withId(done, id), about, claims: [], changes: [] },
    ];
  };
}

let pool = Buffer.alloc(0);
/** Sixteen random bytes, made many at a time. */
function randomPool(): Buffer {
  if (pool.length < 16) pool = randomBytes(16_384);
  const taken = pool.subarray(0, 16);
  pool = pool.subarray(16);
  return taken;
}

/** A grant that acts of the bench may use for as long as it takes. */
export function grantForBench(): Grant {
  const { scope } = aGrant();
  const startsAt = new Date();
  return aGrant({
    scope: { ...scope, maxUses: 2_000_000_000 },
    startsAt,
    expiresAt: new Date(startsAt.getTime() + 86_400_000),
  });
}

/**
 * Has so many callers perform acts, one after another each, for a while, and says how the appends went. What was begun
 * before the time was over is finished, and counts with the time it took.
 */
export async function measureActs(
  append: Journal['append'],
  grants: readonly Grant[],
  callers: number,
  seconds: number,
): Promise<Rate> {
  const tookMs: number[] = [];
  const begunAt = performance.now();
  const over = begunAt + seconds * 1000;
  const caller = async (at: number): Promise<void> => {
    const grant = grants[at % grants.length];
    if (grant === undefined) throw new Error('no grant');
    const nextAct = actsOn(grant);
    while (performance.now() < over) {
      for (const write of nextAct()) {
        const sentAt = performance.now();
        await append(write);
        tookMs.push(performance.now() - sentAt);
      }
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, at) => caller(at)));
  const elapsedMs = performance.now() - begunAt;
  tookMs.sort((a, b) => a - b);
  const percentile = (part: number): number => tookMs[Math.floor(part * (tookMs.length - 1))] ?? NaN;
  return {
    appendsPerSecond: (tookMs.length / elapsedMs) * 1000,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
  };
}
