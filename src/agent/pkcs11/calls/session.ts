import { type Call, NOTHING } from '../call.js';
import { CKF, CKR, CKS, CKU_USER, Pkcs11Error } from '../numbers.js';
import { takeSlot } from './general.js';

/** Functions for sessions (PKCS#11 2.40 section 5.6). A login is not needed, and its PIN is not looked at. */
export const SESSION_CALLS = {
  10: {
    ...{ name: 'C_OpenSession', takes: 'uu', gives: 'u' },
    run: ({ sessions }, take) => {
      takeSlot(take);
      const flags = take.ulong();
      take.end();
      if ((flags & CKF.SERIAL_SESSION) === 0) throw new Pkcs11Error(CKR.SESSION_PARALLEL_NOT_SUPPORTED);
      const handle = sessions.open((flags & CKF.RW_SESSION) !== 0);
      return (reply) => reply.ulong(handle);
    },
  },
  11: {
    ...{ name: 'C_CloseSession', takes: 'u', gives: '' },
    run: ({ sessions }, take) => {
      const handle = take.ulong();
      take.end();
      sessions.close(handle);
      return NOTHING;
    },
  },
  12: {
    ...{ name: 'C_CloseAllSessions', takes: 'u', gives: '' },
    run: ({ sessions }, take) => {
      takeSlot(take);
      take.end();
      sessions.closeAll();
      return NOTHING;
    },
  },
  13: {
    ...{ name: 'C_GetSessionInfo', takes: 'u', gives: 'uuuu' },
    run: ({ sessions, isLoggedIn }, take) => {
      const { isReadWrite } = sessions.get(take.ulong());
      take.end();
      const [state, flags] = isReadWrite
        ? [isLoggedIn ? CKS.RW_USER : CKS.RW_PUBLIC, CKF.SERIAL_SESSION | CKF.RW_SESSION]
        : [isLoggedIn ? CKS.RO_USER : CKS.RO_PUBLIC, CKF.SERIAL_SESSION];
      return (reply) => reply.ulong(1).ulong(state).ulong(flags).ulong(0);
    },
  },
  18: {
    ...{ name: 'C_Login', takes: 'uuay', gives: '' },
    run: (caller, take) => {
      caller.sessions.get(take.ulong());
      const user = take.ulong();
      take.byteArray();
      take.end();
      if (user !== CKU_USER) throw new Pkcs11Error(CKR.USER_TYPE_INVALID);
      caller.isLoggedIn = true;
      return NOTHING;
    },
  },
  19: {
    ...{ name: 'C_Logout', takes: 'u', gives: '' },
    run: (caller, take) => {
      caller.sessions.get(take.ulong());
      take.end();
      caller.isLoggedIn = false;
      return NOTHING;
    },
  },
} as const satisfies Readonly<Record<number, Call>>;
