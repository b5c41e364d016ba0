import { join } from 'node:path';
import type { GrantId } from '../../../src/escrow/records/ids.js';
import type { KeySpec } from '../../../src/escrow/records/keySpecs.js';
import type { SignMechanism } from '../../../src/escrow/records/mechanisms.js';
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

interface Signing {
  readonly grant: GrantId;
  readonly spec: KeySpec;
  readonly kept: TestDeposit;
}

async function granted(spec: KeySpec): Promise<Signing> {
  const kept = await deposit(token, spec, 'operate', [alice]);
  return { grant: await raiseGrant(token, kept, 'sign', [alice]), spec, kept };
}

/** Signs all messages; `made` has those that were made, whatever came of it. */
async function signAll(
  { grant, spec }: Signing,
  mechanism: SignMechanism,
  made: Uint8Array[] = [],
): Promise<readonly Uint8Array[]> {
  const data = messages.map((message) => signable(mechanism, message));
  await token.lend(['sign'], (lent) =>
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
  const running = signAll(signing, 'RS256', made);
  await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(signing.grant));
  await expect(running).rejects.toMatchObject({ code: 'token-object-missing' });
  expect(made.length).toBeLessThan(messages.length);
  expect(good(signing, 'RS256', made)).toBe(made.length);
  const others = await granted('ec-p256');
  expect(good(others, 'ES256', await signAll(others, 'ES256'))).toBe(messages.length);
});

test('a thread that ends is told, and another takes its place', async () => {
  const start = signingThreads(
    programOf(join(process.cwd(), 'test', 'token', 'cryptoki', 'endingThread.ts')),
    1,
  );
  const threads = start('no module');
  const order = { session: Buffer.alloc(8), key: Buffer.alloc(8), mechanism: { mechanism: 1 }, bytes: 64 };
  for (let time = 0; time < 2; time += 1) {
    const signing = threads.sign({ ...order, inputs: messages }, () => undefined);
    await expect(signing).rejects.toThrow(SigningThreadEnded);
  }
  await threads.close();
});

test('byte strings come out of a row as they went in', () => {
  const items = [0, 1, 64, 0, 7].map((length) => random.bytes(length));
  expect(unpacked(packed(items)).map((item) => Buffer.from(item))).toEqual(
    items.map((item) => Buffer.from(item)),
  );
  expect(unpacked(packed([]))).toEqual([]);
});
