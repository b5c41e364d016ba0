import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';

import type { NoticeKind } from '../escrow/records/notice.js';
import { payloadOf } from './payload.js';
import type { DeliveryResult, Notices, Sink } from './sink.js';
import { codeOf, messageOf } from '../system/errors.js';
import { syncDirectory } from '../system/files.js';

export interface FileOptions {
  readonly path: string;
  readonly kinds: ReadonlySet<NoticeKind>;
  readonly origin: string;
}

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR } = constants;

/**
 * Appends notices to a file, one JSON value a line. They are on the disk when they are taken. The file is opened for each
 * batch, so that whatever rotates it needs no signal; one that is made is readable by its owner only.
 */
export class FileSink implements Sink {
  readonly name = 'file';
  readonly kinds: ReadonlySet<NoticeKind>;
  readonly #options: FileOptions;

  constructor(options: FileOptions) {
    this.kinds = options.kinds;
    this.#options = options;
  }

  async deliver(notices: Notices): Promise<DeliveryResult> {
    const { path, origin } = this.#options;
    const lines = notices.map((notice) => `${JSON.stringify(payloadOf(origin, notice))}\n`).join('');
    try {
      const file = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
      try {
        const { size } = await file.stat();
        const isTorn = size > 0 && !(await endsWithNewline(file, size));
        await file.appendFile(isTorn ? `\n${lines}` : lines);
        await file.sync();
        // the name of a new file must be on the disk as well
        if (size === 0) await syncDirectory(dirname(path));
      } finally {
        await file.close();
      }
      return { accepted: notices.length };
    } catch (error) {
      const code = codeOf(error);
      const fault = `The file cannot be written${code === undefined ? '' : ` (${code})`}.`;
      return { accepted: 'none', because: 'unavailable', fault, reason: messageOf(error) };
    }
  }

  close(): void {
    // nothing is held between batches
  }
}

/** Whether the last line is whole: a crash or a full disk may have left half of one, which then stays a line of its own. */
async function endsWithNewline(file: FileHandle, size: number): Promise<boolean> {
  const last = Buffer.alloc(1);
  await file.read(last, 0, 1, size - 1);
  return last[0] === 0x0a;
}
