import type { Call } from './call.js';
import { DECRYPTING_CALLS } from './calls/decrypting.js';
import { GENERAL_CALLS } from './calls/general.js';
import { OBJECT_CALLS } from './calls/objects.js';
import { SESSION_CALLS } from './calls/session.js';
import { SIGNING_CALLS } from './calls/signing.js';

const ROWS: Readonly<Record<number, Call>> = {
  ...GENERAL_CALLS,
  ...SESSION_CALLS,
  ...OBJECT_CALLS,
  ...DECRYPTING_CALLS,
  ...SIGNING_CALLS,
};

/** The functions that are there, by their numbers in the protocol: the order of PKCS#11's list. */
export const CALLS: ReadonlyMap<number, Call> = new Map(
  Object.entries(ROWS).map(([number, call]) => [Number(number), call]),
);

/** C_Initialize. */
export const FIRST_CALL = 1;
