import koffi from 'koffi';
import type { Handle, PKCS11 } from 'pkcs11js';
import { nativeRow } from './attributes.js';
import { CKR } from './faults.js';
import { NativeFault, nativeFunction } from './nativeFunction.js';

/** Its place in CK_FUNCTION_LIST. */
const C_GET_ATTRIBUTE_VALUE = 24;
const PROTOTYPE = koffi.proto('ulong (ulong, ulong, void *, ulong)');
const LENGTH_AT = 16;

type GetAttributeValue = (session: bigint, object: bigint, row: bigint, count: number) => number;

const functions = new WeakMap<PKCS11, GetAttributeValue>();

/** Lets {@link attributeLength} ask the module that this driver has loaded. */
export function askLengthsOf(driver: PKCS11, modulePath: string): void {
  const get = nativeFunction(modulePath, C_GET_ATTRIBUTE_VALUE, PROTOTYPE);
  functions.set(driver, (...given) => Number(get(...given)));
}

/**
 * How many bytes an attribute has (C_GetAttributeValue with no room for it, PKCS#11 2.40 section 5.7); undefined when this
 * object has no such attribute. For a nested template the driver must not be asked: pkcs11js 2.1.7 gives it room whose
 * pointers are whatever stood in that memory, and SoftHSM 2.6 writes where they point.
 */
export function attributeLength(
  driver: PKCS11,
  session: Handle,
  object: Handle,
  type: number,
): number | undefined {
  const get = functions.get(driver);
  if (get === undefined) throw new Error('this driver was not loaded here');
  const row = nativeRow(type);
  const answer = get(session.readBigUInt64LE(), object.readBigUInt64LE(), koffi.address(row), 1);
  if (answer === 0) return Number(row.readBigUInt64LE(LENGTH_AT));
  if (answer === CKR.CKR_ATTRIBUTE_TYPE_INVALID) return undefined;
  throw new NativeFault(answer);
}
