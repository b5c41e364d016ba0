import { createPublicKey, verify } from 'node:crypto';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';

import { parseJws } from '../../src/jose/jws.js';
import { exportHistory, readHistory } from '../../src/client/history/ownHistory.js';
import { openRelease } from '../../src/client/depositary/release.js';
import { repliesDigest } from '../../src/escrow/records/digests.js';
import type { KeyId } from '../../src/escrow/records/ids.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import type { ApprovalOrder, RecoveryOrder } from '../../src/api/orders.js';
import type { KeyReply, RecoveryReply } from '../../src/api/replies.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import { ownerOf } from '../support/databaseDump.js';
import { query } from '../support/postgres.js';
import { openRaw } from '../support/rawToken.js';
import type { PersonName, System } from '../support/system.js';
import { makeSystem, RULES } from '../support/system.js';
import { toOperate, toRelease } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { STATEMENT_TYPE } from '../../src/escrow/records/statementTypes.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Somebody leaves. Their keys were deposited over the years, by rules that named one set of depositaries and then another;
 * they are asked for together, and come back together or not at all.
 */
let system: System;
/** By the manager and the first officer; by both officers, of whom one denial ends it; by one officer, either of them. */
let first: KeyReply;
let second: KeyReply;
let third: KeyReply;

/** The one rule of a time. */
const rule = (depositaries: object, more: object = {}): readonly unknown[] => [
  {
    name: 'of-its-time',
    when: {},
    depositaries,
    requesters: ['depositary', 'admin'],
    operate: { operations: ['sign'], maxUses: 10, maxDuration: 'PT24H' },
    release: { delay: 'PT0S', ownerMayVeto: true },
    ...more,
  },
];

beforeAll(async () => {
  const operatorLog = createOperatorLog('error', true);
  operatorLog.silent = true; // a key-encryption key that is missing on purpose, which it would tell
  system = await makeSystem({ operatorLog, config: () => ({ housekeepingMs: 3_600_000 }) });
  await system.applyRules(rule({ allOf: ['person:manager', 'person:officer-1'] }));
  first = await make();
  await system.applyRules(
    rule({ allOf: ['person:officer-1', 'person:officer-2'] }, { requests: { denialsToEnd: 1 } }),
  );
  second = await make();
  const anyOfficer = rule({ anyOf: ['person:officer-1', 'person:officer-2'] });
  await system.applyRules(anyOfficer, {}, { minimumQuorum: 1 });
  third = await make();
});
afterEach(async () => {
  await expectLogHolds(system);
});
afterAll(() => system.remove());

async function make(owner: PersonName = 'owner'): Promise<KeyReply> {
  return (await system.client('admin-1').generateKey({ owner, spec: 'ec-p256', use: 'sign' })).result;
}

const all = (): readonly KeyReply[] => [third, first, second];
const idsOf = (keys: readonly KeyReply[]): readonly string[] => keys.map(({ key }) => key);
const sorted = (keys: readonly KeyReply[]): readonly string[] => [...idsOf(keys)].sort();

function together(order: RecoveryOrder, keys: readonly KeyReply[]): RecoveryOrder {
  return { ...order, keys: idsOf(keys) };
}

async function asked(order: RecoveryOrder): Promise<RecoveryReply> {
  return (await system.client('admin-1').requestRecovery(order)).result;
}

const askedToOperate = (keys: readonly KeyReply[], maxUses = 2): Promise<RecoveryReply> =>
  asked(together(toOperate(first, { maxUses }), keys));

function named(keys: readonly KeyReply[], id: string): KeyReply {
  const found = keys.find(({ key }) => key === id);
  if (found === undefined) throw new Error(`there is no ${id}`);
  return found;
}

/** Labels of what stands in the token of this kind. */
function standing(kind: 'grant' | 'transport'): readonly string[] {
  const raw = openRaw(system.hsm, 'as is');
  try {
    return [pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY]
      .flatMap((objectClass) => raw.find([{ type: pkcs11.CKA_CLASS, value: objectClass }]))
      .map((handle) =>
        String(raw.driver.C_GetAttributeValue(raw.session, handle, [{ type: pkcs11.CKA_LABEL }])[0]?.value),
      )
      .filter((label) => label.startsWith(`${kind}:`));
  } finally {
    raw.close();
  }
}

const message = Buffer.from('a letter');
const order = { mechanism: 'ES256', messages: [message.toString('base64url')] } as const;
const signs = async (grant: string): Promise<string> =>
  (await system.client('app').sign(grant, order)).result.signatures[0] ?? '';

test('keys with other depositaries each come back together, once a quorum of every one of them has agreed', async () => {
  const { recovery, keys } = await askedToOperate(all());
  expect(keys.map(({ key }) => key)).toEqual(sorted(all()));
  const quorumsOf = (id: string): unknown => keys.find(({ key }) => key === id)?.quorums;
  expect([first, second, third].map(({ key }) => quorumsOf(key))).toEqual([
    [['manager', 'officer-1']],
    [['officer-1', 'officer-2']],
    [['officer-1'], ['officer-2']],
  ]);
  // the manager has a share of the first only, and yet approves all that is asked for
  const { statement, replies } = await system.makeApproval('manager', recovery);
  expect(parseJws(statement)?.payload['keys']).toEqual(sorted(all()));
  expect(replies.map(({ key }) => key)).toEqual([first.key]);
  const byManager = await system.client('manager').sendApproval(recovery, { statement, replies });
  expect(byManager.result.status).toBe('pending');
  // with this the quorums of the first and the third are complete, and still nothing comes back
  expect((await system.approve('officer-1', recovery)).status).toBe('pending');
  expect(await refusalOf(system.client('admin-1').activate(recovery))).toBe('quorum-incomplete');
  expect(standing('grant')).toEqual([]);

  const approved = await system.approve('officer-2', recovery);
  expect(approved.status).toBe('active');
  const grants = approved.keys.map(({ grant }) => grant?.grant ?? '');
  expect(new Set(grants).size).toBe(3);
  expect([...standing('grant')].sort()).toEqual(grants.map((grant) => `grant:${grant}`).sort());
  expect(standing('transport')).toEqual([]);
  for (const { key, grant } of approved.keys) {
    const publicKey = createPublicKey(named(all(), key).publicKeyPem ?? '');
    const signature = Buffer.from(await signs(grant?.grant ?? ''), 'base64url');
    expect(verify('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
  }

  // each counts, ends and is ended by itself
  const [one = '', another = '', last = ''] = grants;
  await signs(one);
  expect(await refusalOf(signs(one))).toBe('grant-exhausted');
  await system.client('owner').revoke(another, 'not this one');
  expect(await refusalOf(signs(another))).toBe('grant-revoked');
  const seen = await system.client('admin-1').recovery(recovery);
  expect(seen.status).toBe('active');
  expect(seen.keys.map(({ grant }) => grant?.status)).toEqual(['exhausted', 'revoked', 'active']);
  await signs(last);
  expect((await system.client('admin-1').recovery(recovery)).status).toBe('revoked');

  const entries = await entriesFrom(system, 0);
  const about = entries.filter(
    ({ act, subject }) => act.startsWith('recovery.') && subject.recovery === recovery,
  );
  expect(about.length).toBeGreaterThan(8);
  for (const { subject } of about) expect(subject.keys).toEqual(sorted(all()));
});

test('the history of one key has the requests that it was asked for in with others, and is complete', async () => {
  const alone = await askedToOperate([first]);
  const both = await askedToOperate([first, second]);
  const identity = system.identity('owner');
  const client = system.client('owner');
  const reader = { client, log: identity.logView(client), owner: 'owner' };
  const recoveriesOf = async (key: KeyReply): Promise<readonly unknown[]> => {
    const { items } = await readHistory(reader, { key: key.key }, 1000);
    for (const { entry } of items) expect(entry.subject.keys ?? [entry.subject.key]).toContain(key.key);
    expect(items.map(({ entry }) => entry.act)).toContain('key.generate');
    return items.map(({ entry }) => entry.subject.recovery);
  };
  expect(await recoveriesOf(first)).toEqual(expect.arrayContaining([alone.recovery, both.recovery]));
  expect(await recoveriesOf(second)).toContain(both.recovery);
  expect(await recoveriesOf(second)).not.toContain(alone.recovery);
  expect(await recoveriesOf(third)).not.toContain(both.recovery);
  const { count } = await exportHistory({
    ...reader,
    pins: identity.pins,
    filter: { key: second.key },
    path: join(system.directory, 'history.ndjson'),
    now: new Date(),
  });
  const entries = await entriesFrom(system, 0);
  const ofSecond = entries.filter(({ act, subject }) => {
    const { key, keys = [key] } = subject;
    return subject.owner === 'owner' && keys.includes(second.key) && act !== 'history.attest';
  });
  expect(count).toBe(ofSecond.length);
  for (const { recovery } of [alone, both]) await system.client('admin-1').cancel(recovery, 'seen enough');
});

test('keys are released together, in one answer, each the private half of its own public key', async () => {
  const { recovery } = await asked({
    ...together(toRelease(first), all()),
    recipient: 'officer-1',
  } as RecoveryOrder);
  await system.approve('manager', recovery);
  await system.approve('officer-1', recovery);
  expect(await refusalOf(system.client('officer-1').release(recovery))).toBe('quorum-incomplete');
  await system.approve('officer-2', recovery);
  const { result, entry } = await system.client('officer-1').release(recovery);
  expect(result.keys.map(({ key }) => key)).toEqual(sorted(all()));
  const own = await system.identity('officer-1').depositaryKey();
  for (const released of result.keys) {
    const { publicKeyPem } = named(all(), released.key);
    expect(openRelease(released, own, { publicKeyPem }).kind).toBe('pair');
    const [other] = all().filter(({ key }) => key !== released.key);
    expect(() => openRelease(released, own, { publicKeyPem: other?.publicKeyPem })).toThrow();
  }
  const [done] = await entriesFrom(system, entry);
  expect(Object.keys(done?.detail['released'] as object)).toEqual(sorted(all()));
  expect(await refusalOf(system.client('officer-1').release(recovery))).toBe('recovery-ended');
  expect((await system.client('officer-1').recovery(recovery)).release).toEqual(result);
  expect(standing('transport')).toEqual([]);
});

test('a denial that ends it for one key, and a veto of one, ends it for all of them', async () => {
  const denied = await askedToOperate([first, second]);
  expect((await system.deny('manager', denied.recovery, 'not the first')).status).toBe('denied');
  const another = await askedToOperate([second, third]);
  expect((await system.deny('officer-2', another.recovery, 'one denial ends it for the second')).status).toBe(
    'denied',
  );
  const released = await asked({
    ...together(toRelease(first), all()),
    recipient: 'officer-1',
  } as RecoveryOrder);
  expect((await system.client('owner').veto(released.recovery, 'mine')).result.status).toBe('vetoed');
  expect(standing('transport')).toEqual([]);
});

describe('a depositary cannot be made to approve other keys than were named:', () => {
  let recovery: string;
  let approval: ApprovalOrder;
  beforeAll(async () => {
    recovery = (await askedToOperate([first, second])).recovery;
    approval = await system.makeApproval('officer-1', recovery);
    expect(approval.replies.map(({ key }) => key)).toEqual(sorted([first, second]));
  });
  afterAll(async () => {
    // none of it has spoilt anything
    await system.client('officer-1').sendApproval(recovery, approval);
    await system.client('admin-1').cancel(recovery, 'seen enough');
  });

  /** The approval with other replies, properly signed, but for some claims. */
  async function stated(replies: ApprovalOrder['replies'], claims: object = {}): Promise<ApprovalOrder> {
    const opened = replies.map(({ key, reply }) => ({
      key: key as KeyId,
      reply: sealed('transport', Buffer.from(reply, 'base64url')),
    }));
    const payload = { ...parseJws(approval.statement)?.payload, replies: repliesDigest(opened), ...claims };
    const statement = await system.identity('officer-1').signer.sign(STATEMENT_TYPE, payload);
    return { statement, replies };
  }

  test.each<[string, string, () => Promise<ApprovalOrder>]>([
    [
      'the reply for one key as that for another',
      'share-mismatch',
      () => {
        const [one, other] = approval.replies;
        if (one === undefined || other === undefined) throw new Error('there are two replies');
        return stated([
          { key: one.key, reply: other.reply },
          { key: other.key, reply: one.reply },
        ]);
      },
    ],
    ['a reply too few', 'share-malformed', () => stated(approval.replies.slice(1))],
    [
      'a reply twice',
      'share-malformed',
      () => stated([...approval.replies.slice(1), ...approval.replies.slice(1)]),
    ],
    ['the replies in another order', 'share-malformed', () => stated([...approval.replies].reverse())],
    [
      'a reply for a key that the request is not for',
      'share-malformed',
      () => stated([...approval.replies, { key: third.key, reply: approval.replies[0]?.reply ?? '' }]),
    ],
    [
      'other replies than were signed',
      'approval-mismatch',
      async () => ({ ...approval, replies: (await system.makeApproval('officer-1', recovery)).replies }),
    ],
    [
      'a statement about one of the keys',
      'approval-mismatch',
      () => stated(approval.replies, { keys: [first.key] }),
    ],
    [
      'a statement about a key more',
      'approval-mismatch',
      () => stated(approval.replies, { keys: sorted(all()) }),
    ],
    [
      'a statement about other keys',
      'approval-mismatch',
      () => stated(approval.replies, { keys: sorted([first, third]) }),
    ],
    ['a statement about no keys', 'approval-mismatch', () => stated(approval.replies, { keys: [] })],
    [
      'the approval of a request for one of the keys',
      'approval-mismatch',
      async () => {
        const alone = (await askedToOperate([first])).recovery;
        const ofOne = await system.makeApproval('officer-1', alone);
        await system.client('admin-1').cancel(alone, 'seen enough');
        return ofOne;
      },
    ],
  ])('%s is refused (%s)', async (_what, code, make) => {
    const made = await make();
    expect(await refusalOf(system.client('officer-1').sendApproval(recovery, made))).toBe(code);
  });
});

describe('when the record of one of the keys is damaged,', () => {
  /** As somebody with the database: a text in the record of a deposit stands as another; back again with `back`. */
  async function damage(key: string, from: string, to: string): Promise<void> {
    const sql = `update deposit set document = replace(document::text, $2, $3)::jsonb where key = $1`;
    await query(await ownerOf(system), sql, [key, from, to]);
  }

  test('none is brought back, and nothing changes; once it is mended all of them are', async () => {
    const before = standing('grant');
    const lastKey = sorted(all()).at(-1) ?? '';
    const { recovery } = await askedToOperate(all());
    await system.approve('manager', recovery);
    await system.approve('officer-1', recovery);
    const approval = await system.makeApproval('officer-2', recovery);
    await damage(lastKey, 'kek:operate:sign:v1', 'kek:operate:sign:v9');
    expect(await refusalOf(system.client('officer-2').sendApproval(recovery, approval))).toBe(
      'record-mismatch',
    );
    await damage(lastKey, 'kek:operate:sign:v9', 'kek:operate:sign:v1');
    expect(standing('grant')).toEqual(before);
    expect((await system.client('admin-1').recovery(recovery)).status).toBe('pending');

    const { keys } = (await system.client('officer-2').sendApproval(recovery, approval)).result;
    expect(keys.map(({ key, grant }) => [key, grant?.status])).toEqual(
      sorted(all()).map((key) => [key, 'active']),
    );
    for (const { grant } of keys) await system.client('owner').revoke(grant?.grant ?? '', 'seen enough');
    expect(standing('grant')).toEqual(before);
  });
});

describe('what cannot be one request', () => {
  const absent = `key_${'0'.repeat(32)}`;
  test.each<[string, string, () => Promise<readonly string[]>]>([
    ['no keys', 'request-malformed', () => Promise.resolve([])],
    ['a key twice', 'request-malformed', () => Promise.resolve([first.key, first.key])],
    [
      'more keys than a request takes',
      'request-malformed',
      () => Promise.resolve(Array.from({ length: 65 }, (_, n) => `key_${String(n).padStart(32, '0')}`)),
    ],
    ['a key that there is not', 'key-unknown', () => Promise.resolve([first.key, absent])],
    ['keys of two owners', 'owners-differ', async () => [first.key, (await make('other-owner')).key]],
  ])('%s is refused (%s)', async (_what, code, make) => {
    const keys = await make();
    expect(await refusalOf(asked({ ...toOperate(first), keys }))).toBe(code);
  });

  test('names the keys that are to be asked for apart', async () => {
    await system.applyRules(RULES);
    const inside = await make();
    const error: unknown = await system
      .client('officer-1')
      .requestRecovery(together(toRelease(first), [first, inside, second]))
      .catch((refused: unknown) => refused);
    expect(error).toMatchObject({ code: 'purpose-not-allowed' });
    expect((error as Error).message).toContain(inside.key);
    expect((error as Error).message).not.toContain(first.key);
  });
});
