import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { verifyExport } from '../../src/audit/verifyExport.js';
import type { Json } from '../../src/log/entry/canonical.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { documentHash } from '../../src/log/export/format.js';
import type { Verdict } from '../../src/log/export/verifier.js';
import {
  administrators,
  at,
  document,
  goldenEntries,
  KEYS,
  logKey,
  people,
  request,
  sealed,
  unsigned,
} from '../client/goldenLog.js';
import { SignedActs, sha256Hex } from '../client/signedActs.js';

/*
 * What whoever runs the server, and holds the log's own key, might write into the log about keys that are sealed anew.
 */
let directory: string;
/** The policy, and the births of both keys. */
let births: readonly Entry[];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'escrowctl-'));
  const golden = await goldenEntries();
  births = golden.filter(({ act }) => act === 'policy.apply' || act === 'key.generate');
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

async function verdictOn(entries: readonly Entry[]): Promise<Verdict> {
  const path = join(directory, 'log.ndjson');
  writeFileSync(path, sealed(entries));
  return (await verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators })).verdict;
}

const RECOVERY = `rec_${'7'.repeat(32)}`;
const acts = new SignedActs('golden.example/log');
const PEOPLE = ['dana', 'erin', 'finn'];
const recipients = document.principals.flatMap((one) =>
  'depositaryKey' in one ? [{ depositary: one.id, fingerprint: one.depositaryKey }] : [],
);
const PLAN = {
  rule: 'all',
  quorums: [
    ['dana', 'erin'],
    ['dana', 'finn'],
  ],
  recipients,
  from: Object.fromEntries(KEYS.map((key) => [key, 1])),
  keks: ['kek-1'],
};
type Shares = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** What is said of a reseal, where it is not what an honest daemon says. */
interface Said {
  readonly plan?: Readonly<Record<string, Json>>;
  /** Under which key-encryption key the keys were born. */
  readonly bornUnder?: string;
  readonly scope?: Readonly<Record<string, Json>>;
  readonly more?: Readonly<Record<string, Json>>;
  readonly shares?: (key: string, honest: Shares) => Shares;
  readonly quorums?: Readonly<Record<string, Json>>;
  /** What stands between the attempt and the outcome. */
  readonly between?: readonly Entry[];
}

const about = { recovery: RECOVERY, keys: KEYS, owner: 'olga' };
const begun = (
  minute: number,
  act: string,
  actor: string,
  detail: Entry['detail'],
  signed?: string,
): Entry => ({
  v: 1,
  time: at(minute),
  act,
  id: `act_${String(minute).padStart(32, '7')}`,
  phase: 'attempted',
  actor,
  subject: about,
  ...(signed === undefined ? {} : { request: signed }),
  detail,
});
const done = (attempt: Entry, detail: Entry['detail'] = {}, digest = sha256Hex(attempt.id)): Entry => ({
  ...unsigned(attempt),
  phase: 'done',
  detail,
  digest,
});

/** A whole reseal of both keys, which dana has asked for, and dana and erin have approved. */
async function resealed({
  plan = {},
  scope = {},
  more = {},
  shares,
  quorums,
  between = [],
  bornUnder = 'kek-1',
}: Said = {}): Promise<readonly Entry[]> {
  const { dana, erin } = people;
  const planned = { ...PLAN, ...plan };
  const asked = {
    purpose: 'reseal',
    scope: {
      job: `job_${'8'.repeat(32)}`,
      policyVersion: 1,
      policyHash: documentHash(document),
      plan: documentHash(planned),
      ...scope,
    },
    reason: 'finn has left',
    expiresAt: at(24 * 60),
    approvalsHoldMs: 36_000_000,
  };
  const descriptions = Object.fromEntries(
    KEYS.map((key) => [key, { label: '', spec: 'ec-p256', use: 'sign' }]),
  );
  const requestHash = documentHash({
    version: 4,
    recovery: RECOVERY,
    owner: 'olga',
    keys: descriptions,
    requester: 'dana',
    ...asked,
  });
  const ask = begun(
    20,
    'recovery.request',
    'dana',
    { ...asked, version: 4, descriptions, plan: planned, requestHash },
    await request(dana, 20, '/v1/recoveries'),
  );
  const approve = async (by: typeof dana, minute: number): Promise<Entry> =>
    begun(
      minute,
      'recovery.approve',
      by.id,
      { requestHash, statement: await acts.statement(by, { recovery: RECOVERY, requestHash, keys: KEYS }) },
      await request(by, minute, `/v1/recoveries/${RECOVERY}/approvals`),
    );
  const [byDana, byErin] = [await approve(dana, 21), await approve(erin, 22)];
  const attempt = begun(23, 'recovery.reseal', 'escrowd', {
    requestHash,
    quorums: quorums ?? Object.fromEntries(KEYS.map((key) => [key, ['dana', 'erin']])),
  });
  const keys = Object.fromEntries(
    KEYS.map((key) => {
      const honest = { operate: Object.fromEntries(PEOPLE.map((id) => [id, sha256Hex(`${key} ${id}`)])) };
      const previous = births.findIndex(({ phase, subject }) => phase === 'done' && subject.key === key);
      const deposit = { generation: 2, previous, digest: sha256Hex(`deposit ${key}`), ...more };
      return [key, { ...deposit, shares: shares?.(key, honest) ?? honest }];
    }),
  );
  const digests = Object.fromEntries(Object.entries(keys).map(([key, { digest }]) => [key, digest]));
  return [
    ...[
      ...births.map((birth) => under(birth, bornUnder)),
      ask,
      done(ask),
      byDana,
      done(byDana),
      byErin,
      done(byErin),
    ],
    ...[attempt, ...between, done(attempt, { job: asked.scope.job, keys }, documentHash(digests))],
  ];
}

/** A birth, as if the key had been deposited under this key-encryption key. */
function under(entry: Entry, kek: string): Entry {
  const { shares } = entry.detail;
  if (!Array.isArray(shares)) return entry;
  return {
    ...entry,
    detail: { ...entry.detail, shares: shares.map((one) => ({ ...(one as object), kek })) },
  };
}

const [V1, V2, V3] = ['kek:operate:sign:v1', 'kek:operate:sign:v2', 'kek:operate:sign:v3'] as const;
/** A plan by which the keys go from the first to the second, and an outcome that says so. */
const rotating = (said: {
  readonly from?: string;
  readonly to?: string;
  readonly done?: string;
  readonly keks?: readonly string[];
}): Said => {
  const { from = V1, to = V2, done: kek = to, keks = [V1] } = said;
  return {
    bornUnder: V1,
    plan: { keks, rotations: [{ from, to }] },
    more: { keks: { operate: kek } },
  };
};

test('keys that were rotated as planned are no ground to refuse the log', async () => {
  expect(await verdictOn(await resealed(rotating({})))).toMatchObject({ ok: true });
});

test.each<readonly [what: string, reason: RegExp, said: Said]>([
  [
    'under an older key-encryption key than planned',
    /other key-encryption keys than were planned/,
    rotating({ to: V3, done: V2 }),
  ],
  ['under the one before', /other key-encryption keys than were planned/, rotating({ done: V1 })],
  ['under a newer one than planned', /other key-encryption keys than were planned/, rotating({ done: V3 })],
  ['without saying under which', /not under the key-encryption keys/, { ...rotating({}), more: {} }],
  [
    'under another, and none was planned',
    /not under the key-encryption keys/,
    { bornUnder: V1, plan: { keks: [V1] }, more: { keks: { operate: V2 } } },
  ],
  [
    'for another purpose as well',
    /other key-encryption keys than were planned/,
    { ...rotating({}), more: { keks: { operate: V2, release: 'kek:release:private:v2' } } },
  ],
  [
    'by a plan that names another than they lie under',
    /other key-encryption keys are named/,
    rotating({ from: V2, to: V3, keks: [V2] }),
  ],
  [
    'by a plan that rotates one that they do not lie under',
    /that no key lies under/,
    rotating({ from: V2, to: V3 }),
  ],
  [
    'by a plan to one of another kind',
    /no newer one of its kind/,
    rotating({ to: 'kek:operate:decrypt:v2' }),
  ],
  ['by a plan to one for release', /no newer one of its kind/, rotating({ to: 'kek:release:private:v2' })],
  ['by a plan to itself', /no newer one of its kind/, rotating({ to: V1 })],
  [
    'by a plan that says that one stays which no key lies under',
    /that no key lies under/,
    { bornUnder: V1, plan: { keks: [V1], unrotated: [V2] } },
  ],
])('keys that are rotated %s are found', async (_what, reason, said) => {
  expect(await verdictOn(await resealed(said))).toMatchObject({
    ok: false,
    reason: expect.stringMatching(reason) as string,
  });
});

test('keys that were sealed anew as the policy has it are no ground to refuse the log', async () => {
  expect(await verdictOn(await resealed())).toMatchObject({ ok: true });
});

test('what was under way when a second outcome ended the request is reported, and the log believed', async () => {
  const cancel = begun(
    24,
    'recovery.cancel',
    'dana',
    { reason: 'no' },
    await request(people.dana, 24, `/v1/recoveries/${RECOVERY}/cancel`),
  );
  const closed: Entry = { ...unsigned(cancel), phase: 'failed', detail: {}, error: 'interrupted' };
  const verdict = await verdictOn(await resealed({ between: [cancel, closed, done(cancel)] }));
  expect(verdict).toMatchObject({ ok: true });
  expect(JSON.stringify(verdict)).toContain('recovery.reseal of a request that had ended since');
});

const expire = begun(24, 'recovery.expire', 'escrowd', { expiresAt: at(24) });

test.each<readonly [what: string, reason: RegExp, said: Said]>([
  [
    'to others than planned',
    /shares for others/,
    {
      shares: (_key, { operate }) => ({ operate: { ...operate, eve: sha256Hex('eve') } }),
    },
  ],
  [
    'with one share for two',
    /one share for two/,
    {
      shares: (_key, { operate }) => ({ operate: { ...operate, finn: operate?.['erin'] ?? '' } }),
    },
  ],
  [
    'with a share that another key has',
    /one share for two/,
    {
      shares: () => ({ operate: Object.fromEntries(PEOPLE.map((id) => [id, sha256Hex(id)])) }),
    },
  ],
  [
    'for another purpose',
    /other purposes/,
    { shares: (_key, { operate = {} }) => ({ operate, release: operate }) },
  ],
  ['into the generation after the next', /another generation/, { more: { generation: 3 } }],
  ['in the place of another deposit', /in the place of another/, { more: { previous: 0 } }],
  ['by another plan than was hashed', /hash of a plan/, { scope: { plan: sha256Hex('another') } }],
  ['by another rule', /by another rule/, { plan: { rule: 'others' } }],
  ['with other quorums', /quorums other than/, { plan: { quorums: [['dana', 'finn']] } }],
  [
    'to another key of somebody',
    /other keys of people/,
    {
      plan: { recipients: recipients.map((one) => ({ ...one, fingerprint: sha256Hex('eve') })) },
    },
  ],
  [
    'from another deposit',
    /not from the deposit/,
    { plan: { from: Object.fromEntries(KEYS.map((key) => [key, 2])) } },
  ],
  ['by another policy', /another policy/, { scope: { policyHash: sha256Hex('another') } }],
  ['without a quorum', /without a quorum/, { quorums: Object.fromEntries(KEYS.map((key) => [key, []])) }],
  [
    'when the request had ended, to anybody',
    /request that had ended/,
    {
      between: [expire, done(expire, { status: 'expired' })],
      shares: () => ({ operate: { eve: sha256Hex('eve') } }),
    },
  ],
])('keys that are sealed anew %s are found', async (_what, reason, said) => {
  expect(await verdictOn(await resealed(said))).toMatchObject({
    ok: false,
    reason: expect.stringMatching(reason) as string,
  });
});
