import { decodeBase64, encodeBase64 } from './base64.js';
import { CheckpointError, parseClaimedCheckpoint, type Checkpoint } from './checkpoint.js';
import { emptyRoot, hashLengthBytes, sameBytes } from '../tree/merkle.js';
import { openNote, parseNote } from './note.js';
import { NoteError, type NoteVerifier } from './noteKey.js';
import { ProofError, verifyConsistency } from '../tree/proof.js';

/*
 * The call `add-checkpoint` of C2SP tlog-witness: a log shows a witness its newest checkpoint, with the proof that it
 * continues the one that the witness cosigned last.
 */

/** What a log sends. */
export interface AddCheckpoint {
  /** The size of the checkpoint that the witness has cosigned last, as the log believes. */
  readonly oldSize: number;
  /** RFC 6962 section 2.1.2, from the old size to that of the checkpoint. */
  readonly proof: readonly Uint8Array[];
  readonly note: string;
}

/** A log that a witness knows: its origin is the name of its keys. */
export interface KnownLog {
  readonly origin: string;
  /** More than one while the log changes its key. */
  readonly keys: readonly NoteVerifier[];
}

/** What a witness has cosigned of a log last. */
export interface Cosigned {
  readonly size: number;
  readonly root: Uint8Array;
}

/** What a witness is to do with a request. */
export type Judgement =
  /** Remember this checkpoint, durably; then cosign its text, then answer 200. */
  { readonly cosign: Checkpoint; readonly text: string } | Refusal;

/** An answer other than 200. */
export interface Refusal {
  readonly status: 400 | 403 | 404 | 409 | 422;
  /** With 409: the size that the witness has cosigned last. */
  readonly size?: number;
  /** For people; a stranger may read it. */
  readonly reason: string;
}

/** A body that is not a request of this call; the message says why. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
}

/** The media type of the body that goes with 409: the size in decimal and a newline. */
export const sizeMediaType = 'text/x.tlog.size';
/** How many hashes a consistency proof may have: "The client MUST NOT send more than 63". */
const maximumProofLines = 63;

/** Writes the body of a request. */
export function formatAddCheckpoint({ oldSize, proof, note }: AddCheckpoint): string {
  return `old ${oldSize}\n${proof.map((hash) => `${encodeBase64(hash)}\n`).join('')}\n${note}`;
}

/**
 * Reads the body of a request, without believing the note.
 * @throws RequestError
 */
export function parseAddCheckpoint(body: string): AddCheckpoint {
  const headEnd = body.indexOf('\n\n');
  if (headEnd < 0) throw new RequestError('no empty line before the checkpoint');
  const [first = '', ...lines] = body.slice(0, headEnd).split('\n');
  const oldSize = parseSize(/^old (.*)$/s.exec(first)?.[1] ?? '');
  if (oldSize === undefined) throw new RequestError('the first line is not `old` and a size');
  if (lines.length > maximumProofLines)
    throw new RequestError(`more than ${maximumProofLines} lines of a proof`);
  const proof = lines.map((line) => {
    const hash = decodeBase64(line);
    if (hash?.length !== hashLengthBytes)
      throw new RequestError('a line of the proof is not a hash in base64');
    return hash;
  });
  return { oldSize, proof, note: body.slice(headEnd + 2) };
}

/** The body that goes with 409. */
export function formatSize(size: number): string {
  return `${size}\n`;
}

/** Reads the body that goes with 409; undefined when it is none. */
export function readSize(body: string): number | undefined {
  return body.endsWith('\n') ? parseSize(body.slice(0, -1)) : undefined;
}

/** The origin that a request is about, believed or not: what a witness has to look its state up by. */
export function originOf({ note }: AddCheckpoint): string | undefined {
  return readCheckpoint(note)?.checkpoint.origin;
}

/**
 * What a witness does with a request (C2SP tlog-witness, "add-checkpoint"), given the logs that it knows and what it has
 * cosigned last of this one (`latest`; undefined: nothing). Pure: what it says is only good as long as `latest` is
 * still so, and is made true before the cosignature leaves.
 */
export function judgeCheckpoint(
  request: AddCheckpoint,
  logs: readonly KnownLog[],
  latest: Cosigned | undefined,
): Judgement {
  const { oldSize, proof, note } = request;
  const read = readCheckpoint(note);
  if (read === undefined) return { status: 400, reason: 'this is not a signed checkpoint of three lines' };
  const { checkpoint, text } = read;
  const log = logs.find(({ origin }) => origin === checkpoint.origin);
  if (log === undefined) return { status: 404, reason: 'this witness does not know the log of this origin' };
  if (!isSignedBy(note, log.keys)) {
    return {
      status: 403,
      reason: 'the checkpoint is not signed by a key that this witness knows for the log',
    };
  }
  if (oldSize > checkpoint.size) return { status: 400, reason: 'the old size is larger than the checkpoint' };
  const last = latest ?? { size: 0, root: emptyRoot };
  if (oldSize !== last.size) {
    const reason = `this witness has cosigned ${last.size} entries, not ${oldSize}`;
    return { status: 409, size: last.size, reason };
  }
  if (oldSize === checkpoint.size && !sameBytes(checkpoint.root, last.root)) {
    return { status: 422, reason: `this witness has cosigned another root for ${last.size} entries` };
  }
  try {
    verifyConsistency({
      oldSize,
      newSize: checkpoint.size,
      oldRoot: last.root,
      newRoot: checkpoint.root,
      proof,
    });
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    return { status: 422, reason: `the consistency proof does not hold: ${error.message}` };
  }
  return { cosign: checkpoint, text };
}

function readCheckpoint(
  note: string,
): { readonly checkpoint: Checkpoint; readonly text: string } | undefined {
  try {
    const { text } = parseNote(note);
    return { checkpoint: parseClaimedCheckpoint(text), text };
  } catch (error) {
    if (error instanceof NoteError || error instanceof CheckpointError) return undefined;
    throw error;
  }
}

function isSignedBy(note: string, keys: readonly NoteVerifier[]): boolean {
  try {
    openNote(note, keys);
    return true;
  } catch (error) {
    if (error instanceof NoteError) return false;
    throw error;
  }
}

/** A size in decimal without leading zeroes. */
function parseSize(text: string): number | undefined {
  const size = /^(?:0|[1-9][0-9]*)$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(size) ? size : undefined;
}
