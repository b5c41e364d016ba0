import { generateKeyPairSync, publicEncrypt, randomBytes } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import type { Template } from '../../src/token/cryptoki/attributes.js';
import { Dialect } from '../../src/token/profile/dialect.js';
import { Mechanisms } from '../../src/token/profile/mechanisms.js';
import { grantKey, openingKey, unwrappingPair, userPair } from '../../src/token/profile/templates.js';
import { nodeOaep } from '../support/escrowChain.js';
import type { RawToken } from '../support/rawToken.js';
import { openRaw } from '../support/rawToken.js';
import type { TestToken } from '../support/testToken.js';

/** What a recovery makes in flight: R and L of two depositaries. */
const IN_FLIGHT = 4;
const GRANT = 'grant:a grant of twenty-two';
const TRANSPORT = 'transport:a recovery of twenty';

/**
 * The objects and signatures of recoveries, under the templates of escrowd, by plain pkcs11js and nothing asynchronous. The
 * transport pair is put into the token instead of generated there: the same objects, without the time.
 */
export function rawWork(hsm: Pick<TestToken, 'place' | 'userPin' | 'soPin'>): {
  readonly recover: (signatures: number) => Promise<void>;
  readonly close: () => void;
} {
  const raw = openRaw(hsm, 'user');
  const { driver, session } = raw;
  const mechanisms = new Mechanisms(hsm.place.profile);
  const dialect = new Dialect(hsm.place.profile);
  const kwp = mechanisms.plain('keyWrapWithPadding');
  const pair = transportPair(mechanisms.opening());
  const [kek] = raw.find([{ type: pkcs11.CKA_LABEL, value: 'kek:operate:sign:v1' }]);
  if (kek === undefined) throw new Error('there is no KEK');
  const wrapped = wrapUserKey(raw, mechanisms, kek);
  const into = {
    opener: dialect.unwrapping(openingKey(mechanisms.number('aesGcm'))),
    grant: dialect.unwrapping(grantKey(GRANT, 'ec-p256', 'sign', [mechanisms.number('ecdsa')])),
  };
  const digest = Buffer.alloc(32, 1);
  return {
    recover: (signatures) => {
      const transport = pair.templates.map((template) => driver.C_CreateObject(session, template));
      const made = [...transport];
      const [opener] = transport;
      if (opener === undefined) throw new Error('there is no transport key');
      for (let left = IN_FLIGHT; left > 0; left -= 1)
        made.push(driver.C_UnwrapKey(session, mechanisms.oaep(), opener, pair.reply, into.opener));
      const grant = driver.C_UnwrapKey(session, kwp, kek, wrapped, into.grant);
      for (let left = signatures; left > 0; left -= 1) {
        driver.C_SignInit(session, { mechanism: pkcs11.CKM_ECDSA }, grant);
        driver.C_Sign(session, digest, Buffer.alloc(64));
      }
      for (const object of [...made, grant]) driver.C_DestroyObject(session, object);
      return Promise.resolve();
    },
    close: () => {
      raw.close();
    },
  };
}

/** An EC P-256 key under the KEK, which is what a deposit keeps. */
function wrapUserKey({ driver, session }: RawToken, mechanisms: Mechanisms, kek: Handle): Buffer {
  const kwp = mechanisms.plain('keyWrapWithPadding');
  const user = userPair('ec-p256', kwp.mechanism);
  const made = driver.C_GenerateKeyPair(
    session,
    mechanisms.plain('ecKeyPairGen'),
    user.publicKey,
    user.privateKey,
  );
  return Buffer.from(driver.C_WrapKey(session, kwp, kek, made.privateKey, Buffer.alloc(1024)));
}

/** The private half first, and what a depositary answers to the pair. */
function transportPair(opening: ReturnType<Mechanisms['opening']>): {
  readonly templates: readonly [Template, Template];
  readonly reply: Buffer;
} {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 3072 });
  const jwk = privateKey.export({ format: 'jwk' });
  const part = (type: number, text: string | undefined): Template[number] => ({
    type,
    value: Buffer.from(text ?? '', 'base64url'),
  });
  const open = [part(pkcs11.CKA_MODULUS, jwk.n), part(pkcs11.CKA_PUBLIC_EXPONENT, jwk.e)];
  const asked = unwrappingPair(TRANSPORT, opening);
  const forCreating = ({ type }: Template[number]): boolean =>
    type !== pkcs11.CKA_MODULUS_BITS && type !== pkcs11.CKA_PUBLIC_EXPONENT;
  return {
    templates: [
      [
        ...open,
        part(pkcs11.CKA_PRIVATE_EXPONENT, jwk.d),
        part(pkcs11.CKA_PRIME_1, jwk.p),
        part(pkcs11.CKA_PRIME_2, jwk.q),
        part(pkcs11.CKA_EXPONENT_1, jwk.dp),
        part(pkcs11.CKA_EXPONENT_2, jwk.dq),
        part(pkcs11.CKA_COEFFICIENT, jwk.qi),
        ...asked.privateKey,
      ],
      [...open, ...asked.publicKey.filter(forCreating)],
    ],
    reply: publicEncrypt({ key: publicKey, ...nodeOaep('RSA-OAEP') }, randomBytes(32)),
  };
}
