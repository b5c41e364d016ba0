import { createPrivateKey, createPublicKey, constants, publicEncrypt } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { answerChallenge } from '../../../src/client/depositary/challenge.js';
import { Identity } from '../../../src/client/identity/identity.js';
import { createIdentity, pinServer } from '../../../src/client/identity/newIdentity.js';
import { parsePublicPart } from '../../../src/client/identity/publicPart.js';
import { parseCeremonyRecord } from '../../../src/client/serverPins.js';
import { checkAnswer, makeChallenge } from '../../../src/token/ceremony/challenge.js';
import { testKey } from '../../log/noteKeys.js';
import { FakeServer, ORIGIN } from '../fakeServer.js';
import { hexOf } from '../scene.js';
import { freshBytes } from '../../support/fresh.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.pairs);

let root: string;
let directory: string;
const server = new FakeServer();
const record = JSON.stringify(server.record);
const pins = { server: 'https://escrow.example.com:8443', ...parseCeremonyRecord(record) };
const plain = { depositary: false, deliveryKey: false };

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'escrowctl-'));
  directory = join(root, 'dana');
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

const mode = (name: string): number => statSync(join(directory, name)).mode & 0o777;

describe('a new identity', () => {
  test('keeps its private keys to itself, and hands out only public ones', async () => {
    const part = await createIdentity(directory, { id: 'dana', depositary: true, deliveryKey: true });
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const name of ['signing-key.pem', 'depositary-key.pem', 'delivery-key.pem', 'identity.json']) {
      expect([name, mode(name)]).toEqual([name, 0o600]);
    }
    expect(parsePublicPart(readFileSync(join(directory, 'public.json'), 'utf8'))).toEqual(part);
    expect(part.keys[0]).toEqual(expect.objectContaining({ kty: 'EC', crv: 'P-256', alg: 'ES256' }));
    expect(JSON.stringify(part)).not.toContain('PRIVATE');
    expect(part.keys[0]).not.toHaveProperty('d');
    const key = createPrivateKey(readFileSync(join(directory, 'depositary-key.pem')));
    expect(key.asymmetricKeyDetails?.modulusLength).toBe(3072);
    const spki = createPublicKey(key).export({ format: 'pem', type: 'spki' });
    expect(readFileSync(join(directory, 'depositary-public.pem'), 'utf8')).toBe(spki);
  });

  test('never overwrites anything', async () => {
    await createIdentity(directory, { id: 'dana', ...plain });
    const before = readFileSync(join(directory, 'signing-key.pem'), 'utf8');
    await expect(createIdentity(directory, { id: 'dana', ...plain })).rejects.toMatchObject({
      code: 'identity-exists',
    });
    expect(readFileSync(join(directory, 'signing-key.pem'), 'utf8')).toBe(before);
  });

  test('has an id that the directory can hold', async () => {
    await expect(createIdentity(directory, { id: 'Dana D.', ...plain })).rejects.toMatchObject({
      code: 'identity-malformed',
    });
    expect(existsSync(directory)).toBe(false);
  });
});

describe('an identity', () => {
  test('does not use a private key that others can read', async () => {
    await createIdentity(directory, { id: 'dana', ...plain });
    chmodSync(join(directory, 'signing-key.pem'), 0o644);
    await expect(Identity.open(directory)).rejects.toMatchObject({ code: 'key-exposed' });
  });

  test('has no server until one is pinned', async () => {
    await createIdentity(directory, { id: 'dana', ...plain });
    const identity = await Identity.open(directory);
    expect(identity.isPinned).toBe(false);
    await expect(identity.connect({ deadlineMs: 1000, now: () => new Date() })).rejects.toMatchObject({
      code: 'server-not-pinned',
    });
  });

  test('moves to another address of the same server, and never to other keys', async () => {
    await createIdentity(directory, { id: 'dana', ...plain });
    await pinServer(directory, pins, server.ca);
    await pinServer(directory, { ...pins, server: 'https://other.example.com' }, server.ca);
    expect((await Identity.open(directory)).pins.server).toBe('https://other.example.com');
    for (const other of [
      { ...pins, logKey: testKey(ORIGIN).vkey },
      { ...pins, ...parseCeremonyRecord(JSON.stringify(new FakeServer().record)) },
      { ...pins, origin: 'elsewhere', logKey: testKey('elsewhere').vkey },
    ]) {
      await expect(pinServer(directory, other, server.ca)).rejects.toMatchObject({
        code: 'server-already-pinned',
      });
    }
  });

  test('takes only https without a path for an address', async () => {
    await createIdentity(directory, { id: 'dana', ...plain });
    const addresses = ['http://x.example', 'https://x.example/api', 'https://u:p@x.example', 'x.example'];
    for (const address of addresses) {
      await expect(pinServer(directory, { ...pins, server: address }, server.ca)).rejects.toThrow(
        address.startsWith('http:') ? 'the server speaks https, and nothing else' : 'it is no address',
      );
    }
  });

  test('refuses to forget: a damaged memory is not an empty one', async () => {
    await createIdentity(directory, { id: 'dana', ...plain });
    writeFileSync(join(directory, 'state.json'), '{"checkpoint":');
    const identity = await Identity.open(directory);
    await expect(identity.memory.last()).rejects.toMatchObject({ code: 'identity-malformed' });
  });
});

describe("the ceremony's record", () => {
  test('gives the same pins with the log key as a verifier key or as a JWK', () => {
    const key = createPublicKey({ key: Buffer.from(server.log.key.spkiDer), format: 'der', type: 'spki' });
    const jwk = { ...key.export({ format: 'jwk' }), alg: 'EdDSA', use: 'sig', kid: 'x' };
    const withJwk = JSON.stringify({ identityKey: server.record.identityKey, logKey: jwk });
    expect(parseCeremonyRecord(withJwk, ORIGIN)).toEqual(parseCeremonyRecord(record));
  });

  test.each([
    ['has no origin and none is given', { ...server.record, origin: undefined }, undefined],
    ['is for another origin than the one given', server.record, 'elsewhere'],
    ['has a log key for another origin', { ...server.record, origin: 'elsewhere' }, undefined],
    ['has no identity key', { ...server.record, identityKey: undefined }, undefined],
    ['has a log key that is none', { ...server.record, logKey: 'nonsense' }, undefined],
    [
      'has an identity key of another kind',
      { ...server.record, identityKey: { kty: 'OKP', crv: 'Ed25519', x: 'A' } },
      undefined,
    ],
  ])('is refused when it %s', (_name, content, origin) => {
    expect(() => parseCeremonyRecord(JSON.stringify(content), origin)).toThrow(
      // eslint-disable-next-line @typescript-eslint/no-unsafe-argument -- what jest's types give
      expect.objectContaining({ code: 'record-malformed' }),
    );
  });
});

describe("the ceremony's challenge", () => {
  test('is answered so that the ceremony accepts it', async () => {
    await createIdentity(directory, { id: 'dana', depositary: true, deliveryKey: false });
    const pem = readFileSync(join(directory, 'depositary-public.pem'), 'utf8');
    const challenge = makeChallenge('dana', pem, freshBytes(32));
    const key = await (await Identity.open(directory)).depositaryOpener();
    const answer = await answerChallenge(challenge, 'dana', key);
    expect(checkAnswer('dana', JSON.stringify(challenge), JSON.stringify(answer)).id).toBe('dana');
  });

  test('opens nothing but a challenge: a share sent as one is refused', async () => {
    await createIdentity(directory, { id: 'dana', depositary: true, deliveryKey: false });
    const pem = readFileSync(join(directory, 'depositary-public.pem'), 'utf8');
    const challenge = makeChallenge('dana', pem, freshBytes(32));
    const key = await (await Identity.open(directory)).depositaryOpener();
    const secret = freshBytes(32);
    for (const [oaepHash, nonceHash] of [
      ['sha1', hexOf(secret)],
      ['sha256', '00'.repeat(32)],
    ] as const) {
      const padding = constants.RSA_PKCS1_OAEP_PADDING;
      const ciphertext = publicEncrypt({ key: pem, padding, oaepHash }, secret).toString('base64');
      await expect(answerChallenge({ ...challenge, ciphertext, nonceHash }, 'dana', key)).rejects.toThrow(
        /does not open/,
      );
    }
    await expect(answerChallenge(challenge, 'dave', key)).rejects.toThrow(/for dana/);
  });
});
