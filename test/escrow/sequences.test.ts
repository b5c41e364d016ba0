import fc from 'fast-check';

import { applyPolicy } from '../../src/escrow/acts/applyPolicy.js';
import type { Call } from '../../src/escrow/escrow.js';
import { approveRecovery } from '../../src/escrow/acts/approveRecovery.js';
import { denyRecovery } from '../../src/escrow/acts/denyRecovery.ts';
import { cancelRecovery, vetoRecovery } from '../../src/escrow/acts/endRecovery.ts';
import { askedAsJson, repliesDigest, sha256Hex } from '../../src/escrow/records/digests.js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import { generateKey } from '../../src/escrow/acts/generateKey.js';
import { keepHouse } from '../../src/escrow/acts/housekeeping.js';
import type { GrantId, KeyId, PrincipalId } from '../../src/escrow/records/ids.js';
import { signWithGrant } from '../../src/escrow/acts/useGrant.js';
import { revokeGrant } from '../../src/escrow/acts/revokeGrant.ts';
import type { Policy } from '../../src/escrow/records/policy.js';
import { usualRequestTerms } from '../../src/escrow/records/policy.js';
import type { Principal } from '../../src/escrow/records/principals.js';
import { activateRecovery } from '../../src/escrow/acts/activateRecovery.js';
import { releaseKeys } from '../../src/escrow/acts/releaseKeys.ts';
import type { Recovery, Reply } from '../../src/escrow/records/recovery.js';
import { requestRecovery } from '../../src/escrow/acts/requestRecovery.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import { replay } from '../support/replay.js';
import { callBy } from '../support/calls.js';
import type { SymbolicWorld } from './symbolicWorld.js';
import { ORIGIN, reencrypted, strayLongAgo, symbolicWorld } from './symbolicWorld.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.drawn);

const MINUTE_MS = 60_000;
const NOTHING = new Uint8Array(384);
const ROLES: Readonly<Record<string, readonly string[]>> = {
  ann: ['admin'],
  bob: ['admin'],
  dana: ['depositary', 'officer'],
  dave: ['depositary', 'officer'],
  dora: ['depositary'],
  olga: ['owner', 'depositary', 'officer'],
  oscar: ['owner'],
  mailer: ['app'],
  printer: ['app'],
};

const NAMES = Object.keys(ROLES);
const APPS = ['mailer', 'printer'];
const DEPOSITARIES = ['dana', 'dave', 'dora', 'olga'];

function person(id: string): Principal {
  const depositaryKey = DEPOSITARIES.includes(id) ? sha256Hex(id) : undefined;
  return {
    id: id as PrincipalId,
    kind: APPS.includes(id) ? 'app' : 'person',
    name: id,
    roles: ROLES[id] ?? [],
    attributes: { manager: 'dora' },
    keys: [{ jwk: {}, alg: 'ES256', thumbprint: id }],
    certificates: [],
    deliveryKey: undefined,
    depositaryKey,
    retired: false,
    returns: undefined,
  };
}

const POLICY = {
  version: 1,
  hash: '00'.repeat(32),
  administration: { quorum: 2, floor: 2, minimumQuorum: 1 },
  principals: new Map(NAMES.map((id) => [id as PrincipalId, person(id)])),
  rules: [
    {
      name: 'all',
      when: { owner: {}, use: undefined, spec: 'rsa-2048' },
      depositaries: { atLeast: 2, of: [{ attribute: 'manager' }, { role: 'officer' }] },
      requesters: ['depositary', 'admin'],
      deliver: false,
      requests: { ...usualRequestTerms(0), approvalsHoldMs: 90 * MINUTE_MS, denialsToEnd: 2 },
      operate: {
        operations: ['sign'],
        maxUses: 3,
        maxDurationMs: 60 * MINUTE_MS,
        rate: { uses: 2, perMs: MINUTE_MS },
        mechanisms: undefined,
        input: 'digest',
        delayMs: 0,
        ownerMayVeto: true,
      },
      release: { delayMs: 30 * MINUTE_MS, ownerMayVeto: true },
    },
    {
      name: 'officers',
      when: { owner: {}, use: undefined, spec: 'rsa-3072' },
      depositaries: { atLeast: 2, of: [{ role: 'officer' }] },
      requesters: ['depositary', 'admin'],
      deliver: false,
      requests: { ...usualRequestTerms(0), approvalsHoldMs: 120 * MINUTE_MS },
      operate: {
        operations: ['sign'],
        maxUses: 5,
        maxDurationMs: 90 * MINUTE_MS,
        rate: undefined,
        mechanisms: undefined,
        input: 'digest',
        delayMs: 0,
        ownerMayVeto: false,
      },
      release: { delayMs: 0, ownerMayVeto: false },
    },
  ],
} as unknown as Policy;

/** One call of somebody; who and what it is about are taken from what there is, so that most calls are about something. */
interface Step {
  readonly act: (typeof ACTS)[number];
  readonly who: string;
  readonly at: number;
  readonly amount: number;
  readonly signedBy: readonly string[];
}

const ACTS = [
  'request-operate',
  'request-release',
  'approve',
  'approve',
  'approve',
  'approve-another',
  'approve-swapped',
  'approve-part',
  'deny',
  'veto',
  'cancel',
  'activate',
  'release',
  'sign',
  'sign',
  'revoke',
  'wait',
  'keep-house',
  'apply-policy',
] as const;

const step: fc.Arbitrary<Step> = fc.record({
  act: fc.constantFrom(...ACTS),
  who: fc.oneof(fc.constantFrom(...DEPOSITARIES), fc.constantFrom(...NAMES)),
  at: fc.nat({ max: 8 }),
  amount: fc.integer({ min: 1, max: 60 }),
  signedBy: fc.array(fc.constantFrom('ann', 'bob', 'dana'), { maxLength: 3 }),
});
/** What leads to a key, when nothing of it is left out and nothing comes between. */
const plot = (
  purpose: 'operate' | 'release',
  approvers: readonly [string, string],
  keys: number,
): readonly Step[] =>
  (
    [
      [`request-${purpose}`, 'dana', keys === 0 ? 59 : 60],
      ['approve', approvers[0], 60],
      ['approve', approvers[1], 60],
      ['wait', 'dana', 30],
      ['release', 'dana', 1],
      ['sign', 'mailer', 1],
      ['sign', 'mailer', 1],
      ['revoke', 'olga', 1],
      ['sign', 'mailer', 1],
    ] as const
  ).map(([act, who, amount], place) => ({ act, who, amount, at: place === 0 ? keys : 0, signedBy: [] }));
const plots = fc
  .record({
    purpose: fc.constantFrom('operate' as const, 'release' as const),
    approvers: fc.constantFrom(
      ['dana', 'dave'] as const,
      ['dora', 'dana'] as const,
      ['dana', 'olga'] as const,
    ),
    keys: fc.constantFrom(0, 0, 6),
  })
  .chain(({ purpose, approvers, keys }) => {
    const whole = plot(purpose, approvers, keys);
    return fc.oneof(fc.constant(whole), fc.subarray([...whole]));
  });
/** What ends a request otherwise. */
const ENDS: readonly (readonly (readonly [Step['act'], string, number])[])[] = [
  [
    ['deny', 'dave', 60],
    ['deny', 'dora', 60],
  ],
  [['veto', 'olga', 1]],
  [['veto', 'oscar', 1]],
  [['cancel', 'dana', 1]],
  [
    ['wait', 'dana', 60],
    ['keep-house', 'dana', 1],
  ],
];
const ending = (
  request: 'request-operate' | 'request-release',
  rest: (typeof ENDS)[number],
  keys: number,
): readonly Step[] =>
  ([[request, 'dana', 59], ...rest] as const).map(([act, who, amount], place) => ({
    act,
    who,
    amount,
    at: place === 0 ? keys : 0,
    signedBy: [],
  }));
const endings = fc
  .tuple(
    fc.constantFrom('request-operate' as const, 'request-release' as const),
    fc.constantFrom(...ENDS),
    fc.constantFrom(0, 0, 6),
  )
  .map((parts) => ending(...parts));
/** What must have happened is made to happen: each plot and each ending, for all keys of one owner and for the key of the other. */
const examples = ([0, 6] as const).flatMap((keys) =>
  (['operate', 'release'] as const).flatMap((purpose) => [
    plot(purpose, ['dana', 'dave'], keys),
    ...ENDS.map((rest) => ending(`request-${purpose}`, rest, keys)),
  ]),
);
/** Plots with steps left out, and between them anything by anybody. */
const steps: fc.Arbitrary<readonly Step[]> = fc
  .array(fc.oneof(fc.array(step, { maxLength: 6 }), plots, endings), { minLength: 2, maxLength: 10 })
  .map((parts) => parts.flat());

function callOf({ policy }: SymbolicWorld, id: string): Call {
  return callBy(person(id), policy);
}

/** What the test itself saw succeed: the ground truth that the world is held to. */
class Witness {
  readonly approvals: { readonly recovery: string; readonly by: string; readonly untilMs: number }[] = [];
  readonly revoked = new Set<string>();
  readonly uses = new Map<string, number>();
  done = { grants: 0, releases: 0, refused: 0, signed: 0 };

  hasQuorum(world: SymbolicWorld, recovery: Recovery): boolean {
    const { now } = world;
    const agreed = new Set(
      this.approvals
        .filter(
          (one) => one.recovery === recovery.id && now.getTime() < one.untilMs && one.by !== recovery.owner,
        )
        .map(({ by }) => by),
    );
    // the rules, again and by hand: two of dora (the manager) and the officers, or two officers, who are dana, dave and, for
    // keys that are not her own, olga
    return recovery.keys.every((key) => {
      const deposit = world.deposits.get(key);
      const officers = ['dana', 'dave', ...(deposit?.owner === 'olga' ? [] : ['olga'])];
      const people = deposit?.spec === 'rsa-3072' ? officers : ['dora', ...officers];
      return people.filter((id) => agreed.has(id)).length >= 2;
    });
  }
}

async function take(world: SymbolicWorld, witness: Witness, step: Step): Promise<void> {
  const { escrow } = world;
  const call = callOf(world, step.who);
  const recoveries = [...world.recoveries.values()];
  const recovery = recoveries.at(-1 - (step.at % Math.max(1, recoveries.length)));
  const grants = [...world.grants.values()];
  const grant = grants.at(-1 - (step.at % Math.max(1, grants.length)));
  const reason = 'because';
  switch (step.act) {
    case 'request-operate':
    case 'request-release': {
      const scope = {
        app: (step.amount % 4 === 0 ? 'printer' : 'mailer') as PrincipalId,
        operations: ['sign'],
        mechanisms: ['RS256'],
        input: 'message',
        maxUses: (step.amount % 3) + 1,
        rate: undefined,
        durationMs: step.amount * MINUTE_MS,
        notBefore: undefined,
        notAfter: undefined,
      } as const;
      const asked =
        step.act === 'request-operate'
          ? ({ purpose: 'operate', scope } as const)
          : ({ purpose: 'release', recipient: undefined } as const);
      await requestRecovery(escrow, call, {
        keys: keysFor(world, step.at),
        reason,
        validForMs: 60 * MINUTE_MS,
        asked,
      });
      return;
    }
    case 'approve':
    case 'approve-another': {
      if (recovery === undefined) return;
      // a statement and a share of another request, handed in for this one
      const other = step.act === 'approve' ? recovery : (recoveries[step.at] ?? recovery);
      await approve(world, witness, call, recovery, other, step.amount);
      return;
    }
    case 'approve-swapped':
    case 'approve-part': {
      if (recovery === undefined || recovery.keys.length < 2) return;
      await approveTampered(world, call, recovery, step.act, step.amount);
      return;
    }
    case 'deny':
      if (recovery === undefined) return;
      await denyRecovery(escrow, call, {
        recovery: recovery.id,
        statement: statement(world, step.who, recovery, { decision: 'deny', reason }, step.amount),
      });
      return;
    case 'veto':
    case 'cancel':
      if (recovery === undefined) return;
      await (step.act === 'veto' ? vetoRecovery : cancelRecovery)(escrow, call, {
        recovery: recovery.id,
        reason,
      });
      return;
    case 'activate':
      if (recovery !== undefined) await activateRecovery(escrow, call, { recovery: recovery.id });
      return;
    case 'release':
      if (recovery !== undefined) await releaseKeys(escrow, call, { recovery: recovery.id });
      return;
    case 'sign':
      if (grant !== undefined)
        await sign(world, witness, step.at % 2 === 0 ? callOf(world, grant.scope.app) : call, grant.id);
      return;
    case 'revoke':
      if (grant === undefined) return;
      await revokeGrant(escrow, call, { grant: grant.id, reason });
      witness.revoked.add(grant.id);
      return;
    case 'wait':
      world.now = new Date(world.now.getTime() + step.amount * MINUTE_MS);
      return;
    case 'keep-house':
      await keepHouse(escrow, world.journal, strayLongAgo(world));
      return;
    case 'apply-policy':
      await changePolicy(world, call, step.signedBy);
      return;
  }
}

async function approve(
  world: SymbolicWorld,
  witness: Witness,
  call: Call,
  recovery: Recovery,
  other: Recovery,
  minutes: number,
): Promise<void> {
  const by = call.caller.id;
  const replies = repliesOf(world, other, by);
  const said = statement(world, by, other, { decision: 'approve', replies: repliesDigest(replies) }, minutes);
  await approveRecovery(world.escrow, call, { recovery: recovery.id, statement: said, replies });
  expect(other.id).toBe(recovery.id);
  witness.approvals.push({ recovery: recovery.id, by, untilMs: world.now.getTime() + minutes * MINUTE_MS });
}

/** Replies that say to be of other keys than they are, or a statement and replies about some of the keys only: never taken. */
async function approveTampered(
  world: SymbolicWorld,
  call: Call,
  recovery: Recovery,
  how: 'approve-swapped' | 'approve-part',
  minutes: number,
): Promise<void> {
  const by = call.caller.id;
  const all = repliesOf(world, recovery, by);
  const isPart = how === 'approve-part';
  const replies = isPart
    ? all.slice(1)
    : all.map(({ key }, at) => ({
        key,
        reply: all[(at + 1) % all.length]?.reply ?? sealed('transport', NOTHING),
      }));
  const keys = isPart && minutes % 2 === 0 ? recovery.keys.slice(1) : recovery.keys;
  const decision = { decision: 'approve', replies: repliesDigest(replies), keys };
  const said = statement(world, by, recovery, decision, minutes);
  // who has a share of one key only has nothing to swap
  if (!isPart && all.length === 1) return;
  await approveRecovery(world.escrow, call, { recovery: recovery.id, statement: said, replies });
  throw new Error('a tampered approval was taken');
}

/** A depositary's share of each key of a request, for the transport key. */
function repliesOf(world: SymbolicWorld, { id, keys, asked }: Recovery, by: string): readonly Reply[] {
  return keys.flatMap((key) => {
    const purpose = world.deposits.get(key)?.purposes.find((one) => one.purpose === asked.purpose);
    const share = purpose?.shares.find(({ depositary }) => depositary === by)?.share;
    return share === undefined ? [] : [{ key, reply: sealed('transport', reencrypted(share, by, id)) }];
  });
}

/** Some of the keys that there are, or all of them, in some order. */
function keysFor(world: SymbolicWorld, at: number): readonly KeyId[] {
  const [first, second, third, ofOscar] = [...world.deposits.values()].map(({ key }) => key);
  if (first === undefined || second === undefined || third === undefined || ofOscar === undefined)
    throw new Error('no keys');
  const choices = [
    [third, first, second],
    [first],
    [second],
    [second, first],
    [first, third],
    [third, second],
    [ofOscar],
    // of two owners: never taken
    [first, ofOscar],
    [ofOscar],
  ];
  return choices[at] ?? [];
}

async function sign(world: SymbolicWorld, witness: Witness, call: Call, id: GrantId): Promise<void> {
  const inputs = { kind: 'message', items: [Buffer.from('letter')] } as const;
  await signWithGrant(world.escrow, call, { grant: id, mechanism: 'RS256', inputs });
  const grant = world.grants.get(id);
  if (grant === undefined) throw new Error('signed without a grant');
  const uses = (witness.uses.get(id) ?? 0) + 1;
  witness.uses.set(id, uses);
  witness.done.signed += 1;
  expect(call.caller.id).toBe(grant.scope.app);
  seen.apps.add(grant.scope.app);
  expect(witness.revoked.has(id)).toBe(false);
  expect(uses).toBeLessThanOrEqual(grant.scope.maxUses);
  expect(world.now.getTime()).toBeLessThan(grant.expiresAt.getTime());
}

async function changePolicy(world: SymbolicWorld, call: Call, signedBy: readonly string[]): Promise<void> {
  const { version, hash: replaces } = world.policy;
  const document = { version: 1, change: version };
  const parse = (text: string, next: number): Policy => ({
    ...world.policy,
    version: next,
    hash: sha256Hex(text),
  });
  const hash = parse(JSON.stringify({ change: version, version: 1 }), version + 1).hash;
  const exp = world.now.getTime() / 1000 + 600;
  const signatures = signedBy.map((iss) =>
    JSON.stringify({
      typ: 'escrowd-policy+jwt',
      by: iss,
      payload: { iss, aud: ORIGIN, hash, base: version, replaces, exp },
    }),
  );
  const { answer } = await applyPolicy(world.escrow, call, parse, {
    ...{ document, signatures, acceptUnrecoverable: 0 },
  });
  expect(['ann', 'bob'].every((id) => signedBy.includes(id))).toBe(true);
  expect(call.caller.roles).toContain('admin');
  world.policy = answer;
}

function statement(
  world: SymbolicWorld,
  by: string,
  recovery: Recovery,
  decision: Readonly<Record<string, unknown>>,
  minutes: number,
): string {
  const iat = world.now.getTime() / 1000;
  const payload = {
    iss: by,
    aud: ORIGIN,
    iat,
    exp: iat + minutes * 60,
    recovery: recovery.id,
    requestHash: recovery.requestHash,
    keys: recovery.keys,
    ...decision,
    ...askedAsJson(recovery.asked),
    transport: sha256Hex(recovery.transportKey),
    checkpoint: { size: 1, root: 'root' },
  };
  return JSON.stringify({ typ: 'escrowd-approval+jwt', by, payload });
}

const seen = {
  grants: 0,
  releases: 0,
  refused: 0,
  signed: 0,
  ended: new Set<string>(),
  /** How requests for several keys ended. */
  several: new Set<string>(),
  /** How requests for the keys of each owner ended. */
  owners: new Set<string>(),
  /** The apps that have signed. */
  apps: new Set<string>(),
};

test('no sequence of calls brings a key back without a full quorum of each in time, some keys of a request without the others, lets what has ended act, or leaves the log and the records apart', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const world = symbolicWorld(POLICY, DEPOSITARIES);
      const witness = new Witness();
      for (const [owner, spec] of [
        ['olga', 'rsa-2048'],
        ['olga', 'rsa-3072'],
        ['olga', 'rsa-2048'],
        ['oscar', 'rsa-2048'],
      ] as const) {
        const common = { use: 'sign', label: '', deliver: false } as const;
        await generateKey(world.escrow, callOf(world, 'ann'), {
          ...common,
          owner: owner as PrincipalId,
          spec,
        });
      }
      for (const step of sequence) {
        const before = new Map(world.recoveries);
        const { version } = world.policy;
        try {
          await take(world, witness, step);
        } catch (error) {
          if (!(error instanceof EscrowError)) throw error;
          expect(error.code).not.toBe('internal');
          seen.refused += 1;
          expect(world.policy.version).toBe(version);
        }
        for (const [id, recovery] of world.recoveries) {
          const { status } = recovery.state;
          if (before.get(id)?.state.status === status) continue;
          seen.ended.add(status);
          if (status !== 'active' && status !== 'released') continue;
          expect(witness.hasQuorum(world, recovery)).toBe(true);
          seen[status === 'active' ? 'grants' : 'releases'] += 1;
        }
      }
      for (const { id, keys, owner, state } of world.recoveries.values()) {
        // all of its keys, or none
        const made = [...world.grants.values()]
          .filter(({ recovery }) => recovery === id)
          .map(({ key }) => key);
        expect(made.sort()).toEqual(state.status === 'active' ? keys : []);
        if (state.status === 'released') expect(state.answers?.map(({ key }) => key)).toEqual(keys);
        if (keys.length > 1) seen.several.add(state.status);
        const owners = new Set(keys.map((key) => world.deposits.get(key)?.owner));
        expect([...owners]).toEqual([owner]);
        seen.owners.add(`${owner} ${state.status}`);
      }
      const live = [...world.grants.values()].filter(({ id }) => world.raised.has(id));
      expect(live).toHaveLength(world.raised.size);
      seen.signed += witness.done.signed;
      const { policies, deposits, recoveries, grants } = replay(world.entries);
      expect(deposits).toEqual(
        Object.fromEntries([...world.deposits].map(([key, { digest }]) => [key, digest])),
      );
      expect(recoveries).toEqual(
        Object.fromEntries([...world.recoveries].map(([id, { state }]) => [id, state.status])),
      );
      expect(grants).toEqual(
        Object.fromEntries([...world.grants].map(([id, { status, used }]) => [id, [status, used]])),
      );
      expect([world.policy.version, world.policy.hash]).toEqual(
        policies.at(-1) ?? [POLICY.version, POLICY.hash],
      );
      expect(world.policy.version).toBe(POLICY.version + policies.length);
    }),
    { numRuns: 300, examples: examples.map((sequence) => [sequence]) },
  );
  // sequences that never get anywhere would show nothing
  expect(Math.min(seen.grants, seen.releases, seen.refused, seen.signed)).toBeGreaterThan(0);
  expect([...seen.ended]).toEqual(
    expect.arrayContaining(['active', 'released', 'denied', 'vetoed', 'cancelled', 'expired']),
  );
  expect([...seen.owners]).toEqual(
    expect.arrayContaining([
      'olga active',
      'olga released',
      'oscar active',
      'oscar released',
      'oscar vetoed',
    ]),
  );
  expect([...seen.apps].sort()).toEqual([...APPS].sort());
  expect([...seen.several]).toEqual(expect.arrayContaining(['active', 'released', 'denied', 'vetoed']));
});
