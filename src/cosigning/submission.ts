import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

import { messageOf } from '../system/errors.js';
import type { WitnessKey } from '../log/note/cosignature.js';

/** A witness, and where it is asked. */
export interface WitnessAt {
  readonly key: WitnessKey;
  /** The submission prefix of C2SP tlog-witness: `http://` or `https://`. */
  readonly url: string;
  /** PEM: the only authority that is believed for https; those of the system, when it is not given. */
  readonly ca?: string;
}

/** What a witness answered. */
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
  const isTls = target.protocol === 'https:';
  const options = { keepAlive: true, maxSockets: 1 };
  const agent = isTls
    ? new HttpsAgent({
        ...options,
        // whatever the environment says of certificates (NODE_TLS_REJECT_UNAUTHORIZED)
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
        ...(ca === undefined ? {} : { ca }),
      })
    : new HttpAgent(options);
  const request = isTls ? httpsRequest : httpRequest;
  return {
    send: (body) =>
      new Promise((resolve, reject) => {
        const signal = AbortSignal.timeout(timeoutMs);
        const fail = (error: unknown): void => {
          const why = signal.aborted ? `no answer within ${timeoutMs} ms` : messageOf(error);
          reject(new WitnessUnreachable(why, { cause: error }));
        };
        const bytes = Buffer.from(body);
        const asked: RequestOptions = {
          method: 'POST',
          headers: { 'content-type': 'text/plain; charset=utf-8', 'content-length': bytes.length },
          agent,
          signal,
        };
        const outgoing = request(target, asked, (incoming) => {
          readReply(incoming).then(resolve, fail);
        });
        outgoing.on('error', fail);
        outgoing.end(bytes);
      }),
    close: () => {
      agent.destroy();
    },
  };
}

async function readReply(incoming: IncomingMessage): Promise<WitnessReply> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maximumAnswerBytes) throw new WitnessUnreachable('the answer is too long for a witness');
    chunks.push(chunk);
  }
  return {
    status: incoming.statusCode ?? 0,
    mediaType: (incoming.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '',
    body: Buffer.concat(chunks).toString('utf8'),
  };
}
