import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import { syncDirectory, replaceFile, writeNewFile } from '../system/files.js';
import { codeOf } from '../system/errors.js';
import type { Cosigned } from '../log/note/addCheckpoint.js';
import { decodeBase64, encodeBase64 } from '../log/note/base64.js';
import { hashLengthBytes } from '../log/tree/merkle.js';
import { decodeUtf8 } from '../log/entry/plainText.js';
import { WitnessFault } from './errors.js';
import { jsonOrUndefined } from '../system/json.js';
import { makeDirectories } from '../system/place.js';

/** What a witness remembers of a log: what it has cosigned last, and the note by which the log had signed it. */
export type Remembered = Cosigned & { readonly note: string };

/**
 * The memory of a witness. All that it promises rests on this: it must never be lost, emptied or put back to an older
 * one while its key is believed.
 */
export interface WitnessState {
  /** What was cosigned last of this log; undefined: nothing yet. @throws WitnessFault `witness-state` */
  latest(origin: string): Promise<Remembered | undefined>;
  /** Durable when it resolves; a crash at any instant leaves the old state or the new. One call at a time. */
  remember(origin: string, latest: Remembered): Promise<void>;
}

const root = z.string().transform((text, context) => {
  const bytes = decodeBase64(text);
  if (bytes?.length === hashLengthBytes) return bytes;
  context.addIssue({ code: 'custom', message: 'not a root' });
  return z.NEVER;
});
const schema = z.strictObject({
  /** Whose memory this is. */
  vkey: z.string(),
  logs: z.record(z.string(), z.strictObject({ size: z.int().min(0), root, note: z.string() })),
});
type StateFile = z.output<typeof schema>;

const fileName = 'state.json';

/**
 * Makes the state of a new witness, which has seen nothing.
 * @throws WitnessFault `witness-exists` when there is a state already: it is never overwritten.
 */
export async function createState(directory: string, vkey: string): Promise<void> {
  await makeDirectories(directory, 0o700);
  try {
    await writeNewFile(join(directory, fileName), contentOf({ vkey, logs: {} }), 0o600);
  } catch (cause) {
    if (codeOf(cause) !== 'EEXIST') throw cause;
    throw new WitnessFault('witness-exists', `${directory} has the state of a witness already`, { cause });
  }
  await syncDirectory(directory);
}

/**
 * Opens the state of the witness with this key. It is read anew each time, so that nobody signs by a memory that the
 * disk does not have.
 * @throws WitnessFault `witness-state` when it is missing, malformed, or of another witness.
 */
export async function openState(directory: string, vkey: string): Promise<WitnessState> {
  const path = join(directory, fileName);
  await readState(path, vkey);
  return {
    latest: async (origin) => {
      const { logs } = await readState(path, vkey);
      return Object.hasOwn(logs, origin) ? logs[origin] : undefined;
    },
    remember: async (origin, latest) => {
      const state = await readState(path, vkey);
      const logs = { ...state.logs, [origin]: latest };
      await replaceFile(path, contentOf({ vkey, logs }), 0o600);
    },
  };
}

async function readState(path: string, vkey: string): Promise<StateFile> {
  let text: string;
  try {
    text = decodeUtf8(await readFile(path), path);
  } catch (cause) {
    // a memory that is gone is not an empty one: a witness that forgot would sign a fork
    throw new WitnessFault('witness-state', `${path} cannot be read: a witness does not sign without it`, {
      cause,
    });
  }
  const state = schema.safeParse(jsonOrUndefined(text));
  if (!state.success) {
    throw new WitnessFault('witness-state', `${path} is damaged: a witness does not sign without it`);
  }
  if (state.data.vkey !== vkey) {
    throw new WitnessFault('witness-state', `${path} is the state of another witness: ${state.data.vkey}`);
  }
  return state.data;
}

function contentOf({ vkey, logs }: StateFile): string {
  const rows = Object.entries(logs).map(([origin, { size, root: bytes, note }]) => [
    origin,
    { size, root: encodeBase64(bytes), note },
  ]);
  return `${JSON.stringify({ vkey, logs: Object.fromEntries(rows) as unknown }, undefined, 2)}\n`;
}
