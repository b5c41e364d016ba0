import { constants, createHash, createPublicKey, publicEncrypt, verify } from 'node:crypto';
import type { SignMechanism } from '../../src/escrow/records/mechanisms.js';
import { DIGEST_BYTES, MECHANISMS, mechanismsFor, signs } from '../../src/escrow/records/mechanisms.js';
import type { OpenToken } from '../../src/token/service/openToken.js';
import { deposit, opened, raiseGrant } from '../support/escrowChain.js';
import type { SoftHsm, TestDepositary } from '../support/softhsm.js';
import { enrolledSoftHsm } from '../support/softhsm.js';
import { LIMITS_MS } from '../support/limits.js';
import { chance } from '../support/chance.js';
import { signOne } from '../support/signOne.js';

jest.setTimeout(LIMITS_MS.token);

let hsm: SoftHsm;
let token: OpenToken;
let people: readonly TestDepositary[];

beforeAll(async () => {
  ({ hsm, people } = await enrolledSoftHsm('alice', 'bob'));
  token = await hsm.open();
});
afterAll(async () => {
  await token.close();
  hsm.remove();
});

describe.each(['rsa-2048', 'rsa-3072', 'rsa-4096', 'ec-p256', 'ec-p384', 'ec-p521'] as const)(
  '%s',
  (spec) => {
    test('deposited under a quorum of two, comes back as a grant that signs by every mechanism', async () => {
      const kept = await deposit(token, spec, 'operate', people);
      const mechanisms = mechanismsFor(spec, 'sign').filter(signs);
      const grant = await raiseGrant(token, kept, 'sign', people);
      for (const mechanism of mechanisms) {
        const message = chance('message to the chain').bytes(100);
        const data = digestOf(mechanism, message);
        const signature = await token.lend(['sign'], (lent) => signOne(lent, grant, spec, mechanism, data));
        expect(verifies(kept.publicKey, mechanism, message, signature)).toBe(true);
      }
      expect(mechanisms.length).toBeGreaterThan(0);
      await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(grant));
    });
  },
);

test('an RSA key comes back as a grant that decrypts RSA-OAEP', async () => {
  const kept = await deposit(token, 'rsa-2048', 'operate', people, 'decrypt');
  const grant = await raiseGrant(token, kept, 'decrypt', people);
  const key = importKey(kept.publicKey);
  const ciphertext = publicEncrypt(
    { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
    Buffer.from('the message'),
  );
  const plain = await token.lend(['decrypt'], (lent) =>
    lent.decrypt(grant, 'rsa-2048', 'RSA-OAEP', { ciphertext }),
  );
  expect(Buffer.from(opened(plain)).toString()).toBe('the message');
});

function importKey(spki: Uint8Array | undefined) {
  return createPublicKey({ key: Buffer.from(spki ?? []), format: 'der', type: 'spki' });
}

function digestOf(mechanism: SignMechanism, message: Buffer): Buffer {
  const name = MECHANISMS[mechanism].digest;
  return name === undefined ? message : createHash(name).update(message).digest();
}

function verifies(
  spki: Uint8Array | undefined,
  mechanism: SignMechanism,
  message: Buffer,
  signature: Uint8Array,
): boolean {
  const key = importKey(spki);
  const name = MECHANISMS[mechanism].digest;
  if (name === undefined) return verify(null, message, key, signature);
  const saltLength = DIGEST_BYTES[name];
  const padding = mechanism.startsWith('PS') ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
  const how = mechanism.startsWith('ES')
    ? { key, dsaEncoding: 'ieee-p1363' as const }
    : mechanism.startsWith('PS')
      ? { key, padding, saltLength }
      : { key, padding };
  return verify(name, message, how, signature);
}
