import type { Handle, PKCS11 } from 'pkcs11js';
import type { Template } from '../../src/token/cryptoki/attributes.js';
import { findModule, libraryParameters, loadModule } from '../../src/token/cryptoki/module.js';
import { findAll } from '../../src/token/objects/objects.js';
import { openSession } from '../../src/token/cryptoki/sessions.js';
import { findSlot } from '../../src/token/service/findLongLived.js';
import type { TestToken } from './testToken.js';

/** The token as an attacker on the host has it: the driver and a session, with no template of ours in between. */
export interface RawToken {
  readonly driver: PKCS11;
  readonly slot: Handle;
  readonly session: Handle;
  find(template: Template): readonly Handle[];
  close(): void;
}

/** Opens the token beside whatever this process has open; logs in as `who` unless somebody is in already. */
export function openRaw(
  { place, userPin, soPin }: Pick<TestToken, 'place' | 'userPin' | 'soPin'>,
  who: 'user' | 'security officer' | 'as is',
): RawToken {
  const { profile, label, environment } = place;
  const parameters = libraryParameters(profile, label, environment);
  const loaded = loadModule(findModule(profile, undefined), environment, parameters);
  const { driver } = loaded;
  const slot = findSlot(driver, label);
  const session = openSession(driver, slot);
  if (who === 'user') driver.C_Login(session, 1, userPin);
  if (who === 'security officer') driver.C_Login(session, 0, soPin);
  return {
    driver,
    slot,
    session,
    find: (template) => findAll(driver, session, template),
    close: () => {
      if (who !== 'as is') driver.C_Logout(session);
      driver.C_CloseSession(session);
      loaded.release();
    },
  };
}
