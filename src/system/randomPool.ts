import { randomFillSync } from 'node:crypto';

/** So many bytes are drawn at once. */
const DRAWN_BYTES = 4096;

/**
 * Random bytes of the operating system's generator (`crypto.randomFillSync`), drawn many at a time: a draw costs far more than 16
 * bytes do. No byte is given twice, and none is kept that was given. For names, which are told to everybody; not for keys.
 */
export function randomPool(): (length: number) => Uint8Array {
  const drawn = Buffer.alloc(DRAWN_BYTES);
  let at = DRAWN_BYTES;
  return (length) => {
    if (length > DRAWN_BYTES) return randomFillSync(Buffer.alloc(length));
    if (at + length > DRAWN_BYTES) {
      randomFillSync(drawn);
      at = 0;
    }
    const given = Buffer.from(drawn.subarray(at, at + length));
    drawn.fill(0, at, at + length);
    at += length;
    return given;
  };
}
