import { parseWitnessKeys, type WitnessKey } from '../../log/note/cosignature.js';
import { NoteError } from '../../log/note/noteKey.js';

/** Witnesses that a client believes, and how many of them must have cosigned what it is shown. */
export interface WitnessPins {
  /** C2SP verifier keys, type 0x04. */
  readonly keys: readonly string[];
  /** From 1 to the number of keys. */
  readonly require: number;
}

/** The same, ready for use. */
export interface RequiredWitnesses {
  readonly keys: readonly WitnessKey[];
  readonly require: number;
}

/**
 * Reads the pins, and refuses those that could never be met or would count a witness twice.
 * @throws NoteError
 */
export function readWitnessPins({ keys, require }: WitnessPins): RequiredWitnesses {
  const read = parseWitnessKeys(keys);
  if (!Number.isSafeInteger(require) || require < 1 || require > read.length) {
    throw new NoteError(`${require} of ${read.length} witnesses cannot be required`);
  }
  return { keys: read, require };
}
