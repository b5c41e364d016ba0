import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import { checkAnswer, makeChallenge } from '../../../src/token/ceremony/challenge.js';
import { ceremonyCommands } from '../../../src/token/ceremony/commands.js';
import { enrol } from '../../../src/token/ceremony/enrol.js';
import { initialise } from '../../../src/token/ceremony/initialise.js';
import { readPinFile } from '../../../src/token/ceremony/pins.js';
import { readRecord, recordText } from '../../../src/token/ceremony/record.js';
import { show } from '../../../src/token/ceremony/show.js';
import { lookedIn, softHsmFault } from '../../../src/token/cryptoki/softHsmFiles.js';
import { openRaw } from '../../support/rawToken.js';
import type { SoftHsm } from '../../support/softhsm.js';
import { makeDepositary, makeSoftHsm } from '../../support/softhsm.js';
import { LIMITS_MS } from '../../support/limits.js';
import { freshBytes } from '../../support/fresh.js';
import { answerOf } from './proof.js';

jest.setTimeout(LIMITS_MS.token);

let hsm: SoftHsm;

beforeAll(async () => {
  hsm = await makeSoftHsm();
});
afterAll(() => {
  hsm.remove();
});

const pins = () => ({ soPin: Buffer.from(hsm.soPin), userPin: Buffer.from(hsm.userPin) });
const now = new Date('2030-01-02T03:04:05Z');

test('the record shows every long-lived object as it was read back, and no secret', () => {
  const record = hsm.record();
  expect(record.token).toMatchObject({ label: 'escrowd-test', model: 'SoftHSM v2' });
  expect(record.identityKey).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256' });
  expect(record.logKey).toMatchObject({ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA' });
  const kek = record.objects.find(({ label }) => label === 'kek:operate:sign:v1');
  expect(kek).toMatchObject({
    class: 'secret key',
    attributes: {
      PRIVATE: true,
      SENSITIVE: true,
      EXTRACTABLE: false,
      ALWAYS_SENSITIVE: true,
      NEVER_EXTRACTABLE: true,
      LOCAL: false,
      TRUSTED: true,
      MODIFIABLE: false,
      COPYABLE: true,
      WRAP: true,
      UNWRAP: true,
      ENCRYPT: false,
      DECRYPT: false,
    },
    allowedMechanisms: ['CKM_AES_KEY_WRAP_KWP'],
    unwrapTemplate: 'present',
  });
  expect(record.objects.map(({ label, class: kind }) => `${label} ${kind}`)).toEqual([
    'identity private key',
    'identity public key',
    'kek-rotate:operate:decrypt:v1 secret key',
    'kek-rotate:operate:secret:v1 secret key',
    'kek-rotate:operate:sign:v1 secret key',
    'kek:operate:decrypt:v1 secret key',
    'kek:operate:secret:v1 secret key',
    'kek:operate:sign:v1 secret key',
    'kek:release:private:v1 secret key',
    'kek:release:secret:v1 secret key',
    'log private key',
    'log public key',
  ]);
  const text = JSON.stringify(record) + recordText(record);
  expect(text).not.toContain(hsm.soPin);
  expect(text).not.toContain(hsm.userPin);
});

test('a token that is in use is not initialised again', async () => {
  const again = initialise({ ...hsm.place, ...pins(), now });
  await expect(again).rejects.toThrow('is in use already: it holds identity, kek-rotate:operate:decrypt:v1');
});

test('an empty token of that label gets the keys, and keeps its PINs', async () => {
  const other = await makeSoftHsm('emptied');
  try {
    const raw = openRaw(other, 'user');
    for (const object of raw.find([])) raw.driver.C_DestroyObject(raw.session, object);
    raw.close();
    const both = { soPin: Buffer.from(other.soPin), userPin: Buffer.from(other.userPin) };
    const wrong = initialise({ ...other.place, ...both, soPin: Buffer.from('another-pin'), now });
    await expect(wrong).rejects.toThrow('refused the PIN of the security officer');
    const record = await initialise({ ...other.place, ...both, now });
    expect(record.objects).toHaveLength(12);
    await (await other.open()).close();
  } finally {
    other.remove();
  }
});

test('one PIN for two roles is refused', async () => {
  const pin = Buffer.from('the-same-pin');
  const making = initialise({ ...hsm.place, label: 'fresh', soPin: pin, userPin: pin, now });
  await expect(making).rejects.toThrow('different hands');
});

test('an enrolled depositary stands as two trusted keys and one private half that never left', async () => {
  await hsm.enrolDepositary('alice');
  const record = await show({ ...hsm.place, userPin: Buffer.from(hsm.userPin), events: [] });
  const of = (label: string) => record.objects.filter((object) => object.label === label);
  expect(of('depositary:alice')).toMatchObject([
    {
      class: 'public key',
      attributes: { TRUSTED: true, PRIVATE: false, MODIFIABLE: false, WRAP: true },
      wrapTemplate: 'present',
    },
  ]);
  expect(of('server-for:alice:v1')).toMatchObject([
    {
      class: 'private key',
      attributes: { SENSITIVE: true, NEVER_EXTRACTABLE: true, LOCAL: true, UNWRAP: true, DECRYPT: false },
      unwrapTemplate: 'present',
    },
    {
      class: 'public key',
      attributes: { TRUSTED: true, WRAP: true, ENCRYPT: false },
      wrapTemplate: 'present',
    },
  ]);
  expect(hsm.record().events.map(({ what }) => what.split(',')[0])).toEqual([
    'initialised: kek:operate:sign:v1',
    'enrolled: alice',
  ]);
});

test('nobody is enrolled twice', async () => {
  await expect(hsm.enrolDepositary('alice')).rejects.toThrow('alice is enrolled already');
});

test('a wrong answer, an answer of somebody else and a changed challenge enrol nobody', () => {
  const person = makeDepositary('bob');
  const challenge = makeChallenge('bob', person.publicKeyPem, freshBytes(32));
  const answer = answerOf(person, challenge);
  const text = JSON.stringify(challenge);
  expect(checkAnswer('bob', text, answer).id).toBe('bob');
  expect(() => checkAnswer('carol', text, answer)).toThrow('not about carol');
  const guess = JSON.stringify({ id: 'bob', nonce: freshBytes(32).toString('base64url') });
  expect(() => checkAnswer('bob', text, guess)).toThrow('does not hold the private key');
  const other = JSON.stringify({ ...challenge, spki: 'AAAA' });
  expect(() => checkAnswer('bob', other, answer)).toThrow('no public key');
  expect(() => checkAnswer('bob', '{', answer)).toThrow('The challenge is not one');
  expect(() => checkAnswer('bob', text, '[]')).toThrow('The answer is not one');
});

test('a challenge is made for RSA public keys of 2048 bits or more only', () => {
  const pem = (key: ReturnType<typeof generateKeyPairSync>['publicKey']) =>
    key.export({ type: 'spki', format: 'pem' }).toString();
  const weak = pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey);
  const curve = pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey);
  expect(() => makeChallenge('bob', weak, freshBytes(32))).toThrow('has 1024 bits');
  expect(() => makeChallenge('bob', curve, freshBytes(32))).toThrow('this one is not');
  expect(() => makeChallenge('bob', 'nothing', freshBytes(32))).toThrow('no public key');
  expect(() => makeChallenge('bob', makeDepositary('bob').privateKeyPem, freshBytes(32))).toThrow(
    'holds a private key',
  );
  expect(() => makeChallenge('Bob!', weak, freshBytes(32))).toThrow('no name for a depositary');
});

test('when the security officer cannot log in, nothing of the enrolment stays, and it can be repeated', async () => {
  const person = makeDepositary('carol');
  const challenge = makeChallenge('carol', person.publicKeyPem, freshBytes(32));
  const order = {
    ...hsm.place,
    id: 'carol',
    challenge: JSON.stringify(challenge),
    answer: answerOf(person, challenge),
    now,
    before: { events: [], checkValues: new Map(), fingerprints: new Map() },
  };
  const failing = enrol({ ...order, ...pins(), soPin: Buffer.from('wrong-so-pin') });
  await expect(failing).rejects.toThrow('refused the PIN of the security officer');
  const raw = openRaw(hsm, 'user');
  expect(raw.find([{ type: pkcs11.CKA_LABEL, value: 'server-for:carol:v1' }])).toHaveLength(0);
  raw.close();
  await enrol({ ...order, ...pins() });
  const token = await hsm.open();
  expect((await token.enrolled()).map(({ id }) => id)).toEqual(['alice', 'carol']);
  await token.close();
});

test('nobody is enrolled with the key of somebody else, who is named', async () => {
  const { id: first, publicKeyPem, privateKey } = await hsm.enrolDepositary('first');
  const before = hsm.record().objects.map(({ label }) => label);
  const order = { ...hsm.place, ...pins(), now, before: readRecord(JSON.stringify(hsm.record()), hsm.place) };
  const challenge = makeChallenge('second', publicKeyPem, freshBytes(32));
  const answer = answerOf({ id: 'second', privateKey }, challenge);
  await expect(
    enrol({ ...order, id: 'second', challenge: JSON.stringify(challenge), answer }),
  ).rejects.toThrow(`The key of second is enrolled already, as that of ${first}.`);
  const after = await show({ ...hsm.place, userPin: pins().userPin, events: [] });
  expect(after.objects.map(({ label }) => label).sort()).toEqual([...before].sort());
});

test('a PIN file that others can read, or that is empty, is refused; the line end is no part of the PIN', () => {
  const file = join(hsm.directory, 'pin');
  writeFileSync(file, 'secret\r\n', { mode: 0o600 });
  expect(readPinFile(file).toString()).toBe('secret');
  chmodSync(file, 0o640);
  expect(() => readPinFile(file)).toThrow('chmod 600');
  writeFileSync(file, '\n');
  chmodSync(file, 0o600);
  expect(() => readPinFile(file)).toThrow('is empty');
});

test('a record of another token is not continued', () => {
  const text = JSON.stringify(hsm.record());
  expect(readRecord(text, { label: 'escrowd-test' }).events).toHaveLength(hsm.record().events.length);
  expect(() => readRecord(text, { label: 'another' })).toThrow('about the token "escrowd-test"');
  expect(() => readRecord('{}', { label: 'another' })).toThrow('not the record');
});

describe('before any PIN is asked for', () => {
  const run = (...args: readonly string[]) =>
    ceremonyCommands(join(process.cwd(), 'hsm-config'), () => undefined).parseAsync(
      ['show', '--profile', 'softhsm-2.6', '--label', 'escrowd', ...args],
      { from: 'user' },
    );
  const conf = (text: string): string => {
    const file = join(hsm.directory, 'other.conf');
    writeFileSync(file, text);
    return file;
  };

  test.each<[string, () => readonly string[], RegExp]>([
    [
      'a configuration of SoftHSM that is not there',
      () => ['--token-conf', '/nowhere/softhsm2.conf'],
      /^SoftHSM's configuration \/nowhere\/softhsm2\.conf cannot be read \(it is not there\)/,
    ],
    [
      'the same, named by --env',
      () => ['--env', 'SOFTHSM2_CONF=/nowhere/softhsm2.conf'],
      /^SoftHSM's configuration \/nowhere\/softhsm2\.conf cannot be read/,
    ],
    [
      'one that names no directory',
      () => ['--token-conf', conf('# directories.tokendir = /tmp\nlog.level = ERROR\n')],
      /other\.conf names no directory of tokens/,
    ],
    [
      'a directory of tokens that is not there',
      () => ['--token-conf', conf('log.level = ERROR\ndirectories.tokendir = /nowhere/tokens\n')],
      /^The directory of tokens \/nowhere\/tokens, .* is not there\. Make it: mkdir/,
    ],
  ])('%s is named', async (_name, args, sentence) => {
    // who is asked for a PIN is told that there is no terminal
    await expect(run(...args())).rejects.toThrow(sentence);
  });
});

test('where the token is not, it is said where it was looked for and what is there', async () => {
  const place = { ...hsm.place, label: 'another' };
  const found = show({ ...place, userPin: pins().userPin, events: [] });
  await expect(found).rejects.toThrow(
    /^There is no token called "another": looked in \S*libsofthsm2\.so with SOFTHSM2_CONF=\S+\. It shows "escrowd-test"\. Is another --token-conf/,
  );
  expect(softHsmFault('/opt/vendor/libpkcs11.so', { SOFTHSM2_CONF: '/nowhere' })).toBeUndefined();
  // nobody has named one, and the user's own is of no use
  const home = join(hsm.directory, 'home');
  mkdirSync(join(home, '.config', 'softhsm2'), { recursive: true });
  writeFileSync(join(home, '.config', 'softhsm2', 'softhsm2.conf'), 'directories.tokendir = /nowhere\n');
  expect(softHsmFault('/usr/lib/softhsm/libsofthsm2.so', { HOME: home })).toMatch(
    /^No configuration of SoftHSM is named: give --token-conf FILE .* Of the system's: The directory of tokens \/nowhere/,
  );
  expect(lookedIn('/usr/lib/softhsm/libsofthsm2.so', {})).toMatch(
    /with the system's configuration of SoftHSM/,
  );
  expect(lookedIn('/opt/vendor/libpkcs11.so', {})).toBe('/opt/vendor/libpkcs11.so');
});

test('the command line makes a token, a challenge and an enrolment, and never takes a PIN as an argument', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-ceremony-'));
  const at = (name: string): string => join(directory, name);
  const secret = (name: string, text: string): string => {
    writeFileSync(at(name), `${text}\n`, { mode: 0o600 });
    return at(name);
  };
  const printed: string[] = [];
  const run = (...argv: readonly string[]) =>
    ceremonyCommands(join(process.cwd(), 'hsm-config'), (text) => printed.push(text)).parseAsync(argv, {
      from: 'user',
    });
  try {
    writeFileSync(at('softhsm2.conf'), `directories.tokendir = ${directory}\nlog.level = ERROR\n`);
    const place = ['--profile', 'softhsm-2.6', '--label', 'cli', '--token-conf', at('softhsm2.conf')];
    const so = ['--so-pin-file', secret('so', 'so-pin-1')];
    const user = ['--user-pin-file', secret('user', 'user-pin-1')];
    await run('init', ...place, ...so, ...user, '--record', at('record.json'));
    expect(printed.join('')).toContain('The token is ready.');
    await expect(run('init', ...place, ...so, ...user, '--record', at('record.json'))).rejects.toThrow(
      'is there already',
    );
    const person = makeDepositary('dan');
    writeFileSync(at('dan.pem'), person.publicKeyPem);
    await run('challenge', 'dan', '--public-key', at('dan.pem'), '--out', at('challenge.json'));
    const challenge = JSON.parse(readFileSync(at('challenge.json'), 'utf8')) as { ciphertext: string };
    writeFileSync(at('answer.json'), answerOf(person, challenge));
    const proof = ['--challenge', at('challenge.json'), '--answer', at('answer.json')];
    await run('enrol', 'dan', ...place, ...so, ...user, ...proof, '--record', at('record.json'));
    printed.length = 0;
    await run('show', ...place, ...user, '--json');
    const shown = JSON.parse(printed.join('')) as { objects: { label: string }[] };
    const recorded = JSON.parse(readFileSync(at('record.json'), 'utf8')) as typeof shown;
    expect(shown.objects).toEqual(recorded.objects);
    expect(shown.objects.filter(({ label }) => /:dan(:v1)?$/.test(label))).toHaveLength(3);
    const commands = ceremonyCommands('', () => undefined).commands;
    for (const option of commands.flatMap((command) => command.options)) {
      expect(option.long?.endsWith('pin')).not.toBe(true);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
