import type { Deposit } from '../../../src/escrow/records/deposit.js';
import { depositDigest, requestHash } from '../../../src/escrow/records/digests.js';
import type { KeyId, PrincipalId } from '../../../src/escrow/records/ids.js';
import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.ts';
import type { DescribedKey, Recovery } from '../../../src/escrow/records/recovery.js';
import type { Scope } from '../../../src/escrow/records/scope.ts';
import type { SymbolicWorld } from '../../escrow/symbolicWorld.js';
import { approve, ask, believing, callOf, due, MINUTE_MS, newScene, outcomeOf } from './scene.js';

/** Somebody with the database changes the record of a request, or of its key, between approval and act. */
interface Attack {
  readonly purpose: 'operate' | 'release';
  /** Who then asks for what was approved. */
  readonly who?: string;
  readonly request?: (recovery: Recovery, other: Recovery) => Recovery;
  readonly deposit?: (deposit: Deposit) => Deposit;
  readonly answer: string;
  /** How it ends where records are believed; undefined where the record contradicts itself, whatever is signed. */
  readonly believed?: 'done' | 'recovery-failed' | 'delay-running';
}

const inScope =
  (change: Partial<Scope>) =>
  (recovery: Recovery): Recovery => {
    const { asked } = recovery;
    if (asked.purpose !== 'operate') throw new Error('not to operate');
    return { ...recovery, asked: { ...asked, scope: { ...asked.scope, ...change } } };
  };
function described({ keys }: Recovery): readonly DescribedKey[] {
  return keys.map((key) => ({ key, label: 'mail', spec: 'rsa-2048', use: 'sign' }));
}

/** The hash made to fit as well. */
const rehashed =
  (change: (recovery: Recovery) => Recovery) =>
  (recovery: Recovery): Recovery => {
    const changed = change(recovery);
    return {
      ...changed,
      requestHash: requestHash({ ...changed, recovery: changed.id, keys: described(changed) }),
    };
  };
const redigested =
  (change: Partial<Deposit>) =>
  (deposit: Deposit): Deposit => {
    const changed = { ...deposit, ...change };
    return { ...changed, digest: depositDigest(changed) };
  };
const toDora = (recovery: Recovery): Recovery => ({
  ...recovery,
  asked: { purpose: 'release', recipient: 'dora' as PrincipalId },
});
/** dora, who was not asked, stands among those who have approved. */
const withDora = (recovery: Recovery): Recovery => ({
  ...recovery,
  approvals: recovery.approvals.flatMap((one) => {
    const forged = { ...one, depositary: 'dora' as PrincipalId };
    const statement = one.statement.replaceAll('"dave"', '"dora"');
    return one.depositary === 'dave' ? [one, { ...forged, statement }] : [one];
  }),
});
const byDora = (recovery: Recovery): Recovery => ({
  ...recovery,
  approvals: recovery.approvals.map((one) =>
    one.depositary === 'dave' ? { ...one, depositary: 'dora' as PrincipalId } : one,
  ),
});
const soon = new Date('2026-03-01T12:20:00.000Z');
const hoursLater = new Date('2026-03-02T12:00:00.000Z');

const attacks: Readonly<Record<string, Attack>> = {
  'a release is redirected': {
    purpose: 'release',
    who: 'dora',
    request: (recovery) => withDora(toDora(recovery)),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'a release is redirected, its hash made to fit': {
    purpose: 'release',
    who: 'dora',
    request: rehashed((recovery) => withDora(toDora(recovery))),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the app': {
    purpose: 'operate',
    request: rehashed(inScope({ app: 'printer' as PrincipalId })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the uses': {
    purpose: 'operate',
    request: rehashed(inScope({ maxUses: 3 })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the operations': {
    purpose: 'operate',
    request: rehashed(inScope({ operations: ['sign', 'decrypt'] })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the mechanisms': {
    purpose: 'operate',
    request: rehashed(inScope({ mechanisms: ['RS256', 'PS256'] })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the input': {
    purpose: 'operate',
    request: rehashed(inScope({ input: 'digest' })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the rate': {
    purpose: 'operate',
    request: rehashed(inScope({ rate: { uses: 9, perMs: 1 } })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the duration': {
    purpose: 'operate',
    request: rehashed(inScope({ durationMs: 600 * MINUTE_MS })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the start': {
    purpose: 'operate',
    request: rehashed(inScope({ notBefore: soon })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the end': {
    purpose: 'operate',
    request: rehashed(inScope({ notAfter: hoursLater })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the reason': {
    purpose: 'release',
    request: rehashed((recovery) => ({ ...recovery, reason: 'nothing' })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the requester': {
    purpose: 'release',
    request: rehashed((recovery) => ({ ...recovery, requester: 'ann' as PrincipalId })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the form of the hash': {
    purpose: 'release',
    request: rehashed((recovery) => ({ ...recovery, version: 3 })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the expiry': {
    purpose: 'release',
    request: rehashed((recovery) => ({ ...recovery, expiresAt: hoursLater })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'how long approvals hold': {
    purpose: 'release',
    request: rehashed((recovery) => ({ ...recovery, approvalsHoldMs: 1e9 })),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the owner': {
    purpose: 'release',
    request: (recovery) => ({ ...recovery, owner: 'ann' as PrincipalId }),
    answer: 'record-mismatch',
  },
  'the time of filing': {
    purpose: 'release',
    request: (recovery) => ({ ...recovery, filedAt: hoursLater }),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the transport key': {
    purpose: 'release',
    request: (recovery) => ({ ...recovery, transportKey: Buffer.from('another') }),
    answer: 'record-mismatch',
    believed: 'done',
  },
  'the attestation': {
    purpose: 'release',
    request: (recovery, other) => ({ ...recovery, attestation: other.attestation }),
    answer: 'record-mismatch',
  },
  'who has approved': {
    purpose: 'release',
    request: byDora,
    answer: 'quorum-incomplete',
    believed: 'recovery-failed',
  },
  'until when an approval counts': {
    purpose: 'release',
    request: (recovery) => ({
      ...recovery,
      approvals: recovery.approvals.map((one) => ({ ...one, expiresAt: soon })),
    }),
    answer: 'quorum-incomplete',
    believed: 'done',
  },
  'what an approver has said': {
    purpose: 'release',
    request: (recovery, other) => ({
      ...recovery,
      approvals: recovery.approvals.map((one, at) => ({
        ...one,
        statement: other.approvals[at]?.statement ?? one.statement,
      })),
    }),
    answer: 'quorum-incomplete',
  },
  'what an approver has answered': {
    purpose: 'release',
    request: (recovery, other) => ({
      ...recovery,
      approvals: recovery.approvals.map((one, at) => ({
        ...one,
        replies: other.approvals[at]?.replies ?? one.replies,
      })),
    }),
    answer: 'quorum-incomplete',
    believed: 'recovery-failed',
  },
  'a quorum of the key': {
    purpose: 'release',
    deposit: (deposit) => ({
      ...deposit,
      purposes: deposit.purposes.map((one) => ({
        ...one,
        quorums: one.quorums.map(({ sealed }) => ({ sealed, members: ['dana' as PrincipalId] })),
      })),
    }),
    answer: 'record-mismatch',
  },
  'the delay of the key': {
    purpose: 'release',
    deposit: (deposit) => ({ ...deposit, release: { delayMs: 0, ownerMayVeto: true } }),
    answer: 'record-mismatch',
  },
  'the owner of the key': {
    purpose: 'release',
    deposit: redigested({ owner: 'ann' as PrincipalId }),
    answer: 'record-mismatch',
  },
  'the public half of the key': {
    purpose: 'release',
    deposit: redigested({ publicKey: Buffer.from('another') }),
    answer: 'record-mismatch',
    believed: 'recovery-failed',
  },
};

async function tampered(
  attack: Attack,
): Promise<{ world: SymbolicWorld; key: KeyId; act: (world: SymbolicWorld['escrow']) => Promise<string> }> {
  const { world, key } = await newScene();
  const other = await ask(world, key, attack.purpose);
  await approve(world, 'dana', other);
  await approve(world, 'dora', other);
  const { id } = await due(world, key, attack.purpose);
  const recovery = world.recoveries.get(id);
  const deposit = world.deposits.get(key);
  const spare = world.recoveries.get(other.id);
  if (recovery === undefined || deposit === undefined || spare === undefined) throw new Error('not made');
  if (attack.request !== undefined) world.recoveries.set(id, attack.request(recovery, spare));
  if (attack.deposit !== undefined) world.deposits.set(key, attack.deposit(deposit));
  const call = callOf(attack.who ?? 'dana');
  return {
    world,
    key,
    act: (escrow) =>
      outcomeOf(
        attack.purpose === 'release'
          ? releaseKeys(escrow, call, { recovery: id })
          : activateRecovery(escrow, call, { recovery: id }),
      ),
  };
}

describe('what was approved is what is carried out, whatever somebody with the database changes:', () => {
  test.each(Object.entries(attacks))('%s', async (_what, attack) => {
    const { world, act } = await tampered(attack);
    const entries = world.entries.length;
    expect(await act(world.escrow)).toBe(attack.answer);
    expect([...world.raised]).toEqual([]);
    // refused before an attempt: nothing of the token was used
    expect(world.entries.slice(entries).map(({ phase, error }) => [phase, error])).toEqual([
      ['denied', attack.answer],
    ]);
  });

  test.each(Object.entries(attacks).filter(([, { believed }]) => believed !== undefined))(
    'the control: %s, where records are believed',
    async (_what, attack) => {
      const { world, act } = await tampered({
        ...attack,
        request: (recovery, other) => rehashed((one) => attack.request?.(one, other) ?? one)(recovery),
      });
      expect(await act(believing(world))).toBe(attack.believed);
    },
  );
});
