import {
  constants,
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { newId } from '../../escrow/records/ids.js';
import {
  type GeneratedSpec,
  type KeySpec,
  type Operation,
  KEY_SPECS,
} from '../../escrow/records/keySpecs.js';
import type { DecryptMechanism, Mechanism } from '../../escrow/records/mechanisms.js';
import { mechanismsFor, signs } from '../../escrow/records/mechanisms.js';
import type { Opened, Wrapped } from '../../escrow/ports/token.js';
import type { Purpose } from '../../escrow/records/policy.js';
import { sealed } from '../../escrow/records/sealing/sealed.js';
import { GCM } from '../profile/mechanisms.js';
import type { OpenToken } from '../service/openToken.js';
import { importSpki } from '../service/findLongLived.js';
import { WORTH_A_THREAD } from '../cryptoki/signingThreads.js';
import { SECRET_TRIP, secretTrip } from './secretTrip.js';
import { signable, verifies } from './verifying.js';

/** One way through the verbs, and whether what came out at the other end is what went in. */
export interface RoundTrip {
  readonly trip: string;
  readonly outcome: 'works' | 'fails' | 'not tried';
  /** Why it fails or was not tried. */
  readonly detail?: string;
}

/** What {@link tryRoundTrips} tries. */
export interface RoundTripsWanted {
  readonly specs: readonly KeySpec[];
  /** Whether pairs (RSA-3072) are made to reply and to import to as well. */
  readonly transport: 'tried' | 'left out';
  /** How many keys are in the making at once: RSA takes seconds, and a token has few sessions. */
  readonly lanes: number;
  /** Ends it before the next trip. */
  readonly stop?: AbortSignal | undefined;
}

/**
 * Takes every verb at each of these key specifications through its round trip, and checks the results outside of the
 * token. The keys are made for this and destroyed. They were never anybody's, which is why they may be in the clear in
 * this process for a moment. In the order of `specs`; a trip that fails is a result.
 */
export async function tryRoundTrips(
  token: OpenToken,
  { specs, transport, lanes, stop }: RoundTripsWanted,
): Promise<readonly RoundTrip[]> {
  const owner = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  const work: Work[] = [
    async () => [await tried('identity signs an attestation', () => attestation(token))],
    async () => [await tried('log signs a checkpoint', () => token.signCheckpoint(MESSAGE))],
    async () => [await depositaryTrip(token)],
    async () => [
      transport === 'tried'
        ? await tried(REPLY_TRIP, () => reply(token))
        : { trip: REPLY_TRIP, outcome: 'not tried', detail: 'left out' },
    ],
    ...specs.map((spec) => async () => {
      if (spec !== 'secret') return tripsOf(token, spec, owner);
      return [
        transport === 'tried'
          ? await tried(SECRET_TRIP, () => secretTrip(token, owner))
          : ({ trip: SECRET_TRIP, outcome: 'not tried', detail: 'left out' } as const),
      ];
    }),
  ];
  return (await inLanes(work, lanes, stop)).flat();
}

const REPLY_TRIP = 'a reply opens, and the layer under it';

type Work = () => Promise<readonly RoundTrip[]>;

/** The results in the order of `work`, which is begun from its end: what takes longest stands there. */
async function inLanes(
  work: readonly Work[],
  lanes: number,
  stop: AbortSignal | undefined,
): Promise<readonly (readonly RoundTrip[])[]> {
  const results: (readonly RoundTrip[])[] = [];
  const left = [...work.entries()];
  const lane = async (): Promise<void> => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const [index, one] = next;
      stop?.throwIfAborted();
      results[index] = await one();
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}

/** One key of this specification: made, deposited, released, and granted for each mechanism of the profile. */
async function tripsOf(token: OpenToken, spec: GeneratedSpec, owner: KeyPair): Promise<readonly RoundTrip[]> {
  let made: Deposited | undefined;
  const released = await tried(`${spec}: made, deposited, released`, async () => {
    made = await deposited(token, spec, owner);
    requireReleased(made);
  });
  const trips = [released];
  const mechanisms = KEY_SPECS[spec].uses
    .flatMap((use) => mechanismsFor(spec, use))
    .filter((name) => token.abilities.mechanisms.includes(name));
  for (const mechanism of mechanisms) {
    const trip = `${spec}: made, deposited, granted, ${mechanism}`;
    const kept = made;
    trips.push(
      kept === undefined
        ? { trip, outcome: 'fails', detail: 'the key was not made and deposited' }
        : await tried(trip, () => grant(token, spec, mechanism, kept)),
    );
  }
  made?.bytes.fill(0);
  return trips;
}

const MESSAGE = Buffer.from('escrowd probe');
const AAD = Buffer.alloc(32, 1);

/**
 * Tries a trip, and once more when it fails: another daemon on the same token may take what stands there for a moment,
 * and is in no record, for what a crash left behind.
 */
async function tried(trip: string, go: () => Promise<unknown>): Promise<RoundTrip> {
  const first = await once(trip, go);
  return first.outcome === 'works' ? first : once(trip, go);
}

async function once(trip: string, go: () => Promise<unknown>): Promise<RoundTrip> {
  try {
    await go();
    return { trip, outcome: 'works' };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
    return {
      trip,
      outcome: 'fails',
      detail: `${error instanceof Error ? error.message : String(error)}${cause}`,
    };
  }
}

async function attestation(token: OpenToken): Promise<void> {
  const signature = await token.lend(['attest'], (lent) => lent.attest(MESSAGE));
  requireTrue(
    verifies(importSpki(Buffer.from(token.identityKey)), 'ES256', MESSAGE, signature),
    'the signature',
  );
}

/** createTransport, unwrapReply, openUnder, destroyTransport; R is made here, since a token gives out none. */
async function reply(token: OpenToken): Promise<void> {
  const recovery = newId('RecoveryId', (length) => randomBytes(length));
  const secret = randomBytes(32);
  const inner = randomBytes(384);
  await token.lend(['createTransport', 'unwrapReply', 'openUnder', 'destroyTransport'], async (lent) => {
    const { publicKey } = await lent.createTransport(recovery);
    try {
      const key = importSpki(Buffer.from(publicKey));
      const answer = publicEncrypt({ key, ...oaep(token) }, secret);
      const share = opened(await lent.unwrapReply(recovery, sealed('transport', answer)));
      const layer = sealed('share-key', encryptGcm(secret, inner));
      const found = opened(await lent.openUnder(share, layer, AAD, 'server-for'));
      requireTrue(Buffer.compare(found, inner) === 0, 'what lies under the layer');
    } finally {
      await lent.destroyTransport(recovery);
    }
  });
}

/** generateShareKey, generateLayerKey, wrapToDepositary, wrapToServerFor, sealUnder, proveSealed, unwrapLayer, openUnder. */
async function depositaryTrip(token: OpenToken): Promise<RoundTrip> {
  const trip = 'a share goes to a depositary, a layer to the server and back';
  const [first] = await token.enrolled();
  if (first === undefined) return { trip, outcome: 'not tried', detail: 'nobody is enrolled' };
  const verbs = [
    'generateShareKey',
    'generateLayerKey',
    'wrapToDepositary',
    'wrapToServerFor',
    'sealUnder',
    'proveSealed',
    'unwrapLayer',
    'openUnder',
  ] as const;
  return tried(trip, () =>
    token.lend(verbs, async (lent) => {
      await lent.wrapToDepositary(await lent.generateShareKey(), first);
      const made = await lent.generateLayerKey();
      const inner = sealed('kek', randomBytes(64));
      const layer = await lent.sealUnder(made, inner, AAD);
      opened(await lent.proveSealed(made, { inner, aad: AAD, outer: layer }));
      const linked = await lent.wrapToServerFor(made, first.id);
      const pair = { depositary: first.id, version: linked.version };
      const back = opened(await lent.unwrapLayer(pair, linked.sealed));
      const found = opened(await lent.openUnder(back, layer, AAD, 'kek'));
      requireTrue(Buffer.compare(found, inner) === 0, 'what lies under the layer');
    }),
  );
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** A key as the deposit keeps it, and as its release brought it out. */
interface Deposited {
  readonly forGrant: Readonly<Partial<Record<Operation, Wrapped>>>;
  readonly bytes: Buffer;
  readonly publicKey: KeyObject | undefined;
}

/**
 * generateUserKey, wrapUnderKek, proveWrapped, unwrapForRelease, generateTransferKey, wrapToOwner, wrapUnderTransfer: makes a key,
 * deposits it, and has its release sent to `owner`.
 */
async function deposited(token: OpenToken, spec: GeneratedSpec, owner: KeyPair): Promise<Deposited> {
  const verbs = [
    'generateUserKey',
    'wrapUnderKek',
    'proveWrapped',
    'unwrapForRelease',
    'generateTransferKey',
    'wrapToOwner',
    'wrapUnderTransfer',
  ] as const;
  const deliveryKey = owner.publicKey.export({ type: 'spki', format: 'der' });
  const made = await token.lend(verbs, async (lent) => {
    const { key, publicKey } = await lent.generateUserKey(spec);
    const forGrant: Partial<Record<Operation, Wrapped>> = {};
    const wrappedFor = async (purpose: Purpose, use: Operation): Promise<Wrapped> => {
      const wrapped = await lent.wrapUnderKek(key, purpose, { spec, use });
      opened(await lent.proveWrapped({ wrapped, purpose, spec, use, publicKey, made: key }));
      return wrapped;
    };
    for (const use of KEY_SPECS[spec].uses) forGrant[use] = await wrappedFor('operate', use);
    const wrapped = await wrappedFor('release', KEY_SPECS[spec].uses[0]);
    const back = opened(await lent.unwrapForRelease({ wrapped, spec }));
    const transfer = await lent.generateTransferKey('owner');
    const transferKey = await lent.wrapToOwner(transfer, deliveryKey);
    return { forGrant, publicKey, transferKey, key: await lent.wrapUnderTransfer(transfer, back) };
  });
  const transfer = privateDecrypt({ key: owner.privateKey, ...oaep(token) }, made.transferKey);
  // RFC 5649 by OpenSSL.
  const cipher = createDecipheriv('id-aes256-wrap-pad', transfer, Buffer.from('a65959a6', 'hex'));
  const bytes = Buffer.concat([cipher.update(made.key), cipher.final()]);
  const publicKey = made.publicKey === undefined ? undefined : importSpki(Buffer.from(made.publicKey));
  return { forGrant: made.forGrant, bytes, publicKey };
}

function requireReleased({ bytes, publicKey }: Deposited): void {
  if (publicKey === undefined) {
    requireTrue(bytes.length === AES_KEY_BYTES, 'the released key');
    return;
  }
  const released = createPublicKey(createPrivateKey({ key: bytes, format: 'der', type: 'pkcs8' }));
  requireTrue(released.equals(publicKey), 'the released key');
}

const AES_KEY_BYTES = 32;

/** raiseGrant, sign or decrypt, destroyGrant. */
async function grant(
  token: OpenToken,
  spec: KeySpec,
  mechanism: Mechanism,
  { forGrant, bytes, publicKey }: Deposited,
): Promise<void> {
  const id = newId('GrantId', (length) => randomBytes(length));
  await token.lend(['raiseGrant', 'sign', 'decrypt', 'destroyGrant'], async (lent) => {
    const use = signs(mechanism) ? 'sign' : 'decrypt';
    const wrapped = forGrant[use];
    if (wrapped === undefined) throw new Error(`the key was not deposited to ${use}`);
    opened(await lent.raiseGrant({ grant: id, wrapped, spec, use, mechanisms: [mechanism] }));
    try {
      if (signs(mechanism)) {
        const signatures: Uint8Array[] = [];
        // one alone, and as many as go to a thread of their own
        for (const times of [1, WORTH_A_THREAD]) {
          const data = Array.from({ length: times }, () => signable(mechanism, MESSAGE));
          await lent.sign(id, spec, mechanism, data, (signature) => signatures.push(signature));
        }
        const isGood = (signature: Uint8Array): boolean =>
          publicKey !== undefined && verifies(publicKey, mechanism, MESSAGE, signature);
        requireTrue(signatures.length === 1 + WORTH_A_THREAD && signatures.every(isGood), 'the signature');
        return;
      }
      const input = encryptFor(mechanism, publicKey, bytes);
      const plain = opened(await lent.decrypt(id, spec, mechanism, input));
      requireTrue(Buffer.compare(plain, MESSAGE) === 0, 'what was decrypted');
    } finally {
      await lent.destroyGrant(id);
    }
  });
}

function encryptFor(
  mechanism: DecryptMechanism,
  publicKey: KeyObject | undefined,
  bytes: Buffer,
): { readonly ciphertext: Buffer; readonly iv?: Buffer; readonly aad?: Buffer } {
  if (publicKey === undefined) {
    const whole = encryptGcm(bytes, MESSAGE);
    return { iv: whole.subarray(0, GCM.ivBytes), ciphertext: whole.subarray(GCM.ivBytes), aad: AAD };
  }
  const oaepHash = mechanism === 'RSA-OAEP' ? 'sha1' : 'sha256';
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  return { ciphertext: publicEncrypt({ key: publicKey, padding, oaepHash }, MESSAGE) };
}

/** IV, ciphertext, tag. */
function encryptGcm(key: Buffer, plain: Buffer): Buffer {
  const iv = randomBytes(GCM.ivBytes);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(AAD);
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function oaep(token: OpenToken): { readonly padding: number; readonly oaepHash: string } {
  const oaepHash = token.abilities.oaep === 'RSA-OAEP-256' ? 'sha256' : 'sha1';
  return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash };
}

function opened<T>(result: Opened<T>): T {
  if ('refused' in result) throw new Error('the token refused its own ciphertext');
  return result.opened;
}

function requireTrue(value: boolean, what: string): void {
  if (!value) throw new Error(`${what} is wrong`);
}
