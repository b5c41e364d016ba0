import { type KeyObject, createPublicKey } from 'node:crypto';
import { join } from 'node:path';

import type { KeyReply, RecoveryReply } from '../../src/api/replies.js';
import { believeRecovery } from '../../src/client/depositary/depositary.js';
import type { GenerationMemory } from '../../src/client/depositary/generations.js';
import { NotBelieved } from '../../src/client/errors.js';
import { LogView } from '../../src/client/log/logView.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import { newId } from '../../src/escrow/records/ids.js';
import { type Ran, escrowctl, jsonOf } from '../cli/commandLine.js';
import { TestMemory, rememberedGenerations } from '../client/memory.js';
import { ClosureAttack } from '../support/closure.js';
import { type DatabaseDump, dumpDatabase, ownerOf } from '../support/databaseDump.js';
import { freshBytes } from '../support/fresh.js';
import { agree, makeKey, releaseToManager } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import { openDeposit, tokenKeys } from '../support/openedDeposit.js';
import { query } from '../support/postgres.js';
import type { PersonName, System } from '../support/system.js';
import { DEPOSITARIES, makeSystem, RULES } from '../support/system.js';
import { until } from '../support/waiting.js';
import { filed, granted, toOperate, toRelease } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Promise 11: a depositary leaves, and keys are sealed anew to those who are left. The key stays what it is; what the server keeps
 * opens for the new quorum, and for nobody else.
 */
let system: System;
let signing: KeyReply;
let decrypting: KeyReply;

/** The usual rules with these depositaries. */
const rulesOf = (depositaries: object, more: object = {}): readonly unknown[] =>
  RULES.map((rule) => ({ ...(rule as object), depositaries, ...more }));
const REMAINING = { allOf: ['person:manager', 'person:officer-1'] };

beforeAll(async () => {
  const operatorLog = createOperatorLog('error', true);
  operatorLog.silent = true; // a row that is put back on purpose, which it would tell
  system = await makeSystem({ operatorLog, config: () => ({ housekeepingMs: 200 }) });
});
afterAll(() => system.remove());
beforeEach(async () => {
  await system.applyRules();
  signing = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  decrypting = await makeKey(system, { spec: 'rsa-2048', use: 'decrypt' });
  await system.applyRules(rulesOf(REMAINING));
});
afterEach(async () => {
  await expectLogHolds(system);
});

async function askToReseal(
  keys: readonly KeyReply[],
  more: { readonly leaving?: string; readonly by?: PersonName } = {},
): Promise<RecoveryReply> {
  const { by = 'admin-1', leaving } = more;
  const order = {
    purpose: 'reseal',
    keys: keys.map(({ key }) => key),
    reason: 'officer-2 leaves',
    validFor: 'PT1H',
    job: newId('JobId', freshBytes),
    ...(leaving === undefined ? {} : { leaving }),
  } as const;
  return (await system.client(by).requestRecovery(order)).result;
}

/** Has a key sealed anew, by the quorum that it had. */
async function resealed(key: KeyReply): Promise<KeyReply> {
  const { recovery } = await askToReseal([key], { leaving: 'officer-2' });
  expect((await agree(system, recovery)).status).toBe('resealed');
  return system.client('admin-1').key(key.key);
}

function run(by: PersonName, ...argv: readonly string[]): Promise<Ran> {
  return escrowctl([...argv, '--as', join(system.directory, 'people', by)]);
}

async function statusOf(recovery: string): Promise<string> {
  return (await system.client('admin-1').recovery(recovery)).status;
}

test('one job is many requests, and each person decides once about all of them', async () => {
  const more = [
    await makeKey(system, { spec: 'ec-p256', use: 'sign' }),
    (await system.client('admin-1').generateKey({ owner: 'owner', spec: 'aes-256', use: 'decrypt' })).result,
  ];
  expect(more.flatMap(({ purposes }) => purposes[0]?.recipients ?? [])).not.toContainEqual(
    expect.objectContaining({ depositary: 'officer-2' }),
  );
  const asked = await run(
    'admin-1',
    'reseal',
    '--leaving',
    'officer-2',
    '--reason',
    'Otto has left',
    '--yes',
    '--json',
  );
  expect(asked.exit).toBe(0);
  const { job, requests } = jsonOf(asked) as { job: string; requests: { keys: string[] }[] };
  const named = requests.flatMap(({ keys }) => keys);
  expect(named).toEqual(expect.arrayContaining([signing.key, decrypting.key]));
  expect(requests.length).toBeGreaterThan(1);
  // those that need none are not asked for
  for (const { key } of more) expect(named).not.toContain(key);
  const again = await run(
    'admin-1',
    'reseal',
    '--leaving',
    'officer-2',
    '--reason',
    'again',
    '--job',
    job,
    '--yes',
  );
  expect(again.out).toContain(`No key that you may see is left to be asked for in ${job}.`);
  expect(again.out).toContain(`${requests.length} requests of it are open: until these are carried out`);
  const inbox = await run('manager', 'inbox');
  expect(inbox.out).toContain(`escrowctl reseal approve ${job}`);
  for (const by of ['manager', 'officer-1'] as const) {
    const decided = await run(by, 'reseal', 'approve', job, '--yes');
    expect(decided).toMatchObject({ exit: 0, err: '' });
  }
  const shown = await run('admin-1', 'reseal', 'show', job);
  expect(shown.out).toContain(`resealed  ${named.length} keys`);
  expect((await run('manager', 'reseal', 'approve', job, '--yes')).out).toContain('waits for you');
});

test('a job goes on past a policy that has changed, and past what others have done', async () => {
  const ask = (...more: readonly string[]): Promise<Ran> =>
    run('admin-1', 'reseal', signing.key, '--reason', 'Otto has left', '--yes', '--json', ...more);
  const unknown = await ask(`key_${'0'.repeat(32)}`);
  expect(unknown).toMatchObject({ exit: 2, err: expect.stringContaining('there is no key_0000') as string });
  const { job } = jsonOf(await ask()) as { job: string };
  await system.applyRules(rulesOf({ anyOf: [REMAINING] }));
  expect(jsonOf(await ask('--job', job))).toMatchObject({ requests: [{ keys: [signing.key] }] });
  for (const by of ['manager', 'officer-1'] as const) {
    const decided = await run(by, 'reseal', 'approve', job, '--yes');
    expect(decided).toMatchObject({ exit: 3, err: '' });
    expect(decided.out).toContain('Decided about 1 request');
    expect(decided.out).toContain('Not decided about rec_');
  }
  expect((await system.client('admin-1').key(signing.key)).generation).toBe(2);
});

describe('what the database has opens', () => {
  const ALL = DEPOSITARIES;

  /** Which of these keys the token's keys and these people's open. */
  async function openedBy(dump: DatabaseDump, members: readonly PersonName[]): Promise<readonly string[]> {
    const token = tokenKeys(system.hsm);
    const keys = new Map<string, KeyObject>();
    for (const id of ALL) keys.set(id, await system.identity(id).depositaryKey());
    const ofThese = ({ text }: { readonly text: string }): boolean =>
      text.includes(signing.key) || text.includes(decrypting.key);
    const loot = new ClosureAttack({ ...dump, rows: dump.rows.filter(ofThese) }).lootOf({
      rsa: [...members.flatMap((id) => keys.get(id) ?? []), ...token.serverFor.values()],
      aes: [...token.keks.values()],
    });
    const wanted = dump.deposits.filter(({ key }) => key === signing.key || key === decrypting.key);
    const opened = wanted
      .flatMap((deposit) => openDeposit(deposit, keys, token))
      .filter(({ user }) => loot.has(user.toString('hex')))
      .map(({ key }) => key);
    return [...new Set(opened)].sort();
  }

  test('for the new quorum, and not for one with who has left; an older copy of it still does', async () => {
    const before = await dumpDatabase(system);
    await resealed(signing);
    await resealed(decrypting);
    const after = await dumpDatabase(system);
    const both = [signing.key, decrypting.key].sort();
    const withLeaver = ['manager', 'officer-2'] as const;
    expect(await openedBy(before, withLeaver)).toEqual(both);
    expect(await openedBy(after, withLeaver)).toEqual([]);
    expect(await openedBy(after, ['officer-1', 'officer-2'])).toEqual([]);
    expect(await openedBy(after, ['manager', 'officer-1'])).toEqual(both);
  });

  test('as the row of the first deposit put back, nothing: the log says that there is a newer one', async () => {
    const owner = await ownerOf(system);
    const [row] = await query<{ document: unknown }>(owner, 'select document from deposit where key = $1', [
      signing.key,
    ]);
    await resealed(signing);
    const [now] = await query<{ document: unknown }>(owner, 'select document from deposit where key = $1', [
      signing.key,
    ]);
    const put = (document: unknown): Promise<unknown> =>
      query(owner, 'update deposit set document = $2 where key = $1', [
        signing.key,
        JSON.stringify(document),
      ]);
    await put(row?.document);
    expect(await refusalOf(filed(system, toOperate(signing)))).toBe('record-mismatch');
    await put(now?.document);
    await granted(system, signing);
  });
});

test('keys are sealed anew to those whom the rules give, and come back by them as what they were', async () => {
  const after = await resealed(signing);
  expect(after.purposes.map(({ quorums }) => quorums)).toEqual([[['manager', 'officer-1']]]);
  expect(after).toMatchObject({ publicKeyPem: signing.publicKeyPem, terms: signing.terms });
  await granted(system, signing);
  const both = await resealed(decrypting);
  expect(both.purposes.map(({ purpose, quorums }) => [purpose, quorums])).toEqual([
    ['operate', [['manager', 'officer-1']]],
    ['release', [['manager', 'officer-1']]],
  ]);
  const { opened } = await releaseToManager(system, decrypting);
  const privateKey = opened.kind === 'pair' ? opened.privateKey : undefined;
  const publicKey = createPublicKey(privateKey ?? '').export({ format: 'pem', type: 'spki' });
  expect(publicKey).toBe(decrypting.publicKeyPem);
  // and again, from the second deposit to a third one
  await system.applyRules(rulesOf({ allOf: ['person:manager', 'person:officer-2'] }));
  const { recovery } = await askToReseal([signing]);
  expect((await agree(system, recovery)).status).toBe('resealed');
  const { recovery: back } = await filed(system, toOperate(signing));
  await system.approve('manager', back);
  expect((await system.approve('officer-2', back)).status).toBe('active');
});

test('keys that were sealed anew together, and one of them again, are brought back together', async () => {
  const both = [signing, await makeKeyOfBefore()].sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const keys of [both, both.slice(1)]) {
    expect((await agree(system, (await askToReseal(keys)).recovery)).status).toBe('resealed');
  }
  const { recovery } = await filed(system, { ...toOperate(signing), keys: both.map(({ key }) => key) });
  expect((await agree(system, recovery)).status).toBe('active');
});

/** One more key by the usual rules. */
async function makeKeyOfBefore(): Promise<KeyReply> {
  await system.applyRules();
  const key = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  await system.applyRules(rulesOf(REMAINING));
  return key;
}

test('who is a depositary of a key no more, and had not decided about it, lists what else waits for them', async () => {
  const waits = await filed(
    system,
    toOperate(decrypting, { operations: ['decrypt'], mechanisms: ['RSA-OAEP'] }),
  );
  const past = await filed(system, toOperate(signing));
  await resealed(signing);
  const listed = await run('officer-2', 'recovery', 'list', '--json');
  expect(listed.exit).toBe(0);
  expect(listed.out).toContain(waits.recovery);
  expect(listed.out).not.toContain(past.recovery);
  expect((await run('officer-2', 'inbox')).out).toContain(waits.recovery);
});

test('the entry says what was made of each key: generation, what it replaces, the deposit and each share', async () => {
  const from = (await entriesFrom(system, 0)).length;
  await resealed(decrypting);
  const entries = await entriesFrom(system, from);
  const done = entries.find(({ act, phase }) => act === 'recovery.reseal' && phase === 'done');
  const birth = (await entriesFrom(system, 0)).findIndex(
    ({ phase, subject }) => phase === 'done' && subject.key === decrypting.key,
  );
  const hash = expect.stringMatching(/^[0-9a-f]{64}$/) as unknown;
  const people = { manager: hash, 'officer-1': hash };
  const end = expect.stringMatching(/^[A-Za-z0-9_-]{43}$/) as unknown;
  const ends = { manager: end, 'officer-1': end };
  const { digest } = await system.client('admin-1').key(decrypting.key);
  expect(done?.detail['keys']).toEqual({
    [decrypting.key]: {
      generation: 2,
      previous: birth,
      digest,
      shares: { operate: people, release: people },
      drills: { operate: ends, release: ends },
    },
  });
  expect(done?.actor).toBe('escrowd');
});

test('what was asked of a key before it was sealed anew comes to nothing, and is ended', async () => {
  const toUse = await filed(system, toOperate(signing));
  const other = await filed(
    system,
    toOperate(decrypting, { operations: ['decrypt'], mechanisms: ['RSA-OAEP'] }),
  );
  await system.approve('manager', toUse.recovery);
  const mean = await system.makeApproval('officer-1', toUse.recovery);
  await resealed(signing);
  const refused = await refusalOf(system.client('officer-1').sendApproval(toUse.recovery, mean));
  expect(['recovery-superseded', 'recovery-ended']).toContain(refused);
  await until(async () => (await statusOf(toUse.recovery)) === 'failed');
  expect(await statusOf(other.recovery)).toBe('pending');
  await granted(system, signing);
});

test('another policy than was planned by ends it, and the keys are what they were until that is asked again', async () => {
  const { recovery } = await askToReseal([signing]);
  await system.approve('manager', recovery);
  const approval = await system.makeApproval('officer-1', recovery);
  await system.applyRules(rulesOf({ allOf: ['person:manager', 'person:officer-2'] }));
  expect(await refusalOf(system.client('officer-1').sendApproval(recovery, approval))).toBe('policy-changed');
  expect((await system.client('admin-1').key(signing.key)).digest).toBe(signing.digest);
  expect(await statusOf(recovery)).toBe('pending');
  // it is in nobody's way, and ends with the next
  const again = await askToReseal([signing]);
  expect((await agree(system, again.recovery)).status).toBe('resealed');
  await until(async () => (await statusOf(recovery)) === 'failed');
});

test('when the policy changes between approval and delay, nothing is sealed, and the request ends', async () => {
  const slow = { operate: { operations: ['sign'], maxUses: 9, maxDuration: 'PT1H', delay: 'PT3S' } };
  await system.applyRules(rulesOf({ atLeast: 2, of: ['manager', 'role:security-officer'] }, slow));
  const key = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  await system.applyRules(rulesOf(REMAINING));
  const { recovery } = await askToReseal([key]);
  expect((await agree(system, recovery)).status).toBe('approved');
  await system.applyRules(rulesOf({ allOf: ['person:manager', 'person:officer-2'] }));
  await until(async () => (await statusOf(recovery)) === 'failed');
  expect((await system.client('admin-1').key(key.key)).digest).toBe(key.digest);
});

test('delay and veto are the strictest of all purposes of the key', async () => {
  const strict = { release: { delay: 'PT2S', ownerMayVeto: true } };
  await system.applyRules(rulesOf({ atLeast: 2, of: ['manager', 'role:security-officer'] }, strict));
  const keys = [
    await makeKey(system, { spec: 'rsa-2048', use: 'decrypt' }),
    await makeKey(system, { spec: 'rsa-2048', use: 'decrypt' }),
  ] as const;
  await system.applyRules(rulesOf(REMAINING));
  const vetoed = await askToReseal([keys[0]]);
  expect((await agree(system, vetoed.recovery)).status).toBe('approved');
  await system.client('owner').veto(vetoed.recovery, 'not mine');
  const waits = await askToReseal([keys[1]]);
  expect((await agree(system, waits.recovery)).status).toBe('approved');
  expect(await refusalOf(system.client('admin-1').reseal(waits.recovery))).toBe('delay-running');
  await until(async () => (await statusOf(waits.recovery)) === 'resealed');
  const after = await Promise.all(keys.map(({ key }) => system.client('admin-1').key(key)));
  expect(after.map(({ digest }, at) => digest === keys[at]?.digest)).toEqual([true, false]);
});

test('a depositary who has opened a share of the new deposit believes no older one', async () => {
  const { recovery } = await filed(system, toOperate(signing));
  const client = system.client('manager');
  const shown = await client.recovery(recovery);
  await resealed(signing);
  await granted(system, signing);
  const manager = system.identity('manager');
  const { origin, identityKey, logKey } = manager.pins;
  const trust = {
    ...{ origin, identityKey, depositary: manager.id, now: new Date(), generations: manager.generations },
    approvedKeys: manager.approvedKeys,
    // the memory of the log alone would find it as well
    log: new LogView({ origin, logKey, memory: new TestMemory(), consistency: () => Promise.resolve([]) }),
  };
  const believed = async (generations: GenerationMemory): Promise<string> => {
    const answer = believeRecovery(shown, { ...trust, generations });
    return answer.then(
      () => 'believed',
      (error: unknown) => (error instanceof NotBelieved ? error.code : String(error)),
    );
  };
  expect(await believed(manager.generations)).toBe('generation-old');
  // the control: one who has opened none
  expect(await believed(rememberedGenerations())).toBe('believed');
});

describe('asking is refused', () => {
  test.each<readonly [what: string, code: string, ask: () => Promise<unknown>]>([
    [
      'while who leaves is still in the rule',
      'scope-not-allowed',
      () => askToReseal([signing], { leaving: 'manager' }),
    ],
    ['by who is nothing to the key', 'forbidden', () => askToReseal([signing], { by: 'app' })],
    ['by the owner', 'forbidden', () => askToReseal([signing], { by: 'owner' })],
    ['for keys of different rules', 'scope-not-allowed', () => askToReseal([signing, decrypting])],
  ])('%s', async (_what, code, ask) => {
    expect(await refusalOf(ask())).toBe(code);
  });

  test('for a key of which that is asked already', async () => {
    await askToReseal([signing]);
    expect(await refusalOf(askToReseal([signing]))).toBe('reseal-open');
  });
});

test('an approval of a reseal is none of a release, nor the other way round', async () => {
  const { recovery } = await askToReseal([decrypting]);
  const release = await filed(system, toRelease(decrypting));
  const ofReseal = await system.makeApproval('manager', recovery);
  const ofRelease = await system.makeApproval('manager', release.recovery);
  expect(await refusalOf(system.client('manager').sendApproval(release.recovery, ofReseal))).toBe(
    'approval-mismatch',
  );
  expect(await refusalOf(system.client('manager').sendApproval(recovery, ofRelease))).toBe(
    'approval-mismatch',
  );
  // nor do replies without a purpose do
  const bare = { ...ofReseal, replies: ofReseal.replies.map(({ key, reply }) => ({ key, reply })) };
  expect(await refusalOf(system.client('manager').sendApproval(recovery, bare))).toBe('approval-mismatch');
});
