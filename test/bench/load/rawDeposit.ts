import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createHistogram } from 'node:perf_hooks';
import pkcs11, { type Handle } from 'pkcs11js';
import { Dialect } from '../../../src/token/profile/dialect.js';
import { readProfile } from '../../../src/token/profile/profile.js';
import { grantKey, openingKey, sealingKey, userPair } from '../../../src/token/profile/templates.js';
import { findAll } from '../../../src/token/objects/objects.js';
import { SOFTHSM_PROFILE_FILE } from '../../support/softhsm.js';
import { DEPOSITARIES } from '../../support/system.js';
import type { CommitTimes } from './commits.js';
import { openBareToken, type TokenPlace } from './token.js';

/*
 * What a deposit of an EC key asks of the token, by plain pkcs11js and nothing else: a pair, its wrapped form, and for each of
 * three depositaries two keys, two wraps and a sealed link; for each two of them two layers. And each once more to see that it
 * opens: the wrapped form, which signs, each link, each layer key by the server's private key, and each layer by that. Each line that comes is for how
 * many seconds that is measured.
 */
const {
  driver,
  mechanisms,
  session: openSession,
} = openBareToken(JSON.parse(process.argv[2] ?? '') as TokenPlace);
const session = openSession();
const dialect = new Dialect(readProfile(SOFTHSM_PROFILE_FILE));
const kwp = mechanisms.plain('keyWrapWithPadding');
const kek = found(pkcs11.CKO_SECRET_KEY, 'kek:operate:sign:v1');
const recipients = DEPOSITARIES.map((id) => ({
  depositary: found(pkcs11.CKO_PUBLIC_KEY, `depositary:${id}`),
  serverFor: found(pkcs11.CKO_PUBLIC_KEY, `server-for:${id}`, `server-for:${id}:v1`),
  server: found(pkcs11.CKO_PRIVATE_KEY, `server-for:${id}`, `server-for:${id}:v1`),
}));
const pair = dialect.pair(userPair('ec-p256', mechanisms.number('keyWrapWithPadding')));
const layer = dialect.template(sealingKey(mechanisms.number('aesGcm')));
const opener = dialect.unwrapping(openingKey(mechanisms.number('aesGcm')));
const signer = dialect.unwrapping(grantKey(undefined, 'ec-p256', 'sign', [mechanisms.number('ecdsa')]));
const aad = randomBytes(32);
const digest = randomBytes(32);

say('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const seconds = Number(JSON.parse(line));
  measure(seconds / 4);
  say(measure(seconds));
}

function measure(seconds: number): CommitTimes {
  const histogram = createHistogram();
  const over = performance.now() + seconds * 1000;
  while (performance.now() < over) {
    const begunAt = performance.now();
    deposit();
    histogram.record(Math.round((performance.now() - begunAt) * 1e6));
  }
  return { p50Ms: histogram.percentile(50) / 1e6, p99Ms: histogram.percentile(99) / 1e6 };
}

function deposit(): void {
  const user = driver.C_GenerateKeyPair(
    session,
    mechanisms.generation('ec-p256'),
    pair.publicKey,
    pair.privateKey,
  );
  driver.C_GetAttributeValue(session, user.publicKey, [{ type: pkcs11.CKA_EC_POINT }]);
  const wrapped = wrap(kwp, kek, user.privateKey);
  wrap(kwp, kek, user.privateKey);
  const proving = driver.C_UnwrapKey(session, kwp, kek, wrapped, signer);
  driver.C_SignInit(session, mechanisms.plain('ecdsa'), proving);
  driver.C_Sign(session, digest, Buffer.alloc(64));
  const layers = recipients.map(({ depositary, serverFor, server }) => {
    const share = driver.C_GenerateKey(session, mechanisms.plain('aesKeyGen'), layer);
    const own = driver.C_GenerateKey(session, mechanisms.plain('aesKeyGen'), layer);
    wrap(mechanisms.oaep(), depositary, share);
    const linked = wrap(mechanisms.oaep(), serverFor, own);
    for (let times = 0; times < 2; times += 1) seal(share, linked);
    const back = driver.C_UnwrapKey(session, mechanisms.oaep(), server, linked, opener);
    return { share, own, back };
  });
  layers.forEach((outer, at) => {
    for (const inner of layers.slice(at + 1)) {
      const within = open(outer.back, seal(outer.own, seal(inner.own, wrapped)));
      open(inner.back, within);
    }
  });
  const made = [user.publicKey, user.privateKey, proving];
  for (const { share, own, back } of layers) made.push(share, own, back);
  for (const object of made) driver.C_DestroyObject(session, object);
}

function wrap(mechanism: Parameters<typeof driver.C_WrapKey>[1], under: Handle, key: Handle): Buffer {
  return Buffer.from(driver.C_WrapKey(session, mechanism, under, key, Buffer.alloc(1024)));
}

function seal(key: Handle, inner: Buffer): Buffer {
  const iv = randomBytes(12);
  driver.C_EncryptInit(session, mechanisms.gcm(iv, aad), key);
  return Buffer.concat([iv, driver.C_Encrypt(session, inner, Buffer.alloc(inner.length + 16))]);
}

function open(key: Handle, outer: Buffer): Buffer {
  driver.C_DecryptInit(session, mechanisms.gcm(outer.subarray(0, 12), aad), key);
  return Buffer.from(driver.C_Decrypt(session, outer.subarray(12), Buffer.alloc(outer.length)));
}

/** The object under one of these labels. */
function found(objectClass: number, ...labels: readonly string[]): Handle {
  const handles = labels.flatMap((value) =>
    findAll(driver, session, [
      { type: pkcs11.CKA_CLASS, value: objectClass },
      { type: pkcs11.CKA_LABEL, value },
    ]),
  );
  const [handle] = handles;
  if (handle === undefined) throw new Error(`the token has no ${labels.join(' or ')}`);
  return handle;
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
