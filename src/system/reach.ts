import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** A server, and how a connection to it begins. */
export interface ServerAt {
  /** A name or an address; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
  /** TLS at once, or nothing of it. */
  readonly by: 'tls' | 'tcp';
  /** PEM: the only authorities that are believed; those of Node when it is not given. */
  readonly ca?: string | undefined;
}

/**
 * Connects to a server, and ends the connection: nothing is asked of it. With TLS its certificate is held against its name as in
 * every connection of ours, whatever the environment says.
 *
 * @throws an error of the system or of TLS, with a `code`; ETIMEDOUT after `timeoutMs`
 */
export function reach({ host, port, by, ca }: ServerAt, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const given = ca === undefined ? {} : { ca };
    const name = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
    const socket: Socket =
      by === 'tcp'
        ? connectPlain({ host, port })
        : connectTls({ host, port, ...name, ...given, rejectUnauthorized: true, minVersion: 'TLSv1.2' });
    const timer = setTimeout(() => {
      socket.destroy(Object.assign(new Error(`no answer within ${timeoutMs} ms`), { code: 'ETIMEDOUT' }));
    }, timeoutMs);
    socket.once(by === 'tcp' ? 'connect' : 'secureConnect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
    socket.once('close', () => {
      clearTimeout(timer);
      reject(new Error('the connection was closed'));
    });
  });
}
