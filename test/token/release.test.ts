import {
  constants,
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
} from 'node:crypto';
import type { DecryptInput } from '../../src/escrow/ports/token.js';
import type { Sealed } from '../../src/escrow/records/sealing/sealed.js';
import type { OpenToken } from '../../src/token/service/openToken.js';
import type { TestDeposit } from '../support/escrowChain.js';
import { deposit, depositFor, opened, raiseGrant, release } from '../support/escrowChain.js';
import type { SoftHsm, TestDepositary } from '../support/softhsm.js';
import { enrolledSoftHsm } from '../support/softhsm.js';
import { rsaPair } from '../support/rsaPairs.js';
import { LIMITS_MS } from '../support/limits.js';
import { freshBytes } from '../support/fresh.js';

jest.setTimeout(LIMITS_MS.token);

let hsm: SoftHsm;
let token: OpenToken;
let alice: TestDepositary;
const OAEP = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };

beforeAll(async () => {
  const made = await enrolledSoftHsm('alice');
  hsm = made.hsm;
  [alice] = made.people;
  token = await hsm.open();
});
afterAll(async () => {
  await token.close();
  hsm.remove();
});

test.each(['rsa-2048', 'ec-p256', 'ec-p384', 'ec-p521'] as const)(
  'a released %s is opened by node:crypto alone, and is the private half of what was generated',
  async (spec) => {
    const { publicKey, ...kept } = await deposit(token, spec, 'release', [alice]);
    const der = await releasedBytes({ publicKey, ...kept });
    expect(der.length % 8).toBe(0);
    const bare = der.subarray(0, derLength(der));
    // SoftHSM 2.6.1 pads with zeros before wrapping, so up to seven of them stand behind the DER.
    expect(der.length - bare.length).toBeLessThan(8);
    expect(der.subarray(bare.length).every((byte) => byte === 0)).toBe(true);
    const key = createPrivateKey({ key: bare, format: 'der', type: 'pkcs8' });
    expect(createPublicKey(key).export({ type: 'spki', format: 'der' })).toEqual(
      Buffer.from(publicKey ?? []),
    );
  },
);

test('SoftHSM 2.6.1 wraps a key of odd length with zeros behind it, unlike RFC 5649', async () => {
  const der = await releasedBytes(await deposit(token, 'ec-p256', 'release', [alice]));
  expect(der.length - derLength(der)).toBeGreaterThan(0);
});

test('an AES key that was released encrypts what its grant decrypts', async () => {
  const [forGrant, forRelease] = await depositFor(token, 'aes-256', ['operate', 'release'], [alice]);
  if (forGrant === undefined || forRelease === undefined) throw new Error('not deposited');
  expect(forGrant.publicKey).toBeUndefined();
  const key = await releasedBytes(forRelease);
  expect(key).toHaveLength(32);
  const iv = freshBytes(12);
  const aad = Buffer.from('context');
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(aad);
  const ciphertext = Buffer.concat([cipher.update('the message'), cipher.final(), cipher.getAuthTag()]);
  const grant = await raiseGrant(token, forGrant, 'decrypt', [alice]);
  const decrypt = (input: DecryptInput) =>
    token.lend(['decrypt'], (lent) => lent.decrypt(grant, 'aes-256', 'A256GCM', input));
  expect(Buffer.from(opened(await decrypt({ ciphertext, iv, aad }))).toString()).toBe('the message');
  expect(await decrypt({ ciphertext, iv, aad: Buffer.from('another') })).toEqual({ refused: true });
  expect(await decrypt({ ciphertext, iv })).toEqual({ refused: true });
  // SP 800-38D section 7.2: of the empty plaintext there is the tag alone
  const tag = emptyTag(key, iv);
  expect(opened(await decrypt({ ciphertext: tag, iv }))).toHaveLength(0);
  expect(await decrypt({ ciphertext: tag.subarray(1), iv })).toEqual({ refused: true });
  tag[0] = (tag[0] ?? 0) ^ 1;
  expect(await decrypt({ ciphertext: tag, iv })).toEqual({ refused: true });
});

function emptyTag(key: Uint8Array, iv: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  cipher.final();
  return cipher.getAuthTag();
}

test("the owner's copy opens with the owner's delivery key, which nobody has enrolled", async () => {
  const owner = rsaPair(3072);
  const spki = owner.publicKey.export({ type: 'spki', format: 'der' });
  const verbs = ['generateUserKey', 'generateTransferKey', 'wrapToOwner', 'wrapUnderTransfer'] as const;
  const copy = await token.lend(verbs, async (lent) => {
    const { key, publicKey } = await lent.generateUserKey('ec-p256');
    const transfer = await lent.generateTransferKey('owner');
    const wrapped = await lent.wrapToOwner(transfer, spki);
    return { publicKey, wrapped, key: await lent.wrapUnderTransfer(transfer, key) };
  });
  const transfer = privateDecrypt({ key: owner.privateKey, ...OAEP }, copy.wrapped);
  const der = unwrapPadded(transfer, copy.key);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  expect(createPublicKey(key).export({ type: 'spki', format: 'der' })).toEqual(
    Buffer.from(copy.publicKey ?? []),
  );
});

test("a depositary's transfer key does not go out under an owner's key", async () => {
  const { publicKey } = rsaPair(2048);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const wrapping = token.lend(['generateTransferKey', 'wrapToOwner'], async (lent) =>
    lent.wrapToOwner(await lent.generateTransferKey('depositary'), spki),
  );
  await expect(wrapping).rejects.toMatchObject({ code: 'token-unavailable' });
});

test.each([1024, 'ec'] as const)('a delivery key that is %p is refused', async (kind) => {
  const { publicKey } =
    kind === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: kind });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const wrapping = token.lend(['generateTransferKey', 'wrapToOwner'], async (lent) =>
    lent.wrapToOwner(await lent.generateTransferKey('owner'), spki),
  );
  await expect(wrapping).rejects.toMatchObject({ code: 'request-malformed' });
});

async function releasedBytes(kept: TestDeposit): Promise<Buffer> {
  const answer = await release(token, kept, [alice]);
  return unwrapPadded(privateDecrypt({ key: alice.privateKey, ...OAEP }, answer.transferKey), answer.key);
}

/** RFC 5649 by OpenSSL. */
function unwrapPadded(key: Buffer, wrapped: Sealed<'transfer-key'>): Buffer {
  const decipher = createDecipheriv('id-aes256-wrap-pad', key, Buffer.from('a65959a6', 'hex'));
  return Buffer.concat([decipher.update(wrapped), decipher.final()]);
}

function derLength(der: Buffer): number {
  const first = der[1] ?? 0;
  if (first < 0x80) return 2 + first;
  const bytes = first & 0x7f;
  return 2 + bytes + der.readUIntBE(2, bytes);
}
