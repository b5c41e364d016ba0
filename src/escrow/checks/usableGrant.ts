import type { Subject } from '../../log/entry/entry.js';
import type { Escrow, OperateCall } from '../escrow.js';
import type { GrantFacts } from '../logged/logFacts.js';
import { getGrant } from '../lookUp.js';
import { type ErrorCode, EscrowError } from '../records/errors.js';
import type { Grant } from '../records/grant.js';
import { type GrantId, parseId } from '../records/ids.js';
import type { Mechanism } from '../records/mechanisms.js';
import { msUntilLeft, usesLeft } from '../records/rate.js';
import { checkLive, subjectOf } from '../rules/liveGrant.js';
import { grantsNamed } from '../rules/namedGrants.js';

/**
 * How an app names the grant of a use: by its id; or by the key, that is by its id or its label, and then it is whichever of the
 * app's grants for that key allows the use. Of two, the one that ends first.
 */
export type NamedGrant = { readonly grant: GrantId } | { readonly key: string };

/** What a grant is to be used for. */
interface IntendedUse {
  readonly operation: 'sign' | 'decrypt';
  readonly mechanism: Mechanism;
  /** What is signed. */
  readonly input?: 'message' | 'digest';
}

/**
 * Looks for a grant that allows so many uses of this kind: among those at hand and, when what was claimed by that did not hold, or
 * it is not there, in its record. To be asked again for one use until what is claimed holds.
 *
 * Rejects with EscrowError `grant-unknown`, `key-ambiguous`, `forbidden`, `grant-revoked`, `grant-not-started`, `grant-expired`,
 * `record-mismatch`, `grant-exhausted`, `grant-rate-exceeded`, `operation-not-granted`; of several grants as the first of them.
 */
export function usableGrant(
  escrow: Escrow,
  call: OperateCall,
  use: NamedGrant & IntendedUse,
): (uses: number, about: (subject: Subject) => void) => Promise<Grant> {
  let isTried = false;
  return async (uses, about) => {
    const from = isTried ? 'its record' : 'at hand';
    isTried = true;
    if ('grant' in use) {
      const { grant: id } = use;
      about({ grant: id });
      return checkedFor(escrow, call, { ...use, uses }, { id, from }, about);
    }
    const key = parseId('KeyId', use.key);
    if (key !== undefined) about({ key });
    const pick = (): Promise<Grant> => firstFor(escrow, call, { ...use, uses }, from, about);
    try {
      return await pick();
    } catch (error) {
      if (!isOfItsLimits(error)) throw error;
      // another daemon may have made the next one just now
      await escrow.followed.caughtUp();
      return pick();
    }
  };
}

/** What a grant does not allow, or not any more, and another of the same key may. */
const OF_ITS_LIMITS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'grant-unknown',
  'grant-revoked',
  'grant-expired',
  'grant-exhausted',
  'grant-not-started',
  'grant-rate-exceeded',
  'operation-not-granted',
]);

function isOfItsLimits(error: unknown): boolean {
  return error instanceof EscrowError && OF_ITS_LIMITS.has(error.code);
}

/** The first of the grants that {@link grantsFor} has which allows this; when none does, why the first of all does not. */
async function firstFor(
  escrow: Escrow,
  call: OperateCall,
  use: IntendedUse & { readonly key: string; readonly uses: number },
  from: 'at hand' | 'its record',
  about: (subject: Subject) => void,
): Promise<Grant> {
  const refused: { readonly error: unknown; readonly subject: Subject }[] = [];
  for (const id of grantsFor(escrow, call, use)) {
    let subject: Subject = { grant: id };
    const tell = (found: Subject): void => {
      subject = found;
    };
    try {
      const grant = await checkedFor(escrow, call, use, { id, from }, tell);
      about(subject);
      return grant;
    } catch (error) {
      // what is wrong with a record is said, whatever other grants there are
      if (!isOfItsLimits(error)) {
        about(subject);
        throw error;
      }
      refused.push({ error, subject });
    }
  }
  const [first] = refused;
  if (first === undefined)
    throw new EscrowError('grant-unknown', 'No grant of yours for this key is running.');
  about(first.subject);
  throw first.error;
}

/** The running grants by which an app may use a key so, the one that ends first before the others. */
function grantsFor(
  { followed }: Escrow,
  { caller }: OperateCall,
  use: IntendedUse & { readonly key: string },
): readonly GrantId[] {
  const found = grantsNamed(followed.facts, caller.id, use.key);
  const allowing = found.filter(({ scope }) => covers(scope, use));
  if (found.length > 0 && allowing.length === 0) throw new EscrowError('operation-not-granted');
  return allowing.sort((a, b) => a.expiresAtMs - b.expiresAtMs || (a.id < b.id ? -1 : 1)).map(({ id }) => id);
}

/** A grant that allows this, as it is at hand or as its record has it. Says what it is about once that is known. */
async function checkedFor(
  escrow: Escrow,
  call: OperateCall,
  use: IntendedUse & { readonly uses: number },
  { id, from }: { readonly id: GrantId; readonly from: 'at hand' | 'its record' },
  about: (subject: Subject) => void,
): Promise<Grant> {
  const found = from === 'at hand' ? escrow.grants.atHand(escrow, id) : undefined;
  const now = escrow.clock.now();
  // nothing is refused for a pace that was read some time ago
  const known = found === undefined || usesLeftNow(found, now) < use.uses ? undefined : found;
  const grant = known ?? (await getGrant(escrow, id));
  about(subjectOf(grant));
  if (grant.scope.app !== call.caller.id) throw new EscrowError('forbidden');
  checkLive(grant, now);
  if (known === undefined) await escrow.grants.check(escrow, grant);
  if (now < grant.startsAt) throw new EscrowError('grant-not-started');
  checkUses(grant, use.uses, now);
  if (!covers(grant.scope, use)) throw new EscrowError('operation-not-granted');
  return grant;
}

/** How many uses the grant's rate leaves now. */
function usesLeftNow({ scope: { rate }, recent }: Grant, now: Date): number {
  return rate === undefined ? Infinity : usesLeft(rate, recent, now);
}

function checkUses(grant: Grant, uses: number, now: Date): void {
  const { scope, recent, used } = grant;
  const left = scope.maxUses - used;
  if (uses > left)
    throw new EscrowError('grant-exhausted', `The grant has ${left} uses left; ${uses} were asked for.`);
  const { rate } = scope;
  const leftNow = usesLeftNow(grant, now);
  if (rate === undefined || uses <= leftNow) return;
  throw new EscrowError(
    'grant-rate-exceeded',
    `The grant allows ${rate.uses} uses in ${rate.perMs / 1000} seconds, of which ${leftNow} are left now; ${uses} were asked for.`,
    { retryAfterMs: msUntilLeft(rate, recent, uses, now) },
  );
}

function covers(
  { operations, mechanisms, input }: Pick<GrantFacts['scope'], 'operations' | 'mechanisms' | 'input'>,
  use: IntendedUse,
): boolean {
  const isCovered = operations.includes(use.operation) && mechanisms.includes(use.mechanism);
  return isCovered && (use.input !== 'digest' || input === 'digest');
}
