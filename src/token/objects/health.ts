import { type KeyObject, createHash, verify } from 'node:crypto';
import type { Handle } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import { isStaleHandle, mayBeCiphertext } from '../cryptoki/faults.js';
import type { Mechanisms } from '../profile/mechanisms.js';
import type { TokenObjects } from './objects.js';
import { objectNames } from './objectNames.js';

const KNOWN = Buffer.from('escrowd: does the token answer as it should?');
const KNOWN_DIGEST = createHash('sha256').update(KNOWN).digest();

/**
 * Whether the token works, asked by a known answer: the identity key is looked for, not remembered, signs, and
 * the signature must verify. A token whose storage is gone still answers: it finds nothing and reports no error,
 * and a wrong ciphertext reads the same as a broken device. So neither counts for anything without this.
 */
export class Health {
  #found: { readonly handle: Handle; readonly atMs: number } | undefined;

  constructor(
    private readonly objects: TokenObjects,
    private readonly mechanisms: Mechanisms,
    private readonly identity: KeyObject,
  ) {}

  /** Resolves when the token works; EscrowError `token-unavailable` when it does not. */
  async check(): Promise<void> {
    await this.objects.alone((session) => this.checkIn(session));
  }

  /** The same, for one who holds the queue of token objects already. */
  async checkIn(session: Handle): Promise<void> {
    this.#found = undefined;
    const handle = await this.objects.look(session, objectNames.signing('identity'));
    if (handle === undefined) {
      throw new EscrowError('token-unavailable', undefined, { cause: new Error('the identity key is gone') });
    }
    this.#requireAnswer(session, handle);
    this.#found = { handle, atMs: performance.now() };
  }

  /**
   * The same for who asks all the time: in a token with many objects, where a search takes long, by the identity key as it was found
   * not long ago (see `TokenObjects.restMs`). A token that is gone or has lost that key does not sign with it.
   */
  async probe(): Promise<void> {
    const found = this.#found;
    if (found === undefined || performance.now() - found.atMs >= this.objects.restMs) return this.check();
    try {
      await this.objects.alone((session) => {
        this.#requireAnswer(session, found.handle);
      });
    } catch (error) {
      if (!isStaleHandle(error)) throw error;
      await this.check();
    }
  }

  #requireAnswer(session: Handle, handle: Handle): void {
    const { driver } = this.objects;
    driver.C_SignInit(session, this.mechanisms.plain('ecdsa'), handle);
    const signature = driver.C_Sign(session, KNOWN_DIGEST, Buffer.alloc(64));
    if (verify('sha256', KNOWN, { key: this.identity, dsaEncoding: 'ieee-p1363' }, signature)) return;
    throw new EscrowError('token-unavailable', undefined, { cause: new Error('the probe does not verify') });
  }

  /**
   * Reads the failure of an operation on a ciphertext: resolves when the ciphertext is to blame, because the
   * token works; else throws `token-unavailable`.
   */
  async refusal(error: unknown): Promise<{ readonly refused: true }> {
    const cause = error instanceof EscrowError ? error.cause : error;
    if (!mayBeCiphertext(cause)) throw error;
    await this.check();
    return { refused: true };
  }
}
