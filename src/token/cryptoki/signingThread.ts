import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import pkcs11 from 'pkcs11js';
import type { PKCS11 } from 'pkcs11js';
import { CKR, readFault } from './faults.js';
import {
  type SigningAnswer,
  type SigningOrder,
  type SigningThreadData,
  SIGNS,
  packed,
  unpacked,
} from './signingThreads.js';

/** The program of a thread that signs: this file. */
export const SIGNING_PROGRAM = fileURLToPath(import.meta.url);

/**
 * Signs what it is told, one order after another. The module is loaded and initialised in this process already, and so are its
 * sessions and its login: whoever orders holds the session, and gives the module back only when this thread has ended.
 */
function serve({ modulePath, made }: SigningThreadData): void {
  const driver = new pkcs11.PKCS11();
  driver.load(modulePath);
  parentPort?.on('message', (order: SigningOrder) => {
    parentPort?.postMessage(sign(driver, order, made));
  });
}

function sign(
  driver: PKCS11,
  { session, key, mechanism, inputs, bytes }: SigningOrder,
  made: Int32Array,
): SigningAnswer {
  const [inSession, withKey] = [Buffer.from(session), Buffer.from(key)];
  const signatures: Uint8Array[] = [];
  try {
    for (const input of unpacked(inputs)) {
      driver.C_SignInit(inSession, mechanism, withKey);
      signatures.push(driver.C_Sign(inSession, Buffer.from(input), Buffer.alloc(bytes)));
      Atomics.add(made, 0, 1);
    }
    return { signatures: packed(signatures) };
  } catch (error) {
    return { signatures: packed(signatures), fault: readFault(error)?.code ?? CKR.CKR_GENERAL_ERROR };
  }
}

const data = workerData as SigningThreadData | null | undefined;
// main.ts imports this file as well
if (!isMainThread && data?.work === SIGNS) serve(data);
