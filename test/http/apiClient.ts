import type { IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';

import type { Identity } from './identities.js';
import { signedRequest } from './identities.js';

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The JSON in the body; undefined when there is none. */
  readonly json: Record<string, unknown> | undefined;
}

/** A request, as it is sent: nothing is added but what https needs. */
export interface Outgoing {
  readonly method: string;
  readonly target: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string | Uint8Array;
}

/** Sends requests to one server, on connections of its own. */
export class ApiClient {
  readonly #port: number;
  readonly #agent: Agent;

  /** @param certificate what it shows in TLS, and its key: PEM */
  constructor(
    port: number,
    ca: string,
    keepAlive = false,
    certificate: { readonly cert?: string; readonly key?: string } = {},
  ) {
    this.#port = port;
    this.#agent = new Agent({ keepAlive, ca, maxSockets: keepAlive ? 1 : 32, ...certificate });
  }

  send({ method, target, headers = {}, body = '' }: Outgoing): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        { host: '127.0.0.1', port: this.#port, agent: this.#agent, method, path: target, headers },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            const isJson = (response.headers['content-type'] ?? '').includes('json') && text !== '';
            const json = isJson ? (JSON.parse(text) as Record<string, unknown>) : undefined;
            resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
          });
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  /** A signed request; its body is JSON. */
  call(by: Identity, method: string, target: string, content?: unknown): Promise<Answer> {
    return this.send(signedCall(by, method, target, content));
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** A signed request with a JSON body, ready to be sent as often as wanted. */
export function signedCall(by: Identity, method: string, target: string, content?: unknown): Outgoing {
  const body = content === undefined ? '' : JSON.stringify(content);
  const authorization = `Escrowd-JWS ${signedRequest(by, { method, target, body })}`;
  return {
    method,
    target,
    headers: { authorization, ...(content === undefined ? {} : { 'content-type': 'application/json' }) },
    body,
  };
}

/** The code of the problem that an answer is. */
export function problemCode({ json }: Answer): string {
  const type = json?.['type'];
  return typeof type === 'string' ? type.replace('urn:escrowd:problem:', '') : 'no problem';
}
