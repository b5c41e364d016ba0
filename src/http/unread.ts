import { STATUS_CODES } from 'node:http';
import type { Server } from 'node:https';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

import type { TellAnswered } from './answered.js';

/** What cannot be read as HTTP/1.1, by the codes of Node's parser; everything else of the parser is 400. */
const STATUSES: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/**
 * Answers what never becomes a request, as Node does where nobody listens: a status line and the end of the connection. Tells of
 * it, unless it is a part of a request that is told of elsewhere, as `breaksOff` finds out. A connection that breaks, or has no
 * TLS, is no request.
 */
export function answerUnread(
  server: Server,
  breaksOff: (socket: Duplex) => boolean,
  answered: TellAnswered,
): void {
  server.on('clientError', (error: Error & { readonly code?: string }, socket) => {
    const { code = '' } = error;
    const status = STATUSES[code] ?? (code.startsWith('HPE_') ? 400 : undefined);
    if (status === undefined || !socket.writable) {
      socket.destroy(error);
      return;
    }
    const isPart = breaksOff(socket);
    const address = (socket instanceof TLSSocket ? socket.remoteAddress : undefined) ?? '';
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\n\r\n`);
    socket.destroy(error);
    if (isPart) return;
    answered({
      ...{ requestId: undefined, method: undefined, route: undefined, caller: undefined },
      ...{ address, status, code: undefined, entry: undefined, durationMs: 0, isCut: false },
    });
  });
}
