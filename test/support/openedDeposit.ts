import {
  constants,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  privateDecrypt,
  type KeyObject,
} from 'node:crypto';
import pkcs11 from 'pkcs11js';
import { trimToDer } from '../../src/system/der.js';
import type { Deposit, PurposeDeposit } from '../../src/escrow/records/deposit.js';
import { layerContext, layersOf } from '../../src/escrow/records/sealing/layers.js';
import type { KeyId } from '../../src/escrow/records/ids.js';
import type { Purpose } from '../../src/escrow/records/policy.js';
import type { SoftHsm } from './softhsm.js';
import { readTokenFiles, rsaPrivateKey } from './softhsmFiles.js';
import type { Secrets } from './windows.js';

/** The values of what a token holds. */
export interface TokenKeys {
  /** By label. */
  readonly keks: ReadonlyMap<string, Buffer>;
  /** By depositary: the server's private key regarding them. */
  readonly serverFor: ReadonlyMap<string, KeyObject>;
  /** By recovery. */
  readonly transports: ReadonlyMap<string, KeyObject>;
  /** Every secret or private value in the token, by label. */
  readonly secrets: Secrets;
}

/** The whole of a deposit in the clear, as only a full quorum together with the token's own keys gives it. */
export interface OpenedDeposit {
  readonly key: KeyId;
  readonly purpose: Purpose;
  /** By depositary. */
  readonly r: ReadonlyMap<string, Buffer>;
  readonly l: ReadonlyMap<string, Buffer>;
  /** C: the user key under its key-encryption key. */
  readonly wrapped: Buffer;
  /** U: PKCS#8 DER, or the bytes of an AES key. */
  readonly user: Buffer;
}

/** Reads the values of a token's keys out of its files. */
export function tokenKeys(hsm: SoftHsm): TokenKeys {
  // public keys and the log's anchor are no secrets
  const isSecret = new Set<number | undefined>([pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY]);
  const objects = readTokenFiles(hsm).filter(({ objectClass }) => isSecret.has(objectClass));
  const named = <T>(prefix: string, read: (object: (typeof objects)[number]) => T): Map<string, T> =>
    new Map(
      objects
        .filter(({ label }) => label.startsWith(prefix))
        .map((object) => [object.label.slice(prefix.length), read(object)]),
    );
  const secrets = new Map<string, Buffer>();
  for (const { label, bytes } of objects) {
    for (const [type, name] of PRIVATE_PARTS) {
      const value = bytes.get(type);
      if (value !== undefined) secrets.set(`${name} of ${label}`, value);
    }
  }
  const keks = named('kek:', ({ bytes }) => bytes.get(pkcs11.CKA_VALUE) ?? Buffer.alloc(0));
  return {
    keks: new Map([...keks].map(([label, value]) => [`kek:${label}`, value])),
    serverFor: named('server-for:', rsaPrivateKey),
    transports: named('transport:', rsaPrivateKey),
    secrets,
  };
}

const PRIVATE_PARTS = [
  [pkcs11.CKA_VALUE, 'value'],
  [pkcs11.CKA_PRIVATE_EXPONENT, 'd'],
  [pkcs11.CKA_PRIME_1, 'p'],
  [pkcs11.CKA_PRIME_2, 'q'],
  [pkcs11.CKA_EXPONENT_1, 'dp'],
  [pkcs11.CKA_EXPONENT_2, 'dq'],
  [pkcs11.CKA_COEFFICIENT, 'qi'],
] as const;

/**
 * Opens all purposes and all quorums of a deposit. Throws when anything does not open, when two quorums hold
 * different keys, or when the key is not the private half of the deposit's public key: so what it returns are the
 * real secrets.
 */
export function openDeposit(
  deposit: Deposit,
  people: ReadonlyMap<string, KeyObject>,
  token: TokenKeys,
): readonly OpenedDeposit[] {
  return deposit.purposes.map((purpose) => {
    const r = new Map<string, Buffer>();
    const l = new Map<string, Buffer>();
    for (const { depositary, share, link, serverFor } of purpose.shares) {
      const secret = openOaep(get(people, depositary), share);
      const place = layerContext(layersOf(deposit, purpose), { depositary });
      r.set(depositary, secret);
      const pair = serverFor === undefined ? depositary : `${depositary}:v${serverFor}`;
      l.set(depositary, openOaep(get(token.serverFor, pair), openGcm(secret, link, place)));
    }
    const wrapped = peelAll(deposit, purpose, l);
    const user = unwrapPadded(get(token.keks, purpose.kek), wrapped);
    return { key: deposit.key, purpose: purpose.purpose, r, l, wrapped, user: checkedUser(deposit, user) };
  });
}

/** The private parts of an opened user key, and the body of its PKCS#8 that holds them. */
export function partsOfUser(name: string, user: Buffer): Secrets {
  if (trimToDer(user) === undefined) return new Map([[name, user]]);
  const jwk = importPkcs8(user).export({ format: 'jwk' });
  const parts = new Map<string, Buffer>();
  for (const part of ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const) {
    const value = jwk[part];
    if (value !== undefined) parts.set(`${part} of ${name}`, Buffer.from(value, 'base64url'));
  }
  const places = [...parts.values()].map((value) => ({ value, at: user.indexOf(value) }));
  if (places.some(({ at }) => at < 0)) throw new Error(`${name} is not in its own DER`);
  const start = Math.min(...places.map(({ at }) => at));
  const end = Math.max(...places.map(({ at, value }) => at + value.length));
  // half a window more at both ends, so that also what straddles an end is mostly secret
  parts.set(`body of ${name}`, user.subarray(start - 8, Math.min(end + 8, user.length)));
  return parts;
}

/** RSA-OAEP with SHA-1, as SoftHSM 2.6 does it. Throws when it does not open. */
export function openOaep(
  key: KeyObject,
  ciphertext: Uint8Array,
  oaepHash: 'sha1' | 'sha256' = 'sha1',
): Buffer {
  return privateDecrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash }, ciphertext);
}

/** AES-256-GCM with the IV in front and the tag behind. Throws when it does not open. */
export function openGcm(key: Buffer, layer: Uint8Array, aad: Uint8Array | undefined): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, layer.subarray(0, 12), { authTagLength: 16 });
  if (aad !== undefined) decipher.setAAD(aad);
  decipher.setAuthTag(layer.subarray(-16));
  return Buffer.concat([decipher.update(layer.subarray(12, -16)), decipher.final()]);
}

/** AES key wrap with padding (RFC 5649). Throws when it does not open. */
export function unwrapPadded(key: Buffer, wrapped: Uint8Array): Buffer {
  const decipher = createDecipheriv('id-aes256-wrap-pad', key, Buffer.from('a65959a6', 'hex'));
  return Buffer.concat([decipher.update(wrapped), decipher.final()]);
}

function peelAll(deposit: Deposit, purpose: PurposeDeposit, l: ReadonlyMap<string, Buffer>): Buffer {
  const cores = purpose.quorums.map(({ members, sealed }) => {
    const place = layerContext(layersOf(deposit, purpose), { quorum: members });
    return members.reduce<Uint8Array>((rest, member) => openGcm(get(l, member), rest, place), sealed);
  });
  const [core, ...others] = cores;
  if (core === undefined) throw new Error('a deposit has quorums');
  if (others.some((other) => Buffer.compare(other, core) !== 0))
    throw new Error('two quorums hold different keys');
  return Buffer.from(core);
}

function checkedUser(deposit: Deposit, opened: Buffer): Buffer {
  if (deposit.publicKey === undefined) {
    if (opened.length !== 32) throw new Error('not an AES-256 key');
    return opened;
  }
  const der = Buffer.from(trimToDer(opened) ?? Buffer.alloc(0));
  const spki = createPublicKey(importPkcs8(der)).export({ format: 'der', type: 'spki' });
  if (!spki.equals(deposit.publicKey)) throw new Error('not the private half of what was deposited');
  return der;
}

function importPkcs8(der: Buffer): KeyObject {
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

function get<T>(map: ReadonlyMap<string, T>, name: string): T {
  const value = map.get(name);
  if (value === undefined) throw new Error(`there is no ${name}`);
  return value;
}
