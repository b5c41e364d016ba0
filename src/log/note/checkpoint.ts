import { decodeBase64, encodeBase64 } from './base64.js';
import { emptyRoot, hashLengthBytes, sameBytes } from '../tree/merkle.js';
import { isNoteText, openNote } from './note.js';
import { noteVerifier, type NoteVerifier } from './noteKey.js';

/** The head of the log at one size: what the log signs (C2SP tlog-checkpoint). */
export interface Checkpoint {
  /** The log's identity, one line, e.g. `escrow.example.com/log`. */
  readonly origin: string;
  /** The number of leaves. */
  readonly size: number;
  /** The root of the tree of that size, 32 bytes. */
  readonly root: Uint8Array;
}

/** A text that is not a checkpoint, or not one of this log; the message says why. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError';
}

/**
 * The text of a checkpoint as C2SP tlog-checkpoint, "Note text", has it: origin, size in decimal and root
 * in base64, a line each. It is signed as a note, see `noteSigningBytes` and `formatNote`.
 * @throws CheckpointError when one of them cannot be in a checkpoint.
 */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  const text = `${origin}\n${size}\n${encodeBase64(root)}\n`;
  parseCheckpoint(text);
  return text;
}

/**
 * Reads the text of a checkpoint, in exactly the form that {@link formatCheckpoint} writes. Extension
 * lines, which C2SP tlog-checkpoint permits and advises against, are refused: nobody could audit them.
 * @throws CheckpointError
 */
export function parseCheckpoint(text: string): Checkpoint {
  const checkpoint = parseClaimedCheckpoint(text);
  if (checkpoint.size === 0 && !sameBytes(checkpoint.root, emptyRoot))
    throw new CheckpointError('another root than that of the empty tree');
  return checkpoint;
}

/**
 * The same of a text that is yet to be judged: of no entries it may claim any root. Sizes from 2^53 on, which C2SP allows, are refused: they
 * are no numbers here, and no log has so many entries.
 * @throws CheckpointError
 */
export function parseClaimedCheckpoint(text: string): Checkpoint {
  const [origin = '', decimal = '', base64 = '', afterLast, ...more] = text.split('\n');
  if (afterLast !== '' || more.length > 0) throw new CheckpointError('a checkpoint has three lines');
  if (origin === '' || !isNoteText(text)) throw new CheckpointError('malformed origin');
  const size = Number(decimal);
  if (!/^(?:0|[1-9][0-9]*)$/.test(decimal) || !Number.isSafeInteger(size))
    throw new CheckpointError('malformed size');
  const root = decodeBase64(base64);
  if (root?.length !== hashLengthBytes) throw new CheckpointError('malformed root');
  return { origin, size, root };
}

/**
 * Reads a signed checkpoint, and returns it only when `key` has signed it and it is one of the log called
 * `origin`.
 * @param key the log's public key: a vkey, or the verifier made of it
 * @throws NoteError when the note or the key is malformed or the signature does not hold, CheckpointError
 *   when what is signed is not a checkpoint of this log.
 */
export function openCheckpoint(note: string, key: string | NoteVerifier, origin: string): Checkpoint {
  const verifier = typeof key === 'string' ? noteVerifier(key) : key;
  const checkpoint = parseCheckpoint(openNote(note, [verifier]).text);
  if (checkpoint.origin !== origin) throw new CheckpointError('a checkpoint of another log');
  return checkpoint;
}
