import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';

import { escrowctl, type Ran } from '../cli/commandLine.js';
import { type Office, openOffice } from '../cli/office.js';

/* `escrowctl agent`: what is wrong is said before anything is connected or listened on. */

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const KEY = 'key_00000000000000000000000000000001';
const REQUEST = 'request: { reason: nightly, maxUses: 2, duration: PT1H, validFor: PT1H }';

let office: Office;

beforeAll(async () => {
  office = await openOffice();
  writeFileSync(office.path('key.pem'), publicKey.export({ format: 'pem', type: 'spki' }));
  writeFileSync(office.path('garbage.pem'), 'not a key');
});

afterAll(() => office.close());

/** With this text as its file. */
function agent(text: string, ...more: readonly string[]): Promise<Ran> {
  const file = office.path('agent.yaml');
  writeFileSync(file, text, { mode: 0o644 });
  return escrowctl(['agent', file, '--as', office.dana, ...more], {
    variables: { XDG_RUNTIME_DIR: office.path('run') },
  });
}

const row = (more = REQUEST, pem = 'key.pem', key = KEY): string =>
  `keys:\n  - { key: ${key}, name: release, publicKey: ${pem}${more === '' ? '' : `, ${more}`} }\n`;

test('serves until it is asked to end, and leaves no socket', async () => {
  mkdirSync(office.path('run'), { recursive: true });
  const { exit, out, err } = await agent(row());
  expect([exit, err]).toEqual([0, '']);
  expect(out).toContain(`export SSH_AUTH_SOCK=${office.path('run/escrowd/ssh')}`);
  expect(out).toContain(`export P11_KIT_SERVER_ADDRESS=unix:path=${office.path('run/escrowd/pkcs11')}`);
  expect(out).toContain('The agent has ended');
  const again = await agent(row(), '--json');
  expect(again.out.split('\n')[0]).toBe(
    JSON.stringify({
      ...{ event: 'serving', app: 'dana', keys: [{ key: KEY, name: 'release' }] },
      sshSocket: office.path('run/escrowd/ssh'),
      pkcs11Socket: office.path('run/escrowd/pkcs11'),
    }),
  );
});

const wrong: readonly (readonly [string, () => Promise<Ran>, RegExp])[] = [
  ['no file', () => escrowctl(['agent', office.path('none.yaml'), '--as', office.dana]), /is not there/],
  ['a file that is not YAML', () => agent('keys: ['), /is not YAML/],
  ['a file without keys', () => agent('keys: []'), /keys/],
  ['an unknown member', () => agent(`${row()}more: 1\n`), /more/],
  ['an id that is none', () => agent(row('', 'key.pem', 'key_1')), /not the id of a key/],
  [
    'a key that is named twice',
    () => agent(`${row('')}${row('').split('\n')[1] ?? ''}\n`),
    /two keys have the key/,
  ],
  ['a public key that is not there', () => agent(row('', 'none.pem')), /none\.pem is not there/],
  [
    'a public key that is none',
    () => agent(row('', 'garbage.pem')),
    /neither a public key nor a certificate/,
  ],
  ['a duration that is none', () => agent(row(REQUEST.replace('PT1H', '1 hour'))), /request\.duration/],
  ['a wait without a request to wait for', () => agent(row(), '--wait', '1m'), /add --auto-request/],
  ['a withdrawal without a request', () => agent(row(), '--withdraw'), /add --auto-request/],
  ['requests that nothing describes', () => agent(row(''), '--auto-request'), /no key of the file says/],
  [
    'a wait that is none',
    () => agent(row(), '--auto-request', '--wait', 'soon'),
    /--wait soon is not a duration/,
  ],
  [
    'a file that others can write',
    () => {
      writeFileSync(office.path('open.yaml'), row());
      chmodSync(office.path('open.yaml'), 0o666);
      return escrowctl(['agent', office.path('open.yaml'), '--as', office.dana]);
    },
    /can be written by others/,
  ],
  [
    'a directory that others can enter',
    () => {
      mkdirSync(office.path('open'), { recursive: true });
      chmodSync(office.path('open'), 0o755);
      return agent(row(), '--dir', office.path('open'));
    },
    /chmod 700/,
  ],
  [
    'a directory whose path is too long',
    () => agent(row(), '--dir', office.path('x'.repeat(120))),
    /longer than 107/,
  ],
  [
    'something else in the place of the socket',
    () => {
      mkdirSync(office.path('taken/ssh'), { recursive: true });
      chmodSync(office.path('taken'), 0o700);
      return agent(row(), '--dir', office.path('taken'));
    },
    /is no socket/,
  ],
];

test.each(wrong)('%s is refused, and it is said how it should be', async (_what, run, sentence) => {
  const { exit, err } = await run();
  expect(err).toMatch(sentence);
  expect(exit).toBe(2);
});
