import { join } from 'node:path';
import type { Mechanism } from 'pkcs11js';
import type { GrantId } from '../../../src/escrow/records/ids.js';
import type { GeneratedSpec } from '../../../src/escrow/records/keySpecs.js';
import type { SignMechanism } from '../../../src/escrow/records/mechanisms.js';
import { oldestCallMs } from '../../../src/token/cryptoki/attributes.js';
import { importSpki } from '../../../src/token/service/findLongLived.js';
import {
  packed,
  SigningThreadEnded,
  signingThreads,
  unpacked,
} from '../../../src/token/cryptoki/signingThreads.js';
import { signable, verifies } from '../../../src/token/selfTest/verifying.js';
import type { TokenGeneration } from '../../../src/token/service/openToken.js';
import { chance } from '../../support/chance.js';
import { deposit, raiseGrant, type TestDeposit } from '../../support/escrowChain.js';
import { LIMITS_MS } from '../../support/limits.js';
import { programOf } from '../../support/runTs.js';
import type { SoftHsm, TestDepositary } from '../../support/softhsm.js';
import { enrolledSoftHsm } from '../../support/softhsm.js';
import { letPass, until } from '../../support/waiting.js';

jest.setTimeout(LIMITS_MS.token);

const PROGRAM = programOf(join(process.cwd(), 'src', 'token', 'cryptoki', 'signingThread.ts'));
const random = chance('messages of a batch');
const messages = Array.from({ length: 100 }, () => random.bytes(40));

let hsm: SoftHsm;
let token: TokenGeneration;
let alice: TestDepositary;

beforeAll(async () => {
  const made = await enrolledSoftHsm('alice');
  hsm = made.hsm;
  [alice] = made.people;
  token = await hsm.open({ startSigning: signingThreads(PROGRAM, 2) });
});
afterAll(async () => {
  await token.close();
  hsm.remove();
});

/** What threads are told that have no token. */
const ORDER = { session: Buffer.alloc(8), key: Buffer.alloc(8), mechanism: { mechanism: 1 }, bytes: 64 };

const atLeast = (ms: number): boolean => oldestCallMs() >= ms;
const lessThan = (ms: number): boolean => oldestCallMs() < ms;

/** The program of a thread beside this file. */
const threadOf = (file: string): string => programOf(join(process.cwd(), 'test', 'token', 'cryptoki', file));

interface Signing {
  readonly grant: GrantId;
  readonly spec: GeneratedSpec;
  readonly kept: TestDeposit;
}

async function granted(spec: GeneratedSpec): Promise<Signing> {
  const kept = await deposit(token, spec, 'operate', [alice]);
  return { grant: await raiseGrant(token, kept, 'sign', [alice]), spec, kept };
}

/** Signs all messages; `made` has those that were made, whatever came of it. */
async function signAll(
  { grant, spec }: Signing,
  mechanism: SignMechanism,
  made: Uint8Array[] = [],
  by = token,
): Promise<readonly Uint8Array[]> {
  const data = messages.map((message) => signable(mechanism, message));
  await by.lend(['sign'], (lent) =>
    lent.sign(grant, spec, mechanism, data, (signature) => made.push(signature)),
  );
  return made;
}

/** How many of these are, one after another, signatures of the first messages. */
function good({ kept }: Signing, mechanism: SignMechanism, signatures: readonly Uint8Array[]): number {
  const key = importSpki(Buffer.from(kept.publicKey ?? []));
  return signatures.filter((signature, at) =>
    verifies(key, mechanism, messages[at] ?? Buffer.alloc(0), signature),
  ).length;
}

test.each([
  ['ec-p256', 'ES256'],
  ['ec-p521', 'ES512'],
  ['rsa-2048', 'RS256'],
  ['rsa-2048', 'PS256'],
] as const)('a batch by a key of %s, by %s, is signed in order', async (spec, mechanism) => {
  const signing = await granted(spec);
  expect(good(signing, mechanism, await signAll(signing, mechanism))).toBe(messages.length);
});

test('batches of several keys at once are each their own, and this thread is free meanwhile', async () => {
  const all = await Promise.all([granted('ec-p256'), granted('ec-p256'), granted('ec-p384')]);
  const asked = all.map(
    (signing) => ({ signing, by: signing.spec === 'ec-p384' ? 'ES384' : 'ES256' }) as const,
  );
  const before = performance.eventLoopUtilization();
  const signed = await Promise.all(asked.map(({ signing, by }) => signAll(signing, by)));
  // the signatures take far longer than what is done here for them
  expect(performance.eventLoopUtilization(before).utilization).toBeLessThan(0.5);
  expect(asked.map(({ signing, by }, at) => good(signing, by, signed[at] ?? []))).toEqual([100, 100, 100]);
});

test('a grant that goes in the middle of a batch ends it: what was made before is told, and no more is made', async () => {
  const signing = await granted('rsa-2048');
  const made: Uint8Array[] = [];
  // some 700 ms of signatures
  const data = Array.from({ length: 10 }, () => messages.map((message) => signable('RS256', message))).flat();
  const running = token.lend(['sign'], (lent) =>
    lent.sign(signing.grant, signing.spec, 'RS256', data, (signature) => made.push(signature)),
  );
  await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(signing.grant));
  await expect(running).rejects.toMatchObject({ code: 'token-object-missing' });
  expect(made.length).toBeLessThan(data.length);
  const ofFirst = made.slice(0, messages.length);
  expect(good(signing, 'RS256', ofFirst)).toBe(ofFirst.length);
  const others = await granted('ec-p256');
  expect(good(others, 'ES256', await signAll(others, 'ES256'))).toBe(messages.length);
});

test('a thread that ends is told, and another takes its place', async () => {
  const threads = signingThreads(threadOf('endingThread.ts'), 1)('no module');
  for (let time = 0; time < 2; time += 1) {
    const signing = threads.sign({ ...ORDER, inputs: messages }, () => undefined);
    await expect(signing).rejects.toThrow(SigningThreadEnded);
  }
  await threads.close();
});

test('a long batch is no call that hangs: it is as old as the call that its thread is at', async () => {
  const signing = await granted('rsa-2048');
  let isSeen = false;
  // each time by a new thread, which takes its time to begin
  for (let left = 20; left > 0 && !isSeen; left -= 1) {
    const start = signingThreads(PROGRAM, 1);
    const opened = await hsm.open({ startSigning: start });
    const made: Uint8Array[] = [];
    const under = { way: true };
    const signed = signAll(signing, 'RS256', made, opened).finally(() => (under.way = false));
    let before = 0;
    while (under.way && made.length === 0) {
      const now = oldestCallMs();
      isSeen ||= now < before;
      before = now;
      await letPass(1);
    }
    await signed;
    await opened.close();
  }
  expect(isSeen).toBe(true);
});

test('a thread that signs on and on does not hang, and one that signs nothing does', async () => {
  for (const [turns, isAsItIs] of [
    [1_000_000, [atLeast, lessThan, atLeast, lessThan]],
    [0, [atLeast, (ms: number) => atLeast(20 * ms)]],
  ] as const) {
    const threads = signingThreads(threadOf('silentThread.ts'), 1)('no module');
    const signing = threads.sign({ ...ORDER, bytes: turns, inputs: messages }, () => undefined);
    const ended = expect(signing).rejects.toThrow(SigningThreadEnded);
    try {
      for (const isSo of isAsItIs) await until(() => isSo(100));
    } finally {
      await threads.close();
    }
    await ended;
    expect(oldestCallMs()).toBe(0);
  }
});

test('an order that cannot be sent takes nobody else’s answer', async () => {
  const threads = signingThreads(threadOf('answeringThread.ts'), 1)('no module');
  const mechanism = { mechanism: 1, parameter: () => undefined } as unknown as Mechanism;
  const wrong = threads.sign({ ...ORDER, mechanism, inputs: [] }, () => undefined);
  await expect(wrong).rejects.toThrow('could not be cloned');
  const made: Uint8Array[] = [];
  await threads.sign({ ...ORDER, inputs: [Buffer.from('right')] }, (signature) => made.push(signature));
  expect(made.map((signature) => Buffer.from(signature).toString())).toEqual(['right']);
  await threads.close();
});

test('a batch of which fewer are signed than were asked for is a fault, and no answer', async () => {
  const signing = await granted('ec-p256');
  const opened = await hsm.open({
    startSigning: () => ({
      sign: (_order, made) => {
        made(Buffer.alloc(64));
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    }),
  });
  try {
    const made: Uint8Array[] = [];
    await expect(signAll(signing, 'ES256', made, opened)).rejects.toMatchObject({ code: 'internal' });
    expect(made).toHaveLength(1);
  } finally {
    await opened.close();
  }
});

test('byte strings come out of a row as they went in', () => {
  const items = [0, 1, 64, 0, 7].map((length) => random.bytes(length));
  expect(unpacked(packed(items)).map((item) => Buffer.from(item))).toEqual(
    items.map((item) => Buffer.from(item)),
  );
  expect(unpacked(packed([]))).toEqual([]);
});
