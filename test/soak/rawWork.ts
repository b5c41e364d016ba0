import { generateKeyPairSync } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import type { Template } from '../../src/token/attributes.js';
import { openRaw } from '../support/rawToken.js';
import type { SoftHsm } from '../support/softhsm.js';

/** What a recovery makes in flight: R and L of two depositaries. */
const IN_FLIGHT = 4;

const SECRET: Template = [
  { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
  { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
  { type: pkcs11.CKA_TOKEN, value: false },
  { type: pkcs11.CKA_PRIVATE, value: true },
  { type: pkcs11.CKA_SENSITIVE, value: true },
  { type: pkcs11.CKA_EXTRACTABLE, value: false },
  { type: pkcs11.CKA_DECRYPT, value: true },
];
const STANDING: Template = [
  { type: pkcs11.CKA_TOKEN, value: true },
  { type: pkcs11.CKA_PRIVATE, value: true },
];
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');

/**
 * The objects and signatures of recoveries, by plain pkcs11js. The transport pair is put into the token instead of
 * generated there: the same objects, without the time.
 */
export function rawWork(hsm: SoftHsm): {
  readonly recover: (signatures: number) => Promise<void>;
  readonly close: () => void;
} {
  const raw = openRaw(hsm, 'user');
  const { driver, session } = raw;
  const pair = transportTemplates();
  const digest = Buffer.alloc(32, 1);
  const makeGrant = (): { readonly publicKey: Handle; readonly privateKey: Handle } =>
    driver.C_GenerateKeyPair(
      session,
      { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
      [
        { type: pkcs11.CKA_TOKEN, value: false },
        { type: pkcs11.CKA_EC_PARAMS, value: P256 },
      ],
      [...STANDING, { type: pkcs11.CKA_SIGN, value: true }],
    );
  return {
    recover: (signatures) => {
      const made = pair.map((template) => driver.C_CreateObject(session, template));
      for (let left = IN_FLIGHT - 1; left > 0; left -= 1) {
        const aes = { mechanism: pkcs11.CKM_AES_KEY_GEN };
        made.push(driver.C_GenerateKey(session, aes, [...SECRET, { type: pkcs11.CKA_VALUE_LEN, value: 32 }]));
      }
      // its public half is the fourth in flight
      const grant = makeGrant();
      for (let left = signatures; left > 0; left -= 1) {
        driver.C_SignInit(session, { mechanism: pkcs11.CKM_ECDSA }, grant.privateKey);
        driver.C_Sign(session, digest, Buffer.alloc(64));
      }
      for (const object of [...made, grant.publicKey, grant.privateKey])
        driver.C_DestroyObject(session, object);
      return Promise.resolve();
    },
    close: () => {
      raw.close();
    },
  };
}

function transportTemplates(): readonly Template[] {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 });
  const jwk = privateKey.export({ format: 'jwk' });
  const part = (type: number, text: string | undefined): Template[number] => ({
    type,
    value: Buffer.from(text ?? '', 'base64url'),
  });
  const open = [part(pkcs11.CKA_MODULUS, jwk.n), part(pkcs11.CKA_PUBLIC_EXPONENT, jwk.e)];
  const kind = (objectClass: number): Template => [
    { type: pkcs11.CKA_CLASS, value: objectClass },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_RSA },
  ];
  return [
    [...kind(pkcs11.CKO_PUBLIC_KEY), { type: pkcs11.CKA_TOKEN, value: true }, ...open],
    [
      ...kind(pkcs11.CKO_PRIVATE_KEY),
      ...STANDING,
      { type: pkcs11.CKA_SENSITIVE, value: true },
      ...open,
      part(pkcs11.CKA_PRIVATE_EXPONENT, jwk.d),
      part(pkcs11.CKA_PRIME_1, jwk.p),
      part(pkcs11.CKA_PRIME_2, jwk.q),
      part(pkcs11.CKA_EXPONENT_1, jwk.dp),
      part(pkcs11.CKA_EXPONENT_2, jwk.dq),
      part(pkcs11.CKA_COEFFICIENT, jwk.qi),
    ],
  ];
}
