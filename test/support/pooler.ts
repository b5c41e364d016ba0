import { createServer, Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Client } from 'pg';

import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';

/** What stands between clients and a server, as PgBouncer does. */
export interface Pooler {
  readonly port: number;
  close(): Promise<void>;
}

/** `Z`, its length and the state of the transaction (PostgreSQL, "Message Formats": ReadyForQuery). */
const IDLE = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
const AUTHENTICATION_OK = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]);
/** BackendKeyData of a backend that is none: a pooler makes up its own. */
const KEY_DATA = Buffer.from([0x4b, 0, 0, 0, 12, 0x7f, 0, 0, 1, 0, 0, 0, 1]);

/**
 * Starts a pooler that lets everybody in. In transaction mode one backend serves all clients in turn, and is another's as soon as no
 * transaction is open; in session mode each client has one of its own. What a session begins with is not passed on. Only for
 * clients that wait for each answer.
 */
export async function startPooler(
  to: ConnectionSettings,
  mode: 'transaction' | 'session',
  port = 0,
): Promise<Pooler> {
  const upstreams: Client[] = [];
  const sockets = new Set<Socket>();
  const backend = async (): Promise<Socket> => {
    const client = new Client({ ...to, ssl: false });
    upstreams.push(client);
    client.on('error', () => undefined);
    await client.connect();
    const { stream } = client.connection;
    stream.removeAllListeners('data');
    if (!(stream instanceof Socket)) throw new Error('the driver connects by no socket');
    return stream;
  };
  const shared = mode === 'transaction' ? await backend() : undefined;
  let turn = Promise.resolve();
  const server = createServer((client) => {
    sockets.add(client);
    client.on('error', () => undefined);
    const own = shared === undefined ? backend() : Promise.resolve(shared);
    let hasBegun = false;
    let lent: Socket | undefined;
    client.on('data', (data: Buffer) => {
      if (!hasBegun) {
        hasBegun = true;
        void own.then(() => client.write(Buffer.concat([AUTHENTICATION_OK, KEY_DATA, IDLE])));
        return;
      }
      // Terminate is for the pooler alone
      if (data[0] === 0x58) return;
      if (lent !== undefined) {
        lent.write(data);
        return;
      }
      turn = turn.then(async () => {
        lent = await own;
        await answered(lent, client, data);
        lent = undefined;
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      for (const { connection } of upstreams) connection.stream.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Passes one message on, and what is answered until no transaction is open. */
function answered(backend: Socket, client: Socket, message: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const pass = (data: Buffer): void => {
      client.write(data);
      if (!data.subarray(-IDLE.length).equals(IDLE)) return;
      backend.off('data', pass);
      resolve();
    };
    backend.on('data', pass);
    backend.resume();
    backend.write(message);
  });
}
