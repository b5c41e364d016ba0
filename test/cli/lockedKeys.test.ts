import { execFileSync } from 'node:child_process';
import { constants, createPrivateKey, privateDecrypt } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { FILES } from '../../src/client/identity/identity.js';
import { checkAnswer, makeChallenge } from '../../src/token/ceremony/challenge.js';
import { findModule, setEnvironment } from '../../src/token/cryptoki/module.js';
import { readProfile } from '../../src/token/profile/profile.js';
import { depositaryPair, NOW, RECOVERY, SECRET, show, transportPair } from '../client/scene.js';
import type { ApprovalOrder } from '../../src/api/orders.js';
import { replyOf } from '../support/oneKey.js';
import { SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';
import { transpileTs } from '../support/runTs.js';
import { escrowctl } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';
import { freshBytes } from '../support/fresh.js';

jest.setTimeout(LIMITS_MS.programs);

let office: Office;
beforeEach(async () => {
  office = await openOffice();
});
afterEach(() => office.close());

const PIN = '4711-card';

function secretFile(name: string, content: string, mode = 0o600): string {
  const file = office.path(name);
  writeFileSync(file, content, { mode });
  return file;
}

describe('keys under a passphrase', () => {
  test('are made, used with the passphrase typed or from a file, and opened by openssl', async () => {
    const dir = office.path('erin');
    const order = ['identity', 'new', dir, '--id', 'erin', '--depositary', '--encrypt'];
    const made = await escrowctl(order, { answers: ['open sesame', 'open sesame'] });
    expect(made.exit).toBe(0);
    const pem = readFileSync(join(dir, FILES.depositaryKey), 'utf8');
    expect(pem).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
    const file = secretFile('pass', 'open sesame\n');
    const opened = execFileSync('openssl', [
      'pkey',
      '-in',
      join(dir, FILES.depositaryKey),
      '-passin',
      `file:${file}`,
      '-pubout',
    ]);
    expect(opened.toString()).toBe(readFileSync(join(dir, FILES.depositaryPublic), 'utf8'));

    const show = ['identity', 'show', '--as', dir];
    expect((await escrowctl(show, { answers: ['open sesame'] })).exit).toBe(0);
    expect((await escrowctl([...show, '--passphrase-file', file])).exit).toBe(0);
    expect((await escrowctl(show, { variables: { ESCROWCTL_PASSPHRASE_FILE: file } })).exit).toBe(0);
  });

  test('stay shut without it, with another, and when its file is open to others', async () => {
    const dir = office.path('erin');
    const passphrase = secretFile('pass', 'open sesame\n');
    const order = ['identity', 'new', dir, '--id', 'erin', '--encrypt', '--passphrase-file', passphrase];
    expect((await escrowctl(order)).exit).toBe(0);
    const show = ['identity', 'show', '--as', dir];
    const nobody = await escrowctl(show);
    expect(nobody).toMatchObject({ exit: 2, out: '' });
    expect(nobody.err).toMatch(/under a passphrase, and nobody is there.*\nnext: .*--passphrase-file/);
    expect((await escrowctl(show, { answers: ['wrong'] })).err).toMatch(/the passphrase does not open/);
    const seen = secretFile('seen', 'open sesame\n', 0o644);
    expect((await escrowctl([...show, '--passphrase-file', seen])).err).toMatch(/can be read by others/);
  });

  test('are not made when the passphrase was typed twice in two ways, or is empty', async () => {
    const order = ['identity', 'new', office.path('erin'), '--id', 'erin', '--encrypt'];
    expect((await escrowctl(order, { answers: ['one', 'two'] })).err).toMatch(/differ; nothing was made/);
    expect((await escrowctl(order, { answers: ['', ''] })).err).toMatch(/an empty passphrase is none/);
    expect((await escrowctl(order)).err).toMatch(/nobody is there to give a passphrase/);
    expect((await escrowctl(order, { answers: ['one', 'one'] })).exit).toBe(0);
  });
});

describe("a depositary's key on a card (a second SoftHSM token stands for it)", () => {
  let programs: string;
  let module: string;
  let place: string[];

  beforeEach(() => {
    module = findModule(readProfile(SOFTHSM_PROFILE_FILE), undefined);
    const directory = office.path('card');
    mkdirSync(join(directory, 'tokens'), { recursive: true });
    const conf = join(directory, 'softhsm2.conf');
    writeFileSync(
      conf,
      `directories.tokendir = ${directory}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    setEnvironment({ SOFTHSM2_CONF: conf });
    const softhsm = (...argv: string[]): unknown => execFileSync('softhsm2-util', argv, { stdio: 'pipe' });
    softhsm('--init-token', '--free', '--label', 'danas-card', '--so-pin', 'so-4711', '--pin', PIN);
    const pem = depositaryPair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    const file = secretFile('import.pem', pem);
    softhsm('--import', file, '--token', 'danas-card', '--label', 'escrow', '--id', '01', '--pin', PIN);
    const into = office.path('programs');
    mkdirSync(into);
    programs = dirname(dirname(dirname(transpileTs(join(__dirname, '../../src/token/card/main.ts'), into))));
    place = ['--card-module', module, '--card-token', 'danas-card', '--card-key', 'escrow'];
  });

  const pin = (): string => secretFile('card.pin', `${PIN}\n`);

  test('answers the challenge and approves; the private key is in no file', async () => {
    const dir = office.path('dana-with-card');
    expect(await escrowctl(['identity', 'new', dir, '--id', 'dana', ...place], { programs })).toMatchObject({
      exit: 0,
    });
    const publicPem = readFileSync(join(dir, FILES.depositaryPublic), 'utf8');
    expect(publicPem).toBe(depositaryPair.publicKey.export({ format: 'pem', type: 'spki' }).toString());
    expect(() => readFileSync(join(dir, FILES.depositaryKey))).toThrow(/ENOENT/);

    const challenge = JSON.stringify(makeChallenge('dana', publicPem, freshBytes(32), 'RSA-OAEP'));
    writeFileSync(office.path('challenge.json'), challenge);
    const out = office.path('answer.json');
    const answer = ['depositary', 'answer', office.path('challenge.json'), '--out', out, '--as', dir];
    expect(await escrowctl([...answer, '--card-pin-file', pin()], { programs })).toMatchObject({
      exit: 0,
      err: '',
    });
    expect(checkAnswer('dana', challenge, readFileSync(out, 'utf8')).id).toBe('dana');

    const { server } = office;
    const record = office.path('record.json');
    writeFileSync(record, JSON.stringify(server.record));
    writeFileSync(office.path('ca.pem'), server.ca);
    const pinning = [
      'identity',
      'pin',
      dir,
      '--server',
      server.url,
      '--ca',
      office.path('ca.pem'),
      '--record',
      record,
    ];
    expect(await escrowctl(pinning)).toMatchObject({ exit: 0 });
    const shown = await show(server);
    server.routes.set(`GET /v1/recoveries/${RECOVERY}`, () => ({ json: shown }));
    server.routes.set(`POST /v1/recoveries/${RECOVERY}/approvals`, () => ({
      json: { result: shown, entry: 9 },
    }));
    const approve = ['recovery', 'approve', RECOVERY, '--as', dir, '--yes', '--card-pin-file', pin()];
    expect(await escrowctl(approve, { programs, now: NOW })).toMatchObject({ exit: 0, err: '' });
    const reply = replyOf(JSON.parse(server.posted[0]?.body.toString() ?? '') as ApprovalOrder);
    const key = {
      key: createPrivateKey(transportPair.privateKey.export({ format: 'pem', type: 'pkcs8' })),
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: 'sha1',
    };
    expect(privateDecrypt(key, Buffer.from(reply, 'base64url'))).toEqual(SECRET);
  });

  test('a card that is not there, another key, a wrong PIN or an OAEP that it does not know end with one clear message', async () => {
    const dir = office.path('dana-with-card');
    const order = ['identity', 'new', dir, '--id', 'dana'];
    const absent = place.map((word) => (word === 'danas-card' ? 'other-card' : word));
    expect(await escrowctl([...order, ...absent], { programs })).toMatchObject({ exit: 2 });
    const otherKey = place.map((word) => (word === 'escrow' ? 'other' : word));
    expect(await escrowctl([...order, ...otherKey], { programs })).toMatchObject({ exit: 2 });
    expect((await escrowctl([...order, ...place.slice(0, 2)], { programs })).err).toMatch(/belong together/);
    expect(await escrowctl([...order, ...place], { programs })).toMatchObject({ exit: 0 });

    const publicPem = readFileSync(join(dir, FILES.depositaryPublic), 'utf8');
    const answer = (
      oaep: 'RSA-OAEP' | 'RSA-OAEP-256',
      pinFile: string,
    ): Promise<{ exit: number; err: string }> => {
      const file = office.path('challenge.json');
      writeFileSync(file, JSON.stringify(makeChallenge('dana', publicPem, freshBytes(32), oaep)));
      const out = ['--out', office.path('answer.json')];
      return escrowctl(['depositary', 'answer', file, ...out, '--as', dir, '--card-pin-file', pinFile], {
        programs,
      });
    };
    const unusable = { exit: 2, err: expect.stringMatching(/the card cannot be used/) as string };
    expect(await answer('RSA-OAEP', secretFile('wrong.pin', 'wrong\n'))).toMatchObject(unusable);
    expect(await answer('RSA-OAEP-256', pin())).toMatchObject(unusable);
    expect(await answer('RSA-OAEP', pin())).toMatchObject({ exit: 0 });
  });
});
