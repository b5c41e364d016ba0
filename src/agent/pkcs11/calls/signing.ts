import { type Answer, type Call, NOTHING } from '../call.js';
import type { Caller } from '../caller.js';
import { ParameterRefused, readSigning } from '../mechanisms.js';
import type { MessageReader } from '../messageReader.js';
import { CKR, Pkcs11Error } from '../numbers.js';
import type { Session } from '../sessions.js';
import { NotSigned, SignOperation, type ToSign } from '../signOperation.js';

/** Functions to sign (PKCS#11 2.40 section 5.11). How long a signature will be is answered without the key. */
export const SIGNING_CALLS = {
  42: {
    ...{ name: 'C_SignInit', takes: 'uMu', gives: '' },
    run: (caller, take) => {
      const session = caller.sessions.get(take.ulong());
      const mechanism = readMechanism(caller, take);
      const key = caller.privateKey(take.ulong());
      take.end();
      if (session.sign !== undefined || session.usesUnderWay > 0) throw new Pkcs11Error(CKR.OPERATION_ACTIVE);
      session.sign = new SignOperation(key, mechanism);
      return NOTHING;
    },
  },
  43: {
    ...{ name: 'C_Sign', takes: 'uayfy', gives: 'ay' },
    run: (caller, take) => {
      const session = caller.sessions.get(take.ulong());
      const data = take.byteArray();
      const room = take.room();
      take.end();
      // PKCS#11 2.40 section 5.11: C_Sign does not end what was begun in parts
      if (session.sign?.isInParts === true) throw new Pkcs11Error(CKR.OPERATION_ACTIVE);
      return signed(caller, session, room, data);
    },
  },
  44: {
    ...{ name: 'C_SignUpdate', takes: 'uay', gives: '' },
    run: ({ sessions }, take) => {
      const session = sessions.get(take.ulong());
      const data = take.byteArray();
      take.end();
      if (session.sign === undefined) throw new Pkcs11Error(CKR.OPERATION_NOT_INITIALIZED);
      session.sign.isInParts = true;
      addTo(session, data);
      return NOTHING;
    },
  },
  45: {
    ...{ name: 'C_SignFinal', takes: 'ufy', gives: 'ay' },
    run: (caller, take) => {
      const session = caller.sessions.get(take.ulong());
      const room = take.room();
      take.end();
      return signed(caller, session, room, undefined);
    },
  },
} as const satisfies Readonly<Record<number, Call>>;

function readMechanism(caller: Caller, take: MessageReader): ReturnType<typeof readSigning> {
  try {
    return readSigning(take);
  } catch (error) {
    if (error instanceof ParameterRefused) caller.refusedParameters(error);
    throw error;
  }
}

/** An operation that fails is over (PKCS#11 2.40 section 5.11). */
function addTo(session: Session, data: Buffer | undefined): void {
  try {
    if (data !== undefined) session.sign?.add(data);
  } catch (error) {
    session.sign = undefined;
    throw error;
  }
}

function signed(
  caller: Caller,
  session: Session,
  room: number,
  data: Buffer | undefined,
): Answer | Promise<Answer> {
  const operation = session.sign;
  if (operation === undefined) throw new Pkcs11Error(CKR.OPERATION_NOT_INITIALIZED);
  const { signatureBytes } = operation;
  if (room < signatureBytes) return (reply) => reply.byteArrayLength(signatureBytes);
  addTo(session, data);
  session.sign = undefined;
  return use(caller, session, operation);
}

async function use(caller: Caller, session: Session, operation: SignOperation): Promise<Answer> {
  const { key } = operation.shown;
  const what = wanted(caller, operation);
  const signature = await caller.used(session, () =>
    caller.parts.uses.sign({ ...what, key, caller: caller.name, gone: session.ended.signal }),
  );
  return (reply) => reply.byteArray(signature);
}

function wanted(caller: Caller, operation: SignOperation): ToSign {
  try {
    return operation.toSign();
  } catch (error) {
    if (error instanceof NotSigned) caller.refused(operation.shown, 'sign', error.sentence);
    throw error;
  }
}
