import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TokenPlace } from '../../src/token/ceremony/table.js';
import { readProfile } from '../../src/token/profile.js';
import type { TestToken } from './testToken.js';
import { makeTestToken } from './testToken.js';

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
  return makeTestToken(directory, { profile, label, environment: { SOFTHSM2_CONF: conf } });
}
