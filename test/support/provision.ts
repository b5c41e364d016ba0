import { createPublicKey } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { createIdentity } from '../../src/client/identity/newIdentity.js';
import { sha256Hex } from '../../src/escrow/records/digests.js';
import type { CeremonyRecord } from '../../src/token/ceremony/record.js';
import { madeOnce } from './madeOnce.js';
import type { SoftHsm } from './softhsm.js';
import { copySoftHsm, makeSoftHsm } from './softhsm.js';

/** Who is in the tests' directory, and who of them is a depositary. */
export interface Staff {
  readonly people: Readonly<Record<string, readonly string[]>>;
  readonly depositaries: readonly string[];
}

/** A token with enrolled depositaries, and what the directory lists of everybody. */
export interface Provisioned {
  readonly hsm: SoftHsm;
  readonly principals: Record<string, object>;
}

/** What a provision leaves beside the files of token and people. */
interface Kept {
  readonly soPin: string;
  readonly userPin: string;
  readonly record: CeremonyRecord;
  readonly principals: Record<string, object>;
}

/**
 * Provisions people and a token into `people`: an empty directory. A ceremony and the people's RSA keys take seconds of
 * CPU, so a run of tests does it once; each suite then has a copy of the token and of the people's files to itself.
 */
export async function provision(people: string, staff: Staff): Promise<Provisioned> {
  const kept = await madeOnce('people', async (into) => {
    mkdirSync(join(into, 'people'));
    const { hsm, principals } = await provisionAnew(join(into, 'people'), staff);
    cpSync(join(hsm.directory, 'tokens'), join(into, 'tokens'), { recursive: true });
    const { soPin, userPin } = hsm;
    const facts: Kept = { soPin, userPin, record: hsm.record(), principals };
    writeFileSync(join(into, 'kept.json'), JSON.stringify(facts), { mode: 0o600 });
    hsm.remove();
  });
  const { principals, ...token } = JSON.parse(readFileSync(join(kept, 'kept.json'), 'utf8')) as Kept;
  cpSync(join(kept, 'people'), people, { recursive: true });
  return { hsm: await copySoftHsm(join(kept, 'tokens'), token), principals };
}

async function provisionAnew(people: string, { people: roles, depositaries }: Staff): Promise<Provisioned> {
  const hsm = await makeSoftHsm();
  const principals: Record<string, object> = {};
  for (const [id, of] of Object.entries(roles)) {
    // the depositaries' keys are made with their enrolment
    const part = await createIdentity(join(people, id), {
      id,
      depositary: false,
      deliveryKey: id === 'owner',
    });
    const attributes = {
      email: `${id}@example.test`,
      ...(id.endsWith('owner') ? { department: 'finance', manager: 'manager' } : {}),
    };
    const kind = of.includes('app') ? 'app' : 'person';
    principals[id] = { name: id, roles: of, kind, attributes, ...part };
  }
  for (const id of depositaries) {
    const { privateKeyPem, publicKeyPem } = await hsm.enrolDepositary(id);
    principals[id] = { ...principals[id], depositaryKey: fingerprintOf(publicKeyPem) };
    writeFileSync(join(people, id, 'depositary-key.pem'), privateKeyPem, { mode: 0o600 });
    writeFileSync(join(people, id, 'depositary-public.pem'), publicKeyPem);
  }
  return { hsm, principals };
}

function fingerprintOf(publicKeyPem: string): string {
  return sha256Hex(createPublicKey(publicKeyPem).export({ format: 'der', type: 'spki' }));
}
