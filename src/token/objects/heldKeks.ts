import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import { isOperate, readKekLabel } from '../../escrow/records/sealing/keks.js';
import type { HeldKek } from '../../escrow/ports/token.js';
import { type ObjectName, objectNames } from './objectNames.js';
import { readBytes } from './objects.js';
import type { KnownKeks, OpenParts } from './openParts.js';

/**
 * The key-encryption keys that the token holds, as the ceremony made them. They change at a ceremony only, while no daemon has the
 * token open: so they are looked for once, and again after one was not where it had been.
 */
export class HeldKeks implements KnownKeks {
  #found: Promise<readonly HeldKek[]> | undefined;

  /** Throws EscrowError `token-unavailable` when the token does not work. */
  list(parts: OpenParts): Promise<readonly HeldKek[]> {
    const found = (this.#found ??= lookForKeks(parts));
    found.catch(() => {
      if (this.#found === found) this.#found = undefined;
    });
    return found;
  }

  /** One of them was not found: the next who asks looks again. */
  forget(): void {
    this.#found = undefined;
  }
}

async function lookForKeks(parts: OpenParts): Promise<readonly HeldKek[]> {
  return parts.objects.alone(async (session) => {
    const held: HeldKek[] = [];
    for (const label of await labelsOf(parts, session)) {
      if (!(await isHeld(parts, session, objectNames.kek(label)))) continue;
      const kind = readKekLabel(label)?.kind;
      const hasRotatingHandle =
        kind !== undefined &&
        isOperate(kind) &&
        (await isHeld(parts, session, objectNames.rotating(label, kind)));
      held.push({ label, hasRotatingHandle });
    }
    // a token that is gone holds nothing, and reports no error
    await parts.health.checkIn(session);
    return held;
  });
}

/** By the record of the ceremony; without one, what the token holds. */
async function labelsOf({ objects, pins, driver }: OpenParts, session: Handle): Promise<readonly string[]> {
  if (pins !== undefined) return [...pins.keks.keys()];
  const every = [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_TOKEN, value: true },
  ];
  const labels = (await objects.search(session, every)).map((handle) =>
    String(readBytes(driver, session, handle, [pkcs11.CKA_LABEL])[0]),
  );
  return [...new Set(labels)].filter((label) => readKekLabel(label) !== undefined);
}

/** One that is not as it was made is told the operator as such, and is not used: it is as good as not there. */
async function isHeld({ objects }: OpenParts, session: Handle, name: ObjectName): Promise<boolean> {
  try {
    return (await objects.look(session, name)) !== undefined;
  } catch (error) {
    if (error instanceof EscrowError && error.code === 'token-unavailable') return false;
    throw error;
  }
}
