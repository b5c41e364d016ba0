import { randomBytes } from 'node:crypto';

import { type Call, NOTHING } from '../call.js';
import { MECHANISM_INFOS } from '../mechanisms.js';
import { CKF, CKR, Pkcs11Error, UNAVAILABLE } from '../numbers.js';
import type { MessageReader } from '../messageReader.js';

/** The one slot, with the one token. */
const SLOT = 1;
const HANDSHAKE = 'PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1';
const MANUFACTURER = 'escrowd';
/** Of this module, as its objects and mechanisms are. */
const [MAJOR, MINOR] = [1, 0];
/** In one call. */
const MOST_RANDOM_BYTES = 64 * 1024;

/** Functions for the library, the slot and the token (PKCS#11 2.40 sections 5.4 and 5.5), and random numbers (5.15). */
export const GENERAL_CALLS = {
  1: {
    ...{ name: 'C_Initialize', takes: 'ayyay', gives: '' },
    run: (caller, take) => {
      const handshake = take.byteArray();
      take.byte();
      take.byteArray();
      take.end();
      if (caller.isInitialized) throw new Pkcs11Error(CKR.CRYPTOKI_ALREADY_INITIALIZED);
      if (handshake?.toString('latin1') !== HANDSHAKE) throw new Pkcs11Error(CKR.ARGUMENTS_BAD);
      caller.isInitialized = true;
      return NOTHING;
    },
  },
  2: {
    ...{ name: 'C_Finalize', takes: '', gives: '' },
    run: (caller, take) => {
      take.end();
      caller.sessions.closeAll();
      caller.isInitialized = false;
      return NOTHING;
    },
  },
  3: {
    ...{ name: 'C_GetInfo', takes: '', gives: 'vsusv' },
    run: (_caller, take) => {
      take.end();
      return (reply) =>
        reply
          .version(2, 40)
          .padded(MANUFACTURER, 32)
          .ulong(0)
          .padded('Keys in escrow', 32)
          .version(MAJOR, MINOR);
    },
  },
  4: {
    ...{ name: 'C_GetSlotList', takes: 'yfu', gives: 'au' },
    run: (_caller, take) => {
      take.byte();
      const room = take.room();
      take.end();
      return (reply) => (room < 1 ? reply.ulongArrayLength(1) : reply.ulongArray([SLOT]));
    },
  },
  5: {
    ...{ name: 'C_GetSlotInfo', takes: 'u', gives: 'ssuvv' },
    run: (_caller, take) => {
      takeSlot(take);
      take.end();
      return (reply) =>
        reply
          .padded('Keys in escrow, used under grants', 64)
          .padded(MANUFACTURER, 32)
          .ulong(CKF.TOKEN_PRESENT)
          .version(0, 0)
          .version(MAJOR, MINOR);
    },
  },
  6: {
    ...{ name: 'C_GetTokenInfo', takes: 'u', gives: 'ssssuuuuuuuuuuuvvs' },
    run: ({ sessions }, take) => {
      takeSlot(take);
      take.end();
      return (reply) => {
        reply.padded('escrow', 32).padded(MANUFACTURER, 32).padded('agent', 16).padded('1', 16);
        // no CKF_LOGIN_REQUIRED: who may connect may ask. No CKF_WRITE_PROTECTED either: OpenSSH opens sessions to write
        reply.ulong(CKF.RNG | CKF.TOKEN_INITIALIZED);
        // CK_EFFECTIVELY_INFINITE sessions
        reply.ulong(0).ulong(sessions.count).ulong(0).ulong(UNAVAILABLE);
        // PINs of 0 to 255 bytes are taken, and not looked at
        reply.ulong(255).ulong(0);
        reply.ulong(UNAVAILABLE).ulong(UNAVAILABLE).ulong(UNAVAILABLE).ulong(UNAVAILABLE);
        return reply.version(0, 0).version(MAJOR, MINOR).padded('', 16);
      };
    },
  },
  7: {
    ...{ name: 'C_GetMechanismList', takes: 'ufu', gives: 'au' },
    run: (_caller, take) => {
      takeSlot(take);
      const room = take.room();
      take.end();
      const types = [...MECHANISM_INFOS.keys()];
      return (reply) =>
        room < types.length ? reply.ulongArrayLength(types.length) : reply.ulongArray(types);
    },
  },
  8: {
    ...{ name: 'C_GetMechanismInfo', takes: 'uu', gives: 'uuu' },
    run: (_caller, take) => {
      takeSlot(take);
      const info = MECHANISM_INFOS.get(take.ulong());
      take.end();
      if (info === undefined) throw new Pkcs11Error(CKR.MECHANISM_INVALID);
      return (reply) => reply.ulong(info.leastBits).ulong(info.mostBits).ulong(info.flags);
    },
  },
  65: {
    ...{ name: 'C_GenerateRandom', takes: 'ufy', gives: 'ay' },
    run: ({ sessions }, take) => {
      sessions.get(take.ulong());
      const room = take.room();
      take.end();
      if (room > MOST_RANDOM_BYTES) throw new Pkcs11Error(CKR.ARGUMENTS_BAD);
      return (reply) => reply.byteArray(randomBytes(room));
    },
  },
} as const satisfies Readonly<Record<number, Call>>;

/** @throws Pkcs11Error when it is not the one that there is */
export function takeSlot(take: MessageReader): number {
  if (take.ulong() !== SLOT) throw new Pkcs11Error(CKR.SLOT_ID_INVALID);
  return SLOT;
}
