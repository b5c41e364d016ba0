import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { z } from 'zod';

import { readConfig } from '../../src/daemon/config.js';
import { configSchema } from '../../src/daemon/configSchema.js';
import { configurationText } from '../../src/installation/configuration.js';
import type { InstallationOrder } from '../../src/installation/order.js';

const order: InstallationOrder = {
  directory: '/var/lib/escrowd',
  origin: 'escrow.test/log',
  listen: { host: '::', port: 8443 },
  management: { host: '127.0.0.1', port: 8444 },
  names: ['escrow.test'],
  tls: { kind: 'private-ca' },
  token: { profile: 'softhsm-2.6', label: '007', module: undefined, isSoftHsm: true },
  participants: [],
  database: undefined,
  user: 'escrowd',
  isForSystemd: false,
  hasPolicy: false,
};
const server = { authority: 'db.test', name: 'escrow', parameters: '' };
const variants: readonly (readonly [string, InstallationOrder])[] = [
  ['with SoftHSM and a private cluster', order],
  [
    'with an HSM and a server, under systemd',
    {
      ...order,
      management: 'off',
      database: server,
      isForSystemd: true,
      token: { profile: './own.yaml', label: 'yes', module: '/usr/lib/my hsm.so', isSoftHsm: false },
    },
  ],
];

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-template-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function read(text: string): unknown {
  const file = join(directory, 'escrowd.yaml');
  writeFileSync(file, text);
  return readConfig(file, { CREDENTIALS_DIRECTORY: '/run/credentials' });
}

/** The text with each setting that stands behind `#`. */
const withEverything = (text: string): string => text.replaceAll(/^#(?! ?$| \S)/gm, '');

describe.each(variants)('the configuration %s', (_name, given) => {
  const text = configurationText(given);

  it('says of each setting behind # the value that it has anyway', () => {
    expect(withEverything(text)).not.toBe(text);
    expect(read(withEverything(text))).toEqual(read(text));
  });

  it('says what was ordered, also where YAML would read something else', () => {
    expect(read(text)).toMatchObject({
      origin: given.origin,
      listen: given.listen,
      management: given.management,
      token: {
        label: given.token.label,
        ...(given.token.module === undefined ? {} : { module: given.token.module }),
      },
    });
  });
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
}

/** The names of all settings: `requests.perCaller.burst`. */
function settings(schema: Schema, at = ''): readonly string[] {
  const here = Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const path = at === '' ? name : `${at}.${name}`;
    return [path, ...settings(member, path)];
  });
  return [...here, ...(schema.anyOf ?? []).flatMap((each) => settings(each, at))];
}

const all = settings(z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as Schema);
/** Told on a page of their own. */
const isTold = (path: string): boolean => !/^notifications\.(file|webhooks|smtp)\./.test(path);

test('every setting stands in the configuration, if only in a comment', () => {
  expect(all.length).toBeGreaterThan(60);
  const text = configurationText(order);
  const missing = all.filter(isTold).filter((path) => {
    const name = path.split('.').at(-1) ?? path;
    return !new RegExp(`(?<![A-Za-z])${name}(?![A-Za-z])`).test(text);
  });
  expect(missing).toEqual([]);
});

test('every setting stands in the table of docs/operations.md', () => {
  const table = readFileSync('docs/operations.md', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  const missing = all
    .filter((path) => !path.startsWith('notifications.'))
    .filter((path) => {
      const parts = path.split('.');
      // by its whole path, or by its name in the row of what it is a part of
      return !table.some(
        (row) =>
          row.includes(`\`${path}\``) ||
          (parts.length > 1 &&
            new RegExp(`\`${parts.slice(0, -1).join('\\.')}[.\`]`).test(row) &&
            new RegExp(`\`\\.?${parts.at(-1) ?? ''}\``).test(row)) ||
          table.some((other) => other.startsWith(`| \`${path}.`)),
      );
    });
  expect(missing).toEqual([]);
});
