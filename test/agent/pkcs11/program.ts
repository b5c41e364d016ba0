import { CKM } from '../../../src/agent/pkcs11/numbers.js';
import type { MessageWriter } from '../../../src/agent/pkcs11/messageWriter.js';
import { callBody, type RpcAnswer, RpcClient } from './rpcClient.js';
import type { Served } from './served.js';

/** Writes a mechanism with its parameters. */
export type Mechanism = (to: MessageWriter) => unknown;

export function plain(type: number): Mechanism {
  return (to) => to.uint32(type).bytesOrNull(undefined);
}

export function pss(type: number, hash: number, mgf: number, saltBytes: number): Mechanism {
  return (to) => to.uint32(type).ulong(hash).ulong(mgf).ulong(saltBytes);
}

export function oaep(hash: number, mgf: number, label?: Buffer): Mechanism {
  return (to) => to.uint32(CKM.RSA_PKCS_OAEP).ulong(hash).ulong(mgf).ulong(1).bytesOrNull(label);
}

/** The numbers of the functions that begin something. */
const INIT = { decrypt: 33, sign: 42 } as const;

/** A program with a session, by the functions that it calls. */
export class Program {
  private constructor(
    readonly client: RpcClient,
    readonly session: number,
  ) {}

  static async start({ path }: Served): Promise<Program> {
    const client = await RpcClient.connect(path);
    return new Program(client, await client.session());
  }

  init(
    what: keyof typeof INIT,
    mechanism: Mechanism,
    key: number,
    session = this.session,
  ): Promise<RpcAnswer> {
    return this.client.call(
      callBody(INIT[what], 'uMu', (to) => {
        to.ulong(session);
        mechanism(to);
        to.ulong(key);
      }),
    );
  }

  signed(data: Buffer, room = 512, session = this.session): Promise<RpcAnswer> {
    return this.client.call(callBody(43, 'uayfy', (to) => to.ulong(session).byteArray(data).uint32(room)));
  }

  update(data: Buffer): Promise<RpcAnswer> {
    return this.client.call(callBody(44, 'uay', (to) => to.ulong(this.session).byteArray(data)));
  }

  final(room = 512): Promise<RpcAnswer> {
    return this.client.call(callBody(45, 'ufy', (to) => to.ulong(this.session).uint32(room)));
  }

  decrypted(data: Buffer, room = 512): Promise<RpcAnswer> {
    return this.client.call(
      callBody(34, 'uayfy', (to) => to.ulong(this.session).byteArray(data).uint32(room)),
    );
  }

  end(): void {
    this.client.socket.destroy();
  }
}

/** The bytes of an answer; their length alone; or the return value that is not CKR_OK. */
export function read(answer: RpcAnswer): Buffer | { readonly length: number } | number {
  if ('code' in answer) return answer.code;
  const { results } = answer;
  return results.byte() === 1 ? (results.bytesOrNull() ?? Buffer.alloc(0)) : { length: results.uint32() };
}

/** 0: CKR_OK. */
export function codeOf(answer: RpcAnswer): number {
  return 'code' in answer ? answer.code : 0;
}

/** The uses of keys from this one on: mechanism, kind of input, input. */
export function usesSince({ uses }: Served, before: number): readonly string[] {
  return uses
    .slice(before)
    .map(({ mechanism, input }) => `${mechanism} ${input.kind} ${Buffer.from(input.bytes).toString('hex')}`);
}
