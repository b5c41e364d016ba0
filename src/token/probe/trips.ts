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
import { newId } from '../../escrow/ids.js';
import type { KeySpec } from '../../escrow/keySpecs.js';
import { KEY_SPECS } from '../../escrow/keySpecs.js';
import type { DecryptMechanism, Mechanism } from '../../escrow/mechanisms.js';
import { mechanismsFor, signs } from '../../escrow/mechanisms.js';
import type { Opened, Wrapped } from '../../escrow/ports.js';
import { sealed } from '../../escrow/sealed.js';
import { GCM } from '../mechanisms.js';
import type { OpenToken } from '../openToken.js';
import { importSpki } from '../startup.js';
import { signable, verifies } from '../verifying.js';

/** One way through the verbs, and whether what came out at the other end is what went in. */
export interface Trip {
  readonly trip: string;
  readonly outcome: 'works' | 'fails' | 'not tried';
  /** Why it fails or was not tried. */
  readonly detail?: string;
}

/**
 * Takes every verb at every key specification of the profile through its round trip, and checks the results outside
 * of the token. The keys are made for this and destroyed; some are in the clear in this process for a moment, which is
 * why the daemon never does this.
 */
export async function tryTrips(token: OpenToken): Promise<readonly Trip[]> {
  const owner = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  const trips: Trip[] = [
    await tried('identity signs an attestation', () => attestation(token)),
    await tried('log signs a checkpoint', () => token.signCheckpoint(MESSAGE)),
    await tried('a reply opens, and the layer under it', () => reply(token)),
    await depositaryTrip(token),
  ];
  for (const spec of token.abilities.keySpecs) {
    trips.push(await tried(`${spec}: made, deposited, released`, () => release(token, spec, owner)));
    for (const use of KEY_SPECS[spec].uses) {
      for (const mechanism of mechanismsFor(spec, use)) {
        if (!token.abilities.mechanisms.includes(mechanism)) continue;
        const name = `${spec}: made, deposited, granted, ${mechanism}`;
        trips.push(await tried(name, () => grant(token, spec, mechanism, owner)));
      }
    }
  }
  return trips;
}

const MESSAGE = Buffer.from('escrowd probe');
const AAD = Buffer.alloc(32, 1);

async function tried(trip: string, go: () => Promise<unknown>): Promise<Trip> {
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

/** generateShareKey, generateLayerKey, wrapToDepositary, wrapToServerFor, sealUnder, unwrapLayer, openUnder. */
async function depositaryTrip(token: OpenToken): Promise<Trip> {
  const trip = 'a share goes to a depositary, a layer to the server and back';
  const [first] = await token.enrolled();
  if (first === undefined) return { trip, outcome: 'not tried', detail: 'nobody is enrolled' };
  const verbs = [
    'generateShareKey',
    'generateLayerKey',
    'wrapToDepositary',
    'wrapToServerFor',
    'sealUnder',
    'unwrapLayer',
    'openUnder',
  ] as const;
  return tried(trip, () =>
    token.lend(verbs, async (lent) => {
      await lent.wrapToDepositary(await lent.generateShareKey(), first.id);
      const made = await lent.generateLayerKey();
      const inner = sealed('kek', randomBytes(64));
      const layer = await lent.sealUnder(made, inner, AAD);
      const back = opened(await lent.unwrapLayer(first.id, await lent.wrapToServerFor(made, first.id)));
      const found = opened(await lent.openUnder(back, layer, AAD, 'kek'));
      requireTrue(Buffer.compare(found, inner) === 0, 'what lies under the layer');
    }),
  );
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** generateUserKey, wrapUnderKek, unwrapForRelease, generateTransferKey, wrapToOwner, wrapUnderTransfer. */
async function release(token: OpenToken, spec: KeySpec, owner: KeyPair): Promise<void> {
  const made = await deposited(token, spec, owner);
  made.bytes.fill(0);
}

/** Makes a key, deposits it, and has its release sent to `owner`: the way back is checked here. */
async function deposited(
  token: OpenToken,
  spec: KeySpec,
  owner: KeyPair,
): Promise<{
  readonly forGrant: Wrapped;
  readonly bytes: Buffer;
  readonly publicKey: KeyObject | undefined;
}> {
  const verbs = [
    'generateUserKey',
    'wrapUnderKek',
    'unwrapForRelease',
    'generateTransferKey',
    'wrapToOwner',
    'wrapUnderTransfer',
  ] as const;
  const deliveryKey = owner.publicKey.export({ type: 'spki', format: 'der' });
  const made = await token.lend(verbs, async (lent) => {
    const { key, publicKey } = await lent.generateUserKey(spec);
    const forGrant = await lent.wrapUnderKek(key, 'operate');
    const wrapped = await lent.wrapUnderKek(key, 'release');
    const back = opened(await lent.unwrapForRelease({ wrapped, spec }));
    const transfer = await lent.generateTransferKey('owner');
    const transferKey = await lent.wrapToOwner(transfer, deliveryKey);
    return { forGrant, publicKey, transferKey, key: await lent.wrapUnderTransfer(transfer, back) };
  });
  const transfer = privateDecrypt({ key: owner.privateKey, ...oaep(token) }, made.transferKey);
  // RFC 5649 by OpenSSL.
  const cipher = createDecipheriv('id-aes256-wrap-pad', transfer, Buffer.from('a65959a6', 'hex'));
  const bytes = Buffer.concat([cipher.update(made.key), cipher.final()]);
  if (made.publicKey === undefined) return { forGrant: made.forGrant, bytes, publicKey: undefined };
  const publicKey = importSpki(Buffer.from(made.publicKey));
  const released = createPublicKey(createPrivateKey({ key: bytes, format: 'der', type: 'pkcs8' }));
  requireTrue(released.equals(publicKey), 'the released key');
  return { forGrant: made.forGrant, bytes, publicKey };
}

/** raiseGrant, sign or decrypt, destroyGrant. */
async function grant(token: OpenToken, spec: KeySpec, mechanism: Mechanism, owner: KeyPair): Promise<void> {
  const { forGrant, bytes, publicKey } = await deposited(token, spec, owner);
  const id = newId('GrantId', (length) => randomBytes(length));
  await token.lend(['raiseGrant', 'sign', 'decrypt', 'destroyGrant'], async (lent) => {
    const use = signs(mechanism) ? 'sign' : 'decrypt';
    opened(await lent.raiseGrant({ grant: id, wrapped: forGrant, spec, use, mechanisms: [mechanism] }));
    try {
      if (signs(mechanism)) {
        const signature = await lent.sign(id, spec, mechanism, signable(mechanism, MESSAGE));
        requireTrue(
          publicKey !== undefined && verifies(publicKey, mechanism, MESSAGE, signature),
          'the signature',
        );
        return;
      }
      const input = encryptFor(mechanism, publicKey, bytes);
      const plain = opened(await lent.decrypt(id, spec, mechanism, input));
      requireTrue(Buffer.compare(plain, MESSAGE) === 0, 'what was decrypted');
    } finally {
      bytes.fill(0);
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
