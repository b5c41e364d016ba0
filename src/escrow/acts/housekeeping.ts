import { brakesOfAll } from '../rules/requestTerms.js';
import { getAskedKeys } from '../lookUp.js';
import { checkLoggedGrant } from '../rules/checkedGrant.js';
import { whileLogged } from '../checks/checkedRequest.js';
import { getOpen } from '../checks/openInLog.js';
import type { Escrow } from '../escrow.js';
import { sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { Grant } from '../records/grant.js';
import { certifyGrants } from '../rules/grantCertificate.js';
import { type GrantId, type RecoveryId, idsOf } from '../records/ids.js';
import type { Journal } from '../ports/journal.js';
import { aloneOn } from '../ports/journal.js';
import { HouseMemory } from './houseMemory.js';
import { forgetReleases } from './keptReleases.js';
import type { FollowedLog, GrantFacts, RequestFacts } from '../logged/logFacts.js';
import { requestEndMs } from '../logged/requests.js';
import { subjectOf } from '../rules/liveGrant.js';
import { DAEMON } from '../ledger/act.js';
import { expireImports } from './imports/expireImports.js';
import { carryOutWhenDue } from './carryingOut/carryOut.js';
import { endSuperseded } from './carryingOut/supersede.js';
import type { Recovery } from '../records/recovery.js';
import { COUNTED_FOR_MS } from '../ledger/refusals.js';
import { remindDue } from './remindRecovery.js';
import type { Contradiction } from './settling.js';
import { Settling } from './settling.js';
import type { TokenSettled } from './strays.js';
import { settleToken } from './strays.js';

/** What a round of housekeeping did. */
export interface Housekeeping extends TokenSettled {
  readonly interruptedActs: number;
  readonly expiredRecoveries: number;
  /** Requests of which a key was sealed anew since they were filed. */
  readonly supersededRecoveries: number;
  readonly endedGrants: number;
  /** Pairs to import under that nobody has used. */
  readonly expiredImports: number;
  /** Requests whose depositaries were reminded that the delay is over. */
  readonly reminded: number;
  /** Grants from before there were certificates that have one now. */
  readonly certifiedGrants: number;
  /** Requests that were carried out: grants were made, or keys sealed anew. */
  readonly activated: number;
  /** Entries that were made of refusals which had been counted. */
  readonly refusalsTogether: number;
  readonly forgottenReleases: number;
  /** Records that do not say what the log says: nothing was done about what they are of. */
  readonly contradictions: readonly Contradiction[];
}

/**
 * Settles what a crash, a lost database or the passing of time has left: acts cut short get their `failed` entry,
 * requests and grants past their end are recorded as such, who is to approve is reminded when the delay is over, token objects
 * that belong to nothing are destroyed, and what was approved for use is activated when its delay is over. Nothing waits for it
 * that decides anything: what is over is over by the clock, and what is due can be activated by whoever has a part in it.
 * What is over, due or a stray the log says, as it was followed; a record that says something else is passed over and named.
 * Nothing in the token is touched while a daemon on another copy of these records uses it; then this throws.
 * Run before serving, and from time to time, with the same `memory`: by it a round costs what is due, not what there is. One
 * that remembers nothing looks at everything. Safe beside other daemons, and beside itself.
 */
export async function keepHouse(
  escrow: Escrow,
  journal: Pick<Journal, 'openActs'>,
  memory: HouseMemory = new HouseMemory(),
): Promise<Housekeeping> {
  const settling = new Settling(escrow);
  await escrow.followed.caughtUp();
  return {
    interruptedActs: await closeInterrupted(escrow, settling, journal),
    expiredRecoveries: await expireRecoveries(escrow, settling),
    supersededRecoveries: await endSuperseded(escrow, settling),
    endedGrants: await endGrants(escrow, settling),
    expiredImports: await expireImports(escrow, settling),
    reminded: await remindDue(escrow, settling, memory.awaited),
    certifiedGrants: await certifyOlder(escrow, settling),
    ...(await settleToken(escrow, settling, memory.token)),
    // last: the token has answered by now, so that what cannot be done is not tried, and recorded, over and over
    activated: await activateDue(escrow, settling),
    refusalsTogether: await escrow.ledger.recordCounted(COUNTED_FOR_MS),
    forgottenReleases: await forgetReleases(escrow, settling),
    contradictions: settling.contradictions,
  };
}

/** Closes attempts whose daemon is gone, and our own whose outcome could not be written. */
async function closeInterrupted(
  escrow: Escrow,
  settling: Settling,
  journal: Pick<Journal, 'openActs'>,
): Promise<number> {
  const { ledger, followed } = escrow;
  let closed = 0;
  const acts = await journal.openActs();
  // what this daemon is in the middle of, it is, whoever is said to have begun it
  const left = acts.filter(({ id, by }) => by !== 'other' && !ledger.underWay.has(id));
  // what has ended since it was read is open in no record any more
  const still = new Set<string>(left.length === 0 ? [] : (await journal.openActs()).map(({ id }) => id));
  for (const { id } of left.filter((act) => still.has(act.id))) {
    let isTried = false;
    await settling.settle({
      id,
      // one that the log does not have is told by who closes it
      isDue: () => !isTried || followed.facts.openAttempt(id) !== undefined,
      settle: async () => {
        isTried = true;
        if (await ledger.closeInterrupted(id)) closed += 1;
      },
    });
  }
  await nameLost(
    followed,
    settling,
    acts.map(({ id }) => id),
    journal,
  );
  return closed;
}

/** Attempts that the log has open and no record has: nobody will close them. */
async function nameLost(
  followed: FollowedLog,
  settling: Settling,
  known: readonly string[],
  journal: Pick<Journal, 'openActs'>,
): Promise<void> {
  const { facts } = followed;
  const absent = facts.openAttempts().filter(({ id }) => !known.includes(id));
  if (absent.length === 0) return;
  const now = new Set<string>((await journal.openActs()).map(({ id }) => id));
  // those that have an outcome by now have no such record any more
  await followed.caughtUp();
  for (const { id } of absent)
    if (!now.has(id) && facts.openAttempt(id) !== undefined)
      settling.contradicts({
        id,
        reason: 'By the log this act has no outcome, and no record has it as open.',
      });
}

async function expireRecoveries(escrow: Escrow, settling: Settling): Promise<number> {
  const { facts } = escrow.followed;
  let expired = 0;
  for (const id of idsOf('RecoveryId', facts.due.overRequests(escrow.clock.now().getTime()))) {
    const isDue = (): boolean => {
      const request = facts.request(id);
      return request !== undefined && escrow.clock.now().getTime() >= requestEndMs(request);
    };
    if (await settling.settle({ id, isDue, settle: () => expire(escrow, id) })) expired += 1;
  }
  return expired;
}

async function expire(escrow: Escrow, id: RecoveryId): Promise<void> {
  await escrow.ledger.perform({
    act: 'recovery.expire',
    actor: DAEMON,
    decide: async (about) => {
      const { recovery, facts } = await getOpen(escrow, id);
      about({ recovery: id, keys: recovery.keys, owner: recovery.owner });
      const endMs = requestEndMs(facts);
      if (escrow.clock.now().getTime() < endMs) throw new EscrowError('recovery-ended');
      const endedAt = new Date(endMs);
      return {
        detail: { expiresAt: endedAt.toISOString() },
        claims: [aloneOn(recovery)],
        holds: whileLogged(facts),
        plan: { recovery, endedAt },
      };
    },
    run: (_lent, { recovery, endedAt }) => {
      const state = { status: 'expired', at: endedAt } as const;
      const expired: Recovery = { ...recovery, revision: recovery.revision + 1, state };
      return Promise.resolve({
        detail: { status: 'expired' },
        digest: recovery.requestHash,
        changes: [{ change: 'recovery-saved', recovery: expired }],
        answer: undefined,
        obsolete: { transport: id },
      });
    },
  });
}

/**
 * Requests whose delay has run out. Uses without a delay, or with approvals after it, are activated with the last approval; keys that
 * are to be sealed anew are, whenever that was cut short.
 */
async function activateDue(escrow: Escrow, settling: Settling): Promise<number> {
  const { facts } = escrow.followed;
  let activated = 0;
  for (const id of idsOf('RecoveryId', facts.due.releasableRequests(escrow.clock.now().getTime()))) {
    await settling.settle({
      id,
      isDue: () => isActivatedBy(facts.request(id), escrow.clock.now().getTime()),
      settle: async () => {
        const { recovery } = await getOpen(escrow, id);
        const { delayMs, replies } = brakesOfAll(await getAskedKeys(escrow, recovery));
        const isDoneAtOnce = delayMs === 0 || replies === 'afterDelay';
        if (recovery.asked.purpose === 'operate' && isDoneAtOnce) return;
        if (await carryOutWhenDue(escrow, recovery)) activated += 1;
      },
    });
  }
  return activated;
}

/** Whether a request that the daemon carries out by itself was approved, with the delay over and approvals that hold still, by the log. */
function isActivatedBy(request: RequestFacts | undefined, nowMs: number): boolean {
  if (request === undefined || (request.scope ?? request.reseal) === undefined) return false;
  if (request.isSuperseded) return false;
  const { releasableAtMs = Infinity, holdsUntilMs = 0 } = request;
  return releasableAtMs <= nowMs && nowMs < holdsUntilMs;
}

/** How a grant has ended that no entry has ended yet. */
function endBy(facts: GrantFacts | undefined, now: Date): 'exhausted' | 'expired' | undefined {
  if (facts === undefined) return undefined;
  if (facts.used >= facts.maxUses) return 'exhausted';
  return now.getTime() >= facts.expiresAtMs ? 'expired' : undefined;
}

async function endGrants(escrow: Escrow, settling: Settling): Promise<number> {
  const { facts } = escrow.followed;
  let ended = 0;
  for (const id of idsOf('GrantId', facts.due.overGrants(escrow.clock.now().getTime()))) {
    // a use in progress finishes first: its object is not taken from under it
    const isDue = (): boolean => endBy(facts.grant(id), escrow.clock.now()) !== undefined;
    if (await settling.settle({ id, isDue, settle: () => endGrant(escrow, id) })) ended += 1;
  }
  return ended;
}

async function endGrant(escrow: Escrow, id: GrantId): Promise<void> {
  const grant = await getRunning(escrow, id);
  const facts = await checkLoggedGrant(escrow, grant);
  const status = endBy(facts, escrow.clock.now());
  if (status === undefined) return;
  await escrow.ledger.perform({
    act: status === 'exhausted' ? 'grant.exhaust' : 'grant.expire',
    actor: DAEMON,
    decide: (about) => {
      about(subjectOf(grant));
      return Promise.resolve({ detail: { used: facts.used }, claims: [], plan: undefined });
    },
    run: () =>
      Promise.resolve({
        detail: { status },
        digest: sha256Hex(grant.id),
        changes: [{ change: 'grant-ended', grant: grant.id, status }],
        answer: undefined,
        obsolete: { grant: grant.id },
      }),
  });
}

/** The record of a grant that runs by the log; EscrowError `record-mismatch` when it says something else. */
async function getRunning(escrow: Escrow, id: GrantId): Promise<Grant> {
  const grant = await escrow.store.findGrant(id);
  if (grant?.status === 'active') return grant;
  await escrow.followed.caughtUp();
  // another daemon has ended it meanwhile
  if (escrow.followed.facts.grant(id) === undefined) throw new EscrowError('busy');
  throw new EscrowError('record-mismatch', 'By the log this grant stands, and by its record it does not.');
}

/** Certifies grants that were made before there were certificates, once what the log says of them was checked. */
async function certifyOlder(escrow: Escrow, settling: Settling): Promise<number> {
  const { facts } = escrow.followed;
  let certified = 0;
  for (const id of idsOf('GrantId', facts.due.uncertifiedGrants())) {
    const isDue = (): boolean => {
      const grant = facts.grant(id);
      return (
        grant?.certificate === undefined &&
        grant !== undefined &&
        endBy(grant, escrow.clock.now()) === undefined
      );
    };
    if (await settling.settle({ id, isDue, settle: () => certify(escrow, id) })) certified += 1;
  }
  return certified;
}

async function certify(escrow: Escrow, id: GrantId): Promise<void> {
  const grant = await getRunning(escrow, id);
  await escrow.ledger.perform({
    act: 'grant.certify',
    actor: DAEMON,
    decide: async (about) => {
      about(subjectOf(grant));
      await escrow.grants.check(escrow, grant);
      return { detail: {}, claims: [], plan: undefined };
    },
    run: async (lent) => {
      const { id, recovery, key, scope, startsAt, expiresAt } = grant;
      const terms = { recovery, grants: [{ key, grant: id }], scope, startsAt, expiresAt };
      const certificate = await certifyGrants(lent, escrow, terms, escrow.clock.now());
      return {
        detail: { certificate },
        digest: sha256Hex(certificate),
        changes: [{ change: 'grant-certified', grant: id, certificate }],
        answer: undefined,
      };
    },
  });
}
