import type { X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import { TLSSocket } from 'node:tls';

import { ROUTE_OF_SERVER } from '../../http/server.js';
import { jsonOrUndefined } from '../../system/json.js';
import { authorityOf, type ListenAddress } from './addresses.js';

/** A daemon that serves, as it says itself. */
export interface RunningDaemon {
  readonly origin: string;
  /** What it showed as its own. */
  readonly certificate: X509Certificate | undefined;
}

const ASK_MS = 3_000;
const MAX_ANSWER_BYTES = 65_536;

/**
 * Who serves at an address, by what the API says there of itself to anybody; undefined when nobody answers as a daemon does. Nothing
 * is believed for it but that an address is taken, so whatever certificate is shown will do.
 */
export function daemonAt({ host, port }: ListenAddress): Promise<RunningDaemon | undefined> {
  const at = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host;
  return new Promise((resolve) => {
    const nobody = (): void => {
      resolve(undefined);
    };
    const asking = request(
      {
        host: at,
        port,
        path: ROUTE_OF_SERVER,
        headers: { Host: authorityOf({ host: at, port }) },
        agent: false,
        rejectUnauthorized: false,
        signal: AbortSignal.timeout(ASK_MS),
      },
      (answer) => {
        const { socket } = answer;
        const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
        const chunks: Buffer[] = [];
        let length = 0;
        answer.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length <= MAX_ANSWER_BYTES) chunks.push(chunk);
          else answer.destroy();
        });
        answer.on('error', nobody);
        answer.on('close', nobody);
        answer.on('end', () => {
          const said = jsonOrUndefined(Buffer.concat(chunks).toString('utf8'));
          const origin =
            typeof said === 'object' && said !== null && 'origin' in said ? said.origin : undefined;
          resolve(typeof origin === 'string' ? { origin, certificate } : undefined);
        });
      },
    );
    asking.on('error', nobody);
    asking.end();
  });
}
