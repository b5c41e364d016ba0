import { constants, createCipheriv, createHash, createPublicKey, publicEncrypt, verify } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { exportHistory, readHistory, verifyHistory } from '../../src/client/history/ownHistory.js';
import { confirmation, openRelease } from '../../src/client/depositary/release.js';
import { signStop } from '../../src/client/stop.js';
import type { GeneratedSpec, Operation } from '../../src/escrow/records/keySpecs.js';
import type { Mechanism } from '../../src/escrow/records/mechanisms.js';
import { DIGEST_BYTES, MECHANISMS, mechanismsFor } from '../../src/escrow/records/mechanisms.js';
import type { DecryptOrder } from '../../src/api/orders.js';
import type { GrantReply, KeyReply } from '../../src/api/replies.js';
import { decodeEntry } from '../../src/log/entry/entry.js';
import { Frontier, leafHash } from '../../src/log/tree/merkle.js';
import { rootOf } from '../../src/log/tree/prover.js';
import { entriesOfBundle, tileHashReader, tileWidthAt } from '../../src/log/tree/tiles.js';
import type { MailServer, Receiver } from '../notify/receivers.js';
import { startMailServer, startReceiver } from '../notify/receivers.js';
import { grantOf, releaseOf } from '../support/oneKey.js';
import type { System } from '../support/system.js';
import { makeSystem, RULES } from '../support/system.js';
import { filed, granted, toOperate, toRelease } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';
import { until } from '../support/waiting.js';
import { LIMITS_MS } from '../support/limits.js';
import { freshBytes } from '../support/fresh.js';

jest.setTimeout(LIMITS_MS.system);

const HOUR_MS = 3_600_000;
const DELAYED_RELEASES = RULES.map((rule) =>
  Object.hasOwn(rule as object, 'release')
    ? { ...(rule as object), release: { delay: 'PT4H', ownerMayVeto: true } }
    : rule,
);

let system: System;
/** How far the system's time has been moved on. */
let aheadMs = 0;

let receiver: Receiver;
let mailServer: MailServer;
const webhookSecret = `whsec_${freshBytes(32).toString('base64')}`;

beforeAll(async () => {
  receiver = await startReceiver();
  mailServer = await startMailServer();
  system = await makeSystem({ now: () => new Date(Date.now() + aheadMs), config: notifyingHere });
  await system.applyRules(DELAYED_RELEASES);
});
afterAll(async () => {
  await system.remove();
  await receiver.close();
  await mailServer.close();
});

/** A configuration that tells this test, in every way there is. */
function notifyingHere(_hsm: unknown, directory: string): Readonly<Record<string, unknown>> {
  writeFileSync(join(directory, 'webhook.secret'), `${webhookSecret}\n`, { mode: 0o600 });
  const smtp = { host: '127.0.0.1', port: mailServer.port, tls: 'none', from: 'escrowd@example.test' };
  return {
    notifications: {
      allowHosts: ['127.0.0.1'],
      pollMs: 50,
      file: { path: 'notices.ndjson' },
      webhooks: [{ name: 'here', url: receiver.url, secretFiles: ['webhook.secret'] }],
      smtp,
    },
  };
}

const message = Buffer.from('pay 100 to the landlord');
const text = message.toString('base64url');

async function generated(spec: GeneratedSpec, use: Operation, deliver = false): Promise<KeyReply> {
  const order = { owner: 'owner', spec, use, label: `${spec} to ${use}`, deliver };
  return (await system.client('owner').generateKey(order)).result;
}

/** Whether node:crypto holds this for a signature of the message by the key. */
function verifies(key: KeyReply, mechanism: Mechanism, signature: string | undefined): boolean {
  const found = MECHANISMS[mechanism];
  if (found.digest === undefined) throw new Error(`${mechanism} does not sign digests`);
  const publicKey = createPublicKey(key.publicKeyPem ?? '');
  const bytes = Buffer.from(signature ?? '', 'base64url');
  if (found.kind === 'EC')
    return verify(found.digest, message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, bytes);
  const padding = mechanism.startsWith('PS') ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
  const saltLength = DIGEST_BYTES[found.digest];
  return verify(found.digest, message, { key: publicKey, padding, saltLength }, bytes);
}

describe('the life of a key', () => {
  let key: KeyReply;
  let grant: GrantReply;

  afterEach(async () => {
    await expectLogHolds(system);
  });

  test('it is born deposited: for its quorums, under the rule, with a digest that the log holds as well', async () => {
    const { result, entry } = await system
      .client('owner')
      .generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign', label: 'contracts' });
    key = result;
    const [operate, ...others] = key.purposes;
    expect(others).toEqual([]);
    expect(operate).toMatchObject({
      purpose: 'operate',
      quorums: [
        ['manager', 'officer-1'],
        ['manager', 'officer-2'],
        ['officer-1', 'officer-2'],
      ],
    });
    expect(operate?.recipients.map(({ depositary }) => depositary)).toEqual([
      'manager',
      'officer-1',
      'officer-2',
    ]);
    const [done] = await entriesFrom(system, entry);
    expect(done).toMatchObject({
      act: 'key.generate',
      phase: 'done',
      actor: 'owner',
      subject: { key: key.key, owner: 'owner' },
      digest: key.digest,
    });
  });

  test('outsiders neither see it nor can ask for it', async () => {
    expect(await refusalOf(system.client('other-owner').key(key.key))).toBe('forbidden');
    for (const outsider of ['app', 'admin-1', 'other-owner', 'auditor'] as const) {
      expect(await refusalOf(system.client(outsider).requestRecovery(toOperate(key)))).toBe('forbidden');
    }
    expect((await system.client('other-owner').keys()).items).toEqual([]);
  });

  test('one depositary alone does not get it back', async () => {
    const { recovery } = await filed(system, toOperate(key));
    expect(await system.approve('manager', recovery)).toMatchObject({
      status: 'pending',
      approvedBy: ['manager'],
    });
    expect(await refusalOf(system.client('manager').activate(recovery))).toBe('quorum-incomplete');
    expect(await refusalOf(system.client('other-app').activate(recovery))).toBe('forbidden');
    const { status } = (await system.client('manager').cancel(recovery, 'not needed')).result;
    expect(status).toBe('cancelled');
  });

  test('with the last approval of a quorum it is back, for the app that was named', async () => {
    const { recovery } = await filed(
      system,
      toOperate(key, { input: 'digest', maxUses: 6, mechanisms: ['ES256'] }),
    );
    await system.approve('manager', recovery);
    const approved = await system.approve('officer-2', recovery);
    expect(approved).toMatchObject({ status: 'active', approvedBy: ['manager', 'officer-2'] });
    grant = await system.client('app').grant(grantOf(approved));
    expect(grant).toMatchObject({ key: key.key, status: 'active', used: 0, scope: { app: 'app' } });
  });

  test('what the app has signed with it verifies under its public key, by message and by digest', async () => {
    const { result } = await system.client('app').sign(grant.grant, { mechanism: 'ES256', messages: [text] });
    expect(verifies(key, 'ES256', result.signatures[0])).toBe(true);
    const digest = createHash('sha256').update(message).digest('base64url');
    const byDigest = await system.client('app').sign(grant.grant, { mechanism: 'ES256', digests: [digest] });
    expect(verifies(key, 'ES256', byDigest.result.signatures[0])).toBe(true);
    expect(byDigest.result.remaining).toBe(4);
  });

  test('each input of a batch is a use, and a batch beyond what is left is refused whole', async () => {
    const batch = (count: number): Promise<unknown> =>
      system.client('app').sign(grant.grant, {
        mechanism: 'ES256',
        messages: Array.from({ length: count }, () => text),
      });
    expect(await refusalOf(batch(5))).toBe('grant-exhausted');
    expect(await system.client('app').grant(grant.grant)).toMatchObject({ used: 2, status: 'active' });
    await expect(batch(3)).resolves.toMatchObject({ result: { remaining: 1 } });
    await expect(batch(1)).resolves.toMatchObject({ result: { remaining: 0 } });
    expect(await refusalOf(batch(1))).toBe('grant-exhausted');
  });

  test('a grant that was revoked signs no more, whoever of those concerned revoked it', async () => {
    for (const who of ['owner', 'officer-2', 'admin-1'] as const) {
      const revoked = await granted(system, key);
      const order = { mechanism: 'ES256', messages: [text] } as const;
      await system.client('app').sign(revoked.grant, order);
      expect(await refusalOf(system.client('app').revoke(revoked.grant, 'mine'))).toBe('forbidden');
      const { status } = (await system.client(who).revoke(revoked.grant, 'enough')).result;
      expect(status).toBe('revoked');
      expect(await refusalOf(system.client('app').sign(revoked.grant, order))).toBe('grant-revoked');
    }
  });

  test('a grant ends when its time is over', async () => {
    const short = await granted(system, key, { duration: 'PT10M' });
    aheadMs += HOUR_MS / 6;
    const order = { mechanism: 'ES256', messages: [text] } as const;
    expect(await refusalOf(system.client('app').sign(short.grant, order))).toBe('grant-expired');
  });

  test('a key whose rule has no release is not released, whoever agrees', async () => {
    expect(await refusalOf(system.client('manager').requestRecovery(toRelease(key)))).toBe(
      'purpose-not-allowed',
    );
    const { recovery } = await filed(system, toOperate(key));
    expect(await refusalOf(system.client('manager').release(recovery))).toBe('purpose-not-allowed');
    await system.client('manager').cancel(recovery, 'it was a try');
  });
});

describe('a key that its rule lets out', () => {
  let key: KeyReply;

  beforeAll(async () => {
    key = await generated('rsa-2048', 'decrypt', true);
  });
  afterEach(async () => {
    await expectLogHolds(system);
  });

  function encrypted(): DecryptOrder {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const ciphertext = publicEncrypt({ key: key.publicKeyPem ?? '', padding, oaepHash: 'sha1' }, message);
    return { mechanism: 'RSA-OAEP', ciphertexts: [{ ciphertext: ciphertext.toString('base64url') }] };
  }

  test('comes to its owner as a copy that opens with the delivery key, and is shown to nobody else', async () => {
    const { ownersCopy } = await system.client('owner').key(key.key);
    if (ownersCopy === undefined) throw new Error('the owner has no copy');
    const opened = openRelease(ownersCopy, await system.identity('owner').deliveryKey(), {
      publicKeyPem: key.publicKeyPem,
    });
    expect(opened.kind).toBe('pair');
    for (const other of ['manager', 'admin-1', 'auditor'] as const) {
      expect(await system.client(other).key(key.key)).not.toHaveProperty('ownersCopy');
    }
  });

  test('decrypts on behalf of its owner', async () => {
    const grant = await granted(system, key, { operations: ['decrypt'], mechanisms: ['RSA-OAEP'] });
    const { result } = await system.client('app').decrypt(grant.grant, encrypted());
    expect(result).toEqual({ grant: grant.grant, plaintexts: [text], remaining: 9 });
    await system.client('owner').revoke(grant.grant, 'back again');
  });

  test('is released after its delay, once, to the one who asked; and is the private half of the public key', async () => {
    const { recovery } = await filed(system, toRelease(key));
    await system.approve('manager', recovery);
    expect(await refusalOf(system.client('manager').release(recovery))).toBe('quorum-incomplete');
    expect(await system.approve('officer-1', recovery)).toMatchObject({ status: 'approved' });
    expect(await refusalOf(system.client('manager').release(recovery))).toBe('delay-running');
    aheadMs += 4 * HOUR_MS;
    expect(await refusalOf(system.client('officer-1').release(recovery))).toBe('forbidden');
    const { result } = await system.client('manager').release(recovery);
    const opened = openRelease(releaseOf(result), await system.identity('manager').depositaryKey(), {
      publicKeyPem: key.publicKeyPem,
    });
    if (opened.kind !== 'pair') throw new Error('what was released is no pair');
    const released = createPublicKey(opened.privateKey).export({ type: 'spki', format: 'pem' });
    expect(released).toBe(createPublicKey(key.publicKeyPem ?? '').export({ type: 'spki', format: 'pem' }));
    expect(await refusalOf(system.client('manager').release(recovery))).toBe('recovery-ended');
    // kept until its recipient confirms that they have it
    const client = system.client('manager');
    expect((await client.recovery(recovery)).release).toEqual(result);
    const { signer, pins } = system.identity('manager');
    const now = new Date(Date.now() + aheadMs);
    const said = await confirmation(signer, pins.logKey, recovery, result, now);
    expect((await client.confirmRelease(recovery, said)).result).toMatchObject({ status: 'released' });
    expect((await client.recovery(recovery)).release).toBeUndefined();
    expect(await refusalOf(client.confirmRelease(recovery, said))).toBe('release-gone');
  });

  test('stays where it is when so many have denied that no quorum is left', async () => {
    const { recovery } = await filed(system, toRelease(key));
    expect(await system.deny('officer-1', recovery, 'ask the owner first')).toMatchObject({
      status: 'pending',
    });
    const approval = await system.makeApproval('manager', recovery);
    expect(await system.deny('officer-2', recovery, 'no')).toMatchObject({
      status: 'denied',
      deniedBy: [
        { depositary: 'officer-1', reason: 'ask the owner first' },
        { depositary: 'officer-2', reason: 'no' },
      ],
    });
    expect(await refusalOf(system.client('manager').sendApproval(recovery, approval))).toBe('recovery-ended');
  });

  test('stays where it is when two administrators end the request, even while its delay runs', async () => {
    const { recovery } = await filed(system, toRelease(key));
    await system.approve('manager', recovery);
    await system.approve('officer-1', recovery);
    const { requestHash = '' } = await system.client('admin-1').recovery(recovery);
    const order = {
      recovery,
      requestHash,
      reason: 'nobody knows who asked',
      logKey: system.identity('admin-1').pins.logKey,
    };
    const [one = '', two = ''] = await Promise.all(
      (['admin-1', 'admin-2'] as const).map((name) =>
        signStop(system.identity(name).signer, {
          ...order,
          now: new Date(Date.now() + aheadMs),
          lifetimeMs: HOUR_MS,
        }),
      ),
    );
    const alone = system.client('admin-1').stop(recovery, { statements: [one, one] });
    expect(await refusalOf(alone)).toBe('stop-signatures-missing');
    const { result } = await system.client('admin-2').stop(recovery, { statements: [one, two] });
    expect(result).toMatchObject({
      ...{ status: 'cancelled', ended: { by: 'admin-2', reason: 'nobody knows who asked' } },
    });
    expect(await refusalOf(system.client('manager').release(recovery))).toBe('recovery-ended');
  });

  test('stays where it is when its owner vetoes, even after the quorum has agreed', async () => {
    const { recovery } = await filed(system, toRelease(key));
    await system.approve('manager', recovery);
    await system.approve('officer-2', recovery);
    expect(await refusalOf(system.client('other-owner').veto(recovery, 'no'))).toBe('forbidden');
    const { result } = await system.client('owner').veto(recovery, 'I am here');
    expect(result).toMatchObject({ status: 'vetoed', ended: { by: 'owner', reason: 'I am here' } });
    aheadMs += 4 * HOUR_MS;
    expect(await refusalOf(system.client('manager').release(recovery))).toBe('recovery-ended');
  });

  test('stays where it is when the requester takes the request back, and nobody else can', async () => {
    const { recovery } = await filed(system, toRelease(key));
    await system.approve('manager', recovery);
    expect(await refusalOf(system.client('officer-1').cancel(recovery, 'no'))).toBe('forbidden');
    const approval = await system.makeApproval('officer-1', recovery);
    await system.client('manager').cancel(recovery, 'found it');
    expect(await refusalOf(system.client('officer-1').sendApproval(recovery, approval))).toBe(
      'recovery-ended',
    );
  });

  test('stays where it is when the request runs out of time', async () => {
    const { recovery } = await filed(system, toRelease(key, 'PT1H'));
    const approval = await system.makeApproval('manager', recovery);
    aheadMs += HOUR_MS;
    expect(await system.client('manager').recovery(recovery)).toMatchObject({ status: 'expired' });
    const refusal = await refusalOf(system.client('manager').sendApproval(recovery, approval));
    // housekeeping may have recorded it in the meantime
    expect(['recovery-expired', 'recovery-ended']).toContain(refusal);
  });
});

describe('every kind of key', () => {
  afterEach(async () => {
    await expectLogHolds(system);
  });

  const SIGNING: readonly GeneratedSpec[] = [
    'ec-p256',
    'ec-p384',
    'ec-p521',
    'rsa-2048',
    'rsa-3072',
    'rsa-4096',
  ];
  test.each(SIGNING)('%s is deposited, recovered, and signs by every mechanism that fits', async (spec) => {
    const key = await generated(spec, 'sign');
    const mechanisms = await fitting(spec, 'sign');
    expect(mechanisms).toHaveLength(spec.startsWith('rsa') ? 6 : 1);
    const grant = await granted(system, key, { mechanisms });
    for (const mechanism of mechanisms) {
      const { result } = await system.client('app').sign(grant.grant, { mechanism, messages: [text] });
      expect([mechanism, verifies(key, mechanism, result.signatures[0])]).toEqual([mechanism, true]);
    }
    await system.client('owner').revoke(grant.grant, 'done');
  });

  const DECRYPTING: readonly GeneratedSpec[] = ['rsa-2048', 'rsa-3072', 'rsa-4096'];
  test.each(DECRYPTING)('%s is deposited, recovered, and decrypts', async (spec) => {
    const key = await generated(spec, 'decrypt');
    const mechanisms = await fitting(spec, 'decrypt');
    expect(mechanisms).toEqual(['RSA-OAEP']);
    const grant = await granted(system, key, { operations: ['decrypt'], mechanisms });
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const ciphertext = publicEncrypt({ key: key.publicKeyPem ?? '', padding, oaepHash: 'sha1' }, message);
    const { result } = await system.client('app').decrypt(grant.grant, {
      mechanism: 'RSA-OAEP',
      ciphertexts: [{ ciphertext: ciphertext.toString('base64url') }],
    });
    expect(result.plaintexts).toEqual([text]);
    await system.client('owner').revoke(grant.grant, 'done');
  });

  test('aes-256 is deposited, recovered, and decrypts what its owner has encrypted with the copy', async () => {
    const key = await generated('aes-256', 'decrypt', true);
    expect(key).not.toHaveProperty('publicKeyPem');
    const { ownersCopy } = await system.client('owner').key(key.key);
    if (ownersCopy === undefined) throw new Error('the owner has no copy');
    const copy = openRelease(ownersCopy, await system.identity('owner').deliveryKey(), {
      publicKeyPem: undefined,
    });
    if (copy.kind !== 'secret') throw new Error('the copy is no secret key');
    const iv = freshBytes(12);
    const aad = Buffer.from('to whom it may concern');
    const cipher = createCipheriv('aes-256-gcm', copy.bytes, iv).setAAD(aad);
    const ciphertext = Buffer.concat([cipher.update(message), cipher.final(), cipher.getAuthTag()]);
    const mechanisms = await fitting('aes-256', 'decrypt');
    expect(mechanisms).toEqual(['A256GCM']);
    const grant = await granted(system, key, { operations: ['decrypt'], mechanisms });
    const { result } = await system.client('app').decrypt(grant.grant, {
      mechanism: 'A256GCM',
      ciphertexts: [
        {
          ciphertext: ciphertext.toString('base64url'),
          iv: iv.toString('base64url'),
          aad: aad.toString('base64url'),
        },
      ],
    });
    expect(result.plaintexts).toEqual([text]);
    await system.client('owner').revoke(grant.grant, 'done');
  });

  test('ed25519 is refused before anything is made: SoftHSM cannot wrap it', async () => {
    const { size } = await expectLogHolds(system);
    const before = (await system.client('auditor').keys({ limit: 200 })).items;
    expect(await refusalOf(generated('ed25519', 'sign'))).toBe('key-spec-unsupported');
    const recorded = await entriesFrom(system, size);
    expect(recorded.filter(({ act }) => act === 'key.generate')).toMatchObject([
      { phase: 'denied', error: 'key-spec-unsupported', actor: 'owner', subject: { owner: 'owner' } },
    ]);
    expect((await system.client('auditor').keys({ limit: 200 })).items).toEqual(before);
  });

  async function fitting(spec: GeneratedSpec, use: Operation): Promise<readonly Mechanism[]> {
    const { token } = await system.client('app').server();
    return mechanismsFor(spec, use).filter((name) => token.mechanisms.includes(name));
  }
});

test('the history of the owner is exported with the token’s statement, and verified offline', async () => {
  const identity = system.identity('owner');
  const { pins } = identity;
  const client = system.client('owner');
  const path = join(system.directory, 'history.ndjson');
  const now = new Date(Date.now() + aheadMs);
  const common = { client, log: identity.logView(client), owner: 'owner', pins, path, now };
  const before = (await entriesFrom(system, 0)).filter(({ subject }) => subject.owner === 'owner');
  const believed = await exportHistory({ ...common, filter: {} });
  expect(believed.count).toBe(before.length);
  expect(await verifyHistory(path, { ...pins, owner: 'owner' })).toMatchObject({
    ok: true,
    count: before.length,
  });
  expect(await verifyHistory(path, { ...pins, owner: 'other-owner' })).toMatchObject({ ok: false });
  const signed = await exportHistory({ ...common, filter: { act: 'grant.sign' } });
  expect(signed.count).toBe(before.filter(({ act }) => act === 'grant.sign').length);
  // the statement itself is an act: its owner sees that it was made
  const { items } = await readHistory(common, { act: 'history.attest' }, 100);
  expect(items.map(({ entry }) => entry.phase)).toEqual(['done', 'attempted', 'done', 'attempted']);
});

test('an auditor reads the log by bundles, and anybody computes its root from tiles', async () => {
  const client = system.client('auditor');
  const { size, root } = await system
    .identity('auditor')
    .logView(client)
    .believe(await client.checkpoint());
  const frontier = Frontier.empty();
  for (let index = 0; frontier.size < size; index += 1) {
    const bundle = await client.bundle(index, tileWidthAt(size, 0, index));
    for (const entry of entriesOfBundle(bundle)) frontier.append(leafHash(entry));
  }
  expect(Buffer.from(frontier.root())).toEqual(Buffer.from(root));
  const tiles = tileHashReader(size, (level, index, width) => client.tile(level, index, width));
  expect(Buffer.from(await rootOf(tiles, size))).toEqual(Buffer.from(root));
  expect(await refusalOf(system.client('owner').bundle(0, 1))).toBe('forbidden');
  expect(await refusalOf(client.tile(0, Math.ceil(size / 256), 1))).toBe('route-unknown');
});

test('the history of the owner has everything about them and their keys, refusals included', async () => {
  const history: string[] = [];
  let after: string | undefined;
  do {
    const page = await system.client('owner').history(after === undefined ? {} : { after });
    history.push(...page.items.map(({ entry }) => entry));
    after = page.next;
  } while (after !== undefined);
  const told = history.map((entry) => decodeEntry(Buffer.from(entry))).reverse();
  const all = await entriesFrom(system, 0);
  expect(told).toEqual(all.filter(({ subject }) => subject.owner === 'owner'));
  const refused = told
    .filter(({ phase }) => phase === 'denied')
    .map(({ act, error, actor }) => [act, error, actor]);
  expect(refused).toEqual(
    expect.arrayContaining([
      ['key.read', 'forbidden', 'other-owner'],
      ['recovery.request', 'forbidden', 'other-owner'],
      ['recovery.activate', 'quorum-incomplete', 'manager'],
      ['recovery.release', 'delay-running', 'manager'],
      ['recovery.veto', 'forbidden', 'other-owner'],
      ['grant.sign', 'grant-exhausted', 'app'],
      ['grant.sign', 'grant-revoked', 'app'],
      ['key.generate', 'key-spec-unsupported', 'owner'],
    ]),
  );
  const done = new Set(told.filter(({ phase }) => phase === 'done').map(({ act }) => act));
  expect([...done].filter((act) => act.startsWith('grant.')).sort()).toEqual([
    'grant.decrypt',
    'grant.exhaust',
    'grant.expire',
    'grant.revoke',
    'grant.sign',
  ]);
});

describe('those concerned are told', () => {
  const EXPECTED = [
    'manager asked recovery.request',
    'officer-1 asked recovery.request',
    'officer-2 asked recovery.request',
    'other-owner asked recovery.request',
    'manager decided recovery.approve',
    'other-owner decided recovery.approve',
    'manager decided recovery.activate',
    'other-owner decided recovery.activate',
    'other-owner used grant.sign',
    'other-owner refused grant.sign',
    'manager decided grant.revoke',
    'other-owner decided grant.revoke',
  ];
  let key: KeyReply;

  /** Resolves with what `look` sees when that is as many as EXPECTED. */
  async function toldAll<T>(look: () => readonly T[]): Promise<readonly T[]> {
    await until(() => look().length >= EXPECTED.length);
    return look();
  }
  const inWords = ({ to, kind, act }: Record<string, unknown>): string =>
    [to, kind, act].map(String).join(' ');
  const isAboutKey = ({ subject }: Record<string, unknown>): boolean =>
    (subject as { key?: string }).key === key.key ||
    (subject as { keys?: readonly string[] }).keys?.includes(key.key) === true;

  beforeAll(async () => {
    const owner = 'other-owner';
    const order = { owner, spec: 'ec-p256', use: 'sign', label: 'told' } as const;
    key = (await system.client(owner).generateKey(order)).result;
    const { grant } = await granted(system, key, { maxUses: 2 });
    const use = { mechanism: 'ES256', messages: [text], context: 'invoice 4711' } as const;
    await system.client('app').sign(grant, use);
    expect(await refusalOf(system.client('other-app').sign(grant, use))).toBe('forbidden');
    await system.client(owner).revoke(grant, 'enough');
  });

  test('by webhook: who approves, who asked and the owner, in the order of the log, and nobody else', async () => {
    const told = await toldAll(() =>
      receiver.received
        .map(({ body }) => (JSON.parse(body) as { readonly data: Record<string, unknown> }).data)
        .filter(isAboutKey),
    );
    expect(told.map(inWords)).toEqual(EXPECTED);
    const used = told.filter(({ act, kind }) => act === 'grant.sign' && kind === 'used');
    expect(used.map(({ text: words }) => words)).toEqual([expect.stringContaining('"invoice 4711"')]);
    expect(new Set(told.map(({ id }) => id)).size).toBe(EXPECTED.length);
    // each says where in the log it can be checked
    for (const { entry, act } of told)
      expect((await entriesFrom(system, Number(entry)))[0]).toMatchObject({ act });
  });

  test('by mail: each at the address that the directory has, and nobody else', async () => {
    const told = await toldAll(() =>
      mailServer.mails.filter((mail) => mail.text.includes(key.key) || mail.text.includes('"told"')),
    );
    expect(told.every(({ to }) => to.length === 1)).toBe(true);
    expect(told.map(({ to }) => to[0])).toEqual(
      EXPECTED.map((line) => `${line.split(' ')[0] ?? ''}@example.test`),
    );
  });

  test('in the file: the same, a line each; none of all the story holds what was signed', async () => {
    const file = join(system.directory, 'notices.ndjson');
    const all = (): Record<string, unknown>[] =>
      readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const told = await toldAll(() => all().filter(isAboutKey));
    expect(told.map(inWords)).toEqual(EXPECTED);
    const everything = JSON.stringify([all(), receiver.received, mailServer.mails]);
    expect(everything).not.toContain(text);
    expect(everything).not.toContain(message.toString('utf8'));
    expect(everything).not.toContain(webhookSecret);
  });

  test('a receiver that is out makes nobody wait: the daemon stays ready, and says how far behind it is', async () => {
    const before = receiver.received.length;
    receiver.answers.push(...Array.from({ length: 5 }, () => ({ status: 503 })));
    await filed(system, toOperate(key));
    let report: unknown;
    await until(async () => {
      expect(await system.client('auditor').isReady()).toBe(true);
      report = await system.health();
      return JSON.stringify(report).includes('503');
    });
    expect(report).toMatchObject({
      notifications: expect.arrayContaining([
        expect.objectContaining({ sink: 'webhook:here', fault: 'The receiver answered 503.' }) as object,
      ]) as unknown,
    });
    receiver.answers.length = 0;
    aheadMs += HOUR_MS; // longer than any back-off
    const ids = (): readonly unknown[] =>
      receiver.received.slice(before).map(({ headers }) => headers['webhook-id']);
    await until(() => new Set(ids()).size >= 4);
    expect(ids()[0]).toBe(ids()[1]); // the same message, again
  });
});

test('at last the token holds no one-time key and no grant', async () => {
  await system.stopDaemon();
  await system.startDaemon(); // settles what the last one may not have come to
  await expectLogHolds(system);
  await system.stopDaemon();
  const token = await system.hsm.open();
  try {
    expect(await token.standing()).toEqual({ transports: [], grants: [], imports: [] });
  } finally {
    await token.close();
  }
});
