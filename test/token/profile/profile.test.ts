import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { libraryParameters } from '../../../src/token/cryptoki/module.js';
import { parseProfile, readProfile } from '../../../src/token/profile/profile.js';

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
  ['an attack that nobody knows', softhsm.replace('unenforced: []', 'unenforced: [rowhammer]'), 'unenforced'],
  [
    'trusted keys without the attribute for it',
    softhsm.replace('absentAttributes: []', 'absentAttributes: [CKA_TRUSTED]'),
    'CKA_TRUSTED',
  ],
  [
    'trusted keys without anyone to say so',
    softhsm.replace('securityOfficer: throughout', 'securityOfficer: until-first-pin'),
    'security officer',
  ],
  ['a relative module path', softhsm.replace('/usr/lib/softhsm', 'softhsm'), 'modules'],
])('%s is refused by name', (_what, text, named) => {
  expect(() => parseProfile(text)).toThrow(named);
});

test('library parameters take the label and the environment, and nothing that ends a quoted value', () => {
  const profile = readProfile(join(folder, 'nss-softokn-3.yaml'));
  const given = libraryParameters(profile, 'escrowd', { NSS_CONFIG_DIR: '/var/lib/nss' });
  expect(given).toContain("configdir='sql:/var/lib/nss'");
  expect(given).toContain("tokenDescription='escrowd' dbTokenDescription='escrowd'");
  expect(() => libraryParameters(profile, 'escrowd', {})).toThrow('NSS_CONFIG_DIR');
  for (const value of ["/tmp/' flags=noModDB", '', 'a\nb', 'a\\'])
    expect(() => libraryParameters(profile, 'escrowd', { NSS_CONFIG_DIR: value })).toThrow('cannot be given');
  expect(() => libraryParameters(profile, "it's", { NSS_CONFIG_DIR: '/var/lib/nss' })).toThrow('label');
  expect(libraryParameters(parseProfile(softhsm), 'escrowd', {})).toBeUndefined();
});
