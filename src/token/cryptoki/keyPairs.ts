import koffi from 'koffi';
import type { Handle, Mechanism } from 'pkcs11js';
import { type Template, holding, nativeRow, nativeTemplate } from './attributes.js';
import { nativeCall, NativeFault } from './nativeFunction.js';

/** The two halves of a new pair. */
export interface NewPair {
  readonly publicKey: Handle;
  readonly privateKey: Handle;
}

/**
 * Makes a pair on another thread. `mechanism` has no parameter. What the templates point at must live until it settles;
 * the templates themselves are held here.
 */
export type GenerateKeyPair = (
  session: Handle,
  mechanism: Mechanism,
  publicKey: Template,
  privateKey: Template,
) => Promise<NewPair>;

/** Its place in CK_FUNCTION_LIST. */
const C_GENERATE_KEY_PAIR = 59;
const HANDLE_BYTES = 8;
const PROTOTYPE = koffi.proto('ulong (ulong, void *, void *, ulong, void *, ulong, void *, void *)');

/**
 * C_GenerateKeyPair of a module that is loaded already, called beside the driver: pkcs11js 2.1.7 never frees the mechanism
 * and the templates that it copies for an asynchronous call (about 2 KiB a pair), and a synchronous one stops the process
 * for as long as an RSA pair takes.
 */
export function keyPairGenerator(modulePath: string): GenerateKeyPair {
  const generate = nativeCall(modulePath, C_GENERATE_KEY_PAIR, PROTOTYPE);
  return async (session, mechanism, publicKey, privateKey) => {
    const call = {
      mechanism: nativeRow(mechanism.mechanism),
      publicKey: nativeTemplate(publicKey),
      privateKey: nativeTemplate(privateKey),
      pair: Buffer.alloc(2 * HANDLE_BYTES),
    };
    const at = (buffer: Buffer): bigint => koffi.address(buffer);
    const held = [call.mechanism, call.publicKey, call.privateKey, call.pair, publicKey, privateKey];
    const answer = await holding(held, () =>
      generate(
        session.readBigUInt64LE(),
        at(call.mechanism),
        at(call.publicKey),
        publicKey.length,
        at(call.privateKey),
        privateKey.length,
        at(call.pair),
        at(call.pair) + BigInt(HANDLE_BYTES),
      ),
    );
    if (answer !== 0) throw new NativeFault(answer);
    return {
      publicKey: Buffer.from(call.pair.subarray(0, HANDLE_BYTES)),
      privateKey: Buffer.from(call.pair.subarray(HANDLE_BYTES)),
    };
  };
}
