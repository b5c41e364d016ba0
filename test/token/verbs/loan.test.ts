import { createPublicKey, verify } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import pkcs11 from 'pkcs11js';
import type { TokenVerbs } from '../../../src/escrow/ports/token.js';
import type { Held } from '../../../src/escrow/records/sealing/sealed.js';
import type { OpenToken } from '../../../src/token/service/openToken.js';
import { deposit, keyOf, keyOfNobody, raiseGrant } from '../../support/escrowChain.js';
import type { RawToken } from '../../support/rawToken.js';
import { openRaw } from '../../support/rawToken.js';
import type { SoftHsm, TestDepositary } from '../../support/softhsm.js';
import { enrolledSoftHsm } from '../../support/softhsm.js';
import { LIMITS_MS } from '../../support/limits.js';
import { signOne } from '../../support/signOne.js';

jest.setTimeout(LIMITS_MS.token);

let hsm: SoftHsm;
let token: OpenToken;
let raw: RawToken;
let alice: TestDepositary;

beforeAll(async () => {
  const made = await enrolledSoftHsm('alice');
  hsm = made.hsm;
  [alice] = made.people;
  token = await hsm.open({ waitMs: 60_000 });
  raw = openRaw(hsm, 'as is');
});
afterAll(async () => {
  raw.close();
  await token.close();
  hsm.remove();
});

/** Objects in flight of every session of this process. */
const inFlight = (): number => raw.find([{ type: pkcs11.CKA_TOKEN, value: false }]).length;

test('what a loan made is destroyed when it ends', async () => {
  await token.lend(['generateUserKey', 'generateShareKey'], async (lent) => {
    await lent.generateUserKey('ec-p256');
    await lent.generateShareKey();
    expect(inFlight()).toBe(3);
  });
  expect(inFlight()).toBe(0);
});

test('what a loan made is destroyed when its use throws, also after the token has refused something', async () => {
  const failed = token.lend(['generateUserKey', 'generateShareKey', 'wrapToDepositary'], async (lent) => {
    await lent.generateUserKey('ec-p384');
    await lent.wrapToDepositary(await lent.generateShareKey(), keyOfNobody('nobody')).catch(() => undefined);
    throw new Error('by the use');
  });
  await expect(failed).rejects.toThrow('by the use');
  expect(inFlight()).toBe(0);
});

test('a verb that was not waited for still ends within its loan', async () => {
  const abandoned: Promise<unknown>[] = [];
  await token.lend(['generateUserKey'], async (lent) => {
    abandoned.push(lent.generateUserKey('rsa-2048'));
    await setImmediate();
  });
  expect(inFlight()).toBe(0);
  await expect(Promise.all(abandoned)).resolves.toHaveLength(1);
});

test('a loan lends exactly the verbs it was asked for, and no others at run time', async () => {
  await token.lend(['sign', 'attest'], (lent) => {
    expect(Object.keys(lent).sort()).toEqual(['attest', 'sign']);
    for (const verb of ['generateUserKey', 'unwrapReply', 'raiseGrant', 'destroyGrant']) {
      expect(Reflect.get(lent, verb)).toBeUndefined();
    }
    expect(Object.isFrozen(lent)).toBe(true);
    // @ts-expect-error decrypt is not lent
    expect(lent.decrypt).toBeUndefined();
    return Promise.resolve();
  });
});

test('a verb kept beyond its loan does nothing', async () => {
  const kept = await token.lend(['attest'], (lent) => Promise.resolve(lent));
  await expect(kept.attest(Buffer.from('later'))).rejects.toMatchObject({ code: 'internal' });
});

test('a key of one loan cannot be used in another, nor for another kind', async () => {
  const key = await token.lend(['generateShareKey'], (lent) => lent.generateShareKey());
  await token.lend(['generateShareKey', 'wrapToDepositary'], async (lent) => {
    await lent.generateShareKey();
    await expect(lent.wrapToDepositary(key, keyOf(alice))).rejects.toMatchObject({ code: 'internal' });
    const share = await lent.generateShareKey();
    const posing: Held<'transfer-key'> = { held: 'transfer-key', reference: share.reference };
    await expect(lent.wrapToDepositary(posing, keyOf(alice))).rejects.toMatchObject({
      code: 'internal',
    });
  });
});

test('thirty-two loans at once all work, and leave nothing', async () => {
  const kept = await deposit(token, 'rsa-2048', 'operate', [alice]);
  const grant = await raiseGrant(token, kept, 'sign', [alice]);
  const digest = Buffer.alloc(32, 1);
  const one = async (index: number): Promise<void> => {
    await deposit(token, index % 8 === 0 ? 'rsa-2048' : 'ec-p256', 'operate', [alice]);
    await token.lend(['sign'], (lent) => signOne(lent, grant, 'rsa-2048', 'PS256', digest));
    await token.enrolled();
    await token.lend(['attest'], (lent) => lent.attest(digest));
    await token.signCheckpoint(digest);
  };
  await Promise.all(Array.from({ length: 32 }, (_, index) => one(index)));
  expect(inFlight()).toBe(0);
  const transports = Array.from({ length: 3 }, () => raiseGrant(token, kept, 'sign', [alice]));
  await Promise.all([...transports, ...Array.from({ length: 16 }, (_, index) => one(index))]);
  expect(inFlight()).toBe(0);
});

test('verbs of one loan that are called at once run one after another', async () => {
  await token.lend(['generateUserKey', 'generateShareKey', 'attest'], async (lent) => {
    const calls: (() => Promise<unknown>)[] = [
      () => lent.generateUserKey('rsa-2048'),
      () => lent.generateShareKey(),
      () => lent.attest(Buffer.from('x')),
      () => lent.generateUserKey('ec-p521'),
    ];
    await Promise.all([...calls, ...calls].map((call) => call()));
  });
  expect(inFlight()).toBe(0);
});

test('who waits for a session longer than allowed is told that the token is busy', async () => {
  const small = { ...hsm.place.profile, sessions: 1 };
  const other = await hsm.open({ profile: small, waitMs: 50 });
  try {
    await other.lend(['generateShareKey'], async (lent) => {
      await lent.generateShareKey();
      const waiting = other.lend(['generateShareKey'], (second) => second.generateShareKey());
      await expect(waiting).rejects.toMatchObject({ code: 'token-unavailable' });
    });
    await other.lend(['generateShareKey'], (lent) => lent.generateShareKey());
  } finally {
    await other.close();
  }
});

test('the identity key attests, and the log key signs checkpoints', async () => {
  const input = Buffer.from('header.payload');
  const signature = await token.lend(['attest'], (lent) => lent.attest(input));
  const identity = createPublicKey({ key: Buffer.from(token.identityKey), format: 'der', type: 'spki' });
  expect(verify('sha256', input, { key: identity, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
  const log = createPublicKey({ key: Buffer.from(token.logKey.publicKey), format: 'der', type: 'spki' });
  expect(token.logKey.algorithm).toBe('Ed25519');
  expect(verify(null, input, log, await token.signCheckpoint(input))).toBe(true);
});

test('what somebody else destroyed is noticed: a grant signs no more, a depositary gets no more shares', async () => {
  const kept = await deposit(token, 'ec-p256', 'operate', [alice]);
  const grant = await raiseGrant(token, kept, 'sign', [alice]);
  const destroy = (label: string): void => {
    for (const object of raw.find([{ type: pkcs11.CKA_LABEL, value: label }])) {
      raw.driver.C_DestroyObject(raw.session, object);
    }
  };
  await token.lend(['sign', 'generateShareKey', 'wrapToDepositary'], async (lent) => {
    const digest = Buffer.alloc(32, 1);
    await signOne(lent, grant, 'ec-p256', 'ES256', digest);
    destroy(`grant:${grant}`);
    const signing = signOne(lent, grant, 'ec-p256', 'ES256', digest);
    await expect(signing).rejects.toMatchObject({ code: 'token-object-missing' });
    const share = await lent.generateShareKey();
    await lent.wrapToDepositary(share, keyOf(alice));
    destroy('depositary:alice');
    const wrapping = lent.wrapToDepositary(share, keyOf(alice));
    await expect(wrapping).rejects.toMatchObject({ code: 'depositary-not-enrolled' });
  });
  expect(await token.enrolled()).toEqual([]);
});

test('a failure inside a verb is an error of the closed set, with the reason kept inside', async () => {
  const name: keyof TokenVerbs = 'wrapUnderTransfer';
  const failed = token.lend(['generateTransferKey', 'generateUserKey', name], async (lent) => {
    const transfer = await lent.generateTransferKey('owner');
    const gone: Held<'user-key'> = { held: 'user-key', reference: -1 };
    return lent.wrapUnderTransfer(transfer, gone);
  });
  await expect(failed).rejects.toMatchObject({ name: 'EscrowError', code: 'internal' });
});
