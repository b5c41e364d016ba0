import {
  formatSize,
  judgeCheckpoint,
  originOf,
  parseAddCheckpoint,
  RequestError,
  sizeMediaType,
  type AddCheckpoint,
  type KnownLog,
} from '../log/note/addCheckpoint.js';
import { NoteError, noteVerifier } from '../log/note/noteKey.js';
import { WitnessFault } from './errors.js';
import type { Cosigner } from './key.js';
import type { WitnessState } from './state.js';

export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422;
  readonly mediaType: string;
  readonly body: string;
  /** For the operator: which log, and what became of it. */
  readonly told: { readonly origin: string | undefined; readonly outcome: string };
}

/** Whose key cosigns which logs, and where it is remembered what was cosigned. */
export interface WitnessParts {
  readonly cosigner: Pick<Cosigner, 'cosign'>;
  readonly state: WitnessState;
  readonly logs: readonly KnownLog[];
  readonly now: () => Date;
}

/**
 * A witness (C2SP tlog-witness): cosigns checkpoints of the logs that it knows, as long as each continues the one
 * before. What it cosigns is in its state, durably, before the cosignature is even made; so whenever it is killed, it
 * has signed nothing that it does not remember. Many may ask at once; they are served one after another.
 */
export class Witness {
  readonly #parts: WitnessParts;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: WitnessParts) {
    this.#parts = parts;
  }

  /** Answers the body of an `add-checkpoint`. @throws whatever the state throws: then nothing was cosigned. */
  async addCheckpoint(body: string): Promise<WitnessAnswer> {
    let request: AddCheckpoint;
    try {
      request = parseAddCheckpoint(body);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      return told(undefined, { status: 400, reason: error.message });
    }
    // C2SP tlog-witness: checking the old size and persisting the new checkpoint must be one step
    const turn = this.#last.then(() => this.#judge(request));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #judge(request: AddCheckpoint): Promise<WitnessAnswer> {
    const { cosigner, state, logs, now } = this.#parts;
    const origin = originOf(request);
    const isKnown = logs.some((log) => log.origin === origin);
    const latest = origin !== undefined && isKnown ? await state.latest(origin) : undefined;
    const judgement = judgeCheckpoint(request, logs, latest);
    if ('status' in judgement) return told(origin, judgement);
    const { cosign: checkpoint, text } = judgement;
    const { size, root } = checkpoint;
    // the same checkpoint again needs no write: it is remembered already
    if (latest?.size !== size) {
      await state.remember(checkpoint.origin, { size, root, note: request.note });
    }
    const line = cosigner.cosign(text, Math.floor(now().getTime() / 1000));
    const outcome = `cosigned ${size} entries`;
    return { status: 200, mediaType: 'text/plain; charset=utf-8', body: line, told: { origin, outcome } };
  }
}

/**
 * The logs that these vkeys are of: the name of a key is the origin of its log.
 * @throws WitnessFault `witness-log` when one is no log key, or stands twice.
 */
export function knownLogs(vkeys: readonly string[]): readonly KnownLog[] {
  const logs = new Map<string, KnownLog>();
  for (const vkey of vkeys) {
    try {
      const key = noteVerifier(vkey);
      const keys = logs.get(key.name)?.keys ?? [];
      if (keys.some(({ keyId }) => keyId === key.keyId)) throw new NoteError('it stands twice');
      logs.set(key.name, { origin: key.name, keys: [...keys, key] });
    } catch (cause) {
      if (!(cause instanceof NoteError)) throw cause;
      throw new WitnessFault('witness-log', `the log key ${vkey} cannot be used: ${cause.message}`, {
        cause,
      });
    }
  }
  return [...logs.values()];
}

function told(
  origin: string | undefined,
  refusal: { readonly status: 400 | 403 | 404 | 409 | 422; readonly size?: number; readonly reason: string },
): WitnessAnswer {
  const { status, size, reason } = refusal;
  const isSize = size !== undefined;
  return {
    status,
    mediaType: isSize ? sizeMediaType : 'text/plain; charset=utf-8',
    body: isSize ? formatSize(size) : `${reason}\n`,
    told: { origin, outcome: `${status}: ${reason}` },
  };
}
