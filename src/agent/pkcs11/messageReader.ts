import { MalformedMessage } from './malformed.js';

/** The length that stands for NULL. */
const NULL_LENGTH = 0xffff_ffff;
/** As many as no tool asks for at once. */
const MOST_ITEMS = 1024;

/**
 * Reads the types of p11-kit's RPC protocol, version 0, from the front of a body; the letters are those of its signatures.
 * Each method throws {@link MalformedMessage} where the bytes are not of its type.
 */
export class MessageReader {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  /** `y` */
  byte(): number {
    return this.#take(1).readUInt8(0);
  }

  uint32(): number {
    return this.#take(4).readUInt32BE(0);
  }

  /**
   * `u`, a CK_ULONG. Above 2^53 it is not exact, which is no matter: no handle, type, flag or length of this agent is so large.
   */
  ulong(): number {
    return Number(this.#take(8).readBigUInt64BE(0));
  }

  /** Length and bytes; undefined: NULL. */
  bytesOrNull(): Buffer | undefined {
    const length = this.uint32();
    return length === NULL_LENGTH ? undefined : this.#take(length);
  }

  /** `ay`; undefined: NULL, which is sent with a length and no bytes. */
  byteArray(): Buffer | undefined {
    const isThere = this.byte() !== 0;
    if (isThere) return this.bytesOrNull();
    this.uint32();
    return undefined;
  }

  /** `fy` and `fu`: for how many bytes or numbers there is room at the caller; 0: only the length is asked. */
  room(): number {
    return this.uint32();
  }

  /** How many items of a list follow. */
  count(): number {
    const count = this.uint32();
    if (count > MOST_ITEMS) throw new MalformedMessage('a list is too long');
    return count;
  }

  end(): void {
    if (this.#at !== this.bytes.length) throw new MalformedMessage('there is more than there should be');
  }

  #take(length: number): Buffer {
    if (length > this.bytes.length - this.#at)
      throw new MalformedMessage('there is less than there should be');
    const taken = this.bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }
}
