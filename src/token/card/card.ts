import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import { CKR, readFault, TokenNotReady } from '../cryptoki/faults.js';
import { OAEP_HASHES } from '../profile/mechanisms.js';
import { type LoadedModule, loadModule } from '../cryptoki/module.js';
import { findAll, readRsaSpki } from '../objects/objects.js';
import { closeSession, openSession } from '../cryptoki/sessions.js';
import { findSlot, importSpki, logIn } from '../service/findLongLived.js';

/*
 * A depositary's own card: a PKCS#11 token that holds the one RSA key to which shares are encrypted. It has nothing of
 * escrowd's server, and no profile: all that is asked of it is CKM_RSA_PKCS_OAEP (PKCS#11 2.40 section 2.1.8).
 */

/** Where the key is. */
export interface CardKeyLocation {
  readonly module: string;
  readonly token: string;
  readonly key: string;
}

/** What the card is asked to open by, JOSE names. */
export type CardOaep = keyof typeof OAEP_HASHES;

/** Answers that say that the card does not know this OAEP at all. */
const UNKNOWN: ReadonlySet<number> = new Set([
  CKR.CKR_ARGUMENTS_BAD,
  CKR.CKR_MECHANISM_INVALID,
  CKR.CKR_MECHANISM_PARAM_INVALID,
]);

/** A card with its user logged in. */
export interface OpenCard {
  /** Undefined when it does not open. @throws TokenNotReady when the card cannot do this. */
  decrypt(ciphertext: Buffer, oaep: CardOaep): Buffer | undefined;
  close(): void;
}

/** The public key of the card's key (SPKI PEM); nobody logs in. @throws TokenNotReady */
export function readCardKey(location: CardKeyLocation): string {
  return atCard(location, ({ driver, slot }) => {
    const session = openSession(driver, slot);
    try {
      const handle = theOnly(driver, session, pkcs11.CKO_PUBLIC_KEY, location);
      const key = importSpki(readRsaSpki(driver, session, handle));
      return key.export({ format: 'pem', type: 'spki' }).toString();
    } finally {
      driver.C_CloseSession(session);
    }
  });
}

/** Logs in, once, and finds the key. The PIN is overwritten. @throws TokenNotReady */
export function openCard(location: CardKeyLocation, pin: Buffer): OpenCard {
  const card = loadCard(location);
  try {
    const session = logIn(card.driver, card.slot, pin);
    const handle = theOnly(card.driver, session, pkcs11.CKO_PRIVATE_KEY, location);
    return {
      decrypt: (ciphertext, oaep) => decrypt(card.driver, session, { handle, ciphertext, oaep }),
      close: () => {
        closeSession(card.driver, session, () => undefined);
        card.loaded.release();
      },
    };
  } catch (error) {
    card.loaded.release();
    throw error;
  } finally {
    pin.fill(0);
  }
}

function decrypt(
  driver: PKCS11,
  session: Handle,
  {
    handle,
    ciphertext,
    oaep,
  }: { readonly handle: Handle; readonly ciphertext: Buffer; readonly oaep: CardOaep },
): Buffer | undefined {
  const parameter = { type: pkcs11.CK_PARAMS_RSA_OAEP, source: 1, ...OAEP_HASHES[oaep] };
  try {
    driver.C_DecryptInit(session, { mechanism: pkcs11.CKM_RSA_PKCS_OAEP, parameter }, handle);
    return Buffer.from(driver.C_Decrypt(session, ciphertext, Buffer.alloc(ciphertext.length)));
  } catch (error) {
    const code = readFault(error)?.code;
    if (code !== undefined && UNKNOWN.has(code)) {
      throw new TokenNotReady('module-refused', `The card does not decrypt by ${oaep}.`, { cause: error });
    }
    return undefined;
  }
}

interface Card {
  readonly loaded: LoadedModule;
  readonly driver: PKCS11;
  readonly slot: Handle;
}

function atCard<T>(location: CardKeyLocation, work: (card: Card) => T): T {
  const card = loadCard(location);
  try {
    return work(card);
  } finally {
    card.loaded.release();
  }
}

function loadCard({ module, token }: CardKeyLocation): Card {
  const loaded = loadModule(module);
  try {
    return { loaded, driver: loaded.driver, slot: findSlot(loaded.driver, token) };
  } catch (error) {
    loaded.release();
    if (error instanceof TokenNotReady && error.reason === 'token-missing') {
      throw new TokenNotReady('token-missing', `There is no card called "${token}". Is it in its reader?`);
    }
    throw error;
  }
}

function theOnly(driver: PKCS11, session: Handle, objectClass: number, location: CardKeyLocation): Handle {
  const [handle, second] = findAll(driver, session, [
    { type: pkcs11.CKA_CLASS, value: objectClass },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_RSA },
    { type: pkcs11.CKA_LABEL, value: location.key },
  ]);
  if (handle !== undefined && second === undefined) return handle;
  const how = handle === undefined ? 'no RSA key' : 'more than one RSA key';
  throw new TokenNotReady(
    'objects-missing',
    `The card "${location.token}" holds ${how} called "${location.key}".`,
  );
}
