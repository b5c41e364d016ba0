import { createServer, connect, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';

/** Stands between a client and the server, and cuts the line at a statement that commits. */
export interface CuttingProxy {
  readonly settings: ConnectionSettings;
  /** What happens to the next `statement`: its answer is lost, or it never arrives. */
  cutAt(what: 'answer' | 'statement', statement: 'commit' | 'append-plain'): void;
  /** Statements that were cut. */
  readonly cuts: number;
  close(): void;
}

/** Starts a proxy on a free port of this machine. */
export async function startCuttingProxy(to: ConnectionSettings): Promise<CuttingProxy> {
  let armed: { readonly what: 'answer' | 'statement'; readonly bound: string } | undefined;
  let cuts = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(`${to.host}/.s.PGSQL.${to.port}`);
    let deaf = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        // What was sent is read by the server before it sees the end.
        upstream.end();
      });
    }
    upstream.on('data', (data) => {
      if (!deaf) client.write(data);
    });
    client.on('data', (data: Buffer) => {
      // In a Bind message: the unnamed portal, then the statement's name.
      if (armed === undefined || !data.includes(armed.bound)) {
        upstream.write(data);
        return;
      }
      if (armed.what === 'answer') upstream.write(data);
      armed = undefined;
      cuts += 1;
      deaf = true;
      client.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    settings: { ...to, host: '127.0.0.1', port },
    cutAt: (what, statement) => (armed = { what, bound: `\0${statement}\0` }),
    get cuts() {
      return cuts;
    },
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
