import type { Socket } from 'node:net';
import type { Server, TLSSocket } from 'node:tls';

import { networkOf } from './network.js';

/** How many connections there may be, and how long one may take to become one. */
export interface ConnectionLimits {
  /** Of one address, as {@link networkOf} counts them, at the same time. */
  readonly connectionsPerAddress: number;
  readonly maxConnections: number;
  /** From the connection to the end of the TLS handshake. */
  readonly handshakeTimeoutMs: number;
}

/**
 * Guards a TLS server's connections before TLS begins: one too many from its address, or in all, is closed before a byte of it
 * is read; and one whose handshake is not over in time, however it dribbles, is closed then. `refused` is told of each, with its address.
 *
 * To be called once, before the server listens.
 *
 * @returns how to cut those whose handshake is not over: the server itself does not know of them
 */
export function guardConnections(
  server: Server,
  limits: ConnectionLimits,
  refused: (address: string, why: 'too-many' | 'no-handshake') => void,
): () => void {
  const open = new Map<string, number>();
  const shakingHands = new Map<string, { readonly socket: Socket; readonly timer: NodeJS.Timeout }>();
  let total = 0;
  // what the server itself does with a connection, which is to begin TLS
  const begin = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const address = networkOf(socket.remoteAddress);
    const ofAddress = open.get(address) ?? 0;
    if (ofAddress >= limits.connectionsPerAddress || total >= limits.maxConnections) {
      refused(address, 'too-many');
      socket.destroy();
      return;
    }
    open.set(address, ofAddress + 1);
    total += 1;
    const name = nameOf(socket);
    const timer = setTimeout(() => {
      refused(address, 'no-handshake');
      socket.destroy();
    }, limits.handshakeTimeoutMs);
    shakingHands.set(name, { socket, timer });
    socket.once('close', () => {
      total -= 1;
      const left = (open.get(address) ?? 1) - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
      clearTimeout(timer);
      if (shakingHands.get(name)?.socket === socket) shakingHands.delete(name);
    });
    for (const listener of begin) listener.call(server, socket);
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    const name = nameOf(socket);
    clearTimeout(shakingHands.get(name)?.timer);
    shakingHands.delete(name);
  });
  return () => {
    for (const { socket } of shakingHands.values()) socket.destroy();
  };
}

/** A connection is one by its two ends: TLS gives its socket another object, and the ends stay. */
function nameOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return [remoteAddress, remotePort, localAddress, localPort].join(' ');
}
