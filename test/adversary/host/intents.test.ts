import { generateKeyPairSync } from 'node:crypto';

import { approve, believeRecovery, intend } from '../../../src/client/depositary/depositary.js';
import { NotBelieved, NotYet } from '../../../src/client/errors.js';
import type { DueRecovery } from '../../../src/client/depositary/dueRecovery.ts';
import { believeDue } from '../../../src/client/depositary/intents.js';
import { parseJws } from '../../../src/jose/jws.js';
import { LogView } from '../../../src/client/log/logView.js';
import type { Signer } from '../../../src/client/identity/signingKey.js';
import { signerOf } from '../../../src/client/identity/signingKey.js';
import type { DepositReply, RecoveryReply, SignedIntentReply } from '../../../src/api/replies.js';
import type { RequiredWitnesses } from '../../../src/client/log/witnessPins.js';
import { FakeServer, ORIGIN } from '../../client/fakeServer.js';
import { TestMemory, rememberedGenerations, rememberedKeys } from '../../client/memory.js';
import type { Lies } from '../../client/scene.js';
import { depositaryPair, NOW, show } from '../../client/scene.js';
import { softwareKey } from '../../../src/client/identity/decryptionKey.js';
import { testWitness } from '../../log/witnessKeys.js';
import { INTENT_TYPE } from '../../../src/escrow/records/statementTypes.js';

/*
 * A host against depositaries whose secrets are to leave after a delay of an hour: it has the identity key and the log's key,
 * and shows what it likes. Dana's client is asked; dave is the other of the quorum.
 */
const HOUR_MS = 3_600_000;
const newSigner = (id: string): Signer =>
  signerOf(id, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
const dana = newSigner('dana');
const dave = newSigner('dave');
const thief = newSigner('dave');
const later = (ms: number): Date => new Date(NOW.getTime() + ms);
const DEPOSIT = { delayMs: HOUR_MS, replies: 'afterDelay' } as const;

let server: FakeServer;
let memory: TestMemory;
beforeEach(() => {
  server = new FakeServer();
  memory = new TestMemory();
});

function logView(witnesses?: RequiredWitnesses, cosigned?: string): LogView {
  return new LogView({
    origin: ORIGIN,
    logKey: server.log.key.vkey,
    memory,
    consistency: async (oldSize, newSize) =>
      (await server.log.consistency(oldSize, newSize)).map((hash) => Buffer.from(hash, 'base64')),
    witnesses,
    witnessed: () => Promise.resolve(cosigned),
    patience: { totalMs: 0, retryMs: 1 },
  });
}

function trustAt(now: Date, log = logView()): Parameters<typeof believeRecovery>[1] {
  const identityKey = server.identity.publicKey.export({ format: 'jwk' }) as Record<string, string>;
  return {
    origin: ORIGIN,
    identityKey,
    depositary: 'dana',
    log,
    now,
    generations: rememberedGenerations(),
    approvedKeys: rememberedKeys(),
  };
}

/** The request as it is shown, with these intents; `repliesFrom` as a host says it who is in a hurry. */
async function shown(intents: readonly SignedIntentReply[], lies: Lies = {}): Promise<RecoveryReply> {
  const honest = await show(server, { made: DEPOSIT, ...lies });
  return {
    ...honest,
    replies: 'afterDelay',
    intendedBy: intents.map(({ depositary }) => depositary),
    repliesFrom: NOW.toISOString(),
    forDepositary: { ...honest.forDepositary, intents } as never,
  };
}

const publicMembers = ({ publicJwk }: Signer): Readonly<Record<string, string>> => publicJwk;

/** An honest intent, signed then. */
async function intent(by: Signer, at: Date = NOW): Promise<SignedIntentReply> {
  const believed = await believeRecovery(await shown([]), trustAt(NOW));
  const made = await intend(believed, by, softwareKey(depositaryPair.privateKey), at);
  return { depositary: by.id, key: publicMembers(by), ...made };
}

/** The intent with other claims, signed by this key. */
async function changed(
  of: SignedIntentReply,
  by: Signer,
  claims: object,
  typ = INTENT_TYPE,
): Promise<SignedIntentReply> {
  const payload = parseJws(of.statement)?.payload ?? {};
  return { ...of, key: publicMembers(by), statement: await by.sign(typ, { ...payload, ...claims }) };
}

function withDeposit(recovery: RecoveryReply, deposit: Partial<DepositReply>): RecoveryReply {
  const shares = recovery.forDepositary?.shares.map((share) => ({
    ...share,
    deposit: { ...share.deposit, ...deposit },
  }));
  return { ...recovery, forDepositary: { ...recovery.forDepositary, shares } } as RecoveryReply;
}

/** How many replies leave dana's client at that time, and why none does. */
async function replies(recovery: RecoveryReply, now: Date, log?: LogView): Promise<string> {
  const trust = trustAt(now, log ?? logView());
  try {
    const due = await believeDue(await believeRecovery(recovery, trust), dana, trust);
    const made = await approve(due, dana, softwareKey(depositaryPair.privateKey), now);
    return `${made.replies.length} sent`;
  } catch (error) {
    if (error instanceof NotBelieved || error instanceof NotYet) return error.code;
    throw error;
  }
}

/** The same of a client that believes whatever it is shown to be due. */
async function withoutTheCheck(recovery: RecoveryReply, now: Date): Promise<string> {
  const believed = await believeRecovery(recovery, trustAt(now));
  const made = await approve(believed as DueRecovery, dana, softwareKey(depositaryPair.privateKey), now);
  return `${made.replies.length} sent`;
}

test('an intent has no reply in it, and dana’s reply leaves when an hour has passed since the later of both', async () => {
  const both = [await intent(dana, later(60_000)), await intent(dave, later(120_000))];
  for (const { statement } of both)
    expect(Object.keys(parseJws(statement)?.payload ?? {})).not.toContain('replies');
  const recovery = await shown(both);
  expect(await replies(recovery, later(HOUR_MS + 119_000))).toBe('delay-running');
  expect(await replies(recovery, later(HOUR_MS + 120_000))).toBe('1 sent');
});

test('a share that could not be passed on is found at the intent', async () => {
  const recovery = await shown([], { deposit: { delay: 'PT2H' } });
  const believed = await believeRecovery(recovery, trustAt(NOW));
  await expect(intend(believed, dana, softwareKey(depositaryPair.privateKey), NOW)).rejects.toMatchObject({
    code: 'share-mismatch',
  });
});

describe('no reply leaves', () => {
  const at = later(HOUR_MS + 600_000);
  const own = (): Promise<SignedIntentReply> => intent(dana);

  test.each<[string, string, () => Promise<readonly SignedIntentReply[]>]>([
    ['nobody’s intent', 'intents-incomplete', async () => Promise.resolve([])],
    ['dana’s intent alone', 'intents-incomplete', async () => [await own()]],
    ['dave’s intent alone', 'intents-incomplete', async () => [await intent(dave)]],
    [
      'a later intent of dave',
      'delay-running',
      async () => [await own(), await intent(dave, later(660_000))],
    ],
    [
      'a later intent of dana',
      'delay-running',
      async () => [await intent(dana, later(660_000)), await intent(dave)],
    ],
    [
      'dave’s with an earlier time, not signed anew',
      'intent-invalid',
      async () => {
        const late = await intent(dave, later(HOUR_MS));
        const early = await changed(late, thief, { iat: NOW.getTime() / 1000 });
        return [await own(), { ...early, key: late.key }];
      },
    ],
    [
      'dana’s own, made by the host with an earlier time',
      'intent-invalid',
      async () => [
        await changed(await intent(dana, later(HOUR_MS)), thief, { iat: NOW.getTime() / 1000 }),
        await intent(dave),
      ],
    ],
    [
      'one that is older than the request',
      'intent-invalid',
      async () => [await own(), await changed(await intent(dave), dave, { iat: NOW.getTime() / 1000 - 61 })],
    ],
    [
      'one that has expired',
      'intents-incomplete',
      async () => [await own(), await changed(await intent(dave), dave, { exp: at.getTime() / 1000 })],
    ],
    [
      'dana’s own as dave’s as well',
      'intent-invalid',
      async () => [
        await own(),
        { ...(await changed(await own(), dana, { iss: 'dave' })), depositary: 'dave' },
      ],
    ],
    ['dave’s twice', 'intent-invalid', async () => [await own(), await intent(dave), await intent(dave)]],
    ...Object.entries({
      iss: 'erin',
      aud: 'elsewhere/log',
      decision: 'approve',
      recovery: `rec_${'9'.repeat(32)}`,
      requestHash: '00'.repeat(32),
      keys: [],
      purpose: 'release',
      scope: {},
      transport: '00'.repeat(32),
      more: true,
      iat: 'now',
      exp: undefined,
      checkpoint: undefined,
    }).map(([member, value]): [string, string, () => Promise<readonly SignedIntentReply[]>] => [
      `one with another ${member}`,
      'intent-invalid',
      async () => [await own(), await changed(await intent(dave), dave, { [member]: value })],
    ]),
    [
      'an approval in its place',
      'intent-invalid',
      async () => [await own(), await changed(await intent(dave), dave, {}, 'escrowd-approval+jwt')],
    ],
  ])('by %s', async (_what, code, intents) => {
    const recovery = await shown(await intents());
    expect(await replies(recovery, at)).toBe(code);
    // the control: what stands in the way is this check
    expect(await withoutTheCheck(recovery, at)).toBe('1 sent');
  });

  test.each<[string, (recovery: RecoveryReply) => RecoveryReply]>([
    ['a shorter delay is shown', (recovery) => withDeposit(recovery, { delay: 'PT1S' })],
    [
      'it is shown as a deposit with replies at once',
      (recovery) =>
        withDeposit({ ...recovery, replies: undefined } as never, { replies: undefined } as never),
    ],
    [
      'a smaller quorum is shown',
      (recovery) => ({ ...recovery, keys: recovery.keys.map((key) => ({ ...key, quorums: [['dana']] })) }),
    ],
  ])('where %s', async (_what, lie) => {
    const recovery = await shown([await own(), await intent(dave)]);
    expect(await replies(recovery, at)).toBe('1 sent');
    expect(await replies(lie(recovery), at)).toBe('share-mismatch');
  });

  test('before the server takes them', async () => {
    const recovery = await shown([await own(), await intent(dave)]);
    expect(await replies({ ...recovery, repliesFrom: later(2 * HOUR_MS).toISOString() }, at)).toBe(
      'delay-running',
    );
    const { repliesFrom, ...silent } = recovery;
    expect(repliesFrom).toBeDefined();
    expect(await replies(silent, at)).toBe('intents-incomplete');
  });

  test('under a log that the witnesses have not cosigned within the hour', async () => {
    const recovery = await shown([await own(), await intent(dave)]);
    const witness = testWitness('w1.example');
    const pins = { keys: [witness.key], require: 1 };
    const cosigned = (time: Date): LogView =>
      logView(pins, witness.cosign(server.log.checkpoint(), time.getTime() / 1000));
    expect(await replies(recovery, at, cosigned(later(600_000 - 1000)))).toBe('witnesses-missing');
    expect(await replies(recovery, at, cosigned(later(600_000)))).toBe('1 sent');
  });
});
