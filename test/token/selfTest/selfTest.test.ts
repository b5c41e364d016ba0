import { constants, createPublicKey, publicEncrypt } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import type { AttackName } from '../../../src/token/profile/attackNames.js';
import { ATTACK_NAMES } from '../../../src/token/profile/attackNames.js';
import type { Target } from '../../../src/token/selfTest/attacks.js';
import { ATTACKS } from '../../../src/token/selfTest/attacks.js';
import type { Template } from '../../../src/token/cryptoki/attributes.js';
import { nested, ulongs } from '../../../src/token/cryptoki/attributes.js';
import { trustedTemplate } from '../../../src/token/profile/ceremonyTemplates.js';
import { Dialect } from '../../../src/token/profile/dialect.js';
import type { KekKind } from '../../../src/escrow/records/sealing/keks.js';
import { KEK_KINDS } from '../../../src/escrow/records/sealing/keks.js';
import { KEK_UNWRAPS, rotatingInsists } from '../../../src/token/profile/keks.js';
import { Mechanisms } from '../../../src/token/profile/mechanisms.js';
import { readRsaSpki } from '../../../src/token/objects/objects.js';
import { tryAttacks } from '../../../src/token/selfTest/selfTest.js';
import { openSession } from '../../../src/token/cryptoki/sessions.js';
import { CURVES, rsaNumbers } from '../../../src/token/cryptoki/spki.js';
import { importSpki } from '../../../src/token/service/findLongLived.js';
import { opening, sealingKey, userPair, userSecret } from '../../../src/token/profile/templates.js';
import type { RawToken } from '../../support/rawToken.js';
import { openRaw } from '../../support/rawToken.js';
import type { SoftHsm } from '../../support/softhsm.js';
import { makeDepositary, makeSoftHsm } from '../../support/softhsm.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

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
    expect(await token.standing()).toEqual({ transports: [], grants: [], imports: [] });
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
  const target = { keks: keksOf({ kek, blob }) };
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
  succeeds(raw, 'wrap-grant', {
    grant: loose,
    keks: keksOf({ kek: key({ type: pkcs11.CKA_WRAP, value: true }), blob: Buffer.alloc(0) }),
  });
  succeeds(raw, 'kek-decrypts', {
    keks: keksOf({ kek: key({ type: pkcs11.CKA_DECRYPT, value: true }), blob: Buffer.alloc(0) }),
  });
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

/** A guard of a KEK's template, and the attack that it is there for. */
const KEK_GUARDS: readonly (readonly [AttackName, KekKind, `CKA_${string}`])[] = [
  ['unwrap-operate-public', 'operate:sign', 'CKA_PRIVATE'],
  ['unwrap-operate-derive', 'operate:sign', 'CKA_DERIVE'],
  ['unwrap-operate-signs', 'operate:decrypt', 'CKA_SIGN'],
  ['unwrap-operate-other-type', 'operate:sign', 'CKA_CLASS'],
  ['unwrap-operate-copyable', 'operate:sign', 'CKA_COPYABLE'],
  ['unwrap-operate-modifiable', 'operate:sign', 'CKA_MODIFIABLE'],
  ['unwrap-secret-wraps', 'operate:secret', 'CKA_WRAP'],
  ['unwrap-release-public', 'release:private', 'CKA_PRIVATE'],
  ['unwrap-release-token', 'release:private', 'CKA_TOKEN'],
  ['unwrap-release-used', 'release:private', 'CKA_SIGN'],
];

test.each(KEK_GUARDS)(
  '%s is refused by a %s as it is made, and succeeds without its %s',
  (name, kind, guard) => {
    const raw = openRaw(hsm, 'user');
    const insists = KEK_UNWRAPS[kind];
    refuses(raw, name, { keks: keksOf(madeKek(raw, kind, insists)) });
    succeeds(raw, name, { keks: keksOf(madeKek(raw, kind, without(insists, guard))) });
    raw.close();
  },
);

test.each([
  ['unwrap-reply-public', 'CKA_PRIVATE'],
  ['unwrap-reply-token', 'CKA_TOKEN'],
  ['unwrap-reply-unwraps', 'CKA_UNWRAP'],
  ['unwrap-reply-other-mechanism', 'CKA_ALLOWED_MECHANISMS'],
  ['unwrap-reply-copyable', 'CKA_COPYABLE'],
  ['unwrap-reply-modifiable', 'CKA_MODIFIABLE'],
] as const)('%s is refused by a transport key as it is made, and succeeds without its %s', (name, guard) => {
  const raw = openRaw(hsm, 'user');
  const insists = opening(pkcs11.CKM_AES_GCM);
  refuses(raw, name, { transport: weakTransport(raw, insists) });
  succeeds(raw, name, { transport: weakTransport(raw, without(insists, guard)) });
  raw.close();
});

describe('what a rotating handle brings out', () => {
  const KIND = 'operate:secret';

  /** A value that wraps and a handle that insists on this; the same object, since nobody but the ceremony makes two. */
  function rotating(raw: RawToken, insists: Template): Pick<Target, 'keks' | 'rotating'> {
    const made = madeKek(raw, KIND, insists);
    return { keks: keksOf(made), rotating: { [KIND]: made.kek } };
  }

  test.each([
    ['rotate-used', 'CKA_SIGN'],
    ['rotate-to-own', 'CKA_WRAP_WITH_TRUSTED'],
  ] as const)('%s: refused, and not so without %s', (name, guard) => {
    const raw = openRaw(hsm, 'user');
    const insists = rotatingInsists(KIND);
    refuses(raw, name, rotating(raw, insists));
    succeeds(raw, name, rotating(raw, without(insists, guard)));
    raw.close();
  });

  test('does not go out under a KEK of release, and does so under one that is trusted', () => {
    const raw = openRaw(hsm, 'security officer');
    const { driver, session } = raw;
    const release = (trusted: boolean): Handle =>
      driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
        { type: pkcs11.CKA_VALUE_LEN, value: 32 },
        { type: pkcs11.CKA_PRIVATE, value: false },
        { type: pkcs11.CKA_WRAP, value: true },
        ...(trusted ? [{ type: pkcs11.CKA_TRUSTED, value: true }] : []),
      ]);
    const [untrusted, trusted] = [release(false), release(true)];
    driver.C_Logout(session);
    driver.C_Login(session, 1, hsm.userPin);
    const target = rotating(raw, rotatingInsists(KIND));
    const under = (kek: Handle): Partial<Target> => ({
      ...target,
      keks: {
        ...target.keks,
        'release:private': { kek, blob: Buffer.alloc(0) },
        'release:secret': { kek, blob: Buffer.alloc(0) },
      },
    });
    refuses(raw, 'rotate-to-release', under(untrusted));
    succeeds(raw, 'rotate-to-release', under(trusted));
    raw.close();
  });

  test('does not go out under the key of a depositary, and does so where that says nothing of what it takes', () => {
    const raw = openRaw(hsm, 'security officer');
    const { driver, session } = raw;
    const numbers = rsaNumbers(createPublicKey(makeDepositary('alice').publicKeyPem));
    if (numbers === undefined) throw new Error('no RSA key');
    const { modulus, exponent } = numbers;
    const template = trustedTemplate('depositary:alice', { modulus, exponent, id: Buffer.alloc(32) }, 9).map(
      (row) => (row.type === pkcs11.CKA_TOKEN ? { ...row, value: false } : row),
    );
    const bounded = driver.C_CreateObject(session, template);
    const unbounded = driver.C_CreateObject(session, without(template, 'CKA_WRAP_TEMPLATE'));
    driver.C_Logout(session);
    driver.C_Login(session, 1, hsm.userPin);
    const target = rotating(raw, rotatingInsists(KIND));
    refuses(raw, 'rotate-to-depositary', { ...target, recipients: [bounded] });
    succeeds(raw, 'rotate-to-depositary', { ...target, recipients: [unbounded] });
    // what is made here goes out under it as ever
    const made = driver.C_GenerateKey(
      session,
      { mechanism: pkcs11.CKM_AES_KEY_GEN },
      sealingKey(pkcs11.CKM_AES_GCM),
    );
    expect(() =>
      driver.C_WrapKey(session, new Mechanisms(hsm.place.profile).oaep(), bounded, made, Buffer.alloc(512)),
    ).not.toThrow();
    raw.close();
  });
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

function refuses(raw: RawToken, name: AttackName, on: Partial<Target>): void {
  expect(() => {
    attack(raw, name, on);
  }).toThrow(/CKR_/);
}

const ATTRIBUTES = pkcs11 as unknown as Readonly<Record<`CKA_${string}`, number>>;

function without(template: Template, ...names: readonly `CKA_${string}`[]): Template {
  const types = names.map((name) => ATTRIBUTES[name]);
  return template.filter(({ type }) => !types.includes(type));
}

/** The same for every kind. */
function keksOf(one: { readonly kek: Handle; readonly blob: Buffer }): Target['keks'] {
  return Object.fromEntries(KEK_KINDS.map((kind) => [kind, one])) as Target['keks'];
}

/** A KEK of the user's own that insists on this when it unwraps, and a key under it. */
function madeKek(
  { driver, session }: RawToken,
  kind: KekKind,
  insists: Template,
): { readonly kek: Handle; readonly blob: Buffer } {
  const kwp = new Mechanisms(hsm.place.profile).plain('keyWrapWithPadding');
  const kek = driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    { type: pkcs11.CKA_WRAP, value: true },
    { type: pkcs11.CKA_UNWRAP, value: true },
    ...nested(pkcs11.CKA_UNWRAP_TEMPLATE, insists),
  ]);
  const user = userPair('ec-p256', kwp.mechanism);
  const key = kind.endsWith('secret')
    ? driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, userSecret(kwp.mechanism))
    : driver.C_GenerateKeyPair(
        session,
        { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
        user.publicKey,
        user.privateKey,
      ).privateKey;
  return { kek, blob: Buffer.from(driver.C_WrapKey(session, kwp, kek, key, Buffer.alloc(1024))) };
}

/** An RSA pair; with a template for what it unwraps, when one is given. */
function weakTransport({ driver, session }: RawToken, insists?: Template): Target['transport'] {
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
      ...(insists === undefined ? [] : nested(pkcs11.CKA_UNWRAP_TEMPLATE, insists)),
    ],
  );
  const key = importSpki(readRsaSpki(driver, session, pair.publicKey));
  const padding = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };
  return { ...pair, reply: publicEncrypt({ key, ...padding }, Buffer.alloc(32, 1)) };
}
