import { leafHash } from '../../log/tree/merkle.js';
import { readWriter, type Batch, type CertifiedWriter } from '../../log/statements/writer.js';
import { LogDamaged, safeInteger } from '../faults.js';
import type { Ask } from '../pool.js';

export interface WriterChecks {
  /** The vkey of the log. */
  readonly log: string;
  /** DER SubjectPublicKeyInfo of the token's identity key. */
  readonly identityKey: Uint8Array;
  /** Where the entries without a writer end. */
  readonly from: number;
}

/** An entry that was read and is known to be written by a writer of this log, or to be from before there were any. */
export interface WrittenEntry {
  readonly entry: Uint8Array;
  readonly leaf: Uint8Array;
}

/** A batch that was read, by its writer's number, and where it begins. */
export type WrittenBatch = Pick<Batch, 'writer' | 'counter'> & { readonly first: number };

interface Row {
  readonly seq: string;
  readonly entry: Uint8Array;
  readonly count: number | null;
  readonly writer: string;
  readonly counter: string;
  readonly follows: string;
  readonly since: string;
  readonly signature: Uint8Array;
}

/** Entries read at a time: more than any batch has. */
const pageLength = 2_000;

/**
 * Reads entries of the log in order, once each, and believes none that no writer has signed. It goes on where it was: it
 * remembers the newest number of each writer, so that no batch passes for another one, stands twice, or is left out.
 */
export class WrittenEntries {
  readonly #checks: WriterChecks;
  readonly #writers = new Map<string, CertifiedWriter>();
  readonly #newest = new Map<string, number>();

  constructor(checks: WriterChecks) {
    this.#checks = checks;
  }

  /** Notes a batch that needs no reading, in its place among those that are read. Throws LogDamaged when it is none of these. */
  note(batch: Pick<Batch, 'writer' | 'counter' | 'follows' | 'since'>, first: number): void {
    this.#advance(batch, this.#newest.get(batch.writer) ?? 0, first);
  }

  /**
   * Entries from `from` on, below `below`; some of them, when there are many, and none only when there are none. Throws
   * LogDamaged when what stands there is not what writers of this log have written.
   */
  async read(
    ask: Ask,
    from: number,
    below: number = Number.MAX_SAFE_INTEGER,
  ): Promise<{ readonly entries: readonly WrittenEntry[]; readonly batches: readonly WrittenBatch[] }> {
    const rows = await ask<Row>(
      `select e.seq, e.entry, b.count, b.writer, b.counter, b.follows, b.since, b.signature
       from log_entry e left join log_batch b on b.first = e.seq
       where e.seq >= ? and e.seq < ? order by e.seq limit ?`,
      [from, below, pageLength],
    );
    rows.forEach(({ seq }, place) => {
      if (safeInteger(seq) !== from + place)
        throw new LogDamaged(`the entry ${from + place} is gone from the log`);
    });
    const entries: WrittenEntry[] = [];
    const batches: WrittenBatch[] = [];
    for (let place = 0; place < rows.length;) {
      const count = this.#lengthAt(rows, place, from);
      if (place + count > rows.length) {
        if (rows.length === pageLength && place > 0) break;
        throw new LogDamaged(`the batch of entries that begins at ${from + place} is cut off`);
      }
      const written = rows.slice(place, place + count).map(({ entry }) => ({ entry, leaf: leafHash(entry) }));
      const [head] = rows.slice(place, place + 1);
      if (head !== undefined && head.count !== null) {
        const leaves = written.map(({ leaf }) => leaf);
        batches.push(await this.#believe(ask, head, from + place, leaves));
      }
      entries.push(...written);
      place += count;
    }
    return { entries, batches };
  }

  /** How many entries stand together here: those of a batch, or one without a writer. */
  #lengthAt(rows: readonly Row[], place: number, from: number): number {
    const count = rows[place]?.count ?? null;
    if (from + place < this.#checks.from) {
      if (count === null) return 1;
      throw new LogDamaged(`the entry ${from + place} has a writer, and is from before there were any`);
    }
    if (count === null) throw new LogDamaged(`the entry ${from + place} was not written by a daemon`);
    return count;
  }

  async #believe(ask: Ask, row: Row, first: number, leaves: readonly Uint8Array[]): Promise<WrittenBatch> {
    const batch: Batch = {
      log: this.#checks.log,
      writer: row.writer,
      counter: safeInteger(row.counter),
      follows: safeInteger(row.follows),
      since: safeInteger(row.since),
      leaves,
    };
    const writer = await this.#writer(ask, row.writer);
    if (!writer.signed(batch, row.signature)) {
      throw new LogDamaged(
        `the ${leaves.length} entries from ${first} on are not those that a daemon wrote there`,
      );
    }
    this.#advance(batch, await this.#newestOf(ask, row.writer, first), first);
    return { writer: batch.writer, counter: batch.counter, first };
  }

  #advance(
    { writer, counter, follows, since }: Pick<Batch, 'writer' | 'counter' | 'follows' | 'since'>,
    newest: number,
    first: number,
  ): void {
    if (counter <= newest) {
      throw new LogDamaged(`the entries from ${first} on were written before: a batch was put there again`);
    }
    if (newest !== follows && newest < since) {
      throw new LogDamaged(
        `before the entries from ${first} on a batch of the same daemon is missing, or one too many`,
      );
    }
    this.#newest.set(writer, counter);
  }

  async #writer(ask: Ask, id: string): Promise<CertifiedWriter> {
    const known = this.#writers.get(id);
    if (known !== undefined) return known;
    const [row] = await ask<{ certificate: string }>('select certificate from log_writer where id = ?', [id]);
    const writer = row === undefined ? undefined : readCertificate(row.certificate, this.#checks);
    if (writer?.id !== id) throw new LogDamaged(`the writer ${id} has no certificate of this log's`);
    this.#writers.set(id, writer);
    return writer;
  }

  /** The newest number of a writer before this place. */
  async #newestOf(ask: Ask, writer: string, before: number): Promise<number> {
    const known = this.#newest.get(writer);
    if (known !== undefined) return known;
    const [row] = await ask<{ newest: string | null }>(
      'select max(counter) as newest from log_batch where writer = ? and first < ?',
      [writer, before],
    );
    return row?.newest == null ? 0 : safeInteger(row.newest);
  }
}

/**
 * Throws LogDamaged when the writer of the newest batch was certified with another place where entries without a writer end:
 * the database was changed since.
 */
export async function requireSameStart(ask: Ask, checks: WriterChecks): Promise<void> {
  const [row] = await ask<{ certificate: string }>(
    'select w.certificate from log_batch b join log_writer w on w.id = b.writer order by b.first desc limit 1',
  );
  if (row !== undefined) readCertificate(row.certificate, checks);
}

/**
 * Reads the certificate of a writer of this log; undefined when it is none. Throws LogDamaged when it says that entries
 * without a writer end elsewhere.
 */
function readCertificate(certificate: string, checks: WriterChecks): CertifiedWriter | undefined {
  const writer = readWriter(certificate, checks);
  if (writer !== undefined && writer.from !== checks.from) {
    throw new LogDamaged(
      `entries without a writer end at ${checks.from}, as the database says now, and ended at ${writer.from}`,
    );
  }
  return writer;
}
