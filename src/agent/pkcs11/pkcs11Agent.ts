import type { Socket } from 'node:net';

import type { GrantedUses } from '../grantedUses.js';
import type { AgentConnection, Dialect } from '../listener.js';
import type { OfferedKey, Told } from '../use.js';
import { Caller, type Pkcs11Parts } from './caller.js';
import { answerTo } from './conversation.js';
import { FrameReader, frameOf } from './frames.js';
import { objectsOf } from './keyObjects.js';

/** The version that is spoken, whichever the program offers: the others add nothing that is needed here. */
const VERSION = Buffer.of(0);
/** Answers that a program has not taken yet: with more, no more of its calls are read. */
const MOST_UNTAKEN_BYTES = 1024 * 1024;

export interface Pkcs11AgentParts {
  readonly keys: readonly OfferedKey[];
  readonly uses: Pick<GrantedUses, 'sign' | 'decrypt'>;
  readonly tell: (told: Told) => void;
}

/**
 * PKCS#11 by the RPC protocol of p11-kit, version 0, as p11-kit-client.so speaks it: programs see one token with the keys, and sign
 * and decrypt under grants. Calls of one connection are served at the same time, and answered as they end; what waits is
 * aborted when the connection closes. What is not of the protocol closes it.
 */
export function pkcs11Agent({ keys, uses, tell }: Pkcs11AgentParts): Dialect {
  const parts: Pkcs11Parts = { objects: objectsOf(keys), uses, tell };
  return (connection) => {
    void serve(parts, connection);
  };
}

async function serve(parts: Pkcs11Parts, { socket, caller: name, gone }: AgentConnection): Promise<void> {
  const caller = new Caller(parts, name);
  gone.addEventListener('abort', () => {
    caller.end();
  });
  try {
    await readCalls(socket, caller);
  } catch {
    // not of the protocol, or broken: the other end sees that it is closed
  } finally {
    caller.end();
    socket.destroy();
  }
}

async function readCalls(socket: Socket, caller: Caller): Promise<void> {
  const frames = new FrameReader();
  let isGreeted = false;
  for await (const data of socket) {
    let chunk = Buffer.from(data as Uint8Array);
    if (!isGreeted) {
      socket.write(VERSION);
      isGreeted = true;
      chunk = chunk.subarray(1);
    }
    for (const { tag, body } of frames.push(chunk)) {
      const answer = answerTo(caller, body);
      const send = (reply: Buffer): void => {
        if (!socket.destroyed) socket.write(frameOf({ tag, body: reply }));
      };
      if (answer instanceof Promise) void answer.then(send);
      else send(answer);
      if (socket.writableLength > MOST_UNTAKEN_BYTES) await taken(socket);
    }
  }
}

/** Until the program has taken its answers, or is gone. */
function taken(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) resolve();
    const done = (): void => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.on('drain', done).on('close', done);
  });
}
