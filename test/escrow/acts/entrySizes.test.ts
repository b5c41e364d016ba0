import type { Escrow } from '../../../src/escrow/escrow.js';
import { generateKey } from '../../../src/escrow/acts/generateKey.js';
import { planReseal } from '../../../src/escrow/acts/deposits/planReseal.js';
import type { Deposit } from '../../../src/escrow/records/deposit.js';
import { askedAsJson, descriptionsAsJson } from '../../../src/escrow/records/digests.js';
import type { EscrowError } from '../../../src/escrow/records/errors.js';
import { MAX_DRILLED } from '../../../src/escrow/records/drills/drilling.js';
import { resealPlanAsJson } from '../../../src/escrow/records/sealing/resealing.js';
import type { JobId, KeyId, PrincipalId } from '../../../src/escrow/records/ids.js';
import { Ledger } from '../../../src/escrow/ledger/ledger.js';
import { MECHANISM_NAMES } from '../../../src/escrow/records/mechanisms.js';
import type { Policy, QuorumExpression, Rule } from '../../../src/escrow/records/policy.js';
import { MAX_POLICY_SIGNATURES } from '../../../src/escrow/rules/policySignatures.js';
import type { Token } from '../../../src/escrow/ports/token.js';
import type { Principal } from '../../../src/escrow/records/principals.js';
import { MAX_DEPOSITARIES, MAX_QUORUM_MEMBERS, MAX_QUORUMS } from '../../../src/escrow/rules/quorums.js';
import { keySet, MAX_RECOVERY_KEYS } from '../../../src/escrow/records/recovery.js';
import { compactJws } from '../../../src/api/fields.js';
import {
  approval,
  drillOrder,
  keyOrder,
  policyOrder,
  reason,
  recoveryOrder,
  signOrder,
  stop,
} from '../../../src/api/orders.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import { encodeEntry, maximumEntryBytes } from '../../../src/log/entry/entry.js';
import { callBy } from '../../support/calls.js';
import { policyApplied } from '../loggedEntries.js';
import { MemoryJournal } from '../memoryJournal.js';
import { freshBytes } from '../../support/fresh.js';

/** The longest id of a principal. */
const longId = (prefix: string, number = 0): PrincipalId =>
  `${prefix}${String(number).padStart(4, '0')}`.padEnd(64, 'x') as PrincipalId;
/** Key-encryption keys of the longest labels: every key can be rotated. */
const KEKS = ['operate:decrypt', 'release:private'].flatMap((kind) =>
  [100_000_000, 999_999_999].map((version) => `kek:${kind}:v${version}`),
);
const olderKek = (purpose: string): string => KEKS.find((label) => label.startsWith(`kek:${purpose}`)) ?? '';
/** The longest, each character with as many bytes as it can have. */
const context = '\u{1f600}'.repeat(100);
/** The longest request that the server reads. */
const longJws = `a.b.${'c'.repeat(8192 - 4)}`;
const keys = [{ jwk: {}, alg: 'ES256', thumbprint: 'k'.repeat(43) }];
const policyVersion = Number.MAX_SAFE_INTEGER - 1;
const fingerprint = 'ab'.repeat(32);
const hex32 = 'cd'.repeat(32);
const bytes = new Uint8Array(32);
const now = new Date('2026-03-01T12:00:00.000Z');

/** As many quorums as there may be, of as many members, of this many people. */
function expression(people: number): QuorumExpression {
  const quorum = (from: number): QuorumExpression => ({
    allOf: Array.from({ length: MAX_QUORUM_MEMBERS }, (_, k) => ({
      person: longId('p', (from + k) % people),
    })),
  });
  return {
    anyOf: Array.from({ length: MAX_QUORUMS }, (_, n) => quorum(Math.floor((n * people) / MAX_QUORUMS))),
  };
}

function principal(id: PrincipalId, roles: readonly string[]): [PrincipalId, Principal] {
  const found = { id, kind: 'person', name: '', roles, attributes: {}, keys, depositaryKey: fingerprint };
  return [id, { ...found, retired: false } as unknown as Principal];
}

function escrowOf(people: number): {
  readonly escrow: Escrow;
  readonly policy: Policy;
  readonly journal: MemoryJournal;
  readonly lent: string[];
} {
  const depositaries = Array.from({ length: people }, (_, n) => longId('p', n));
  const rule = {
    name: 'r'.repeat(80),
    when: { owner: {}, use: undefined, spec: undefined },
    depositaries: expression(people),
    requesters: ['depositary', 'admin', 'app'],
    deliver: false,
    requests: {},
    operate: { operations: ['sign'], maxUses: 1, maxDurationMs: 1, delayMs: 0, ownerMayVeto: false },
    release: { delayMs: 0, ownerMayVeto: false },
  } as unknown as Rule;
  const policy = {
    version: policyVersion,
    hash: hex32,
    principals: new Map([
      principal(longId('owner'), ['owner']),
      ...depositaries.map((id) => principal(id, ['depositary'])),
    ]),
    rules: [rule],
  } as unknown as Policy;
  const lent: string[] = [];
  const verbs = new Proxy(
    {},
    {
      get: (_target, verb) => (): unknown => {
        lent.push(String(verb));
        if (verb === 'generateUserKey') return Promise.resolve({ key: bytes, publicKey: bytes });
        if (verb === 'wrapUnderKek')
          return Promise.resolve({ sealed: Buffer.from(bytes), kek: 'k'.repeat(64) });
        if (PROVING.has(String(verb))) return Promise.resolve({ opened: Buffer.from(bytes) });
        if (verb === 'wrapToServerFor') return Promise.resolve({ sealed: bytes, version: 999_999_999 });
        return Promise.resolve(bytes);
      },
    },
  );
  const token = {
    abilities: { keySpecs: ['ec-p256'], oaep: 'RSA-OAEP-256' },
    keks: () => Promise.resolve(KEKS.map((label) => ({ label, hasRotatingHandle: true }))),
    enrolled: () => Promise.resolve(depositaries.map((id) => ({ id, publicKey: bytes, fingerprint }))),
    requireInService: () => undefined,
    lend: (_verbs: unknown, use: (lent: unknown) => Promise<unknown>) => use(verbs),
  } as unknown as Token;
  const journal = new MemoryJournal();
  journal.policyVersion = policy.version;
  policyApplied(policy).forEach((entry) => {
    journal.follow(entry);
  });
  const clock = { now: () => now, pause: () => Promise.resolve() };
  const parts = {
    journal,
    followed: journal.followed,
    token,
    clock,
    random: freshBytes,
    memory: { anchored: () => Promise.resolve(), requireOwnToken: () => Promise.resolve() },
    policy: () => Promise.resolve(policy),
    notice: () => undefined,
    contentionTimeoutMs: 0,
  };
  const directory = { current: () => Promise.resolve(policy) };
  const escrow = { ledger: new Ledger(parts), directory, token, clock, random: freshBytes, tokenId: hex32 };
  return { escrow: escrow as unknown as Escrow, policy, journal, lent };
}

function order({ escrow, policy }: { readonly escrow: Escrow; readonly policy: Policy }): Promise<unknown> {
  const [, caller] = principal(longId('owner'), ['owner']);
  return generateKey(escrow, callBy(caller, policy, longJws), {
    owner: longId('owner'),
    spec: 'ec-p256',
    use: 'sign',
    label: '',
    deliver: false,
  });
}

/** Verbs that open again what was made. */
const PROVING = new Set(['proveWrapped', 'proveSealed', 'unwrapLayer', 'openUnder']);

const lengthOf = (entry: Entry): number => encodeEntry(entry).length;

describe('a key of the largest rule that is permitted', () => {
  it('has entries that fit into the log, by its longest request', async () => {
    const world = escrowOf(MAX_DEPOSITARIES);
    const { journal } = world;
    await order(world);
    const [attempt, outcome] = journal.entries;
    expect(attempt?.detail['quorums']).toHaveLength(MAX_QUORUMS);
    expect(JSON.stringify(outcome?.detail).match(/"recipient"/g)).toHaveLength(2 * MAX_DEPOSITARIES);
    expect(journal.entries.map(({ phase }) => phase)).toEqual(['attempted', 'done']);
    // they are near the limit: were they not, this test would not show it
    expect(journal.entries.map(lengthOf).every((length) => length > maximumEntryBytes / 2)).toBe(true);
  });

  it('is refused with one depositary more, before anything is made', async () => {
    const world = escrowOf(MAX_DEPOSITARIES + 1);
    const { journal, lent } = world;
    await expect(order(world)).rejects.toMatchObject({ code: 'quorum-too-large' });
    expect(lent).toEqual([]);
    expect(journal.entries.map(({ phase, error }) => [phase, error])).toEqual([
      ['denied', 'quorum-too-large'],
    ]);
  });
});

const depositOf = (n: number): Deposit =>
  ({
    ...{ key: `key_${String(n).padStart(32, '0')}`, owner: longId('owner'), label: '\u20ac'.repeat(200) },
    ...{ spec: 'rsa-3072', use: 'decrypt', binding: { version: 1 } },
    purposes: ['operate', 'release'].map((purpose) => ({ purpose, kek: olderKek(purpose) })),
  }) as unknown as Deposit;
const planOf = (people: number, count: number): ReturnType<typeof planReseal> => {
  const { escrow, policy } = escrowOf(people);
  const deposits = Array.from({ length: count }, (_, n) => depositOf(n));
  const job = `job_${hex32.slice(32)}` as JobId;
  return planReseal(escrow, { policy }, deposits, { purpose: 'reseal', job, leaving: undefined }, []);
};

describe('a request to seal keys anew, of the largest labels and by the largest rules', () => {
  /** The entry of its filing, with the longest reason. */
  const filing = (asked: Awaited<ReturnType<typeof planReseal>>): Entry => ({
    v: 1,
    time: now.toISOString(),
    act: 'recovery.request',
    id: `act_${'0'.repeat(32)}`,
    phase: 'attempted',
    actor: longId('a'),
    subject: {
      keys: Object.keys(asked.plan.from),
      owner: longId('owner'),
      recovery: `rec_${'0'.repeat(32)}`,
    },
    // of an RSA-4096 key that signs
    request: longJws.slice(0, 1536),
    detail: {
      ...{ version: 4, ...askedAsJson(asked), plan: resealPlanAsJson(asked.plan) },
      descriptions: descriptionsAsJson(Object.keys(asked.plan.from).map((_, n) => depositOf(n))),
      ...{ reason: '\u20ac'.repeat(1000), expiresAt: now.toISOString(), approvalsHoldMs: 1e15 },
      requestHash: hex32,
    },
  });

  it.each([
    [100, 2],
    [12, 8],
  ])(
    'is planned for as many as the entry has room for, and refused for more: %d people',
    async (people, few) => {
      const most = await planOf(people, MAX_RECOVERY_KEYS).then(
        () => MAX_RECOVERY_KEYS,
        (error: unknown) => {
          expect(error).toMatchObject({ code: 'request-malformed' });
          return Number(/room for (\d+) of/.exec((error as EscrowError).detail)?.[1]);
        },
      );
      expect([most >= few, most < MAX_RECOVERY_KEYS]).toEqual([true, true]);
      for (const count of [1, most]) {
        expect(lengthOf(filing(await planOf(people, count)))).toBeLessThanOrEqual(maximumEntryBytes);
      }
    },
  );
});

test('a key is not sealed anew by a rule that fits into no entry beside the longest reason', async () => {
  await expect(planOf(MAX_DEPOSITARIES, 1)).rejects.toMatchObject({ code: 'quorum-too-large' });
});

describe('every other entry that a caller can make long fits as well', () => {
  /** So many ids, as those of keys or grants are. */
  const ids = (prefix: string, count: number): readonly string[] =>
    Array.from({ length: count }, (_, n) => `${prefix}_${String(n).padStart(32, '0')}`);
  const manyKeys = ids('key', MAX_RECOVERY_KEYS);
  const forEachKey = (value: (at: number) => Json): Json =>
    Object.fromEntries(manyKeys.map((key, at) => [key, value(at)]));
  const owner = longId('o');
  const recovery = `rec_${'0'.repeat(32)}`;
  const ofGrant = { key: `key_${'0'.repeat(32)}`, owner, recovery, grant: `grant_${'0'.repeat(32)}` };
  const ofRecovery = { keys: manyKeys, owner, recovery };
  const entry = (act: string, detail: Entry['detail']): Entry => ({
    v: 1,
    time: now.toISOString(),
    act,
    id: `act_${'0'.repeat(32)}`,
    phase: 'attempted',
    actor: longId('a'),
    subject: act.startsWith('recovery.') ? ofRecovery : ofGrant,
    request: longJws,
    detail,
  });
  /** Three bytes a character in UTF-8: the most that one UTF-16 code unit takes. */
  const longReason = '\u20ac'.repeat(1000);
  const accepts = (
    schema: { safeParse: (value: unknown) => { success: boolean } },
    value: unknown,
  ): boolean => schema.safeParse(value).success;
  const duration = 'P1D';
  const scope = {
    app: longId('a'),
    operations: ['sign'],
    mechanisms: ['ES256'],
    input: 'message',
    maxUses: 1_000_000_000,
    duration,
  };
  const asked = { keys: manyKeys, purpose: 'operate', validFor: duration, scope };
  const longLabel = '\u20ac'.repeat(200);
  const descriptions = forEachKey(() => ({ label: longLabel, spec: 'rsa-3072', use: 'decrypt' }));
  const filing = {
    ...{ version: 4, descriptions, purpose: 'operate', reason: longReason },
    scope: { ...scope, mechanisms: MECHANISM_NAMES, rate: { uses: 1_000_000_000, perMs: 1e15 } },
    ...{ expiresAt: now.toISOString(), approvalsHoldMs: 1e15, requestHash: hex32 },
  };
  const message = '';
  const longStatement = longJws;
  const isSet = (keys: readonly string[]): boolean => {
    try {
      return keySet(keys as readonly KeyId[]).length > 0;
    } catch {
      return false;
    }
  };
  const policySignature = longJws.slice(0, 2048);
  const longStop = longJws.slice(0, 5632);
  const filled = <T>(count: number, value: T): T[] => Array<T>(count).fill(value);

  test.each<[string, Entry['detail'], longest: () => boolean, longer: () => boolean]>([
    [
      'recovery.request',
      filing,
      () => accepts(recoveryOrder, { ...asked, reason: longReason }),
      () => accepts(recoveryOrder, { ...asked, reason: `${longReason}.` }),
    ],
    [
      'recovery.request',
      filing,
      () => accepts(recoveryOrder, { ...asked, reason: longReason }),
      () => accepts(recoveryOrder, { ...asked, keys: ids('key', MAX_RECOVERY_KEYS + 1), reason: longReason }),
    ],
    [
      'recovery.request',
      filing,
      () => accepts(keyOrder, { owner, spec: 'ec-p256', use: 'sign', label: longLabel }),
      () => accepts(keyOrder, { owner, spec: 'ec-p256', use: 'sign', label: `${longLabel}.` }),
    ],
    [
      'recovery.approve',
      { requestHash: hex32, statement: longStatement },
      () => accepts(compactJws, longStatement),
      () => accepts(compactJws, `${longStatement}c`),
    ],
    [
      'recovery.veto',
      { reason: longReason },
      () => accepts(reason, { reason: longReason }),
      () => accepts(reason, { reason: `${longReason}.` }),
    ],
    [
      'policy.apply',
      {
        version: Number.MAX_SAFE_INTEGER,
        policyHash: hex32,
        replaces: hex32,
        signers: filled(MAX_POLICY_SIGNATURES, longId('a')),
        signatures: filled(MAX_POLICY_SIGNATURES, policySignature),
      },
      () =>
        accepts(policyOrder, { document: {}, signatures: filled(MAX_POLICY_SIGNATURES, policySignature) }),
      () =>
        accepts(policyOrder, {
          document: {},
          signatures: filled(MAX_POLICY_SIGNATURES + 1, policySignature),
        }),
    ],
    [
      'recovery.stop',
      {
        requestHash: hex32,
        reason: longReason,
        signers: filled(MAX_POLICY_SIGNATURES, longId('a')),
        statements: filled(MAX_POLICY_SIGNATURES, longStop),
      },
      () => accepts(stop, { statements: filled(MAX_POLICY_SIGNATURES, longStop) }),
      () => accepts(stop, { statements: [`${longStop}c`] }),
    ],
    [
      'grant.sign',
      { mechanism: 'RSASSA-PSS-SHA-512', input: 'message', inputs: filled(256, hex32), context },
      () => accepts(signOrder, { mechanism: 'ES256', messages: filled(256, message), context }),
      () => accepts(signOrder, { mechanism: 'ES256', messages: filled(257, message) }),
    ],
    [
      'recovery.activate',
      {
        requestHash: hex32,
        quorums: forEachKey(() => filled(MAX_QUORUM_MEMBERS, longId('p'))),
        grants: forEachKey((at) => ids('grant', MAX_RECOVERY_KEYS)[at] ?? ''),
        approval: Number.MAX_SAFE_INTEGER,
      },
      () => keySet(manyKeys as readonly KeyId[]).length === MAX_RECOVERY_KEYS,
      () => isSet(ids('key', MAX_RECOVERY_KEYS + 1)),
    ],
    [
      'recovery.release',
      { recipient: longId('r'), released: forEachKey(() => hex32) },
      () => true,
      () => false,
    ],
  ])('%s, at the bound that the server holds callers to', (act, detail, longest, longer) => {
    expect([longest(), longer()]).toEqual([true, false]);
    expect(lengthOf(entry(act, detail))).toBeLessThanOrEqual(maximumEntryBytes);
  });

  it('a drill of as many shares as there may be is one that the server reads, by the largest key, and fits', () => {
    const preimage = 'p'.repeat(43);
    const drills = ids('key', MAX_DRILLED).map((key) => ({
      ...{ key, purpose: 'operate', generation: 0xffff_ffff, share: hex32, link: hex32 },
      ...{ result: 'share-unopened', preimage },
    }));
    const times = { iat: Number.MAX_SAFE_INTEGER, exp: Number.MAX_SAFE_INTEGER };
    const checkpoint = { size: Number.MAX_SAFE_INTEGER, root: 'r'.repeat(44) };
    const payload = { iss: longId('a'), aud: 'o'.repeat(128), ...times, drills, checkpoint };
    const header = { typ: 'escrowd-drill+jwt', alg: 'PS256', kid: 'k'.repeat(43) };
    const encoded = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
    const signature = Buffer.alloc(512).toString('base64url'); // RSA-4096
    const statement = [...encoded, signature].join('.');
    expect(accepts(drillOrder, { statement, drills })).toBe(true);
    expect(accepts(drillOrder, { statement, drills: [...drills, ...drills.slice(0, 1)] })).toBe(false);
    const short = drills.map(({ key, purpose, generation }) => ({ key, purpose, generation, preimage }));
    const subject = { keys: ids('key', MAX_DRILLED), owner };
    const attempt = { ...entry('key.drill', { statement: longStatement, drills: short }), subject };
    expect(lengthOf(attempt)).toBeLessThanOrEqual(maximumEntryBytes);
  });

  it('a statement to end a request is one that the server reads, with the longest reason and by the largest key', () => {
    const about = { recovery, requestHash: hex32, reason: '\u3042'.repeat(1000) };
    const times = { iat: Number.MAX_SAFE_INTEGER, exp: Number.MAX_SAFE_INTEGER };
    const payload = { iss: longId('a'), aud: 'o'.repeat(128), ...times, ...about };
    const header = { typ: 'escrowd-stop+jwt', alg: 'PS256', kid: 'k'.repeat(43) };
    const encoded = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
    const signature = Buffer.alloc(512).toString('base64url'); // RSA-4096
    expect(accepts(stop, { statements: [[...encoded, signature].join('.')] })).toBe(true);
  });

  it('a statement about the largest request is one that the server reads, by the largest key that signs', () => {
    const payload = {
      iss: longId('d'),
      aud: 'o'.repeat(128),
      iat: Number.MAX_SAFE_INTEGER,
      exp: Number.MAX_SAFE_INTEGER,
      decision: 'approve',
      recovery,
      requestHash: hex32,
      keys: manyKeys,
      purpose: 'operate',
      scope: {
        ...{
          app: longId('a'),
          operations: ['sign', 'decrypt'],
          mechanisms: MECHANISM_NAMES,
          input: 'message',
        },
        ...{ maxUses: 1_000_000_000, rate: { uses: 1_000_000_000, perMs: 1e15 }, durationMs: 1e15 },
        ...{ notBefore: now.toISOString(), notAfter: now.toISOString() },
      },
      transport: hex32,
      replies: hex32,
      checkpoint: { size: Number.MAX_SAFE_INTEGER, root: 'r'.repeat(44) },
    };
    const header = { typ: 'escrowd-approval+jwt', alg: 'RS256', kid: 'k'.repeat(43) };
    const encoded = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
    const signature = Buffer.alloc(512).toString('base64url'); // RSA-4096
    const statement = [...encoded, signature].join('.');
    expect(accepts(compactJws, statement)).toBe(true);
    const reply = Buffer.alloc(384).toString('base64url');
    const replies = manyKeys.map((key) => ({ key, reply }));
    expect(accepts(approval, { statement, replies })).toBe(true);
    // a request to seal keys anew has a reply for each purpose of each key
    const ofBoth = replies.flatMap((one) => [one, one]);
    expect(accepts(approval, { statement, replies: ofBoth })).toBe(true);
    expect(accepts(approval, { statement, replies: [...ofBoth, replies[0]] })).toBe(false);
  });
});
