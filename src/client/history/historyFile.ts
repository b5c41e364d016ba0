import { z } from 'zod';

import type { HistoryFilter, HistoryStatementPayload } from '../../escrow/records/ownerHistory.js';
import { HistoryList, isInHistory } from '../../escrow/records/ownerHistory.js';
import { decodeBase64, encodeBase64 } from '../../log/note/base64.js';
import { canonicalJson, parseCanonicalJson } from '../../log/entry/canonical.js';
import { CheckedLines, Fault } from '../../log/export/checkedLines.js';
import { type Checkpoint, CheckpointError, openCheckpoint } from '../../log/note/checkpoint.js';
import { type Entry, decodeEntry, EntryError } from '../../log/entry/entry.js';
import { leafHash, sameBytes } from '../../log/tree/merkle.js';
import { NoteError } from '../../log/note/noteKey.js';
import { ProofError, verifyInclusion } from '../../log/tree/proof.js';
import { NotBelieved } from '../errors.js';
import { openHistoryStatement } from './historyStatement.js';
import type { Jwk } from '../../jose/jws.js';

/*
 * The file of an owner's history is NDJSON, each line canonical JSON ended by a line feed:
 *
 *   {"checkpoint":"<signed note>","escrowd-history":1,"statement":"<compact JWS>"}   one header
 *   {"entry":{...},"index":N,"proof":["<base64>",...]}                               each entry, newest first
 */

/** The first line: the statement of completeness, and the checkpoint that it and every proof is about. */
export function historyHeaderLine(header: {
  readonly checkpoint: string;
  readonly statement: string;
}): string {
  const { checkpoint, statement } = header;
  return canonicalJson({ checkpoint, 'escrowd-history': 1, statement });
}

/**
 * The line of an entry with its inclusion proof. Its bytes are kept: canonical JSON inside canonical JSON is unchanged.
 * @throws EntryError when `entry` is none
 */
export function historyEntryLine(proven: {
  readonly index: number;
  readonly entry: Uint8Array;
  readonly proof: readonly Uint8Array[];
}): string {
  const { index, entry, proof } = proven;
  return canonicalJson({ entry: decodeEntry(entry), index, proof: proof.map(encodeBase64) });
}

/** What a history is checked against. None of it comes from the file. */
export interface HistoryPins {
  readonly origin: string;
  /** C2SP verifier key of the log. */
  readonly logKey: string;
  readonly identityKey: Jwk;
  /** Whose history it has to be; anybody's when it is not given. */
  readonly owner?: string;
  /** An older signed checkpoint: one of the same size must be the same tree. */
  readonly against?: string;
}

/** All that the log has about this owner, by this filter, up to this checkpoint. */
export interface BelievedHistory {
  readonly ok: true;
  readonly owner: string;
  readonly filter: HistoryFilter;
  readonly size: number;
  readonly root: Uint8Array;
  readonly count: number;
  readonly issuedAt: Date;
  /** Whether the older checkpoint has more entries: there may be newer ones than this history has. */
  readonly isOlder: boolean;
}

/** Not to be believed, and the first reason that was met. */
export interface RefusedHistory {
  readonly ok: false;
  /** The index in the log of the entry that is wrong, where it is one. */
  readonly index: number | undefined;
  readonly reason: string;
}

/**
 * Verifies the file of a history as it streams by, offline: that the pinned log key has signed the checkpoint, that the
 * pinned identity key has signed the statement about this very tree, that every entry is in that tree and about this
 * owner, and that the list is the one of the statement: nothing missing, added, altered, or in another order. Its
 * memory does not grow with the history.
 *
 * Feed it bytes with {@link write} (or lines with {@link line}) and then {@link finish}. After the first fault it reads
 * nothing more.
 */
export class HistoryVerifier {
  readonly #pins: HistoryPins;
  readonly #lines = new CheckedLines({
    accept: ({ text }) => {
      this.#accept(text);
    },
    end: () => {
      this.#checkEnd();
    },
    asFault,
  });
  readonly #list = new HistoryList();
  #head: { readonly checkpoint: Checkpoint; readonly said: HistoryStatementPayload } | undefined;
  #isOlder = false;
  #last = Infinity;

  constructor(pins: HistoryPins) {
    this.#pins = pins;
  }

  /** Takes the next bytes, cut anywhere. */
  write(chunk: Uint8Array): void {
    this.#lines.write(chunk);
  }

  /** Takes the next line, without its line feed. */
  line(text: string): void {
    this.#lines.line(text);
  }

  /** Says whether to believe what was read. Nothing may be written afterwards. */
  finish(): BelievedHistory | RefusedHistory {
    const fault = this.#lines.finish();
    const head = this.#head;
    if (fault !== undefined || head === undefined) {
      return { ok: false, index: fault?.index, reason: fault?.message ?? 'there is nothing' };
    }
    const { said, checkpoint } = head;
    return {
      ok: true,
      owner: said.sub,
      filter: said.filter,
      size: checkpoint.size,
      root: checkpoint.root,
      count: said.count,
      issuedAt: new Date(said.iat * 1000),
      isOlder: this.#isOlder,
    };
  }

  #accept(line: string): void {
    if (this.#head === undefined) this.#acceptHeader(line);
    else this.#acceptEntry(line, this.#head.checkpoint, this.#head.said);
  }

  #acceptHeader(line: string): void {
    const header = parsed(line, headerSchema, 'the first line is not that of a history of version 1');
    const { origin, logKey, owner, against } = this.#pins;
    const checkpoint = openCheckpoint(header.checkpoint, logKey, origin);
    const said = openHistoryStatement(header.statement, this.#pins, checkpoint);
    if (owner !== undefined && said.sub !== owner) {
      throw new Fault(`it is the history of ${said.sub}, not of ${owner}`);
    }
    if (against !== undefined) {
      const older = openCheckpoint(against, logKey, origin);
      if (older.size === checkpoint.size && !sameBytes(older.root, checkpoint.root)) {
        throw new Fault('root mismatch: the tree is not that of the older checkpoint');
      }
      this.#isOlder = older.size > checkpoint.size;
    }
    this.#head = { checkpoint, said };
  }

  #acceptEntry(line: string, { size, root }: Checkpoint, said: HistoryStatementPayload): void {
    const { entry: value, index, proof } = parsed(line, lineSchema, 'a line is not an entry with its proof');
    const bytes = Buffer.from(canonicalJson(value));
    if (index >= this.#last) throw new Fault('it stands out of order, or twice', index);
    this.#last = index;
    const entry = decoded(bytes, index);
    if (!isInHistory(entry, said.sub, said.filter)) {
      throw new Fault(`it does not belong to this history of ${said.sub}`, index);
    }
    const hashes = proof.map((hash) => decodeBase64(hash) ?? new Uint8Array(0));
    try {
      verifyInclusion({ index, size, leafHash: leafHash(bytes), proof: hashes, root });
    } catch (error) {
      if (error instanceof ProofError) throw new Fault(`it is not in the log: ${error.message}`, index);
      throw error;
    }
    this.#list.add(index, bytes);
  }

  #checkEnd(): void {
    if (this.#head === undefined) throw new Fault('there is no statement that it is complete');
    const { count, list } = this.#head.said;
    const shown = this.#list.count;
    if (shown !== count) throw new Fault(`the statement is about ${count} entries, ${shown} are here`);
    if (this.#list.digest() !== list)
      throw new Fault('these are not the entries that the statement is about');
  }
}

const headerSchema = z.strictObject({
  checkpoint: z.string(),
  'escrowd-history': z.literal(1),
  statement: z.string(),
});
const lineSchema = z.strictObject({
  entry: z.record(z.string(), z.unknown()),
  index: z.int().min(0),
  proof: z.array(z.string()),
});

function parsed<T>(line: string, schema: z.ZodType<T>, otherwise: string): T {
  try {
    return schema.parse(parseCanonicalJson(line));
  } catch (cause) {
    throw new Fault(otherwise, undefined, { cause });
  }
}

function decoded(bytes: Uint8Array, index: number): Entry {
  try {
    return decodeEntry(bytes);
  } catch (error) {
    if (error instanceof EntryError) throw new Fault(`it is not an entry: ${error.message}`, index);
    throw error;
  }
}

function asFault(error: unknown): Fault | undefined {
  if (error instanceof NotBelieved) return new Fault(error.detail);
  const isNote = error instanceof NoteError || error instanceof CheckpointError;
  return isNote ? new Fault(`the checkpoint: ${error.message}`) : undefined;
}
