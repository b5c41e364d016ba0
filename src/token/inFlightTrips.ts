import { EscrowError } from '../escrow/errors.js';
import type { KeySpec } from '../escrow/keySpecs.js';
import { KEY_SPECS } from '../escrow/keySpecs.js';
import { mechanismsFor, signs } from '../escrow/mechanisms.js';
import type { Loan } from './loan.js';
import { objectNames } from './objects.js';
import { importSpki } from './startup.js';
import { grantKey } from './templates.js';
import { unwrapChecked } from './unwrapping.js';
import { depositVerbs } from './verbs/deposit.js';
import { signable, verifies } from './verifying.js';
import type { Workbench } from './workbench.js';

/** Take seconds to make. The probe of a token (`escrowctl token probe`) tries them. */
const SLOW: ReadonlySet<KeySpec> = new Set(['rsa-3072', 'rsa-4096']);

const MESSAGE = Buffer.from('escrowd self-test');

/**
 * Makes a key of every kind that the profile claims (but the slow ones), wraps it under the newest operate KEK, brings
 * it back as a grant, and signs by every mechanism with it. All in flight, so that nothing of it stands in the token
 * where another daemon would take it for an orphan, and nothing is in the clear. Throws EscrowError `token-unavailable`
 * that says which did not work.
 */
export async function tryInFlight(bench: Workbench, loan: Loan): Promise<void> {
  for (const spec of bench.profile.keySpecs.filter((name) => !SLOW.has(name))) {
    try {
      await tryKey(bench, loan, spec);
    } catch (error) {
      throw new EscrowError('token-unavailable', `The token cannot carry a key of ${spec}.`, {
        cause: error instanceof EscrowError && error.cause !== undefined ? error.cause : error,
      });
    }
  }
}

async function tryKey(bench: Workbench, loan: Loan, spec: KeySpec): Promise<void> {
  const { driver, mechanisms, profile } = bench;
  const verbs = depositVerbs(bench, loan);
  const { key, publicKey } = await verbs.generateUserKey(spec);
  const wrapped = await verbs.wrapUnderKek(key, 'operate');
  const kek = await bench.objects.find(objectNames.kek(wrapped.kek));
  if (kek === undefined) throw new Error('the key-encryption key is gone');
  for (const use of KEY_SPECS[spec].uses) {
    const granted = mechanismsFor(spec, use).filter((name) => profile.grantMechanisms.includes(name));
    const into = grantKey(undefined, spec, use, mechanisms.allowed(granted));
    const mechanism = mechanisms.plain('keyWrapWithPadding');
    const order = { mechanism, with: kek.handle, wrapped: wrapped.sealed, into, spec };
    await loan.step((session) => {
      const handle = unwrapChecked(bench, session, order);
      loan.discardLater(handle);
      for (const name of granted.filter(signs)) {
        const { mechanism: how, input } = mechanisms.signing(name, signable(name, MESSAGE));
        driver.C_SignInit(session, how, handle);
        const signature = driver.C_Sign(session, input, Buffer.alloc(1024));
        if (!verifies(importSpki(Buffer.from(publicKey ?? [])), name, MESSAGE, signature))
          throw new Error(`the signature by ${name} is wrong`);
      }
    });
  }
}
