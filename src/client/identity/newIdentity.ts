import { type KeyObject, createPublicKey, generateKeyPair } from 'node:crypto';
import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { sha256Hex } from '../../escrow/records/digests.js';
import { parsePrincipalId } from '../../escrow/records/ids.js';
import { DAEMON_ID } from '../../escrow/records/principals.js';
import { exists, replaceFile, writeNewFile } from '../../system/files.js';
import { encryptedPem } from './encryptedPkcs8.js';
import { IdentityError } from '../errors.js';
import { type CardKeyLocation, type IdentityFile, FILES, readIdentityFile } from './identity.js';
import { jwkThumbprint } from '../../jose/jws.js';
import type { PublicPart } from './publicPart.js';
import { type ServerPins, checkAddress } from '../serverPins.js';
import { signerOf } from './signingKey.js';
import { type WitnessPins, readWitnessPins } from '../log/witnessPins.js';
import { makeDirectories } from '../../system/place.js';

export interface NewIdentity {
  readonly id: string;
  /** With the RSA key that shares are encrypted to. */
  readonly depositary: boolean;
  /** With the RSA key that an owner's own copies are encrypted to. */
  readonly deliveryKey: boolean;
  /** Private keys are written under this passphrase; overwritten by the caller. */
  readonly passphrase?: Buffer;
  /** The depositary's key, when it is on a card: nothing of it is made. */
  readonly card?: { readonly location: CardKeyLocation; readonly publicKeyPem: string };
}

const generate = promisify(generateKeyPair);
const PRIVATE = 0o600;
const PUBLIC = 0o644;

/**
 * Makes an identity directory (0700) with fresh keys (0600), and the files to hand out: `public.json`, and for a
 * depositary `depositary-public.pem`. When it resolves, all of it is durable.
 *
 * @throws IdentityError `identity-malformed` when the id is none, `identity-exists` when the directory holds an
 *   identity or anything with the name of one of its files.
 */
export async function createIdentity(directory: string, order: NewIdentity): Promise<PublicPart> {
  if (parsePrincipalId(order.id) === undefined) {
    throw new IdentityError(
      'identity-malformed',
      `"${order.id}" is not an id: lower-case letters, digits, dots, dashes and underscores, at most 64`,
    );
  }
  if (order.id === DAEMON_ID)
    throw new IdentityError('identity-malformed', `${DAEMON_ID} is the daemon's own id in the log`);
  const made = await makeDirectories(directory, 0o700);
  await refuseToOverwrite(directory);
  const written: string[] = [];
  const write: WriteFile = async (name, content, mode) => {
    const path = join(directory, name);
    await writeNewFile(path, content, mode);
    written.push(path);
  };
  try {
    return await writeIdentity(order, write);
  } catch (error) {
    // half an identity would stop the next try; what another process has made stays
    for (const path of written) await rm(path, { force: true });
    if (made !== undefined) await rmdir(directory).catch(() => undefined);
    throw error;
  }
}

type WriteFile = (name: string, content: string | Buffer, mode: number) => Promise<void>;

async function writeIdentity(order: NewIdentity, write: WriteFile): Promise<PublicPart> {
  const signing = (await generate('ec', { namedCurve: 'P-256' })).privateKey;
  const writeKey = async (name: string, key: KeyObject): Promise<void> =>
    write(name, await privatePem(key, order.passphrase), PRIVATE);
  await writeKey(FILES.signingKey, signing);
  let depositaryPem = order.card?.publicKeyPem;
  if (order.depositary && depositaryPem === undefined) {
    const key = (await generate('rsa', { modulusLength: 3072 })).privateKey;
    await writeKey(FILES.depositaryKey, key);
    depositaryPem = spkiPem(key);
  }
  if (depositaryPem !== undefined) await write(FILES.depositaryPublic, depositaryPem, PUBLIC);
  const delivery = order.deliveryKey
    ? (await generate('rsa', { modulusLength: 3072 })).privateKey
    : undefined;
  if (delivery !== undefined) await writeKey(FILES.deliveryKey, delivery);
  const part: PublicPart = {
    id: order.id,
    keys: [signerOf(order.id, signing).publicJwk],
    ...(depositaryPem === undefined ? {} : { depositaryKey: fingerprintOf(depositaryPem) }),
    ...(delivery === undefined ? {} : { deliveryKey: spkiPem(delivery) }),
  };
  await write(FILES.publicPart, json(part), PUBLIC);
  // last: a directory with this file is an identity
  const card = order.card === undefined ? {} : { card: order.card.location };
  await write(FILES.identity, json({ id: order.id, ...card }), PRIVATE);
  return part;
}

/**
 * Adds the pins of a server to an identity, with a copy of its CA certificate (PEM). Pinning again moves the identity to
 * another address or CA; origin and keys, once pinned, are never replaced.
 *
 * @throws IdentityError `identity-missing`, `record-malformed`, `server-already-pinned`
 */
export async function pinServer(directory: string, pins: ServerPins, ca: string): Promise<void> {
  const identity = await readIdentityFile(directory);
  checkAddress(pins.server, ca);
  const { server, origin, identityKey, logKey } = pins;
  if (identity.pins !== undefined && !isSameService(identity.pins, pins)) {
    throw new IdentityError(
      'server-already-pinned',
      `${directory} has pinned other keys, or another origin, than these; nothing was changed`,
    );
  }
  await replaceFile(join(directory, FILES.ca), ca, PUBLIC);
  const pinned = { server, ca: FILES.ca, origin, identityKey, logKey };
  await writeIdentityFile(directory, { ...identity, pins: pinned });
}

/**
 * Pins the witnesses that must have cosigned what this identity is shown, in place of those pinned before; none, when
 * `witnesses` is not given.
 *
 * @throws IdentityError `identity-missing`, `identity-malformed`; NoteError when a key is none or stands twice, or more
 *   are required than there are
 */
export async function pinWitnesses(directory: string, witnesses: WitnessPins | undefined): Promise<void> {
  const identity = await readIdentityFile(directory);
  if (witnesses !== undefined) readWitnessPins(witnesses);
  await writeIdentityFile(directory, { ...identity, witnesses });
}

async function writeIdentityFile(directory: string, identity: IdentityFile): Promise<void> {
  const { id, card, pins, witnesses } = identity;
  const content = {
    id,
    ...pins,
    ...(card === undefined ? {} : { card }),
    ...(witnesses === undefined ? {} : { witnesses }),
  };
  await replaceFile(join(directory, FILES.identity), json(content), PRIVATE);
}

function isSameService(pinned: ServerPins, pins: ServerPins): boolean {
  return (
    pinned.origin === pins.origin &&
    pinned.logKey === pins.logKey &&
    jwkThumbprint(pinned.identityKey) === jwkThumbprint(pins.identityKey)
  );
}

async function refuseToOverwrite(directory: string): Promise<void> {
  for (const name of Object.values(FILES)) {
    if (await exists(join(directory, name))) {
      throw new IdentityError('identity-exists', `${join(directory, name)} exists; nothing was changed`);
    }
  }
}

async function privatePem(key: KeyObject, passphrase: Buffer | undefined): Promise<string | Buffer> {
  return passphrase === undefined
    ? key.export({ format: 'pem', type: 'pkcs8' })
    : encryptedPem(key, passphrase);
}

function fingerprintOf(publicKeyPem: string): string {
  return sha256Hex(createPublicKey(publicKeyPem).export({ format: 'der', type: 'spki' }));
}

function spkiPem(key: KeyObject): string {
  return createPublicKey(key).export({ format: 'pem', type: 'spki' }).toString();
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
