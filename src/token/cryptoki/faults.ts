import { types } from 'node:util';
import { type ErrorCode, EscrowError } from '../../escrow/records/errors.js';

/** What a PKCS#11 call answered instead of CKR_OK. */
export interface Fault {
  readonly code: number;
  readonly name: string;
}

/** Return values by name (PKCS#11 2.40 section 5.1, and 3.0) that this adapter decides by. */
export const CKR = {
  CKR_GENERAL_ERROR: 0x5,
  CKR_FUNCTION_FAILED: 0x6,
  CKR_ARGUMENTS_BAD: 0x7,
  CKR_ATTRIBUTE_SENSITIVE: 0x11,
  CKR_ATTRIBUTE_TYPE_INVALID: 0x12,
  CKR_ATTRIBUTE_VALUE_INVALID: 0x13,
  CKR_ACTION_PROHIBITED: 0x1b,
  CKR_DATA_INVALID: 0x20,
  CKR_DATA_LEN_RANGE: 0x21,
  CKR_AEAD_DECRYPT_FAILED: 0x35,
  CKR_ENCRYPTED_DATA_INVALID: 0x40,
  CKR_ENCRYPTED_DATA_LEN_RANGE: 0x41,
  CKR_DEVICE_MEMORY: 0x31,
  CKR_KEY_HANDLE_INVALID: 0x60,
  CKR_KEY_SIZE_RANGE: 0x62,
  CKR_KEY_TYPE_INCONSISTENT: 0x63,
  CKR_KEY_FUNCTION_NOT_PERMITTED: 0x68,
  CKR_MECHANISM_PARAM_INVALID: 0x71,
  CKR_MECHANISM_INVALID: 0x70,
  CKR_OBJECT_HANDLE_INVALID: 0x82,
  CKR_PIN_INCORRECT: 0xa0,
  CKR_PIN_INVALID: 0xa1,
  CKR_PIN_LEN_RANGE: 0xa2,
  CKR_PIN_EXPIRED: 0xa3,
  CKR_PIN_LOCKED: 0xa4,
  CKR_TEMPLATE_INCOMPLETE: 0xd0,
  CKR_TEMPLATE_INCONSISTENT: 0xd1,
  CKR_UNWRAPPING_KEY_HANDLE_INVALID: 0xf0,
  CKR_USER_ALREADY_LOGGED_IN: 0x100,
  CKR_USER_ANOTHER_ALREADY_LOGGED_IN: 0x104,
  CKR_WRAPPED_KEY_INVALID: 0x110,
  CKR_WRAPPED_KEY_LEN_RANGE: 0x112,
  CKR_WRAPPING_KEY_HANDLE_INVALID: 0x113,
  CKR_WRAPPING_KEY_SIZE_RANGE: 0x114,
  CKR_WRAPPING_KEY_TYPE_INCONSISTENT: 0x115,
  CKR_DOMAIN_PARAMS_INVALID: 0x130,
  CKR_CRYPTOKI_ALREADY_INITIALIZED: 0x191,
} as const satisfies Record<string, number>;

const NAMES = new Map<number, string>(Object.entries(CKR).map(([name, code]) => [code, name]));

/** The name of a return value, as PKCS#11 has it where it is known here. */
export function nameOfFault(code: number): string {
  return NAMES.get(code) ?? `CKR_0x${code.toString(16)}`;
}

/** Answers that a wrong ciphertext may get. A broken device may give the same, so a probe must tell them apart. */
const CIPHERTEXT_FAULTS: ReadonlySet<number> = new Set([
  CKR.CKR_GENERAL_ERROR,
  CKR.CKR_FUNCTION_FAILED,
  CKR.CKR_DATA_INVALID,
  CKR.CKR_DATA_LEN_RANGE,
  CKR.CKR_AEAD_DECRYPT_FAILED,
  CKR.CKR_ENCRYPTED_DATA_INVALID,
  CKR.CKR_ENCRYPTED_DATA_LEN_RANGE,
  // NSS softokn, for an RSA ciphertext that is not below the modulus
  CKR.CKR_ARGUMENTS_BAD,
  CKR.CKR_KEY_SIZE_RANGE,
  // what was unwrapped is no AES key in length, and SoftHSM 2.6 says so only when it is to be used
  CKR.CKR_MECHANISM_INVALID,
  CKR.CKR_WRAPPED_KEY_INVALID,
  CKR.CKR_WRAPPED_KEY_LEN_RANGE,
]);

/** Answers that say that a key is not made for what is asked of it. */
const OTHER_KEY_FAULTS: ReadonlySet<number> = new Set([
  CKR.CKR_ATTRIBUTE_VALUE_INVALID,
  CKR.CKR_KEY_SIZE_RANGE,
  CKR.CKR_KEY_TYPE_INCONSISTENT,
  CKR.CKR_KEY_FUNCTION_NOT_PERMITTED,
  CKR.CKR_MECHANISM_INVALID,
  CKR.CKR_TEMPLATE_INCONSISTENT,
  CKR.CKR_WRAPPING_KEY_SIZE_RANGE,
  CKR.CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
]);

/** Answers that say a remembered handle no longer names anything; the call did nothing. */
const STALE_FAULTS: ReadonlySet<number> = new Set([
  CKR.CKR_KEY_HANDLE_INVALID,
  CKR.CKR_OBJECT_HANDLE_INVALID,
  CKR.CKR_UNWRAPPING_KEY_HANDLE_INVALID,
  CKR.CKR_WRAPPING_KEY_HANDLE_INVALID,
]);

/**
 * Reads the return value out of what the driver threw; undefined when it was something else. pkcs11js gives
 * Pkcs11Error with `code`, but C_CreateObject, C_CopyObject, C_SetAttributeValue and C_FindObjects throw a plain
 * Error whose message holds `NAME:number`.
 */
export function readFault(error: unknown): Fault | undefined {
  const cause = error instanceof EscrowError ? error.cause : error;
  // Not instanceof: what native code throws may come from another realm.
  if (!types.isNativeError(cause)) return undefined;
  const code = 'code' in cause && typeof cause.code === 'number' && cause.code > 0 ? cause.code : undefined;
  const inMessage = /(CKR_\w+):(\d+)/.exec(cause.message);
  const value = code ?? (inMessage === null ? undefined : Number(inMessage[2]));
  if (value === undefined) return undefined;
  const given = /CKR_\w+/.exec(cause.message)?.[0] ?? `CKR_0x${value.toString(16)}`;
  return { code: value, name: NAMES.get(value) ?? given };
}

/** Whether this may mean that the ciphertext is not what it claims. */
export function mayBeCiphertext(error: unknown): boolean {
  const fault = readFault(error);
  return fault !== undefined && CIPHERTEXT_FAULTS.has(fault.code);
}

/** Whether this says that the key is made for something else than what was asked of it. */
export function isOtherKey(error: unknown): boolean {
  const fault = readFault(error);
  return fault !== undefined && OTHER_KEY_FAULTS.has(fault.code);
}

export function isStaleHandle(error: unknown): boolean {
  const fault = readFault(error);
  return fault !== undefined && STALE_FAULTS.has(fault.code);
}

/**
 * The error that the core sees: an EscrowError stays, that there is no memory for another object in the token (PKCS#11 2.40 section
 * 5.1.4) is `token-full`, any other PKCS#11 fault `token-unavailable`, the rest `internal`.
 */
export function asEscrowError(error: unknown): EscrowError {
  if (error instanceof EscrowError) return error;
  return new EscrowError(codeOf(readFault(error)), undefined, { cause: error });
}

function codeOf(fault: Fault | undefined): ErrorCode {
  if (fault === undefined) return 'internal';
  return fault.code === CKR.CKR_DEVICE_MEMORY ? 'token-full' : 'token-unavailable';
}

/** Answers of a token that keeps its objects in files when it cannot write them, among other things: SoftHSM 2.6 has no other words. */
const UNWRITTEN_FAULTS: ReadonlySet<number> = new Set([
  CKR.CKR_GENERAL_ERROR,
  CKR.CKR_FUNCTION_FAILED,
  CKR.CKR_OBJECT_HANDLE_INVALID,
]);

/** Whether `token-unavailable` may mean that there is no room: what keeps the objects must tell. */
export function mayBeFull(error: unknown): boolean {
  if (!(error instanceof EscrowError) || error.code !== 'token-unavailable') return false;
  const fault = readFault(error);
  return fault !== undefined && UNWRITTEN_FAULTS.has(fault.code);
}

/** Why a token cannot be put into service. */
export type NotReadyReason =
  | 'module-missing'
  | 'module-refused'
  | 'token-missing'
  | 'token-ambiguous'
  | 'pin-refused'
  | 'objects-missing'
  | 'objects-wrong'
  | 'keys-changed'
  | 'not-as-claimed';

/** The token is not ready for the daemon, which must not start. The message says what a person should do. */
export class TokenNotReady extends Error {
  override readonly name = 'TokenNotReady';

  constructor(
    readonly reason: NotReadyReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
