import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { verifyExport } from '../../src/audit/verifyExport.js';
import type { Signer } from '../../src/client/identity/signingKey.js';
import { signerOf } from '../../src/client/identity/signingKey.js';
import type { Json } from '../../src/log/entry/canonical.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { documentHash } from '../../src/log/export/format.js';
import type { Verdict } from '../../src/log/export/verifier.js';
import { fixedPrivateKey } from '../log/noteKeys.js';
import {
  administrators,
  document as usual,
  GRANT,
  KEY,
  logKey,
  ORIGIN,
  people,
  RECOVERY,
  sealed,
  unsigned,
} from './goldenLog.js';
import { at, BOOTSTRAP_HASH, sha256Hex, SignedActs } from './signedActs.js';
import { INTENT_TYPE } from '../../src/escrow/records/statementTypes.js';

/*
 * Logs of a key whose rule takes replies after a delay of four hours, signed by the log's own key: an honest one, and one for each
 * rule of intents that somebody with that key might have it break.
 */
const DELAY = 4 * 60;
const { ann, bob, dana, erin, finn, mailer, olga } = people;
const acts = new SignedActs(ORIGIN);
const slow = {
  name: 'slow',
  depositaries: { allOf: ['person:dana', { anyOf: ['person:erin', 'person:finn'] }] },
  operate: {
    ...{ operations: ['sign'], mechanisms: ['ES256'], input: 'message', maxUses: 10, maxDuration: 'PT2H' },
    ...{ delay: 'PT4H', ownerMayVeto: true, replies: 'afterDelay' },
  },
  release: { ownerMayVeto: true },
  requests: { maxValidFor: 'P2D', approvalsHold: 'P1D' },
};

const document = { ...usual, rules: [slow] } as const satisfies Json;
const quorums = [
  ['dana', 'erin'],
  ['dana', 'finn'],
];
const scope = {
  ...{ app: 'mailer', operations: ['sign'], mechanisms: ['ES256'], input: 'message', maxUses: 5 },
  ...{ rate: null, durationMs: 3_600_000, notBefore: null, notAfter: null },
};

const asked = {
  ...{ purpose: 'operate', scope, reason: 'mail while olga is away' },
  ...{ expiresAt: at(24 * 60), approvalsHoldMs: 86_400_000 },
};

/** A release to dana, which waits for nothing. */
const askedOut = { ...asked, purpose: 'release', scope: { recipient: 'dana' } };

const hashOf = (what: Readonly<Record<string, Json>>): string =>
  documentHash({ version: 3, recovery: RECOVERY, keys: [KEY], requester: 'dana', ...what });
const requestHash = hashOf(asked);
const about = { recovery: RECOVERY, requestHash, keys: [KEY] };
const recovered = { keys: [KEY], owner: 'olga', recovery: RECOVERY };
const to = (action: string): string => `/v1/recoveries/${RECOVERY}/${action}`;

let directory: string;
let path: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowctl-'));
  path = join(directory, 'log.ndjson');
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

let made = 0;

/** An act, and what came of it: done, where nothing else is said. */
function act(
  minute: number,
  attempt: Pick<Entry, 'act' | 'actor' | 'subject' | 'detail'> & Pick<Partial<Entry>, 'request'>,
  outcome: Partial<Entry> = {},
): readonly [Entry, Entry] {
  made += 1;
  const begun: Entry = { v: 1, time: at(minute), id: `act_${made}`, phase: 'attempted', ...attempt };
  const ended: Entry = { ...unsigned(begun), phase: 'done', detail: {}, ...outcome };
  return [begun, ended.phase === 'done' ? { digest: sha256Hex(begun.id), ...ended } : ended];
}

async function policy(minute: number, put: Json, before?: Json): Promise<readonly Entry[]> {
  const version = before === undefined ? 1 : 2;
  const replaces = before === undefined ? BOOTSTRAP_HASH : documentHash(before);
  const signatures = await acts.policySignatures([ann, bob], put, { version: version - 1, hash: replaces });
  const named = { version, policyHash: documentHash(put) };
  const detail = { ...named, replaces, signers: ['ann', 'bob'], signatures };
  const request = await acts.request(ann, minute, '/v1/policy');
  return act(minute, { act: 'policy.apply', actor: 'ann', subject: {}, request, detail }, { detail: named });
}

/** The policy, the key, and the request for it. */
async function filed(what: typeof asked | typeof askedOut = asked): Promise<readonly Entry[]> {
  const rule = { rule: 'slow', policyVersion: 1, policyHash: documentHash(document), quorums };
  const recipients = document.principals.flatMap((one) =>
    'depositaryKey' in one ? [{ depositary: one.id, recipient: one.depositaryKey }] : [],
  );
  const key = { key: KEY, owner: 'olga' };
  return [
    ...(await policy(1, document)),
    ...act(
      2,
      {
        ...{ act: 'key.generate', actor: 'olga', subject: key },
        detail: { spec: 'ec-p256', use: 'sign', ...rule },
        request: await acts.request(olga, 2, '/v1/keys'),
      },
      {
        detail: {
          shares: ['operate', 'release'].map((purpose) => ({ purpose, kek: `kek-${purpose}`, recipients })),
          delivered: false,
        },
      },
    ),
    ...act(
      4,
      {
        ...{ act: 'recovery.request', actor: 'dana', subject: recovered },
        detail: { ...what, requestHash: hashOf(what) },
        request: await acts.request(dana, 4, '/v1/recoveries'),
      },
      { detail: { requestHash: hashOf(what), transport: '66'.repeat(32) } },
    ),
  ];
}

/** What is different about a statement, or about how it is recorded. */
interface Told {
  readonly claims?: object;
  readonly typ?: string;
  /** Who signs, if not who it is recorded of. */
  readonly by?: Signer;
  readonly outcome?: Partial<Entry>;
}

async function intends(one: Signer, minute: number, told: Told = {}): Promise<readonly [Entry, Entry]> {
  const { claims = {}, typ = INTENT_TYPE, by = one, outcome = {} } = told;
  const seconds = Math.floor(Date.parse(at(minute)) / 1000);
  const said = {
    iss: one.id,
    aud: ORIGIN,
    iat: seconds,
    exp: seconds + 86_400,
    decision: 'intend',
    ...about,
  };
  const statement = await by.sign(typ, { ...said, ...claims });
  const request = await acts.request(one, minute, to('intents'));
  const attempt = { act: 'recovery.intend', actor: one.id, subject: recovered, request };
  return act(minute, { ...attempt, detail: { requestHash, statement } }, outcome);
}

async function approves(
  one: Signer,
  minute: number,
  requestHash: string = about.requestHash,
): Promise<readonly [Entry, Entry]> {
  const iat = Math.floor(Date.parse(at(minute)) / 1000);
  const statement = await acts.statement(one, { ...about, requestHash }, { iat, exp: iat + 86_400 });
  const request = await acts.request(one, minute, to('approvals'));
  const attempt = { act: 'recovery.approve', actor: one.id, subject: recovered, request };
  return act(minute, { ...attempt, detail: { requestHash, statement } }, { detail: { status: 'pending' } });
}

async function denies(one: Signer, minute: number): Promise<readonly [Entry, Entry]> {
  const statement = await acts.statement(one, about, { decision: 'deny', reason: 'no' });
  const request = await acts.request(one, minute, to('denials'));
  const attempt = { act: 'recovery.deny', actor: one.id, subject: recovered, request };
  const detail = { requestHash, statement, reason: 'no' };
  return act(minute, { ...attempt, detail }, { detail: { status: 'pending' } });
}

async function vetoes(
  minute: number,
  requestHash: string = about.requestHash,
): Promise<readonly [Entry, Entry]> {
  const request = await acts.request(olga, minute, to('veto'));
  const attempt = { act: 'recovery.veto', actor: 'olga', subject: recovered, request };
  return act(minute, { ...attempt, detail: { requestHash, reason: 'no' } }, { detail: { status: 'vetoed' } });
}

function activated(minute: number, quorum: readonly string[] = ['dana', 'erin']): readonly [Entry, Entry] {
  const grants = { [KEY]: GRANT };
  const detail = { requestHash, quorums: { [KEY]: quorum }, grants };
  const times = { startsAt: at(minute), expiresAt: at(minute + 60) };
  return act(
    minute,
    { act: 'recovery.activate', actor: 'escrowd', subject: recovered, detail },
    { detail: { app: 'mailer', maxUses: 5, ...times, grants } },
  );
}

async function releases(minute: number): Promise<readonly [Entry, Entry]> {
  const request = await acts.request(dana, minute, to('release'));
  const detail = { requestHash: hashOf(askedOut), quorums: { [KEY]: ['dana', 'erin'] } };
  const released = { [KEY]: 'ab'.repeat(32) };
  return act(
    minute,
    { act: 'recovery.release', actor: 'dana', subject: recovered, request, detail },
    { detail: { recipient: 'dana', released }, digest: documentHash(released) },
  );
}

const ofGrant = { key: KEY, owner: 'olga', recovery: RECOVERY, grant: GRANT };

async function revokes(minute: number): Promise<readonly [Entry, Entry]> {
  const request = await acts.request(olga, minute, `/v1/grants/${GRANT}/revoke`);
  const attempt = { act: 'grant.revoke', actor: 'olga', subject: ofGrant, request };
  return act(minute, { ...attempt, detail: { reason: 'no' } }, { detail: { status: 'revoked' } });
}

async function uses(minute: number): Promise<readonly [Entry, Entry]> {
  const request = await acts.request(mailer, minute, `/v1/grants/${GRANT}/sign`);
  const detail = { mechanism: 'ES256', input: 'message', inputs: [sha256Hex('a letter')] };
  return act(minute, { act: 'grant.sign', actor: 'mailer', subject: ofGrant, request, detail });
}

async function verdictOn(
  entries: readonly Entry[],
  documents: readonly Json[] = [document],
): Promise<Verdict> {
  writeFileSync(path, sealed(entries, { documents }));
  return (await verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators })).verdict;
}

/** The intents of dana and erin, and in the fifth hour after the later of them what they approve. */
const LATER = 30;
const FROM = LATER + DELAY;
async function honest(
  intents: readonly Entry[],
  from = FROM,
  between: readonly Entry[] = [],
): Promise<readonly Entry[]> {
  return [
    ...(await filed()),
    ...intents,
    ...between,
    ...(await approves(dana, from + 1)),
    ...(await approves(erin, from + 2)),
    ...activated(from + 3),
  ];
}

const both = async (told: Told = {}): Promise<readonly Entry[]> => [
  ...(await intends(dana, 20)),
  ...(await intends(erin, LATER, told)),
];

test('what is approved after the delay since a quorum’s intents is believed', async () => {
  expect(await verdictOn(await honest(await both()))).toMatchObject({ ok: true, reported: { count: 0 } });
});

const unsaid = /before a quorum intended to/;
const lies: Readonly<Record<string, readonly [RegExp, () => Promise<readonly Entry[]>]>> = {
  'nobody intended to': [unsaid, () => honest([])],
  'one of the quorum did not': [unsaid, async () => honest(await intends(dana, 20))],
  'the quorum is one that the approver is not in': [
    unsaid,
    async () =>
      [
        ...(await filed()),
        ...(await intends(dana, 20)),
        ...(await intends(finn, LATER)),
        ...(await approves(erin, FROM + 1)),
      ] as const,
  ],
  'the intent came to nothing': [
    unsaid,
    async () => honest(await both({ outcome: { phase: 'denied', error: 'busy' } })),
  ],
  'it is recorded of somebody else than signed it': [
    /statement of erin is about something else|not signed by erin/,
    async () => honest(await both({ by: finn, claims: { iss: 'finn' } })),
  ],
  'it is signed by somebody else in their name': [
    /not signed by erin/,
    async () => honest(await both({ by: finn })),
  ],
  'it is no intent, but an approval': [
    /has signed no statement/,
    async () => honest(await both({ typ: 'escrowd-approval+jwt' })),
  ],
  'it says something else than that they intend to': [
    /about something else/,
    async () => honest(await both({ claims: { decision: 'deny' } })),
  ],
  'it is about another request': [
    /about something else/,
    async () => honest(await both({ claims: { recovery: `rec_${'9'.repeat(32)}` } })),
  ],
  'it is about other terms': [
    /about something else/,
    async () => honest(await both({ claims: { requestHash: 'ab'.repeat(32) } })),
  ],
  'it is about other keys': [
    /about something else/,
    async () => honest(await both({ claims: { keys: [`key_${'9'.repeat(32)}`] } })),
  ],
  'it is for another server': [
    /about something else/,
    async () => honest(await both({ claims: { aud: 'x' } })),
  ],
  'the delay is not over': [
    /before the delay of 14400 seconds was over/,
    async () => honest(await both(), FROM - 5),
  ],
  'the delay is over since an intent that another has replaced': [
    /before the delay/,
    async () => honest([...(await both()), ...(await intends(erin, 60))]),
  ],
  'the intent had expired': [
    unsaid,
    async () => honest(await both({ claims: { exp: Math.floor(Date.parse(at(100)) / 1000) } })),
  ],
  'who intended has denied since': [unsaid, async () => honest(await both(), FROM, await denies(erin, 100))],
  'the owner has vetoed it before the intents': [
    /was not made, or has ended/,
    async () => honest([...(await vetoes(10)), ...(await both())]),
  ],
  'the owner has vetoed it since': [
    /was not made, or has ended/,
    async () => honest(await both(), FROM, await vetoes(100)),
  ],
};

test.each(Object.entries(lies))('an approval is found where %s', async (_what, [reason, tell]) => {
  expect(await verdictOn(await tell())).toMatchObject({
    ok: false,
    reason: expect.stringMatching(reason) as string,
  });
});

describe('an intent of a depositary whom the directory does not list any more, by that key', () => {
  const withErin = (change: (one: (typeof document.principals)[number]) => readonly Json[]): Json => ({
    ...document,
    principals: document.principals.flatMap((one) => (one.id === 'erin' ? change(one) : [one as Json])),
  });
  const erinsNew = signerOf('erin', fixedPrivateKey('golden erin, anew'));
  const removals: Readonly<Record<string, Json>> = {
    'who is gone': withErin(() => []),
    'who has another key': withErin((one) => [{ ...one, keys: [{ ...erinsNew.publicJwk }] }]),
  };

  test.each(Object.entries(removals))('%s: an activation that rests on it is found', async (_who, other) => {
    const documents = [document, other];
    const changed = await policy(100, other, document);
    const resting = [
      ...(await filed()),
      ...(await both()),
      ...changed,
      ...(await approves(dana, FROM + 1)),
      ...activated(FROM + 3, ['dana', 'finn']),
    ];
    expect(await verdictOn(resting, documents)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(unsaid) as string,
    });
    // who is listed still, intends to and approves: the daemon takes it
    const others = [
      ...(await filed()),
      ...(await both()),
      ...changed,
      ...(await intends(finn, 110)),
      ...(await approves(dana, 110 + DELAY + 1)),
      ...(await approves(finn, 110 + DELAY + 2)),
      ...activated(110 + DELAY + 3, ['dana', 'finn']),
    ];
    expect(await verdictOn(others, documents)).toMatchObject({ ok: true });
  });

  test.each(Object.entries(removals))(
    '%s: what counted when it was attempted counts, though the directory changes before it is done',
    async (_who, other) => {
      const [attempt, done] = await approves(dana, FROM + 1);
      const entries = [
        ...(await filed()),
        ...(await both()),
        ...(await intends(finn, LATER)),
        attempt,
        ...(await policy(FROM + 1, other, document)),
        done,
        ...(await approves(finn, FROM + 3)),
        ...activated(FROM + 4, ['dana', 'finn']),
      ];
      expect(await verdictOn(entries, [document, other])).toMatchObject({ ok: true });
    },
  );

  test('the control: without the change of the directory the same log is believed', async () => {
    const entries = [
      ...(await filed()),
      ...(await both()),
      ...(await approves(dana, FROM + 1)),
      ...(await approves(erin, FROM + 2)),
      ...activated(FROM + 3),
    ];
    expect(await verdictOn(entries)).toMatchObject({ ok: true });
  });
});

test('an approval that a daemon has refused, as the delay was not over, is no ground to disbelieve the log', async () => {
  const [attempt, done] = await approves(dana, 40);
  const { digest, ...rest } = done;
  expect(digest).toBeDefined();
  const refused: Entry = { ...rest, phase: 'denied', error: 'delay-running', detail: {} };
  expect(await verdictOn(await honest(await both(), FROM, [attempt, refused]))).toMatchObject({ ok: true });
});

describe('an outcome whose act was closed as cut short before', () => {
  type Act = readonly [attempt: Entry, done: Entry];
  const second = ([attempt, done]: Act): readonly Entry[] => [attempt, interrupted(attempt), done];
  const interrupted = (attempt: Entry): Entry => {
    return { ...unsigned(attempt), phase: 'failed', error: 'interrupted', detail: {} };
  };
  const late = { ok: true, reported: { count: 1, first: [{ came: 'late' }] } };
  const bothLate = {
    ok: true,
    reported: {
      count: 2,
      first: [
        { came: 'late', reason: expect.stringMatching(/^a second outcome/) as string },
        { came: 'late', reason: expect.stringMatching(/had ended since it was attempted/) as string },
      ],
    },
  };

  test.each<[string, (minute: number) => Promise<Act>]>([
    ['a veto', vetoes],
    ['a denial', (minute) => denies(erin, minute)],
  ])('ends what it ends: what comes after %s is disbelieved', async (_what, act) => {
    const ended = second(await act(100));
    expect(await verdictOn(await honest(await both(), FROM, ended))).toMatchObject({ ok: false });
    expect(await verdictOn([...(await filed()), ...(await both()), ...ended])).toMatchObject(late);
    // the control: what was not done ends nothing
    expect(await verdictOn(await honest(await both(), FROM, ended.slice(0, 2)))).toMatchObject({ ok: true });
  });

  test('that activates is no activation, and there is no other by the same approvals', async () => {
    const approved = [
      ...(await filed()),
      ...(await both()),
      ...(await approves(dana, FROM + 1)),
      ...(await approves(erin, FROM + 2)),
    ];
    const once = [...approved, ...second(activated(FROM + 3))];
    expect(await verdictOn(once)).toMatchObject({
      ok: true,
      reported: { first: [{ came: 'late', reason: expect.stringMatching(/may have been done/) as string }] },
    });
    expect(await verdictOn([...once, ...activated(FROM + 4)])).toMatchObject({ ok: false });
    const short = [...approved, ...second(activated(FROM + 3)).slice(0, 2)];
    expect(await verdictOn([...short, ...activated(FROM + 4)])).toMatchObject({ ok: true });
  });

  test('that vetoes what is being activated leaves no grant, and the log believed', async () => {
    const [vetoing, vetoed] = await vetoes(FROM + 3);
    const [attempt, made] = activated(FROM + 4);
    const entries = [
      ...(await filed()),
      ...(await both()),
      ...(await approves(dana, FROM + 1)),
      ...(await approves(erin, FROM + 2)),
    ];
    const straddled = [...entries, vetoing, interrupted(vetoing), attempt, vetoed, made];
    expect(await verdictOn(straddled)).toMatchObject(bothLate);
    // it has made no grant that could be used
    expect(await verdictOn([...straddled, ...(await uses(FROM + 5))])).toMatchObject({ ok: false });
    const whole = [...entries, vetoing, interrupted(vetoing), attempt, made];
    expect(await verdictOn([...whole, ...(await uses(FROM + 5))])).toMatchObject({ ok: true });
  });

  test('that vetoes what is being released: the log is believed, and both are reported', async () => {
    const hash = hashOf(askedOut);
    const entries = [
      ...(await filed(askedOut)),
      ...(await approves(dana, 10, hash)),
      ...(await approves(erin, 11, hash)),
    ];
    const [vetoing, vetoed] = await vetoes(12, hash);
    const [attempt, released] = await releases(13);
    const straddled = [...entries, vetoing, interrupted(vetoing), attempt, vetoed, released];
    expect(await verdictOn(straddled)).toMatchObject(bothLate);
    expect(await verdictOn([...straddled, ...(await releases(14))])).toMatchObject({ ok: false });
    const other = { ...released, detail: { ...released.detail, recipient: 'mallory' } };
    expect(
      await verdictOn([...entries, vetoing, interrupted(vetoing), attempt, vetoed, other]),
    ).toMatchObject({ ok: false, reason: expect.stringMatching(/to another than dana/) as string });
    // the control: a veto that was done in time ends it, and what is attempted behind it is disbelieved
    expect(await verdictOn([...entries, vetoing, vetoed, attempt, released])).toMatchObject({ ok: false });
    expect(await verdictOn([...entries, attempt, released])).toMatchObject({
      ok: true,
      reported: { count: 0 },
    });
  });

  test('that revokes a grant: a use behind it is disbelieved', async () => {
    const entries = [
      ...(await filed()),
      ...(await both()),
      ...(await approves(dana, FROM + 1)),
      ...(await approves(erin, FROM + 2)),
      ...activated(FROM + 3),
    ];
    const revoked = second(await revokes(FROM + 4));
    const used = await uses(FROM + 12);
    expect(await verdictOn([...entries, ...revoked])).toMatchObject(late);
    expect(await verdictOn([...entries, ...revoked, ...used])).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/after its grant had ended/) as string,
    });
    // the control: what was not done ends nothing
    expect(await verdictOn([...entries, ...revoked.slice(0, 2), ...used])).toMatchObject({ ok: true });
  });
});
