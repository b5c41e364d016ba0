import type { IncomingMessage, ServerResponse } from 'node:http';

import { EscrowError } from '../../escrow/records/errors.js';
import type { Json } from '../../log/entry/canonical.js';
import { JsonError, parseStrictJson } from './strictJson.js';

/** Whether a body follows the headers (RFC 9112 section 6). */
export function announcesBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/**
 * The bytes of a request's body, as they came. What is beyond the limit is not read.
 *
 * @throws EscrowError `request-too-large`, `request-malformed` when the body breaks off.
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = (): EscrowError =>
    new EscrowError('request-too-large', `The body of this request has at most ${maxBytes} bytes.`);
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  if (!announcesBody(request)) return Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let length = 0;
    const stop = (): void => {
      request.off('data', take).off('end', end).off('error', breakOff).off('close', breakOff);
    };
    const take = (chunk: Uint8Array): void => {
      length += chunk.length;
      if (length <= maxBytes) chunks.push(chunk);
      else {
        stop();
        request.pause();
        reject(tooLarge());
      }
    };
    const end = (): void => {
      stop();
      const [only] = chunks;
      resolve(only !== undefined && chunks.length === 1 ? only : Buffer.concat(chunks));
    };
    const breakOff = (cause?: Error): void => {
      stop();
      reject(new EscrowError('request-malformed', 'The body broke off.', { cause }));
    };
    // what has ended before anybody listens says nothing any more, and of what was let pass the rest is no body
    if (request.destroyed || request.readableDidRead) breakOff();
    else request.on('data', take).on('end', end).on('error', breakOff).on('close', breakOff);
  });
}

/**
 * Once the answer is made, what is still coming of the body is let pass unread, so that the caller gets to hear the answer;
 * but only as many bytes as `mayPass` allows: after that the connection is cut.
 */
export function letRestPass(
  request: IncomingMessage,
  response: ServerResponse,
  mayPass: (bytes: number) => boolean,
): void {
  // before `finish`, where Node would let all of it pass uncounted
  response.once('prefinish', () => {
    if (request.complete) return;
    request.on('data', (chunk: Uint8Array) => {
      if (!mayPass(chunk.length)) request.socket.destroy();
    });
    request.resume();
  });
}

/**
 * The JSON in a body; undefined when there is none.
 *
 * @throws EscrowError `request-malformed` when it is not declared as JSON, or is not strict JSON.
 */
export function readJson(body: Uint8Array, headers: IncomingMessage['headers']): Json | undefined {
  if (body.length === 0) return undefined;
  const type = headers['content-type'] ?? '';
  if (!/^application\/json(?:; *charset=utf-8)?$/i.test(type) || headers['content-encoding'] !== undefined)
    throw new EscrowError('request-malformed', 'A body is application/json, without content encoding.');
  try {
    return parseStrictJson(body);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new EscrowError('request-malformed', `The body is not JSON: ${error.message}.`, { cause: error });
  }
}
