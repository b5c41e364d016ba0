import type { ShownKey } from './keyObjects.js';
import type { WantedDecryption } from './mechanisms.js';
import { CKR, Pkcs11Error } from './numbers.js';
import type { SignOperation } from './signOperation.js';

/** A decryption that a session has begun. */
export interface DecryptOperation {
  readonly shown: ShownKey;
  readonly wanted: WantedDecryption;
  /** What came of it, while the caller has not had room for it: the same is not decrypted twice. */
  readonly done?: { readonly ciphertext: Buffer; readonly plaintext: Buffer };
}

/** A session of PKCS#11, of one connection. */
export interface Session {
  readonly isReadWrite: boolean;
  /** Aborts the uses that are waited for in it. */
  readonly ended: AbortController;
  /** How many uses of a key are under way, one to sign and one to decrypt at most: nothing else is begun then. */
  usesUnderWay: number;
  /** Handles that were found and not fetched yet. */
  found: readonly number[] | undefined;
  sign: SignOperation | undefined;
  decrypt: DecryptOperation | undefined;
}

/** Of one connection: tools have a few, servers one for each thread. */
const MOST_SESSIONS = 128;

/** The sessions of one connection, by their handles. */
export class Sessions {
  readonly #open = new Map<number, Session>();
  #last = 0;

  get count(): number {
    return this.#open.size;
  }

  /** @throws Pkcs11Error when there are too many */
  open(isReadWrite: boolean): number {
    if (this.#open.size >= MOST_SESSIONS) throw new Pkcs11Error(CKR.SESSION_COUNT);
    this.#last += 1;
    this.#open.set(this.#last, {
      ...{ isReadWrite, ended: new AbortController(), usesUnderWay: 0 },
      ...{ found: undefined, sign: undefined, decrypt: undefined },
    });
    return this.#last;
  }

  /** @throws Pkcs11Error when there is no such session */
  get(handle: number): Session {
    const session = this.#open.get(handle);
    if (session === undefined) throw new Pkcs11Error(CKR.SESSION_HANDLE_INVALID);
    return session;
  }

  /** @throws Pkcs11Error when there is no such session */
  close(handle: number): void {
    this.get(handle).ended.abort();
    this.#open.delete(handle);
  }

  closeAll(): void {
    for (const { ended } of this.#open.values()) ended.abort();
    this.#open.clear();
  }
}
