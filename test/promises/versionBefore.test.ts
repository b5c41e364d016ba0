import { constants, createPublicKey, publicEncrypt, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { exportLog } from '../../src/client/log/logExport.js';
import { verifyExport } from '../../src/audit/verifyExport.js';
import { exportHistory, verifyHistory } from '../../src/client/history/ownHistory.js';
import { parsePublicParts } from '../../src/client/identity/publicPart.js';
import type { OpenedKey } from '../../src/client/depositary/release.js';
import { openRelease } from '../../src/client/depositary/release.js';
import type { KeyReply } from '../../src/api/replies.js';
import { decodeEntry } from '../../src/log/entry/entry.js';
import { grantOf, only } from '../support/oneKey.js';
import type { Before, PersonBefore } from '../support/versionBefore.js';
import { restoreBefore } from '../support/versionBefore.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * What the version before left behind (test/fixtures/before), taken over by this one: an upgrade in place. Each of these was
 * under way when the old daemon stopped.
 */
let before: Before;
let keys: Readonly<Record<keyof Before['facts']['keys'], KeyReply>>;

const MESSAGE = Buffer.from('a letter that was written after the upgrade');
const HOUR_MS = 3_600_000;

beforeAll(async () => {
  before = await restoreBefore();
  await before.startDaemon();
  const found = await Promise.all(
    Object.entries(before.facts.keys).map(async ([name, id]) => [name, await before.client('owner').key(id)]),
  );
  keys = Object.fromEntries(found) as typeof keys;
});
afterEach(async () => {
  await expectLogHolds();
});
afterAll(() => before.remove());

test('an export that the version before wrote is believed', async () => {
  await verified(join(before.directory, 'story', 'log.ndjson'));
});

test('an open grant has a certificate from the start on', async () => {
  const client = before.client('auditor');
  const entries = (await client.entries(0, 1000)).map(({ entry }) => decodeEntry(Buffer.from(entry)));
  const certified = entries.filter(({ act, phase }) => act === 'grant.certify' && phase === 'done');
  const grants = Object.values(before.facts.grants);
  expect(certified.map(({ subject }) => subject.grant).sort()).toEqual([...grants].sort());
});

test('an open grant signs, and its uses go on from where they were', async () => {
  const { letters, memos } = before.facts.grants;
  const usedBefore = (await before.client('mailer').grant(letters)).used;
  await expectSignature(letters, keys.letters, 'ES256', 'sha256');
  await expectSignature(memos, keys.memos, 'ES384', 'sha384');
  expect((await before.client('mailer').grant(letters)).used).toBe(usedBefore + 1);
  expect(usedBefore).toBe(1);
});

test('an open grant decrypts', async () => {
  expect(await decrypted(before.facts.grants.archive)).toBe('hello');
});

test('a request that one depositary had approved before is approved by a second one now', async () => {
  const { halfApproved } = before.facts.requests;
  const recovery = await before.approve('officer-2', halfApproved);
  expect(recovery.status).toBe('active');
  await expectSignature(grantOf(recovery), keys.letters, 'ES256', 'sha256');
});

test('a request that nobody had decided is approved by two now', async () => {
  const { undecided } = before.facts.requests;
  expect((await before.approve('manager', undecided)).status).toBe('pending');
  const recovery = await before.approve('officer-1', undecided);
  await expectSignature(grantOf(recovery), keys.memos, 'ES384', 'sha384');
});

test('a key whose release was approved before is fetched now, twice, and fits its public key', async () => {
  const { approvedRelease } = before.facts.requests;
  const recipient = before.client('officer-1');
  expect((await recipient.recovery(approvedRelease)).status).toBe('approved');
  expect(await opened('officer-1', approvedRelease, [keys.archive])).toHaveLength(1);
  expect(await opened('officer-1', approvedRelease, [keys.archive])).toHaveLength(1);
});

test('keys that were released before can be fetched again', async () => {
  const { released } = before.facts.requests;
  expect((await before.client('officer-2').recovery(released)).status).toBe('released');
  const both = [keys.archive, keys.disk].sort((a, b) => (a.key < b.key ? -1 : 1));
  expect(await opened('officer-2', released, both)).toHaveLength(2);
});

test('a release that was approved by one before is approved by a second now, and opens', async () => {
  const { halfApprovedRelease } = before.facts.requests;
  await before.approve('officer-1', halfApprovedRelease);
  const [disk] = await opened('officer-2', halfApprovedRelease, [keys.disk]);
  expect(disk?.kind).toBe('secret');
});

test('a release whose delay was running waits for its end, and the owner may still veto it', async () => {
  const { waitingRelease } = before.facts.requests;
  await expect(before.client('manager').release(waitingRelease)).rejects.toMatchObject({
    code: 'delay-running',
  });
  await before.client('owner').veto(waitingRelease, 'I am back');
  await expect(before.client('manager').release(waitingRelease)).rejects.toMatchObject({
    code: 'recovery-ended',
  });
});

test('a request with a denial from before is ended by its requester', async () => {
  const { denied } = before.facts.requests;
  expect((await before.client('manager').recovery(denied)).status).toBe('pending');
  await before.client('manager').cancel(denied, 'not now');
  expect((await before.client('manager').recovery(denied)).status).toBe('cancelled');
});

test('a key of before is asked for, approved, used and released anew', async () => {
  const scope = {
    app: 'mailer',
    operations: ['decrypt'],
    mechanisms: ['RSA-OAEP'],
    input: 'message',
    maxUses: 2,
    duration: 'PT1H',
  } as const;
  const order = { keys: [keys.archive.key], reason: 'the owner is away', validFor: 'PT2H' };
  const use = (await before.client('manager').requestRecovery({ ...order, purpose: 'operate', scope }))
    .result;
  await before.approve('manager', use.recovery);
  const recovery = await before.approve('officer-2', use.recovery);
  expect(await decrypted(grantOf(recovery))).toBe('hello');

  const vault = { ...order, keys: [keys.vault.key], purpose: 'release' } as const;
  const { recovery: release } = (await before.client('manager').requestRecovery(vault)).result;
  await before.approve('manager', release);
  await before.approve('officer-1', release);
  before.pass(HOUR_MS + 1000);
  expect(await opened('manager', release, [keys.vault])).toHaveLength(1);
});

test('a key of today lies beside those of before', async () => {
  const { result: key } = await before
    .client('owner')
    .generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign', label: 'of today' });
  const { items } = await before.client('owner').keys({});
  expect(items.map(({ key: id }) => id)).toEqual(
    expect.arrayContaining([key.key, ...Object.values(before.facts.keys)]),
  );
});

test('the owner gets a history that goes back to before, and is complete', async () => {
  const owner = before.identity('owner');
  const client = before.client('owner');
  const path = join(before.directory, 'history.ndjson');
  const { origin, identityKey, logKey } = owner.pins;
  const pins = { origin, identityKey, logKey };
  const log = owner.logView(client);
  await exportHistory({ client, log, owner: 'owner', pins, filter: {}, path, now: before.now() });
  expect(await verifyHistory(path, pins)).toMatchObject({ ok: true });
});

test('the daemon starts again on what it has made of it', async () => {
  await before.stopDaemon();
  await before.startDaemon();
  await expectSignature(before.facts.grants.letters, keys.letters, 'ES256', 'sha256');
});

async function expectSignature(
  grant: string,
  { publicKeyPem }: KeyReply,
  mechanism: 'ES256' | 'ES384',
  hash: string,
): Promise<void> {
  const messages = [MESSAGE.toString('base64url')];
  const { result } = await before.client('mailer').sign(grant, { mechanism, messages });
  const publicKey = { key: publicKeyPem ?? '', dsaEncoding: 'ieee-p1363' } as const;
  const signature = Buffer.from(only(result.signatures), 'base64url');
  expect(verify(hash, MESSAGE, publicKey, signature)).toBe(true);
}

async function decrypted(grant: string): Promise<string> {
  const key = createPublicKey(keys.archive.publicKeyPem ?? '');
  const sealed = publicEncrypt(
    { key, oaepHash: 'sha1', padding: constants.RSA_PKCS1_OAEP_PADDING },
    Buffer.from('hello'),
  );
  const ciphertexts = [{ ciphertext: sealed.toString('base64url') }];
  const { result } = await before.client('mailer').decrypt(grant, { mechanism: 'RSA-OAEP', ciphertexts });
  return Buffer.from(only(result.plaintexts), 'base64url').toString();
}

/** What the recipient opens; each fits its public key, where it has one. */
async function opened(
  name: PersonBefore,
  recovery: string,
  expected: readonly KeyReply[],
): Promise<readonly OpenedKey[]> {
  const client = before.client(name);
  const handedOut = (await client.recovery(recovery)).release;
  const { keys: released } = handedOut ?? (await client.release(recovery)).result;
  expect(released.map(({ key }) => key)).toEqual(expected.map(({ key }) => key));
  const recipientKey: KeyObject = await before.identity(name).depositaryKey();
  return released.map((release, at) =>
    openRelease(release, recipientKey, { publicKeyPem: expected[at]?.publicKeyPem }),
  );
}

async function expectLogHolds(): Promise<void> {
  const auditor = before.identity('auditor');
  const client = before.client('auditor');
  const path = join(before.directory, 'log.ndjson');
  const { origin, logKey } = auditor.pins;
  await exportLog({ client, log: auditor.logView(client), origin, logKey, path });
  await verified(path);
}

/** Form, tree and signatures of the file, and everybody's signatures in it. */
async function verified(path: string): Promise<void> {
  const { logKey, identityKey } = before.identity('auditor').pins;
  const bootstrap = parsePublicParts(readFileSync(join(before.directory, 'administrators.json'), 'utf8'));
  const { verdict, requests } = await verifyExport({ path, logKey, identityKey, bootstrap });
  expect(verdict).toMatchObject({ ok: true });
  expect(requests.unknown).toBe(0);
}
