import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readProfile } from '../../src/token/profile/profile.js';
import type { TestToken } from './testToken.js';
import { makeTestToken } from './testToken.js';

/** The profile in hsm-config for the software token of NSS. */
export const NSS_PROFILE_FILE = join(process.cwd(), 'hsm-config', 'nss-softokn-3.yaml');

/** Makes a directory and an NSS database of its own, by the ceremony's own functions. */
export function makeNss(label = 'escrowd-nss-test'): Promise<TestToken> {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-nss-'));
  const profile = readProfile(NSS_PROFILE_FILE);
  return makeTestToken(directory, { profile, label, environment: { NSS_CONFIG_DIR: directory } });
}
