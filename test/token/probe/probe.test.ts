import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ATTACK_NAMES, NEEDS_NEWER_KEK } from '../../../src/token/profile/attackNames.js';
import { probeCommand } from '../../../src/token/probe/commands.js';
import type { ProbeReport } from '../../../src/token/probe/report.js';
import { reportText } from '../../../src/token/probe/report.js';
import type { TokenProfile } from '../../../src/token/profile/profile.js';
import { readProfile } from '../../../src/token/profile/profile.js';
import { makeNss, NSS_PROFILE_FILE } from '../../support/nss.js';
import { makeSoftHsm, SOFTHSM_PROFILE_FILE } from '../../support/softhsm.js';
import type { TestToken } from '../../support/testToken.js';
import { restoreBefore } from '../../support/versionBefore.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

/** As a person types it. Keys that are quick to make, unless the profile says others. */
async function run(
  made: TestToken,
  profile: TokenProfile,
  ...more: string[]
): Promise<{ readonly out: string; readonly exit: number | undefined }> {
  const pin = join(directory, 'pin');
  const file = join(directory, 'profile.yaml');
  writeFileSync(pin, `${made.userPin}\n`, { mode: 0o600 });
  writeFileSync(file, stringify(profile));
  let out = '';
  let exit: number | undefined;
  const command = probeCommand(
    directory,
    (text) => (out += text),
    (code) => (exit = code),
  );
  const { label, environment = {} } = made.place;
  const variables = Object.entries(environment).flatMap(([name, value]) => ['--env', `${name}=${value}`]);
  const place = ['--profile', file, '--label', label, '--user-pin-file', pin, ...variables];
  await command.parseAsync([...place, ...more], { from: 'user' });
  return { out, exit };
}

const quick = (file: string): TokenProfile => {
  const profile = readProfile(file);
  const keySpecs = profile.keySpecs.filter((spec) => spec !== 'rsa-3072' && spec !== 'rsa-4096');
  return { ...profile, keySpecs };
};

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-probe-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe.each([
  { name: 'SoftHSM 2.6', file: SOFTHSM_PROFILE_FILE, make: () => makeSoftHsm('probe') },
  { name: 'NSS softokn 3', file: NSS_PROFILE_FILE, make: () => makeNss('probe') },
])('$name', ({ file, make }) => {
  let made: TestToken;
  const profile = quick(file);

  beforeAll(async () => {
    made = await make();
    await made.enrolDepositary('alice');
  });
  afterAll(() => {
    made.remove();
  });

  test('is as its profile claims: every trip and every attack is told, and nothing stays in the token', async () => {
    const { out, exit } = await run(made, profile, '--json');
    const report = JSON.parse(out) as ProbeReport;
    expect(report.trips.filter(({ outcome }) => outcome !== 'works')).toEqual([]);
    for (const spec of profile.keySpecs)
      expect(report.trips.filter(({ trip }) => trip.startsWith(spec)).length).toBeGreaterThan(
        spec === 'secret' ? 0 : 1,
      );
    expect(report.attacks.map(({ attack }) => attack)).toEqual(ATTACK_NAMES);
    const succeeding = report.attacks.filter(({ refused }) => !refused).map(({ attack }) => attack);
    expect(succeeding).toEqual(profile.unenforced);
    expect(report).toMatchObject({ format: 'escrowd-token-probe/v1', asClaimed: true, label: 'probe' });
    expect(exit).toBe(0);
    const token = await made.open();
    expect(await token.standing()).toEqual({ transports: [], grants: [], imports: [] });
    await token.close();
  });
});

test('on a token of an older ceremony it says what succeeds until the ceremony is renewed, and which keys are meant', async () => {
  const before = await restoreBefore();
  try {
    const claims = { ...quick(SOFTHSM_PROFILE_FILE), keySpecs: ['ec-p256' as const, 'aes-256' as const] };
    const { out, exit } = await run(before.hsm, claims, '--json');
    const report = JSON.parse(out) as ProbeReport;
    expect(report.older).toEqual(expect.arrayContaining(['kek:operate:v1', 'kek:release:v1']));
    const until = report.attacks.filter(
      ({ verdict }) => verdict === 'succeeds, until the ceremony is renewed',
    );
    expect(until.map(({ attack }) => attack)).toEqual(Object.keys(NEEDS_NEWER_KEK));
    expect(report.attacks.filter(({ verdict }) => verdict === 'SUCCEEDS')).toEqual([]);
    expect(report.asClaimed).toBe(false);
    expect(exit).toBe(1);
    const text = reportText(report);
    expect(text).toMatch(/^Keys of an older ceremony are in use: .*kek:operate:v1, kek:release:v1/m);
    expect(text).toContain('Run `ceremony renew`');
    expect(text).not.toContain('Do not use it');
    const broken = {
      ...report,
      attacks: report.attacks.map((each) => ({ ...each, verdict: 'SUCCEEDS' as const })),
    };
    expect(reportText(broken)).toContain('Do not use it');
  } finally {
    await before.remove();
  }
});

test('the table says in words what a token lets through that its profile claims it refuses', async () => {
  const made = await makeNss('probe-nss');
  try {
    const claims = { ...quick(NSS_PROFILE_FILE), keySpecs: ['aes-256' as const] };
    const unenforced = claims.unenforced.filter((attack) => attack !== 'wrap-kek');
    const { out, exit } = await run(made, { ...claims, unenforced });
    expect(exit).toBe(1);
    expect(out).toMatch(/^wrap-kek +SUCCEEDS +wrap one KEK under the other$/m);
    expect(out).toMatch(/^wrap-grant +succeeds, as the profile says +/m);
    expect(out).toMatch(/not tried: nobody is enrolled/);
    expect(out).toContain('does NOT do or refuse all that its profile claims');
    const ec = { ...claims, keySpecs: ['ec-p256' as const], grantMechanisms: ['ES256' as const] };
    const failing = await run(made, ec);
    expect(failing.exit).toBe(1);
    expect(failing.out).toMatch(/^ec-p256: made, deposited, released +FAILS: the released key is wrong$/m);
    const better = await run(made, { ...claims, unenforced: [...claims.unenforced, 'kek-decrypts'] });
    expect(better.out).toMatch(/^kek-decrypts +refused, better than the profile says/m);
    expect(better.exit).toBe(0);
  } finally {
    made.remove();
  }
});
