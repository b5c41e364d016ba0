import { constants, createPublicKey, publicEncrypt } from 'node:crypto';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import type { GrantId } from '../../src/escrow/records/ids.js';
import type { Opened } from '../../src/escrow/ports/token.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import { CKR } from '../../src/token/cryptoki/faults.js';
import { NativeFault } from '../../src/token/cryptoki/nativeFunction.js';
import type { OpenToken } from '../../src/token/service/openToken.js';
import { withWorkbench } from '../../src/token/service/openToken.js';
import type { TestDeposit } from '../support/escrowChain.js';
import {
  AAD,
  deposit,
  depositFor,
  gatherReplies,
  keyOf,
  keyOfNobody,
  newGrant,
  newRecovery,
  opened,
  OPENING,
  openQuorum,
  raiseFrom,
  raiseGrant,
} from '../support/escrowChain.js';
import { openRaw } from '../support/rawToken.js';
import type { SoftHsm, TestDepositary } from '../support/softhsm.js';
import { enrolledSoftHsm } from '../support/softhsm.js';
import { LIMITS_MS } from '../support/limits.js';
import { chance } from '../support/chance.js';
import { signOne } from '../support/signOne.js';

jest.setTimeout(LIMITS_MS.token);

const { bytes } = chance('refusals');

let hsm: SoftHsm;
let token: OpenToken;
let alice: TestDepositary;
let kept: TestDeposit;
/** What the operator was told. */
const told: object[] = [];

beforeAll(async () => {
  const made = await enrolledSoftHsm('alice');
  hsm = made.hsm;
  [alice] = made.people;
  token = await hsm.open({ log: (level, message, fields) => told.push({ level, message, ...fields }) });
  kept = await deposit(token, 'ec-p256', 'operate', [alice]);
});
afterAll(async () => {
  await token.close();
  hsm.remove();
});

const REFUSED = { refused: true };

test('a token that has no memory for another object says so: nothing is left in it, and it is not taken for broken', async () => {
  const gathered = await gatherReplies(token, kept, [alice]);
  const before = await token.standing();
  const driver = await withWorkbench(token, (parts) => Promise.resolve(parts.driver));
  const unwrap = driver.C_UnwrapKey.bind(driver);
  const full = jest
    .spyOn(driver, 'C_UnwrapKey')
    .mockImplementation((session, mechanism, key, wrapped, into) => {
      const isKept = into.some(({ type, value }) => type === pkcs11.CKA_TOKEN && value === true);
      if (isKept) throw new NativeFault(CKR.CKR_DEVICE_MEMORY);
      return unwrap(session, mechanism, key, wrapped, into);
    });
  const raising = raiseFrom(token, kept, 'sign', gathered);
  await expect(raising).rejects.toMatchObject({ code: 'token-full' });
  full.mockRestore();
  expect((await token.standing()).grants).toEqual(before.grants);
  await token.check();
  const grant = await raiseGrant(token, kept, 'sign', [alice]);
  await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(grant));
});

test('every ciphertext that is not what it claims is refused, and a hundred good operations follow', async () => {
  const { recovery, replies } = await gatherReplies(token, kept, [alice]);
  const [reply] = replies;
  const [member] = kept.members;
  if (reply === undefined || member === undefined) throw new Error('no member');
  await token.lend([...OPENING, 'raiseGrant', 'unwrapForRelease'], async (lent) => {
    for (const bad of [flipped(reply), bytes(384), reply.subarray(1), Buffer.alloc(0), Buffer.alloc(384)]) {
      expect(await lent.unwrapReply(recovery, sealed('transport', bad))).toEqual(REFUSED);
    }
    const share = opened(await lent.unwrapReply(recovery, reply));
    for (const bad of [flipped(member.link), member.link.subarray(0, 28), Buffer.alloc(0), bytes(412)]) {
      const answer = await lent.openUnder(share, sealed('share-key', bad), AAD, 'server-for');
      expect(answer).toEqual(REFUSED);
    }
    const otherAad = await lent.openUnder(share, member.link, Buffer.alloc(32, 8), 'server-for');
    expect(otherAad).toEqual(REFUSED);
    // What was opened before a refusal stays usable: the refusal costs its session, not the keys in flight.
    const link = opened(await lent.openUnder(share, member.link, AAD, 'server-for'));
    expect(await lent.unwrapLayer(member, sealed('server-for', flipped(link)))).toEqual(REFUSED);
    const layer = opened(await lent.unwrapLayer(member, link));
    const wrapped = opened(await lent.openUnder(layer, kept.sealedQuorum, AAD, 'kek'));
    const raise = (bytes: Uint8Array, kek = kept.kek, spec = kept.spec): Promise<Opened<void>> => {
      const order = {
        wrapped: { sealed: sealed('kek', bytes), kek },
        spec,
        use: 'sign',
        grant: newGrant(),
      } as const;
      return lent.raiseGrant({ ...order, mechanisms: ['ES256'] });
    };
    for (const bad of [flipped(wrapped), Buffer.alloc(0), wrapped.subarray(8), wrapped.subarray(1)]) {
      expect(await raise(bad)).toEqual(REFUSED);
    }
    expect(await raise(wrapped, 'kek:release:private:v1')).toEqual(REFUSED);
    expect(await raise(wrapped, kept.kek, 'ec-p384')).toEqual(REFUSED);
    expect(await raise(wrapped, kept.kek, 'rsa-2048')).toEqual(REFUSED);
    const release = { wrapped: { sealed: wrapped, kek: 'kek:release:private:v1' }, spec: kept.spec };
    expect(await lent.unwrapForRelease(release)).toEqual(REFUSED);
    expect(await lent.unwrapForRelease({ ...release, wrapped: { sealed: wrapped, kek: kept.kek } })).toEqual(
      REFUSED,
    );
  });
  expect((await token.standing()).grants).toEqual([]);
  for (let round = 0; round < 100; round += 1) {
    await token.lend(['generateShareKey', 'wrapToDepositary'], async (lent) => {
      await lent.wrapToDepositary(await lent.generateShareKey(), keyOf(alice));
    });
  }
  await token.lend(['destroyTransport'], (lent) => lent.destroyTransport(recovery));
});

test('a reply to one recovery opens nothing in another', async () => {
  const first = await gatherReplies(token, kept, [alice]);
  const second = await gatherReplies(token, kept, [alice]);
  await token.lend(['unwrapReply', 'destroyTransport'], async (lent) => {
    const [reply] = first.replies;
    if (reply === undefined) throw new Error('no reply');
    expect(await lent.unwrapReply(second.recovery, reply)).toEqual(REFUSED);
    await lent.destroyTransport(first.recovery);
    await lent.destroyTransport(second.recovery);
    await expect(lent.unwrapReply(first.recovery, reply)).rejects.toMatchObject({
      code: 'token-object-missing',
    });
  });
});

test('an RSA ciphertext that does not decrypt is refused, and the next one decrypts', async () => {
  const rsa = await deposit(token, 'rsa-2048', 'operate', [alice], 'decrypt');
  const grant = await raiseGrant(token, rsa, 'decrypt', [alice]);
  const key = createPublicKey({ key: Buffer.from(rsa.publicKey ?? []), format: 'der', type: 'spki' });
  const good = publicEncrypt(
    { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
    Buffer.from('text'),
  );
  const decrypt = (ciphertext: Uint8Array, mechanism: 'RSA-OAEP' | 'RSA-OAEP-256' = 'RSA-OAEP') =>
    token.lend(['decrypt'], (lent) => lent.decrypt(grant, 'rsa-2048', mechanism, { ciphertext }));
  for (const bad of [flipped(good), Buffer.alloc(0), good.subarray(1), Buffer.alloc(256, 0xff)]) {
    expect(await decrypt(bad)).toEqual(REFUSED);
    expect(opened(await decrypt(good)).toString()).toBe('text');
  }
  await expect(decrypt(good, 'RSA-OAEP-256')).rejects.toMatchObject({ code: 'mechanism-unsupported' });
  // The grant decrypts; the token does not let it sign, nor by what it was not granted.
  const digest = bytes(32);
  const signing = token.lend(['sign'], (lent) => signOne(lent, grant, 'rsa-2048', 'RS256', digest));
  await expect(signing).rejects.toMatchObject({ code: 'token-unavailable' });
});

test('lengths are judged before the token is asked', async () => {
  const grant = await raiseGrant(token, kept, 'sign', [alice]);
  const sign = (id: GrantId, data: Uint8Array, mechanism: 'ES256' | 'ES384' | 'EdDSA' = 'ES256') =>
    token.lend(['sign'], (lent) => signOne(lent, id, 'ec-p256', mechanism, data));
  await expect(sign(grant, Buffer.alloc(0))).rejects.toMatchObject({ code: 'request-malformed' });
  await expect(sign(grant, Buffer.alloc(31))).rejects.toMatchObject({ code: 'request-malformed' });
  await expect(sign(grant, Buffer.alloc(48), 'ES384')).rejects.toMatchObject({
    code: 'operation-not-granted',
  });
  await expect(sign(grant, Buffer.alloc(32), 'EdDSA')).rejects.toMatchObject({
    code: 'mechanism-unsupported',
  });
  await expect(sign(newGrant(), Buffer.alloc(32))).rejects.toMatchObject({ code: 'token-object-missing' });
  await expect(sign(grant, Buffer.alloc(32))).resolves.toHaveLength(64);
  const sealing = token.lend(['generateShareKey', 'sealUnder'], async (lent) =>
    lent.sealUnder(await lent.generateShareKey(), sealed('server-for', Buffer.alloc(0)), AAD),
  );
  await expect(sealing).rejects.toMatchObject({ code: 'request-malformed' });
  const attesting = token.lend(['attest'], (lent) => lent.attest(Buffer.alloc(0)));
  await expect(attesting).rejects.toMatchObject({ code: 'request-malformed' });
});

test('a key specification that the token cannot wrap is refused before a key is made', async () => {
  const making = token.lend(['generateUserKey'], (lent) => lent.generateUserKey('ed25519'));
  await expect(making).rejects.toMatchObject({ code: 'key-spec-unsupported' });
});

test('destroying what is gone does nothing, and a destroyed grant signs no more', async () => {
  const grant = await raiseGrant(token, kept, 'sign', [alice]);
  await token.lend(['destroyGrant', 'destroyTransport', 'sign'], async (lent) => {
    await signOne(lent, grant, 'ec-p256', 'ES256', Buffer.alloc(32, 1));
    await lent.destroyGrant(grant);
    await lent.destroyGrant(grant);
    await lent.destroyTransport(newRecovery());
    const again = signOne(lent, grant, 'ec-p256', 'ES256', Buffer.alloc(32, 1));
    await expect(again).rejects.toMatchObject({ code: 'token-object-missing' });
  });
});

test('what stands in the token is listed: transports with their pair, grants of both classes', async () => {
  const { recovery } = await gatherReplies(token, kept, [alice]);
  const grant = await raiseGrant(token, kept, 'sign', [alice]);
  const aes = await raiseGrant(token, await deposit(token, 'aes-256', 'operate', [alice]), 'decrypt', [
    alice,
  ]);
  const { transports, grants } = await token.standing();
  expect(transports).toContain(recovery);
  expect(grants).toEqual(expect.arrayContaining([grant, aes]));
});

describe('a device that ignores what was asked of an unwrapped key is not believed: it is destroyed, and an alarm raised', () => {
  const ALARM = {
    level: 'error',
    message: 'the token unwrapped a key with other attributes than were asked for',
    alarm: 'unwrapped-key-differs',
    attributes: 'CKA_EXTRACTABLE',
    destroyed: true,
  };

  /** Runs `verb` with a device that says of what is EXTRACTABLE and what is not that it is the other. */
  async function lyingDevice(verb: () => Promise<unknown>): Promise<void> {
    const raw = openRaw(hsm, 'as is');
    const read = raw.driver.C_GetAttributeValue.bind(raw.driver);
    const before = raw.find([]).length;
    const spy = jest.spyOn(raw.driver, 'C_GetAttributeValue').mockImplementation((session, object, wanted) =>
      read(session, object, wanted).map(({ type, value }) => ({
        type,
        value:
          type === pkcs11.CKA_EXTRACTABLE && Buffer.isBuffer(value)
            ? Buffer.from([value[0] === 1 ? 0 : 1])
            : value,
      })),
    );
    told.splice(0);
    try {
      await expect(verb()).rejects.toMatchObject({ code: 'token-unavailable' });
      expect(raw.find([])).toHaveLength(before);
      expect(told).toEqual([ALARM]);
    } finally {
      spy.mockRestore();
      raw.close();
    }
  }

  test('as an R from a reply, an L from its layer, a grant, and a key on its way out', async () => {
    const [operate, outgoing] = await depositFor(token, 'ec-p256', ['operate', 'release'], [alice]);
    if (operate === undefined || outgoing === undefined) throw new Error('nothing was deposited');
    const { recovery, replies } = await gatherReplies(token, operate, [alice]);
    const { recovery: other, replies: answers } = await gatherReplies(token, outgoing, [alice]);
    const [reply] = replies;
    const [member] = operate.members;
    if (reply === undefined || member === undefined) throw new Error('no reply');
    const verbs = [...OPENING, 'raiseGrant', 'unwrapForRelease', 'destroyTransport'] as const;
    await token.lend(verbs, async (lent) => {
      const share = opened(await lent.unwrapReply(recovery, reply));
      const link = opened(await lent.openUnder(share, member.link, AAD, 'server-for'));
      const wrapped = await openQuorum(lent, recovery, operate, replies);
      const released = await openQuorum(lent, other, outgoing, answers);
      const order = { wrapped, spec: 'ec-p256', use: 'sign', mechanisms: ['ES256'] } as const;
      // what is looked up while the device lies is known by now, as it is in a daemon at work
      opened(await lent.raiseGrant({ ...order, grant: newGrant() }));
      opened(await lent.unwrapForRelease({ wrapped: released, spec: 'ec-p256' }));
      await lyingDevice(() => lent.unwrapReply(recovery, reply));
      await lyingDevice(() => lent.unwrapLayer(member, link));
      await lyingDevice(() => lent.raiseGrant({ ...order, grant: newGrant() }));
      await lyingDevice(() => lent.unwrapForRelease({ wrapped: released, spec: 'ec-p256' }));
      await lent.destroyTransport(recovery);
      await lent.destroyTransport(other);
    });
  });
});

test('when the storage of the token is gone nothing is called refused, absent or done', async () => {
  const { recovery, replies } = await gatherReplies(token, kept, [alice]);
  const [reply] = replies;
  if (reply === undefined) throw new Error('no reply');
  await token.lend([...OPENING], (lent) => openQuorum(lent, recovery, kept, replies));
  await expect(token.check()).resolves.toBeUndefined();
  expect(await token.enrolled()).toHaveLength(1);
  renameSync(join(hsm.directory, 'tokens'), join(hsm.directory, 'away'));
  const unavailable = { code: 'token-unavailable' };
  await expect(token.check()).rejects.toMatchObject(unavailable);
  await expect(token.enrolled()).rejects.toMatchObject(unavailable);
  await expect(token.standing()).rejects.toMatchObject(unavailable);
  await token.lend(
    ['unwrapReply', 'destroyGrant', 'sign', 'wrapToDepositary', 'generateShareKey'],
    async (lent) => {
      await expect(lent.unwrapReply(recovery, sealed('transport', flipped(reply)))).rejects.toMatchObject(
        unavailable,
      );
      await expect(lent.destroyGrant(newGrant())).rejects.toMatchObject(unavailable);
      const signing = signOne(lent, newGrant(), 'ec-p256', 'ES256', Buffer.alloc(32));
      await expect(signing).rejects.toMatchObject(unavailable);
      const share = await lent.generateShareKey();
      await expect(lent.wrapToDepositary(share, keyOfNobody('nobody'))).rejects.toMatchObject(unavailable);
    },
  );
});

function flipped(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  const at = Math.floor(copy.length / 2);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}
