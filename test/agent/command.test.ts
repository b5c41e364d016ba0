import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';

import { escrowctl, type Ran } from '../cli/commandLine.js';
import { type Office, openOffice } from '../cli/office.js';

/* `escrowctl agent`: what is wrong is said before anything is connected or listened on. */

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const curve = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey;
const RSA_PSS = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey.export({
  format: 'pem',
  type: 'spki',
});
const KEY = 'key_00000000000000000000000000000001';
const REQUEST = 'request: { reason: nightly, maxUses: 2, duration: PT1H, validFor: PT1H }';

let office: Office;

beforeAll(async () => {
  office = await openOffice();
  writeFileSync(office.path('key.pem'), publicKey.export({ format: 'pem', type: 'spki' }));
  writeFileSync(office.path('garbage.pem'), 'not a key');
  writeFileSync(office.path('k1.pem'), curve.export({ format: 'pem', type: 'spki' }));
  writeFileSync(office.path('pss.pem'), RSA_PSS);
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

test('what is to be typed names a path with blanks and quotes as a shell takes it', async () => {
  const { out } = await agent(row(), '--dir', office.path("it's here"));
  expect(out).toContain(`export SSH_AUTH_SOCK='${office.path("it'\\''s here/ssh")}'`);
  expect(out).toContain(`export P11_KIT_SERVER_ADDRESS=unix:path=${office.path('it%27s%20here/pkcs11')}`);
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
  ['a curve that tools are not offered', () => agent(row('', 'k1.pem')), /no key that tools are offered/],
  ['an RSA key for PSS only', () => agent(row('', 'pss.pem')), /no key that tools are offered/],
  [
    'one public key for two keys',
    () =>
      agent(
        row('') +
          row('')
            .replace(/^keys:\n/, '')
            .replace('01,', '02,')
            .replace('release', 'other'),
      ),
    /has the public key of another/,
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
    'a directory that others can put another in the place of',
    () => {
      mkdirSync(office.path('shared'), { recursive: true });
      chmodSync(office.path('shared'), 0o777);
      return agent(row(), '--dir', office.path('shared/agent'));
    },
    /can be written by others/,
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
