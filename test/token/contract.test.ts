import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { GeneratedSpec } from '../../src/escrow/records/keySpecs.js';
import { GENERATED_SPECS, KEY_SPECS } from '../../src/escrow/records/keySpecs.js';
import type { Mechanism } from '../../src/escrow/records/mechanisms.js';
import { MECHANISM_NAMES, mechanismsFor, signs } from '../../src/escrow/records/mechanisms.js';
import type { AttackName } from '../../src/token/profile/attackNames.js';
import { ATTACK_NAMES } from '../../src/token/profile/attackNames.js';
import { NESTED } from '../../src/token/profile/dialect.js';
import { DISPENSABLE } from '../../src/token/profile/attributeNames.ts';
import { Mechanisms } from '../../src/token/profile/mechanisms.js';
import type { OpenToken } from '../../src/token/service/openToken.js';
import type { TokenProfile } from '../../src/token/profile/profile.js';
import { readProfile } from '../../src/token/profile/profile.js';
import type { AttackResult } from '../../src/token/selfTest/selfTest.js';
import { tryAttacks } from '../../src/token/selfTest/selfTest.js';
import { importSpki } from '../../src/token/service/findLongLived.js';
import { signable, verifies } from '../../src/token/selfTest/verifying.js';
import {
  deposit,
  depositFor,
  gatherReplies,
  keyOf,
  keyOfNobody,
  newGrant,
  nodeOaep,
  opened,
  OPENING,
  openQuorum,
  principal,
  raiseGrant,
  release,
} from '../support/escrowChain.js';
import { makeNss, NSS_PROFILE_FILE } from '../support/nss.js';
import { openRaw } from '../support/rawToken.js';
import { makeSoftHsm, SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';
import type { TestDepositary, TestToken } from '../support/testToken.js';
import { rsaPair } from '../support/rsaPairs.js';
import { LIMITS_MS } from '../support/limits.js';
import { freshBytes } from '../support/fresh.js';
import { signOne } from '../support/signOne.js';

jest.setTimeout(LIMITS_MS.token);

/*
 * What escrowd relies on, on every kind of token at hand. Where a profile says that its token lacks something, the test
 * shows that it does: nothing is skipped. The names of the tests are the table of what each token supports.
 *
 * There is no in-memory token: the suites of the core that need no token stub the verbs that they name (test/escrow, test/http),
 * and everything that is said about keys is tested on these.
 */
const MESSAGE = Buffer.from('the message');
const REFUSED = { refused: true };

describe.each([
  { name: 'SoftHSM 2.6', file: SOFTHSM_PROFILE_FILE, make: () => makeSoftHsm('contract') },
  { name: 'NSS softokn 3', file: NSS_PROFILE_FILE, make: () => makeNss('contract') },
])('$name', ({ file, make }) => {
  const profile = readProfile(file);
  let made: TestToken;
  let token: OpenToken;
  let people: [TestDepositary, TestDepositary];
  let results: readonly AttackResult[];

  beforeAll(async () => {
    made = await make();
    people = [await made.enrolDepositary('alice'), await made.enrolDepositary('bob')];
    token = await made.open();
    results = await tryAttacks(token);
  });
  afterAll(async () => {
    await token.close();
    made.remove();
  });

  const claimed = GENERATED_SPECS.filter((spec) => profile.keySpecs.includes(spec));
  const notClaimed = GENERATED_SPECS.filter((spec) => !profile.keySpecs.includes(spec));
  const byUse = (use: 'sign' | 'decrypt'): [GeneratedSpec, Mechanism][] =>
    claimed.flatMap((spec) =>
      mechanismsFor(spec, use)
        .filter((mechanism) => profile.grantMechanisms.includes(mechanism))
        .map((mechanism): [GeneratedSpec, Mechanism] => [spec, mechanism]),
    );

  test.each(claimed.filter((spec) => KEY_SPECS[spec].uses.some((use) => use === 'sign')))(
    '%s: a quorum of two brings it back as a grant that signs by every mechanism, until it is destroyed',
    async (spec) => {
      const kept = await deposit(token, spec, 'operate', people);
      const grant = await raiseGrant(token, kept, 'sign', people);
      const key = importSpki(Buffer.from(kept.publicKey ?? []));
      const mechanisms = byUse('sign').flatMap(([of, mechanism]) => (of === spec ? [mechanism] : []));
      for (const mechanism of mechanisms.filter(signs)) {
        const data = signable(mechanism, MESSAGE);
        const signature = await token.lend(['sign'], (lent) => signOne(lent, grant, spec, mechanism, data));
        expect(verifies(key, mechanism, MESSAGE, signature)).toBe(true);
        expect(verifies(key, mechanism, Buffer.from('another'), signature)).toBe(false);
      }
      expect(mechanisms.length).toBeGreaterThan(0);
      expect((await token.standing()).grants).toEqual([grant]);
      await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(grant));
      expect(await token.standing()).toEqual({ transports: [], grants: [], imports: [] });
    },
  );

  test.each(byUse('decrypt'))('%s: comes back as a grant that decrypts by %s', async (spec, mechanism) => {
    if (signs(mechanism)) throw new Error('not for decryption');
    const purposes = ['operate', 'release'] as const;
    const [forGrant, forRelease] = await depositFor(token, spec, purposes, people, 'decrypt');
    if (forGrant === undefined || forRelease === undefined) throw new Error('not deposited');
    const grant = await raiseGrant(token, forGrant, 'decrypt', people);
    const input =
      forGrant.publicKey === undefined
        ? encryptGcm(await releasedBytes(forRelease))
        : { ciphertext: encryptRsa(forGrant.publicKey, mechanism) };
    const decrypt = (given: typeof input) =>
      token.lend(['decrypt'], (lent) => lent.decrypt(grant, spec, mechanism, given));
    expect(Buffer.from(opened(await decrypt(input)))).toEqual(MESSAGE);
    expect(await decrypt({ ...input, ciphertext: flipped(input.ciphertext) })).toEqual(REFUSED);
    expect(Buffer.from(opened(await decrypt(input)))).toEqual(MESSAGE);
    await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(grant));
  });

  test.each(claimed.filter((spec) => spec !== 'rsa-3072' && spec !== 'rsa-4096'))(
    '%s: what is released opens with node:crypto alone, and is what was deposited',
    async (spec) => {
      const kept = await deposit(token, spec, 'release', people);
      const bytes = await releasedBytes(kept);
      if (kept.publicKey === undefined) {
        expect(bytes).toHaveLength(32);
        return;
      }
      const key = createPublicKey(createPrivateKey({ key: bytes, format: 'der', type: 'pkcs8' }));
      expect(key.export({ type: 'spki', format: 'der' })).toEqual(Buffer.from(kept.publicKey));
    },
  );

  test.each(notClaimed)(
    'not supported by this token: %s, which is refused before a key is made',
    async (spec) => {
      const making = token.lend(['generateUserKey'], (lent) => lent.generateUserKey(spec));
      await expect(making).rejects.toMatchObject({ code: 'key-spec-unsupported' });
    },
  );

  test.each(MECHANISM_NAMES.filter((mechanism) => !profile.grantMechanisms.includes(mechanism)))(
    'not supported by this token: %s, which is refused',
    async (mechanism) => {
      const { kind } = mechanismKind(mechanism);
      const spec = GENERATED_SPECS.find((name) => KEY_SPECS[name].kind === kind) ?? 'rsa-2048';
      const using = token.lend<'sign' | 'decrypt', unknown>(['sign', 'decrypt'], (lent) =>
        signs(mechanism)
          ? signOne(lent, newGrant(), spec, mechanism, Buffer.alloc(32))
          : lent.decrypt(newGrant(), spec, mechanism, { ciphertext: Buffer.alloc(256) }),
      );
      await expect(using).rejects.toMatchObject({ code: 'mechanism-unsupported' });
    },
  );

  test('the log key signs checkpoints by the algorithm of the profile, and the identity key attests', async () => {
    const { algorithm, publicKey } = token.logKey;
    expect(algorithm).toBe(profile.logKey);
    const signature = await token.signCheckpoint(MESSAGE);
    const { verify } = await import('node:crypto');
    const key = importSpki(Buffer.from(publicKey));
    expect(verify(algorithm === 'Ed25519' ? null : 'sha256', MESSAGE, key, signature)).toBe(true);
    const attested = await token.lend(['attest'], (lent) => lent.attest(MESSAGE));
    expect(verifies(importSpki(Buffer.from(token.identityKey)), 'ES256', MESSAGE, attested)).toBe(true);
  });

  test("one depositary's reply is not the quorum, and another's is refused", async () => {
    const kept = await deposit(token, 'rsa-2048', 'operate', people);
    const { recovery, replies } = await gatherReplies(token, kept, people);
    const [first, second] = replies;
    if (first === undefined || second === undefined) throw new Error('no replies');
    await token.lend([...OPENING, 'destroyTransport'], async (lent) => {
      await expect(openQuorum(lent, recovery, kept, [first])).rejects.toThrow();
      await expect(openQuorum(lent, recovery, kept, [second, first])).rejects.toThrow('refused');
      await expect(openQuorum(lent, recovery, kept, [first, second])).resolves.toBeDefined();
      await lent.destroyTransport(recovery);
    });
  });

  test('a key deposited to be released does not open under the other key-encryption key, nor the reverse', async () => {
    await token.lend(
      ['generateUserKey', 'wrapUnderKek', 'raiseGrant', 'unwrapForRelease'] as const,
      async (lent) => {
        const { key } = await lent.generateUserKey('aes-256');
        const of = { spec: 'aes-256', use: 'decrypt' } as const;
        const forRelease = await lent.wrapUnderKek(key, 'release', of);
        const forGrant = await lent.wrapUnderKek(key, 'operate', of);
        const grant = newGrant();
        const order = { grant, spec: 'aes-256', use: 'decrypt', mechanisms: ['A256GCM'] } as const;
        const asGrant = { ...forRelease, kek: forGrant.kek };
        expect(await lent.raiseGrant({ ...order, wrapped: asGrant })).toEqual(REFUSED);
        const asRelease = { ...forGrant, kek: forRelease.kek };
        expect(await lent.unwrapForRelease({ wrapped: asRelease, spec: 'aes-256' })).toEqual(REFUSED);
      },
    );
  });

  test('shares go to the enrolled and to nobody else', async () => {
    expect((await token.enrolled()).map(({ id }) => id)).toEqual(['alice', 'bob']);
    await token.lend(['generateShareKey', 'wrapToDepositary'], async (lent) => {
      const share = await lent.wrapToDepositary(await lent.generateShareKey(), keyOf(people[0]));
      const how = nodeOaep(token.abilities.oaep);
      expect(privateDecrypt({ key: people[0].privateKey, ...how }, share)).toHaveLength(32);
      expect(() => privateDecrypt({ key: people[1].privateKey, ...how }, share)).toThrow();
      const toCarol = lent.wrapToDepositary(await lent.generateShareKey(), keyOfNobody('carol'));
      await expect(toCarol).rejects.toMatchObject({ code: 'depositary-not-enrolled' });
    });
  });

  test('what is wrapped to the server regarding a depositary comes back, and a pair that is not there is missed', async () => {
    await token.lend(['generateLayerKey', 'wrapToServerFor', 'proveServerFor'], async (lent) => {
      for (const { id } of people) {
        const depositary = principal(id);
        const { version } = await lent.wrapToServerFor(await lent.generateLayerKey(), depositary);
        expect(await lent.proveServerFor({ depositary, version })).toEqual({ opened: undefined });
      }
      for (const depositary of [principal('alice'), principal('carol')]) {
        const missing = lent.proveServerFor({ depositary, version: 99 });
        await expect(missing).rejects.toMatchObject({ code: 'token-object-missing' });
      }
    });
  });

  test('a second key under the name of a depositary is never wrapped to', async () => {
    const rogue = rsaPair(2048);
    const { n = '', e = '' } = rogue.publicKey.export({ format: 'jwk' });
    const raw = openRaw(made, 'as is');
    const handle = raw.driver.C_CreateObject(raw.session, [
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
      { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_RSA },
      { type: pkcs11.CKA_TOKEN, value: true },
      { type: pkcs11.CKA_PRIVATE, value: false },
      { type: pkcs11.CKA_LABEL, value: 'depositary:bob' },
      { type: pkcs11.CKA_WRAP, value: true },
      { type: pkcs11.CKA_MODULUS, value: Buffer.from(n, 'base64url') },
      { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from(e, 'base64url') },
    ]);
    const other = await made.open();
    try {
      const wrapping = other.lend(['generateShareKey', 'wrapToDepositary'], async (lent) =>
        lent.wrapToDepositary(await lent.generateShareKey(), keyOf(people[1])),
      );
      if (profile.depositaryKeys === 'trusted') {
        const how = nodeOaep(other.abilities.oaep);
        expect(privateDecrypt({ key: people[1].privateKey, ...how }, await wrapping)).toHaveLength(32);
      } else {
        await expect(wrapping).rejects.toMatchObject({ code: 'token-unavailable' });
      }
    } finally {
      raw.driver.C_DestroyObject(raw.session, handle);
      raw.close();
      await other.close();
    }
  });

  const isUnenforced = (attack: AttackName): boolean => profile.unenforced.includes(attack);
  test.each(
    ATTACK_NAMES.map((attack) => ({
      attack,
      claim: isUnenforced(attack)
        ? `not supported by this token: refusing ${attack}, which succeeds`
        : `refuses: ${attack}`,
    })),
  )('$claim', ({ attack }) => {
    expect(results.find((result) => result.attack === attack)?.refused).toBe(!isUnenforced(attack));
  });

  test.each(Object.keys(DISPENSABLE) as (keyof typeof DISPENSABLE)[])(
    '%s of a key is kept, unless the profile says that the token does not have it',
    (name) => {
      const raw = openRaw(made, 'as is');
      try {
        const [objectClass, label] = BEARERS[name] ?? [pkcs11.CKO_SECRET_KEY, 'kek:operate:sign:v1'];
        const [object] = raw.find([
          { type: pkcs11.CKA_CLASS, value: objectClass },
          { type: pkcs11.CKA_LABEL, value: label },
        ]);
        if (object === undefined) throw new Error(`no ${label}`);
        const has = attribute(raw, object, DISPENSABLE[name]);
        expect(profile.absentAttributes.includes(name)).toBe(!has);
      } finally {
        raw.close();
      }
    },
  );

  test('GCM takes the layout of parameters that the profile names, and seals as node:crypto does', () => {
    expect(sealGcm(made, profile.gcmParameters, 'as is')).toEqual(GCM_EXPECTED);
  });

  async function releasedBytes(kept: Awaited<ReturnType<typeof deposit>>): Promise<Buffer> {
    const answer = await release(token, kept, people);
    const how = nodeOaep(token.abilities.oaep);
    const transfer = privateDecrypt({ key: people[0].privateKey, ...how }, answer.transferKey);
    const decipher = createDecipheriv('id-aes256-wrap-pad', transfer, Buffer.from('a65959a6', 'hex'));
    return Buffer.concat([decipher.update(answer.key), decipher.final()]);
  }
});

test('SoftHSM takes GCM parameters with ulIvBits only, NSS takes both layouts', async () => {
  const softhsm = await makeSoftHsm('gcm');
  expect(() => sealGcm(softhsm, 'without-iv-bits')).toThrow(/CKR_ARGUMENTS_BAD/);
  softhsm.remove();
  const nss = await makeNss('gcm');
  expect(sealGcm(nss, 'without-iv-bits')).toEqual(GCM_EXPECTED);
  nss.remove();
});

test('NSS puts whatever CKA_NSS_DB says for the public half into an EC key that is wrapped again', async () => {
  const nss = await makeNss('nss-ec');
  const token = await nss.open();
  try {
    const profile = { ...nss.place.profile, keySpecs: ['ec-p256' as const] };
    const wide = await nss.open({ profile });
    const person = rsaPair(2048);
    const verbs = [
      'generateUserKey',
      'wrapUnderKek',
      'unwrapForRelease',
      'generateTransferKey',
      'wrapToOwner',
      'wrapUnderTransfer',
    ] as const;
    const answer = await wide.lend(verbs, async (lent) => {
      const { key } = await lent.generateUserKey('ec-p256');
      const wrapped = await lent.wrapUnderKek(key, 'release', { spec: 'ec-p256', use: 'sign' });
      const back = opened(await lent.unwrapForRelease({ wrapped, spec: 'ec-p256' }));
      const transfer = await lent.generateTransferKey('owner');
      const spki = person.publicKey.export({ type: 'spki', format: 'der' });
      const transferKey = await lent.wrapToOwner(transfer, spki);
      return { transferKey, key: await lent.wrapUnderTransfer(transfer, back) };
    });
    await wide.close();
    const how = nodeOaep(profile.oaep);
    const transfer = privateDecrypt({ key: person.privateKey, ...how }, answer.transferKey);
    const decipher = createDecipheriv('id-aes256-wrap-pad', transfer, Buffer.from('a65959a6', 'hex'));
    const der = Buffer.concat([decipher.update(answer.key), decipher.final()]);
    // [1] BIT STRING of one byte: the point at infinity, instead of the 65 bytes of the point.
    expect(der.subarray(-6).toString('hex')).toBe('a10403020000');
  } finally {
    await token.close();
    nss.remove();
  }
});

const GCM_AAD = Buffer.from('about the message');

const GCM_EXPECTED = ((): Buffer => {
  const cipher = createCipheriv('aes-256-gcm', Buffer.alloc(32, 3), Buffer.alloc(12, 5)).setAAD(GCM_AAD);
  return Buffer.concat([cipher.update(MESSAGE), cipher.final(), cipher.getAuthTag()]);
})();

/** Seals a message under a known key, in the token. */
function sealGcm(
  made: TestToken,
  gcmParameters: TokenProfile['gcmParameters'],
  who: 'user' | 'as is' = 'user',
): Buffer {
  const raw = openRaw(made, who);
  const { driver, session } = raw;
  try {
    const key = driver.C_CreateObject(session, [
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
      { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
      { type: pkcs11.CKA_VALUE, value: Buffer.alloc(32, 3) },
      { type: pkcs11.CKA_ENCRYPT, value: true },
    ]);
    const mechanisms = new Mechanisms({ ...made.place.profile, gcmParameters });
    driver.C_EncryptInit(session, mechanisms.gcm(Buffer.alloc(12, 5), GCM_AAD), key);
    return Buffer.from(driver.C_Encrypt(session, MESSAGE, Buffer.alloc(MESSAGE.length + 16)));
  } finally {
    raw.close();
  }
}

function mechanismKind(mechanism: Mechanism): { readonly kind: string } {
  if (mechanism === 'EdDSA') return { kind: 'OKP' };
  if (mechanism === 'A256GCM') return { kind: 'AES' };
  return { kind: mechanism.startsWith('ES') ? 'EC' : 'RSA' };
}

/** What shows an attribute that a KEK does not: it is agreed on, not generated, and limits nothing that it wraps. */
const BEARERS: Partial<Record<keyof typeof DISPENSABLE, readonly [objectClass: number, label: string]>> = {
  CKA_LOCAL: [pkcs11.CKO_PRIVATE_KEY, 'identity'],
  CKA_WRAP_TEMPLATE: [pkcs11.CKO_PUBLIC_KEY, 'depositary:alice'],
};

function attribute(raw: ReturnType<typeof openRaw>, object: Buffer, type: number): boolean {
  try {
    const value = raw.driver.C_GetAttributeValue(raw.session, object, [{ type }])[0]?.value;
    return Buffer.isBuffer(value) && (type !== pkcs11.CKA_LOCAL || value[0] === 1);
  } catch (error) {
    // An unwrap template that is there cannot be read by this driver; see src/token/ceremony/describe.ts.
    return NESTED.has(type) && String(error).includes('CKR_GENERAL_ERROR');
  }
}

function encryptGcm(key: Buffer): { ciphertext: Buffer; iv: Buffer; aad: Buffer } {
  const iv = freshBytes(12);
  const aad = Buffer.from('context');
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(aad);
  return {
    ciphertext: Buffer.concat([cipher.update(MESSAGE), cipher.final(), cipher.getAuthTag()]),
    iv,
    aad,
  };
}

function encryptRsa(publicKey: Uint8Array, mechanism: Mechanism): Buffer {
  return publicEncrypt({ key: importSpki(Buffer.from(publicKey)), ...nodeOaep(mechanism) }, MESSAGE);
}

function flipped(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  const at = Math.floor(copy.length / 2);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}
