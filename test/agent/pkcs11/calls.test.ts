import { createHash } from 'node:crypto';

import { CKA, CKG, CKM, CKO, CKR } from '../../../src/agent/pkcs11/numbers.js';
import type { MessageWriter } from '../../../src/agent/pkcs11/messageWriter.js';
import type { Use } from '../../../src/agent/use.js';
import { until } from '../../support/waiting.js';
import { callBody, GET_INFO, INITIALIZE, OPEN_SESSION, type RpcAnswer, RpcClient } from './rpcClient.js';
import { EC_KEY, madeUp, refused, RSA_KEY, serve, type Served, SIGNATURE_BYTES } from './served.js';

/* What programs are answered, call by call. Whether the tools that people have understand it: tools.test.ts. */

let served: Served;
let outcome: (use: Use) => Promise<Buffer>;
let client: RpcClient;
let session: number;

beforeAll(async () => {
  served = await serve((use) => outcome(use));
});
afterAll(() => served.stop());

beforeEach(async () => {
  outcome = (use) => Promise.resolve(madeUp(use));
  client = await RpcClient.connect(served.path);
  session = await client.session();
});
afterEach(() => {
  client.socket.destroy();
});

type Mechanism = (to: MessageWriter) => unknown;
const plain =
  (type: number): Mechanism =>
  (to) =>
    to.uint32(type).bytesOrNull(undefined);
const pss =
  (type: number, hash: number, mgf: number, saltBytes: number): Mechanism =>
  (to) =>
    to.uint32(type).ulong(hash).ulong(mgf).ulong(saltBytes);
const oaep =
  (hash: number, mgf: number, source = 1, label?: Buffer): Mechanism =>
  (to) =>
    to.uint32(CKM.RSA_PKCS_OAEP).ulong(hash).ulong(mgf).ulong(source).bytesOrNull(label);

function init(number: 33 | 42, mechanism: Mechanism, key: number, of = session): Promise<RpcAnswer> {
  const body = callBody(number, 'uMu', (to) => {
    to.ulong(of);
    mechanism(to);
    to.ulong(key);
  });
  return client.call(body);
}

const inParts = (number: 34 | 43, data: Buffer, room: number, of = session): Promise<RpcAnswer> =>
  client.call(callBody(number, 'uayfy', (to) => to.ulong(of).byteArray(data).uint32(room)));
const signed = (data: Buffer, room = 512, of = session): Promise<RpcAnswer> => inParts(43, data, room, of);
const decrypted = (data: Buffer, room = 512): Promise<RpcAnswer> => inParts(34, data, room);
const update = (data: Buffer): Promise<RpcAnswer> =>
  client.call(callBody(44, 'uay', (to) => to.ulong(session).byteArray(data)));
const final = (room = 512): Promise<RpcAnswer> =>
  client.call(callBody(45, 'ufy', (to) => to.ulong(session).uint32(room)));

/** The bytes of an answer; their length alone; or the return value that is not CKR_OK. */
function read(answer: RpcAnswer): Buffer | { readonly length: number } | number {
  if ('code' in answer) return answer.code;
  const { results } = answer;
  return results.byte() === 1 ? (results.bytesOrNull() ?? Buffer.alloc(0)) : { length: results.uint32() };
}
const codeOf = (answer: RpcAnswer): number => ('code' in answer ? answer.code : 0);
const usesSince = (before: number): readonly string[] =>
  served.uses
    .slice(before)
    .map(({ mechanism, input }) => `${mechanism} ${input.kind} ${Buffer.from(input.bytes).toString('hex')}`);

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
    expect(codeOf(await init(42, mechanism, key))).toBe(0);
    const signature = read(await signed(input));
    expect(usesSince(before)).toEqual([use]);
    expect(signature).toHaveLength(key === RSA_KEY ? SIGNATURE_BYTES.rsa : SIGNATURE_BYTES.ec);
    // the same in parts
    expect(codeOf(await init(42, mechanism, key))).toBe(0);
    for (const byte of input) expect(codeOf(await update(Buffer.of(byte)))).toBe(0);
    expect(read(await final())).toEqual(signature);
    expect(usesSince(before)).toEqual([use, use]);
  });

  test('a message of more than 64 KiB goes as its digest', async () => {
    const before = served.uses.length;
    const long = Buffer.alloc(64 * 1024 + 1, 'x');
    await init(42, plain(CKM.SHA256_RSA_PKCS), RSA_KEY);
    await signed(long);
    expect(usesSince(before)).toEqual([`RS256 digest ${hex(createHash('sha256').update(long).digest())}`]);
  });
});

describe('what no grant can name is refused before any use, and who runs the agent is told', () => {
  const bad = (name: string, key: number, mechanism: Mechanism, data: Buffer, code: number) =>
    [name, key, mechanism, data, code] as const;
  test.each([
    bad('raw RSA', RSA_KEY, plain(CKM.RSA_PKCS), digest, CKR.DATA_INVALID),
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
    expect(codeOf(await init(42, mechanism, key))).toBe(0);
    expect(read(await signed(data))).toBe(code);
    expect(usesSince(before)).toEqual([]);
    expect(served.told.slice(toldBefore)).toMatchObject([{ event: 'refused', code: 'not-supported' }]);
    // the operation is over
    expect(read(await signed(data))).toBe(CKR.OPERATION_NOT_INITIALIZED);
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
    expect(codeOf(await init(42, mechanism, RSA_KEY))).toBe(CKR.MECHANISM_PARAM_INVALID);
    expect(served.told.slice(toldBefore)).toMatchObject([{ event: 'refused' }]);
  });

  test.each([
    ['a label', oaep(CKM.SHA_1, CKG.MGF1_SHA1, 1, Buffer.from('label'))],
    ['SHA-512', oaep(CKM.SHA512, CKG.MGF1_SHA512)],
    ['two hashes', oaep(CKM.SHA256, CKG.MGF1_SHA1)],
  ])('OAEP with %s', async (_name, mechanism) => {
    expect(codeOf(await init(33, mechanism, RSA_KEY))).toBe(CKR.MECHANISM_PARAM_INVALID);
  });

  test('a mechanism that is not known is not read further', async () => {
    const unknown: Mechanism = (to) => to.uint32(0x1087).uint32(0xffff_fff0);
    expect(codeOf(await init(42, unknown, RSA_KEY))).toBe(CKR.MECHANISM_INVALID);
    expect(codeOf(await init(33, plain(CKM.RSA_PKCS), RSA_KEY))).toBe(CKR.MECHANISM_INVALID);
  });

  test('a key of another kind, and an object that is no private key', async () => {
    expect(codeOf(await init(42, plain(CKM.ECDSA), RSA_KEY))).toBe(CKR.KEY_TYPE_INCONSISTENT);
    expect(codeOf(await init(42, plain(CKM.RSA_PKCS), EC_KEY))).toBe(CKR.KEY_TYPE_INCONSISTENT);
    expect(codeOf(await init(33, oaep(CKM.SHA_1, CKG.MGF1_SHA1), EC_KEY))).toBe(CKR.KEY_TYPE_INCONSISTENT);
    expect(codeOf(await init(42, plain(CKM.RSA_PKCS), RSA_KEY - 1))).toBe(CKR.KEY_FUNCTION_NOT_PERMITTED);
    expect(codeOf(await init(42, plain(CKM.RSA_PKCS), 99))).toBe(CKR.KEY_HANDLE_INVALID);
  });
});

describe('lengths are answered without the key', () => {
  test('of a signature, and the operation goes on', async () => {
    const before = served.uses.length;
    await init(42, plain(CKM.ECDSA), EC_KEY);
    expect(read(await signed(digest, 0))).toEqual({ length: 64 });
    expect(read(await signed(digest, 63))).toEqual({ length: 64 });
    expect(read(await final(0))).toEqual({ length: 64 });
    expect(usesSince(before)).toEqual([]);
    expect(read(await signed(digest, 64))).toHaveLength(64);
    expect(usesSince(before)).toEqual([`ES256 digest ${hex(digest)}`]);
  });

  test('of a plaintext, as the modulus; where there is too little room it is decrypted once', async () => {
    outcome = () => Promise.resolve(Buffer.from('plaintext'));
    const before = served.uses.length;
    const ciphertext = Buffer.alloc(256, 9);
    await init(33, oaep(CKM.SHA_1, CKG.MGF1_SHA1), RSA_KEY);
    expect(read(await decrypted(ciphertext, 0))).toEqual({ length: 256 });
    expect(usesSince(before)).toEqual([]);
    expect(read(await decrypted(ciphertext, 4))).toEqual({ length: 9 });
    expect(read(await decrypted(ciphertext, 9))).toEqual(Buffer.from('plaintext'));
    expect(usesSince(before)).toEqual([`RSA-OAEP ciphertext ${hex(ciphertext)}`]);
    expect(read(await decrypted(ciphertext, 9))).toBe(CKR.OPERATION_NOT_INITIALIZED);
  });

  test('a ciphertext of another length than the modulus is not sent', async () => {
    const before = served.uses.length;
    await init(33, oaep(CKM.SHA256, CKG.MGF1_SHA256), RSA_KEY);
    expect(read(await decrypted(Buffer.alloc(255)))).toBe(CKR.ENCRYPTED_DATA_LEN_RANGE);
    expect(usesSince(before)).toEqual([]);
  });
});

test('a refusal is CKR_FUNCTION_CANCELED, and the operation is over', async () => {
  outcome = refused;
  await init(42, plain(CKM.ECDSA), EC_KEY);
  expect(read(await signed(digest))).toBe(CKR.FUNCTION_CANCELED);
  expect(read(await signed(digest))).toBe(CKR.OPERATION_NOT_INITIALIZED);
});

test('a fault of the agent is a general error, of which who runs it is told', async () => {
  outcome = () => Promise.reject(new Error('a fault'));
  const toldBefore = served.told.length;
  await init(42, plain(CKM.ECDSA), EC_KEY);
  expect(read(await signed(digest))).toBe(CKR.GENERAL_ERROR);
  expect(served.told.slice(toldBefore)).toMatchObject([{ code: 'agent-failed' }]);
});

/** Uses that end when the test says so. */
function held(): { readonly ends: (() => void)[]; readonly aborted: () => number } {
  const ends: (() => void)[] = [];
  let aborted = 0;
  outcome = (use) =>
    new Promise((resolve) => {
      use.gone.addEventListener('abort', () => (aborted += 1));
      ends.push(() => {
        resolve(madeUp(use));
      });
    });
  return { ends, aborted: () => aborted };
}

test('calls of one connection are under way at the same time, and answered as they end', async () => {
  const { ends } = held();
  const sessions = await Promise.all(
    Array.from({ length: 8 }, async () => (await client.results(OPEN_SESSION)).ulong()),
  );
  const order: number[] = [];
  for (const [at, one] of sessions.entries()) {
    await init(42, plain(CKM.ECDSA), EC_KEY, one);
    void signed(Buffer.alloc(32, at), 64, one).then(() => order.push(at));
  }
  await until(() => ends.length === 8);
  await client.results(GET_INFO);
  for (const at of [5, 0, 7, 3]) {
    ends[at]?.();
    await until(() => order.includes(at));
  }
  expect(order).toEqual([5, 0, 7, 3]);
  for (const end of ends) end();
  await until(() => order.length === 8);
});

test('a use under way is the only one of its session', async () => {
  const { ends } = held();
  await init(42, plain(CKM.ECDSA), EC_KEY);
  const answer = signed(digest);
  await until(() => ends.length === 1);
  expect(codeOf(await init(42, plain(CKM.ECDSA), EC_KEY))).toBe(CKR.OPERATION_ACTIVE);
  expect(codeOf(await init(33, oaep(CKM.SHA_1, CKG.MGF1_SHA1), RSA_KEY))).toBe(CKR.OPERATION_ACTIVE);
  expect(read(await signed(digest))).toBe(CKR.OPERATION_NOT_INITIALIZED);
  ends[0]?.();
  expect(read(await answer)).toHaveLength(64);
});

test.each([
  ['its program dies', () => Promise.resolve(client.socket.destroy())],
  ['its session is closed', () => client.results(callBody(11, 'u', (to) => to.ulong(session)))],
  ['all sessions are closed', () => client.results(callBody(12, 'u', (to) => to.ulong(1)))],
  ['the program ends', () => client.results(callBody(2, '', () => undefined))],
])('a use is aborted when %s', async (_name, end) => {
  const { ends, aborted } = held();
  await init(42, plain(CKM.ECDSA), EC_KEY);
  const answer = signed(digest).catch(() => undefined);
  await until(() => ends.length === 1);
  expect(aborted()).toBe(0);
  await end();
  await until(() => aborted() === 1);
  ends[0]?.();
  await answer;
});

test('a program has 128 sessions', async () => {
  for (let open = 1; open < 128; open += 1) await client.results(OPEN_SESSION);
  expect(codeOf(await client.call(OPEN_SESSION))).toBe(CKR.SESSION_COUNT);
});

test('objects are found by what a template wants, and tell what they have', async () => {
  const find = async (...template: readonly (readonly [number, (to: MessageWriter) => unknown])[]) => {
    await client.results(
      callBody(26, 'uaA', (to) => {
        to.ulong(session).uint32(template.length);
        for (const [type, value] of template) {
          to.uint32(type).byte(1).uint32(8);
          value(to);
        }
      }),
    );
    const found = await client.results(callBody(27, 'ufu', (to) => to.ulong(session).uint32(9)));
    await client.results(callBody(28, 'u', (to) => to.ulong(session)));
    expect(found.byte()).toBe(1);
    return Array.from({ length: found.uint32() }, () => found.ulong());
  };
  expect(await find()).toEqual([1, 2, 3, 4]);
  expect(await find([CKA.CLASS, (to) => to.ulong(CKO.PRIVATE_KEY)])).toEqual([RSA_KEY, EC_KEY]);
  expect(await find([CKA.LABEL, (to) => to.bytesOrNull(Buffer.from('ec'))])).toEqual([3, 4]);
  expect(await find([CKA.SIGN, (to) => to.byte(1)], [CKA.DECRYPT, (to) => to.byte(1)])).toEqual([RSA_KEY]);
  expect(await find([0x8000_0001, (to) => to.bytesOrNull(Buffer.of(1))])).toEqual([]);

  const asked = [CKA.LABEL, CKA.PRIVATE_EXPONENT];
  const told = await client.results(
    callBody(24, 'uufA', (to) => {
      to.ulong(session).ulong(RSA_KEY).uint32(asked.length);
      for (const type of asked) to.uint32(type).uint32(64);
    }),
  );
  expect([told.uint32(), told.uint32(), told.byte(), told.uint32()]).toEqual([2, CKA.LABEL, 1, 3]);
  expect(told.bytesOrNull()?.toString()).toBe('rsa');
  expect([told.uint32(), told.byte(), told.ulong()]).toEqual([
    CKA.PRIVATE_EXPONENT,
    0,
    CKR.ATTRIBUTE_SENSITIVE,
  ]);
});

test('what is not there is not supported, and nothing is there before C_Initialize', async () => {
  const other = await RpcClient.connect(served.path);
  expect(codeOf(await other.call(GET_INFO))).toBe(CKR.CRYPTOKI_NOT_INITIALIZED);
  await other.results(INITIALIZE);
  expect(codeOf(await other.call(INITIALIZE))).toBe(CKR.CRYPTOKI_ALREADY_INITIALIZED);
  for (const number of [9, 20, 29, 35, 37, 46, 58, 61, 62, 66, 67, 4_000_000_000])
    expect(codeOf(await other.call(callBody(number, 'anything', () => undefined)))).toBe(
      CKR.FUNCTION_NOT_SUPPORTED,
    );
  await expect(other.call(callBody(3, 'u', (to) => to.ulong(0)))).rejects.toThrow('closed');
});
