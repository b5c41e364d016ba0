import { constants, publicEncrypt, randomBytes } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import { type KeySpec, KEY_SPECS } from '../../escrow/records/keySpecs.js';
import { type AttackName, ATTACK_NAMES, NEEDS_NEWER_KEK } from '../profile/attackNames.js';
import { type Target, ATTACKS, NothingGained } from './attacks.js';
import { asEscrowError, readFault } from '../cryptoki/faults.js';
import { type KekKind, isOperate, KEK_KINDS, readKekLabel } from '../../escrow/records/sealing/keks.js';
import { Loan } from '../verbs/loan.js';
import { objectNames } from '../objects/objectNames.js';
import { readBytes, readRsaSpki } from '../objects/objects.js';
import { type OpenToken, withWorkbench } from '../service/openToken.js';
import { importSpki } from '../service/findLongLived.js';
import {
  grantKey,
  sealingKey,
  transferKey,
  unwrappingPair,
  userPair,
  userSecret,
} from '../profile/templates.js';
import { type RoundTrip, tryRoundTrips } from './roundTrips.js';
import { RECIPIENTS } from '../objects/depositaries.js';
import { unwrapChecked } from '../objects/unwrapChecked.js';
import type { OpenParts } from '../objects/openParts.js';

export interface AttackResult {
  readonly attack: AttackName;
  readonly refused: boolean;
  /** The KEK of an older ceremony that it was tried on, which is not made to refuse it. */
  readonly olderKek?: string;
}

/**
 * How much a self-test tries: `full` at every key specification that the profile claims; `quick` leaves out RSA, whose
 * keys take seconds to make.
 */
export type SelfTestExtent = 'full' | 'quick';

export interface SelfTestResult {
  readonly trips: readonly RoundTrip[];
  readonly attacks: readonly AttackResult[];
}

/**
 * Proves a token: takes every verb at the key specifications of its profile through its round trip ({@link tryRoundTrips}), then
 * tries every attack that the token must refuse ({@link tryAttacks}). Nothing of it stays in the token.
 *
 * @param stop ends it before the next trip: its reason is thrown
 */
export async function selfTest(
  token: OpenToken,
  extent: SelfTestExtent,
  stop?: AbortSignal,
): Promise<SelfTestResult> {
  const specs = token.abilities.keySpecs
    .filter((spec) => extent === 'full' || KEY_SPECS[spec].kind !== 'RSA')
    .toSorted((a, b) => bitsToFind(a) - bitsToFind(b));
  const lanes = await withWorkbench(token, ({ profile }) =>
    Promise.resolve(Math.min(profile.sessions, MOST_LANES)),
  );
  const transport = extent === 'full' ? 'tried' : 'left out';
  const trips = await tryRoundTrips(token, { specs, transport, lanes, stop });
  stop?.throwIfAborted();
  return { trips, attacks: await tryAttacks(token) };
}

/** libuv has four threads, and a token seldom more. */
const MOST_LANES = 4;

/** What making a key of this specification takes, roughly: RSA has primes to find. */
function bitsToFind(spec: KeySpec): number {
  const key = KEY_SPECS[spec];
  return 'modulusBits' in key ? key.modulusBits : 0;
}

/**
 * Tries every attack that the token must refuse, on keys of each kind made for it and on the real KEKs. All in flight:
 * nothing of it stays. Throws EscrowError `token-unavailable` when those keys cannot be made.
 */
export function tryAttacks(token: OpenToken): Promise<readonly AttackResult[]> {
  return withWorkbench(token, async (parts) => {
    const loan = new Loan(parts.driver, parts.pool, parts.log);
    try {
      const target = await makeTarget(parts, loan);
      const results: AttackResult[] = [];
      for (const attack of ATTACK_NAMES) {
        const refused = await isRefused(loan, target, attack);
        results.push({ attack, refused, ...olderKekOf(attack, parts.newestKek) });
      }
      return results;
    } finally {
      await loan.end();
    }
  });
}

function olderKekOf(attack: AttackName, newest: OpenParts['newestKek']): { readonly olderKek?: string } {
  if (!(attack in NEEDS_NEWER_KEK)) return {};
  const label = newest[NEEDS_NEWER_KEK[attack as keyof typeof NEEDS_NEWER_KEK]];
  return readKekLabel(label)?.kind === undefined ? { olderKek: label } : {};
}

/** Tries one attack. What it gained is destroyed with the loan. */
export async function isRefused(loan: Loan, target: Target, attack: AttackName): Promise<boolean> {
  try {
    await loan.step((session) => {
      const gained = ATTACKS[attack](target, session);
      if (gained !== undefined) loan.discardLater(gained);
      // The session may be left with an operation begun; a failure closes it, and so does this.
      throw new Succeeded();
    });
    return false;
  } catch (error) {
    const cause = error instanceof EscrowError ? error.cause : error;
    if (cause instanceof Succeeded) return false;
    if (cause instanceof NothingGained) return true;
    if (readFault(cause) === undefined) throw asEscrowError(error);
    return true;
  }
}

class Succeeded extends Error {}

async function makeTarget(parts: OpenParts, loan: Loan): Promise<Target> {
  const { driver, mechanisms, dialect } = parts;
  const handles = await findAttacked(parts);
  const kwp = mechanisms.plain('keyWrapWithPadding');
  const transport = await makeTransport(parts, loan);
  return loan.step((session) => {
    const keep = (handle: Handle): Handle => {
      loan.discardLater(handle);
      return handle;
    };
    const user = dialect.pair(userPair('ec-p256', kwp.mechanism));
    const pair = driver.C_GenerateKeyPair(
      session,
      mechanisms.generation('ec-p256'),
      user.publicKey,
      user.privateKey,
    );
    keep(pair.publicKey);
    keep(pair.privateKey);
    const aes = mechanisms.plain('aesKeyGen');
    const secret = keep(driver.C_GenerateKey(session, aes, dialect.template(userSecret(kwp.mechanism))));
    const under = (kind: KekKind): Target['keks'][KekKind] => {
      const kek = handles.keks[kind];
      const key = kind.endsWith(':secret') ? secret : pair.privateKey;
      return { kek, blob: Buffer.from(driver.C_WrapKey(session, kwp, kek, key, Buffer.alloc(1024))) };
    };
    const keks = mapKinds(under);
    const [point = Buffer.alloc(0)] = readBytes(driver, session, pair.publicKey, [pkcs11.CKA_EC_POINT]);
    return {
      driver,
      mechanisms,
      dialect,
      keks,
      rotating: handles.rotating,
      recipients: handles.recipients,
      user: pair.privateKey,
      point,
      grant: keep(
        unwrapChecked(parts, session, {
          mechanism: kwp,
          with: keks['operate:sign'].kek,
          wrapped: keks['operate:sign'].blob,
          into: grantKey(undefined, 'ec-p256', 'sign', [mechanisms.number('rsaPss')]),
          spec: 'ec-p256',
        }),
      ),
      share: keep(
        driver.C_GenerateKey(session, aes, dialect.template(sealingKey(mechanisms.number('aesGcm')))),
      ),
      transfer: keep(
        driver.C_GenerateKey(session, aes, dialect.template(transferKey('depositary', kwp.mechanism))),
      ),
      transport,
    };
  });
}

/** The real objects that are attacked. */
async function findAttacked({
  objects,
  newestKek,
  profile,
}: OpenParts): Promise<
  Pick<Target, 'rotating' | 'recipients'> & { readonly keks: Readonly<Record<KekKind, Handle>> }
> {
  return objects.alone(async (session) => {
    const found: Partial<Record<KekKind, Handle>> = {};
    const rotating: Partial<Record<KekKind, Handle>> = {};
    for (const kind of KEK_KINDS) {
      const kek = await objects.look(session, objectNames.kek(newestKek[kind]));
      if (kek === undefined) throw new EscrowError('token-unavailable');
      found[kind] = kek;
      if (!isOperate(kind)) continue;
      const handle = await objects.look(session, objectNames.rotating(newestKek[kind], kind));
      if (handle !== undefined) rotating[kind] = handle;
    }
    const keks = mapKinds((kind) => found[kind] ?? Buffer.alloc(0));
    const recipients = await objects.search(session, RECIPIENTS[profile.depositaryKeys]);
    return { keks, rotating, recipients };
  });
}

function mapKinds<T>(make: (kind: KekKind) => T): Readonly<Record<KekKind, T>> {
  // Object.fromEntries cannot know that the names are all the kinds.
  return Object.fromEntries(KEK_KINDS.map((kind) => [kind, make(kind)])) as Record<KekKind, T>;
}

async function makeTransport(
  { driver, generatePair, mechanisms, dialect, profile }: OpenParts,
  loan: Loan,
): Promise<Target['transport']> {
  const { publicKey, privateKey } = dialect.pair(unwrappingPair(undefined, mechanisms.opening()));
  const mechanism = mechanisms.plain('rsaKeyPairGen');
  const pair = await loan.step((session) => generatePair(session, mechanism, publicKey, privateKey));
  loan.discardLater(pair.publicKey);
  loan.discardLater(pair.privateKey);
  const spki = await loan.step((session) => readRsaSpki(driver, session, pair.publicKey));
  const oaepHash = profile.oaep === 'RSA-OAEP-256' ? 'sha256' : 'sha1';
  const padding = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash };
  return { ...pair, reply: publicEncrypt({ key: importSpki(spki), ...padding }, randomBytes(32)) };
}
