import type { Signer } from '../../../src/client/identity/signingKey.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import { type Entry, encodeEntry } from '../../../src/log/entry/entry.js';
import { sha256Hex } from '../../client/signedActs.js';
import { bytesOf, exportLinesOf } from '../../log/exportText.js';
import type { TestKey } from '../../log/noteKeys.js';

/** What is attempted, by whom, and with what request. */
export interface Attempt {
  readonly act: string;
  /** Undefined: the daemon itself, which signs no requests. */
  readonly by?: Signer;
  /** The target of the request. */
  readonly to?: string;
  readonly subject?: Entry['subject'];
  readonly detail?: Entry['detail'];
}

/**
 * A log that people have signed their parts of, at times that the test sets: an honest one, since each act is what was asked for.
 * Entries must come in the order of their times.
 */
export class SignedLog {
  readonly documents: Json[] = [];
  readonly entries: Entry[] = [];
  readonly #logKey: TestKey;
  readonly #origin: string;
  #nowMs: number;

  constructor(origin: string, logKey: TestKey, beganAt: string) {
    this.#origin = origin;
    this.#logKey = logKey;
    this.#nowMs = Date.parse(beganAt);
  }

  get logKey(): TestKey {
    return this.#logKey;
  }

  get now(): string {
    return new Date(this.#nowMs).toISOString();
  }

  /** Seconds since the epoch. */
  get nowSeconds(): number {
    return Math.floor(this.#nowMs / 1000);
  }

  /** Sets the clock, which does not go backwards. */
  setClock(atMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, atMs);
  }

  /** Attempts something, and has it done a little later. */
  async done(attempt: Attempt, outcome: Partial<Entry> = {}): Promise<void> {
    const { id, begun } = await this.#begin(attempt);
    this.#nowMs += 40;
    const digest = sha256Hex(id);
    this.entries.push({ ...begun, time: this.now, phase: 'done', detail: {}, digest, ...outcome });
  }

  /** Attempts something, which fails. */
  async failed(attempt: Attempt, error: string): Promise<void> {
    const { begun } = await this.#begin(attempt);
    this.#nowMs += 40;
    this.entries.push({ ...begun, time: this.now, phase: 'failed', error, detail: {} });
  }

  /** Is refused before any attempt. */
  async refused(
    { act, by, to = '', subject = {} }: Attempt,
    error: string,
    detail: Entry['detail'] = {},
  ): Promise<void> {
    if (by === undefined) throw new Error('what is refused was asked for by somebody');
    const { id, time, common } = this.#next(act);
    const request = await this.#request(by, to, id);
    this.entries.push({
      ...common,
      id,
      time,
      actor: by.id,
      subject,
      request,
      phase: 'denied',
      error,
      detail,
    });
  }

  /** The export of it. */
  bytes(): Buffer {
    const lines = this.entries.map((entry) => Buffer.from(encodeEntry(entry)).toString());
    const [origin, logKey] = [this.#origin, this.#logKey];
    return bytesOf(exportLinesOf({ origin, logKey, documents: this.documents, lines }));
  }

  async #begin({ act, by, to = '', subject = {}, detail = {} }: Attempt): Promise<{
    readonly id: string;
    readonly begun: Omit<Entry, 'phase' | 'detail' | 'time'>;
  }> {
    const { id, time, common } = this.#next(act);
    const request = by === undefined ? {} : { request: await this.#request(by, to, id) };
    const begun = { ...common, id, actor: by?.id ?? 'escrowd', subject };
    this.entries.push({ ...begun, ...request, time, phase: 'attempted', detail });
    return { id, begun };
  }

  #next(act: string): {
    readonly id: string;
    readonly time: string;
    readonly common: Pick<Entry, 'v' | 'act'>;
  } {
    this.#nowMs += 25;
    const id = `act_${sha256Hex(`act ${this.entries.length}`).slice(0, 32)}`;
    return { id, time: this.now, common: { v: 1, act } };
  }

  #request(by: Signer, htu: string, id: string): Promise<string> {
    const iat = this.nowSeconds;
    return by.sign('escrowd-request+jwt', {
      ...{ iss: by.id, aud: this.#logKey.vkey, iat, exp: iat + 60, jti: sha256Hex(id).slice(0, 22) },
      ...{ htm: 'POST', htu, cd: Buffer.from(sha256Hex(id), 'hex').toString('base64url') },
    });
  }
}
