import koffi from 'koffi';
import type { Handle } from 'pkcs11js';
import { type Template, holding, nativeTemplate } from './attributes.js';
import { nativeCall, NativeFault } from './nativeFunction.js';

/** Finds all objects that match, on another thread. */
export type FindHandles = (session: Handle, template: Template) => Promise<readonly Handle[]>;

/** Their places in CK_FUNCTION_LIST. */
const C_FIND_OBJECTS_INIT = 26;
const C_FIND_OBJECTS = 27;
const C_FIND_OBJECTS_FINAL = 28;
const INIT = koffi.proto('ulong (ulong, void *, ulong)');
const NEXT = koffi.proto('ulong (ulong, void *, ulong, void *)');
const FINAL = koffi.proto('ulong (ulong)');
const HANDLE_BYTES = 8;
const BATCH = 1000;

/**
 * C_FindObjectsInit, C_FindObjects and C_FindObjectsFinal (PKCS#11 2.40 section 5.7) of a module that is loaded already, called
 * beside the driver: a search is linear in all objects of the token, 0.2 s at 10,000, and the driver's own stops the process for as long.
 */
export function handleFinder(modulePath: string): FindHandles {
  const begin = nativeCall(modulePath, C_FIND_OBJECTS_INIT, INIT);
  const next = nativeCall(modulePath, C_FIND_OBJECTS, NEXT);
  const end = nativeCall(modulePath, C_FIND_OBJECTS_FINAL, FINAL);
  return (session, template) => {
    const native = nativeTemplate(template);
    const batch = Buffer.alloc(BATCH * HANDLE_BYTES);
    const count = Buffer.alloc(HANDLE_BYTES);
    const at = session.readBigUInt64LE();
    return holding([native, batch, count, template], async () => {
      requireOk(await begin(at, koffi.address(native), template.length));
      const found: Handle[] = [];
      try {
        for (;;) {
          requireOk(await next(at, koffi.address(batch), BATCH, koffi.address(count)));
          const length = Number(count.readBigUInt64LE());
          for (let index = 0; index < length; index += 1)
            found.push(Buffer.from(batch.subarray(index * HANDLE_BYTES, (index + 1) * HANDLE_BYTES)));
          if (length < BATCH) return found;
        }
      } finally {
        await end(at);
      }
    });
  };
}

function requireOk(answer: number): void {
  if (answer !== 0) throw new NativeFault(answer);
}
