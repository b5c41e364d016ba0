import { open } from 'node:fs/promises';

/** What no file is longer than that people or our programs write for us, in bytes; an export of a log is, and is not read whole. */
export const LONGEST_TEXT_BYTES = 16 * 1024 * 1024;

const CHUNK_BYTES = 64 * 1024;

/**
 * The whole of a file, a pipe or a device, which is read once and to its end. It may be a secret: it stands in what is given back, and
 * nowhere else.
 * @throws an error of the system with `code` and `path`; the code is EFBIG where it goes on for more than `maxBytes`
 */
export async function readBounded(path: string, maxBytes = LONGEST_TEXT_BYTES): Promise<Buffer> {
  const file = await open(path, 'r');
  const chunks: Buffer[] = [];
  try {
    for (let length = 0; ;) {
      const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(CHUNK_BYTES) });
      if (bytesRead === 0) return Buffer.concat(chunks, length);
      chunks.push(buffer.subarray(0, bytesRead));
      length += bytesRead;
      if (length > maxBytes)
        throw Object.assign(new Error(`${path} has more than ${maxBytes} bytes`), {
          code: 'EFBIG',
          syscall: 'read',
        });
    }
  } catch (error) {
    // of a file that is open Node does not say which it is
    throw Object.assign(error as Error, { path });
  } finally {
    for (const chunk of chunks) chunk.fill(0);
    await file.close();
  }
}
