import { createPublicKey } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import { asEscrowError, CKR, readFault, TokenNotReady } from '../cryptoki/faults.js';
import { emptyAnchor } from '../../log/anchor.js';
import { ANCHOR, readAnchor } from '../objects/anchor.js';
import {
  type KekKind,
  KEK_KINDS,
  kekLabel,
  newestKeks,
  readKekLabel,
} from '../../escrow/records/sealing/keks.js';
import { type TokenObjects, readBytes } from '../objects/objects.js';
import { objectNames } from '../objects/objectNames.js';
import type { TokenPins } from '../objects/ceremonyPins.js';
import type { TokenProfile } from '../profile/profile.js';
import { openSession } from '../cryptoki/sessions.js';
import { ecSpki } from '../cryptoki/spki.js';
import { unboundedTrustedKeys } from '../objects/depositaries.js';
import { shownTokens } from '../cryptoki/softHsmFiles.js';

const CKF_TOKEN_INITIALIZED = 0x400;
const CKU_USER = 1;
const CEREMONY = 'Run the ceremony (scripts/ceremony init) first.';

/** The slot of the one token with this label. Throws {@link TokenNotReady}. */
export function findSlot(driver: PKCS11, label: string): Handle {
  const tokens = driver.C_GetSlotList(true).flatMap((slot) => {
    const info = driver.C_GetTokenInfo(slot);
    return (info.flags & CKF_TOKEN_INITIALIZED) === 0 ? [] : [{ slot, label: info.label.trimEnd() }];
  });
  const [found, second] = tokens.filter((token) => token.label === label);
  if (second !== undefined) {
    throw new TokenNotReady('token-ambiguous', `More than one token is called "${label}".`);
  }
  if (found === undefined) {
    const shown = shownTokens(tokens.map((token) => token.label));
    throw new TokenNotReady(
      'token-missing',
      `The module has no token called "${label}". ${shown}: look at token.label, token.module and token.environment, or run the ceremony (scripts/ceremony init) first.`,
    );
  }
  return found.slot;
}

/**
 * Opens the session that keeps the login, and logs the user in: one attempt, since tokens lock or erase
 * themselves. The PIN's bytes are zeroed, whatever happens (the driver takes a string, which cannot be).
 */
export function logIn(driver: PKCS11, slot: Handle, pin: Buffer): Handle {
  const session = openSession(driver, slot);
  try {
    driver.C_Login(session, CKU_USER, pin.toString('utf8'));
    return session;
  } catch (error) {
    const fault = readFault(error);
    if (fault?.code === CKR.CKR_USER_ALREADY_LOGGED_IN) return session;
    driver.C_CloseSession(session);
    if (fault?.name.startsWith('CKR_PIN_') === true) {
      throw new TokenNotReady('pin-refused', 'The token refused the user PIN. It was tried once.', {
        cause: error,
      });
    }
    throw asEscrowError(error);
  } finally {
    pin.fill(0);
  }
}

/** What the ceremony must have made, as found in the token. */
export interface LongLived {
  /** DER SubjectPublicKeyInfo. */
  readonly identity: Buffer;
  /** DER SubjectPublicKeyInfo. */
  readonly log: Buffer;
  /** The newest label of each kind. */
  readonly newestKek: Readonly<Record<KekKind, string>>;
  /** What an older ceremony made and is in use: it insists on less (`ceremony renew` makes it anew). */
  readonly older: readonly string[];
}

/** Looks for what the ceremony must have made; makes nothing. Throws {@link TokenNotReady}. */
export async function findLongLived(objects: TokenObjects, profile: TokenProfile): Promise<LongLived> {
  const { identity, log, keks, unbounded, anchor } = await objects
    .alone(async (session) => ({
      identity: await publicKey(objects, session, 'identity', 'secp256r1'),
      log: await publicKey(objects, session, 'log', profile.logKey === 'Ed25519' ? 'Ed25519' : 'secp256r1'),
      keks: await findKeks(objects, session),
      unbounded: profile.absentAttributes.includes('CKA_WRAP_TEMPLATE')
        ? []
        : unboundedTrustedKeys(objects.driver, session),
      anchor: profile.dataObjects
        ? readAnchor(objects.driver, session, await objects.search(session, ANCHOR))
        : emptyAnchor,
    }))
    .catch((error: unknown) => {
      throw readFault(error) === undefined ? objectsWrong(error) : error;
    });
  if (identity !== undefined && log !== undefined && isComplete(keks.newest) && anchor !== undefined) {
    const olderKeks = Object.values(keks.newest).filter((label) => readKekLabel(label)?.kind === undefined);
    const older = [...new Set([...olderKeks, ...unbounded.map(({ label }) => label)])].sort();
    return { identity, log, newestKek: keks.newest, older };
  }
  const missing = [
    ...keks.missing,
    ...Object.entries({ identity, log, 'anchor:log': anchor }).flatMap(([label, found]) =>
      found === undefined ? [label] : [],
    ),
  ];
  throw new TokenNotReady('objects-missing', `The token does not hold ${missing.join(', ')}. ${CEREMONY}`);
}

function isComplete(keks: Partial<Record<KekKind, string>>): keks is Record<KekKind, string> {
  return KEK_KINDS.every((kind) => keks[kind] !== undefined);
}

/** The long-lived objects are there, but not as the ceremony makes them. */
export function objectsWrong(cause: unknown): TokenNotReady {
  const sentence =
    'The long-lived objects of the token are not as the ceremony made them. Find out who changed them.';
  return new TokenNotReady('objects-wrong', sentence, { cause });
}

/** Throws {@link TokenNotReady} when the token's own keys are others than the record of the ceremony says. */
export function requirePinned(keys: Pick<LongLived, 'identity' | 'log'>, pins: TokenPins | undefined): void {
  if (pins === undefined) return;
  for (const name of ['identity', 'log'] as const) {
    if (!keys[name].equals(pins[name]))
      throw objectsWrong(new Error(`${name} is another key than the record of the ceremony says`));
  }
}

/** Parses DER SubjectPublicKeyInfo that the token itself gave. */
export function importSpki(spki: Buffer): ReturnType<typeof createPublicKey> {
  return createPublicKey({ key: spki, format: 'der', type: 'spki' });
}

async function publicKey(
  objects: TokenObjects,
  session: Handle,
  label: 'identity' | 'log',
  curve: 'secp256r1' | 'Ed25519',
): Promise<Buffer | undefined> {
  const signing = await objects.look(session, objectNames.signing(label));
  const verifying = await objects.look(session, objectNames.verifying(label));
  if (signing === undefined || verifying === undefined) return undefined;
  const [point] = readBytes(objects.driver, session, verifying, [pkcs11.CKA_EC_POINT]);
  return ecSpki(curve, point ?? Buffer.alloc(0));
}

/**
 * The newest of each kind, by the record of the ceremony or, without one, by what the token holds. Every one of them is looked
 * at: one that is missing is not replaced by an older.
 */
async function findKeks(
  objects: TokenObjects,
  session: Handle,
): Promise<{
  readonly newest: Readonly<Partial<Record<KekKind, string>>>;
  readonly missing: readonly string[];
}> {
  const every = [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_TOKEN, value: true },
  ];
  const labels = (await objects.search(session, every))
    .map((handle) => String(readBytes(objects.driver, session, handle, [pkcs11.CKA_LABEL])[0]))
    .filter((label) => readKekLabel(label) !== undefined);
  const newest = newestKeks(objects.check.recordedKeks(labels));
  const wanted = KEK_KINDS.map((kind) => newest[kind] ?? kekLabel(kind, 1));
  const missing: string[] = [];
  for (const label of new Set(wanted))
    if ((await objects.look(session, objectNames.kek(label))) === undefined) missing.push(label);
  return { newest: missing.length === 0 ? newest : {}, missing };
}
