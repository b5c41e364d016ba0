import type { Handle } from 'pkcs11js';
import { Dialect } from '../profile/dialect.js';
import { CKR, readFault } from '../cryptoki/faults.js';
import type { NewPair } from '../cryptoki/keyPairs.js';
import { Mechanisms } from '../profile/mechanisms.js';
import { type LoadedModule, loadModule } from '../cryptoki/module.js';
import type { PairTokenLocation } from '../objects/pairMaker.js';
import { closeSession, openSession } from '../cryptoki/sessions.js';
import { findSlot, logIn } from './findLongLived.js';
import { oneTimePair } from '../profile/templates.js';

/** Makes unwrapping pairs that stay in the token: the other side of a `PairMaker`. */
export class PairServer {
  readonly #module: LoadedModule;
  readonly #slot: Handle;
  #session: Handle;
  #last: { readonly label: string; readonly pair: NewPair } | undefined;

  /** Loads the module and logs in, once. `pin` is zeroed. Throws TokenNotReady. */
  constructor(
    private readonly location: PairTokenLocation,
    pin: Buffer,
  ) {
    this.#module = loadModule(location.modulePath, location.environment, location.parameters);
    this.#slot = findSlot(this.#module.driver, location.label);
    logIn(this.#module.driver, this.#slot, pin);
    this.#session = openSession(this.#module.driver, this.#slot);
  }

  /** The CK_RV of making one under this label. The last one is destroyed first when it has the same. */
  async make(label: string): Promise<number> {
    const { profile } = this.location;
    const mechanisms = new Mechanisms(profile);
    const asked = new Dialect(profile).pair(oneTimePair(label, mechanisms.oneTime()));
    const mechanism = mechanisms.plain('rsaKeyPairGen');
    try {
      this.#destroyLast(label);
      const { generatePair } = this.#module;
      const pair = await generatePair(this.#session, mechanism, asked.publicKey, asked.privateKey);
      this.#last = { label, pair };
      return 0;
    } catch (error) {
      // an error can leave a session with an operation begun
      closeSession(this.#module.driver, this.#session, () => undefined);
      this.#session = openSession(this.#module.driver, this.#slot);
      return readFault(error)?.code ?? CKR.CKR_GENERAL_ERROR;
    }
  }

  #destroyLast(label: string): void {
    const last = this.#last;
    this.#last = undefined;
    if (last?.label !== label) return;
    const { driver } = this.#module;
    for (const handle of [last.pair.privateKey, last.pair.publicKey])
      driver.C_DestroyObject(this.#session, handle);
  }
}
