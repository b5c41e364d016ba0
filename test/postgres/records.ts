import type { Deposit } from '../../src/escrow/records/deposit.js';
import type { Grant } from '../../src/escrow/records/grant.js';
import { newId, parsePrincipalId, type ActId, type PrincipalId } from '../../src/escrow/records/ids.js';
import { usualRequestTerms } from '../../src/escrow/records/policy.js';
import type { Recovery, RecoveryState } from '../../src/escrow/records/recovery.js';
import { sealed, type Opener, type Sealed } from '../../src/escrow/records/sealing/sealed.js';
import type { JournalWrite } from '../../src/escrow/ports/journal.js';
import { encodeEntry, type Phase } from '../../src/log/entry/entry.js';
import { freshBytes } from '../support/fresh.js';

export function person(name: string): PrincipalId {
  const id = parsePrincipalId(name);
  if (id === undefined) throw new Error(`${name} is no principal`);
  return id;
}

export const anna = person('anna');
export const dora = person('dora');
export const dieter = person('dieter');
export const mailApp = person('mail-app');

const ciphertext = <By extends Opener>(by: By, length = 40): Sealed<By> =>
  sealed(by, new Uint8Array(freshBytes(length)));

export function aDeposit(more: Partial<Deposit> = {}): Deposit {
  const purpose = (name: 'operate' | 'release'): Deposit['purposes'][number] => ({
    purpose: name,
    kek: `kek:${name}:v1`,
    mechanisms: { wrap: 'RFC5649', oaep: 'RSA-OAEP', seal: 'A256GCM' },
    shares: [dora, dieter].map((depositary) => ({
      depositary,
      recipient: freshBytes(32).toString('hex'),
      share: ciphertext('depositary', 256),
      link: ciphertext('share-key', 412),
      serverFor: name === 'operate' ? 1 : undefined,
    })),
    quorums: [{ members: [dieter, dora], sealed: ciphertext('layer-key', 1300) }],
  });
  return {
    key: newId('KeyId', freshBytes),
    owner: anna,
    label: 'post – „E-Mail“ \\ "2026"',
    spec: 'ec-p256',
    use: 'sign',
    publicKey: new Uint8Array(freshBytes(91)),
    createdAt: new Date('2026-01-02T03:04:05.678Z'),
    binding: { version: 2, generation: 1, token: '45'.repeat(32) },
    rule: { name: 'mail', policyVersion: 1, policyHash: 'ab'.repeat(32) },
    requesters: ['depositary', 'app'],
    requests: { ...usualRequestTerms(0), denialsToEnd: 2, distinct: ['requester-depositary'] },
    operate: {
      operations: ['sign'],
      maxUses: 100,
      maxDurationMs: 86_400_000,
      rate: undefined,
      mechanisms: undefined,
      input: 'digest',
      delayMs: 0,
      ownerMayVeto: false,
    },
    release: { delayMs: 14_400_000, ownerMayVeto: true },
    purposes: [purpose('operate'), purpose('release')],
    ownersCopy: { transferKey: ciphertext('owner'), key: ciphertext('transfer-key') },
    digest: 'cd'.repeat(32),
    ...more,
  };
}

export function aRecovery(more: Partial<Recovery> = {}): Recovery {
  const at = new Date('2026-02-01T00:00:00.001Z');
  const key = newId('KeyId', freshBytes);
  return {
    id: newId('RecoveryId', freshBytes),
    revision: 1,
    version: 4,
    keys: [key],
    owner: anna,
    requester: person('rita'),
    asked: {
      purpose: 'operate',
      scope: {
        app: mailApp,
        operations: ['sign'],
        mechanisms: ['ES256'],
        input: 'digest',
        maxUses: 3,
        durationMs: 1000,
        rate: undefined,
        notBefore: undefined,
        notAfter: undefined,
      },
    },
    reason: 'away',
    filedAt: at,
    expiresAt: new Date('2026-02-08T00:00:00.000Z'),
    approvalsHoldMs: 86_400_000,
    requestHash: 'ef'.repeat(32),
    transportKey: new Uint8Array(freshBytes(422)),
    attestation: 'a.b.c',
    intents: [],
    approvals: [
      {
        depositary: dora,
        statement: 'd.e.f',
        replies: [{ key, reply: ciphertext('transport', 384) }],
        at,
        expiresAt: at,
      },
    ],
    denials: [{ depositary: dieter, statement: 'g.h.i', reason: 'no', at }],
    state: { status: 'pending' },
    ...more,
  };
}

export function aGrant(more: Partial<Grant> = {}): Grant {
  return {
    id: newId('GrantId', freshBytes),
    recovery: newId('RecoveryId', freshBytes),
    key: newId('KeyId', freshBytes),
    spec: 'ec-p256',
    owner: anna,
    scope: {
      app: mailApp,
      operations: ['sign'],
      mechanisms: ['ES256'],
      input: 'message',
      maxUses: 3,
      durationMs: 3_600_000,
      rate: undefined,
      notBefore: undefined,
      notAfter: undefined,
    },
    used: 0,
    recent: [],
    startsAt: new Date('2026-03-01T00:00:00.000Z'),
    expiresAt: new Date('2026-03-01T01:00:00.000Z'),
    status: 'active',
    ...more,
  };
}

/** One of each state that a recovery can be in. */
export function everyState(): readonly RecoveryState[] {
  const at = new Date('2026-02-02T02:02:02.002Z');
  return [
    { status: 'pending' },
    { status: 'approved', releasableAt: at, holdsUntil: at },
    {
      status: 'active',
      grants: [0, 1].map(() => ({ key: newId('KeyId', freshBytes), grant: newId('GrantId', freshBytes) })),
      at,
    },
    {
      status: 'released',
      at,
      answers: [0, 1].map(() => ({
        key: newId('KeyId', freshBytes),
        transferKey: ciphertext('depositary', 256),
        wrappedKey: ciphertext('transfer-key'),
      })),
    },
    { status: 'denied', by: dora, reason: 'no', at },
    { status: 'vetoed', by: anna, reason: 'back again', at },
    { status: 'cancelled', by: dora, reason: 'found it', at },
    { status: 'expired', at },
    { status: 'failed', reason: 'token', at },
  ];
}

/** A write with an entry of its own; `more` says what else is special. */
export function writeOf(
  role: JournalWrite['role'],
  more: Partial<JournalWrite> & { act?: string } = {},
): JournalWrite {
  const { act = 'grant.sign', ...parts } = more;
  const id: ActId = parts.id ?? newId('ActId', freshBytes);
  const about = parts.about ?? {};
  const phases = { opens: 'attempted', closes: 'done', alone: 'denied' } as const satisfies Record<
    string,
    Phase
  >;
  const entry = encodeEntry({
    v: 1,
    time: '2026-02-03T04:05:06.789Z',
    act,
    id,
    phase: phases[role],
    actor: 'test',
    subject: about,
    detail: {},
    ...(role === 'alone' ? { error: 'forbidden' } : {}),
  });
  return { id, role, entry, about, claims: [], changes: [], ...parts };
}
