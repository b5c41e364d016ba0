/** Writes the types of p11-kit's RPC protocol, version 0; the letters are those of its signatures. */
export class MessageWriter {
  readonly #parts: Buffer[] = [];

  /** `y` */
  byte(value: number): this {
    return this.#add(Buffer.of(value));
  }

  uint32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return this.#add(bytes);
  }

  /** `u` */
  ulong(value: number | bigint): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt(value));
    return this.#add(bytes);
  }

  /** `v` */
  version(major: number, minor: number): this {
    return this.#add(Buffer.of(major, minor));
  }

  /** `s`: padded with blanks to `length` bytes; cut where it is longer, between characters. */
  padded(text: string, length: number): this {
    let end = text.length;
    while (Buffer.byteLength(text.slice(0, end)) > length) end -= 1;
    const bytes = Buffer.alloc(length, ' ');
    bytes.write(text.slice(0, end));
    return this.bytesOrNull(bytes);
  }

  /** Length and bytes; undefined: NULL. */
  bytesOrNull(bytes: Buffer | undefined): this {
    return bytes === undefined ? this.uint32(0xffff_ffff) : this.uint32(bytes.length).#add(bytes);
  }

  /** `ay` */
  byteArray(bytes: Buffer): this {
    return this.byte(1).bytesOrNull(bytes);
  }

  /** `ay` without its bytes: how many there are, or how much room they need. */
  byteArrayLength(length: number): this {
    return this.byte(0).uint32(length);
  }

  /** `au` */
  ulongArray(values: readonly number[]): this {
    this.byte(1).uint32(values.length);
    for (const value of values) this.ulong(value);
    return this;
  }

  /** `au` without its numbers. */
  ulongArrayLength(length: number): this {
    return this.byte(0).uint32(length);
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #add(bytes: Buffer): this {
    this.#parts.push(bytes);
    return this;
  }
}
