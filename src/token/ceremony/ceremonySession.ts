import { type Session, type Slot, Module, SessionFlag, TokenFlag, UserType } from 'graphene-pk11';
import type { PKCS11 } from 'pkcs11js';
import { readFault } from '../cryptoki/faults.js';
import { type ModuleEnvironment, findModule, libraryParameters, loadModule } from '../cryptoki/module.js';
import { lookedIn, shownTokens } from '../cryptoki/softHsmFiles.js';
import type { TokenProfile } from '../profile/profile.js';

export interface TokenLocation {
  readonly profile: TokenProfile;
  readonly label: string;
  readonly modulePath?: string;
  readonly environment?: ModuleEnvironment;
}

/** The ceremony cannot go on; the message says why, and what a person can do. */
export class CeremonyRefused extends Error {
  override readonly name = 'CeremonyRefused';
}

/** The module, loaded for one act of the ceremony. */
export interface CeremonySession {
  readonly driver: PKCS11;
  readonly location: TokenLocation;
  /** Where its tokens are looked for, and which it shows, in words. */
  readonly looked: () => string;
  /** The slot of the token, if it has been initialised under this label. */
  findSlot(): Slot | undefined;
  /** A slot whose token nobody has initialised. */
  findFreeSlot(): Slot | undefined;
}

/** Loads the module for the length of `work`. Nobody else in this process may have the token open. */
export async function withToken<T>(
  location: TokenLocation,
  work: (ceremony: CeremonySession) => Promise<T>,
): Promise<T> {
  const path = findModule(location.profile, location.modulePath);
  const loaded = loadModule(
    path,
    location.environment,
    libraryParameters(location.profile, location.label, location.environment),
  );
  const module = new Module(loaded.driver);
  const slots = (): readonly Slot[] => {
    const present = module.getSlots(true);
    return Array.from({ length: present.length }, (_, index) => present.items(index));
  };
  const initialised = (slot: Slot): boolean => (slot.getToken().flags & TokenFlag.TOKEN_INITIALIZED) !== 0;
  try {
    return await work({
      driver: loaded.driver,
      location,
      looked: () => {
        const labels = slots()
          .filter(initialised)
          .map((slot) => slot.getToken().label);
        const where = lookedIn(path, { ...process.env, ...location.environment });
        return `looked in ${where}. ${shownTokens(labels)}`;
      },
      findSlot: () => {
        const [found, second] = slots().filter(
          (slot) => initialised(slot) && slot.getToken().label === location.label,
        );
        if (second !== undefined) {
          throw new CeremonyRefused(
            `More than one token is called "${location.label}": remove or rename one.`,
          );
        }
        return found;
      },
      findFreeSlot: () => slots().find((slot) => !initialised(slot)),
    });
  } finally {
    loaded.release();
  }
}

/** The slot of the token. Throws {@link CeremonyRefused} when there is no such token. */
export function getSlot(ceremony: CeremonySession): Slot {
  const slot = ceremony.findSlot();
  if (slot === undefined) {
    throw new CeremonyRefused(
      `There is no token called "${ceremony.location.label}": ${ceremony.looked()}. Is another --token-conf, --env, --module or --label meant? \`ceremony init\` makes a new token.`,
    );
  }
  return slot;
}

/** Logs the user in for the length of `work`. One attempt. */
export function asUser<T>(slot: Slot, pin: Buffer, work: (session: Session) => T | Promise<T>): Promise<T> {
  return loggedIn(slot, USER, pin, work);
}

/** Logs the security officer in for the length of `work`. One attempt. */
export function asSecurityOfficer<T>(
  slot: Slot,
  pin: Buffer,
  work: (session: Session) => T | Promise<T>,
): Promise<T> {
  return loggedIn(slot, OFFICER, pin, work);
}

/** The PINs of both. Where the token has no security officer, `soPin` is not used and may be empty. */
export interface Pins {
  readonly soPin: Buffer;
  readonly userPin: Buffer;
}

/**
 * The security officer works, then the user, in one session: public objects in flight that the officer has made are there for
 * the user, and all die with it. One attempt each.
 */
export async function officerThenUser<First, Then>(
  slot: Slot,
  { soPin, userPin }: Pins,
  first: (session: Session) => First,
  then: (session: Session, made: First) => Then,
): Promise<Then> {
  const session = slot.open(SessionFlag.SERIAL_SESSION | SessionFlag.RW_SESSION);
  try {
    const made = await during(session, OFFICER, soPin, () => first(session));
    return await during(session, USER, userPin, () => then(session, made));
  } finally {
    session.close();
  }
}

interface Role {
  readonly type: UserType;
  readonly name: string;
}
const USER: Role = { type: UserType.USER, name: 'user' };
const OFFICER: Role = { type: UserType.SO, name: 'security officer' };

/** The security officer and the user cannot be logged in at once in one process, so each act logs out again. */
async function loggedIn<T>(
  slot: Slot,
  who: Role,
  pin: Buffer,
  work: (session: Session) => T | Promise<T>,
): Promise<T> {
  const session = slot.open(SessionFlag.SERIAL_SESSION | SessionFlag.RW_SESSION);
  try {
    return await during(session, who, pin, () => work(session));
  } finally {
    session.close();
  }
}

async function during<T>(session: Session, who: Role, pin: Buffer, work: () => T | Promise<T>): Promise<T> {
  try {
    session.login(pin.toString('utf8'), who.type);
  } catch (error) {
    const fault = readFault(error)?.name ?? 'unknown';
    const why = fault.startsWith('CKR_PIN_')
      ? `The token refused the PIN of the ${who.name}. It was tried once; tokens lock after a few tries.`
      : `The ${who.name} cannot log in (${fault}). Is the token open elsewhere in this process?`;
    throw new CeremonyRefused(why, { cause: error });
  }
  try {
    return await work();
  } finally {
    session.logout();
  }
}
