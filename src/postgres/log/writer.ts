import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import type { Certifier } from '../../escrow/ports/signers.js';
import { leafHash } from '../../log/tree/merkle.js';
import { batchBytes, writerInput, type Batch } from '../../log/statements/writer.js';
import type { Ask } from '../pool.js';

/** A batch as it is sent: who wrote it is in it. */
export interface SignedBatch extends Batch {
  readonly signature: Uint8Array;
  /** The exact bytes of its entries. */
  readonly entries: readonly Uint8Array[];
}

/**
 * The writer that this process is: its key never leaves it, and every batch that it appends is signed with that. Of two of
 * its batches the one that was signed first must stand first in the log, so whoever signs one has found out what became of
 * all that were sent on another connection.
 */
export class Writer {
  readonly id: string;
  readonly #log: string;
  readonly #key: KeyObject;
  /** What was signed and may stand or not. */
  readonly #open = new Set<number>();
  #counter = 0;
  #follows = 0;

  constructor(id: string, log: string, key: KeyObject) {
    this.id = id;
    this.#log = log;
    this.#key = key;
  }

  /** Signs the next batch: these entries, in this order. */
  sign(entries: readonly Uint8Array[]): SignedBatch {
    this.#counter += 1;
    const counter = this.#counter;
    this.#open.add(counter);
    const batch = {
      log: this.#log,
      writer: this.id,
      counter,
      follows: this.#follows,
      since: Math.min(...this.#open),
      leaves: entries.map(leafHash),
    };
    return { ...batch, entries, signature: sign(null, batchBytes(batch), this.#key) };
  }

  /** Says that a batch stands in the log. */
  stands({ counter }: Pick<Batch, 'counter'>): void {
    this.#open.delete(counter);
    this.#follows = Math.max(this.#follows, counter);
  }

  /** Says that a batch does certainly not stand in the log, nor ever will. */
  isVoid({ counter }: Pick<Batch, 'counter'>): void {
    this.#open.delete(counter);
  }
}

/**
 * Makes this process a writer: with a new key, which the token's identity key certifies. The certificate is stored when it
 * resolves. `from`: where the entries without a writer end. Throws EscrowError `token-unavailable`, `store-unavailable`.
 */
export async function certifiedWriter(
  ask: Ask,
  by: {
    readonly id: string;
    readonly log: string;
    readonly from: number;
    readonly certifier: Certifier;
    readonly at: Date;
  },
): Promise<Writer> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const input = writerInput({
    aud: by.log,
    sub: by.id,
    key: String(publicKey.export({ format: 'jwk' }).x),
    from: by.from,
    iat: Math.floor(by.at.getTime() / 1000),
  });
  const signature = Buffer.from(await by.certifier.attest(Buffer.from(input, 'ascii'))).toString('base64url');
  await ask('insert into log_writer (id, certificate) values (?, ?)', [by.id, `${input}.${signature}`]);
  return new Writer(by.id, by.log, privateKey);
}
