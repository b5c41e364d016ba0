import type { SignedCheckpoint, WitnessedLog } from '../escrow/ports/log.js';
import { formatAddCheckpoint, readSize, sizeMediaType } from '../log/note/addCheckpoint.js';
import { readCosignature, type WitnessKey } from '../log/note/cosignature.js';
import { parseNote, signatureLine } from '../log/note/note.js';
import { keyIdHex, NoteError } from '../log/note/noteKey.js';
import type { Submission, WitnessReply } from './submission.js';

/** A witness that answered, and did not cosign; the message says why, for the operator. */
export class NotCosigned extends Error {
  override readonly name = 'NotCosigned';
}

/** How often, in a row, a witness may say that it has cosigned another size than was thought. */
const triesLimit = 3;
/** A cosignature of a log that does not grow is asked for anew when it is as old as this: it stays well within an hour. */
const renewedAfterSeconds = 1200;
/** How far the clock of a witness may be from that of the daemon: what it says is about now, or it says nothing. */
const clocksApartMs = 3_600_000;

/**
 * Has one witness cosign the newest checkpoint, unless it has done so lately, and keeps what it says (C2SP tlog-witness, the
 * client's side). One call at a time.
 */
export class Cosigning {
  readonly #witness: WitnessKey;
  readonly #log: WitnessedLog;
  readonly #submission: Pick<Submission, 'send'>;
  readonly #now: () => Date;
  readonly #tellForgot: (said: number, kept: number) => void;
  /** What the witness has cosigned last, as far as is known. */
  #known: number | undefined;

  constructor(parts: {
    readonly witness: WitnessKey;
    readonly log: WitnessedLog;
    readonly submission: Pick<Submission, 'send'>;
    readonly now: () => Date;
    /** Told when it says that it has cosigned less than what is kept of it: it can be had to sign a fork. */
    readonly forgot: (said: number, kept: number) => void;
  }) {
    this.#witness = parts.witness;
    this.#log = parts.log;
    this.#submission = parts.submission;
    this.#now = parts.now;
    this.#tellForgot = parts.forgot;
  }

  /**
   * When it resolves, the newest checkpoint has the cosignature, durably and not older than {@link renewedAfterSeconds}, or there
   * is no checkpoint yet.
   * @throws NotCosigned, WitnessUnreachable, and what the log throws
   */
  async bringUpToDate(): Promise<void> {
    const { name, keyId } = this.#witness;
    let newest = await this.#log.newest();
    if (newest === undefined) return;
    const kept = await this.#log.cosignedBy(name, keyIdHex(keyId));
    const isFresh = this.#now().getTime() / 1000 < kept.at + renewedAfterSeconds;
    if (kept.size > newest.size || (kept.size === newest.size && isFresh)) return;
    let old = Math.max(this.#known ?? 0, kept.size);
    for (let tries = 1; ; tries += 1) {
      if (old > newest.size) newest = await this.#newestFrom(old);
      const reply = await this.#submit(newest, old);
      if (reply.status === 200) {
        await this.#keep(newest, reply.body);
        this.#known = newest.size;
        return;
      }
      const size =
        reply.status === 409 && reply.mediaType === sizeMediaType ? readSize(reply.body) : undefined;
      if (size === undefined) throw new NotCosigned(refusalOf(reply));
      if (size < kept.size && size !== this.#known) this.#tellForgot(size, kept.size);
      if (size === old) throw new NotCosigned(`it has cosigned another tree of ${size} entries: a fork`);
      if (tries === triesLimit) throw new NotCosigned('it says another size each time that it is asked');
      old = size;
      this.#known = size;
    }
  }

  async #submit(newest: SignedCheckpoint, oldSize: number): Promise<WitnessReply> {
    const proof = await this.#log.consistency(oldSize, newest.size);
    return this.#submission.send(formatAddCheckpoint({ oldSize, proof, note: newest.note }));
  }

  /** Another daemon may have signed, and shown, a newer one meanwhile; but what was shown is in the database. */
  async #newestFrom(size: number): Promise<SignedCheckpoint> {
    const newest = await this.#log.newest();
    if (newest !== undefined && newest.size >= size) return newest;
    // it may be the database that forgot, and be brought back: what the witness says is asked again
    this.#known = undefined;
    throw new NotCosigned(
      `it has cosigned ${size} entries, and the log here ends at ${newest?.size ?? 0}: an old backup, or a fork`,
    );
  }

  async #keep({ size, note }: SignedCheckpoint, answer: string): Promise<void> {
    const { name, keyId } = this.#witness;
    try {
      const { signature, timestamp } = readCosignature(answer, parseNote(note).text, this.#witness);
      const apartMs = Math.abs(timestamp * 1000 - this.#now().getTime());
      if (apartMs > clocksApartMs) {
        const hours = Math.floor(apartMs / clocksApartMs);
        throw new NotCosigned(
          `the time of its cosignature is ${hours} hours or more from now: an old one, or a wrong clock`,
        );
      }
      const line = signatureLine(signature);
      await this.#log.keep({ size, name, keyId: keyIdHex(keyId), line, at: timestamp });
    } catch (cause) {
      if (!(cause instanceof NoteError)) throw cause;
      throw new NotCosigned(`its answer is not its cosignature: ${cause.message}`, { cause });
    }
  }
}

function refusalOf({ status, body }: WitnessReply): string {
  const said = body.split('\n', 1)[0]?.slice(0, 200) ?? '';
  const meaning = meanings[status] ?? 'it answers what no witness answers';
  return `${meaning} (${status}${said === '' ? '' : `: ${said}`})`;
}

/** C2SP tlog-witness, "add-checkpoint". */
const meanings: Readonly<Record<number, string>> = {
  400: 'it does not understand the request',
  403: 'it does not know the key of this log',
  404: 'it does not know this log, or is not at this address',
  409: 'it has cosigned another size, or in older versions another tree of this size: a fork',
  422: 'it says that the log does not continue what it has cosigned: a fork',
};
