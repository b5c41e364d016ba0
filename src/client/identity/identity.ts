import type { KeyObject } from 'node:crypto';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { z } from 'zod';

import { NoteError } from '../../log/note/noteKey.js';
import { decodeText, TextError } from '../../log/entry/plainText.js';
import { type DecryptionKey, softwareKey } from './decryptionKey.js';
import type { ClientCertificate } from './clientCertificate.js';
import { HttpsConnection } from '../connection.js';
import { IdentityError } from '../errors.js';
import { EscrowClient } from '../escrowClient.js';
import { FileApprovedKeys } from '../depositary/approvedKeys.js';
import { FileGenerations } from '../depositary/generations.js';
import { FileMemory } from '../log/logMemory.js';
import { type LogViewParts, LogView } from '../log/logView.js';
import { type AskPassphrase, readPrivateKey } from './privateKeyFile.js';
import { type ServerPins, checkPinnedKeys } from '../serverPins.js';
import { type Signer, signerOf } from './signingKey.js';
import { readTrustedFile } from '../files/trustedFile.js';
import { type WitnessPins, readWitnessPins } from '../log/witnessPins.js';
import { jsonOrUndefined } from '../../system/json.js';

export const FILES = {
  /** Who this is, and the pins of the server. */
  identity: 'identity.json',
  /** PKCS#8: signs requests and statements. */
  signingKey: 'signing-key.pem',
  /** PKCS#8, RSA: opens shares and releases. Depositaries only. */
  depositaryKey: 'depositary-key.pem',
  /** PKCS#8, RSA: opens an owner's own copies. */
  deliveryKey: 'delivery-key.pem',
  /** The last checkpoint that was believed. */
  state: 'state.json',
  /** The certificate of the server's CA. */
  ca: 'ca.pem',
  /** For the policy document. */
  publicPart: 'public.json',
  /** For the ceremony. */
  depositaryPublic: 'depositary-public.pem',
} as const;

/** Where a depositary's key is that never leaves its card: a PKCS#11 token of the depositary's own. */
export interface CardKeyLocation {
  /** Absolute path of the card's PKCS#11 module. */
  readonly module: string;
  /** The card's label (CKA_LABEL of the token). */
  readonly token: string;
  /** The label of the key on it. */
  readonly key: string;
}

/** How locked keys are opened; what is not given cannot be. */
export interface Unlocking {
  readonly passphrase?: AskPassphrase;
  /** The key on a card; `publicKey` is what it is known by (SPKI PEM). */
  readonly card?: (location: CardKeyLocation, publicKey: string) => Promise<DecryptionKey>;
}

/** What identity.json says. */
export interface IdentityFile {
  readonly id: string;
  readonly card: CardKeyLocation | undefined;
  readonly pins: (ServerPins & { readonly ca: string }) | undefined;
  /** Undefined: no witness is asked for. */
  readonly witnesses: WitnessPins | undefined;
}

const jsonSchema = z.object({
  id: z.string().min(1),
  server: z.string().optional(),
  ca: z.string().optional(),
  origin: z.string().optional(),
  identityKey: z.record(z.string(), z.string()).optional(),
  logKey: z.string().optional(),
  card: z.object({ module: z.string(), token: z.string(), key: z.string() }).optional(),
  witnesses: z.strictObject({ keys: z.array(z.string()), require: z.int() }).optional(),
});

/** A principal's own files: who it is, its keys, and what it knows of its server. */
export class Identity {
  readonly directory: string;
  readonly id: string;
  readonly signer: Signer;
  /** The witnesses that must have cosigned what this principal is shown; undefined: none. */
  readonly witnesses: WitnessPins | undefined;
  readonly #pins: (ServerPins & { readonly ca: string }) | undefined;
  readonly #card: CardKeyLocation | undefined;
  readonly #unlocking: Unlocking;

  private constructor(directory: string, file: IdentityFile, signer: Signer, unlocking: Unlocking) {
    this.directory = directory;
    this.id = file.id;
    this.signer = signer;
    this.witnesses = file.witnesses;
    this.#pins = file.pins;
    this.#card = file.card;
    this.#unlocking = unlocking;
  }

  /**
   * Opens an identity directory. Keys other than the signing key are read when they are needed.
   * @throws IdentityError `identity-missing`, `identity-malformed`, `identity-exposed`, `key-missing`, `key-malformed`, `key-exposed`,
   *   `key-locked`
   */
  static async open(directory: string, unlocking: Unlocking = {}): Promise<Identity> {
    const file = await readIdentityFile(directory);
    const key = await readPrivateKey(join(directory, FILES.signingKey), askOf(unlocking));
    return new Identity(resolve(directory), file, signerOf(file.id, key), unlocking);
  }

  /** The pins of the server. @throws IdentityError `server-not-pinned` */
  get pins(): ServerPins & { readonly ca: string } {
    if (this.#pins === undefined) {
      throw new IdentityError('server-not-pinned', `${this.directory} does not know its server yet`);
    }
    return this.#pins;
  }

  get isPinned(): boolean {
    return this.#pins !== undefined;
  }

  /** The RSA key that opens shares, and releases to this depositary. @throws IdentityError */
  depositaryKey(): Promise<KeyObject> {
    return this.#read(FILES.depositaryKey);
  }

  /** The same, wherever it is: in its file, or on the card that identity.json names. @throws IdentityError */
  async depositaryOpener(): Promise<DecryptionKey> {
    if (this.#card === undefined) return softwareKey(await this.depositaryKey());
    const { card } = this.#unlocking;
    if (card === undefined) throw new IdentityError('key-locked', 'the depositary key is on a card');
    return card(this.#card, await readText(join(this.directory, FILES.depositaryPublic)));
  }

  /** The RSA key that opens this owner's own copies. @throws IdentityError */
  deliveryKey(): Promise<KeyObject> {
    return this.#read(FILES.deliveryKey);
  }

  #read(name: string): Promise<KeyObject> {
    return readPrivateKey(join(this.directory, name), askOf(this.#unlocking));
  }

  /** Where the last checkpoint seen is kept. */
  get memory(): FileMemory {
    return new FileMemory(this.directory, FILES.state);
  }

  /** Where the deposits are kept of which a share was opened. */
  get generations(): FileGenerations {
    return new FileGenerations(this.directory);
  }

  /** Where it is kept what was approved to be released to its owner. */
  get approvedKeys(): FileApprovedKeys {
    return new FileApprovedKeys(this.directory);
  }

  /**
   * A client of the pinned server in this principal's name. Close it when done. `deadlineMs` is for each request; what makes
   * something is sent again for `repeatForMs` (without it, for as long as the deadline) while its answer is lost.
   * @throws IdentityError `server-not-pinned`
   */
  async connect(options: {
    readonly deadlineMs: number;
    readonly repeatForMs?: number;
    readonly now: () => Date;
    /** Signs and decrypts by this client certificate, which the policy binds to this app, in place of signed requests. */
    readonly certificate?: ClientCertificate;
  }): Promise<EscrowClient> {
    const { server, logKey, ca } = this.pins;
    const { deadlineMs, now, certificate } = options;
    const connection = new HttpsConnection({
      url: server,
      ca: await readText(resolve(this.directory, ca)),
      deadlineMs,
      ...(certificate === undefined ? {} : { certificate }),
    });
    const operateBy = certificate === undefined ? 'signature' : 'certificate';
    const repetition = {
      forMs: options.repeatForMs ?? deadlineMs,
      elapsedMs: () => performance.now(),
      pause: (ms: number) => pause(ms),
      random: Math.random,
    };
    return new EscrowClient({ connection, signer: this.signer, logKey, now, repetition, operateBy });
  }

  /**
   * The log as this principal has seen it so far.
   * @param patience how long cosignatures are waited for; see {@link LogViewParts}
   */
  logView(
    client: Pick<EscrowClient, 'consistency' | 'witnessedCheckpoint'>,
    patience?: LogViewParts['patience'],
  ): LogView {
    const { origin, logKey } = this.pins;
    return new LogView({
      origin,
      logKey,
      memory: this.memory,
      consistency: (oldSize, newSize) => client.consistency(oldSize, newSize),
      witnesses: this.witnesses === undefined ? undefined : readWitnessPins(this.witnesses),
      witnessed: (count, keyIds) => client.witnessedCheckpoint(count, keyIds),
      ...(patience === undefined ? {} : { patience }),
    });
  }
}

/** Reads identity.json. @throws IdentityError `identity-missing`, `identity-malformed`, `identity-exposed`; TextError */
export async function readIdentityFile(directory: string): Promise<IdentityFile> {
  const path = join(directory, FILES.identity);
  const file = jsonSchema.safeParse(jsonOrUndefined(await readText(path)));
  if (!file.success) throw new IdentityError('identity-malformed', `${path} is not an identity`);
  const { id, server, ca, origin, identityKey, logKey, card, witnesses } = file.data;
  checkWitnesses(path, witnesses);
  if (server === undefined) return { id, card, pins: undefined, witnesses };
  if (ca === undefined || origin === undefined || identityKey === undefined || logKey === undefined) {
    throw new IdentityError(
      'identity-malformed',
      `${path} lacks a pin: server, ca, origin, identityKey, logKey`,
    );
  }
  checkPinnedKeys(identityKey, logKey, origin);
  return { id, card, pins: { server, ca, origin, identityKey, logKey }, witnesses };
}

function checkWitnesses(path: string, witnesses: WitnessPins | undefined): void {
  if (witnesses === undefined) return;
  try {
    readWitnessPins(witnesses);
  } catch (cause) {
    if (!(cause instanceof NoteError)) throw cause;
    throw new IdentityError('identity-malformed', `${path}: witnesses: ${cause.message}`, { cause });
  }
}

function askOf({ passphrase }: Unlocking): AskPassphrase {
  return passphrase ?? (() => Promise.resolve(undefined));
}

async function readText(path: string): Promise<string> {
  try {
    return decodeText(await readTrustedFile(path), path);
  } catch (cause) {
    if (cause instanceof IdentityError || cause instanceof TextError) throw cause;
    throw new IdentityError('identity-missing', `${path} cannot be read`, { cause });
  }
}
