import { CKA, CKG, CKM, CKO, CKR } from '../../../src/agent/pkcs11/numbers.js';
import type { MessageWriter } from '../../../src/agent/pkcs11/messageWriter.js';
import type { Use } from '../../../src/agent/use.js';
import { until } from '../../support/waiting.js';
import { codeOf, oaep, plain, Program, read } from './program.js';
import { callBody, GET_INFO, INITIALIZE, OPEN_SESSION, RpcClient } from './rpcClient.js';
import { EC_KEY, madeUp, refused, RSA_KEY, serve, type Served } from './served.js';

/* How calls are answered: refusals, many at once, programs that end, objects. */

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

const digest = Buffer.alloc(32, 5);

test('a refusal is CKR_FUNCTION_CANCELED, and the operation is over', async () => {
  outcome = refused;
  await program.init('sign', plain(CKM.ECDSA), EC_KEY);
  expect(read(await program.signed(digest))).toBe(CKR.FUNCTION_CANCELED);
  expect(read(await program.signed(digest))).toBe(CKR.OPERATION_NOT_INITIALIZED);
});

test('a fault of the agent is a general error, of which who runs it is told', async () => {
  outcome = () => Promise.reject(new Error('a fault'));
  const toldBefore = served.told.length;
  await program.init('sign', plain(CKM.ECDSA), EC_KEY);
  expect(read(await program.signed(digest))).toBe(CKR.GENERAL_ERROR);
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
    Array.from({ length: 8 }, async () => (await program.client.results(OPEN_SESSION)).ulong()),
  );
  const order: number[] = [];
  for (const [at, one] of sessions.entries()) {
    await program.init('sign', plain(CKM.ECDSA), EC_KEY, one);
    void program.signed(Buffer.alloc(32, at), 64, one).then(() => order.push(at));
  }
  await until(() => ends.length === 8);
  await program.client.results(GET_INFO);
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
  await program.init('sign', plain(CKM.ECDSA), EC_KEY);
  const answer = program.signed(digest);
  await until(() => ends.length === 1);
  expect(codeOf(await program.init('sign', plain(CKM.ECDSA), EC_KEY))).toBe(CKR.OPERATION_ACTIVE);
  expect(codeOf(await program.init('decrypt', oaep(CKM.SHA_1, CKG.MGF1_SHA1), RSA_KEY))).toBe(
    CKR.OPERATION_ACTIVE,
  );
  expect(read(await program.signed(digest))).toBe(CKR.OPERATION_NOT_INITIALIZED);
  ends[0]?.();
  expect(read(await answer)).toHaveLength(64);
});

test.each([
  ['its program dies', () => Promise.resolve(program.client.socket.destroy())],
  [
    'its session is closed',
    () => program.client.results(callBody(11, 'u', (to) => to.ulong(program.session))),
  ],
  ['all sessions are closed', () => program.client.results(callBody(12, 'u', (to) => to.ulong(1)))],
  ['the program ends', () => program.client.results(callBody(2, '', () => undefined))],
])('a use is aborted when %s', async (_name, end) => {
  const { ends, aborted } = held();
  await program.init('sign', plain(CKM.ECDSA), EC_KEY);
  const answer = program.signed(digest).catch(() => undefined);
  await until(() => ends.length === 1);
  expect(aborted()).toBe(0);
  await end();
  await until(() => aborted() === 1);
  ends[0]?.();
  await answer;
});

test('a program has 128 sessions', async () => {
  for (let open = 1; open < 128; open += 1) await program.client.results(OPEN_SESSION);
  expect(codeOf(await program.client.call(OPEN_SESSION))).toBe(CKR.SESSION_COUNT);
});

test('objects are found by what a template wants, and tell what they have', async () => {
  const find = async (...template: readonly (readonly [number, (to: MessageWriter) => unknown])[]) => {
    await program.client.results(
      callBody(26, 'uaA', (to) => {
        to.ulong(program.session).uint32(template.length);
        for (const [type, value] of template) {
          to.uint32(type).byte(1).uint32(8);
          value(to);
        }
      }),
    );
    const found = await program.client.results(
      callBody(27, 'ufu', (to) => to.ulong(program.session).uint32(9)),
    );
    await program.client.results(callBody(28, 'u', (to) => to.ulong(program.session)));
    expect(found.byte()).toBe(1);
    return Array.from({ length: found.uint32() }, () => found.ulong());
  };
  expect(await find()).toEqual([1, 2, 3, 4]);
  expect(await find([CKA.CLASS, (to) => to.ulong(CKO.PRIVATE_KEY)])).toEqual([RSA_KEY, EC_KEY]);
  expect(await find([CKA.LABEL, (to) => to.bytesOrNull(Buffer.from('ec'))])).toEqual([3, 4]);
  expect(await find([CKA.SIGN, (to) => to.byte(1)], [CKA.DECRYPT, (to) => to.byte(1)])).toEqual([RSA_KEY]);
  expect(await find([0x8000_0001, (to) => to.bytesOrNull(Buffer.of(1))])).toEqual([]);

  const asked = [CKA.LABEL, CKA.PRIVATE_EXPONENT];
  const told = await program.client.results(
    callBody(24, 'uufA', (to) => {
      to.ulong(program.session).ulong(RSA_KEY).uint32(asked.length);
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
