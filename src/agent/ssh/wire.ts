/** Bytes that are not what the SSH agent protocol has in their place. */
export class SshWireError extends Error {
  override readonly name = 'SshWireError';
}

/** Reads the data types of SSH (RFC 4251 section 5) from the front of some bytes. Throws {@link SshWireError} past their end. */
export class SshReader {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  get isAtEnd(): boolean {
    return this.#at === this.bytes.length;
  }

  byte(): number {
    return this.#take(1).readUInt8(0);
  }

  boolean(): boolean {
    return this.byte() !== 0;
  }

  uint32(): number {
    return this.#take(4).readUInt32BE(0);
  }

  uint64(): bigint {
    return this.#take(8).readBigUInt64BE(0);
  }

  string(): Buffer {
    return this.#take(this.uint32());
  }

  /** A string that must be UTF-8. */
  text(): string {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.string());
    } catch (cause) {
      if (cause instanceof SshWireError) throw cause;
      throw new SshWireError('a text is not UTF-8', { cause });
    }
  }

  /** A number that is not negative, in as few bytes as it takes, without the sign. */
  mpint(): Buffer {
    const bytes = this.string();
    const [first = 0, second = 0] = bytes;
    if (first >= 0x80) throw new SshWireError('a number is negative');
    if (bytes.length > 0 && first === 0 && second < 0x80) throw new SshWireError('a number is padded');
    return first === 0 ? bytes.subarray(1) : bytes;
  }

  /** All that is left. */
  rest(): Buffer {
    return this.#take(this.bytes.length - this.#at);
  }

  end(): void {
    if (!this.isAtEnd) throw new SshWireError('there is more than there should be');
  }

  #take(length: number): Buffer {
    if (length > this.bytes.length - this.#at) throw new SshWireError('there is less than there should be');
    const taken = this.bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }
}

/** A `string` of RFC 4251 section 5. */
export function sshString(content: Uint8Array | string): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([sshUint32(bytes.length), bytes]);
}

/** An `mpint` of RFC 4251 section 5, of an unsigned big-endian number. */
export function sshMpint(unsigned: Uint8Array): Buffer {
  const first = unsigned.findIndex((byte) => byte !== 0);
  const bytes = first < 0 ? Buffer.alloc(0) : Buffer.from(unsigned.subarray(first));
  const needsZero = (bytes[0] ?? 0) >= 0x80;
  return sshString(needsZero ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
}

export function sshUint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
