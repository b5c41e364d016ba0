import { KeyFileError } from './keyFileError.js';

/** Tags of DER (X.690 section 8.1.2) that private keys are made of. */
export const TAG = {
  integer: 0x02,
  bitString: 0x03,
  octets: 0x04,
  null: 0x05,
  oid: 0x06,
  sequence: 0x30,
  context0: 0xa0,
  context1: 0xa1,
} as const;

/**
 * Reads DER values one after the other, in the one spelling that each has (X.690 section 10). What it gives is part of what it
 * was given: nothing is copied, so that overwriting that overwrites everything.
 */
export class DerReader {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  /** The tag of the next value; undefined at the end. */
  get next(): number | undefined {
    return this.bytes[this.#at];
  }

  /** The content of the next value, which must have this tag. @throws KeyFileError `der-malformed` */
  take(tag: number): Buffer {
    if (this.next !== tag) throw new KeyFileError('der-malformed');
    this.#at += 1;
    const length = this.#length();
    const content = this.bytes.subarray(this.#at, this.#at + length);
    if (content.length !== length) throw new KeyFileError('der-malformed');
    this.#at += length;
    return content;
  }

  /** The same, to be read further. */
  enter(tag: number): DerReader {
    return new DerReader(this.take(tag));
  }

  /** A non-negative INTEGER, big-endian without leading zeros; empty for 0. @throws KeyFileError `der-malformed` */
  number(): Buffer {
    const content = this.take(TAG.integer);
    const [first = 0x80, second = 0x80] = content;
    // X.690 section 8.3.2: the first nine bits are not all the same
    if (first >= 0x80 || (first === 0 && content.length > 1 && second < 0x80)) {
      throw new KeyFileError('der-malformed');
    }
    return first === 0 ? content.subarray(1) : content;
  }

  /** A number that is small, such as a version or a count. @throws KeyFileError `der-malformed` */
  small(): number {
    const digits = this.number();
    if (digits.length > 4) throw new KeyFileError('der-malformed');
    return digits.reduce((number, digit) => number * 256 + digit, 0);
  }

  /** Whatever comes next, with its tag and length. */
  any(): Buffer {
    const from = this.#at;
    this.take(this.next ?? 0);
    return this.bytes.subarray(from, this.#at);
  }

  /** Nothing may be left. @throws KeyFileError with this code */
  end(otherwise: 'der-malformed' | 'bytes-behind' = 'der-malformed'): void {
    if (this.#at !== this.bytes.length) throw new KeyFileError(otherwise);
  }

  /** X.690 section 10.1: definite, in the shortest form. */
  #length(): number {
    const first = this.bytes[this.#at] ?? 0x80;
    this.#at += 1;
    if (first < 0x80) return first;
    const digits = this.bytes.subarray(this.#at, this.#at + (first & 0x7f));
    this.#at += digits.length;
    const isShortest = (digits[0] ?? 0) !== 0 && (digits.length > 1 || (digits[0] ?? 0) >= 0x80);
    if (digits.length !== (first & 0x7f) || digits.length > 3 || !isShortest) {
      throw new KeyFileError('der-malformed');
    }
    return digits.reduce((length, digit) => length * 256 + digit, 0);
  }
}
