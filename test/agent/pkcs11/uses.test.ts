import { createHash } from 'node:crypto';

import { CKG, CKM, CKR } from '../../../src/agent/pkcs11/numbers.js';
import type { Use } from '../../../src/agent/use.js';
import { codeOf, type Mechanism, oaep, plain, Program, pss, read, usesSince } from './program.js';
import { EC_KEY, madeUp, RSA_KEY, serve, type Served, SIGNATURE_BYTES } from './served.js';

/* Which use a call is, and which is none: what tools make of it is in tools.test.ts. */

let served: Served;
let outcome: (use: Use) => Promise<Buffer>;
let program: Program;

beforeAll(async () => {
  served = await serve((use) => outcome(use));
});
afterAll(() => served.stop());

beforeEach(async () => {
  outcome = (use) => Promise.resolve(madeUp(use));
  program = await Program.start(served);
});
afterEach(() => {
  program.end();
});

const digest = createHash('sha256').update('data').digest();
const sha1 = createHash('sha1').update('data').digest();
const sha384 = createHash('sha384').update('data').digest();
const info = (hash: Buffer): Buffer =>
  Buffer.concat([Buffer.from('3031300d060960864801650304020105000420', 'hex'), hash]);
const hex = (...parts: readonly Uint8Array[]): string => Buffer.concat(parts).toString('hex');

describe('what is signed is what a grant can name', () => {
  const data = Buffer.from('data');
  test.each([
    ['CKM_SHA256_RSA_PKCS', RSA_KEY, plain(CKM.SHA256_RSA_PKCS), data, `RS256 message ${hex(data)}`],
    ['CKM_RSA_PKCS', RSA_KEY, plain(CKM.RSA_PKCS), info(digest), `RS256 digest ${hex(digest)}`],
    [
      ...(['CKM_RSA_PKCS_PSS', RSA_KEY] as const),
      pss(CKM.RSA_PKCS_PSS, CKM.SHA384, CKG.MGF1_SHA384, 48),
      ...([sha384, `PS384 digest ${hex(sha384)}`] as const),
    ],
    [
      ...(['CKM_SHA256_RSA_PKCS_PSS', RSA_KEY] as const),
      pss(CKM.SHA256_RSA_PKCS_PSS, CKM.SHA256, CKG.MGF1_SHA256, 32),
      ...([data, `PS256 message ${hex(data)}`] as const),
    ],
    ['CKM_ECDSA', EC_KEY, plain(CKM.ECDSA), digest, `ES256 digest ${hex(digest)}`],
    [
      ...(['CKM_ECDSA of SHA-1', EC_KEY, plain(CKM.ECDSA), sha1] as const),
      `ES256 digest ${hex(Buffer.alloc(12), sha1)}`,
    ],
    [
      ...(['CKM_ECDSA of SHA-384', EC_KEY, plain(CKM.ECDSA), sha384] as const),
      `ES256 digest ${hex(sha384.subarray(0, 32))}`,
    ],
    ['CKM_ECDSA_SHA256', EC_KEY, plain(CKM.ECDSA_SHA256), data, `ES256 message ${hex(data)}`],
    [
      ...(['CKM_ECDSA_SHA384 on P-256', EC_KEY, plain(CKM.ECDSA_SHA384), data] as const),
      `ES256 digest ${hex(sha384.subarray(0, 32))}`,
    ],
  ])('%s', async (_name, key, mechanism, input, use) => {
    const before = served.uses.length;
    expect(codeOf(await program.init('sign', mechanism, key))).toBe(0);
    const signature = read(await program.signed(input));
    expect(usesSince(served, before)).toEqual([use]);
    expect(signature).toHaveLength(key === RSA_KEY ? SIGNATURE_BYTES.rsa : SIGNATURE_BYTES.ec);
    // the same in parts
    expect(codeOf(await program.init('sign', mechanism, key))).toBe(0);
    for (const byte of input) expect(codeOf(await program.update(Buffer.of(byte)))).toBe(0);
    expect(read(await program.final())).toEqual(signature);
    expect(usesSince(served, before)).toEqual([use, use]);
  });

  test('a message of more than 64 KiB goes as its digest', async () => {
    const before = served.uses.length;
    const long = Buffer.alloc(64 * 1024 + 1, 'x');
    await program.init('sign', plain(CKM.SHA256_RSA_PKCS), RSA_KEY);
    await program.signed(long);
    expect(usesSince(served, before)).toEqual([
      `RS256 digest ${hex(createHash('sha256').update(long).digest())}`,
    ]);
  });
});

describe('what no grant can name is refused before any use, and who runs the agent is told', () => {
  const bad = (name: string, key: number, mechanism: Mechanism, data: Buffer, code: number) =>
    [name, key, mechanism, data, code] as const;
  test.each([
    bad('raw RSA', RSA_KEY, plain(CKM.RSA_PKCS), digest, CKR.DATA_INVALID),
    bad('as many bytes as a DigestInfo', RSA_KEY, plain(CKM.RSA_PKCS), Buffer.alloc(51, 1), CKR.DATA_INVALID),
    bad(
      ...(['the DigestInfo of SHA-1', RSA_KEY, plain(CKM.RSA_PKCS)] as const),
      ...([
        Buffer.concat([Buffer.from('3021300906052b0e03021a05000414', 'hex'), sha1]),
        CKR.DATA_INVALID,
      ] as const),
    ),
    bad(
      ...(['a DigestInfo with more behind it', RSA_KEY, plain(CKM.RSA_PKCS)] as const),
      ...([Buffer.concat([info(digest), Buffer.of(0)]), CKR.DATA_INVALID] as const),
    ),
    bad('a short digest by ECDSA', EC_KEY, plain(CKM.ECDSA), Buffer.alloc(19), CKR.DATA_LEN_RANGE),
    bad('a long digest by ECDSA', EC_KEY, plain(CKM.ECDSA), Buffer.alloc(65), CKR.DATA_LEN_RANGE),
    bad(
      ...([
        'PSS of another digest',
        RSA_KEY,
        pss(CKM.RSA_PKCS_PSS, CKM.SHA256, CKG.MGF1_SHA256, 32),
      ] as const),
      ...([sha384, CKR.DATA_LEN_RANGE] as const),
    ),
  ])('%s', async (_name, key, mechanism, data, code) => {
    const before = served.uses.length;
    const toldBefore = served.told.length;
    expect(codeOf(await program.init('sign', mechanism, key))).toBe(0);
    expect(read(await program.signed(data))).toBe(code);
    expect(usesSince(served, before)).toEqual([]);
    expect(served.told.slice(toldBefore)).toMatchObject([{ event: 'refused', code: 'not-supported' }]);
    // the operation is over
    expect(read(await program.signed(data))).toBe(CKR.OPERATION_NOT_INITIALIZED);
  });

  test.each([
    ['a salt of 222 bytes', pss(CKM.RSA_PKCS_PSS, CKM.SHA256, CKG.MGF1_SHA256, 222)],
    ['another hash for the mask', pss(CKM.RSA_PKCS_PSS, CKM.SHA256, CKG.MGF1_SHA1, 32)],
    ['SHA-1', pss(CKM.RSA_PKCS_PSS, CKM.SHA_1, CKG.MGF1_SHA1, 20)],
    [
      'another hash than that of the mechanism',
      pss(CKM.SHA256_RSA_PKCS_PSS, CKM.SHA384, CKG.MGF1_SHA384, 48),
    ],
  ])('PSS with %s', async (_name, mechanism) => {
    const toldBefore = served.told.length;
    expect(codeOf(await program.init('sign', mechanism, RSA_KEY))).toBe(CKR.MECHANISM_PARAM_INVALID);
    expect(served.told.slice(toldBefore)).toMatchObject([{ event: 'refused' }]);
  });

  test.each([
    ['a label', oaep(CKM.SHA_1, CKG.MGF1_SHA1, Buffer.from('label'))],
    ['SHA-512', oaep(CKM.SHA512, CKG.MGF1_SHA512)],
    ['two hashes', oaep(CKM.SHA256, CKG.MGF1_SHA1)],
  ])('OAEP with %s', async (_name, mechanism) => {
    expect(codeOf(await program.init('decrypt', mechanism, RSA_KEY))).toBe(CKR.MECHANISM_PARAM_INVALID);
  });

  test('a mechanism that is not known is not read further', async () => {
    const unknown: Mechanism = (to) => to.uint32(0x1087).uint32(0xffff_fff0);
    expect(codeOf(await program.init('sign', unknown, RSA_KEY))).toBe(CKR.MECHANISM_INVALID);
    expect(codeOf(await program.init('decrypt', plain(CKM.RSA_PKCS), RSA_KEY))).toBe(CKR.MECHANISM_INVALID);
  });

  test('a key of another kind, and an object that is no private key', async () => {
    expect(codeOf(await program.init('sign', plain(CKM.ECDSA), RSA_KEY))).toBe(CKR.KEY_TYPE_INCONSISTENT);
    expect(codeOf(await program.init('sign', plain(CKM.RSA_PKCS), EC_KEY))).toBe(CKR.KEY_TYPE_INCONSISTENT);
    expect(codeOf(await program.init('decrypt', oaep(CKM.SHA_1, CKG.MGF1_SHA1), EC_KEY))).toBe(
      CKR.KEY_TYPE_INCONSISTENT,
    );
    expect(codeOf(await program.init('sign', plain(CKM.RSA_PKCS), RSA_KEY - 1))).toBe(
      CKR.KEY_FUNCTION_NOT_PERMITTED,
    );
    expect(codeOf(await program.init('sign', plain(CKM.RSA_PKCS), 99))).toBe(CKR.KEY_HANDLE_INVALID);
  });
});

describe('lengths are answered without the key', () => {
  test('of a signature, and the operation goes on', async () => {
    const before = served.uses.length;
    await program.init('sign', plain(CKM.ECDSA), EC_KEY);
    expect(read(await program.signed(digest, 0))).toEqual({ length: 64 });
    expect(read(await program.signed(digest, 63))).toEqual({ length: 64 });
    expect(read(await program.final(0))).toEqual({ length: 64 });
    expect(usesSince(served, before)).toEqual([]);
    expect(read(await program.signed(digest, 64))).toHaveLength(64);
    expect(usesSince(served, before)).toEqual([`ES256 digest ${hex(digest)}`]);
  });

  test('of a plaintext, as the modulus; where there is too little room it is decrypted once', async () => {
    outcome = () => Promise.resolve(Buffer.from('plaintext'));
    const before = served.uses.length;
    const ciphertext = Buffer.alloc(256, 9);
    await program.init('decrypt', oaep(CKM.SHA_1, CKG.MGF1_SHA1), RSA_KEY);
    expect(read(await program.decrypted(ciphertext, 0))).toEqual({ length: 256 });
    expect(usesSince(served, before)).toEqual([]);
    expect(read(await program.decrypted(ciphertext, 4))).toEqual({ length: 9 });
    expect(read(await program.decrypted(ciphertext, 9))).toEqual(Buffer.from('plaintext'));
    expect(usesSince(served, before)).toEqual([`RSA-OAEP ciphertext ${hex(ciphertext)}`]);
    expect(read(await program.decrypted(ciphertext, 9))).toBe(CKR.OPERATION_NOT_INITIALIZED);
  });

  test('a ciphertext of another length than the modulus is not sent', async () => {
    const before = served.uses.length;
    await program.init('decrypt', oaep(CKM.SHA256, CKG.MGF1_SHA256), RSA_KEY);
    expect(read(await program.decrypted(Buffer.alloc(255)))).toBe(CKR.ENCRYPTED_DATA_LEN_RANGE);
    expect(usesSince(served, before)).toEqual([]);
  });
});

describe('what is under way in a session', () => {
  test('is not ended by C_Sign when it was begun in parts', async () => {
    const before = served.uses.length;
    await program.init('sign', plain(CKM.SHA256_RSA_PKCS), RSA_KEY);
    await program.update(Buffer.from('one'));
    expect(read(await program.signed(Buffer.from('two')))).toBe(CKR.OPERATION_ACTIVE);
    expect(read(await program.final())).toHaveLength(SIGNATURE_BYTES.rsa);
    expect(usesSince(served, before)).toEqual([`RS256 message ${hex(Buffer.from('one'))}`]);
  });

  test('is all there is, also when one of two uses is over', async () => {
    let decrypted = (): void => undefined;
    outcome = (use) =>
      use.mechanism === 'RSA-OAEP'
        ? new Promise((resolve) => (decrypted = () => resolve(Buffer.from('plain'))))
        : Promise.resolve(madeUp(use));
    await program.init('sign', plain(CKM.SHA256_RSA_PKCS), RSA_KEY);
    await program.init('decrypt', oaep(CKM.SHA_1, CKG.MGF1_SHA1), RSA_KEY);
    const plaintext = program.decrypted(Buffer.alloc(256, 1));
    expect(read(await program.signed(Buffer.from('x')))).toHaveLength(SIGNATURE_BYTES.rsa);
    const again = await program.init('decrypt', oaep(CKM.SHA_1, CKG.MGF1_SHA1), RSA_KEY);
    expect(codeOf(again)).toBe(CKR.OPERATION_ACTIVE);
    decrypted();
    expect(read(await plaintext)).toEqual(Buffer.from('plain'));
  });
});
