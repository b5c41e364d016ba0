import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import { FrameReader, frameOf } from '../../../src/agent/pkcs11/frames.js';
import { MessageReader } from '../../../src/agent/pkcs11/messageReader.js';
import { MessageWriter } from '../../../src/agent/pkcs11/messageWriter.js';

/** The body of a call: its number, the types of its arguments, and these. */
export function callBody(number: number, takes: string, args: (writer: MessageWriter) => unknown): Buffer {
  const writer = new MessageWriter().uint32(number).bytesOrNull(Buffer.from(takes));
  args(writer);
  return writer.toBuffer();
}

export const INITIALIZE = callBody(1, 'ayyay', (writer) =>
  writer.byteArray(Buffer.from('PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1')).byte(0).byteArray(Buffer.of(0)),
);
export const GET_INFO = callBody(3, '', () => undefined);
/** To read and write, one call after the other. */
export const OPEN_SESSION = callBody(10, 'uu', (writer) => writer.ulong(1).ulong(6));

/** What a call was answered: its results, or the return value of PKCS#11 that it failed with. */
export type RpcAnswer = { readonly results: MessageReader } | { readonly code: number };

/** A client of p11-kit's protocol that sends what it is told to. Calls may be under way at the same time. */
export class RpcClient {
  readonly #waiting = new Map<
    number,
    { readonly resolve: (answer: RpcAnswer) => void; readonly reject: (error: Error) => void }
  >();
  readonly #frames = new FrameReader();
  #tag = 15;
  #isGreeted = false;

  private constructor(readonly socket: Socket) {
    socket.on('error', () => undefined);
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('closed'));
    });
    socket.on('data', (chunk: Buffer) => {
      this.#take(chunk);
    });
  }

  /** Connected, with the first byte sent; `C_Initialize` is for the caller. */
  static async connect(path: string): Promise<RpcClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    socket.write(Buffer.of(0));
    return new RpcClient(socket);
  }

  /** The answer; rejects when the connection is closed instead. */
  call(body: Buffer): Promise<RpcAnswer> {
    this.#tag += 1;
    const tag = this.#tag;
    return new Promise((resolve, reject) => {
      this.#waiting.set(tag, { resolve, reject });
      this.socket.write(frameOf({ tag, body }));
    });
  }

  /** The results. @throws Error when the call fails */
  async results(body: Buffer): Promise<MessageReader> {
    const answer = await this.call(body);
    if ('code' in answer) throw new Error(`the call failed with 0x${answer.code.toString(16)}`);
    return answer.results;
  }

  /** A session, of a program that has just connected. */
  async session(): Promise<number> {
    await this.results(INITIALIZE);
    return (await this.results(OPEN_SESSION)).ulong();
  }

  async closed(): Promise<void> {
    if (!this.socket.closed) await once(this.socket, 'close');
  }

  #take(chunk: Buffer): void {
    let rest = chunk;
    if (!this.#isGreeted) {
      this.#isGreeted = true;
      rest = chunk.subarray(1);
    }
    for (const { tag, body } of this.#frames.push(rest)) {
      const reader = new MessageReader(body);
      const isError = reader.uint32() === 0;
      reader.bytesOrNull();
      this.#waiting.get(tag)?.resolve(isError ? { code: reader.ulong() } : { results: reader });
      this.#waiting.delete(tag);
    }
  }
}
