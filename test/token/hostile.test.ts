import { createHash, generateKeyPairSync, publicEncrypt } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import type { GrantId, RecoveryId } from '../../src/escrow/records/ids.js';
import type { TokenVerbs } from '../../src/escrow/ports/token.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import type { OpenToken } from '../../src/token/service/openToken.js';
import { importSpki } from '../../src/token/service/findLongLived.js';
import { verifies } from '../../src/token/selfTest/verifying.js';
import type { TestDeposit } from '../support/escrowChain.js';
import {
  AAD,
  deposit,
  gatherReplies,
  keyOf,
  keyOfNobody,
  newGrant,
  newRecovery,
  nodeOaep,
  opened,
  OPENING,
  principal,
  raiseGrant,
} from '../support/escrowChain.js';
import type { Chance } from '../support/chance.js';
import { chance } from '../support/chance.js';
import { makeNss } from '../support/nss.js';
import { openRaw } from '../support/rawToken.js';
import { makeSoftHsm } from '../support/softhsm.js';
import type { TestDepositary, TestToken } from '../support/testToken.js';
import { signOne } from '../support/signOne.js';

const VERBS = [
  ...OPENING,
  'raiseGrant',
  'unwrapForRelease',
  'sign',
  'decrypt',
  'attest',
  'generateShareKey',
  'generateTransferKey',
  'sealUnder',
  'wrapToDepositary',
  'wrapToOwner',
] as const;
type Lent = Pick<TokenVerbs, (typeof VERBS)[number]>;

/** What a caller may be told of bad input. Never that the token does not work, nor anything unknown. */
const ANSWERS: ReadonlySet<string> = new Set([
  'refused',
  'request-malformed',
  'request-too-large',
  'operation-not-granted',
  'mechanism-unsupported',
  'token-object-missing',
  'depositary-not-enrolled',
]);

const MESSAGE = Buffer.from('the message');
const DIGEST = createHash('sha256').update(MESSAGE).digest();

/** Each kind at least once, and as many again by chance; `npm run hostile` tries 10,000. */
const INPUTS = Number(process.env['ESCROWD_TEST_HOSTILE_INPUTS'] ?? '1000');

// every input is one call of a token, and some make keys
jest.setTimeout(600_000);

describe.each([
  { name: 'SoftHSM 2.6', make: () => makeSoftHsm('hostile'), inputs: INPUTS },
  { name: 'NSS softokn 3', make: () => makeNss('hostile'), inputs: Math.max(200, INPUTS / 10) },
])('$name', ({ make, inputs }) => {
  let made: TestToken;
  let token: OpenToken;
  let alice: TestDepositary;
  let world: World;

  beforeAll(async () => {
    made = await make();
    alice = await made.enrolDepositary('alice');
    token = await made.open({ waitMs: 300_000 });
    const kept = await deposit(token, 'rsa-2048', 'operate', [alice]);
    const other = await deposit(token, 'rsa-2048', 'operate', [alice]);
    const { recovery, replies } = await gatherReplies(token, kept, [alice]);
    const [reply] = replies;
    const [member] = kept.members;
    const [otherMember] = other.members;
    if (reply === undefined || member === undefined || otherMember === undefined)
      throw new Error('no member');
    const elsewhere = await gatherReplies(token, other, [alice]);
    const signing = await raiseGrant(token, kept, 'sign', [alice]);
    const toDecrypt = await deposit(token, 'rsa-2048', 'operate', [alice], 'decrypt');
    const decrypting = await raiseGrant(token, toDecrypt, 'decrypt', [alice]);
    const publicKey = importSpki(Buffer.from(toDecrypt.publicKey ?? []));
    const ciphertext = publicEncrypt({ key: publicKey, ...nodeOaep('RSA-OAEP') }, MESSAGE);
    const [otherReply] = elsewhere.replies;
    if (otherReply === undefined) throw new Error('no reply');
    world = {
      alice,
      kept,
      member,
      otherMember,
      other,
      recovery,
      reply,
      otherReply,
      signing,
      decrypting,
      ciphertext,
    };
  });
  afterAll(async () => {
    await token.close();
    made.remove();
  });

  test(`${inputs} bad inputs through every verb get an answer that blames the input, and 100 good ones work`, async () => {
    const before = await token.standing();
    // each of them at least once, and then by chance
    const first = [...everyInput()];
    const tally = new Map<string, number>();
    const unexpected: string[] = [];
    let left = inputs;
    const worker = async (_: unknown, at: number): Promise<void> => {
      const random = chance(`hostile inputs ${at}`);
      while (left > 0) {
        await token.lend(VERBS, async (lent) => {
          const keys = await openKeys(lent, world);
          for (let round = 0; round < 50 && left > 0; round += 1) {
            left -= 1;
            const input = first.pop() ?? drawnInput(random);
            const { name, go } = hostileInput(input, { lent, world, keys, random });
            const answer = await go().then(
              (value) => (isRefusal(value) ? 'refused' : 'accepted'),
              (error: unknown) =>
                error instanceof EscrowError && ANSWERS.has(error.code) ? error.code : told(error),
            );
            tally.set(name, (tally.get(name) ?? 0) + 1);
            if (!ANSWERS.has(answer)) unexpected.push(`${name}: ${answer}`);
          }
        });
      }
    };
    await Promise.all(Array.from({ length: made.place.profile.sessions + 2 }, worker));
    expect(unexpected).toEqual([]);
    expect([...tally.values()].reduce((sum, count) => sum + count, 0)).toBe(inputs);
    expect(tally.size).toBe(ATTEMPTS.length * KINDS.length + OTHERS.length);

    const good = await Promise.all(Array.from({ length: 100 }, () => goodWay(token, world)));
    expect(good).toEqual(Array.from({ length: 100 }, () => true));
    expect(await token.standing()).toEqual(before);
    const raw = openRaw(made, 'as is');
    expect(raw.find([{ type: pkcs11.CKA_TOKEN, value: false }])).toEqual([]);
    raw.close();
  });
});

/** An error with its cause, for whoever reads why the test fails. */
function told(error: unknown): string {
  return error instanceof Error ? `${error.message} (${String(error.cause)})` : String(error);
}

interface World {
  readonly alice: TestDepositary;
  readonly kept: TestDeposit;
  readonly other: TestDeposit;
  readonly member: TestDeposit['members'][number];
  readonly otherMember: TestDeposit['members'][number];
  readonly recovery: RecoveryId;
  readonly reply: Uint8Array;
  readonly otherReply: Uint8Array;
  readonly signing: GrantId;
  readonly decrypting: GrantId;
  readonly ciphertext: Buffer;
}

type Keys = Awaited<ReturnType<typeof openKeys>>;

/** Opens the quorum by its one member. */
async function openKeys(lent: Lent, { recovery, reply, member, kept }: World) {
  const share = opened(await lent.unwrapReply(recovery, sealed('transport', reply)));
  const link = opened(await lent.openUnder(share, member.link, AAD, 'server-for'));
  const layer = opened(await lent.unwrapLayer(member, link));
  const wrapped = opened(await lent.openUnder(layer, kept.sealedQuorum, AAD, 'kek'));
  return { share, link, layer, wrapped };
}

/** Every verb once, checked. */
function goodWay(token: OpenToken, world: World): Promise<boolean> {
  const { alice, kept, signing, decrypting, ciphertext } = world;
  return token.lend(VERBS, async (lent) => {
    const { wrapped } = await openKeys(lent, world);
    await lent.wrapToDepositary(await lent.generateShareKey(), keyOf(alice));
    const signature = await signOne(lent, signing, 'rsa-2048', 'RS256', DIGEST);
    const plain = opened(await lent.decrypt(decrypting, 'rsa-2048', 'RSA-OAEP', { ciphertext }));
    const key = importSpki(Buffer.from(kept.publicKey ?? []));
    return (
      wrapped.length > 1000 &&
      verifies(key, 'RS256', MESSAGE, signature) &&
      Buffer.compare(plain, MESSAGE) === 0 &&
      (await lent.attest(MESSAGE)).length === 64
    );
  });
}

interface Attempt {
  readonly name: string;
  readonly good: (world: World, keys: Keys) => Uint8Array;
  readonly use: (lent: Lent, world: World, keys: Keys, bytes: Uint8Array) => Promise<unknown>;
}

/** Verbs that take a ciphertext, with a good one to spoil. */
const ATTEMPTS: readonly Attempt[] = [
  {
    name: 'unwrapReply',
    good: ({ reply }) => reply,
    use: (lent, { recovery }, _keys, bytes) => lent.unwrapReply(recovery, sealed('transport', bytes)),
  },
  {
    name: 'openUnder share',
    good: ({ member }) => member.link,
    use: (lent, _world, { share }, bytes) =>
      lent.openUnder(share, sealed('share-key', bytes), AAD, 'server-for'),
  },
  {
    name: 'unwrapLayer',
    good: (_world, { link }) => link,
    use: (lent, { member }, _keys, bytes) => lent.unwrapLayer(member, sealed('server-for', bytes)),
  },
  {
    name: 'openUnder layer',
    good: ({ kept }) => kept.sealedQuorum,
    use: (lent, _world, { layer }, bytes) => lent.openUnder(layer, sealed('layer-key', bytes), AAD, 'kek'),
  },
  {
    name: 'raiseGrant',
    good: (_world, { wrapped }) => wrapped,
    use: (lent, { kept }, _keys, bytes) => raise(lent, { sealed: sealed('kek', bytes), kek: kept.kek }),
  },
  {
    name: 'unwrapForRelease',
    good: (_world, { wrapped }) => wrapped,
    use: (lent, _world, _keys, bytes) =>
      lent.unwrapForRelease({
        wrapped: { sealed: sealed('kek', bytes), kek: 'kek:release:private:v1' },
        spec: 'rsa-2048',
      }),
  },
  {
    name: 'decrypt',
    good: ({ ciphertext }) => ciphertext,
    use: (lent, { decrypting }, _keys, ciphertext) =>
      lent.decrypt(decrypting, 'rsa-2048', 'RSA-OAEP', { ciphertext }),
  },
];

/** How a good ciphertext is spoilt. */
const KINDS = ['empty', 'short', 'long', 'random', 'flipped'] as const;

/** Good bytes in the wrong place, and inputs that are no ciphertexts. */
const OTHERS: readonly {
  readonly name: string;
  readonly go: (lent: Lent, world: World, keys: Keys, random: Chance) => Promise<unknown>;
}[] = [
  {
    name: 'a reply to another recovery',
    go: (lent, { recovery, otherReply }) => lent.unwrapReply(recovery, sealed('transport', otherReply)),
  },
  {
    name: 'a reply to no recovery',
    go: (lent, { reply }) => lent.unwrapReply(newRecovery(), sealed('transport', reply)),
  },
  {
    name: 'a link of another deposit',
    go: (lent, { otherMember }, { share }) => lent.openUnder(share, otherMember.link, AAD, 'server-for'),
  },
  {
    name: 'a layer of another deposit',
    go: (lent, { other }, { layer }) => lent.openUnder(layer, other.sealedQuorum, AAD, 'kek'),
  },
  {
    name: 'a link under another AAD',
    go: (lent, { member }, { share }, random) =>
      lent.openUnder(share, member.link, random.bytes(32), 'server-for'),
  },
  {
    name: 'a layer under no AAD',
    go: (lent, { kept }, { layer }) => lent.openUnder(layer, kept.sealedQuorum, Buffer.alloc(0), 'kek'),
  },
  {
    name: 'a key deposited to operate, released',
    go: (lent, { kept }, { wrapped }) =>
      lent.unwrapForRelease({ wrapped: { sealed: wrapped, kek: kept.kek }, spec: 'rsa-2048' }),
  },
  {
    name: 'a key under the KEK of release, granted',
    go: (lent, _world, { wrapped }) => raise(lent, { sealed: wrapped, kek: 'kek:release:private:v1' }),
  },
  {
    name: 'a layer of nobody who is enrolled',
    go: (lent, _world, { link }) => lent.unwrapLayer({ depositary: principal('nobody'), version: 1 }, link),
  },
  {
    name: 'a share to nobody who is enrolled',
    go: async (lent) => lent.wrapToDepositary(await lent.generateShareKey(), keyOfNobody('nobody')),
  },
  {
    name: 'a digest of another length',
    go: (lent, { signing }, _keys, random) =>
      signOne(lent, signing, 'rsa-2048', 'RS256', random.bytes(random.below(32))),
  },
  { name: 'a signature by no grant', go: (lent) => signOne(lent, newGrant(), 'rsa-2048', 'RS256', DIGEST) },
  {
    name: 'a mechanism of another kind of key',
    go: (lent, { decrypting }, _keys, random) =>
      lent.decrypt(decrypting, 'rsa-2048', 'A256GCM', { ciphertext: random.bytes(64), iv: random.bytes(12) }),
  },
  { name: 'nothing to attest', go: (lent) => lent.attest(Buffer.alloc(0)) },
  {
    name: 'nothing to seal',
    go: (lent, _world, { layer }) => lent.sealUnder(layer, sealed('kek', Buffer.alloc(0)), AAD),
  },
  {
    name: 'too much to seal',
    go: (lent, _world, { layer }) => lent.sealUnder(layer, sealed('kek', Buffer.alloc(2 << 20)), AAD),
  },
  {
    name: 'a delivery key that is none',
    go: async (lent, _world, _keys, random) =>
      lent.wrapToOwner(await lent.generateTransferKey('owner'), random.bytes(random.below(400))),
  },
  {
    name: 'a delivery key that is short',
    go: async (lent) => lent.wrapToOwner(await lent.generateTransferKey('owner'), SHORT_KEY),
  },
];

const SHORT_KEY = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({
  type: 'spki',
  format: 'der',
});

function raise(lent: Lent, wrapped: Parameters<Lent['raiseGrant']>[0]['wrapped']): Promise<unknown> {
  return lent.raiseGrant({
    grant: newGrant(),
    wrapped,
    spec: 'rsa-2048',
    use: 'sign',
    mechanisms: ['RS256'],
  });
}

/** An input that is bad in itself, or good bytes and how they are spoilt. */
type Input = (typeof OTHERS)[number] | readonly [(typeof ATTEMPTS)[number], (typeof KINDS)[number]];

function everyInput(): readonly Input[] {
  return [...OTHERS, ...ATTEMPTS.flatMap((attempt) => KINDS.map((kind): Input => [attempt, kind]))];
}

/** One in two is bad in itself. */
function drawnInput(random: Chance): Input {
  const other = OTHERS[random.below(2 * OTHERS.length)];
  if (other !== undefined) return other;
  const attempt = ATTEMPTS[random.below(ATTEMPTS.length)];
  const kind = KINDS[random.below(KINDS.length)];
  if (attempt === undefined || kind === undefined) throw new Error('no such input');
  return [attempt, kind];
}

function hostileInput(
  input: Input,
  by: { readonly lent: Lent; readonly world: World; readonly keys: Keys; readonly random: Chance },
): { readonly name: string; readonly go: () => Promise<unknown> } {
  const { lent, world, keys, random } = by;
  if ('go' in input) return { name: input.name, go: () => input.go(lent, world, keys, random) };
  const [attempt, kind] = input;
  const bytes = spoilt(kind, attempt.good(world, keys), random);
  return { name: `${attempt.name}, ${kind}`, go: () => attempt.use(lent, world, keys, bytes) };
}

function spoilt(kind: (typeof KINDS)[number], good: Uint8Array, random: Chance): Buffer {
  switch (kind) {
    case 'empty':
      return Buffer.alloc(0);
    case 'short':
      return Buffer.from(good.subarray(0, random.below(good.length)));
    case 'long':
      return Buffer.concat([good, random.bytes(1 + random.below(64))]);
    case 'random':
      return random.bytes(good.length);
    case 'flipped': {
      const copy = Buffer.from(good);
      const at = random.below(copy.length);
      copy.writeUInt8(copy.readUInt8(at) ^ (1 << random.below(8)), at);
      return copy;
    }
  }
}

function isRefusal(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'refused' in value;
}
