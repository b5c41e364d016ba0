import { Grants, grantStatus } from '../../../src/audit/reports/grants.js';
import { Keys } from '../../../src/audit/reports/keys.js';
import { Requests } from '../../../src/audit/reports/requests.js';
import type { Entry } from '../../../src/log/entry/entry.js';

const at = (minute: number): string => new Date(Date.UTC(2026, 2, 1, 12, minute)).toISOString();
const KEY = 'key_1';
const RECOVERY = 'rec_1';

/** An entry of an act that is known by its minute, so that attempt and outcome are one act when they name one. */
function entry(act: string, phase: Entry['phase'], minute: number, more: Partial<Entry> = {}): Entry {
  const subject = { recovery: RECOVERY, keys: [KEY], owner: 'olga' };
  return {
    v: 1,
    time: at(minute),
    act,
    id: `${act} ${minute}`,
    phase,
    actor: 'dana',
    subject,
    detail: {},
    ...more,
  };
}

const born = { subject: { key: KEY, owner: 'olga' }, actor: 'olga' };
const birth = [
  entry('key.generate', 'attempted', 0, {
    ...born,
    detail: { spec: 'ec-p256', use: 'sign', rule: 'all', label: 'letters', quorums: [['dana', 'erin']] },
  }),
  entry('key.generate', 'done', 0, {
    ...born,
    detail: {
      shares: [{ purpose: 'operate', kek: 'k', recipients: [{ depositary: 'dana', recipient: 'd1' }] }],
    },
  }),
];

function keysOf(entries: readonly Entry[]): Keys {
  const keys = new Keys();
  for (const [index, one] of entries.entries()) keys.follow(one, index);
  return keys;
}

test('a key is with those whom its birth names', () => {
  expect(keysOf(birth).get(KEY)).toMatchObject({
    ...{ owner: 'olga', label: 'letters', rule: 'all', generation: 1, entry: 1, broughtBack: undefined },
    purposes: [{ purpose: 'operate', quorums: [['dana', 'erin']], recipients: new Map([['dana', 'd1']]) }],
  });
});

test('an order that came to nothing makes no key', () => {
  const failed = entry('key.generate', 'failed', 0, { ...born, error: 'token-unavailable' });
  expect(keysOf([...birth.slice(0, 1), failed]).all).toEqual([]);
});

test('a key that was sealed anew is with those whom the plan names, and was brought back by it', () => {
  const plan = {
    rule: 'new',
    quorums: [['fay', 'gus']],
    recipients: [{ depositary: 'fay', fingerprint: 'f1' }],
  };
  const keys = keysOf([
    ...birth,
    entry('recovery.request', 'attempted', 2, { detail: { purpose: 'reseal', plan } }),
    entry('recovery.reseal', 'done', 3, {
      detail: { keys: { [KEY]: { generation: 2, previous: 1, digest: 'ab'.repeat(32), shares: {} } } },
    }),
  ]);
  expect(keys.get(KEY)).toMatchObject({
    ...{ rule: 'new', generation: 2, entry: 3, broughtBack: { at: at(3), act: 'recovery.reseal' } },
    purposes: [{ purpose: 'operate', quorums: [['fay', 'gus']], recipients: new Map([['fay', 'f1']]) }],
  });
});

test('a plan that was not carried out changes nothing', () => {
  const plan = { rule: 'new', quorums: [['fay', 'gus']], recipients: [] };
  const asked = entry('recovery.request', 'attempted', 2, { detail: { purpose: 'reseal', plan } });
  expect(keysOf([...birth, asked]).get(KEY)).toEqual(keysOf(birth).get(KEY));
});

test('the label of a key is learnt from a request of its owner\u2019s keys, and from no other', () => {
  const [ordered, made] = birth;
  if (ordered === undefined || made === undefined) throw new Error('a birth has two entries');
  const unlabelled = Object.fromEntries(Object.entries(ordered.detail).filter(([name]) => name !== 'label'));
  const asked = (owner: string): Entry =>
    entry('recovery.request', 'attempted', 2, {
      subject: { recovery: RECOVERY, keys: [KEY], owner },
      detail: { descriptions: { [KEY]: { label: 'as asked', spec: 'ec-p256', use: 'sign' } } },
    });
  const before = [{ ...ordered, detail: unlabelled }, made];
  expect(keysOf([...before, asked('olga')]).labelOf(KEY)).toBe('as asked');
  expect(keysOf([...before, asked('eve')]).labelOf(KEY)).toBe('');
});

describe('a request', () => {
  const filed = [
    entry('recovery.request', 'attempted', 1, {
      detail: {
        purpose: 'operate',
        scope: { app: 'mailer', maxUses: 3 },
        reason: 'away',
        expiresAt: at(100),
      },
    }),
    entry('recovery.request', 'done', 1),
  ];
  const approved = entry('recovery.approve', 'done', 2, { detail: { status: 'approved' } });
  const denied = entry('recovery.deny', 'done', 3, { actor: 'erin', detail: { status: 'denied' } });
  const after = (...entries: readonly Entry[]) => {
    const requests = new Requests();
    for (const [index, one] of [...filed, ...entries].entries()) requests.follow(one, index);
    return requests;
  };

  test.each<[string, readonly Entry[], object]>([
    [
      'that nobody decided on is pending',
      [],
      { status: 'pending', app: 'mailer', maxUses: 3, approvals: [] },
    ],
    ['that a quorum agreed to is approved', [approved], { status: 'approved', ended: undefined }],
    [
      'that was denied has ended',
      [denied],
      { status: 'denied', ended: { who: 'erin', at: at(3) }, denials: [{ who: 'erin', at: at(3) }] },
    ],
    [
      'of which somebody denies what they approved is not approved by them',
      [approved, { ...denied, actor: 'dana' }],
      { approvals: [], denials: [{ who: 'dana', at: at(3) }] },
    ],
    ['that administrators stop is stopped', [entry('recovery.stop', 'done', 3)], { status: 'stopped' }],
    [
      'stays what it has ended as',
      [denied, entry('recovery.activate', 'done', 4)],
      { status: 'denied', ended: { who: 'erin', at: at(3) } },
    ],
    [
      'that could not be carried out has failed',
      [entry('recovery.activate', 'failed', 4, { error: 'recovery-failed' })],
      { status: 'failed' },
    ],
  ])('%s', (_claim, entries, expected) => {
    expect(after(...entries).get(RECOVERY)).toMatchObject(expected);
  });

  test('that was refused is none', () => {
    const requests = new Requests();
    requests.follow(filed[0] ?? approved, 0);
    requests.follow(entry('recovery.request', 'denied', 1, { error: 'forbidden' }), 1);
    expect(requests.all).toEqual([]);
  });

  test('is over by an outcome that came late', () => {
    const requests = after();
    requests.ended(entry('recovery.cancel', 'done', 5));
    expect(requests.get(RECOVERY)).toMatchObject({ status: 'cancelled' });
  });
});

describe('a grant', () => {
  const GRANT = 'grant_1';
  const made = entry('recovery.activate', 'done', 10, {
    detail: { app: 'mailer', maxUses: 2, startsAt: at(20), expiresAt: at(40), grants: { [KEY]: GRANT } },
  });
  const about = { subject: { grant: GRANT, key: KEY, owner: 'olga' } };
  const use = entry('grant.sign', 'attempted', 25, { ...about, detail: { inputs: ['a'] } });
  const statusAt = (minute: number, entries: readonly Entry[], isDoubted = false) => {
    const grants = new Grants();
    grants.follow(made, 0, false);
    for (const one of entries) grants.follow(one, 1, isDoubted);
    const grant = grants.get(GRANT);
    return grant && [grantStatus(grant, at(minute)), grant.used];
  };

  test.each<[string, readonly unknown[] | undefined, readonly unknown[]]>([
    ['has not begun', statusAt(15, []), ['not yet begun', 0]],
    ['is open', statusAt(30, [use]), ['open', 1]],
    ['is used up', statusAt(30, [use, use]), ['exhausted', 2]],
    ['has expired, also where nobody has recorded it', statusAt(40, [use]), ['expired', 1]],
    ['was revoked', statusAt(30, [entry('grant.revoke', 'done', 28, about)]), ['revoked', 0]],
    ['was not yet revoked', statusAt(27, [entry('grant.revoke', 'done', 28, about)]), ['open', 0]],
    ['was tried in vain', statusAt(30, [use], true), ['open', 0]],
  ])('%s', (_claim, found, expected) => {
    expect(found).toEqual(expected);
  });
});
