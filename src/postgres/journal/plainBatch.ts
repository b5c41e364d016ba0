import type { Claim, JournalWrite, NotHeld } from '../../escrow/ports/journal.js';
import { entryArrays, opensAny, outcomeOf, type BatchOutcome } from './judgedBatch.js';
import { instantArray, intArray, textArray, uuidArray } from './binaryArrays.js';
import { CLOCKS_APART_MS, type Clocks } from '../clocks.js';
import { requestDigest, type Send, type Statement } from './lockedRows.js';
import type { SignedBatch, Writer } from '../log/writer.js';

/**
 * Whether nothing has to be judged about a write but what `append_plain` in the database (migration 026) counts itself:
 * that its request is new, that its grant and its rate have the uses left, that its caller's policy is in force, and that its
 * act is open.
 */
export function isPlain({ claims, changes }: JournalWrite): boolean {
  return changes.length === 0 && claims.every(isPlainClaim);
}

function isPlainClaim({ claim }: Claim): boolean {
  switch (claim) {
    case 'request-unused':
    case 'policy-in-force':
    case 'uses-counted':
      return true;
    case 'alone-on-recovery':
    case 'idempotency-key-free':
      return false;
  }
}

/** The uses of one grant in a batch. */
interface Uses {
  uses: number;
  from: Date;
  until: Date;
}

/**
 * Records plain writes all together, in one statement that is a transaction of its own, sent behind whatever was sent before.
 * Resolves when they are durable, or their fate is unknown. Rejects when certainly nothing was recorded: something does not
 * hold, and what it is the judge has to find out, or the database says why not. Attempts are recorded only while `clocks` agree,
 * where they are given.
 */
export async function recordPlain(
  send: Send,
  writer: Writer,
  writes: readonly JournalWrite[],
  clocks?: Clocks,
): Promise<BatchOutcome> {
  const columns = entryArrays(writes);
  const signed = writer.sign(writes.map(({ entry }) => entry));
  const at = clocks !== undefined && opensAny(writes) ? clocks.own() : undefined;
  const appending = send<{ base: string | null }>(appendPlain(writes, { signed, at }, columns));
  const outcome = await outcomeOf(
    appending,
    { verdict: { kept: writes, refused: noRefusals }, signed },
    writer,
  );
  if (at !== undefined && outcome.outcome === 'recorded') clocks?.agreed();
  return outcome;
}

const noRefusals: ReadonlyMap<JournalWrite, NotHeld> = new Map();

function appendPlain(
  writes: readonly JournalWrite[],
  { signed, at }: { readonly signed: SignedBatch; readonly at: Date | undefined },
  columns: readonly Buffer[],
): Statement {
  const requests: { readonly digest: Uint8Array; readonly expiresAt: Date }[] = [];
  const grants = new Map<string, Uses>();
  const policies = new Set<number>();
  const closing: string[] = [];
  const opening: string[] = [];
  const openingAt: number[] = [];
  writes.forEach(({ id, role, claims }, place) => {
    if (role === 'closes') closing.push(id);
    else if (role === 'opens') {
      opening.push(id);
      openingAt.push(place);
    }
    for (const claim of claims) {
      if (claim.claim === 'request-unused')
        requests.push({ digest: requestDigest(claim.kid, claim.jti), expiresAt: claim.expiresAt });
      else if (claim.claim === 'uses-counted') addUses(grants, claim);
      else if (claim.claim === 'policy-in-force') policies.add(claim.version);
    }
  });
  // In one order, as all that is locked in a batch. Should the server take another one, it ends what blocks itself (40P01).
  requests.sort((a, b) => Buffer.compare(a.digest, b.digest));
  const granted = [...grants.keys()].sort();
  const uses = granted.flatMap((grant) => grants.get(grant) ?? []);
  return {
    name: 'append-plain',
    // what stands behind `then` is not begun where the condition does not hold: then nothing is recorded, and the answer is null
    text: `select case when $23::timestamptz is null
               or abs(extract(epoch from clock_timestamp() - $23::timestamptz)) * 1000 <= $24::int
             then append_plain($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
               $15, $16, $17, $18, $19, $20, $21, $22) end as base`,
    values: [
      signed.writer,
      uuidArray(requests.map(({ digest }) => digest)),
      instantArray(requests.map(({ expiresAt }) => expiresAt)),
      textArray(granted),
      intArray(uses.map((each) => each.uses)),
      instantArray(uses.map(({ from }) => from)),
      instantArray(uses.map(({ until }) => until)),
      intArray([...policies]),
      textArray(closing),
      textArray(opening),
      intArray(openingAt),
      signed.counter,
      signed.follows,
      signed.since,
      Buffer.from(signed.signature),
      ...columns,
      at?.toISOString() ?? null,
      CLOCKS_APART_MS,
    ],
  };
}

function addUses(
  grants: Map<string, Uses>,
  { grant, uses, at }: { readonly grant: string; readonly uses: number; readonly at: Date },
): void {
  const known = grants.get(grant);
  if (known === undefined) {
    grants.set(grant, { uses, from: at, until: at });
    return;
  }
  known.uses += uses;
  if (at < known.from) known.from = at;
  if (at > known.until) known.until = at;
}
