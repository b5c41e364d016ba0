import { type Answer, type Call, NOTHING } from '../call.js';
import type { Caller } from '../caller.js';
import { ParameterRefused, readDecryption } from '../mechanisms.js';
import type { MessageReader } from '../messageReader.js';
import { CKR, Pkcs11Error } from '../numbers.js';
import type { DecryptOperation, Session } from '../sessions.js';

/** Functions to decrypt (PKCS#11 2.40 section 5.9), in one part. How long the plaintext can be is answered without the key. */
export const DECRYPTING_CALLS = {
  33: {
    ...{ name: 'C_DecryptInit', takes: 'uMu', gives: '' },
    run: (caller, take) => {
      const session = caller.sessions.get(take.ulong());
      const wanted = readMechanism(caller, take);
      const shown = caller.privateKey(take.ulong());
      take.end();
      if (shown.part.kind !== 'RSA') throw new Pkcs11Error(CKR.KEY_TYPE_INCONSISTENT);
      if (session.decrypt !== undefined || session.usesUnderWay > 0)
        throw new Pkcs11Error(CKR.OPERATION_ACTIVE);
      session.decrypt = { shown, wanted };
      return NOTHING;
    },
  },
  34: {
    ...{ name: 'C_Decrypt', takes: 'uayfy', gives: 'ay' },
    run: (caller, take) => {
      const session = caller.sessions.get(take.ulong());
      const ciphertext = Buffer.from(take.byteArray() ?? []);
      const room = take.room();
      take.end();
      const operation = session.decrypt;
      if (operation === undefined) throw new Pkcs11Error(CKR.OPERATION_NOT_INITIALIZED);
      const { done } = operation;
      if (done?.ciphertext.equals(ciphertext) === true) return answered(session, operation, done, room);
      const bytes = modulusBytes(operation);
      if (room === 0) return (reply) => reply.byteArrayLength(bytes);
      // an operation that fails is over, and while it goes on there is no other
      session.decrypt = undefined;
      if (ciphertext.length !== bytes) throw new Pkcs11Error(CKR.ENCRYPTED_DATA_LEN_RANGE);
      return use(caller, session, operation, { ciphertext, room });
    },
  },
} as const satisfies Readonly<Record<number, Call>>;

function readMechanism(caller: Caller, take: MessageReader): ReturnType<typeof readDecryption> {
  try {
    return readDecryption(take);
  } catch (error) {
    if (error instanceof ParameterRefused) caller.refusedParameters(error);
    throw error;
  }
}

function modulusBytes({ shown: { part } }: DecryptOperation): number {
  if (part.kind !== 'RSA') throw new Pkcs11Error(CKR.KEY_TYPE_INCONSISTENT);
  return part.modulus.length;
}

async function use(
  caller: Caller,
  session: Session,
  operation: DecryptOperation,
  { ciphertext, room }: { readonly ciphertext: Buffer; readonly room: number },
): Promise<Answer> {
  const { shown, wanted } = operation;
  const plaintext = await caller.used(session, () =>
    caller.parts.uses.decrypt({
      ...{ key: shown.key, mechanism: wanted, caller: caller.name, gone: session.ended.signal },
      input: { kind: 'ciphertext', bytes: ciphertext },
      what: `a ciphertext of ${ciphertext.length} bytes`,
    }),
  );
  return answered(session, operation, { ciphertext, plaintext }, room);
}

/** Where there is no room for the plaintext it waits in the session, so that it is not decrypted twice. */
function answered(
  session: Session,
  operation: DecryptOperation,
  done: NonNullable<DecryptOperation['done']>,
  room: number,
): Answer {
  const { plaintext } = done;
  if (plaintext.length <= room) {
    session.decrypt = undefined;
    return (reply) => reply.byteArray(plaintext);
  }
  session.decrypt ??= { ...operation, done };
  return (reply) => reply.byteArrayLength(plaintext.length);
}
