import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CommandArguments } from '../../src/cli/commandArguments.js';
import { readSettings } from '../../src/cli/settings.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'escrowctl-home-'));
});
afterEach(() => {
  rmSync(home, { recursive: true });
});

const nothing = new CommandArguments([], {});

function config(text: string, directory = join(home, '.config', 'escrowctl')): string {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'config.yaml');
  writeFileSync(file, text);
  return file;
}

test('an option wins over its variable, and that over the file', () => {
  config('identity: id\ntimeout: 5s\n');
  expect(readSettings(nothing, { HOME: home })).toMatchObject({
    identity: join(home, '.config', 'escrowctl', 'id'),
    timeout: '5s',
  });
  const variables = { HOME: home, ESCROWCTL_IDENTITY: '/v', ESCROWCTL_TIMEOUT: '6s' };
  expect(readSettings(nothing, variables)).toMatchObject({ identity: '/v', timeout: '6s' });
  const given = new CommandArguments([], { as: '/o', timeout: '7s' });
  expect(readSettings(given, variables)).toMatchObject({ identity: '/o', timeout: '7s' });
});

test('the file is the one that is named, else that of XDG_CONFIG_HOME, else that of the home', () => {
  config('timeout: 1s');
  const xdg = join(home, 'xdg');
  config('timeout: 2s', join(xdg, 'escrowctl'));
  const named = config('timeout: 3s', join(home, 'named'));
  expect(readSettings(nothing, { HOME: home }).timeout).toBe('1s');
  expect(readSettings(nothing, { HOME: home, XDG_CONFIG_HOME: 'relative' }).timeout).toBe('1s');
  expect(readSettings(nothing, { HOME: home, XDG_CONFIG_HOME: xdg }).timeout).toBe('2s');
  expect(readSettings(nothing, { HOME: home, XDG_CONFIG_HOME: xdg, ESCROWCTL_CONFIG: named }).timeout).toBe(
    '3s',
  );
});

test('without a file, or with an empty one, nothing is set', () => {
  const nothingSet = {
    identity: undefined,
    timeout: undefined,
    passphraseFile: undefined,
    cardPinFile: undefined,
    clientCert: undefined,
    clientKey: undefined,
    management: undefined,
  };
  expect(readSettings(nothing, { HOME: home })).toEqual(nothingSet);
  expect(readSettings(nothing, {})).toEqual(nothingSet);
  config('# nothing yet\n');
  expect(readSettings(nothing, { HOME: home })).toEqual(nothingSet);
});

test.each([
  ['an unknown member', 'identiti: x', /Unrecognized key: "identiti"/],
  ['a member of another kind', 'timeout: 5', /timeout/],
  ['no YAML', 'a: [', /is not YAML/],
])('a file with %s is refused by its name', (_what, text, message) => {
  const file = config(text);
  expect(() => readSettings(nothing, { HOME: home })).toThrow(message);
  expect(() => readSettings(nothing, { HOME: home })).toThrow(file);
});

test('a file that is named must be there', () => {
  expect(() => readSettings(nothing, { ESCROWCTL_CONFIG: join(home, 'none') })).toThrow(/cannot be read/);
});
