import { createPublicKey, verify } from 'node:crypto';

import { ServerProblem } from '../../src/client/errors.js';
import { openRelease } from '../../src/client/depositary/release.js';
import type { KeyReply, ReleasedKeysReply, SignaturesReply } from '../../src/api/replies.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { grantOf, releaseOf } from '../support/oneKey.js';
import type { System } from '../support/system.js';
import { DEPOSITARIES, makeSystem } from '../support/system.js';
import { filed, granted, toOperate, toRelease } from './recoveries.js';
import { tally } from './refusals.js';
import { post, sendExactly, signed, withClients } from './signedRequests.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

const AT_ONCE = 20;
const message = Buffer.from('once');
const ORDER = { mechanism: 'ES256', messages: [message.toString('base64url')] } as const;

let system: System;
let key: KeyReply;
let decryptionKey: KeyReply;
let rsaKey: KeyReply;
/** Size of the log when a test begins. */
let logSize: number;

beforeAll(async () => {
  system = await makeSystem();
  const owner = system.client('owner');
  key = (await owner.generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' })).result;
  rsaKey = (await owner.generateKey({ owner: 'owner', spec: 'rsa-4096', use: 'sign' })).result;
  decryptionKey = (await owner.generateKey({ owner: 'owner', spec: 'rsa-2048', use: 'decrypt' })).result;
});
beforeEach(async () => {
  logSize = (await expectLogHolds(system)).size;
});
afterEach(async () => {
  await expectLogHolds(system);
});
afterAll(() => system.remove());

/** What has been recorded in this test of one act and phase. */
async function recorded(act: string, phase: Entry['phase']): Promise<readonly Entry[]> {
  const entries = await entriesFrom(system, logSize);
  return entries.filter((entry) => entry.act === act && entry.phase === phase);
}

async function allKeys(): Promise<number> {
  return (await system.client('auditor').keys({ limit: 200 })).items.length;
}

test('of twenty copies of one signed request one is obeyed', async () => {
  const before = await allKeys();
  const order = post('/v1/keys', { owner: 'owner', spec: 'ec-p256', use: 'sign' });
  const request = await signed(system.identity('owner').signer, order, new Date());
  const answers = Array.from({ length: AT_ONCE }, () => sendExactly(system, request));
  expect(await tally(answers)).toEqual({ answered: 1, 'request-replayed': AT_ONCE - 1 });
  expect(await allKeys()).toBe(before + 1);
  expect(await recorded('key.generate', 'done')).toHaveLength(1);
  expect(await recorded('key.generate', 'denied')).toHaveLength(AT_ONCE - 1);
});

test('of twenty requests for a key with one Idempotency-Key one makes it, and after a restart it is the answer', async () => {
  const before = await allKeys();
  const order = {
    ...post('/v1/keys', { owner: 'owner', spec: 'ec-p256', use: 'sign' }),
    idempotencyKey: 'only once',
  };
  const ask = async (request = order): Promise<unknown> =>
    sendExactly(system, await signed(system.identity('owner').signer, request, new Date()));
  const answers = Array.from({ length: AT_ONCE }, () => ask());
  const { answered = 0, 'idempotency-in-progress': waiting = 0, ...others } = await tally(answers);
  expect(others).toEqual({});
  expect(answered).toBeGreaterThanOrEqual(1);
  expect(answered + waiting).toBe(AT_ONCE);
  const settled = await Promise.allSettled(answers);
  const texts = settled.flatMap((each) => (each.status === 'fulfilled' ? [JSON.stringify(each.value)] : []));
  await system.stopDaemon();
  await system.startDaemon();
  expect(new Set([...texts, JSON.stringify(await ask())]).size).toBe(1);
  const other = {
    ...post('/v1/keys', { owner: 'owner', spec: 'ec-p384', use: 'sign' }),
    idempotencyKey: 'only once',
  };
  expect(await tally([ask(other)])).toEqual({ 'idempotency-key-reused': 1 });
  expect(await allKeys()).toBe(before + 1);
  expect(await recorded('key.generate', 'attempted')).toHaveLength(1);
});

test('of twenty copies of one signed question one is answered', async () => {
  const question = { method: 'GET', target: '/v1/keys', body: new Uint8Array(0) } as const;
  const request = await signed(system.identity('owner').signer, question, new Date());
  const answers = Array.from({ length: AT_ONCE }, () => sendExactly(system, request));
  expect(await tally(answers)).toEqual({ answered: 1, 'request-replayed': AT_ONCE - 1 });
  expect(await recorded('key.read', 'denied')).toHaveLength(AT_ONCE - 1);
});

test('a grant with three uses signs three times, however many ask at once', async () => {
  const { grant } = await granted(system, key, { maxUses: 3 });
  await withClients(system, 'app', AT_ONCE, async (clients) => {
    const answers = clients.map((client) => client.sign(grant, ORDER));
    expect(await tally(answers)).toEqual({ answered: 3, 'grant-exhausted': AT_ONCE - 3 });
    const signatures = (await Promise.allSettled(answers)).flatMap((answer) =>
      answer.status === 'fulfilled' ? answer.value.result.signatures : [],
    );
    const publicKey = createPublicKey(key.publicKeyPem ?? '');
    expect(
      signatures.map((signature) =>
        verify(
          'sha256',
          message,
          { key: publicKey, dsaEncoding: 'ieee-p1363' },
          Buffer.from(signature, 'base64url'),
        ),
      ),
    ).toEqual([true, true, true]);
  });
  expect(await recorded('grant.sign', 'done')).toHaveLength(3);
  expect(await recorded('grant.sign', 'attempted')).toHaveLength(3);
  expect(await system.client('app').grant(grant)).toMatchObject({ used: 3, status: 'exhausted' });
});

test('batches at once share the uses, and none gets a part', async () => {
  const { grant } = await granted(system, key, { maxUses: 10 });
  const batch = { ...ORDER, messages: Array.from({ length: 4 }, () => ORDER.messages[0]) };
  await withClients(system, 'app', 5, async (clients) => {
    const answers = clients.map((client) => client.sign(grant, batch));
    expect(await tally(answers)).toEqual({ answered: 2, 'grant-exhausted': 3 });
  });
  expect(await system.client('app').grant(grant)).toMatchObject({ used: 8 });
  await system.client('owner').revoke(grant, 'done');
});

test('the last two approvals at once make one grant', async () => {
  const { recovery } = await filed(system, toOperate(key));
  await system.approve('manager', recovery);
  const officers = ['officer-1', 'officer-2'] as const;
  const approvals = await Promise.all(officers.map((name) => system.makeApproval(name, recovery)));
  const answers = officers.map((name, at) => {
    const approval = approvals[at];
    if (approval === undefined) throw new Error(`${name} has not approved`);
    return system.client(name).sendApproval(recovery, approval);
  });
  const { answered, ...refused } = await tally(answers);
  expect(answered).toBe(1);
  // whoever comes second finds the quorum complete, or the request ended, as far as the first one has come
  expect([{ 'quorum-complete': 1 }, { 'recovery-ended': 1 }]).toContainEqual(refused);
  await expectOneGrant(recovery);
});

test('all approvals at once make one grant', async () => {
  const { recovery } = await filed(system, toOperate(key));
  const approvals = await Promise.all(DEPOSITARIES.map((name) => system.makeApproval(name, recovery)));
  const answers = DEPOSITARIES.map((name, at) => {
    const approval = approvals[at];
    if (approval === undefined) throw new Error(`${name} has not approved`);
    return system.client(name).sendApproval(recovery, approval);
  });
  expect(await tally(answers)).toMatchObject({ answered: 2 });
  await expectOneGrant(recovery);
});

async function expectOneGrant(recovery: string): Promise<void> {
  const grant = grantOf(await system.client('manager').recovery(recovery));
  const grants = (await system.client('auditor').grants({ limit: 200 })).items;
  expect(grants.filter((one) => one.recovery === recovery)).toMatchObject([{ grant, status: 'active' }]);
  expect(await recorded('recovery.activate', 'done')).toHaveLength(1);
  await system.client('owner').revoke(grant, 'done');
}

test('twenty approvals by one depositary at once count once', async () => {
  const { recovery } = await filed(system, toOperate(key));
  const approval = await system.makeApproval('manager', recovery);
  await withClients(system, 'manager', AT_ONCE, async (clients) => {
    const answers = clients.map((client) => client.sendApproval(recovery, approval));
    expect(await tally(answers)).toEqual({ answered: 1, 'approval-duplicate': AT_ONCE - 1 });
  });
  expect(await system.client('manager').recovery(recovery)).toMatchObject({
    status: 'pending',
    approvedBy: ['manager'],
  });
  await system.client('manager').cancel(recovery, 'done');
});

test('a release that is called for ten times at once happens once', async () => {
  const { recovery } = await filed(system, toRelease(decryptionKey));
  await system.approve('manager', recovery);
  await system.approve('officer-1', recovery);
  const released = await withClients(system, 'manager', 10, async (clients) => {
    const answers = clients.map((client) => client.release(recovery));
    expect(await tally(answers)).toEqual({ answered: 1, 'recovery-ended': 9 });
    return answered(await Promise.allSettled(answers));
  });
  expect(await recorded('recovery.release', 'attempted')).toHaveLength(1);
  expect(await recorded('recovery.release', 'done')).toHaveLength(1);
  const [release] = released;
  if (release === undefined) throw new Error('nothing was released');
  const recipientKey = await system.identity('manager').depositaryKey();
  expect(
    openRelease(releaseOf(release), recipientKey, { publicKeyPem: decryptionKey.publicKeyPem }).kind,
  ).toBe('pair');
});

test('a grant that is revoked while it signs answers each request with a signature or a refusal, and then no more', async () => {
  const { grant } = await granted(system, key, { maxUses: 100 });
  const usesBefore = await withClients(system, 'app', 8, async (clients) => {
    const outcomes: Promise<{ readonly result: SignaturesReply }>[] = [];
    const working = clients.map(async (client) => {
      for (let goesOn = true; goesOn;) {
        const answer = client.sign(grant, ORDER);
        outcomes.push(answer);
        goesOn = await answer.then(
          () => true,
          () => false,
        );
      }
    });
    await Promise.any(outcomes); // they are at it
    await system.client('owner').revoke(grant, 'stop');
    const late = clients.map((client) => client.sign(grant, ORDER));
    expect(await tally(late)).toEqual({ 'grant-revoked': clients.length });
    await Promise.all(working);
    const { answered: signatures = 0, 'grant-revoked': refused = 0, ...others } = await tally(outcomes);
    expect(others).toEqual({});
    expect(refused).toBeGreaterThan(0);
    return signatures;
  });
  const { used, status } = await system.client('app').grant(grant);
  expect(status).toBe('revoked');
  expect(usesBefore).toBeGreaterThan(0);
  // what was cut short stays counted: never more signatures than uses
  expect(usesBefore).toBeLessThanOrEqual(used);
  expect(await recorded('grant.sign', 'done')).toHaveLength(usesBefore);
  // what the token was at when the grant went is said to have failed, and not to have been refused
  for (const entry of await recorded('grant.sign', 'failed')) {
    expect(entry).toMatchObject({ error: 'grant-revoked', detail: { made: 0 } });
  }
});

test('a batch of RSA signatures whose grant is revoked under it has failed, with how many were made, and none is answered', async () => {
  const messages = Array.from({ length: 99 }, (_, at) => Buffer.from(`${at}`).toString('base64url'));
  const app = system.client('app');
  const cut: string[] = [];
  // on a machine that revokes slowly a batch may be done before; then there is another one
  while (cut.length < 3) {
    const { grant } = await granted(system, rsaKey, { mechanisms: ['PS256'], maxUses: 100 });
    const signing = app.sign(grant, { mechanism: 'PS256', messages });
    const ended = signing.then(() => 'done', refusalCode);
    while ((await app.grant(grant)).used === 0);
    const revoking = system.client('owner').revoke(grant, 'stop');
    const how = await ended;
    expect(['done', 'grant-revoked']).toContain(how);
    if (how === 'done')
      await revoking.catch(() => undefined); // that its uses are over may have ended it
    else cut.push((await revoking).result.grant);
  }
  const failed = await recorded('grant.sign', 'failed');
  expect(failed.map(({ subject }) => subject.grant)).toEqual(cut);
  for (const { error, detail } of failed) {
    expect(error).toBe('grant-revoked');
    expect(detail['made']).toBeLessThan(99);
  }
  expect(await recorded('grant.sign', 'denied')).toEqual([]);
});

test('of two policies on top of the same one the first is in force, and the other is stale', async () => {
  const { version } = await system.client('auditor').policy();
  const answers = [system.applyRules(), system.applyRules([])];
  expect(await tally(answers)).toEqual({ answered: 1, 'policy-stale': 1 });
  expect((await system.client('auditor').policy()).version).toBe(version + 1);
  await system.applyRules();
});

function refusalCode(error: unknown): string {
  return error instanceof ServerProblem ? error.code : String(error);
}

function answered(
  answers: readonly PromiseSettledResult<{ readonly result: ReleasedKeysReply }>[],
): readonly ReleasedKeysReply[] {
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value.result] : []));
}
