import type { KeyId, PrincipalId } from '../../../src/escrow/records/ids.js';
import type { RequestFacts } from '../../../src/escrow/notices/words.js';
import type { Notice } from '../../../src/escrow/records/notice.ts';
import { needsRequest, noticesOf } from '../../../src/escrow/notices/whoIsTold.js';
import type { Entry, Phase } from '../../../src/log/entry/entry.js';

const person = (name: string): PrincipalId => name as PrincipalId;
const key = `key_${'2'.repeat(32)}` as KeyId;
const request: RequestFacts = {
  owner: person('owner'),
  requester: person('manager'),
  purpose: 'operate',
  beneficiary: person('app'),
  keys: [{ key, label: 'contracts' }],
  reason: 'the owner is away',
  expiresAt: '2026-02-04T00:00:00.000Z',
  deciders: ['manager', 'officer-1', 'officer-2'].map(person),
  reasonOf: (who) => (who === 'officer-1' ? 'I was not told' : undefined),
};

const subject = { recovery: `rec_${'1'.repeat(32)}`, keys: [key], owner: 'owner' };
const ofGrant = { recovery: subject.recovery, key, owner: 'owner', grant: `grant_${'3'.repeat(32)}` };

function entry(act: string, phase: Phase, more: Partial<Entry> = {}): Entry {
  const error = phase === 'denied' || phase === 'failed' ? { error: 'forbidden' } : {};
  return {
    v: 1,
    time: '2026-02-03T04:05:06.789Z',
    act,
    id: 'act_1',
    phase,
    actor: 'officer-1',
    subject: act.startsWith('grant') ? ofGrant : subject,
    detail: {},
    ...error,
    ...more,
  };
}

/** Who is told what: `depositary officer-1 asked`. */
function told(from: Entry, facts: RequestFacts | undefined = request): readonly string[] {
  return noticesOf(7, from, facts).map(({ as, to, kind, outcome }) => `${as} ${to} ${kind} ${outcome}`);
}

function first(from: Entry, facts: RequestFacts | undefined = request): Notice {
  const [notice] = noticesOf(7, from, facts);
  if (notice === undefined) throw new Error('nobody is told');
  return notice;
}

const BOTH = (outcome: string) => [`requester manager decided ${outcome}`, `owner owner decided ${outcome}`];

describe('who is told', () => {
  test.each<[string, Entry, readonly string[]]>([
    [
      'a request: those who may decide, and the owner',
      entry('recovery.request', 'done', { actor: 'manager' }),
      [
        'depositary manager asked pending',
        'depositary officer-1 asked pending',
        'depositary officer-2 asked pending',
        'owner owner asked pending',
      ],
    ],
    [
      'an import, of whoever it was: the owner',
      entry('key.import', 'done', { subject: { key, owner: 'owner' }, actor: 'admin-1' }),
      ['owner owner imported done'],
    ],
    [
      'a refused import for somebody else: that one',
      entry('key.import', 'denied', { subject: { owner: 'owner' }, actor: 'other-owner' }),
      ['owner owner refused forbidden'],
    ],
    [
      'an approval of several: nobody',
      entry('recovery.approve', 'done', { detail: { status: 'pending' } }),
      [],
    ],
    [
      'the last approval: who asked, and the owner',
      entry('recovery.approve', 'done', { detail: { status: 'approved' } }),
      BOTH('approved'),
    ],
    [
      'a denial that ends nothing',
      entry('recovery.deny', 'done', { detail: { status: 'pending' } }),
      BOTH('pending'),
    ],
    [
      'an intent: the owner and who asked, as for a decision',
      entry('recovery.intend', 'done', { detail: { intendedAt: '2026-03-01T12:00:00.000Z' } }),
      BOTH('pending'),
    ],
    [
      'the intent that begins the delay: those who may decide as well',
      entry('recovery.intend', 'done', { detail: { repliesFrom: '2026-03-01T16:00:00.000Z' } }),
      [
        ...BOTH('pending'),
        'depositary manager asked pending',
        'depositary officer-1 asked pending',
        'depositary officer-2 asked pending',
      ],
    ],
    [
      'a delay that is over: whom the entry names, who have said that they intend to approve',
      entry('recovery.remind', 'done', {
        actor: 'escrowd',
        detail: { depositaries: ['manager', 'officer-2', 'No Id', 7] },
      }),
      ['depositary manager approval-due pending', 'depositary officer-2 approval-due pending'],
    ],
    ['a reminder that names nobody: nobody', entry('recovery.remind', 'done'), []],
    [
      'a reminder that came to nothing: nobody',
      entry('recovery.remind', 'failed', { detail: { depositaries: ['manager'] } }),
      [],
    ],
    ['a denial', entry('recovery.deny', 'done', { detail: { status: 'denied' } }), BOTH('denied')],
    [
      'a veto',
      entry('recovery.veto', 'done', { actor: 'owner', detail: { status: 'vetoed' } }),
      BOTH('vetoed'),
    ],
    [
      'a cancellation',
      entry('recovery.cancel', 'done', { detail: { status: 'cancelled' } }),
      BOTH('cancelled'),
    ],
    [
      'an end by administrators: who might have decided as well',
      entry('recovery.stop', 'done', {
        actor: 'ann',
        detail: { status: 'cancelled', signers: ['ann', 'bob'] },
      }),
      [
        'depositary officer-1 decided cancelled',
        'depositary officer-2 decided cancelled',
        ...BOTH('cancelled'),
      ],
    ],
    ['an end of time', entry('recovery.expire', 'done', { detail: { status: 'expired' } }), BOTH('expired')],
    [
      'an activation',
      entry('recovery.activate', 'done', { detail: { grants: { [key]: 'grant_1' } } }),
      BOTH('active'),
    ],
    ['a release', entry('recovery.release', 'done'), BOTH('released')],
    [
      'a deposit that does not open',
      entry('recovery.activate', 'failed', { error: 'recovery-failed', detail: { status: 'failed' } }),
      BOTH('failed'),
    ],
    ['an outage under an activation: nobody', entry('recovery.activate', 'failed'), []],
    ['a signature', entry('grant.sign', 'done', { detail: { uses: 3 } }), ['owner owner used done']],
    ['a decryption', entry('grant.decrypt', 'done', { detail: { uses: 1 } }), ['owner owner used done']],
    [
      'a use that failed',
      entry('grant.sign', 'failed', { error: 'token-unavailable' }),
      ['owner owner used token-unavailable'],
    ],
    ['a revocation', entry('grant.revoke', 'done', { detail: { status: 'revoked' } }), BOTH('revoked')],
    ['a grant at its end', entry('grant.expire', 'done', { detail: { status: 'expired' } }), BOTH('expired')],
    [
      'a grant used up',
      entry('grant.exhaust', 'done', { detail: { status: 'exhausted' } }),
      BOTH('exhausted'),
    ],
    [
      'a drill in which everything opens: nobody',
      entry('key.drill', 'done', { detail: { results: [{ key, purpose: 'operate', result: 'opened' }] } }),
      [],
    ],
    [
      'a drill in which something does not: the owner',
      entry('key.drill', 'done', {
        detail: {
          results: [
            { key, purpose: 'operate', result: 'opened' },
            { key, purpose: 'release', result: 'link-unopened' },
          ],
        },
      }),
      ['owner owner drill-failed done'],
    ],
    ['a drill that was refused: nobody', entry('key.drill', 'denied', { error: 'drill-out-of-turn' }), []],
    ['a drill that broke off: nobody', entry('key.drill', 'failed', { error: 'token-unavailable' }), []],
    ['a refused use: the owner', entry('grant.sign', 'denied'), ['owner owner refused forbidden']],
    ['a refused request: the owner', entry('recovery.request', 'denied'), ['owner owner refused forbidden']],
    ['a refusal of the owner: nobody', entry('grant.revoke', 'denied', { actor: 'owner' }), []],
    ['two at the same thing: nobody', entry('recovery.approve', 'denied', { error: 'busy' }), []],
    ['a refusal about nobody: nobody', entry('recovery.request', 'denied', { subject: {} }), []],
    ['an owner who is none: nobody', entry('grant.sign', 'denied', { subject: { owner: 'A\nB' } }), []],
    ['an attempt: nobody yet', entry('grant.sign', 'attempted'), []],
    ['a reader who was refused: nobody', entry('key.read', 'denied'), []],
    ['a policy: nobody', entry('policy.apply', 'done', { subject: {} }), []],
    ['an act of another version: nobody', entry('toString', 'done'), []],
  ])('of %s', (_what, from, expected) => {
    expect(told(from)).toEqual(expected);
  });

  test('once, who is both requester and owner', () => {
    const facts = { ...request, requester: person('owner') };
    expect(told(entry('recovery.release', 'done'), facts)).toEqual(['owner owner decided released']);
  });

  test('never to decide, the owner', () => {
    const facts = { ...request, deciders: [person('owner'), person('manager')] };
    expect(told(entry('recovery.request', 'done'), facts)).toEqual([
      'depositary manager asked pending',
      'owner owner asked pending',
    ]);
  });

  test('the owner still, when the records lack the request', () => {
    const notices = noticesOf(7, entry('recovery.release', 'done'), undefined);
    expect(notices.map(({ to, as, outcome }) => [to, as, outcome])).toEqual([['owner', 'owner', 'released']]);
  });
});

describe('a notice', () => {
  test('has the same id for the same entry and person, and another for everybody and everything else', () => {
    const asked = entry('recovery.request', 'done');
    const ids = [
      ...noticesOf(7, asked, request),
      ...noticesOf(7, { ...asked, id: 'act_2' }, request),
      ...noticesOf(7, entry('recovery.release', 'done'), request),
    ].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.every((id) => /^ntc_[0-9a-f]{32}$/.test(id))).toBe(true);
    expect(
      noticesOf(7, asked, { ...request, keys: [{ key, label: 'renamed' }] }).map(({ id }) => id),
    ).toEqual(ids.slice(0, 4));
  });

  test('says in words who asks for what, why, and until when', () => {
    const { text } = first(entry('recovery.request', 'done', { actor: 'manager' }));
    expect(text).toBe(
      'manager asks that app may use the key "contracts", owned by owner. Reason given: "the owner is away". ' +
        `You may approve or deny it until 2026-02-04T00:00:00.000Z: request ${subject.recovery}.`,
    );
  });

  test('of a request for several keys names them all, and each grant that came of it', () => {
    const keys = ['contracts', 'letters'].map((label, at) => ({
      key: `key_${String(at).repeat(32)}` as KeyId,
      label,
    }));
    const facts = { ...request, keys };
    const of = { ...subject, keys: keys.map((one) => one.key) };
    expect(first(entry('recovery.request', 'done', { subject: of }), facts).text).toContain(
      'asks that app may use the 2 keys "contracts", "letters", owned by owner.',
    );
    expect(first(entry('recovery.request', 'done', { subject: of }), facts).request?.keys).toEqual(keys);
    const grants = Object.fromEntries(keys.map((one, at) => [one.key, `grant_${at}`]));
    expect(
      first(entry('recovery.activate', 'done', { subject: of, detail: { grants } }), facts).text,
    ).toContain('the keys can be used, each under its grant: grant_0, grant_1');
    expect(first(entry('recovery.request', 'denied', { subject: of }), facts).text).toContain(
      `on your keys ${of.keys.join(', ')}: forbidden`,
    );
  });

  test('of a use says what it is for, in quotes, where the app has said it, whether it came to anything or not', () => {
    const context = 'invoice 4711\n "final"';
    const quoted = 'Given as what it is for: "invoice 4711 \\"final\\"".';
    const made = entry('grant.sign', 'done', { detail: { uses: 1, context } });
    expect(first(made).text).toMatch(/: 1 use\. /);
    expect(first(made).text).toContain(quoted);
    const failed = entry('grant.decrypt', 'failed', {
      error: 'token-unavailable',
      detail: { made: 0, context },
    });
    expect(first(failed).text).toContain(quoted);
    expect(first(entry('grant.sign', 'done', { detail: { uses: 1 } })).text).not.toContain('what it is for');
  });

  test('of a drill names what does not open, and what to do', () => {
    const results = [
      { key, purpose: 'operate', result: 'opened' },
      { key, purpose: 'release', result: 'link-unopened' },
    ];
    const { text } = first(entry('key.drill', 'done', { actor: 'dana', detail: { results } }));
    expect(text).toContain(`does not open of a key of yours: ${key} for release (link-unopened).`);
    expect(text).not.toContain('operate');
    expect(text).toContain('escrowctl reseal --key');
  });

  test('says who denied, and why', () => {
    const { text } = first(entry('recovery.deny', 'done', { detail: { status: 'denied' } }));
    expect(text).toBe(
      `Request ${subject.recovery} was denied by officer-1 and has ended. Reason given: "I was not told". ` +
        'manager had asked that app may use the key "contracts".',
    );
  });

  test('is one line, whatever somebody has written', () => {
    const reason = 'x".\r\nSubject: y\u2028\u202e z\u0000';
    const { text } = first(entry('recovery.request', 'done'), { ...request, reason });
    expect(text).toContain('Reason given: "x\\". Subject: y \\u{202e} z\\u{0}".');
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}\u2028]/u);
  });

  test('of a use or a refusal tells nothing of a request, and a use how many it took', () => {
    expect(first(entry('grant.sign', 'done', { detail: { uses: 3 } }))).toMatchObject({
      uses: 3,
      request: undefined,
    });
    expect(first(entry('grant.sign', 'denied')).request).toBeUndefined();
  });

  test('holds nothing of an entry but what it names', () => {
    const secret = 'SECRET';
    const detail = { status: 'approved', statement: secret, inputs: [secret], reason: secret, uses: 1 };
    for (const act of ['recovery.approve', 'recovery.release', 'grant.sign', 'recovery.deny']) {
      const notices = noticesOf(7, entry(act, 'done', { detail, digest: secret, request: secret }), request);
      expect(notices.length).toBeGreaterThan(0);
      expect(JSON.stringify(notices)).not.toContain(secret);
    }
  });
});

test('the records are asked only for what depends on them', () => {
  expect(needsRequest(entry('recovery.request', 'done'))).toBe(true);
  expect(needsRequest(entry('grant.revoke', 'done'))).toBe(true);
  expect(needsRequest(entry('grant.sign', 'done'))).toBe(false);
  expect(needsRequest(entry('recovery.request', 'attempted'))).toBe(false);
  expect(needsRequest(entry('recovery.request', 'denied'))).toBe(false);
});
