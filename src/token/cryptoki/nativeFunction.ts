import koffi from 'koffi';
import { nameOfFault } from './faults.js';

/** CK_FUNCTION_LIST: CK_VERSION with its padding, then pointers in the order of pkcs11f.h (section 5). */
const FIRST_FUNCTION = 8;

/** A function of a module that is loaded already, by its place in CK_FUNCTION_LIST, to be called beside the driver. */
export function nativeFunction(
  modulePath: string,
  place: number,
  prototype: ReturnType<typeof koffi.proto>,
): (...given: readonly unknown[]) => unknown {
  // dlopen of what is loaded gives the same module: no second state, and no other OpenSSL.
  const library = koffi.load(modulePath);
  const getFunctionList: unknown = library.func('C_GetFunctionList', 'ulong', [
    koffi.out(koffi.pointer('uint64')),
  ]);
  const list: (bigint | number)[] = [0n];
  if (typeof getFunctionList !== 'function' || Reflect.apply(getFunctionList, undefined, [list]) !== 0)
    throw new Error('C_GetFunctionList gives no functions');
  const pointer: unknown = koffi.decode(BigInt(list[0] ?? 0), FIRST_FUNCTION + 8 * place, 'uint64');
  if (typeof pointer !== 'bigint' && typeof pointer !== 'number') throw new Error('a pointer is a number');
  const found: unknown = koffi.decode(BigInt(pointer), prototype);
  if (typeof found !== 'function') throw new Error('the module has no such function');
  return found as (...given: readonly unknown[]) => unknown;
}

/** A call on another thread; resolves with the CK_RV. What its arguments point at must live until then. */
export type NativeCall = (...given: readonly (bigint | number)[]) => Promise<number>;

/** The same as {@link nativeFunction}, called on another thread. */
export function nativeCall(
  modulePath: string,
  place: number,
  prototype: ReturnType<typeof koffi.proto>,
): NativeCall {
  const found = nativeFunction(modulePath, place, prototype);
  if (!('async' in found) || typeof found.async !== 'function')
    throw new Error('a function of the module cannot be called on another thread');
  const { async: start } = found;
  return (...given) =>
    new Promise((resolve, reject) => {
      const settle = (error: Error | null, answer: number): void => {
        if (error === null) resolve(answer);
        else reject(error);
      };
      Reflect.apply(start, undefined, [...given, settle]);
    });
}

/** What the token answered, in the form of the driver's own errors. */
export class NativeFault extends Error {
  override readonly name = 'Pkcs11Error';

  constructor(readonly code: number) {
    super(nameOfFault(code));
  }
}
