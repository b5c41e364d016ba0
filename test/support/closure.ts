import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { trimToDer } from '../../src/system/der.js';
import type { LayerOwner } from '../../src/escrow/records/sealing/layers.js';
import { layerContext, layersOf } from '../../src/escrow/records/sealing/layers.js';
import { byteStringsIn } from './byteStrings.js';
import type { DatabaseDump } from './databaseDump.js';
import { openGcm, openOaep, unwrapPadded } from './openedDeposit.js';
import { withoutStacks } from './withoutStacks.js';

/** What an attacker starts with. */
export interface Known {
  readonly rsa: readonly KeyObject[];
  readonly aes: readonly Buffer[];
}

/** Whether something was decrypted on the way: by its bytes, in hexadecimal. PKCS#8 is without what is behind it. */
export type Loot = ReadonlySet<string>;

/** AES key wrap of a key of 128 bits; nothing shorter hides a key. */
export const SHORTEST_CIPHERTEXT = 24;
/** IV and tag of AES-GCM around that. */
export const SHORTEST_LAYER = SHORTEST_CIPHERTEXT + 28;

/**
 * Decrypts what can be decrypted from a dump: each known key is tried on each byte string by RSA-OAEP, by AES-256-GCM
 * with any associated data that the records give, and by AES key wrap; what opens is a new ciphertext, and a new key
 * where it can be one; until nothing new opens.
 */
export class ClosureAttack {
  readonly #ciphertexts: readonly Buffer[];
  readonly #contexts: readonly (Buffer | undefined)[];
  /** What each key made of each ciphertext: it does so whatever else is known. */
  readonly #results = new Map<string, readonly Buffer[]>();

  constructor(dump: DatabaseDump) {
    const found = dump.rows.flatMap(({ text }) => byteStringsIn(Buffer.from(text), 'whole'));
    this.#ciphertexts = found.filter((bytes) => !isText(bytes));
    this.#contexts = contextsOf(dump);
  }

  lootOf(known: Known): Loot {
    return withoutStacks(() => this.#lootOf(known));
  }

  #lootOf(known: Known): Loot {
    const loot = new Set<string>();
    const keys = new Map<string, Opening>();
    const ciphertexts = new Map<string, Buffer>();
    const addCiphertext = (bytes: Buffer): void => {
      const name = bytes.toString('hex');
      if (bytes.length < SHORTEST_CIPHERTEXT || ciphertexts.has(name)) return;
      ciphertexts.set(name, bytes);
      for (const [key, open] of [...keys]) gain(this.#once(key, open, name, bytes));
    };
    const addKey = (key: string, open: Opening): void => {
      if (keys.has(key)) return;
      keys.set(key, open);
      for (const [name, bytes] of [...ciphertexts]) gain(this.#once(key, open, name, bytes));
    };
    const addRsa = (key: KeyObject): void => {
      addKey(key.export({ format: 'der', type: 'pkcs8' }).toString('hex'), openingByRsa(key));
    };
    const addAes = (key: Buffer): void => {
      addKey(key.toString('hex'), (bytes) => openByAes(key, bytes, this.#contexts));
    };
    const gain = (all: readonly Buffer[]): void => {
      for (const bytes of all) {
        const der = trimToDer(bytes);
        loot.add(Buffer.from(der ?? bytes).toString('hex'));
        addCiphertext(bytes);
        if (bytes.length === 32) addAes(bytes);
        if (der !== undefined) tried(() => asRsa(der)).forEach(addRsa);
      }
    };
    this.#ciphertexts.forEach(addCiphertext);
    known.rsa.forEach(addRsa);
    known.aes.forEach(addAes);
    return loot;
  }

  #once(key: string, open: Opening, name: string, ciphertext: Buffer): readonly Buffer[] {
    const pair = `${key} ${name}`;
    const result = this.#results.get(pair) ?? open(ciphertext);
    this.#results.set(pair, result);
    return result;
  }
}

type Opening = (ciphertext: Buffer) => readonly Buffer[];

function openingByRsa(key: KeyObject): Opening {
  const bytes = (key.asymmetricKeyDetails?.modulusLength ?? 0) / 8;
  return (ciphertext) =>
    ciphertext.length === bytes
      ? (['sha1', 'sha256'] as const).flatMap((hash) => tried(() => openOaep(key, ciphertext, hash)))
      : [];
}

function openByAes(
  key: Buffer,
  ciphertext: Buffer,
  contexts: readonly (Buffer | undefined)[],
): readonly Buffer[] {
  const layer = ciphertext.length >= SHORTEST_LAYER;
  return [
    ...(layer ? contexts.flatMap((aad) => tried(() => openGcm(key, ciphertext, aad))) : []),
    ...(ciphertext.length % 8 === 0 ? tried(() => unwrapPadded(key, ciphertext)) : []),
  ];
}

/** All associated data that anyone who reads the records can compute, and none. */
export function contextsOf(dump: DatabaseDump): readonly (Buffer | undefined)[] {
  const contexts: (Buffer | undefined)[] = [undefined];
  for (const deposit of dump.deposits) {
    const { purposes } = deposit;
    const people = purposes.flatMap(({ shares }) => shares.map(({ depositary }) => depositary));
    const quorums = purposes.flatMap((each) => each.quorums.map(({ members }) => members));
    const places: LayerOwner[] = [
      ...[...new Set(people)].map((depositary) => ({ depositary })),
      ...new Map(quorums.map((quorum) => [quorum.join(), { quorum }])).values(),
    ];
    for (const sealed of purposes) {
      const layers = layersOf(deposit, sealed);
      for (const place of places) contexts.push(Buffer.from(layerContext(layers, place)));
    }
  }
  return contexts;
}

function asRsa(der: Uint8Array): KeyObject {
  const key = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  if (key.asymmetricKeyType !== 'rsa') throw new Error('not an RSA key');
  return key;
}

/** Text is no ciphertext; what it encodes has been taken out of it. */
export function isText(bytes: Buffer): boolean {
  return bytes.every((byte) => byte >= 0x09 && byte < 0x7f);
}

function tried<T>(open: () => T): readonly T[] {
  try {
    return [open()];
  } catch {
    return [];
  }
}
