import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseProfile, readProfile } from '../../src/token/profile.js';

const folder = join(process.cwd(), 'hsm-config');
const softhsm = readFileSync(join(folder, 'softhsm-2.6.yaml'), 'utf8');

test.each(readdirSync(folder).filter((name) => name.endsWith('.yaml')))(
  '%s is valid and named after itself',
  (name) => {
    expect(`${readProfile(join(folder, name)).profile}.yaml`).toBe(name);
  },
);

test('mechanism numbers are read as they are written', () => {
  expect(parseProfile(softhsm).mechanisms.keyWrapWithPadding).toEqual({
    name: 'CKM_AES_KEY_WRAP_KWP',
    number: 0x210a,
  });
});

test.each([
  ['an unknown member', softhsm + '\nextra: 1\n', 'extra'],
  ['an unknown key specification', softhsm.replace('rsa-2048', 'rsa-512'), 'keySpecs'],
  ['an OAEP that nobody knows', softhsm.replace('oaep: RSA-OAEP', 'oaep: RSA-OAEP-1'), 'oaep'],
  ['a missing mechanism', softhsm.replace(/^ {2}aesGcm:.*$/m, ''), 'aesGcm'],
  ['Ed25519 without its mechanisms', softhsm.replace(/^ {2}eddsa:.*$/m, ''), 'Ed25519'],
  ['a relative module path', softhsm.replace('/usr/lib/softhsm', 'softhsm'), 'modules'],
])('%s is refused by name', (_what, text, named) => {
  expect(() => parseProfile(text)).toThrow(named);
});
