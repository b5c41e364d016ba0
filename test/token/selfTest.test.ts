import { constants, publicEncrypt } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import type { AttackName } from '../../src/token/attackNames.js';
import { ATTACK_NAMES } from '../../src/token/attackNames.js';
import type { Target } from '../../src/token/attacks.js';
import { ATTACKS } from '../../src/token/attacks.js';
import type { Template } from '../../src/token/attributes.js';
import { ulongs } from '../../src/token/attributes.js';
import { Dialect } from '../../src/token/dialect.js';
import { Mechanisms } from '../../src/token/mechanisms.js';
import { readRsaSpki } from '../../src/token/objects.js';
import { tryAttacks } from '../../src/token/selfTest.js';
import { openSession } from '../../src/token/sessions.js';
import { CURVES } from '../../src/token/spki.js';
import { importSpki } from '../../src/token/startup.js';
import type { RawToken } from '../support/rawToken.js';
import { openRaw } from '../support/rawToken.js';
import type { SoftHsm } from '../support/softhsm.js';
import { makeSoftHsm } from '../support/softhsm.js';

let hsm: SoftHsm;

beforeAll(async () => {
  hsm = await makeSoftHsm();
});
afterAll(() => {
  hsm.remove();
});

const notRefused = async (): Promise<readonly AttackName[]> => {
  const token = await hsm.open();
  try {
    const results = await tryAttacks(token);
    expect(results.map(({ attack }) => attack)).toEqual(ATTACK_NAMES);
    const raw = openRaw(hsm, 'as is');
    expect(raw.find([{ type: pkcs11.CKA_TOKEN, value: false }])).toHaveLength(0);
    raw.close();
    await token.check();
    expect(await token.standing()).toEqual({ transports: [], grants: [] });
    return results.filter(({ refused }) => !refused).map(({ attack }) => attack);
  } finally {
    await token.close();
  }
};

test('SoftHSM refuses every attack, and nothing of the attacks stays', async () => {
  expect(await notRefused()).toEqual([]);
});

test('the attacks on a KEK succeed on one that enforces nothing', () => {
  const raw = openRaw(hsm, 'user');
  const { driver, session } = raw;
  const kek = driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    { type: pkcs11.CKA_EXTRACTABLE, value: false },
    { type: pkcs11.CKA_WRAP, value: true },
    { type: pkcs11.CKA_UNWRAP, value: true },
  ]);
  const { privateKey } = driver.C_GenerateKeyPair(
    session,
    { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
    [{ type: pkcs11.CKA_EC_PARAMS, value: CURVES.secp256r1.params }],
    [{ type: pkcs11.CKA_EXTRACTABLE, value: true }],
  );
  const kwp = new Mechanisms(hsm.place.profile).plain('keyWrapWithPadding');
  const blob = Buffer.from(driver.C_WrapKey(session, kwp, kek, privateKey, Buffer.alloc(1024)));
  const target = { operateKek: kek, operateBlob: blob, releaseKek: kek, releaseBlob: blob };
  for (const name of [
    'unwrap-operate-extractable',
    'unwrap-operate-readable',
    'unwrap-operate-defaults',
    'unwrap-release-readable',
    'kek-gains-decrypt',
    'release-kek-gains-decrypt',
    'copy-kek',
    'copy-release-kek',
  ] as const)
    succeeds(raw, name, target);
  raw.close();
});

test('each of the other attacks succeeds where its protection is missing', () => {
  const raw = openRaw(hsm, 'user');
  const { driver, session } = raw;
  const key = (...more: Template): Handle =>
    driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
      { type: pkcs11.CKA_VALUE_LEN, value: 32 },
      { type: pkcs11.CKA_EXTRACTABLE, value: true },
      ...more,
    ]);
  const loose = key();
  const transport = weakTransport(raw);
  succeeds(raw, 'wrap-share-untrusted', { transport, share: loose });
  succeeds(raw, 'wrap-transfer-untrusted', { transport, transfer: loose });
  succeeds(raw, 'unwrap-reply-extractable', { transport });
  succeeds(raw, 'unwrap-reply-readable', { transport });
  succeeds(raw, 'copy-grant', { grant: loose });
  succeeds(raw, 'wrap-grant', { grant: loose, operateKek: key({ type: pkcs11.CKA_WRAP, value: true }) });
  succeeds(raw, 'kek-decrypts', { operateKek: key({ type: pkcs11.CKA_DECRYPT, value: true }) });
  const ecdsa = new Mechanisms(hsm.place.profile).number('ecdsa');
  const pair = driver.C_GenerateKeyPair(
    session,
    { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
    [{ type: pkcs11.CKA_EC_PARAMS, value: CURVES.secp256r1.params }],
    [
      { type: pkcs11.CKA_SIGN, value: true },
      { type: pkcs11.CKA_ALLOWED_MECHANISMS, value: ulongs(ecdsa) },
    ],
  );
  succeeds(raw, 'grant-other-mechanism', { grant: pair.privateKey });
  raw.close();
});

test('the security officer, and nobody else, makes a key trusted', () => {
  const user = openRaw(hsm, 'user');
  const transport = weakTransport(user);
  expect(() => {
    attack(user, 'trust-as-user', { transport });
  }).toThrow(/READ_ONLY/);
  user.close();
  const officer = openRaw(hsm, 'security officer');
  succeeds(officer, 'trust-as-user', { transport: weakTransport(officer) });
  officer.close();
});

function attack({ driver, slot }: RawToken, name: AttackName, on: Partial<Target>): void {
  const session = openSession(driver, slot);
  try {
    const { profile } = hsm.place;
    const mechanisms = new Mechanisms(profile);
    const target: Partial<Target> = { driver, mechanisms, dialect: new Dialect(profile), ...on };
    Reflect.apply(ATTACKS[name], undefined, [target, session]);
  } finally {
    driver.C_CloseSession(session);
  }
}

function succeeds(raw: RawToken, name: AttackName, on: Partial<Target>): void {
  expect(() => {
    attack(raw, name, on);
  }).not.toThrow();
}

/** An RSA pair without a template for what it unwraps. */
function weakTransport({ driver, session }: RawToken): Target['transport'] {
  const pair = driver.C_GenerateKeyPair(
    session,
    { mechanism: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN },
    [
      { type: pkcs11.CKA_MODULUS_BITS, value: 2048 },
      { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
      { type: pkcs11.CKA_PRIVATE, value: false },
      { type: pkcs11.CKA_WRAP, value: true },
    ],
    [
      { type: pkcs11.CKA_UNWRAP, value: true },
      { type: pkcs11.CKA_PRIVATE, value: false },
    ],
  );
  const key = importSpki(readRsaSpki(driver, session, pair.publicKey));
  const padding = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };
  return { ...pair, reply: publicEncrypt({ key, ...padding }, Buffer.alloc(32, 1)) };
}
