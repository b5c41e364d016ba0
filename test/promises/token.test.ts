import { createHash, createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import type { Template } from '../../src/token/cryptoki/attributes.js';
import { KEK_UNWRAPS, rotatingUser } from '../../src/token/profile/keks.js';
import { fingerprint, rsaNumbers } from '../../src/token/cryptoki/spki.js';
import { grantKey, sealingKey, transferKey } from '../../src/token/profile/templates.js';
import type { DatabaseDump } from '../support/databaseDump.js';
import { dumpDatabase } from '../support/databaseDump.js';
import type { Life } from '../support/life.js';
import { liveThrough, makeKey } from '../support/life.js';
import type { OpenedDeposit } from '../support/openedDeposit.js';
import { openDeposit, openOaep, partsOfUser, tokenKeys } from '../support/openedDeposit.js';
import type { RawToken } from '../support/rawToken.js';
import { openRaw } from '../support/rawToken.js';
import { makeDepositary } from '../support/softhsm.js';
import type { System } from '../support/system.js';
import { DEPOSITARIES, makeSystem } from '../support/system.js';
import type { TokenLoot } from '../support/tokenClosure.js';
import { answerOf, attackToken, coveted, PROTECTIONS, VALUES } from '../support/tokenClosure.js';
import { WindowSearch } from '../support/windows.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Somebody has the host, the token, its user PIN and the database, talks PKCS#11 without this program, and says in
 * templates what they like.
 */
let system: System;
let life: Life;
let dump: DatabaseDump;
let opened: readonly OpenedDeposit[];

beforeAll(async () => {
  system = await makeSystem();
  life = await liveThrough(system);
  dump = await dumpDatabase(system);
  const people = new Map<string, KeyObject>();
  for (const id of DEPOSITARIES) people.set(id, await system.identity(id).depositaryKey());
  const token = tokenKeys(system.hsm);
  opened = dump.deposits.flatMap((deposit) => openDeposit(deposit, people, token));
  await system.stopDaemon();
});

afterAll(() => system.remove());

function withToken<T>(who: 'user' | 'security officer', use: (raw: RawToken) => T): T {
  const raw = openRaw(system.hsm, who);
  try {
    return use(raw);
  } finally {
    raw.close();
  }
}

describe('with the token, its user PIN and the database', () => {
  test('but no more than one approval, which is open, only the R and L of who gave it come to be, and no value', () => {
    const loot = withToken('user', (raw) => attackToken(raw, dump));
    expect(summary(loot)).toEqual(['server-for:manager:v1 into aes', `transport:${life.pending} into aes`]);
    // the link of the manager, and the outer layer of the two quorums that the manager is in
    expect(ciphertextsIn(loot)).toEqual([108, 108, 384]);
    expect(secrets().findInAll(loot.plaintexts)).toEqual([]);
  });

  test('but no depositary, nothing is decrypted and no key comes to be', () => {
    withToken('user', (raw) => {
      for (const object of raw.find([{ type: pkcs11.CKA_LABEL, value: `transport:${life.pending}` }])) {
        raw.driver.C_DestroyObject(raw.session, object);
      }
      expect(attackToken(raw, dump)).toEqual({ keys: [], opened: [], plaintexts: [] });
    });
  });

  test('and the R of a quorum, the same attack brings the key about: to use, or to have, as was agreed', () => {
    const ofBoth = [life.signing.key, life.decrypting.key];
    const deposits = dump.rows.filter(
      ({ table, text }) => table === 'public.deposit' && ofBoth.some((key) => text.includes(key)),
    );
    withToken('user', (raw) => {
      for (const [key, purpose] of [
        [life.signing.key, 'operate'],
        [life.decrypting.key, 'release'],
      ] as const) {
        for (const id of ['manager', 'officer-1']) createR(raw, openedOf(key, purpose).r.get(id));
      }
      const loot = attackToken(raw, { ...dump, rows: deposits });
      const keys = loot.keys.filter(({ by }) => by.startsWith('kek'));
      expect(keys.map(({ by, kind, comesOut }) => `${by} ${kind} ${comesOut ? 'out' : 'in'}`).sort()).toEqual(
        ['kek-rotate:operate:sign:v1 ec in', 'kek:operate:sign:v1 ec in', 'kek:release:private:v1 rsa out'],
      );
      const signer = keys.find(({ by, kind }) => by.startsWith('kek:') && kind === 'ec');
      expect(signsLike(raw, signer?.handle, life.signing.publicKeyPem)).toBe(true);
    });
  });
});

describe('with the token, its user PIN and the R of a quorum for operation', () => {
  const CASES = [
    ['ec-p256', 'ec', 'operate:sign', (): string => life.signing.key],
    ['rsa-2048', 'rsa', 'operate:decrypt', (): string => life.decrypting.key],
    ['aes-256', 'aes', 'operate:secret', (): string => life.secret.key],
  ] as const;
  const asGrant = (spec: (typeof CASES)[number][0]): Template =>
    grantKey(undefined, spec, spec === 'ec-p256' ? 'sign' : 'decrypt', []).filter(
      ({ type }) => type !== pkcs11.CKA_ALLOWED_MECHANISMS,
    );

  test.each(CASES)(
    '%s comes out of its wrapping as the token wants it and in no other way',
    (spec, own, kind, key) => {
      const { wrapped } = openedOf(key(), 'operate');
      withToken('user', (raw) => {
        const unwrap = (label: string, template: Template): string =>
          answerOf(() =>
            raw.driver.C_UnwrapKey(raw.session, { mechanism: KWP }, labelled(raw, label), wrapped, template),
          );
        const kek = `kek:${kind}:v1`;
        expect(unwrap(kek, asGrant(spec))).toBe('OK');
        const coveting = [own, 'generic' as const].flatMap((into) =>
          PROTECTIONS.map((protection) => coveted(into, protection)),
        );
        expect(coveting.map((template) => unwrap(kek, template))).toEqual(
          coveting.map(() => 'CKR_TEMPLATE_INCONSISTENT'),
        );
        // each thing that the KEK insists on left out, or said the other way
        for (const { type, value } of KEK_UNWRAPS[kind]) {
          const others = asGrant(spec).filter((row) => row.type !== type);
          // PRIVATE left out is what it is by default, and that is compared
          const out =
            type === pkcs11.CKA_PRIVATE ? 'OK' : (expect.stringMatching(/^CKR_TEMPLATE_INCO/) as unknown);
          expect({ type, out: unwrap(kek, others) }).toEqual({ type, out });
          if (typeof value !== 'boolean') continue;
          expect({ type, out: unwrap(kek, [{ type, value: !value }, ...others]) }).toEqual({
            type,
            out: 'CKR_TEMPLATE_INCONSISTENT',
          });
        }
        // said twice, once each way
        for (const first of [false, true]) {
          const twice = asGrant(spec).flatMap((row) =>
            row.type === pkcs11.CKA_EXTRACTABLE
              ? [
                  { ...row, value: first },
                  { ...row, value: !first },
                ]
              : [row],
          );
          expect(unwrap(kek, twice)).toBe('CKR_TEMPLATE_INCONSISTENT');
        }
      });
    },
  );

  test.each(CASES)('%s does not leave the token once it is in it', (spec, own, kind, key) => {
    const { wrapped } = openedOf(key(), 'operate');
    withToken('user', (raw) => {
      const kek = labelled(raw, `kek:${kind}:v1`);
      const mechanism = { mechanism: KWP };
      const handle = raw.driver.C_UnwrapKey(raw.session, mechanism, kek, wrapped, asGrant(spec));
      expect(waysOut(raw, handle)).toEqual(refused(own, 'CKR_ACTION_PROHIBITED'));
    });
  });

  test.each(CASES)(
    '%s comes out of the rotating handle for another KEK of operation only',
    (spec, own, kind, key) => {
      const { wrapped } = openedOf(key(), 'operate');
      withToken('user', (raw) => {
        const handle = raw.driver.C_UnwrapKey(
          raw.session,
          { mechanism: KWP },
          labelled(raw, `kek-rotate:${kind}:v1`),
          wrapped,
          rotatingUser(kind, spec),
        );
        const answers = waysOut(raw, handle);
        expect(answers).toEqual({
          ...refused(own, 'CKR_ACTION_PROHIBITED'),
          ...Object.fromEntries(WRAPPINGS.map((name) => [name, 'CKR_KEY_NOT_WRAPPABLE'])),
          'under kek:operate': 'OK',
        });
      });
    },
  );

  test('the key of a live grant does not leave the token, and is not changed', () => {
    withToken('user', (raw) => {
      const grant = labelled(raw, `grant:${life.liveGrant}`);
      expect(waysOut(raw, grant)).toEqual(refused('ec', 'CKR_ACTION_PROHIBITED'));
    });
  });
});

test('the keys of the token itself are not read, wrapped, copied or changed', () => {
  withToken('user', (raw) => {
    const secret = { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY };
    const hidden = { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY };
    // one that the security officer made trusted is a copy and may be copied again, as it is
    const trustedCopy = {
      'copy extractable': 'CKR_ATTRIBUTE_READ_ONLY',
      'copy readable': 'CKR_ATTRIBUTE_READ_ONLY',
    };
    for (const [label, objectClass, kind, but = {}] of [
      ['kek:operate:sign:v1', secret, 'aes', trustedCopy],
      ['kek:operate:decrypt:v1', secret, 'aes', trustedCopy],
      ['kek:operate:secret:v1', secret, 'aes', trustedCopy],
      ['kek-rotate:operate:sign:v1', secret, 'aes'],
      ['kek-rotate:operate:decrypt:v1', secret, 'aes'],
      ['kek-rotate:operate:secret:v1', secret, 'aes'],
      ['kek:release:private:v1', secret, 'aes'],
      ['kek:release:secret:v1', secret, 'aes'],
      ['server-for:manager:v1', hidden, 'rsa'],
      ['identity', hidden, 'ec'],
      ['log', hidden, 'ec'],
    ] as const) {
      const answers = waysOut(raw, labelled(raw, label, objectClass));
      expect({ label, ...answers }).toEqual({ label, ...refused(kind, 'CKR_ACTION_PROHIBITED'), ...but });
    }
  });
});

describe('a rogue key with the name of a depositary', () => {
  test('in the token, which the user cannot make trusted, gets no R, L or X', () => {
    withToken('user', (raw) => {
      const { driver, session } = raw;
      const rogue = plant(raw, 'depositary:manager', makeDepositary('manager').publicKeyPem, {
        trusted: false,
      });
      const answers = (key: Handle): readonly string[] => [
        answerOf(() => driver.C_WrapKey(session, OAEP, rogue, key, Buffer.alloc(1024))),
        answerOf(() => {
          driver.C_SetAttributeValue(session, key, [{ type: pkcs11.CKA_WRAP_WITH_TRUSTED, value: false }]);
        }),
        answerOf(() => driver.C_GetAttributeValue(session, key, [{ type: pkcs11.CKA_VALUE }])),
      ];
      for (const template of [sealingKey(pkcs11.CKM_AES_GCM), transferKey('depositary', KWP)]) {
        const inFlight = driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, template);
        expect(answers(inFlight)).toEqual([
          'CKR_KEY_NOT_WRAPPABLE',
          'CKR_ACTION_PROHIBITED',
          'CKR_ATTRIBUTE_SENSITIVE',
        ]);
      }
      const trust = { type: pkcs11.CKA_TRUSTED, value: true };
      expect(
        answerOf(() => {
          driver.C_SetAttributeValue(session, rogue, [trust]);
        }),
      ).toBe('CKR_ATTRIBUTE_READ_ONLY');
      expect(() =>
        plant(raw, 'depositary:manager', makeDepositary('manager').publicKeyPem, { trusted: true }),
      ).toThrow(/CKR_ATTRIBUTE_READ_ONLY/);
    });
  });

  test('beside the enrolled one changes nothing: shares go to the enrolled key', async () => {
    const rogues = new Map(DEPOSITARIES.map((id) => [id, makeDepositary(id)]));
    withToken('user', (raw) => {
      for (const [id, { publicKeyPem }] of rogues) {
        plant(raw, `depositary:${id}`, publicKeyPem, { trusted: false });
        plant(raw, `server-for:${id}:v1`, publicKeyPem, { trusted: false });
      }
    });
    await system.startDaemon();
    const made = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
    const deposit = (await dumpDatabase(system)).deposits.find(({ key }) => key === made.key);
    await system.stopDaemon();
    const shares = deposit?.purposes.flatMap((purpose) => purpose.shares) ?? [];
    expect(shares.map(({ depositary }) => depositary)).toEqual([...DEPOSITARIES].sort());
    const token = tokenKeys(system.hsm);
    const people = new Map<string, KeyObject>();
    for (const id of DEPOSITARIES) people.set(id, await system.identity(id).depositaryKey());
    for (const { depositary, share, recipient } of shares) {
      const enrolled = people.get(depositary);
      const rogue = [...rogues.values()].find(({ id }) => id === depositary);
      if (enrolled === undefined || rogue === undefined) throw new Error('nobody');
      expect(recipient).toBe(
        fingerprint(createPublicKey(enrolled).export({ type: 'spki', format: 'der' })).toString('hex'),
      );
      expect(openOaep(enrolled, share)).toHaveLength(32);
      expect(() => openOaep(rogue.privateKey, share)).toThrow();
    }
    // and each link is for the true server-for key: the whole deposit opens
    expect(deposit === undefined ? [] : openDeposit(deposit, people, token)).toHaveLength(1);
  });

  test('in the place of the enrolled one, which the user can destroy, gets no deposit', async () => {
    withToken('user', (raw) => {
      const trusted = { type: pkcs11.CKA_TRUSTED, value: true };
      raw.driver.C_DestroyObject(raw.session, labelled(raw, 'depositary:officer-2', trusted));
    });
    await system.startDaemon();
    await expect(makeKey(system, { spec: 'ec-p256', use: 'sign' })).rejects.toMatchObject({
      code: 'depositary-not-enrolled',
    });
    await system.stopDaemon();
  });
});

const KWP = 0x210a;
const OAEP = {
  mechanism: pkcs11.CKM_RSA_PKCS_OAEP,
  parameter: {
    type: pkcs11.CK_PARAMS_RSA_OAEP,
    source: 1,
    hashAlg: pkcs11.CKM_SHA_1,
    mgf: pkcs11.CKG_MGF1_SHA1,
  },
};

const CHANGES = ['become extractable', 'become readable', 'copy extractable', 'copy readable'] as const;
const WRAPPINGS = [
  'under a key of the attacker',
  'under that without padding',
  'under kek:operate',
  'under kek:release',
  'under a depositary',
  'under server-for',
] as const;

/** What the token answers to each way in which the value of a key might come out, or to be changed for that. */
function waysOut(raw: RawToken, key: Handle): Readonly<Record<string, string>> {
  const { driver, session } = raw;
  const set = (type: number, value: boolean): string =>
    answerOf(() => {
      driver.C_SetAttributeValue(session, key, [{ type, value }]);
    });
  const copy = (...template: Template): string =>
    answerOf(() =>
      driver.C_CopyObject(session, key, [{ type: pkcs11.CKA_TOKEN, value: false }, ...template]),
    );
  const wrap = (mechanism: typeof OAEP | { readonly mechanism: number }, under: Handle): string =>
    answerOf(() => driver.C_WrapKey(session, mechanism, under, key, Buffer.alloc(8192)));
  const x = driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    { type: pkcs11.CKA_TOKEN, value: false },
    { type: pkcs11.CKA_WRAP, value: true },
  ]);
  const trusted = (label: string): Handle => labelled(raw, label, { type: pkcs11.CKA_TRUSTED, value: true });
  return {
    ...Object.fromEntries(
      VALUES.map((type) => [
        `read ${type.toString(16)}`,
        answerOf(() => driver.C_GetAttributeValue(session, key, [{ type }])),
      ]),
    ),
    'become extractable': set(pkcs11.CKA_EXTRACTABLE, true),
    'become readable': set(pkcs11.CKA_SENSITIVE, false),
    'copy extractable': copy({ type: pkcs11.CKA_EXTRACTABLE, value: true }),
    'copy readable': copy({ type: pkcs11.CKA_SENSITIVE, value: false }),
    'under a key of the attacker': wrap({ mechanism: KWP }, x),
    'under that without padding': wrap({ mechanism: 0x2109 }, x),
    'under kek:operate': wrap({ mechanism: KWP }, labelled(raw, 'kek:operate:sign:v1')),
    'under kek:release': wrap({ mechanism: KWP }, labelled(raw, 'kek:release:private:v1')),
    'under a depositary': wrap(OAEP, trusted('depositary:manager')),
    'under server-for': wrap(OAEP, trusted('server-for:manager:v1')),
  };
}

/** Every way out is refused: reading by the class, changing by `change`, and wrapping since it never leaves. */
function refused(
  kind: 'aes' | 'generic' | 'ec' | 'rsa',
  change: 'CKR_ATTRIBUTE_READ_ONLY' | 'CKR_ACTION_PROHIBITED',
): ReturnType<typeof waysOut> {
  const held = kind === 'rsa' ? VALUES.slice(1) : VALUES.slice(0, 1);
  return {
    ...Object.fromEntries(
      VALUES.map((type) => [
        `read ${type.toString(16)}`,
        held.includes(type) ? 'CKR_ATTRIBUTE_SENSITIVE' : 'CKR_ATTRIBUTE_TYPE_INVALID',
      ]),
    ),
    ...Object.fromEntries(CHANGES.map((name) => [name, change])),
    ...Object.fromEntries(WRAPPINGS.map((name) => [name, 'CKR_KEY_UNEXTRACTABLE'])),
  };
}

function labelled(raw: RawToken, label: string, ...more: Template): Handle {
  const [handle] = raw.find([{ type: pkcs11.CKA_LABEL, value: label }, ...more]);
  if (handle === undefined) throw new Error(`there is no ${label}`);
  return handle;
}

function openedOf(key: string, purpose: 'operate' | 'release'): OpenedDeposit {
  const found = opened.find((deposit) => deposit.key === key && deposit.purpose === purpose);
  if (found === undefined) throw new Error('not deposited');
  return found;
}

function secrets(): WindowSearch {
  const all = new Map<string, Buffer>();
  for (const { key, purpose, r, l, wrapped, user } of opened) {
    for (const [id, value] of [...r, ...[...l].map(([name, value]) => [`L ${name}`, value] as const)])
      all.set(`${id} ${key} ${purpose}`, value);
    all.set(`C ${key} ${purpose}`, wrapped);
    for (const [name, part] of partsOfUser(key, user)) all.set(name, part);
  }
  return new WindowSearch(all);
}

function summary({ keys }: TokenLoot): readonly string[] {
  return keys.map(({ by, kind, comesOut }) => `${by} into ${kind}${comesOut ? ', and out' : ''}`).sort();
}

/** Lengths of what was decrypted by a mode that knows right from wrong. */
function ciphertextsIn({ opened: all }: TokenLoot): readonly number[] {
  return all.map(({ length }) => length).sort((a, b) => a - b);
}

/** As the user, who cannot make it trusted. */
function plant(
  { driver, session }: RawToken,
  label: string,
  publicKeyPem: string,
  { trusted }: { readonly trusted: boolean },
): Handle {
  const key = createPublicKey(publicKeyPem);
  const numbers = rsaNumbers(key);
  if (numbers === undefined) throw new Error('not RSA');
  return driver.C_CreateObject(session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_RSA },
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_PRIVATE, value: false },
    { type: pkcs11.CKA_LABEL, value: label },
    { type: pkcs11.CKA_ID, value: fingerprint(key.export({ type: 'spki', format: 'der' })) },
    { type: pkcs11.CKA_MODULUS, value: numbers.modulus },
    { type: pkcs11.CKA_PUBLIC_EXPONENT, value: numbers.exponent },
    { type: pkcs11.CKA_WRAP, value: true },
    ...(trusted ? [{ type: pkcs11.CKA_TRUSTED, value: true }] : []),
  ]);
}

function createR({ driver, session }: RawToken, value: Buffer | undefined): void {
  driver.C_CreateObject(session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
    { type: pkcs11.CKA_TOKEN, value: false },
    { type: pkcs11.CKA_LABEL, value: 'R' },
    { type: pkcs11.CKA_DECRYPT, value: true },
    { type: pkcs11.CKA_VALUE, value: value ?? Buffer.alloc(0) },
  ]);
}

function signsLike({ driver, session }: RawToken, key: Handle | undefined, publicKeyPem = ''): boolean {
  const message = Buffer.from('by an attacker');
  driver.C_SignInit(session, { mechanism: pkcs11.CKM_ECDSA }, key ?? Buffer.alloc(8));
  const digest = createHash('sha256').update(message).digest();
  const signature = driver.C_Sign(session, digest, Buffer.alloc(64));
  return verify('sha256', message, { key: publicKeyPem, dsaEncoding: 'ieee-p1363' }, signature);
}
