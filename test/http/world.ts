import { GrantRoom } from '../../src/escrow/rules/grantRoom.js';
import { releasedDigest } from '../../src/escrow/checks/checkedRelease.js';

import type { Escrow } from '../../src/escrow/escrow.js';
import { attestationPayload } from '../../src/escrow/rules/attestation.js';
import type { Deposit } from '../../src/escrow/records/deposit.js';
import {
  askedAsJson,
  descriptionsAsJson,
  depositDigest,
  requestHash,
  sha256Hex,
} from '../../src/escrow/records/digests.js';
import { Directory } from '../../src/escrow/directory.js';
import type { Grant } from '../../src/escrow/records/grant.js';
import { CheckedGrants } from '../../src/escrow/rules/checkedGrant.js';
import type { GrantId, KeyId, PrincipalId, RecoveryId } from '../../src/escrow/records/ids.js';
import { KEY_SPEC_NAMES } from '../../src/escrow/records/keySpecs.js';
import { Ledger } from '../../src/escrow/ledger/ledger.js';
import { DEFAULT_OPEN_REQUESTS, OpenRequests } from '../../src/escrow/rules/openRequests.js';
import { OwnerChains } from '../../src/escrow/logged/ownerChains.js';
import { MECHANISM_NAMES } from '../../src/escrow/records/mechanisms.js';
import { usualRequestTerms } from '../../src/escrow/records/policy.js';
import type { Token, TokenVerbs } from '../../src/escrow/ports/token.js';
import type { LogReader } from '../../src/escrow/ports/log.ts';
import type { GivenUpNotice, Store } from '../../src/escrow/ports/store.ts';
import type { RefusalBudget } from '../../src/escrow/ledger/refusals.js';
import type { Recovery, ReleasedKey } from '../../src/escrow/records/recovery.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { encodeEntry } from '../../src/log/entry/entry.js';
import { statementVerifier } from '../../src/http/caller/statements.js';
import { parsePolicy } from '../../src/http/policyDocument.js';
import { doneAct, policyApplied } from '../escrow/loggedEntries.js';
import { MemoryJournal } from '../escrow/memoryJournal.js';
import { LOG_KEY, NOW, ORIGIN } from './identities.js';
import { policy, policyDocument } from './people.js';
import { ATTESTATION_TYPE } from '../../src/escrow/records/statementTypes.js';
import { freshBytes } from '../support/fresh.js';

export const KEY = `key_${'1'.repeat(32)}` as KeyId;
export const RECOVERY = `rec_${'2'.repeat(32)}` as RecoveryId;
export const RELEASED = `rec_${'4'.repeat(32)}` as RecoveryId;
export const GRANT = `grant_${'3'.repeat(32)}` as GrantId;
const olga = 'olga' as PrincipalId;
const dana = 'dana' as PrincipalId;
const dave = 'dave' as PrincipalId;
const mailer = 'mailer' as PrincipalId;

const bytes = (text: string): Uint8Array => Buffer.from(text);
const purposeOf = (purpose: 'operate' | 'release'): Deposit['purposes'][number] => ({
  purpose,
  kek: `kek:${purpose}:v1`,
  mechanisms: { wrap: 'RFC5649', oaep: 'RSA-OAEP', seal: 'A256GCM' },
  shares: [dana, dave].map((depositary) => ({
    depositary,
    recipient: 'ab'.repeat(32),
    share: sealed('depositary', bytes(`share of ${depositary}`)),
    link: sealed('share-key', bytes(`link of ${depositary}`)),
    serverFor: 1,
  })),
  quorums: [{ members: [dana, dave], sealed: sealed('layer-key', bytes('secret sealed')) }],
});

const DEPOSITED: Omit<Deposit, 'digest'> = {
  key: KEY,
  owner: olga,
  label: 'mail',
  spec: 'ec-p256',
  use: 'sign',
  publicKey: Buffer.from(
    'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==',
    'base64',
  ),
  createdAt: NOW,
  binding: { version: 2, generation: 1, token: '78'.repeat(32) },
  rule: { name: 'finance', policyVersion: 1, policyHash: 'cd'.repeat(32) },
  requesters: ['depositary'],
  requests: usualRequestTerms(0),
  operate: {
    operations: ['sign'],
    maxUses: 100,
    maxDurationMs: 7 * 86_400_000,
    rate: undefined,
    mechanisms: undefined,
    input: 'digest',
    delayMs: 0,
    ownerMayVeto: false,
  },
  release: { delayMs: 3_600_000, ownerMayVeto: true },
  purposes: [purposeOf('operate'), purposeOf('release')],
  ownersCopy: {
    transferKey: sealed('owner', bytes('copy X')),
    key: sealed('transfer-key', bytes('copy key')),
  },
};

export const DEPOSIT: Deposit = { ...DEPOSITED, digest: depositDigest(DEPOSITED) };

const FILED_RECORD: Recovery = {
  id: RECOVERY,
  version: 4,
  revision: 1,
  keys: [KEY],
  owner: olga,
  requester: dana,
  asked: {
    purpose: 'operate',
    scope: {
      app: mailer,
      operations: ['sign'],
      mechanisms: ['ES256'],
      input: 'message',
      maxUses: 10,
      durationMs: 86_400_000,
      rate: undefined,
      notBefore: undefined,
      notAfter: undefined,
    },
  },
  reason: 'olga is ill',
  filedAt: NOW,
  expiresAt: new Date(NOW.getTime() + 86_400_000),
  approvalsHoldMs: 86_400_000,
  requestHash: '12'.repeat(32),
  transportKey: bytes('transport SPKI'),
  attestation: 'a.b.c',
  intents: [],
  approvals: [],
  denials: [],
  state: { status: 'pending' },
};

/** What the identity key has attested in this world, by type and JWS. */
const ATTESTED = new Map<string, Readonly<Record<string, unknown>>>();

/** A request as it is filed: hashed and attested. */
function filed(record: Recovery): Recovery {
  const attestation = `attested.${record.id}.${record.asked.purpose}`;
  const request = {
    ...record,
    attestation,
    requestHash: requestHash({ ...record, recovery: record.id, keys: [DEPOSIT] }),
  };
  const transport = sha256Hex(record.transportKey);
  ATTESTED.set(
    `${ATTESTATION_TYPE} ${attestation}`,
    attestationPayload(ORIGIN, request, [DEPOSIT], transport),
  );
  return request;
}

export const RECOVERY_RECORD = filed(FILED_RECORD);

const RELEASED_ANSWERS: readonly ReleasedKey[] = [
  {
    key: KEY,
    transferKey: sealed('depositary', bytes('X')),
    wrappedKey: sealed('transfer-key', bytes('U under X')),
  },
];

export const RELEASED_RECORD: Recovery = {
  ...filed({ ...FILED_RECORD, id: RELEASED, asked: { purpose: 'release', recipient: dana } }),
  intents: [],
  approvals: [
    {
      depositary: dana,
      statement: 'a.b.c',
      replies: [{ key: KEY, reply: sealed('transport', bytes('secret reply')) }],
      at: NOW,
      expiresAt: NOW,
    },
  ],
  state: {
    status: 'released',
    at: NOW,
    answers: RELEASED_ANSWERS,
  },
};

export const GRANT_RECORD: Grant = {
  id: GRANT,
  recovery: RECOVERY,
  key: KEY,
  spec: 'ec-p256',
  owner: olga,
  scope: {
    app: mailer,
    operations: ['sign'],
    mechanisms: ['ES256'],
    input: 'message',
    maxUses: 10,
    durationMs: 86_400_000,
    rate: undefined,
    notBefore: undefined,
    notAfter: undefined,
  },
  used: 3,
  recent: [],
  startsAt: NOW,
  expiresAt: new Date(NOW.getTime() + 86_400_000),
  status: 'active',
};

/** The one entry that the log has to show. */
export const FILED: Entry = {
  v: 1,
  time: NOW.toISOString(),
  act: 'recovery.request',
  id: 'act_filing',
  phase: 'done',
  actor: 'dave',
  subject: { key: KEY, owner: 'olga', recovery: RECOVERY },
  detail: { was: 'filed €' },
};

/** An escrow whose ledger is real, on a journal in memory; store, log and token are made of the records above. */
export interface World {
  readonly escrow: Escrow;
  readonly journal: MemoryJournal;
  /** Replaced by tests that need the store or the token to misbehave. */
  readonly store: { -readonly [Member in keyof Store]: Store[Member] };
  readonly verbs: { sign: () => Promise<Uint8Array>; attest: () => Promise<Uint8Array> };
  now: Date;
}

/** The entries of a key's birth. */
function birth({ key, owner, digest, purposes }: Deposit): readonly Uint8Array[] {
  const shares = purposes.map(({ purpose, shares: each }) => ({
    purpose,
    recipients: each.map(({ depositary, recipient }) => ({ depositary, recipient })),
  }));
  const quorums = purposes[0]?.quorums.map(({ members }) => members) ?? [];
  return doneAct(
    'key.generate',
    'act_birth',
    { key, owner },
    { attempted: { quorums }, done: { shares }, digest },
  );
}

/** The entry that recorded the deposit above, and where: behind those that put the policy in force, and its attempt. */
export const BORN_AT = 3;
export const BORN = birth(DEPOSIT).at(-1) ?? new Uint8Array(0);

/** The entries that the records above are of. */
function logged({ id: grant, scope: granted, startsAt, expiresAt }: Grant): readonly Uint8Array[] {
  const { asked } = RECOVERY_RECORD;
  const { rate } = granted;
  const { scope } = askedAsJson(
    asked.purpose === 'operate' ? { ...asked, scope: { ...asked.scope, rate } } : asked,
  );
  const filing = ({ id, keys, owner, requestHash: hash, attestation }: Recovery): readonly Uint8Array[] =>
    doneAct(
      'recovery.request',
      `act_${id}`,
      { recovery: id, keys, owner },
      {
        attempted: {
          requestHash: hash,
          purpose: 'operate',
          scope,
          descriptions: descriptionsAsJson([DEPOSIT]),
        },
        digest: sha256Hex(attestation),
      },
    );
  const activation = {
    app: granted.app,
    maxUses: granted.maxUses,
    startsAt: startsAt.toISOString(),
    expiresAt: expiresAt.toISOString(),
    grants: { [KEY]: grant },
  };
  const about = { recovery: RECOVERY, keys: [KEY], owner: olga };
  return [
    ...policyApplied({ version: 1, hash: policy().hash }),
    ...birth(DEPOSIT),
    // the grant is of a request that was activated; the record of the same name is another, which is open still
    ...filing(RECOVERY_RECORD),
    ...doneAct('recovery.activate', 'act_activation', about, { done: activation }),
    ...filing(RECOVERY_RECORD),
    ...filing(RELEASED_RECORD),
    ...doneAct(
      'recovery.release',
      'act_release',
      { recovery: RELEASED, keys: [KEY], owner: olga },
      { digest: releasedDigest(RELEASED_ANSWERS) },
    ),
  ];
}

/** What a sink has given up. */
const GIVEN_UP: GivenUpNotice = {
  notice: `ntc_${'9'.repeat(32)}`,
  sink: 'webhook:siem',
  entry: 7,
  to: olga,
  kind: 'asked',
  fault: 'It answered 404.',
  givenUpAt: NOW,
};

/**
 * @param policyFloor so many administrators sign a policy at least
 * @param budget of refusals that have an entry each; all, when it is not given
 * @param grant the one that there is
 */
export function newWorld(policyFloor?: number, budget?: RefusalBudget, grant = GRANT_RECORD): World {
  const journal = new MemoryJournal();
  logged(grant).forEach((entry, at) => {
    journal.state.take(at, entry);
  });
  journal.policyVersion = 1;
  journal.deposits.set(KEY, DEPOSIT);
  for (const request of [RECOVERY_RECORD, RELEASED_RECORD]) journal.recoveries.set(request.id, request);
  journal.grants.set(GRANT, grant);
  const page = <T>(...items: T[]): Promise<{ items: T[]; next: string | undefined }> =>
    Promise.resolve({ items, next: undefined });
  const document = JSON.stringify(policyDocument());
  // the signatures of ann and bob, as the trust below reads them
  const signatures = ['ann', 'bob'].map((iss) =>
    JSON.stringify({ iss, aud: ORIGIN, hash: policy().hash, base: 0, replaces: policy(0).hash, exp: 0 }),
  );
  const current = { version: 1, hash: policy().hash, document, signatures, appliedAt: NOW };
  const store: World['store'] = {
    ...journal.rows,
    policies: (after) => Promise.resolve([current].filter(({ version }) => version > after)),
    policyDocuments: () => page(current),
    policyHistory: () => page(current),
    deposits: () => page(DEPOSIT),
    recoveries: () => page(RECOVERY_RECORD, RELEASED_RECORD),
    grants: () => page(GRANT_RECORD),
    findCreation: (named, at) => Promise.resolve(journal.findCreation(named, at)),
    givenUp: () => page(GIVEN_UP),
    findGivenUp: (sink, notices) =>
      Promise.resolve([GIVEN_UP].filter((one) => one.sink === sink && notices.includes(one.notice))),
    seeOnce: (request) => Promise.resolve(journal.seeOnce(request)),
  };
  const entry = { index: 7, entry: encodeEntry(FILED) };
  const log: LogReader = {
    checkpoint: () => Promise.resolve({ size: 8, note: 'the note\n\n— name sig\n' }),
    witnessed: ({ count, by }) =>
      Promise.resolve(
        count > 1 ? undefined : { size: 7, note: `cosigned by ${by?.join(' and ') ?? 'anybody'}\n` },
      ),
    entries: (from, limit) =>
      Promise.resolve(
        from === BORN_AT && limit === 1 ? [{ index: from, entry: BORN }] : [entry].slice(from, limit),
      ),
    entriesAbout: () => Promise.resolve({ items: [entry], next: '7' }),
    filing: () => Promise.resolve(entry),
    inclusion: () => Promise.resolve({ checkpoint: 'the note', size: 8, proof: [new Uint8Array(32)] }),
    rootAt: () => Promise.resolve(new Uint8Array(32)),
    consistency: () => Promise.resolve([new Uint8Array(32).fill(255)]),
    inclusions: (indexes) =>
      Promise.resolve({ checkpoint: 'the note', proofs: indexes.map(() => [new Uint8Array(32)]) }),
    tile: ({ level, index, width }) =>
      Promise.resolve(level === 0 && index === 0 && width <= 8 ? Buffer.alloc(width * 32, 7) : undefined),
  };
  const verbs: World['verbs'] = {
    sign: () => Promise.resolve(bytes('signature')),
    attest: () => Promise.resolve(bytes('attested')),
  };
  const token = {
    abilities: {
      profile: 'test',
      keySpecs: KEY_SPEC_NAMES,
      mechanisms: MECHANISM_NAMES,
      oaep: 'RSA-OAEP',
    },
    enrolled: () => Promise.resolve([{ id: dana, publicKey: bytes('SPKI'), fingerprint: 'ab'.repeat(32) }]),
    keks: () =>
      Promise.resolve(
        ['operate', 'release'].map((purpose) => ({ label: `kek:${purpose}:v1`, hasRotatingHandle: false })),
      ),
    standing: () => Promise.resolve({ transports: [], grants: [], imports: [] }),
    requireInService: () => undefined,
    lend: (_names: readonly string[], use: (lent: unknown) => Promise<unknown>) =>
      use({
        sign: async (...[, , , data, made]: Parameters<TokenVerbs['sign']>) => {
          for (let left = data.length; left > 0; left -= 1) made(await verbs.sign());
        },
        attest: () => verbs.attest(),
        createTransport: () => Promise.resolve({ publicKey: bytes('transport SPKI') }),
        destroyTransport: () => Promise.resolve(),
        destroyGrant: () => Promise.resolve(),
      }),
  } as unknown as Token;
  const world = { now: NOW };
  const clock = { now: () => world.now, pause: () => Promise.resolve() };
  const identity: Escrow['identity'] = {
    verify: (jws, typ) => Promise.resolve(ATTESTED.get(`${typ} ${jws}`)),
  };
  const escrow: Escrow = {
    ledger: new Ledger({
      journal,
      followed: journal.followed,
      token,
      clock,
      random: freshBytes,
      memory: { anchored: () => Promise.resolve(), requireOwnToken: () => Promise.resolve() },
      policy: () => escrow.directory.current(),
      notice: () => undefined,
      contentionTimeoutMs: 0,
      ...(budget === undefined ? {} : { refusals: { budget, seeOnce: (request) => store.seeOnce(request) } }),
    }),
    directory: new Directory(
      store,
      parsePolicy,
      policy(0),
      {
        statements: {
          verify: (jws) =>
            Promise.resolve({ jws, payload: JSON.parse(jws) as Readonly<Record<string, unknown>> }),
        },
        logKey: LOG_KEY,
      },
      policyFloor,
    ),
    store,
    log,
    followed: journal.followed,
    grants: new CheckedGrants({ origin: ORIGIN, logKey: LOG_KEY }, identity),
    owners: new OwnerChains(log),
    openRequests: new OpenRequests(DEFAULT_OPEN_REQUESTS),
    grantRoom: new GrantRoom(undefined),
    drillEveryMs: 90 * 24 * 60 * 60 * 1000,
    token,
    statements: statementVerifier,
    identity,
    clock,
    random: freshBytes,
    origin: ORIGIN,
    logKey: LOG_KEY,
    tokenId: '78'.repeat(32),
  };
  return Object.assign(world, { escrow, journal, store, verbs });
}
