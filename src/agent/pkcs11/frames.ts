import { MalformedMessage } from './malformed.js';

/** One message of p11-kit's RPC protocol. */
export interface Frame {
  /** Chosen by the program; its answer has the same. Never 0. */
  readonly tag: number;
  readonly body: Buffer;
}

const HEADER_BYTES = 12;
const MOST_OPTION_BYTES = 1024;
/** What a program may send to be signed in one call; what is longer it sends in parts. */
const MOST_BODY_BYTES = 8 * 1024 * 1024;
const LEAST_CAPACITY = 4096;
const NOTHING = Buffer.alloc(0);

/**
 * Cuts a stream into frames: tag, length of the options, length of the body (32 bits each, big-endian), options, body. What it holds
 * is at most twice what has come of one frame, however small the pieces are.
 */
export class FrameReader {
  #unread = NOTHING;
  #length = 0;
  /** How many bytes make a header, or the frame whose header is known. */
  #needed = HEADER_BYTES;

  /**
   * The frames that this chunk completes. Their bodies stay as they are afterwards.
   * @throws MalformedMessage when a length is beyond its bound; nothing that follows can be read then
   */
  *push(chunk: Buffer): Generator<Frame, void> {
    let rest = chunk;
    if (this.#length > 0) {
      this.#append(chunk);
      if (this.#length < this.#needed) return;
      rest = this.#unread.subarray(0, this.#length);
      // the frames point into it
      this.#unread = NOTHING;
      this.#length = 0;
    }
    while (rest.length >= HEADER_BYTES) {
      const [tag, optionBytes, bodyBytes] = [
        rest.readUInt32BE(0),
        rest.readUInt32BE(4),
        rest.readUInt32BE(8),
      ];
      if (tag === 0) throw new MalformedMessage('a message has no tag');
      if (optionBytes > MOST_OPTION_BYTES || bodyBytes > MOST_BODY_BYTES)
        throw new MalformedMessage('a message is too long');
      const end = HEADER_BYTES + optionBytes + bodyBytes;
      this.#needed = end;
      if (rest.length < end) break;
      this.#needed = HEADER_BYTES;
      const body = rest.subarray(HEADER_BYTES + optionBytes, end);
      rest = rest.subarray(end);
      yield { tag, body };
    }
    this.#append(rest);
  }

  #append(piece: Buffer): void {
    const length = this.#length + piece.length;
    if (length > this.#unread.length) {
      const grown = Buffer.alloc(Math.max(LEAST_CAPACITY, 2 * this.#unread.length, length));
      this.#unread.copy(grown, 0, 0, this.#length);
      this.#unread = grown;
    }
    piece.copy(this.#unread, this.#length);
    this.#length = length;
  }
}

/** The bytes of a frame without options. */
export function frameOf({ tag, body }: Frame): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(tag, 0);
  header.writeUInt32BE(body.length, 8);
  return Buffer.concat([header, body]);
}
