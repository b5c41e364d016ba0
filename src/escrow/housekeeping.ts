import { decodeEntry } from '../log/entry.js';
import { brakesOfAll, getAskedKeys } from './askedKeys.js';
import { checkGrant } from './checkedGrant.js';
import type { Escrow } from './context.js';
import { sha256Hex } from './digests.js';
import { EscrowError } from './errors.js';
import type { Grant } from './grant.js';
import { grantStatusAt } from './grant.js';
import { certifyGrants } from './grantCertificate.js';
import type { GrantId, RecoveryId } from './ids.js';
import { parseId } from './ids.js';
import { DAEMON } from './performance.js';
import { subjectOf } from './operate.js';
import type { Journal } from './journal.js';
import { forgetReleases } from './keptRelease.js';
import { aloneOn, NotHeld } from './journal.js';
import type { Recovery } from './recovery.js';
import { COUNTED_FOR_MS } from './refusals.js';
import { mayBeReminded, remindRecovery } from './remindRecovery.js';
import { endOf, statusAt } from './recovery.js';
import { activateWhenDue, grantsNamedIn } from './recoverKey.js';

/** What a round of housekeeping did. */
export interface Housekeeping {
  readonly interruptedActs: number;
  readonly expiredRecoveries: number;
  readonly endedGrants: number;
  /** Requests whose depositaries were reminded that the delay is over. */
  readonly reminded: number;
  /** Grants from before there were certificates that have one now. */
  readonly certifiedGrants: number;
  readonly strays: number;
  /** One-time keys and grants that the records have and a token that works does not, by their labels. */
  readonly missing: readonly string[];
  readonly activated: number;
  /** Entries that were made of refusals which had been counted. */
  readonly refusalsTogether: number;
  readonly forgottenReleases: number;
}

/**
 * Settles what a crash, a lost database or the passing of time has left: acts cut short get their `failed` entry,
 * requests and grants past their end are recorded as such, token objects that belong to no record are destroyed, and what
 * was approved for use is activated when its delay is over. Nothing waits for it that decides anything: what is over is
 * over by the clock, and what is due can be activated by whoever has a part in it.
 * Nothing in the token is touched while a daemon on another copy of these records uses it; then this throws.
 * Run before serving, and from time to time. Safe beside other daemons, and beside itself.
 */
export async function keepHouse(escrow: Escrow, journal: Pick<Journal, 'openActs'>): Promise<Housekeeping> {
  return {
    interruptedActs: await closeInterrupted(escrow, journal),
    expiredRecoveries: await expireRecoveries(escrow),
    endedGrants: await endGrants(escrow),
    reminded: await remindDue(escrow),
    certifiedGrants: await certifyOlder(escrow),
    ...(await settleToken(escrow, journal)),
    // last: the token has answered by now, so that what cannot be done is not tried, and recorded, over and over
    activated: await activateDue(escrow),
    refusalsTogether: await escrow.ledger.recordCounted(COUNTED_FOR_MS),
    forgottenReleases: await forgetReleases(escrow, tolerate),
  };
}

/** Closes attempts whose daemon is gone, and our own whose outcome could not be written. */
async function closeInterrupted(escrow: Escrow, journal: Pick<Journal, 'openActs'>): Promise<number> {
  let closed = 0;
  for (const act of await journal.openActs()) {
    const isOurs = act.by === 'self' && !escrow.ledger.underWay.has(act.id);
    if (act.by !== 'gone' && !isOurs) continue;
    await tolerate(async () => {
      if (await escrow.ledger.closeInterrupted(act.id)) closed += 1;
    });
  }
  return closed;
}

async function expireRecoveries(escrow: Escrow): Promise<number> {
  const now = escrow.clock.now();
  let expired = 0;
  for (const recovery of await escrow.store.openRecoveries()) {
    if (statusAt(recovery, now) !== 'expired') continue;
    if (await tolerate(() => expire(escrow, recovery.id))) expired += 1;
  }
  return expired;
}

async function expire(escrow: Escrow, id: RecoveryId): Promise<void> {
  await escrow.ledger.perform({
    act: 'recovery.expire',
    actor: DAEMON,
    decide: async (about) => {
      const recovery = await escrow.store.findRecovery(id);
      if (recovery === undefined) throw new EscrowError('recovery-unknown');
      about({ recovery: id, keys: recovery.keys, owner: recovery.owner });
      if (statusAt(recovery, escrow.clock.now()) !== 'expired') throw new EscrowError('recovery-ended');
      return {
        detail: { expiresAt: endOf(recovery).toISOString() },
        claims: [aloneOn(recovery)],
        plan: recovery,
      };
    },
    run: (_lent, recovery) => {
      const state = { status: 'expired', at: endOf(recovery) } as const;
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

/** Uses whose delay has run out. Those without a delay, or with approvals after it, are activated with the last approval. */
async function activateDue(escrow: Escrow): Promise<number> {
  let activated = 0;
  const now = escrow.clock.now();
  for (const recovery of await escrow.store.openRecoveries()) {
    const { asked, state } = recovery;
    if (asked.purpose !== 'operate' || state.status !== 'approved') continue;
    if (statusAt(recovery, now) !== 'approved' || now < state.releasableAt) continue;
    const { delayMs, replies } = brakesOfAll(await getAskedKeys(escrow, recovery));
    if (delayMs === 0 || replies === 'afterDelay') continue;
    if (await activateWhenDue(escrow, recovery.id)) activated += 1;
  }
  return activated;
}

/** Depositaries who have not approved though the delay is over that their intents began: each is told once of each intent. */
async function remindDue(escrow: Escrow): Promise<number> {
  let reminded = 0;
  for (const id of escrow.followed.facts.openRequestIds()) {
    const recovery = parseId('RecoveryId', id);
    if (recovery === undefined || !mayBeReminded(escrow, recovery)) continue;
    await tolerate(async () => {
      if (await remindRecovery(escrow, recovery)) reminded += 1;
    });
  }
  return reminded;
}

async function endGrants(escrow: Escrow): Promise<number> {
  let ended = 0;
  for (const grant of await escrow.store.openGrants()) {
    const status = grantStatusAt(grant, escrow.clock.now());
    // a use in progress finishes first: its object is not taken from under it
    if (status !== 'exhausted' && status !== 'expired') continue;
    if (await escrow.ledger.isInUse(grant.id)) continue;
    if (await tolerate(() => endGrant(escrow, grant, status))) ended += 1;
  }
  return ended;
}

/** Certifies grants that were made before there were certificates, once what the log says of them was checked. */
async function certifyOlder(escrow: Escrow): Promise<number> {
  let certified = 0;
  for (const grant of await escrow.store.openGrants()) {
    const facts = escrow.followed.facts.grant(grant.id);
    if (facts === undefined || facts.certificate !== undefined) continue;
    if (grantStatusAt(grant, escrow.clock.now()) !== 'active') continue;
    if (await tolerate(() => certify(escrow, grant))) certified += 1;
  }
  return certified;
}

async function certify(escrow: Escrow, grant: Grant): Promise<void> {
  await escrow.ledger.perform({
    act: 'grant.certify',
    actor: DAEMON,
    decide: async (about) => {
      about(subjectOf(grant));
      await checkGrant(escrow, grant);
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

async function endGrant(escrow: Escrow, grant: Grant, status: 'exhausted' | 'expired'): Promise<void> {
  await escrow.ledger.perform({
    act: status === 'exhausted' ? 'grant.exhaust' : 'grant.expire',
    actor: DAEMON,
    decide: (about) => {
      about(subjectOf(grant));
      return Promise.resolve({ detail: { used: grant.used }, claims: [], plan: undefined });
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

/**
 * Destroys one-time keys and grants in the token that no record and no open act knows. The token is read first: what
 * it shows then had its attempt recorded before, so an act that is making one now is seen as open.
 */
async function settleToken(
  escrow: Escrow,
  journal: Pick<Journal, 'openActs'>,
): Promise<Pick<Housekeeping, 'strays' | 'missing'>> {
  // read before the token is: what is made meanwhile stands in both, and is not missed
  const expected = await expectedObjects(escrow);
  const { transports, grants } = await escrow.token.standing();
  const standing = new Set([...transports.map(transportLabel), ...grants.map(grantLabel)]);
  const missing = await stillExpected(expected.filter(({ label }) => !standing.has(label)));
  if (standing.size === 0) return { strays: 0, missing };
  const open = await journal.openActs();
  const strayTransports: RecoveryId[] = [];
  for (const id of transports) {
    if (open.some(({ about }) => about.recovery === id)) continue;
    const recovery = await escrow.store.findRecovery(id);
    if (!isOpen(recovery?.state.status)) strayTransports.push(id);
  }
  const making = new Set(open.flatMap(({ entry }) => grantsNamedIn(decodeEntry(entry))));
  const strayGrants: GrantId[] = [];
  for (const id of grants) {
    if (making.has(id) || open.some(({ about }) => about.grant === id)) continue;
    const grant = await escrow.store.findGrant(id);
    if (grant?.status !== 'active') strayGrants.push(id);
  }
  const strays = strayTransports.length + strayGrants.length;
  if (strays > 0) {
    await escrow.ledger.requireOwnToken();
    await tolerate(() => tidy(escrow, strayTransports, strayGrants));
  }
  return { strays, missing };
}

const transportLabel = (id: RecoveryId): string => `transport:${id}`;
const grantLabel = (id: GrantId): string => `grant:${id}`;

interface ExpectedObject {
  readonly label: string;
  /** Whether the records have it still. */
  readonly isExpected: () => Promise<boolean>;
}

/** What stands in the token by the records. */
async function expectedObjects({ store }: Escrow): Promise<readonly ExpectedObject[]> {
  const recoveries = (await store.openRecoveries()).map(({ id }) => ({
    label: transportLabel(id),
    isExpected: async () => isOpen((await store.findRecovery(id))?.state.status),
  }));
  const grants = (await store.openGrants()).map(({ id }) => ({
    label: grantLabel(id),
    isExpected: async () => (await store.findGrant(id))?.status === 'active',
  }));
  return [...recoveries, ...grants];
}

/** Those that did not end while the token was looked through. */
async function stillExpected(absent: readonly ExpectedObject[]): Promise<readonly string[]> {
  const labels: string[] = [];
  for (const { label, isExpected } of absent) if (await isExpected()) labels.push(label);
  return labels;
}

/** Whether a request has its one-time key still. */
export function isOpen(status: Recovery['state']['status'] | undefined): boolean {
  return status === 'pending' || status === 'approved';
}

async function tidy(
  escrow: Escrow,
  transports: readonly RecoveryId[],
  grants: readonly GrantId[],
): Promise<void> {
  const objects = [...transports.map(transportLabel), ...grants.map(grantLabel)];
  await escrow.ledger.perform({
    act: 'token.tidy',
    actor: DAEMON,
    decide: () =>
      Promise.resolve({ detail: { objects: objects.slice(0, 500) }, claims: [], plan: undefined }),
    run: async (lent) => {
      for (const id of transports) await lent.destroyTransport(id);
      for (const id of grants) await lent.destroyGrant(id);
      return {
        detail: { destroyed: objects.length },
        digest: sha256Hex(objects.join('\n')),
        changes: [],
        answer: undefined,
      };
    },
  });
}

/** Lost to another daemon that did the same, or refused: both are settled. A broken token or log is not. */
async function tolerate(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof NotHeld) return false;
    if (error instanceof EscrowError && ['busy', 'recovery-ended', 'release-gone'].includes(error.code))
      return false;
    throw error;
  }
}
