import type { Handle, PKCS11 } from 'pkcs11js';
import type { GrantId } from '../../../src/escrow/records/ids.js';
import { findModule, libraryParameters, loadModule } from '../../../src/token/cryptoki/module.js';
import { openSession } from '../../../src/token/cryptoki/sessions.js';
import { objectNames } from '../../../src/token/objects/objectNames.js';
import { findAll } from '../../../src/token/objects/objects.js';
import { Mechanisms } from '../../../src/token/profile/mechanisms.js';
import { readProfile } from '../../../src/token/profile/profile.js';
import { findSlot, logIn } from '../../../src/token/service/findLongLived.js';
import { SOFTHSM_PROFILE_FILE } from '../../support/softhsm.js';
import { KEYS, type KeyWord } from './cells.js';

/** A token that holds the keys of grants, and which grants. */
export interface TokenPlace {
  readonly label: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly userPin: string;
  readonly grants: Readonly<Partial<Record<KeyWord, string>>>;
}

/** The token by plain pkcs11js, with nothing of the daemon's between. */
export interface BareToken {
  readonly driver: PKCS11;
  readonly mechanisms: Mechanisms;
  readonly session: () => Handle;
  /** The object that signs under the grant of this key. Throws when there is none. */
  readonly key: (word: KeyWord) => Handle;
}

/** Opens the token for the life of the process. */
export function openBareToken({ label, environment, userPin, grants }: TokenPlace): BareToken {
  const profile = readProfile(SOFTHSM_PROFILE_FILE);
  const parameters = libraryParameters(profile, label, environment);
  const { driver } = loadModule(findModule(profile, undefined), environment, parameters);
  const slot = findSlot(driver, label);
  const session = logIn(driver, slot, Buffer.from(userPin));
  return {
    driver,
    mechanisms: new Mechanisms(profile),
    session: () => openSession(driver, slot),
    key: (word) => {
      const grant = grants[word] as GrantId | undefined;
      const named = grant === undefined ? undefined : objectNames.grant(grant, KEYS[word].spec);
      const [handle] = named === undefined ? [] : findAll(driver, session, named.template);
      if (handle === undefined) throw new Error(`the token has no key for ${word}`);
      return handle;
    },
  };
}
