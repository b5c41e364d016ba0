import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from 'winston';
import { stringify } from 'yaml';
import { readProfile } from '../src/token/profile.js';
import type { ProvenToken } from '../src/tokenStart.js';
import { openProvenToken } from '../src/tokenStart.js';
import { makeNss, NSS_PROFILE_FILE } from './support/nss.js';
import { makeSoftHsm, SOFTHSM_PROFILE_FILE } from './support/softhsm.js';
import type { TestToken } from './support/testToken.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-start-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const WATCHED = { probeMs: 1_000, recycleAfterObjects: 0, allowSpy: false };

function start(made: TestToken, profile: string, acceptUnenforced: string[]): Promise<ProvenToken> {
  const pinFile = join(directory, 'pin');
  writeFileSync(pinFile, made.userPin, { mode: 0o600 });
  const { label, environment = {} } = made.place;
  const token = { profile, label, pinFile, environment, acceptUnenforced, waitMs: 10_000, ...WATCHED };
  const log = createLogger({ silent: true });
  return openProvenToken({ token, origin: 'escrow.test' }, join(directory, 'escrowd.yaml'), directory, log);
}

test('a token that does not refuse everything starts only when each attack is accepted by name', async () => {
  const made = await makeNss('start');
  try {
    const { unenforced } = readProfile(NSS_PROFILE_FILE);
    await expect(start(made, NSS_PROFILE_FILE, [])).rejects.toMatchObject({
      name: 'TokenNotEnforcing',
      attacks: unenforced,
    });
    const but = unenforced.filter((attack) => attack !== 'wrap-kek');
    await expect(start(made, NSS_PROFILE_FILE, but)).rejects.toMatchObject({ attacks: ['wrap-kek'] });
    const proven = await start(made, NSS_PROFILE_FILE, unenforced);
    expect(proven.unenforced).toEqual(unenforced);
    await proven.token.close();
  } finally {
    made.remove();
  }
});

test('what the profile says cannot be enforced must be accepted also when this once it was refused', async () => {
  const made = await makeSoftHsm('start');
  try {
    const file = join(directory, 'profile.yaml');
    writeFileSync(file, stringify({ ...readProfile(SOFTHSM_PROFILE_FILE), unenforced: ['copy-kek'] }));
    await expect(start(made, file, [])).rejects.toMatchObject({ attacks: ['copy-kek'] });
    const proven = await start(made, file, ['copy-kek']);
    expect(proven.unenforced).toEqual(['copy-kek']);
    await proven.token.close();
  } finally {
    made.remove();
  }
});
