import type { GrantId, KeyId } from '../../../src/escrow/records/ids.js';
import { denyRecovery } from '../../../src/escrow/acts/denyRecovery.ts';
import { cancelRecovery, vetoRecovery } from '../../../src/escrow/acts/endRecovery.ts';
import { depositDigest } from '../../../src/escrow/records/digests.js';
import type { Grant } from '../../../src/escrow/records/grant.js';
import { signWithGrant } from '../../../src/escrow/acts/useGrant.js';
import { revokeGrant } from '../../../src/escrow/acts/revokeGrant.ts';
import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.ts';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import { stopRecovery } from '../../../src/escrow/acts/stopRecovery.js';
import type { Journal } from '../../../src/escrow/ports/journal.js';
import { decodeEntry, encodeEntry } from '../../../src/log/entry/entry.js';
import type { SymbolicWorld } from '../../escrow/symbolicWorld.js';
import type { LogFacts } from '../../../src/escrow/logged/logFacts.js';
import {
  approve,
  ask,
  callOf,
  due,
  newScene,
  outcomeOf,
  pass,
  policyWith,
  recordsAsFacts,
  statementOf,
  stopOf,
} from './scene.js';

/** Somebody with the database takes back what has happened: the rows, by which claims are judged, are as before. */
interface Attack {
  /** What happens, and how it is hidden; returns the act that must not succeed. */
  readonly make: (world: SymbolicWorld, key: KeyId) => Promise<() => Promise<unknown>>;
  readonly answer: string;
}

const because = 'because';
const call = { dana: () => callOf('dana'), mailer: () => callOf('mailer'), olga: () => callOf('olga') };

function rowOf(world: SymbolicWorld, id: string): Recovery {
  const row = world.recoveries.get(id);
  if (row === undefined) throw new Error('no such row');
  return row;
}

/** Puts a row back as it was. */
function restore(world: SymbolicWorld, row: Recovery): void {
  world.recoveries.set(row.id, row);
}

/** A request that is due, then what ends it, then the row as it was before. */
function ended(end: (world: SymbolicWorld, row: Recovery) => Promise<unknown>): Attack['make'] {
  return async (world, key) => {
    const { id } = await due(world, key, 'release');
    const row = rowOf(world, id);
    await end(world, row);
    restore(world, row);
    return () => releaseKeys(world.escrow, call.dana(), { recovery: id });
  };
}

/**
 * Performs an act that another daemon closes as cut short, by a database that says that this one is gone, right before its outcome
 * is recorded; how it ended for its caller.
 */
function closedBefore(world: SymbolicWorld, perform: () => Promise<unknown>): Promise<string> {
  const journal = world.journal as Journal;
  const append = journal.append.bind(journal);
  journal.append = async (write) => {
    if (write.role !== 'closes') return append(write);
    journal.append = append;
    const { digest, ...outcome } = decodeEntry(write.entry);
    expect(digest).toBeDefined();
    const entry = encodeEntry({ ...outcome, phase: 'failed', error: 'interrupted', detail: {} });
    await append({ ...write, role: 'alone', entry, changes: [] });
    return append(write);
  };
  return outcomeOf(perform());
}

/** A grant in use, then what is changed in its row. */
function used(
  change: (world: SymbolicWorld, grant: Grant) => Promise<Partial<Grant>> | Partial<Grant>,
): Attack['make'] {
  return async (world, key) => {
    const { id } = await due(world, key, 'operate');
    const [grant] = (await activateRecovery(world.escrow, call.dana(), { recovery: id })).answer;
    if (grant === undefined) throw new Error('not activated');
    const changed = { ...grant, ...(await change(world, grant)) };
    world.grants.set(grant.id, changed);
    (world.raised as Set<string>).add(grant.id);
    return () => sign(world, grant.id, changed.scope.app);
  };
}

function sign(world: SymbolicWorld, grant: GrantId, by = 'mailer'): Promise<unknown> {
  const inputs = { kind: 'message', items: [Buffer.from('letter')] } as const;
  return signWithGrant(world.escrow, callOf(by), { grant, mechanism: 'RS256', inputs });
}

const attacks: Readonly<Record<string, Attack>> = {
  'a veto': {
    make: ended((world, { id }) =>
      vetoRecovery(world.escrow, call.olga(), { recovery: id, reason: because }),
    ),
    answer: 'record-mismatch',
  },
  'a veto that another daemon had closed as cut short': {
    make: ended(async (world, { id }) => {
      const veto = (): Promise<unknown> =>
        vetoRecovery(world.escrow, call.olga(), { recovery: id, reason: because });
      expect(await closedBefore(world, veto)).toBe('done');
    }),
    answer: 'record-mismatch',
  },
  'a release that another daemon had closed as cut short': {
    make: ended(async (world, { id }) => {
      const release = (): Promise<unknown> => releaseKeys(world.escrow, call.dana(), { recovery: id });
      expect(await closedBefore(world, release)).toBe('interrupted');
    }),
    answer: 'record-mismatch',
  },
  'a cancellation': {
    make: ended((world, { id }) =>
      cancelRecovery(world.escrow, call.dana(), { recovery: id, reason: because }),
    ),
    answer: 'record-mismatch',
  },
  'that administrators have ended it': {
    make: ended((world, recovery) => {
      const statements = ['ann', 'bob'].map((by) => stopOf(world, by, recovery));
      return stopRecovery(world.escrow, callOf('ann'), { recovery: recovery.id, statements });
    }),
    answer: 'record-mismatch',
  },
  'a release that was made': {
    make: ended((world, { id }) => releaseKeys(world.escrow, call.dana(), { recovery: id })),
    answer: 'record-mismatch',
  },
  'a denial': {
    make: async (world, key) => {
      const recovery = await ask(world, key, 'release');
      await approve(world, 'dana', recovery);
      const row = rowOf(world, recovery.id);
      const statement = statementOf(world, 'dora', recovery, { decision: 'deny', reason: 'no' });
      await denyRecovery(world.escrow, callOf('dora'), { recovery: recovery.id, statement });
      restore(world, row);
      return () => approve(world, 'dave', recovery);
    },
    answer: 'record-mismatch',
  },
  'that the delay has just begun': {
    make: async (world, key) => {
      const recovery = await ask(world, key, 'release');
      await approve(world, 'dana', recovery);
      const row = await approve(world, 'dave', recovery);
      if (row.state.status !== 'approved') throw new Error('not approved');
      restore(world, { ...row, state: { ...row.state, releasableAt: world.now } });
      return () => releaseKeys(world.escrow, call.dana(), { recovery: recovery.id });
    },
    answer: 'delay-running',
  },
  'that nobody else has approved': {
    make: async (world, key) => {
      const other = await due(world, key, 'release');
      const recovery = await ask(world, key, 'release');
      const row = await approve(world, 'dana', recovery);
      const [, daves] = other.approvals;
      if (other.state.status !== 'approved' || daves === undefined) throw new Error('not approved');
      restore(world, { ...row, approvals: [...row.approvals, daves], state: other.state });
      return () => releaseKeys(world.escrow, call.dana(), { recovery: recovery.id });
    },
    answer: 'quorum-incomplete',
  },
  'a newer policy': {
    make: async (world, key) => {
      const { id } = await due(world, key, 'release');
      const before = world.policy;
      world.policy = policyWith({ removed: ['dave'] });
      // the daemon is shown the policy before, and so is who judges claims; the log is what it is
      world.showPolicy(before);
      return () => releaseKeys(world.escrow, call.dana(), { recovery: id });
    },
    answer: 'record-mismatch',
  },
  'the quorums that a key was made with': {
    make: async (world, key) => {
      const { id } = await due(world, key, 'release');
      const deposit = world.deposits.get(key);
      if (deposit === undefined) throw new Error('not deposited');
      const weak = { ...deposit, release: { delayMs: 0, ownerMayVeto: false } };
      world.deposits.set(key, { ...weak, digest: depositDigest(weak) });
      return () => releaseKeys(world.escrow, call.dana(), { recovery: id });
    },
    answer: 'record-mismatch',
  },
  'a revocation': {
    make: used(async (world, grant) => {
      await revokeGrant(world.escrow, call.olga(), { grant: grant.id, reason: because });
      return {};
    }),
    answer: 'record-mismatch',
  },
  'uses that were made': {
    make: used(async (world, grant) => {
      await sign(world, grant.id);
      await sign(world, grant.id);
      return { used: 0 };
    }),
    answer: 'grant-exhausted',
  },
  'how many uses there are': {
    make: used((_world, { scope }) => ({ scope: { ...scope, maxUses: 99 } })),
    answer: 'record-mismatch',
  },
  'for whom a grant is': {
    make: used((_world, { scope }) => ({ scope: { ...scope, app: 'printer' as typeof scope.app } })),
    answer: 'record-mismatch',
  },
  'that a grant has a certificate': {
    make: used(() => ({ certificate: '' })),
    answer: 'record-mismatch',
  },
  'whose certificate it is': {
    make: used(async (world, { key }) => {
      const { id } = await due(world, key, 'operate');
      const [other] = (await activateRecovery(world.escrow, call.dana(), { recovery: id })).answer;
      return other?.certificate === undefined ? {} : { certificate: other.certificate };
    }),
    answer: 'record-mismatch',
  },
  'the certificate that a grant has': {
    make: used((_world, grant) => ({ certificate: `${grant.certificate ?? ''}x` })),
    answer: 'record-mismatch',
  },
  'what of a scope only the certificate has': {
    make: used((_world, { scope }) => ({ scope: { ...scope, durationMs: 2 * scope.durationMs } })),
    answer: 'record-mismatch',
  },
  'when a grant ends': {
    make: used((world, { expiresAt }) => {
      pass(world, 31);
      return { expiresAt: new Date(expiresAt.getTime() + 3_600_000) };
    }),
    answer: 'record-mismatch',
  },
};

/** Who does not ask the log: it says what the rows say. */
function believingRows(world: SymbolicWorld): LogFacts {
  const facts = recordsAsFacts(world);
  return {
    ...facts,
    grant: (id) => {
      const row = world.grants.get(id);
      if (row === undefined) return undefined;
      const { recovery, key, owner, scope, startsAt, expiresAt, used: uses } = row;
      const certificate = undefined;
      const times = { startsAtMs: startsAt.getTime(), expiresAtMs: expiresAt.getTime() };
      return {
        recovery,
        key,
        owner,
        scope,
        spec: undefined,
        label: undefined,
        maxUses: scope.maxUses,
        used: uses,
        certificate,
        ...times,
      };
    },
  };
}

describe('what is in the log is not undone by the database that hides', () => {
  test.each(Object.entries(attacks))('%s', async (_what, { make, answer }) => {
    const { world, key } = await newScene();
    const act = await make(world, key);
    expect(await outcomeOf(act())).toBe(answer);
    // whatever was attempted has ended without the token
    expect(world.entries.filter(({ phase, error }) => phase === 'failed' && error !== 'interrupted')).toEqual(
      [],
    );
    expect(world.entries.at(-1)).toMatchObject({ phase: 'denied', error: answer });
  });

  test.each(Object.entries(attacks))(
    'the control: %s, where rows are believed',
    async (what, { make, answer }) => {
      const { world, key } = await newScene();
      const act = await make(world, key);
      world.facts = believingRows(world);
      const outcome = await outcomeOf(act());
      // an approval of another request opens nothing of this one: its statement and the token speak against it as well
      if (what === 'that nobody else has approved') expect(outcome).toBe('quorum-incomplete');
      else {
        expect(outcome).not.toBe(answer);
        // what the transport key was destroyed for is refused by the token alone
        expect(['done', 'recovery-failed']).toContain(outcome);
      }
    },
  );
});
