import { createHash, createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import type { DepositaryKey } from '../../../src/escrow/ports/token.js';
import type { OpenToken } from '../../../src/token/service/openToken.js';
import { withWorkbench } from '../../../src/token/service/openToken.js';
import { Mechanisms } from '../../../src/token/profile/mechanisms.js';
import { fingerprint, rsaNumbers } from '../../../src/token/cryptoki/spki.js';
import { trustedTemplate } from '../../../src/token/profile/ceremonyTemplates.js';
import { keyOf, keyOfNobody, principal } from '../../support/escrowChain.js';
import { runTs } from '../../support/runTs.js';
import type { OfficersOrder } from './officer.js';
import { openRaw } from '../../support/rawToken.js';
import type { SoftHsm, TestDepositary } from '../../support/softhsm.js';
import { enrolledSoftHsm, makeDepositary } from '../../support/softhsm.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

let hsm: SoftHsm;
let alice: TestDepositary;
let messages: string[];

beforeAll(async () => {
  const made = await enrolledSoftHsm('alice', 'bob');
  hsm = made.hsm;
  [alice] = made.people;
});
afterAll(() => {
  hsm.remove();
});

async function withToken<T>(use: (token: OpenToken) => Promise<T>): Promise<T> {
  messages = [];
  const token = await hsm.open({ log: (_level, message) => messages.push(message) });
  try {
    return await use(token);
  } finally {
    await token.close();
  }
}

const shareTo = (token: OpenToken, to: DepositaryKey) =>
  token.lend(['generateShareKey', 'wrapToDepositary'], async (lent) =>
    lent.wrapToDepositary(await lent.generateShareKey(), to),
  );

test('the enrolled are listed with the fingerprint of their public key', async () => {
  const enrolled = await withToken((token) => token.enrolled());
  expect(enrolled.map(({ id }) => id)).toEqual(['alice', 'bob']);
  const spki = createPublicKey(alice.publicKeyPem).export({ type: 'spki', format: 'der' });
  expect(Buffer.from(enrolled[0]?.publicKey ?? [])).toEqual(spki);
  expect(enrolled[0]?.fingerprint).toBe(createHash('sha256').update(spki).digest('hex'));
});

test('a rogue copy under the same label is neither listed nor wrapped to', async () => {
  const rogue = makeDepositary('alice');
  const raw = openRaw(hsm, 'user');
  const [before] = labelled(raw, 'depositary:alice');
  raw.driver.C_CreateObject(raw.session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_RSA },
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_PRIVATE, value: false },
    { type: pkcs11.CKA_LABEL, value: 'depositary:alice' },
    { type: pkcs11.CKA_WRAP, value: true },
    ...numbersOf(rogue),
  ]);
  expect(labelled(raw, 'depositary:alice')).toHaveLength(2);
  expect(before).toBeDefined();
  raw.close();
  await withToken(async (token) => {
    expect((await token.enrolled()).map(({ id }) => id)).toEqual(['alice', 'bob']);
    const { privateDecrypt, constants } = await import('node:crypto');
    const how = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };
    for (let round = 0; round < 10; round += 1) {
      const share = await shareTo(token, keyOf(alice));
      expect(privateDecrypt({ key: alice.privateKey, ...how }, share)).toHaveLength(32);
      expect(() => privateDecrypt({ key: rogue.privateKey, ...how }, share)).toThrow();
    }
  });
  remove(rogue, 'user');
});

test('nobody but an enrolled depositary gets a share', async () => {
  await withToken(async (token) => {
    await expect(shareTo(token, keyOfNobody('carol'))).rejects.toMatchObject({
      code: 'depositary-not-enrolled',
    });
    const layer = token.lend(['generateLayerKey', 'wrapToServerFor'], async (lent) =>
      lent.wrapToServerFor(await lent.generateLayerKey(), principal('carol')),
    );
    await expect(layer).rejects.toMatchObject({ code: 'depositary-not-enrolled' });
  });
});

test('two trusted keys of one name are an error, and that depositary is left out and reported', async () => {
  const takeBack = makeTrusted('depositary:bob', makeDepositary('bob'));
  try {
    await withToken(async (token) => {
      await expect(shareTo(token, keyOfNobody('bob'))).rejects.toMatchObject({ code: 'token-unavailable' });
      expect((await token.enrolled()).map(({ id }) => id)).toEqual(['alice']);
      expect(messages).toContain('a depositary is left out: not enrolled exactly once');
    });
  } finally {
    takeBack();
  }
});

test('a trusted key without the pair of the server is not enrolled', async () => {
  const takeBack = makeTrusted('depositary:half', makeDepositary('half'));
  try {
    await withToken(async (token) => {
      expect((await token.enrolled()).map(({ id }) => id)).toEqual(['alice', 'bob']);
    });
  } finally {
    takeBack();
  }
});

test('a trusted key whose CKA_ID is not its fingerprint is an error', async () => {
  const takeBack = makeTrusted('depositary:dan', makeDepositary('dan'), Buffer.alloc(32, 9));
  try {
    await withToken(async (token) => {
      await expect(shareTo(token, keyOfNobody('dan'))).rejects.toMatchObject({ code: 'token-unavailable' });
    });
  } finally {
    takeBack();
  }
});

/** Another process of the security officer's, beside the token that is open here. */
async function officer(order: Omit<OfficersOrder, 'token'>): Promise<void> {
  const { place, userPin, soPin } = hsm;
  const whole: OfficersOrder = { token: { place, userPin, soPin }, ...order };
  const program = join(process.cwd(), 'test', 'token', 'objects', 'officer.ts');
  const child = runTs(program, { args: [JSON.stringify(whole)] });
  const [code] = (await once(child, 'exit')) as [number | null];
  expect(code).toBe(0);
}

test('whoever the security officer enrols, removes or gives another key while the token is open is seen at the next look', async () => {
  const other = makeDepositary('bob');
  const label = 'depositary:bob';
  await withToken(async (token) => {
    const look = async (): Promise<readonly (readonly [string, string])[]> =>
      (await token.enrolled()).map(({ id, fingerprint: print }) => [id, print]);
    const both = await look();
    expect(both.map(([id]) => id)).toEqual(['alice', 'bob']);
    const { publicKey } = (await token.enrolled())[1] ?? { publicKey: Buffer.alloc(0) };
    await officer({ label });
    expect(await look()).toEqual(both.slice(0, 1));
    await officer({ label, publicKey: other.publicKeyPem });
    const [alices, bobs] = await look();
    expect([alices, bobs?.[0]]).toEqual([both[0], 'bob']);
    expect(bobs?.[1]).not.toBe(both[1]?.[1]);
    const pem = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
    await officer({ label, publicKey: pem.export({ type: 'spki', format: 'pem' }).toString() });
    expect(await look()).toEqual(both.slice(0, 1));
    await officer({ label });
    await officer({ label, publicKey: pem.export({ type: 'spki', format: 'pem' }).toString() });
    expect(await look()).toEqual(both);
  });
});

test('nothing is wrapped to another key that somebody has by now than the one that was asked for', async () => {
  const other = makeDepositary('bob');
  const label = 'depositary:bob';
  await withToken(async (token) => {
    const bob = (await token.enrolled()).find(({ id }) => id === 'bob');
    if (bob === undefined) throw new Error('bob is not enrolled');
    await shareTo(token, bob);
    await officer({ label });
    await officer({ label, publicKey: other.publicKeyPem });
    await expect(shareTo(token, bob)).rejects.toMatchObject({ code: 'depositary-not-enrolled' });
    await shareTo(token, keyOf(other));
    expect((await token.enrolled()).map((one) => one.fingerprint)).toContain(keyOf(other).fingerprint);
    await officer({ label });
    const pem = createPublicKey({ key: Buffer.from(bob.publicKey), format: 'der', type: 'spki' });
    await officer({ label, publicKey: pem.export({ type: 'spki', format: 'pem' }).toString() });
    await shareTo(token, bob);
  });
});

test('what is found again is not read again: a second look asks for little of what the first one does', async () => {
  await withToken(async (token) => {
    const driver = await withWorkbench(token, (parts) => Promise.resolve(parts.driver));
    const reads = jest.spyOn(driver, 'C_GetAttributeValue');
    const probes = jest.spyOn(driver, 'C_SignInit');
    const asked = (): readonly number[] => [reads, probes].map((spy) => spy.mock.calls.splice(0).length);
    const first = await token.enrolled();
    const [readFirst = 0, probedFirst] = asked();
    expect(probedFirst).toBe(1);
    expect(await token.enrolled()).toEqual(first);
    const [readAgain = Infinity, probedAgain] = asked();
    expect(readAgain).toBeLessThan(readFirst / 3);
    expect(probedAgain).toBe(0);
    jest.restoreAllMocks();
  });
});

type Raw = ReturnType<typeof openRaw>;

function labelled(raw: Raw, label: string) {
  return raw.find([
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
    { type: pkcs11.CKA_LABEL, value: label },
  ]);
}

function numbersOf(person: TestDepositary) {
  const numbers = rsaNumbers(createPublicKey(person.publicKeyPem));
  if (numbers === undefined) throw new Error('not RSA');
  return [
    { type: pkcs11.CKA_MODULUS, value: numbers.modulus },
    { type: pkcs11.CKA_PUBLIC_EXPONENT, value: numbers.exponent },
  ];
}

/** As a security officer who errs. Returns how to take it back. */
function makeTrusted(label: string, person: TestDepositary, wrongId?: Buffer): () => void {
  const key = createPublicKey(person.publicKeyPem);
  const numbers = rsaNumbers(key);
  if (numbers === undefined) throw new Error('not RSA');
  const id = wrongId ?? fingerprint(key.export({ type: 'spki', format: 'der' }));
  const oaep = new Mechanisms(hsm.place.profile).number('rsaOaep');
  const raw = openRaw(hsm, 'security officer');
  raw.driver.C_CreateObject(raw.session, trustedTemplate(label, { ...numbers, id }, oaep));
  raw.close();
  return () => {
    remove(person, 'security officer');
  };
}

function remove(person: TestDepositary, as: 'user' | 'security officer'): void {
  const raw = openRaw(hsm, as);
  for (const object of raw.find(numbersOf(person))) raw.driver.C_DestroyObject(raw.session, object);
  raw.close();
}
