import { verify } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';

import { exportLog } from '../../src/client/log/logExport.js';
import { verifyExport } from '../../src/audit/verifyExport.js';
import { openRelease } from '../../src/client/depositary/release.js';
import { decodeEntry } from '../../src/log/entry/entry.js';
import type { UnaccountedObject } from '../../src/escrow/ports/token.js';
import { NEEDS_NEWER_KEK } from '../../src/token/profile/attackNames.js';
import { readRecord } from '../../src/token/ceremony/record.js';
import { renew } from '../../src/token/ceremony/renew.js';
import { kekTemplate } from '../../src/token/profile/ceremonyTemplates.js';
import { openToken } from '../../src/token/service/openToken.js';
import { readPins } from '../../src/token/objects/ceremonyPins.js';
import { tryAttacks } from '../../src/token/selfTest/selfTest.js';
import { grantOf, only } from '../support/oneKey.js';
import { openRaw } from '../support/rawToken.js';
import type { Before } from '../support/versionBefore.js';
import { restoreBefore } from '../support/versionBefore.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * A token of the first ceremonies is taken through `ceremony renew`, under a database that has deposits, an open grant and
 * requests of before.
 */
let before: Before;
const MESSAGE = Buffer.from('after the renewal');

beforeAll(async () => {
  before = await restoreBefore();
});
afterAll(() => before.remove());

const labels = (): readonly string[] => {
  const raw = openRaw(before.hsm, 'user');
  try {
    return raw
      .find([{ type: pkcs11.CKA_TOKEN, value: true }])
      .map((handle) =>
        String(raw.driver.C_GetAttributeValue(raw.session, handle, [{ type: pkcs11.CKA_LABEL }])[0]?.value),
      )
      .sort();
  } finally {
    raw.close();
  }
};
const recordFile = (): string => join(before.directory, 'ceremony', 'record.json');
const recordText = (): string => readFileSync(recordFile(), 'utf8');

/** What the security officer does, with the daemon stopped. */
async function renewed(): Promise<void> {
  const { place, soPin, userPin } = before.hsm;
  const pins = { soPin: Buffer.from(soPin), userPin: Buffer.from(userPin) };
  const record = await renew({
    ...place,
    ...pins,
    now: before.now(),
    before: readRecord(recordText(), place),
  });
  writeFileSync(recordFile(), JSON.stringify(record));
}

/** Attacks that succeed, and those of them that an older KEK is the reason for; and what is of an older ceremony. */
async function weaknesses(): Promise<{ succeeding: string[]; older: string[]; objects: readonly string[] }> {
  const { place, userPin } = before.hsm;
  const pins = readPins(recordText(), place);
  const token = await openToken({ ...place, pin: Buffer.from(userPin), pins });
  try {
    const results = (await tryAttacks(token)).filter(({ refused }) => !refused);
    return {
      succeeding: results.filter(({ olderKek }) => olderKek === undefined).map(({ attack }) => attack),
      older: results.filter(({ olderKek }) => olderKek !== undefined).map(({ attack }) => attack),
      objects: token.older,
    };
  } finally {
    await token.close();
  }
}

/** What of the token is neither of the ceremony, then and now, nor named as a grant or as the pair of a request. */
async function ofNobody(): Promise<readonly UnaccountedObject[]> {
  const { place, userPin } = before.hsm;
  const token = await openToken({ ...place, pin: Buffer.from(userPin), pins: readPins(recordText(), place) });
  try {
    return await token.unaccounted(({ transports, grants }) =>
      Promise.resolve({
        transports: new Set(transports),
        imports: new Set(),
        grants: new Map(grants.map((grant) => [grant, undefined] as const)),
      }),
    );
  } finally {
    await token.close();
  }
}

const signs = async (grant: string, publicKeyPem: string | undefined): Promise<boolean> => {
  const messages = [MESSAGE.toString('base64url')];
  const { result } = await before.client('mailer').sign(grant, { mechanism: 'ES256', messages });
  const publicKey = { key: publicKeyPem ?? '', dsaEncoding: 'ieee-p1363' } as const;
  return verify('sha256', MESSAGE, publicKey, Buffer.from(only(result.signatures), 'base64url'));
};

test('a token of an older ceremony starts without a word in the configuration, and says what to do', async () => {
  expect(await weaknesses()).toEqual({
    succeeding: [],
    older: Object.keys(NEEDS_NEWER_KEK),
    objects: [
      ...['manager', 'officer-1', 'officer-2'].flatMap((id) => [`depositary:${id}`]),
      ...['kek:operate:v1', 'kek:release:v1'],
      ...['manager', 'officer-1', 'officer-2'].flatMap((id) => [`server-for:${id}`]),
    ],
  });
  expect(await ofNobody()).toEqual([]);
  await before.startDaemon();
  await before.stopDaemon();
});

test('a planted KEK is not taken into the record: the renewal is refused, and changes nothing', async () => {
  const raw = openRaw(before.hsm, 'user');
  raw.driver.C_GenerateKey(
    raw.session,
    { mechanism: pkcs11.CKM_AES_KEY_GEN },
    kekTemplate('release:private', 'kek:release:private:v9', 0x210a),
  );
  raw.close();
  const standing = labels();
  await expect(renewed()).rejects.toThrow('holds kek:release:private:v9, which the record does not have');
  expect(labels()).toEqual(standing);
  const again = openRaw(before.hsm, 'user');
  for (const planted of again.find([{ type: pkcs11.CKA_LABEL, value: 'kek:release:private:v9' }]))
    again.driver.C_DestroyObject(again.session, planted);
  again.close();
});

test('after the renewal every attack is refused, old keys only open, and each trusted key says what it takes', async () => {
  const old = labels();
  await renewed();
  const now = labels();
  expect(now).toEqual(expect.arrayContaining(old.filter((label) => /^(kek|grant|transport)/.test(label))));
  expect(now).toEqual(expect.arrayContaining(['kek-rotate:operate:sign:v2', 'kek:release:secret:v2']));
  for (const id of ['manager', 'officer-1', 'officer-2']) {
    expect(now.filter((label) => label === `server-for:${id}`)).toHaveLength(1);
    expect(now.filter((label) => label === `server-for:${id}:v1`)).toHaveLength(2);
    expect(now.filter((label) => label === `depositary:${id}`)).toHaveLength(1);
  }
  const raw = openRaw(before.hsm, 'user');
  const trusted = raw.find([{ type: pkcs11.CKA_TRUSTED, value: true }]);
  expect(trusted).toHaveLength(3 + 6);
  expect(raw.find([{ type: pkcs11.CKA_TOKEN, value: false }])).toEqual([]);
  raw.close();
  expect(await weaknesses()).toEqual({ succeeding: [], older: [], objects: [] });
  expect(await ofNobody()).toEqual([]);
});

test('what was deposited, approved and granted before goes on, and what is made now lies under the new keys', async () => {
  await before.startDaemon();
  const { letters } = before.facts.keys;
  const { publicKeyPem } = await before.client('owner').key(letters);
  expect(await signs(before.facts.grants.letters, publicKeyPem)).toBe(true);
  const recovery = await before.approve('officer-2', before.facts.requests.halfApproved);
  expect(await signs(grantOf(recovery), publicKeyPem)).toBe(true);

  const { result: key } = await before
    .client('owner')
    .generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign', label: 'after the renewal' });
  const entries = await before.client('auditor').entries(0, 1000);
  const made = entries
    .map(({ entry }) => decodeEntry(Buffer.from(entry)))
    .find(({ act, phase, subject }) => act === 'key.generate' && phase === 'done' && subject.key === key.key);
  expect(JSON.stringify(made?.detail)).toContain('"kek:operate:sign:v2"');
  const { result: asked } = await before.client('manager').requestRecovery({
    keys: [key.key],
    reason: 'the owner is away',
    validFor: 'PT2H',
    purpose: 'operate',
    scope: {
      app: 'mailer',
      operations: ['sign'],
      mechanisms: ['ES256'],
      input: 'message',
      maxUses: 2,
      duration: 'PT1H',
    },
  });
  await before.approve('manager', asked.recovery);
  const active = await before.approve('officer-1', asked.recovery);
  expect(await signs(grantOf(active), key.publicKeyPem)).toBe(true);

  const { approvedRelease } = before.facts.requests;
  const { result } = await before.client('officer-1').release(approvedRelease);
  const archive = await before.client('officer-1').key(before.facts.keys.archive);
  const recipientKey = await before.identity('officer-1').depositaryKey();
  openRelease(only(result.keys), recipientKey, { publicKeyPem: archive.publicKeyPem });

  const { origin, logKey } = before.identity('auditor').pins;
  const client = before.client('auditor');
  const path = join(before.directory, 'log.ndjson');
  await exportLog({ client, log: before.identity('auditor').logView(client), origin, logKey, path });
  expect((await verifyExport({ path, logKey })).verdict).toMatchObject({ ok: true, reported: { count: 0 } });
  await before.stopDaemon();
});

test('a renewal can be renewed; and a newest KEK that is destroyed is missing, not replaced by an older one', async () => {
  await renewed();
  expect(labels()).toEqual(expect.arrayContaining(['kek:operate:sign:v3', 'server-for:manager:v2']));
  const raw = openRaw(before.hsm, 'user');
  for (const handle of raw.find([{ type: pkcs11.CKA_LABEL, value: 'kek:operate:sign:v3' }]))
    raw.driver.C_DestroyObject(raw.session, handle);
  raw.close();
  await expect(weaknesses()).rejects.toMatchObject({
    reason: 'objects-missing',
    message: expect.stringContaining('kek:operate:sign:v3') as string,
  });
});
