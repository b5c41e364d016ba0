import type { IncomingMessage } from 'node:http';

import { EscrowError } from '../escrow/errors.js';
import type { Json } from '../log/canonical.js';
import { JsonError, parseStrictJson } from './strictJson.js';

/**
 * The bytes of a request's body, as they came. What is beyond the limit is let pass unread, so that the caller gets
 * to hear of it.
 *
 * @throws EscrowError `request-too-large`, `request-malformed` when the body breaks off.
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = (): EscrowError => {
    request.resume();
    return new EscrowError('request-too-large', `A request body has at most ${maxBytes} bytes.`);
  };
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > maxBytes) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw new EscrowError('request-malformed', 'The body broke off.', { cause });
  }
  if (length > maxBytes) throw tooLarge();
  return Buffer.concat(chunks);
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
