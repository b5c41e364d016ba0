import { chmod, lstat, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';

import { IdentityError } from '../client/errors.js';
import { tryLock } from '../client/files/fileLock.js';
import { refuseExposed } from '../client/files/trustedFile.js';
import { codeOf } from '../system/errors.js';
import { nameOfPeer, peerOf } from './peer.js';
import { makeDirectories } from '../system/place.js';

/** One program that has connected. */
export interface AgentConnection {
  readonly socket: Socket;
  /** For people: `ssh-keygen[1234]`. */
  readonly caller: string;
  /** Aborted when the other end has closed, or the agent ends. */
  readonly gone: AbortSignal;
}

/** Speaks with one program until its connection closes. What it throws closes that connection, and no other. */
export type Dialect = (connection: AgentConnection) => void;

/** A socket that is open. */
export interface Listener {
  readonly path: string;
  /** Closes every connection, and removes the socket. */
  close(): Promise<void>;
}

/** The socket, or its directory, is not as it must be; the message says what to do. */
export class SocketRefused extends Error {
  override readonly name = 'SocketRefused';
}

/** sun_path of Linux, with its NUL (unix(7)). */
const LONGEST_PATH = 107;
/** Connections at once, of one socket: tools have a few. */
const MOST_CONNECTIONS = 256;

/**
 * Makes the directory of the sockets, for this user alone.
 * @throws SocketRefused when there is one that is another's, or that others can enter, or put another in the place of
 */
export async function prepareDirectory(path: string): Promise<void> {
  await makeDirectories(path, 0o700).catch((cause: unknown) => {
    throw new SocketRefused(`The directory ${path} cannot be made (${codeOf(cause) ?? 'error'}).`, { cause });
  });
  const { mode, uid } = await lstat(path).then((found) => {
    if (!found.isDirectory()) throw new SocketRefused(`${path} is no directory.`);
    return found;
  });
  if (uid !== process.geteuid?.())
    throw new SocketRefused(`${path} belongs to another user, who could put another socket there.`);
  if ((mode & 0o077) !== 0)
    throw new SocketRefused(`${path} can be entered by others. Run: chmod 700 ${path}`);
  await refuseExposed(path).catch((cause: unknown) => {
    throw cause instanceof IdentityError ? new SocketRefused(`${cause.message}.`, { cause }) : cause;
  });
}

/**
 * Listens on a Unix socket in a directory of {@link prepareDirectory}. A program of another user (root aside) is closed at once, where
 * the system says whose it is.
 * @throws SocketRefused when another agent serves there, something else is there, or the path is too long
 */
export async function listen(path: string, dialect: Dialect): Promise<Listener> {
  if (Buffer.byteLength(path) > LONGEST_PATH)
    throw new SocketRefused(
      `${path} is longer than ${LONGEST_PATH} bytes, which no Unix socket may be. Choose another --dir.`,
    );
  const unlock = lockOf(path);
  try {
    await removeStale(path);
    const { close } = await opened(path, dialect);
    return { path, close: () => close().finally(unlock) };
  } catch (error) {
    unlock();
    throw error;
  }
}

/**
 * Whoever holds it has the socket, also when somebody has removed that: closing removes whatever stands at the path, and between a
 * look at a stale one and its removal another agent could have begun.
 */
function lockOf(path: string): () => void {
  let unlock: (() => void) | undefined;
  try {
    unlock = tryLock(`${path}.lock`);
  } catch (cause) {
    throw new SocketRefused(`${path}.lock cannot be opened (${codeOf(cause) ?? 'error'}).`, { cause });
  }
  if (unlock === undefined) throw new SocketRefused(`Another agent serves on ${path}.`);
  return unlock;
}

async function opened(path: string, dialect: Dialect): Promise<Pick<Listener, 'close'>> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    serve(socket, dialect);
  });
  server.maxConnections = MOST_CONNECTIONS;
  await listening(server, path);
  await chmod(path, 0o600);
  return {
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of open) socket.destroy();
      await closed;
      await rm(path, { force: true });
    },
  };
}

function serve(socket: Socket, dialect: Dialect): void {
  const ended = new AbortController();
  socket.once('close', () => {
    ended.abort();
  });
  // the other end is gone or broken: `close` follows
  socket.on('error', () => undefined);
  const peer = peerOf(socket);
  const users = [0, process.geteuid?.()];
  if (peer !== undefined && !users.includes(peer.uid)) {
    socket.destroy();
    return;
  }
  try {
    dialect({ socket, caller: nameOfPeer(peer), gone: ended.signal });
  } catch {
    socket.destroy();
  }
}

async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) throw new SocketRefused(`${path} is there, and is no socket.`);
  if (await answers(path)) throw new SocketRefused(`Another agent serves on ${path}.`);
  await rm(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // whoever is there and takes no connection at the moment is there: EAGAIN (connect(2)) says so
    socket.once('error', (error) => {
      resolve(!['ECONNREFUSED', 'ENOENT'].includes(codeOf(error) ?? ''));
    });
  });
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new SocketRefused(`Cannot listen on ${path} (${codeOf(cause) ?? cause.message}).`, { cause }));
    });
    server.listen(path, resolve);
  });
}
