import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Config } from '../../src/daemon/config.js';
import type { TokenProfile } from '../../src/token/profile/profile.js';
import { readProfile } from '../../src/token/profile/profile.js';
import type { ProvenToken } from '../../src/daemon/startToken.js';
import { configuredToken, openProvenToken } from '../../src/daemon/startToken.js';
import { makeNss, NSS_PROFILE_FILE } from '../support/nss.js';
import { keptLog } from '../support/operatorLines.js';
import { makeSoftHsm, SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';
import type { TestToken } from '../support/testToken.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-start-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const WATCHED = { probeMs: 1_000, recycleAfterObjects: 0, allowSpy: false, hangMs: 60_000 };
type Extent = Config['token']['selfTest'];

let operator: ReturnType<typeof keptLog>;
beforeEach(() => {
  operator = keptLog();
});

function start(
  made: TestToken,
  profile: string,
  acceptUnenforced: string[],
  selfTest: Extent = 'quick',
): Promise<ProvenToken> {
  const pinFile = join(directory, 'pin');
  writeFileSync(pinFile, made.userPin, { mode: 0o600 });
  const { label, environment = {} } = made.place;
  const token = {
    profile,
    label,
    pinFile,
    environment,
    acceptUnenforced,
    waitMs: 10_000,
    selfTest,
    pairProcess: true,
    ...WATCHED,
  };
  const { log } = operator;
  const configured = configuredToken({ token }, join(directory, 'escrowd.yaml'), directory);
  return openProvenToken({ token, origin: 'escrow.test' }, configured, log);
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
    const line = { level: 'warn', message: 'the token does not enforce everything', unenforced };
    expect(operator.lines).toContainEqual(line);
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

describe('every verb at every key specification that the profile claims is tried', () => {
  let made: TestToken;
  beforeAll(async () => {
    made = await makeSoftHsm('claims');
    await made.enrolDepositary('alice');
  });
  afterAll(() => {
    made.remove();
  });

  /** SoftHSM's profile, with other claims. */
  const claiming = (claims: Partial<TokenProfile>): string => {
    const file = join(directory, 'profile.yaml');
    writeFileSync(file, stringify({ ...readProfile(SOFTHSM_PROFILE_FILE), ...claims }));
    return file;
  };

  test('and the daemon starts where all of them work', async () => {
    const { keySpecs } = readProfile(SOFTHSM_PROFILE_FILE);
    const proven = await start(made, SOFTHSM_PROFILE_FILE, [], 'full');
    // four without a user key; for each kind of key its release, and by mechanism: RSA 7, EC and AES 1
    const trips = 4 + keySpecs.length + 3 * 7 + 3 * 1 + 1;
    expect(operator.lines).toContainEqual(
      expect.objectContaining({ message: 'the token has proved itself', selfTest: 'full', trips }),
    );
    expect(await proven.token.standing()).toEqual({ transports: [], grants: [], imports: [] });
    await proven.token.close();
  });

  test.each<[string, Partial<TokenProfile>, Extent, string]>([
    [
      'a kind of key that the token makes and cannot wrap',
      { keySpecs: ['ed25519'], grantMechanisms: ['EdDSA'] },
      'quick',
      'ed25519: made, deposited, released',
    ],
    [
      'a mechanism that the token does not have',
      { keySpecs: ['rsa-2048'], grantMechanisms: ['RSA-OAEP-256'] },
      'full',
      'rsa-2048: made, deposited, granted, RSA-OAEP-256',
    ],
  ])('and it does not start with %s', async (_what, claims, extent, trip) => {
    await expect(start(made, claiming(claims), [], extent)).rejects.toMatchObject({
      name: 'TokenNotReady',
      reason: 'not-as-claimed',
      message: expect.stringContaining(`does not do what its profile claims: ${trip} (`) as string,
    });
  });

  test('but for RSA when the self-test is a quick one', async () => {
    const file = claiming({ keySpecs: ['rsa-2048'], grantMechanisms: ['RSA-OAEP-256'] });
    const proven = await start(made, file, [], 'quick');
    await proven.token.close();
  });
});
