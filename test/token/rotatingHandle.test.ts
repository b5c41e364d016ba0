import { createPublicKey } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import type { Template } from '../../src/token/cryptoki/attributes.js';
import { readRecord } from '../../src/token/ceremony/record.js';
import { renew } from '../../src/token/ceremony/renew.js';
import { requireNoWayOut } from '../../src/token/ceremony/rotation.js';
import { trustedTemplate } from '../../src/token/profile/ceremonyTemplates.js';
import { Mechanisms } from '../../src/token/profile/mechanisms.js';
import { rotatingUser } from '../../src/token/profile/keks.js';
import { rsaNumbers } from '../../src/token/cryptoki/spki.js';
import { userSecret } from '../../src/token/profile/templates.js';
import type { RawToken } from '../support/rawToken.js';
import { openRaw } from '../support/rawToken.js';
import type { SoftHsm } from '../support/softhsm.js';
import { makeDepositary, makeSoftHsm } from '../support/softhsm.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

/* A key that a rotating handle brings out goes out again under any trusted key that takes it. */
let hsm: SoftHsm;

beforeAll(async () => {
  hsm = await makeSoftHsm();
  await hsm.enrolDepositary('alice');
});
afterAll(() => {
  hsm.remove();
});

const KWP = 0x210a;

/** A public key that the security officer makes trusted, and that says or does not say what it takes. */
function makeTrusted(raw: RawToken, label: string, bounds: 'bounded' | 'unbounded'): Handle {
  const numbers = rsaNumbers(createPublicKey(makeDepositary('old').publicKeyPem));
  if (numbers === undefined) throw new Error('no RSA key');
  const { modulus, exponent } = numbers;
  const template = trustedTemplate(label, { modulus, exponent, id: Buffer.alloc(32) }, 9);
  const without = template.filter(({ type }) => type !== pkcs11.CKA_WRAP_TEMPLATE);
  return raw.driver.C_CreateObject(raw.session, bounds === 'bounded' ? template : without);
}

/** A key of release that the security officer makes trusted; a session object can be copied into the token then. */
function makeTrustedSecret(raw: RawToken, label: string): Handle {
  return raw.driver.C_GenerateKey(raw.session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_PRIVATE, value: false },
    { type: pkcs11.CKA_LABEL, value: label },
    { type: pkcs11.CKA_WRAP, value: true },
    { type: pkcs11.CKA_TRUSTED, value: true },
  ]);
}

function asOfficer<T>(work: (raw: RawToken) => T): T {
  const raw = openRaw(hsm, 'security officer');
  try {
    return work(raw);
  } finally {
    raw.close();
  }
}

const rotating = (): readonly string[] => {
  const raw = openRaw(hsm, 'user');
  try {
    const secrets: Template = [
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
      { type: pkcs11.CKA_TOKEN, value: true },
    ];
    return raw
      .find(secrets)
      .map((handle) =>
        String(raw.driver.C_GetAttributeValue(raw.session, handle, [{ type: pkcs11.CKA_LABEL }])[0]?.value),
      )
      .filter((label) => label.startsWith('kek'))
      .sort();
  } finally {
    raw.close();
  }
};

const renewed = (): Promise<unknown> =>
  renew({
    ...hsm.place,
    soPin: Buffer.from(hsm.soPin),
    userPin: Buffer.from(hsm.userPin),
    now: new Date('2030-01-02T03:04:05Z'),
    before: readRecord(JSON.stringify(hsm.record()), hsm.place),
  });

test.each([
  ['a public key that does not say what it takes', (raw: RawToken) => makeTrusted(raw, 'other', 'unbounded')],
  ['a secret key that is no KEK of operation', (raw: RawToken) => makeTrustedSecret(raw, 'of the officer')],
] as const)('while %s is trusted no rotating handle is made, and nothing of its KEK', async (_what, make) => {
  const before = rotating();
  const handle = asOfficer((raw) => {
    const made = make(raw);
    const [label] = raw.driver.C_GetAttributeValue(raw.session, made, [{ type: pkcs11.CKA_LABEL }]);
    return String(label?.value);
  });
  await expect(renewed()).rejects.toThrow(
    `take any key, so one that can be rotated would get out under them: ${handle}`,
  );
  const now = rotating();
  expect(now.filter((label) => label !== handle)).toEqual(before);
  asOfficer((raw) => {
    for (const object of raw.find([{ type: pkcs11.CKA_LABEL, value: handle }]))
      raw.driver.C_DestroyObject(raw.session, object);
  });
});

test('what a rotating handle brings out goes out under such a key, and under none that the ceremony makes', () => {
  asOfficer((raw) => {
    makeTrusted(raw, 'unbounded', 'unbounded');
    makeTrusted(raw, 'bounded', 'bounded');
  });
  const raw = openRaw(hsm, 'user');
  const { driver, session } = raw;
  const one = (label: string): Handle => {
    const [handle] = raw.find([{ type: pkcs11.CKA_LABEL, value: label }]);
    if (handle === undefined) throw new Error(`there is no ${label}`);
    return handle;
  };
  const kwp = { mechanism: KWP };
  const user = driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, userSecret(KWP));
  const wrapped = driver.C_WrapKey(session, kwp, one('kek:operate:secret:v1'), user, Buffer.alloc(64));
  const handle = one('kek-rotate:operate:secret:v1');
  const rotated = driver.C_UnwrapKey(
    session,
    kwp,
    handle,
    wrapped,
    rotatingUser('operate:secret', 'aes-256'),
  );
  const goesOutUnder = (label: string): boolean => {
    try {
      driver.C_WrapKey(
        session,
        new Mechanisms(hsm.place.profile).oaep(),
        one(label),
        rotated,
        Buffer.alloc(512),
      );
      return true;
    } catch (error) {
      expect(String(error)).toContain('CKR_KEY_NOT_WRAPPABLE');
      return false;
    }
  };
  expect(['unbounded', 'bounded', 'depositary:alice'].map(goesOutUnder)).toEqual([true, false, false]);
  // which is what the ceremony looks for
  expect(() => {
    requireNoWayOut(driver, session);
  }).toThrow('get out under them: unbounded.');
  raw.close();
  asOfficer((officer) => {
    for (const label of ['unbounded', 'bounded'])
      for (const object of officer.find([{ type: pkcs11.CKA_LABEL, value: label }]))
        officer.driver.C_DestroyObject(officer.session, object);
  });
});

test('when they are gone it is made', async () => {
  await renewed();
  expect(rotating()).toContain('kek-rotate:operate:secret:v2');
});
