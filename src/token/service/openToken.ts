import { setTimeout as pause } from 'node:timers/promises';
import type { Handle } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import type { Token, TokenAbilities, TokenVerbs } from '../../escrow/ports/token.js';
import type { Anchorage } from '../../escrow/ports/log.js';
import { type Anchor, type Anchoring, emptyAnchor } from '../../log/anchor.js';
import { ANCHOR, moveAnchor, readAnchor } from '../objects/anchor.js';
import { type LogAlgorithm, signWithLogKey } from '../verbs/signCheckpoint.js';
import { Dialect } from '../profile/dialect.js';
import { Health } from '../objects/health.js';
import { HeldKeks } from '../objects/heldKeks.js';
import { unaccountedObjects } from '../objects/inventory.js';
import { Loan } from '../verbs/loan.js';
import { Mechanisms } from '../profile/mechanisms.js';
import type { LoadedModule, ModuleEnvironment, SpyAllowance } from '../cryptoki/module.js';
import { findModule, libraryParameters, loadModule } from '../cryptoki/module.js';
import { ObjectCheck } from '../objects/objectCheck.js';
import { TokenObjects } from '../objects/objects.js';
import type { PairTokenLocation, StartPairMaker } from '../objects/pairMaker.js';
import type { TokenPins } from '../objects/ceremonyPins.js';
import type { TokenProfile } from '../profile/profile.js';
import type { StartSigningThreads } from '../cryptoki/signingThreads.js';
import { type TokenLog, closeSession, Sessions } from '../cryptoki/sessions.js';
import type { LongLived } from './findLongLived.js';
import { findLongLived, findSlot, importSpki, logIn, objectsWrong, requirePinned } from './findLongLived.js';
import { standingObjects } from '../objects/oneTimeObjects.js';
import { enrolledDepositaries, ServerPairs } from '../objects/depositaries.js';
import { depositVerbs } from '../verbs/deposit.js';
import { importVerbs } from '../verbs/importing.js';
import { operateVerbs } from '../verbs/operate.js';
import { provingVerbs } from '../verbs/proving.js';
import { recoveryVerbs } from '../verbs/recovery.js';
import { rotationVerbs } from '../verbs/rotation.js';
import { wrappedVerbs } from '../verbs/provingWrapped.js';
import type { OpenParts } from '../objects/openParts.js';

/** Which token is opened, with which PIN, and how long its users wait. */
export interface OpenTokenOptions {
  readonly profile: TokenProfile;
  /** The token's label, as given at the ceremony. */
  readonly label: string;
  /** The user PIN; zeroed once it has been used, whatever came of it. */
  readonly pin: Buffer;
  /** The PKCS#11 module; the profile's paths are tried when it is not given. */
  readonly modulePath?: string;
  /** Whether the module may be pkcs11-spy, which writes the PIN down; refused when it is not given. */
  readonly spy?: SpyAllowance;
  /** Variables for the module, e.g. `{ SOFTHSM2_CONF: '/etc/escrowd/softhsm2.conf' }`. */
  readonly environment?: ModuleEnvironment;
  /** How long anything waits for a session or for the queue of token objects. */
  readonly waitMs?: number;
  /** What the record of the ceremony says of the long-lived keys. Without it they are judged by their attributes alone. */
  readonly pins?: TokenPins;
  /** Makes transport pairs outside of the queue of token objects; without it, that queue is held while one is made. */
  readonly startPairs?: StartPairMaker;
  /** Signs many at once beside this thread; without it, this one is held meanwhile. */
  readonly startSigning?: StartSigningThreads;
  readonly log?: TokenLog;
}

export interface OpenToken extends Token, Anchorage {
  /** DER SubjectPublicKeyInfo (EC P-256) of the key that attests. */
  readonly identityKey: Uint8Array;
  /** The key that signs checkpoints; `publicKey` is DER SubjectPublicKeyInfo. */
  readonly logKey: { readonly algorithm: LogAlgorithm; readonly publicKey: Uint8Array };
  /** What an older ceremony made, which insists on less than is made now, and is in use still. */
  readonly older: readonly string[];
  /** Signs a checkpoint's text: 64 bytes for Ed25519, ASN.1 DER for ECDSA. */
  signCheckpoint(text: Uint8Array): Promise<Uint8Array>;
  /** Resolves when the token works (known-answer probe); EscrowError `token-unavailable` when it does not. */
  check(): Promise<void>;
  /**
   * Takes no more loans, waits until those under way have ended, and gives the module back. Finalising a module at
   * work crashes the process: when loans do not end within `drainMs`, this resolves without having done so, the log
   * says it, and the module is given back whenever they end.
   */
  close(drainMs?: number): Promise<void>;
}

/** The token as it was opened once: from C_Initialize to C_Finalize. */
export interface TokenGeneration extends OpenToken {
  /** How many objects were made since it was opened. Tokens may leak for each until they are finalised. */
  objectsMade(): number;
  /** Whether its `PairMaker` has ended, so that pairs are made in the queue of token objects. */
  lacksPairMaker(): boolean;
}

/**
 * Opens the token: loads the module, logs in (one attempt), and finds what the ceremony has made. Makes nothing.
 * Throws {@link TokenNotReady} with a sentence that says what to do.
 */
export async function openToken(options: OpenTokenOptions): Promise<TokenGeneration> {
  try {
    const { profile, label, environment = {} } = options;
    const modulePath = findModule(profile, options.modulePath, options.spy);
    const parameters = libraryParameters(profile, label, environment);
    const module = loadModule(modulePath, environment, parameters);
    try {
      return await enter(options, module, { profile, label, modulePath, environment, parameters });
    } catch (error) {
      module.release();
      throw error;
    }
  } finally {
    options.pin.fill(0);
  }
}

async function enter(
  options: OpenTokenOptions,
  module: LoadedModule,
  place: PairTokenLocation,
): Promise<TokenGeneration> {
  const { profile, waitMs = 10_000, pins, log = () => undefined } = options;
  const { driver, generatePair, findHandles, destroyHandle } = module;
  const slot = findSlot(driver, options.label);
  const pinForPairs = Buffer.from(options.startPairs === undefined ? '' : options.pin);
  const login = logIn(driver, slot, options.pin);
  const sessions = (size: number): Sessions => new Sessions(driver, slot, { size, waitMs }, log);
  const forObjects = sessions(1);
  const forPairs = sessions(1);
  const forLog = sessions(1);
  const pool = sessions(profile.sessions);
  const closeSessions = (): void => {
    for (const some of [pool, forLog, forObjects]) some.close();
    closeSession(driver, login, log);
  };
  try {
    const mechanisms = new Mechanisms(profile);
    const dialect = new Dialect(profile);
    const check = new ObjectCheck({ driver, profile, mechanisms, dialect, pins, log });
    const objects = new TokenObjects(driver, forObjects, forPairs, { findHandles, destroyHandle }, check);
    const { identity, log: logSpki, newestKek, older } = await findLongLived(objects, profile);
    requirePinned({ identity, log: logSpki }, pins);
    const health = new Health(objects, mechanisms, importSpki(identity));
    await health.check().catch((error: unknown) => {
      throw objectsWrong(error);
    });
    const pairMaker = options.startPairs?.(place, pinForPairs);
    const signingThreads = options.startSigning?.(place.modulePath);
    const parts = {
      driver,
      pairMaker,
      signingThreads,
      generatePair,
      findHandles,
      pins,
      profile,
      mechanisms,
      dialect,
      pool,
      objects,
      health,
      newestKek,
      heldKeks: new HeldKeks(),
      serverPairs: new ServerPairs(),
      log,
    };
    return new ReadyToken(parts, { identity, log: logSpki, older }, forLog, async () => {
      const pairsEnded = pairMaker?.close();
      if (signingThreads !== undefined) await signingThreads.close();
      closeSessions();
      try {
        module.release();
      } catch (error) {
        log('error', 'the PKCS#11 module could not be finalised', { error: String(error) });
      }
      await pairsEnded;
    });
  } catch (error) {
    closeSessions();
    throw error;
  } finally {
    pinForPairs.fill(0);
  }
}

/** For the self-test: the workbench of an open token. The core is never given it. */
export function withWorkbench<T>(token: OpenToken, use: (parts: OpenParts) => Promise<T>): Promise<T> {
  if (!(token instanceof ReadyToken)) throw new EscrowError('internal', 'Not a token of this adapter.');
  return token.withWorkbench(use);
}

class ReadyToken implements TokenGeneration {
  readonly openings = 1;
  readonly abilities: TokenAbilities;
  readonly identityKey: Uint8Array;
  readonly logKey: OpenToken['logKey'];
  readonly older: readonly string[];
  readonly #parts: OpenParts;
  readonly #forLog: Sessions;
  readonly #underWay = new Set<Promise<unknown>>();
  #giveBack: (() => Promise<void>) | undefined;
  #objectsMade = 0;

  constructor(
    parts: OpenParts,
    keys: Pick<LongLived, 'identity' | 'log' | 'older'>,
    forLog: Sessions,
    giveBack: () => Promise<void>,
  ) {
    const { profile, keySpecs, grantMechanisms, oaep, logKey } = parts.profile;
    this.#parts = parts;
    this.#forLog = forLog;
    this.#giveBack = giveBack;
    this.abilities = { profile, keySpecs, mechanisms: grantMechanisms, oaep };
    this.identityKey = keys.identity;
    this.older = keys.older;
    this.logKey = { algorithm: logKey, publicKey: keys.log };
  }

  requireInService(): void {
    if (this.#giveBack === undefined) throw new EscrowError('shutting-down');
  }

  enrolled(): ReturnType<Token['enrolled']> {
    return this.#use(() => enrolledDepositaries(this.#parts));
  }

  keks(): ReturnType<Token['keks']> {
    return this.#use(() => this.#parts.heldKeks.list(this.#parts));
  }

  standing(): ReturnType<Token['standing']> {
    return this.#use(() => standingObjects(this.#parts));
  }

  unaccounted(records: Parameters<Token['unaccounted']>[0]): ReturnType<Token['unaccounted']> {
    return this.#use(() => unaccountedObjects(this.#parts, records));
  }

  lend<V extends keyof TokenVerbs, T>(
    verbs: readonly V[],
    use: (lent: Pick<TokenVerbs, V>) => Promise<T>,
  ): Promise<T> {
    return this.#use(async () => {
      const loan = new Loan(this.#parts.driver, this.#parts.pool, this.#parts.log);
      try {
        return await use(lendVerbs(this.#parts, loan, verbs));
      } finally {
        await loan.end();
        this.#objectsMade += loan.made;
      }
    });
  }

  objectsMade(): number {
    return this.#objectsMade;
  }

  lacksPairMaker(): boolean {
    return this.#parts.pairMaker?.isAtWork === false;
  }

  signCheckpoint(text: Uint8Array): Promise<Uint8Array> {
    const { objects, mechanisms } = this.#parts;
    const using = { objects, sessions: this.#forLog, mechanisms };
    return this.#use(() => signWithLogKey(using, this.logKey.algorithm, text));
  }

  check(): Promise<void> {
    return this.#use(() => this.#parts.health.probe());
  }

  readAnchor(): Promise<Anchor> {
    const { objects, profile } = this.#parts;
    if (!profile.dataObjects) return Promise.resolve(emptyAnchor);
    return this.#use(() => objects.alone((session) => getAnchor(objects, session)));
  }

  writeAnchor(anchor: Anchoring): Promise<void> {
    const { objects, health, profile } = this.#parts;
    if (!profile.dataObjects) return Promise.resolve();
    return this.#use(() =>
      objects.alone(async (session) => {
        // A token that is gone finds no anchor, and would take any for the first.
        await health.checkIn(session);
        await moveAnchor(objects, session, anchor);
      }),
    );
  }

  withWorkbench<T>(use: (parts: OpenParts) => Promise<T>): Promise<T> {
    return this.#use(() => use(this.#parts));
  }

  async close(drainMs = 30_000): Promise<void> {
    const giveBack = this.#giveBack;
    if (giveBack === undefined) return;
    this.#giveBack = undefined;
    const drained = Promise.allSettled(this.#underWay).then(async () => {
      await giveBack();
      return 'drained' as const;
    });
    const deadline = new AbortController();
    const late = pause(drainMs, 'late' as const, { signal: deadline.signal }).catch(() => 'late' as const);
    const which = await Promise.race([drained, late]);
    deadline.abort();
    if (which === 'late')
      this.#parts.log('error', 'the token is still at work and is left without being closed');
  }

  async #use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#giveBack === undefined) throw new EscrowError('shutting-down');
    const running = work();
    this.#underWay.add(running);
    try {
      return await running;
    } finally {
      this.#underWay.delete(running);
    }
  }
}

/** Throws EscrowError `token-unavailable` when there is none: absence is never taken for a log that has not begun. */
async function getAnchor(objects: TokenObjects, session: Handle): Promise<Anchor> {
  const anchor = readAnchor(objects.driver, session, await objects.search(session, ANCHOR));
  if (anchor !== undefined) return anchor;
  const cause = new Error('the token holds no anchor of the log');
  throw new EscrowError('token-unavailable', undefined, { cause });
}

/** By what each verb of a loan is made. */
const FAMILIES: {
  readonly [V in keyof TokenVerbs]: (parts: OpenParts, loan: Loan) => Pick<TokenVerbs, V>;
} = {
  generateUserKey: depositVerbs,
  wrapUnderKek: depositVerbs,
  generateShareKey: depositVerbs,
  generateLayerKey: depositVerbs,
  wrapToDepositary: depositVerbs,
  wrapToServerFor: depositVerbs,
  sealUnder: depositVerbs,
  proveSealed: depositVerbs,
  generateTransferKey: depositVerbs,
  wrapToOwner: depositVerbs,
  wrapUnderTransfer: depositVerbs,
  createTransport: recoveryVerbs,
  destroyTransport: recoveryVerbs,
  unwrapReply: recoveryVerbs,
  openUnder: recoveryVerbs,
  unwrapLayer: recoveryVerbs,
  proveServerFor: provingVerbs,
  raiseGrant: recoveryVerbs,
  destroyGrant: recoveryVerbs,
  unwrapForRelease: recoveryVerbs,
  rewrap: rotationVerbs,
  proveWrapped: wrappedVerbs,
  createImportPair: importVerbs,
  destroyImportPair: importVerbs,
  unwrapImported: importVerbs,
  unwrapSecret: importVerbs,
  sign: operateVerbs,
  decrypt: operateVerbs,
  attest: operateVerbs,
};

/** An object with exactly these verbs, each part of the loan. */
function lendVerbs<V extends keyof TokenVerbs>(
  parts: OpenParts,
  loan: Loan,
  verbs: readonly V[],
): Pick<TokenVerbs, V> {
  const families = new Set<(parts: OpenParts, loan: Loan) => Partial<TokenVerbs>>(
    verbs.map((verb) => FAMILIES[verb]),
  );
  const made = Object.assign({}, ...[...families].map((family) => family(parts, loan))) as TokenVerbs;
  const rows = verbs.map((verb) => {
    const run: (...given: never[]) => Promise<unknown> = made[verb];
    return [verb, (...given: never[]) => loan.during(() => run(...given))] as const;
  });
  // Object.fromEntries cannot know that the names are V and each function keeps its type.
  return Object.freeze(Object.fromEntries(rows)) as unknown as Pick<TokenVerbs, V>;
}
