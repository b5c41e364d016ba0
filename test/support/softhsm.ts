import { createPrivateKey } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TokenLocation } from '../../src/token/ceremony/ceremonySession.js';
import { withToken, getSlot } from '../../src/token/ceremony/ceremonySession.js';
import { readProfile } from '../../src/token/profile/profile.js';
import { madeOnce } from './madeOnce.js';
import type { TestDepositary, TestToken, TokenSecrets } from './testToken.js';
import { atFreeTable, makeTestToken, testTokenAt } from './testToken.js';

export type { TestDepositary } from './testToken.js';
export { makeDepositary } from './testToken.js';

/** The profile in hsm-config that the suites run with. */
export const SOFTHSM_PROFILE_FILE = join(process.cwd(), 'hsm-config', 'softhsm-2.6.yaml');

/** A fresh SoftHSM token that went through the ceremony. */
export interface SoftHsm extends TestToken {
  readonly place: TokenLocation & { readonly environment: { readonly SOFTHSM2_CONF: string } };
}

/** Makes a directory, a configuration and a token of its own, by the ceremony's own functions. */
export function makeSoftHsm(label = 'escrowd-test'): Promise<SoftHsm> {
  const { directory, place } = placeOf(label);
  return makeTestToken(directory, place);
}

/**
 * A token of its own in which these people are enrolled: a copy of one that is made once in a run of tests, since the pairs
 * of each take a second of CPU.
 */
export async function enrolledSoftHsm(
  ...ids: readonly [string, ...string[]]
): Promise<{ readonly hsm: SoftHsm; readonly people: readonly [TestDepositary, ...TestDepositary[]] }> {
  const kept = await madeOnce(`token-of-${ids.join('-')}`, async (into) => {
    const hsm = await makeSoftHsm();
    const people: KeptDepositary[] = [];
    for (const id of ids) {
      const { privateKeyPem, publicKeyPem } = await hsm.enrolDepositary(id);
      people.push({ id, privateKeyPem, publicKeyPem });
    }
    cpSync(join(hsm.directory, 'tokens'), join(into, 'tokens'), { recursive: true });
    const { soPin, userPin } = hsm;
    const facts: KeptToken = { soPin, userPin, record: hsm.record(), people };
    writeFileSync(join(into, 'kept.json'), JSON.stringify(facts), { mode: 0o600 });
    hsm.remove();
  });
  const facts = JSON.parse(readFileSync(join(kept, 'kept.json'), 'utf8')) as KeptToken;
  const { people, ...secrets } = facts;
  const [first, ...others] = people;
  if (first === undefined) throw new Error('nobody is enrolled');
  const withKey = (one: KeptDepositary): TestDepositary => ({
    ...one,
    privateKey: createPrivateKey(one.privateKeyPem),
  });
  return {
    hsm: await copySoftHsm(join(kept, 'tokens'), secrets),
    people: [withKey(first), ...others.map(withKey)],
  };
}

type KeptDepositary = Omit<TestDepositary, 'privateKey'>;
interface KeptToken extends TokenSecrets {
  readonly people: readonly KeptDepositary[];
}

/** A token of its own that is a copy of one which {@link makeSoftHsm} made under its usual label; `from` has its files. */
export async function copySoftHsm(from: string, secrets: TokenSecrets): Promise<SoftHsm> {
  const { directory, place } = placeOf('escrowd-test');
  cpSync(from, join(directory, 'tokens'), { recursive: true });
  await atFreeTable(place, () => withToken(place, (table) => Promise.resolve(getSlot(table))));
  return testTokenAt(directory, place, secrets);
}

function placeOf(label: string): { readonly directory: string; readonly place: SoftHsm['place'] } {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-softhsm-'));
  mkdirSync(join(directory, 'tokens'));
  const conf = join(directory, 'softhsm2.conf');
  writeFileSync(
    conf,
    [
      `directories.tokendir = ${join(directory, 'tokens')}`,
      'objectstore.backend = file',
      'log.level = ERROR',
      '',
    ].join('\n'),
  );
  const profile = readProfile(SOFTHSM_PROFILE_FILE);
  return { directory, place: { profile, label, environment: { SOFTHSM2_CONF: conf } } };
}
