import type { KeyOrder, RecoveryOrder, ScopeOrder } from '../../src/api/orders.js';
import type { KeyReply } from '../../src/api/replies.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { grantOf } from '../support/oneKey.js';
import type { PersonName, System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { replay } from '../support/replay.js';
import { standingOf } from './records.js';
import { refusalOf, tally } from './refusals.js';
import { filed, toOperate, toRelease } from './recoveries.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const twoOfThree = { atLeast: 2, of: ['manager', 'role:security-officer'] };
const usual = { operations: ['sign'], maxUses: 100, maxDuration: 'PT24H' };

/** A rule for each kind of key, so that each test finds its own. */
const RULES = [
  {
    name: 'limited',
    when: { 'key.spec': 'ec-p256' },
    depositaries: twoOfThree,
    requesters: ['depositary', 'app'],
    requests: { maxValidFor: 'PT2H', approvalsHold: 'PT3H' },
    operate: {
      ...usual,
      input: 'message',
      mechanisms: ['ES256'],
      rate: { uses: 5, per: 'PT1M' },
    },
  },
  {
    name: 'distinct',
    when: { 'key.spec': 'ec-p384' },
    depositaries: twoOfThree,
    requests: { distinct: ['requester-depositary'], denialsToEnd: 1 },
    operate: { ...usual, delay: 'PT4H', ownerMayVeto: true },
  },
  {
    name: 'one-of-each',
    when: { 'key.spec': 'ec-p521' },
    depositaries: { allOf: ['manager', { anyOf: ['role:security-officer'] }] },
    operate: usual,
  },
  {
    name: 'handing-out',
    when: { use: 'decrypt' },
    depositaries: twoOfThree,
    requests: { approvalsHold: 'PT6H' },
    release: { delay: 'PT4H', ownerMayVeto: true },
  },
];

let system: System;
let nowMs = Date.now();
let limited: KeyReply;
let distinct: KeyReply;
let oneOfEach: KeyReply;
let handingOut: KeyReply;

beforeAll(async () => {
  system = await makeSystem({
    now: () => new Date(nowMs),
    // nobody keeps house but when a test starts the daemon anew
    config: () => ({ housekeepingMs: 3_600_000 }),
  });
  await system.applyRules(RULES);
  limited = await make('ec-p256', 'sign');
  distinct = await make('ec-p384', 'sign');
  oneOfEach = await make('ec-p521', 'sign');
  handingOut = await make('aes-256', 'decrypt');
});
afterEach(async () => {
  await expectLogHolds(system);
});
afterAll(() => system.remove());

async function make(
  spec: KeyOrder['spec'],
  use: KeyOrder['use'],
  owner: PersonName = 'owner',
): Promise<KeyReply> {
  return (await system.client('admin-1').generateKey({ owner, spec, use })).result;
}

async function fileAs(name: PersonName, order: RecoveryOrder): Promise<string> {
  return (await system.client(name).requestRecovery(order)).result.recovery;
}

async function statusOf(recovery: string, by: PersonName = 'auditor'): Promise<string> {
  return (await system.client(by).recovery(recovery)).status;
}

async function grantFor(key: KeyReply, scope: Partial<ScopeOrder> = {}): Promise<string> {
  const { recovery } = await filed(system, toOperate(key, { maxUses: 5, ...scope }));
  await system.approve('manager', recovery);
  return grantOf(await system.approve('officer-1', recovery));
}

const message = Buffer.from('a letter').toString('base64url');
function sign(grant: string, count = 1): ReturnType<ReturnType<System['client']>['sign']> {
  const messages = Array.from({ length: count }, () => message);
  return system.client('app').sign(grant, { mechanism: 'ES256', messages });
}

async function lastEntry(
  act: string,
  about: { readonly recovery?: string; readonly grant?: string },
): Promise<Entry | undefined> {
  const entries = await entriesFrom(system, 0);
  return entries.findLast(
    ({ act: found, subject }) =>
      found === act &&
      subject.recovery === (about.recovery ?? subject.recovery) &&
      subject.grant === (about.grant ?? subject.grant),
  );
}

describe('who decides', () => {
  test('self-approval: a requester who may not be a depositary of the request neither sees a share nor decides', async () => {
    const scope = { mechanisms: ['ES384'] } as const;
    const { recovery } = await filed(system, toOperate(distinct, scope));
    expect((await system.client('manager').recovery(recovery)).forDepositary).toBeUndefined();
    expect((await system.client('officer-1').recovery(recovery)).forDepositary).toBeDefined();
    // not even with a statement that is made with all that an officer sees
    const approval = await system.makeApproval('officer-1', recovery);
    expect(await refusalOf(system.client('manager').sendApproval(recovery, approval))).toBe('forbidden');
    await system.client('manager').cancel(recovery, 'seen enough');
  });

  test('self-approval: where the rule lets the requester approve, they count once', async () => {
    const { recovery } = await filed(system, toOperate(limited));
    const approval = await system.makeApproval('manager', recovery);
    await system.client('manager').sendApproval(recovery, approval);
    expect(await refusalOf(system.client('manager').sendApproval(recovery, approval))).toBe(
      'approval-duplicate',
    );
    expect(await refusalOf(system.approve('manager', recovery))).toBe('approval-duplicate');
    expect(await statusOf(recovery)).toBe('pending');
    await system.client('manager').cancel(recovery, 'seen enough');
  });

  test('a request that only its requester could approve is not filed', async () => {
    const rules = [{ ...RULES[1], depositaries: { allOf: ['manager', 'role:security-officer'] } }];
    await system.applyRules(rules);
    const key = await make('ec-p384', 'sign');
    await system.applyRules(RULES);
    const order = toOperate(key, { mechanisms: ['ES384'] });
    expect(await refusalOf(filed(system, order))).toBe('quorum-impossible');
  });

  test('owner as depositary: an owner who is an officer has no share of their own key, and cannot approve', async () => {
    // officer-1 owns a key as well
    const identity = system.identity('officer-1');
    const roles = ['owner', 'depositary', 'security-officer'];
    await system.applyRules(RULES, {
      'officer-1': await personOf('officer-1', roles, { manager: 'manager' }),
    });
    const key = await make('ec-p256', 'sign', 'officer-1');
    expect(key.purposes.flatMap(({ recipients }) => recipients.map(({ depositary }) => depositary))).toEqual([
      'manager',
      'officer-2',
    ]);
    expect(key.purposes.flatMap(({ quorums }) => quorums)).toEqual([['manager', 'officer-2']]);
    const { recovery } = await filed(system, toOperate(key));
    expect((await system.client('officer-1').recovery(recovery)).forDepositary).toBeUndefined();
    const approval = await system.makeApproval('officer-2', recovery);
    expect(await refusalOf(system.client('officer-1').sendApproval(recovery, approval))).toBe('forbidden');
    expect(identity.id).toBe('officer-1');
    await system.client('manager').cancel(recovery, 'seen enough');
    await system.applyRules(RULES);
  });

  test('the same person twice: who is the manager and an officer is one of the two that a quorum needs', async () => {
    const roles = ['depositary', 'security-officer'];
    await system.applyRules(RULES, { manager: await personOf('manager', roles) });
    const key = await make('ec-p256', 'sign');
    const quorums = key.purposes.flatMap((purpose) => purpose.quorums);
    expect(quorums.every((members) => new Set(members).size === members.length && members.length >= 2)).toBe(
      true,
    );
    const { recovery } = await filed(system, toOperate(key));
    await system.approve('manager', recovery);
    expect(await statusOf(recovery)).toBe('pending');
    await system.client('manager').cancel(recovery, 'seen enough');
    await system.applyRules(RULES);
  });

  test('the manager changed after the request: the shares decide, which are with the manager of the day of the deposit', async () => {
    const { recovery } = await filed(system, toOperate(oneOfEach, { mechanisms: ['ES512'] }));
    const owner = await personOf('owner', ['owner'], { department: 'finance', manager: 'officer-2' });
    await system.applyRules(RULES, { owner });
    await system.approve('officer-2', recovery);
    expect(await statusOf(recovery)).toBe('pending');
    await system.approve('manager', recovery);
    expect(await statusOf(recovery)).toBe('active');
    // a key made since has its share with the new one, who as manager and officer is one of the two
    const key = await make('ec-p521', 'sign');
    expect(key.purposes.flatMap(({ quorums }) => quorums)).toEqual([['officer-1', 'officer-2']]);
    await system.applyRules(RULES);
  });

  test('an empty group is nobody: no key is made', async () => {
    const officers = {
      'officer-1': await personOf('officer-1', ['depositary']),
      'officer-2': await personOf('officer-2', ['depositary']),
    };
    await system.applyRules(RULES, officers);
    const before = (await system.client('auditor').keys({ limit: 200 })).items.length;
    expect(await refusalOf(make('ec-p521', 'sign'))).toBe('quorum-impossible');
    expect(await refusalOf(make('ec-p256', 'sign'))).toBe('quorum-impossible');
    expect((await system.client('auditor').keys({ limit: 200 })).items).toHaveLength(before);
    await system.applyRules(RULES);
  });

  test('the rule changed while a request is pending: the terms are those of the deposit, for the key’s whole life', async () => {
    const { recovery } = await filed(system, toOperate(limited, { maxUses: 50 }));
    await system.approve('manager', recovery);
    const stricter = [
      {
        ...RULES[0],
        depositaries: { allOf: ['manager', 'person:officer-1', 'person:officer-2'] },
        operate: { ...usual, maxUses: 1 },
      },
      ...RULES.slice(1),
    ];
    await system.applyRules(stricter);
    const grant = grantOf(await system.approve('officer-1', recovery));
    expect(await system.client('app').grant(grant)).toMatchObject({
      status: 'active',
      scope: { maxUses: 50 },
    });
    expect((await system.client('auditor').key(limited.key)).terms.operate?.maxUses).toBe(100);
    const made = await make('ec-p256', 'sign');
    expect(made.terms.operate?.maxUses).toBe(1);
    await system.client('owner').revoke(grant, 'seen enough');
    await system.applyRules(RULES);
  });
});

describe('three expiries', () => {
  test('approval after the request’s expiry is refused, though nobody has recorded the expiry', async () => {
    const { recovery } = await filed(system, toOperate(limited, {}, 'PT10M'));
    const approval = await system.makeApproval('manager', recovery);
    nowMs += 10 * MINUTE_MS;
    expect(await refusalOf(system.client('manager').sendApproval(recovery, approval))).toBe(
      'recovery-expired',
    );
    expect(await statusOf(recovery)).toBe('expired');
    expect(await lastEntry('recovery.expire', { recovery })).toBeUndefined();
    // and when somebody keeps house, it is in the log
    await system.stopDaemon();
    await system.startDaemon();
    expect(await lastEntry('recovery.expire', { recovery })).toMatchObject({
      phase: 'done',
      detail: { status: 'expired' },
    });
  });

  test('approval after its own expiry counts no more; the depositary can approve anew', async () => {
    const { recovery } = await filed(system, toOperate(limited, {}, 'PT2H'));
    await system.approve('manager', recovery, 30 * MINUTE_MS);
    nowMs += 31 * MINUTE_MS;
    expect((await system.client('auditor').recovery(recovery)).approvedBy).toEqual([]);
    expect((await system.approve('officer-1', recovery)).status).toBe('pending');
    expect((await system.approve('manager', recovery)).status).toBe('active');
  });

  test('a statement that holds longer than the rule lets it is refused, and one that is over as well', async () => {
    const { recovery } = await filed(system, toOperate(limited, {}, 'PT2H'));
    const late = await system.makeApproval('manager', recovery, MINUTE_MS);
    nowMs += MINUTE_MS;
    expect(await refusalOf(system.client('manager').sendApproval(recovery, late))).toBe('approval-expired');
    nowMs -= 2 * HOUR_MS;
    // made by somebody whose clock is behind, so that the statement ends as it should and begins too early
    const long = await system.makeApproval('manager', recovery);
    nowMs += 2 * HOUR_MS;
    expect(await statusOf(recovery)).toBe('pending');
    await system.client('manager').sendApproval(recovery, long);
    nowMs += 70 * MINUTE_MS;
    expect((await system.client('auditor').recovery(recovery)).approvedBy).toEqual([]);
  });

  test('approvals that expire during the delay release nothing', async () => {
    const { recovery } = await filed(system, toRelease(handingOut, 'P1D'));
    await system.approve('manager', recovery, 3 * HOUR_MS);
    await system.approve('officer-1', recovery);
    expect(await statusOf(recovery)).toBe('approved');
    nowMs += 4 * HOUR_MS;
    expect(await statusOf(recovery)).toBe('pending');
    expect(await refusalOf(system.client('manager').release(recovery))).toBe('quorum-incomplete');
    // with another approval it is complete again, and the delay runs again
    await system.approve('manager', recovery);
    expect(await refusalOf(system.client('manager').release(recovery))).toBe('delay-running');
    await system.client('owner').veto(recovery, 'I am back');
    expect(await refusalOf(system.client('manager').release(recovery))).toBe('recovery-ended');
  });

  test('a request approved in time is carried out after its own expiry, as long as the approvals hold', async () => {
    const { recovery } = await filed(system, toRelease(handingOut, 'PT1H'));
    await system.approve('manager', recovery);
    await system.approve('officer-1', recovery);
    nowMs += 4 * HOUR_MS;
    expect(await statusOf(recovery)).toBe('approved');
    await system.client('manager').release(recovery);
    expect(await statusOf(recovery)).toBe('released');
  });

  test('request TTL against grant TTL: the grant lasts from activation, whatever became of the request’s time', async () => {
    const { recovery } = await filed(system, toOperate(limited, { duration: 'PT3H' }, 'PT10M'));
    await system.approve('manager', recovery);
    nowMs += 9 * MINUTE_MS;
    const activatedMs = nowMs;
    const grant = grantOf(await system.approve('officer-1', recovery));
    nowMs += HOUR_MS; // the request's ten minutes are over
    await sign(grant);
    expect(await statusOf(recovery)).toBe('active');
    nowMs = activatedMs + 3 * HOUR_MS - 1;
    await sign(grant);
    nowMs += 1;
    expect(await refusalOf(sign(grant))).toBe('grant-expired');
    expect(await statusOf(recovery)).toBe('expired');
  });

  test('a request does not stand longer than the rule lets it', async () => {
    expect(await refusalOf(filed(system, toOperate(limited, {}, 'PT3H')))).toBe('scope-not-allowed');
  });
});

describe('denials', () => {
  test('denial after quorum is refused where the rule gives denials no number', async () => {
    const { recovery } = await filed(system, toRelease(handingOut));
    await system.approve('manager', recovery);
    const late = system.makeApproval('officer-2', recovery);
    await system.approve('officer-1', recovery);
    expect(await refusalOf(system.deny('officer-2', recovery, 'no'))).toBe('quorum-complete');
    expect(await refusalOf(system.client('officer-2').sendApproval(recovery, await late))).toBe(
      'quorum-complete',
    );
    expect(await statusOf(recovery)).toBe('approved');
    await system.client('manager').cancel(recovery, 'seen enough');
  });

  test('as many denials as the rule says end it, even while the delay runs, and the log says who and why', async () => {
    const recovery = await fileAs('manager', toOperate(distinct, { mechanisms: ['ES384'] }));
    await system.approve('officer-1', recovery);
    const denied = await system.deny('officer-2', recovery, 'she is at her desk');
    expect(denied).toMatchObject({
      status: 'denied',
      ended: { by: 'officer-2', reason: 'she is at her desk' },
    });
    expect(await lastEntry('recovery.deny', { recovery })).toMatchObject({
      phase: 'done',
      detail: { status: 'denied' },
    });
  });

  test('without a number it ends when no quorum is left', async () => {
    const { recovery } = await filed(system, toOperate(limited));
    expect((await system.deny('officer-1', recovery, 'no')).status).toBe('pending');
    expect((await system.deny('officer-2', recovery, 'no')).status).toBe('denied');
  });
});

describe('delay and veto', () => {
  async function approvedForLater(): Promise<string> {
    const { recovery } = await filed(system, toOperate(distinct, { mechanisms: ['ES384'] }));
    await system.approve('officer-1', recovery);
    expect((await system.approve('officer-2', recovery)).status).toBe('approved');
    return recovery;
  }

  test('a use waits out its delay, and whoever has a part in it can activate it then, though nobody keeps house', async () => {
    const recovery = await approvedForLater();
    expect(await refusalOf(system.client('manager').activate(recovery))).toBe('delay-running');
    nowMs += 4 * HOUR_MS;
    expect((await system.client('manager').activate(recovery)).result.grants).toMatchObject([
      { status: 'active' },
    ]);
  });

  test('a daemon that keeps house activates what is due', async () => {
    const recovery = await approvedForLater();
    nowMs += 4 * HOUR_MS;
    await system.stopDaemon();
    await system.startDaemon();
    expect(await statusOf(recovery)).toBe('active');
  });

  test('the owner vetoes a use that waits', async () => {
    const recovery = await approvedForLater();
    expect((await system.client('owner').veto(recovery, 'I am here')).result.status).toBe('vetoed');
    nowMs += 4 * HOUR_MS;
    expect(await refusalOf(system.client('manager').activate(recovery))).toBe('recovery-ended');
  });
});

describe('scope', () => {
  test('is bounded by the rule in every part', async () => {
    const orders: readonly Partial<ScopeOrder>[] = [
      { maxUses: 101 },
      { duration: 'PT25H' },
      { input: 'digest' },
      { mechanisms: ['ES384'] },
      { operations: ['decrypt'] },
      { rate: { uses: 6, per: 'PT1M' } },
      { rate: { uses: 5, per: 'PT59S' } },
      { notBefore: new Date(nowMs + DAY_MS).toISOString(), notAfter: new Date(nowMs + DAY_MS).toISOString() },
      { notAfter: new Date(nowMs - DAY_MS).toISOString() },
    ];
    for (const scope of orders) {
      expect([scope, await refusalOf(filed(system, toOperate(limited, scope)))]).toEqual([
        scope,
        'scope-not-allowed',
      ]);
    }
  });

  test('without a rate takes the rule’s, and the depositary signs that', async () => {
    const { recovery, scope, summary } = await filed(system, toOperate(limited));
    expect(scope?.rate).toEqual({ uses: 5, per: 'PT1M' });
    expect(summary).toContain('at most 5 in any 1 minute');
    await system.approve('manager', recovery);
    const attempt = (await entriesFrom(system, 0)).findLast(
      ({ act, phase }) => act === 'recovery.approve' && phase === 'attempted',
    );
    const statement = attempt?.detail['statement'];
    const [, payload = ''] = typeof statement === 'string' ? statement.split('.') : [];
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({
      scope: { app: 'app', rate: { uses: 5, perMs: 60_000 }, notBefore: null, notAfter: null },
    });
    await system.client('manager').cancel(recovery, 'seen enough');
  });

  test('its rate is counted with each use, however many ask at once', async () => {
    const grant = await grantFor(limited, { maxUses: 100 });
    const atOnce = Array.from({ length: 12 }, () => sign(grant));
    expect(await tally(atOnce)).toEqual({ answered: 5, 'grant-rate-exceeded': 7 });
    expect(await refusalOf(sign(grant))).toBe('grant-rate-exceeded');
    nowMs += 62_000;
    await sign(grant, 4);
    expect(await refusalOf(sign(grant, 2))).toBe('grant-rate-exceeded');
    await sign(grant);
    expect(await system.client('app').grant(grant)).toMatchObject({ used: 10 });
  });

  test('its start and end hold to the millisecond', async () => {
    const startsMs = nowMs + 10 * MINUTE_MS;
    const endsMs = nowMs + 20 * MINUTE_MS;
    const notBefore = new Date(startsMs).toISOString();
    const notAfter = new Date(endsMs).toISOString();
    const grant = await grantFor(limited, { notBefore, notAfter });
    expect(await system.client('app').grant(grant)).toMatchObject({
      startsAt: notBefore,
      expiresAt: notAfter,
    });
    nowMs = startsMs - 1;
    expect(await refusalOf(sign(grant))).toBe('grant-not-started');
    nowMs = startsMs;
    await sign(grant);
    nowMs = endsMs - 1;
    await sign(grant);
    nowMs = endsMs;
    expect(await refusalOf(sign(grant))).toBe('grant-expired');
  });

  test('a grant whose time is over before it begins is not made', async () => {
    const notAfter = new Date(nowMs + 10 * MINUTE_MS).toISOString();
    const { recovery } = await filed(system, toOperate(limited, { notAfter }));
    await system.approve('manager', recovery);
    nowMs += 11 * MINUTE_MS;
    expect((await system.approve('officer-1', recovery)).status).toBe('approved');
    expect(await refusalOf(system.client('manager').activate(recovery))).toBe('grant-expired');
    await system.client('manager').cancel(recovery, 'too late');
  });
});

describe('ends', () => {
  test('revoke during use: no use after the revocation is answered with a signature', async () => {
    const grant = await grantFor(limited, { maxUses: 5 });
    const uses = [sign(grant), sign(grant), system.client('owner').revoke(grant, 'stop'), sign(grant)];
    await Promise.allSettled(uses);
    expect(await refusalOf(sign(grant))).toBe('grant-revoked');
    const entries = await entriesFrom(system, 0);
    const mine = entries.filter(({ subject }) => subject.grant === grant);
    const revokedAt = mine.findIndex(({ act, phase }) => act === 'grant.revoke' && phase === 'done');
    expect(
      mine.slice(revokedAt).filter(({ act, phase }) => act === 'grant.sign' && phase === 'attempted'),
    ).toEqual([]);
    const recovery = mine[0]?.subject.recovery ?? '';
    expect(await statusOf(recovery)).toBe('revoked');
  });

  test('a request is exhausted with its grant, and stays visible to all who had a part in it', async () => {
    const grant = await grantFor(limited, { maxUses: 1 });
    await sign(grant);
    const { recovery } = await system.client('app').grant(grant);
    for (const name of ['manager', 'officer-1', 'officer-2', 'owner', 'app'] as const) {
      expect(await statusOf(recovery, name)).toBe('exhausted');
      const { items } = await system.client(name).recoveries({ limit: 200 });
      expect(items.map((each) => each.recovery)).toContain(recovery);
    }
    expect(await refusalOf(system.client('other-app').recovery(recovery))).toBe('forbidden');
  });

  test('everything that ended has an entry that says so', async () => {
    nowMs += 2 * DAY_MS;
    await system.stopDaemon();
    await system.startDaemon();
    const ending = new Set([
      'recovery.expire',
      'recovery.veto',
      'recovery.cancel',
      'recovery.stop',
      'recovery.deny',
      'recovery.release',
      'recovery.activate',
    ]);
    const grantEnding = new Set(['grant.expire', 'grant.exhaust', 'grant.revoke']);
    const entries = await entriesFrom(system, 0);
    const { items } = await system.client('auditor').recoveries({ limit: 200 });
    expect(items.length).toBeGreaterThan(20);
    for (const { recovery, status, keys } of items) {
      const grant = keys[0]?.grant;
      expect(['pending', 'approved', 'active']).not.toContain(status);
      const outcome = entries.filter(
        ({ act, phase, subject }) =>
          subject.recovery === recovery &&
          phase === 'done' &&
          (grant === undefined ? ending : grantEnding).has(act),
      );
      expect([recovery, status, outcome.length > 0]).toEqual([recovery, status, true]);
    }
  });
});

test('the replay of the log, from its entries alone, gives what the database holds', async () => {
  await expectLogHolds(system);
  const standing = replay(await entriesFrom(system, 0));
  expect(standing).toEqual(await standingOf(system));
  // there was something to replay
  expect(new Set(Object.values(standing.recoveries)).size).toBeGreaterThanOrEqual(5);
  expect(new Set(Object.values(standing.grants).map(([status]) => status)).size).toBe(3);
  expect(Object.values(standing.grants).reduce((sum, [, used]) => sum + used, 0)).toBeGreaterThan(10);
});

/** A principal of the directory with other roles or attributes. */
async function personOf(
  id: PersonName,
  roles: readonly string[],
  attributes: Readonly<Record<string, string>> = {},
): Promise<object> {
  const { document } = await system.client('auditor').policy();
  const { principals } = document as { readonly principals: readonly { readonly id: string }[] };
  const found = principals.find((one) => one.id === id);
  if (found === undefined) throw new Error(`there is no ${id}`);
  return { ...found, roles, attributes };
}
