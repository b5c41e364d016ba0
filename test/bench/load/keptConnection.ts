import { once } from 'node:events';
import { connect, type ConnectionOptions } from 'node:tls';

/** A connection that stays open, with one request at a time. */
export interface KeptConnection {
  /** Sends the bytes of a request, and resolves with the whole answer. */
  ask(request: Buffer): Promise<{ readonly status: number; readonly body: string }>;
  close(): void;
}

/**
 * Connects to a server on this machine by TLS. It speaks HTTP/1.1 as far as the servers of the bench do, whose answers have a
 * `content-length`, so that little of the machine goes into asking.
 */
export async function connectKept(
  options: Pick<ConnectionOptions, 'port' | 'ca' | 'cert' | 'key'>,
): Promise<KeptConnection> {
  const socket = connect({ host: '127.0.0.1', minVersion: 'TLSv1.3', ...options });
  let read: Buffer = Buffer.alloc(0);
  let waiting:
    | {
        readonly resolve: (answer: { status: number; body: string }) => void;
        readonly reject: (error: Error) => void;
      }
    | undefined;
  const fail = (error: Error): void => {
    waiting?.reject(error);
    waiting = undefined;
  };
  await once(socket, 'secureConnect');
  socket.setNoDelay(true);
  socket.on('error', fail);
  socket.on('close', () => {
    fail(new Error('the server has closed the connection'));
  });
  socket.on('data', (chunk: Buffer) => {
    read = read.length === 0 ? chunk : Buffer.concat([read, chunk]);
    const headEnd = read.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const head = read.toString('latin1', 0, headEnd);
    const [, length] = /\r\ncontent-length: (\d+)/i.exec(head) ?? [];
    if (length === undefined) {
      socket.destroy(new Error(`an answer without its length: ${head}`));
      return;
    }
    const end = headEnd + 4 + Number(length);
    if (read.length < end) return;
    const answer = { status: Number(head.slice(9, 12)), body: read.toString('utf8', headEnd + 4, end) };
    read = read.subarray(end);
    const { resolve } = waiting ?? {};
    waiting = undefined;
    resolve?.(answer);
  });
  return {
    ask: (request) =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        socket.write(request);
      }),
    close: () => {
      socket.destroy();
    },
  };
}
