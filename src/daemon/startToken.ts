import { availableParallelism } from 'node:os';
import { type Config, profileFile } from './config.js';
import { allOf, ConfigError } from './start/configError.js';
import { readSecretFile, readText } from './start/namedFiles.js';
import { tokenIsFull } from './start/tokenPlace.js';
import type { Certifier, CheckpointSigner } from '../escrow/ports/signers.js';
import { vkeyFor } from '../log/note/noteKey.js';
import { messageOf } from '../system/errors.js';
import type { OperatorLog } from './operatorLog.js';
import { TokenNotReady } from '../token/cryptoki/faults.js';
import { type OpenToken, type TokenGeneration, openToken } from '../token/service/openToken.js';
import { pairProcess } from '../token/objects/pairMaker.js';
import { signingThreads } from '../token/cryptoki/signingThreads.js';
import { type TokenPins, readPins } from '../token/objects/ceremonyPins.js';
import { parseProfile, type TokenProfile } from '../token/profile/profile.js';
import { type AttackResult, selfTest } from '../token/selfTest/selfTest.js';
import type { TokenLog } from '../token/cryptoki/sessions.js';
import { type SupervisedToken, superviseToken } from '../token/service/supervisedToken.js';
import type { RoundTrip } from '../token/selfTest/roundTrips.js';

/** The token let something through that it must refuse, or its profile says so, and the configuration does not accept it by name. */
export class TokenNotEnforcing extends Error {
  override readonly name = 'TokenNotEnforcing';

  constructor(readonly attacks: readonly string[]) {
    super(
      `the token does not refuse: ${attacks.join(', ')}. If your threat model allows it, name them in token.acceptUnenforced`,
    );
  }
}

/** A token that has proved itself and is watched, and what it was excused from. */
export interface ProvenToken {
  readonly token: SupervisedToken;
  readonly signer: CheckpointSigner;
  readonly certifier: Certifier;
  /** Attacks that the token does not refuse, accepted by the configuration. */
  readonly unenforced: readonly string[];
}

/** The token that the configuration names: not opened yet. */
export interface ConfiguredToken {
  readonly profile: TokenProfile;
  /** What the record of the ceremony says; undefined when none is configured. */
  readonly pins: TokenPins | undefined;
  /** Opens it, with the PIN as its file has it now, which is tried once. Throws TokenNotReady, ConfigError. */
  open(log: TokenLog, programs?: TokenPrograms): Promise<TokenGeneration>;
}

/**
 * Reads what the configuration says of the token: its profile, and the record of the ceremony.
 *
 * @throws ConfigError
 */
export function configuredToken(
  { token: given }: Pick<Config, 'token'>,
  configFile: string,
  packageDirectory: string,
): ConfiguredToken {
  const { module, waitMs, hangMs } = given;
  const { record, label } = given;
  const [profile, pins] = allOf([
    () => readProfileFile(profileFile(given.profile, packageDirectory, configFile)),
    () => (record === undefined ? undefined : readRecord(record, label)),
  ]);
  return {
    profile,
    pins,
    open: async (log, { pairProgram, signingProgram } = {}) =>
      openToken({
        profile,
        label: given.label,
        pin: readSecretFile(given.pinFile),
        ...(module === undefined ? {} : { modulePath: module }),
        spy: given.allowSpy ? 'spy allowed' : 'spy refused',
        environment: given.environment,
        ...(pins === undefined ? {} : { pins }),
        waitMs,
        ...(pairProgram === undefined || !given.pairProcess
          ? {}
          : { startPairs: pairProcess(pairProgram, { deadlineMs: hangMs, log }) }),
        ...(signingProgram === undefined
          ? {}
          : { startSigning: signingThreads(signingProgram, SIGNING_THREADS) }),
        log,
      }),
  };
}

/**
 * Looks whether the PIN can be read, without trying it. It is read again whenever the token is opened.
 *
 * @throws ConfigError
 */
export function requirePin({ token: { pinFile } }: Pick<Config, 'token'>): void {
  readSecretFile(pinFile).fill(0);
}

/** Programs that work with the token beside the main thread, which does what they do where they are not given. */
export interface TokenPrograms {
  /** See `src/pairProgram.ts`. */
  readonly pairProgram?: string;
  /** See `src/token/cryptoki/signingThread.ts`. */
  readonly signingProgram?: string;
}

/** As many as there are cores, but not so many that a large machine is full of them. */
const SIGNING_THREADS = Math.min(availableParallelism(), 4);

/**
 * Opens the configured token and has it prove what it does and enforces: every verb at the key specifications of its
 * profile, and the attacks that it must refuse. Transport pairs are made by `pairProgram`, in a process of its own, and many
 * signatures at once by `signingProgram`, in threads, where they are given. From then on the token is watched and opened anew when it
 * was gone; the PIN is read from its file each time, and kept nowhere.
 *
 * @throws TokenNotReady, {@link TokenNotEnforcing}, ConfigError
 */
export async function openProvenToken(
  config: Pick<Config, 'token' | 'origin'>,
  configured: ConfiguredToken,
  log: OperatorLog,
  { stop, ...programs }: TokenPrograms & { readonly stop?: AbortSignal } = {},
): Promise<ProvenToken> {
  const { waitMs, probeMs, recycleAfterObjects, selfTest: extent, allowSpy } = config.token;
  const { profile } = configured;
  const lines: TokenLog = (level, message, fields) => log.log(level, message, fields);
  if (configured.pins === undefined)
    log.warn(
      "token.record is not configured: a key-encryption key that somebody planted may pass for the ceremony's",
    );
  const open = (): Promise<TokenGeneration> => configured.open(lines, programs);
  if (allowSpy) log.warn('a spy on the token is allowed: it writes the PIN down. For diagnosis only');
  const first = await open();
  try {
    const startedAt = performance.now();
    const { unenforced, ...found } = await proveToken(first, profile, config.token, stop);
    log.info('the token has proved itself', {
      selfTest: extent,
      ...found,
      tookMs: Math.round(performance.now() - startedAt),
    });
    if (unenforced.length > 0) log.warn('the token does not enforce everything', { unenforced });
    if (first.older.length > 0)
      log.warn('keys of an older ceremony are in use, which insist on less: run `ceremony renew`', {
        objects: first.older,
      });
    if (!profile.dataObjects)
      log.warn('the token remembers nothing of the log: an old copy of the database is not noticed at start');
    const token = superviseToken(first, {
      ...{ open, probeMs, waitMs, recycleAfterObjects, log: lines },
      isFull: tokenIsFull(config, profile),
    });
    return { token, signer: signerOf(token, config.origin), certifier: certifierOf(token), unenforced };
  } catch (error) {
    await first.close();
    throw error;
  }
}

/**
 * Has an open token prove what it does and enforces, to the extent that is configured. Says how many round trips and attacks were
 * tried, and which of these it does not refuse and is excused from.
 *
 * @throws TokenNotReady, {@link TokenNotEnforcing}
 */
export async function proveToken(
  token: TokenGeneration,
  profile: TokenProfile,
  { selfTest: extent, acceptUnenforced }: Config['token'],
  stop?: AbortSignal,
): Promise<{ readonly trips: number; readonly attacks: number; readonly unenforced: readonly string[] }> {
  const { trips, attacks } = await selfTest(token, extent, stop);
  requireClaims(trips);
  const unenforced = requireEnforced(attacks, profile.unenforced, acceptUnenforced);
  return { trips: trips.length, attacks: attacks.length, unenforced };
}

/** Throws TokenNotReady that names the round trips which do not work, with why. */
function requireClaims(trips: readonly RoundTrip[]): void {
  const failing = trips.filter(({ outcome }) => outcome === 'fails');
  if (failing.length === 0) return;
  const named = failing.map(({ trip, detail = '' }) => `${trip} (${detail})`).join('; ');
  throw new TokenNotReady('not-as-claimed', `The token does not do what its profile claims: ${named}`);
}

/** What the token did not refuse, and what its profile says that it cannot: a single try may be lucky. */
function requireEnforced(
  attacks: readonly AttackResult[],
  admitted: readonly string[],
  accepted: readonly string[],
): readonly string[] {
  const unenforced = attacks
    .filter(({ olderKek }) => olderKek === undefined)
    .filter(({ attack, refused }) => !refused || admitted.includes(attack))
    .map(({ attack }) => attack);
  const refusedHere = unenforced.filter((attack) => !accepted.includes(attack));
  if (refusedHere.length > 0) throw new TokenNotEnforcing(refusedHere);
  return unenforced;
}

function signerOf(token: OpenToken, origin: string): CheckpointSigner {
  const { algorithm, publicKey } = token.logKey;
  return {
    origin,
    vkey: vkeyFor({ name: origin, algorithm, spkiDer: publicKey }),
    sign: (text) => token.signCheckpoint(text),
  };
}

function certifierOf(token: OpenToken): Certifier {
  return {
    publicKey: token.identityKey,
    attest: (signingInput) => token.lend(['attest'], (lent) => lent.attest(signingInput)),
  };
}

function readRecord(file: string, label: string): TokenPins {
  const [where, remedy] = [`token.record: ${file}`, 'name the record that the ceremony of this token wrote'];
  const text = readText(file, remedy, where);
  try {
    return readPins(text, { label });
  } catch (error) {
    const what = `the record of the ceremony cannot be used: ${messageOf(error)}`;
    throw new ConfigError([{ where, what, do: remedy }], { cause: error });
  }
}

function readProfileFile(file: string): TokenProfile {
  const where = `token.profile: ${file}`;
  const remedy = 'name one of hsm-config, or a file as hsm-config/writing-a-profile.md says';
  const text = readText(file, remedy, where);
  try {
    return parseProfile(text);
  } catch (error) {
    const what = `the token profile cannot be used: ${messageOf(error)}`;
    throw new ConfigError([{ where, what, do: remedy }], { cause: error });
  }
}
