import { createHash, createPublicKey } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { OpenToken } from '../../../src/token/service/openToken.js';
import { Mechanisms } from '../../../src/token/profile/mechanisms.js';
import { fingerprint, rsaNumbers } from '../../../src/token/cryptoki/spki.js';
import { trustedTemplate } from '../../../src/token/profile/ceremonyTemplates.js';
import { principal } from '../../support/escrowChain.js';
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

const shareTo = (token: OpenToken, id: string) =>
  token.lend(['generateShareKey', 'wrapToDepositary'], async (lent) =>
    lent.wrapToDepositary(await lent.generateShareKey(), principal(id)),
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
      const share = await shareTo(token, 'alice');
      expect(privateDecrypt({ key: alice.privateKey, ...how }, share)).toHaveLength(32);
      expect(() => privateDecrypt({ key: rogue.privateKey, ...how }, share)).toThrow();
    }
  });
  remove(rogue, 'user');
});

test('nobody but an enrolled depositary gets a share', async () => {
  await withToken(async (token) => {
    await expect(shareTo(token, 'carol')).rejects.toMatchObject({ code: 'depositary-not-enrolled' });
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
      await expect(shareTo(token, 'bob')).rejects.toMatchObject({ code: 'token-unavailable' });
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
      await expect(shareTo(token, 'dan')).rejects.toMatchObject({ code: 'token-unavailable' });
    });
  } finally {
    takeBack();
  }
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
