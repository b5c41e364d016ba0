import { messageOf } from '../system/errors.js';
import { AnswerTooLong, HttpConnection } from '../system/httpConnection.js';
import type { WitnessKey } from '../log/note/cosignature.js';

/** A witness, and where it is asked. */
export interface WitnessAt {
  readonly key: WitnessKey;
  /** The submission prefix of C2SP tlog-witness: `http://` or `https://`. */
  readonly url: string;
  /** PEM: the only authority that is believed for https; those of the system, when it is not given. */
  readonly ca?: string;
}

export interface WitnessReply {
  readonly status: number;
  /** Media type without parameters, lower case; empty when there is none. */
  readonly mediaType: string;
  readonly body: string;
}

/** No answer of a witness came; the message says why. */
export class WitnessUnreachable extends Error {
  override readonly name = 'WitnessUnreachable';
}

/** Where requests go to one witness. */
export interface Submission {
  /** POSTs `add-checkpoint`. @throws WitnessUnreachable */
  send(body: string): Promise<WitnessReply>;
  close(): void;
}

/** A few lines are expected; a witness may have several keys, and keys of types that are longer. */
const maximumAnswerBytes = 64 * 1024;

/**
 * The way to one witness, its connection kept alive. It goes to the configured address and nowhere else: a redirect is
 * an answer like any other that is not 200. The whole of it has `timeoutMs`.
 */
export function submissionTo({ url, ca }: WitnessAt, timeoutMs: number): Submission {
  const target = new URL(`${url.replace(/\/+$/, '')}/add-checkpoint`);
  const bounds = { connections: 1, isKept: true, timeoutMs, maxAnswerBytes: maximumAnswerBytes };
  const connection = new HttpConnection({ url: target, ca, ...bounds });
  return {
    send: async (body) => {
      try {
        const answer = await connection.send({
          method: 'POST',
          path: `${target.pathname}${target.search}`,
          headers: { 'content-type': 'text/plain; charset=utf-8' },
          body: Buffer.from(body),
        });
        const { status, mediaType } = answer;
        return { status, mediaType, body: (await answer.readBody()).toString('utf8') };
      } catch (cause) {
        const isLong = cause instanceof AnswerTooLong;
        const why = isLong ? 'the answer is too long for a witness' : messageOf(cause);
        throw new WitnessUnreachable(why, { cause });
      }
    },
    close: () => {
      connection.close();
    },
  };
}
