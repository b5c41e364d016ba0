import type { Deposit } from '../../src/escrow/records/deposit.js';
import type { Grant } from '../../src/escrow/records/grant.js';
import type { ActId } from '../../src/escrow/records/ids.js';
import { newId } from '../../src/escrow/records/ids.js';
import { aloneOn, aloneOnEnded, NotHeld } from '../../src/escrow/ports/journal.js';
import type { Change, Claim, Journal, JournalWrite } from '../../src/escrow/ports/journal.js';
import type { Store } from '../../src/escrow/ports/store.ts';
import type { Recovery } from '../../src/escrow/records/recovery.js';
import { anna, aDeposit, aGrant, aRecovery, dora, writeOf } from '../postgres/records.js';
import { decodeEntry, encodeEntry } from '../../src/log/entry/entry.js';
import { chance } from '../support/chance.js';

/** A journal, and what is found of what it has written. */
export interface JournalUnderTest {
  readonly journal: Journal;
  readonly store: Pick<
    Store,
    'policyVersion' | 'findDeposit' | 'findRecovery' | 'findGrant' | 'findCreation' | 'seeOnce'
  >;
}

/** A part of a write: who opens an act, unless its role is said. */
type Part = Partial<Pick<JournalWrite, 'id' | 'role' | 'claims' | 'changes'>> & {
  readonly phase?: 'done' | 'failed';
};

/** What has happened already, and then the write that holds or does not. */
interface Case {
  readonly given?: readonly Part[];
  readonly then: Part;
  readonly holds: boolean;
}

/** What the cases are about; nothing of it is recorded before a case says so. */
interface Subjects {
  readonly deposit: Deposit;
  readonly recovery: Recovery;
  /** For three uses, from the first of March 2026 at midnight for an hour. */
  readonly grant: Grant;
  readonly act: ActId;
  /** Of the policy in force. */
  readonly version: number;
  /** What no other case has named. */
  readonly fresh: string;
}

const { bytes } = chance('cases of the journal');
const HOUR_MS = 3_600_000;
const midnight = new Date('2026-03-01T00:00:00.000Z');
const later = new Date(midnight.getTime() + HOUR_MS);
/** Of requests and keys: what has expired a database forgets by itself, once a minute. */
const keyFrom = new Date('2100-01-01T00:00:00.000Z');
const keyUntil = new Date(keyFrom.getTime() + HOUR_MS);
const rate = { uses: 2, perMs: 60_000 };

const unused = (jti: string, kid = 'kid'): Claim => ({
  claim: 'request-unused',
  kid,
  jti,
  expiresAt: keyUntil,
});
const uses = ({ id: grant }: Grant, count: number, at = midnight): Part => ({
  claims: [{ claim: 'uses-counted', grant, uses: count, at }],
});
const inForce = (version: number): Part => ({ claims: [{ claim: 'policy-in-force', version }] });
const named = (key: string, more: Partial<Extract<Claim, { fingerprint: string }>> = {}): Part => {
  const at = keyFrom;
  const claim = { claim: 'idempotency-key-free', principal: anna, key, fingerprint: 'ab', at } as const;
  return { claims: [{ ...claim, expiresAt: keyUntil, ...more }] };
};
const alone = (recovery: Recovery, revision = 1): Part => ({ claims: [aloneOn({ ...recovery, revision })] });
const ends = (id: ActId, phase: 'done' | 'failed' = 'done'): Part => ({ id, role: 'closes', phase });

const changing = (...changes: readonly Change[]): Part => ({ role: 'alone', changes });
const filed = (recovery: Recovery, revision = 1): Part =>
  changing({ change: 'recovery-saved', recovery: { ...recovery, revision } });
const deposited = (deposit: Deposit): Part => changing({ change: 'deposit-created', deposit });
const replaced = (deposit: Deposit, digest = 'another'): Part =>
  changing({ change: 'deposit-replaced', deposit: { ...deposit, digest }, replaced: deposit.digest });
const granted = (grant: Grant): Part => changing({ change: 'grant-created', grant });
const certified = ({ id: grant }: Grant): Part =>
  changing({ change: 'grant-certified', grant, certificate: 'a.b.c' });
const ended = ({ id: grant }: Grant, status: 'revoked' | 'expired' | 'exhausted' = 'revoked'): Part =>
  changing({ change: 'grant-ended', grant, status });
const applied = (version: number): Part => {
  const what = { hash: 'h', document: '{}', signatures: [], at: midnight };
  return changing({ change: 'policy-applied', version, ...what });
};
const refused = (then: Part, ...given: readonly Part[]): Case => ({ given, then, holds: false });
const held = (then: Part, ...given: readonly Part[]): Case => ({ given, then, holds: true });

/** One row in words for what each claim and change is refused for, and for what it is not. */
type Rows = Readonly<Record<string, (its: Subjects) => Case>>;

const ROWS: Readonly<Record<Exclude<NotHeld['what'], 'clocks-agree'>, Rows>> = {
  'request-unused': {
    'a request is used': ({ fresh }) => held({ claims: [unused(fresh)] }),
    'it is used once': ({ fresh }) => refused({ claims: [unused(fresh)] }, { claims: [unused(fresh)] }),
    'and not twice in one write': ({ fresh }) => refused({ claims: [unused(fresh), unused(fresh)] }),
    'one of that name by another key is another': ({ fresh }) =>
      held({ claims: [unused(fresh, 'other')] }, { claims: [unused(fresh)] }),
    'a refusal uses it as well': ({ fresh }) =>
      refused({ claims: [unused(fresh)] }, { role: 'alone', claims: [unused(fresh)] }),
  },
  'alone-on-recovery': {
    'at the revision that was read': ({ recovery }) => held(alone(recovery), filed(recovery)),
    'not before it is filed': ({ recovery }) => refused(alone(recovery)),
    'not at one that it has left': ({ recovery }) =>
      refused(alone(recovery), filed(recovery), filed(recovery, 2)),
    'not at one that it has not reached': ({ recovery }) => refused(alone(recovery, 2), filed(recovery)),
    'not while another act holds it': ({ recovery }) =>
      refused(alone(recovery), filed(recovery), alone(recovery)),
    'not as one that has ended either': ({ recovery }) =>
      refused({ claims: [aloneOnEnded(recovery)] }, filed(recovery), alone(recovery)),
    'again when that has ended': ({ recovery, act }) =>
      held(alone(recovery), filed(recovery), { ...alone(recovery), id: act }, ends(act)),
  },
  'uses-counted': {
    'as many as there are': ({ grant }) => held(uses(grant, 3), granted(grant)),
    'not one more': ({ grant }) => refused(uses(grant, 4), granted(grant)),
    'those of before count': ({ grant }) => refused(uses(grant, 2), granted(grant), uses(grant, 2)),
    'those that were refused do not': ({ grant }) => held(uses(grant, 1), granted(grant), uses(grant, 2)),
    'those of one write count together': ({ grant }) =>
      refused(
        { claims: [uses(grant, 2), uses(grant, 2)].flatMap(({ claims = [] }) => claims) },
        granted(grant),
      ),
    'not of a grant that nobody made': ({ grant }) => refused(uses(grant, 1)),
    'not before it starts': ({ grant }) =>
      refused(uses(grant, 1, new Date(midnight.getTime() - 1)), granted(grant)),
    'until just before it expires': ({ grant }) =>
      held(uses(grant, 1, new Date(later.getTime() - 1)), granted(grant)),
    'not when it expires': ({ grant }) => refused(uses(grant, 1, later), granted(grant)),
    'not when it has ended': ({ grant }) => refused(uses(grant, 1), granted(grant), ended(grant)),
    'not faster than its rate': ({ grant: { scope, ...grant } }) => {
      const slow = { ...grant, scope: { ...scope, rate } };
      return refused(uses(slow, 1, new Date(midnight.getTime() + 1)), granted(slow), uses(slow, 2));
    },
    'by its rate again': ({ grant: { scope, ...grant } }) => {
      const slow = { ...grant, scope: { ...scope, rate } };
      return held(uses(slow, 1, new Date(midnight.getTime() + 2 * rate.perMs)), granted(slow), uses(slow, 2));
    },
  },
  'policy-in-force': {
    'that is in force': ({ version }) => held(inForce(version)),
    'not the next': ({ version }) => refused(inForce(version + 1)),
    'not one that was': ({ version }) => refused(inForce(version), applied(version + 1)),
    'the one that came': ({ version }) => held(inForce(version + 1), applied(version + 1)),
  },
  'idempotency-key-free': {
    'a key that is new': ({ fresh }) => held(named(fresh)),
    'not while its act is open': ({ fresh }) => refused(named(fresh), named(fresh)),
    'not when its act is done': ({ fresh, act }) =>
      refused(named(fresh), { ...named(fresh), id: act }, ends(act)),
    'when its act has failed': ({ fresh, act }) =>
      held(named(fresh), { ...named(fresh), id: act }, ends(act, 'failed')),
    'for one act then': ({ fresh, act }) =>
      refused(named(fresh), { ...named(fresh), id: act }, ends(act, 'failed'), named(fresh)),
    'not just before it expires': ({ fresh }) =>
      refused(named(fresh, { at: new Date(keyUntil.getTime() - 1) }), named(fresh)),
    'when it has expired': ({ fresh }) => held(named(fresh, { at: keyUntil }), named(fresh)),
    'of somebody else': ({ fresh }) => held(named(fresh, { principal: dora }), named(fresh)),
  },
  'act-open': {
    'an act that is open ends': ({ act }) => held(ends(act), { id: act }),
    'not one that nobody began': ({ act }) => refused(ends(act)),
    'not twice': ({ act }) => refused(ends(act, 'failed'), { id: act }, ends(act)),
  },
  'policy-applied': {
    'the next': ({ version }) => held(applied(version + 1)),
    'not the one in force': ({ version }) => refused(applied(version)),
    'not one ahead of the next': ({ version }) => refused(applied(version + 2)),
  },
  'deposit-created': {
    'a key that is new': ({ deposit }) => held(deposited(deposit)),
    'not one that is there': ({ deposit }) => refused(deposited(deposit), deposited(deposit)),
    'not twice in one write': ({ deposit }) => {
      const change = { change: 'deposit-created', deposit } as const;
      return refused(changing(change, change));
    },
  },
  'deposit-replaced': {
    'the one that is there': ({ deposit }) => held(replaced(deposit), deposited(deposit)),
    'not one that is not': ({ deposit }) => refused(replaced(deposit)),
    'not one that was replaced before': ({ deposit }) =>
      refused(replaced(deposit, 'a third'), deposited(deposit), replaced(deposit)),
    'the one that has replaced it': ({ deposit }) =>
      held(replaced({ ...deposit, digest: 'another' }, 'a third'), deposited(deposit), replaced(deposit)),
  },
  'recovery-saved': {
    'a new one at revision 1': ({ recovery }) => held(filed(recovery)),
    'not a new one at another': ({ recovery }) => refused(filed(recovery, 2)),
    'at the revision behind': ({ recovery }) => held(filed(recovery, 2), filed(recovery)),
    'not at the same': ({ recovery }) => refused(filed(recovery), filed(recovery)),
    'not past one': ({ recovery }) => refused(filed(recovery, 3), filed(recovery)),
  },
  'grant-created': {
    'one that is new': ({ grant }) => held(granted(grant)),
    'not one that is there': ({ grant }) => refused(granted(grant), granted(grant)),
    'nor one that has ended': ({ grant }) => refused(granted(grant), granted(grant), ended(grant)),
  },
  'grant-certified': {
    'one without': ({ grant }) => held(certified(grant), granted(grant)),
    'not twice': ({ grant }) => refused(certified(grant), granted(grant), certified(grant)),
    'not one that was made with it': ({ grant }) =>
      refused(certified(grant), granted({ ...grant, certificate: 'd.e.f' })),
    'not one that has ended': ({ grant }) => refused(certified(grant), granted(grant), ended(grant)),
    'not one that nobody made': ({ grant }) => refused(certified(grant)),
  },
  'grant-ended': {
    'one that runs': ({ grant }) => held(ended(grant, 'expired'), granted(grant)),
    'not twice': ({ grant }) => refused(ended(grant, 'exhausted'), granted(grant), ended(grant)),
    'not one that nobody made': ({ grant }) => refused(ended(grant)),
  },
};

/**
 * What every journal promises of claims and changes (ports/journal.ts): each row above by itself, and that nothing of a write
 * stands of which a part does not hold.
 *
 * @param beside what the write of each case claims besides, and what always holds: it decides which way a journal judges by
 */
export function journalCases(
  open: () => Promise<JournalUnderTest>,
  beside: (fresh: string) => readonly Claim[] = () => [],
): void {
  let under: JournalUnderTest;
  let version = 0;
  beforeAll(async () => {
    under = await open();
    version = await under.store.policyVersion();
  });

  const append = async (part: Part): Promise<void> => {
    await under.journal.append(written(part));
    for (const change of part.changes ?? []) if (change.change === 'policy-applied') version = change.version;
  };
  const size = async (): Promise<number> => {
    const { index } = await under.journal.append(writeOf('alone'));
    return index + 1;
  };

  describe.each(Object.entries(ROWS))('%s', (what, rows) => {
    test.each(Object.entries(rows))('%s', async (_words, row) => {
      const its = { ...subjects(), version };
      const { given = [], then, holds } = row(its);
      for (const part of given) await append(part);
      const before = { size: await size(), open: (await under.journal.openActs()).length };
      const request = newId('ActId', bytes);
      const claims = [unused(request), ...beside(its.fresh), ...(then.claims ?? [])];
      const appending = append({ ...then, claims });
      if (holds) await appending;
      else await expect(appending).rejects.toEqual(new NotHeld(what as NotHeld['what']));
      expect(await size()).toBe(before.size + (holds ? 2 : 1));
      const opens = holds && (then.role ?? 'opens') === 'opens';
      const closes = holds && then.role === 'closes';
      expect((await under.journal.openActs()).length - before.open).toBe(opens ? 1 : closes ? -1 : 0);
      expect(await under.store.seeOnce({ kid: 'kid', jti: request, expiresAt: keyUntil })).toBe(!holds);
    });
  });

  test('a write of which the last part does not hold leaves nothing, whatever held before it', async () => {
    const { deposit, recovery, grant, act, fresh } = subjects();
    for (const part of [filed(recovery), granted(grant), { ...alone(recovery), id: act }]) await append(part);
    const claims = [uses(grant, 3), named(fresh)].flatMap((part) => part.claims ?? []);
    const changes = [
      deposited(deposit),
      filed(recovery, 2),
      certified(grant),
      applied(version + 1),
      ended(grant),
      ended(grant),
    ].flatMap((part) => part.changes ?? []);
    const all = { ...ends(act), claims, changes };
    await expect(append(all)).rejects.toEqual(new NotHeld('grant-ended'));
    const { store, journal } = under;
    expect(await store.findDeposit(deposit.key)).toBeUndefined();
    expect(await store.findRecovery(recovery.id)).toEqual(recovery);
    expect(await store.findGrant(grant.id)).toEqual(grant);
    expect(await store.findCreation({ principal: anna, key: fresh }, keyFrom)).toBeUndefined();
    expect((await journal.openActs()).map(({ id }) => id)).toContain(act);
    await append({ ...all, changes: changes.slice(0, -1) });
    expect(await store.findDeposit(deposit.key)).toEqual(deposit);
    expect(await store.findRecovery(recovery.id)).toEqual({ ...recovery, revision: 2 });
    const made = { used: 3, status: 'revoked', certificate: 'a.b.c' };
    expect(await store.findGrant(grant.id)).toEqual({ ...grant, ...made });
  });

  test.each(['claim', 'change'] as const)(
    'a %s of a kind that it does not know never holds',
    async (part) => {
      const unknown = [{ [part]: 'of-tomorrow' }] as unknown as readonly Claim[] & readonly Change[];
      const before = await size();
      await expect(append({ [`${part}s`]: unknown })).rejects.toThrow('of-tomorrow');
      expect(await size()).toBe(before + 1);
    },
  );
}

function subjects(): Omit<Subjects, 'version'> {
  const fresh = newId('ActId', bytes);
  return { deposit: aDeposit(), recovery: aRecovery(), grant: aGrant(), act: newId('ActId', bytes), fresh };
}

function written({ role = 'opens', phase = 'done', ...parts }: Part): JournalWrite {
  const id = parts.id ?? newId('ActId', bytes);
  const { entry } = writeOf(role, { id });
  if (phase === 'done') return writeOf(role, { ...parts, id });
  const failed = encodeEntry({ ...decodeEntry(entry), phase, error: 'internal' });
  return writeOf(role, { ...parts, id, entry: failed });
}
