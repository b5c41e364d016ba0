import type { GrantedUses } from '../grantedUses.js';
import { type Told, UseRefused } from '../use.js';
import type { KeyObjectShown, ShownKey } from './keyObjects.js';
import type { ParameterRefused } from './mechanisms.js';
import { CKA, CKO, CKR, Pkcs11Error } from './numbers.js';
import { type Session, Sessions } from './sessions.js';

/** Uses that one program waits for at once: it has one in each session, and closed sessions end soon. */
const MOST_USES = 256;

/** What every connection has. */
export interface Pkcs11Parts {
  readonly objects: ReadonlyMap<number, KeyObjectShown>;
  readonly uses: Pick<GrantedUses, 'sign' | 'decrypt'>;
  readonly tell: (told: Told) => void;
}

/** One program, and what it has begun. */
export class Caller {
  readonly sessions = new Sessions();
  isInitialized = false;
  isLoggedIn = false;
  #uses = 0;

  constructor(
    readonly parts: Pkcs11Parts,
    /** For people: `pkcs11-tool[1234]`. */
    readonly name: string,
  ) {}

  /** @throws Pkcs11Error when the handle is not that of a private key */
  privateKey(handle: number): ShownKey {
    const object = this.parts.objects.get(handle);
    if (object === undefined) throw new Pkcs11Error(CKR.KEY_HANDLE_INVALID);
    if (object.attributes.get(CKA.CLASS) !== CKO.PRIVATE_KEY)
      throw new Pkcs11Error(CKR.KEY_FUNCTION_NOT_PERMITTED);
    return object.shown;
  }

  /**
   * What the use gives. Until it is over nothing else is begun in its session.
   * @throws Pkcs11Error when it is refused: who runs the agent is told why, the program is not
   */
  async used(session: Session, use: () => Promise<Buffer>): Promise<Buffer> {
    if (this.#uses >= MOST_USES) throw new Pkcs11Error(CKR.SESSION_COUNT);
    this.#uses += 1;
    session.usesUnderWay += 1;
    try {
      return await use();
    } catch (error) {
      if (error instanceof UseRefused) throw new Pkcs11Error(CKR.FUNCTION_CANCELED);
      throw error;
    } finally {
      session.usesUnderWay -= 1;
      this.#uses -= 1;
    }
  }

  /** Tells who runs the agent what was refused before any grant was looked for. */
  refused({ key }: ShownKey, what: string, sentence: string): void {
    this.parts.tell({
      ...{ event: 'refused', key: key.key, code: 'not-supported' },
      sentence: `Refused: ${this.name} wanted ${key.name} to ${what}. ${sentence}`,
    });
  }

  /** The same of a mechanism, whatever the key. */
  refusedParameters({ sentence }: ParameterRefused): void {
    this.parts.tell({
      ...{ event: 'refused', code: 'not-supported' },
      sentence: `Refused: ${this.name}. ${sentence}`,
    });
  }

  /** The connection has closed: what is waited for is aborted. */
  end(): void {
    this.sessions.closeAll();
  }
}
