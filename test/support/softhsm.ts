import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TokenPlace } from '../../src/token/ceremony/table.js';
import { atTable, getSlot } from '../../src/token/ceremony/table.js';
import { readProfile } from '../../src/token/profile.js';
import type { TestToken, TokenSecrets } from './testToken.js';
import { atFreeTable, makeTestToken, testTokenAt } from './testToken.js';

export type { TestDepositary } from './testToken.js';
export { makeDepositary } from './testToken.js';

/** The profile in hsm-config that the suites run with. */
export const SOFTHSM_PROFILE_FILE = join(process.cwd(), 'hsm-config', 'softhsm-2.6.yaml');

/** A fresh SoftHSM token that went through the ceremony. */
export interface SoftHsm extends TestToken {
  readonly place: TokenPlace & { readonly environment: { readonly SOFTHSM2_CONF: string } };
}

/** Makes a directory, a configuration and a token of its own, by the ceremony's own functions. */
export function makeSoftHsm(label = 'escrowd-test'): Promise<SoftHsm> {
  const { directory, place } = placeOf(label);
  return makeTestToken(directory, place);
}

/** A token of its own that is a copy of one which {@link makeSoftHsm} made under its usual label; `from` has its files. */
export async function copySoftHsm(from: string, secrets: TokenSecrets): Promise<SoftHsm> {
  const { directory, place } = placeOf('escrowd-test');
  cpSync(from, join(directory, 'tokens'), { recursive: true });
  await atFreeTable(place, () => atTable(place, (table) => Promise.resolve(getSlot(table))));
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
