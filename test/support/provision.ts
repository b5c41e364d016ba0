import { createPublicKey } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { createIdentity } from '../../src/client/newIdentity.js';
import { sha256Hex } from '../../src/escrow/digests.js';
import type { CeremonyRecord } from '../../src/token/ceremony/record.js';
import { PROVISION_VARIABLE } from './globalSetup.js';
import type { SoftHsm } from './softhsm.js';
import { copySoftHsm, makeSoftHsm } from './softhsm.js';
import { letPass } from './waiting.js';

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
 * CPU, so one run of jest does it once; each suite then has a copy of the token and of the people's files to itself.
 */
export async function provision(people: string, staff: Staff): Promise<Provisioned> {
  const place = process.env[PROVISION_VARIABLE];
  if (place === undefined) return provisionAnew(people, staff);
  const kept = join(place, 'kept');
  const lock = join(place, 'lock');
  while (!existsSync(kept)) {
    if (isFirst(lock)) {
      try {
        return keep(place, kept, people, await provisionAnew(people, staff));
      } catch (error) {
        rmSync(lock, { recursive: true });
        throw error;
      }
    }
    await letPass(50);
  }
  const { principals, ...token } = JSON.parse(readFileSync(join(kept, 'kept.json'), 'utf8')) as Kept;
  cpSync(join(kept, 'people'), people, { recursive: true });
  return { hsm: await copySoftHsm(join(kept, 'tokens'), token), principals };
}

function keep(place: string, kept: string, people: string, made: Provisioned): Provisioned {
  const { hsm, principals } = made;
  const making = join(place, 'making');
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making);
  cpSync(join(hsm.directory, 'tokens'), join(making, 'tokens'), { recursive: true });
  cpSync(people, join(making, 'people'), { recursive: true });
  const { soPin, userPin } = hsm;
  const facts: Kept = { soPin, userPin, record: hsm.record(), principals };
  writeFileSync(join(making, 'kept.json'), JSON.stringify(facts), { mode: 0o600 });
  renameSync(making, kept);
  return made;
}

/** Whether nobody else makes it: a directory is made once. */
function isFirst(lock: string): boolean {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    return false;
  }
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
