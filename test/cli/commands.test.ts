import { execFileSync } from 'node:child_process';
import type { KeyObject } from 'node:crypto';
import { constants, createCipheriv, generateKeyPairSync, publicEncrypt, sign } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { createIdentity, pinServer } from '../../src/client/identity/newIdentity.js';
import { identityCommands } from '../../src/cli/commands/identity.js';
import { readStop } from '../../src/client/stop.js';
import { parseJws } from '../../src/jose/jws.js';
import { policyDocumentHash } from '../../src/client/policy/policyDocument.js';
import { parseCeremonyRecord } from '../../src/client/serverPins.js';
import type { Health } from '../../src/http/management.js';
import { listenForManagement } from '../../src/http/management.js';
import { canonicalHash } from '../../src/escrow/records/digests.js';
import { canonicalJson } from '../../src/log/entry/canonical.js';
import { serveHistory } from '../client/fakeHistory.js';
import type { Answer } from '../client/fakeServer.js';
import { FakeServer, ORIGIN, problem } from '../client/fakeServer.js';
import { depositaryPair, hexOf, honestScene, KEY, OTHER_KEY, RECOVERY, userPair } from '../client/scene.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';
import { freshBytes } from '../support/fresh.js';
import { chance } from '../support/chance.js';

jest.setTimeout(LIMITS_MS.programs);

let office: Office;
beforeEach(async () => {
  office = await openOffice();
});
afterEach(() => office.close());

const GRANT = `grant_${'3'.repeat(32)}`;
const route = (line: string, answer: Answer): Map<string, unknown> =>
  office.server.routes.set(line, () => answer);
const as = (...argv: string[]): string[] => [...argv, '--as', office.dana];
const applied = (): number => office.server.posted.filter(({ target }) => target === '/v1/policy').length;
const posted = (): unknown => JSON.parse(office.server.posted.at(-1)?.body.toString() ?? '');
const publicKeyPem = userPair.publicKey.export({ format: 'pem', type: 'spki' }).toString();

describe('signing under a grant', () => {
  const letter = Buffer.from('Pay 100 to the bearer.\n');
  beforeEach(() => {
    writeFileSync(office.path('letter.txt'), letter);
    const signature = sign('sha256', letter, { key: userPair.privateKey, dsaEncoding: 'ieee-p1363' });
    const result = { signatures: [signature.toString('base64url')], remaining: 2 };
    route(`POST /v1/grants/${GRANT}/sign`, { json: { result, entry: 12 } });
  });

  test('gives openssl what it verifies', async () => {
    const out = office.path('letter.sig');
    const options = ['--grant', GRANT, '--mechanism', 'ES256', '--format', 'der', '--out', out];
    const ran = await escrowctl(as('sign', office.path('letter.txt'), ...options));
    expect(ran).toMatchObject({ exit: 0, err: '' });
    expect(ran.out).toContain('2 uses left');
    writeFileSync(office.path('public.pem'), publicKeyPem);
    const args = [
      'dgst',
      '-sha256',
      '-verify',
      office.path('public.pem'),
      '-signature',
      out,
      office.path('letter.txt'),
    ];
    expect(execFileSync('openssl', args, { encoding: 'utf8' })).toContain('Verified OK');
    expect(posted()).toEqual({ mechanism: 'ES256', messages: [letter.toString('base64url')] });
  });

  test('sends a digest in place of the message when told so', async () => {
    await escrowctl(as('sign', '-', '--grant', GRANT, '--mechanism', 'ES256', '--digest'), { input: letter });
    const digest = execFileSync('openssl', ['dgst', '-sha256', '-binary', office.path('letter.txt')]);
    expect(posted()).toEqual({ mechanism: 'ES256', digests: [digest.toString('base64url')] });
  });

  test('writes r || s in base64url to standard output, and leaves no file when it is refused', async () => {
    const ran = await escrowctl(
      as('sign', office.path('letter.txt'), '--grant', GRANT, '--mechanism', 'ES256'),
    );
    expect(Buffer.from(ran.out.trim(), 'base64url')).toHaveLength(64);
    route(`POST /v1/grants/${GRANT}/sign`, problem(403, 'grant-exhausted'));
    const out = office.path('none.sig');
    const refused = await escrowctl(
      as('sign', office.path('letter.txt'), '--grant', GRANT, '--mechanism', 'ES256', '--out', out),
    );
    expect(refused.exit).toBe(3);
    expect(existsSync(out)).toBe(false);
  });
});

test('what is decrypted goes to standard output as it is, and as base64url in JSON', async () => {
  const plaintext = chance('plaintext of a command').bytes(40);
  const result = { plaintexts: [plaintext.toString('base64url')], remaining: 0 };
  route(`POST /v1/grants/${GRANT}/decrypt`, { json: { result, entry: 12 } });
  const argv = as('decrypt', '-', '--grant', GRANT, '--mechanism', 'RSA-OAEP');
  const input = chance('input of a command').bytes(256);
  expect((await escrowctl(argv, { input })).bytes).toEqual(plaintext);
  expect(posted()).toEqual({
    mechanism: 'RSA-OAEP',
    ciphertexts: [{ ciphertext: input.toString('base64url') }],
  });
  expect(jsonOf(await escrowctl([...argv, '--json'], { input }))).toMatchObject({
    plaintext: plaintext.toString('base64url'),
    remaining: 0,
  });
});

/** A private key as the token releases it to dana. */
function sealedToDana(
  privateKey: KeyObject,
  oaepHash: 'sha1' | 'sha256' = 'sha1',
): Readonly<Record<string, string>> {
  const x = freshBytes(32);
  const content = privateKey.export({ format: 'der', type: 'pkcs8' });
  const padded = Buffer.concat([content, Buffer.alloc((8 - (content.length % 8)) % 8)]);
  const cipher = createCipheriv('id-aes256-wrap-pad', x, Buffer.from('A65959A6', 'hex'));
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  return {
    transferKey: publicEncrypt({ key: depositaryPair.publicKey, padding, oaepHash }, x).toString('base64url'),
    wrappedKey: Buffer.concat([cipher.update(padded), cipher.final()]).toString('base64url'),
    oaep: oaepHash === 'sha1' ? 'RSA-OAEP' : 'RSA-OAEP-256',
  };
}

describe('a released key', () => {
  const { privateKey } = userPair;
  const released = (oaepHash?: 'sha1' | 'sha256', keys = [KEY]): unknown => ({
    keys: keys.map((key) => ({ key, ...sealedToDana(privateKey, oaepHash) })),
  });
  const shown = { ...honestScene().recovery, purpose: 'release', recipient: 'dana', status: 'approved' };
  const release = (...more: string[]): string[] => as('recovery', 'release', RECOVERY, ...more);

  beforeEach(() => {
    route(`GET /v1/recoveries/${RECOVERY}`, { json: shown });
    route(`POST /v1/recoveries/${RECOVERY}/release`, { json: { result: released(), entry: 20 } });
  });

  test('is opened to PKCS#8, for its owner only, and is the private half of the public key', async () => {
    const out = office.path('key.pem');
    expect((await escrowctl(release('--out', out))).exit).toBe(0);
    expect(statSync(out).mode & 0o777).toBe(0o600);
    const pub = execFileSync('openssl', ['pkey', '-in', out, '-pubout'], { encoding: 'utf8' });
    expect(pub).toBe(publicKeyPem);
  });

  test('is confirmed when it is written and open, over what the log has of it; what was confirmed is not fetched again', async () => {
    const sealed = sealedToDana(privateKey);
    const result = { keys: [{ key: KEY, ...sealed }] };
    route(`POST /v1/recoveries/${RECOVERY}/release`, { json: { result, entry: 20 } });
    const confirmed = `POST /v1/recoveries/${RECOVERY}/confirmation`;
    route(confirmed, { json: { result: { ...shown, status: 'released' }, entry: 21 } });
    const ran = await escrowctl(release('--out', office.path('key.pem')));
    expect(ran.out).toContain('You have confirmed that; the server keeps no copy.');
    const { statement } = posted() as { statement: string };
    const { transferKey = '', wrappedKey = '' } = sealed;
    const parts = [transferKey, wrappedKey].map((part) => Buffer.from(part, 'base64url'));
    expect(parseJws(statement)).toMatchObject({
      header: { typ: 'escrowd-confirmation+jwt' },
      payload: {
        ...{ iss: 'dana', aud: office.server.log.key.vkey, recovery: RECOVERY, keys: [KEY] },
        released: hexOf(canonicalJson({ [KEY]: hexOf(Buffer.concat(parts)) })),
      },
    });
    route(`GET /v1/recoveries/${RECOVERY}`, { json: { ...shown, status: 'released' } });
    const again = await escrowctl(release('--out', office.path('again.pem')));
    expect(again).toMatchObject({ exit: 2, err: expect.stringContaining('keeps no copy') as string });
  });

  test('that does not open, or is kept encrypted, is not confirmed', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const sealedOut = office.path('archive');
    expect((await escrowctl(release('--no-open', '--sealed-out', sealedOut))).out).toContain('for a day');
    route(`POST /v1/recoveries/${RECOVERY}/release`, {
      json: { result: { keys: [{ key: KEY, ...sealedToDana(other) }] }, entry: 20 },
    });
    expect((await escrowctl(release('--out', office.path('other.pem')))).exit).toBe(5);
    expect(office.server.posted.filter(({ target }) => target.endsWith('/confirmation'))).toEqual([]);
  });

  test('can be opened by openssl alone from its sealed parts', async () => {
    const prefix = office.path('sealed');
    const ran = await escrowctl(release('--no-open', '--sealed-out', prefix));
    expect(ran.exit).toBe(0);
    const inkey = join(office.dana, 'depositary-key.pem');
    const x = execFileSync('openssl', [
      ...['pkeyutl', '-decrypt', '-inkey', inkey, '-in', `${prefix}.transfer`],
      ...['-pkeyopt', 'rsa_padding_mode:oaep'],
    ]);
    const der = execFileSync('openssl', [
      ...['enc', '-d', '-id-aes256-wrap-pad', '-iv', 'A65959A6', '-K', x.toString('hex')],
      ...['-in', `${prefix}.wrapped`],
    ]);
    const pub = execFileSync('openssl', ['pkey', '-inform', 'DER', '-pubout'], { input: der });
    expect(pub.toString()).toBe(publicKeyPem);
  });

  test('that was handed out before is fetched again without another act', async () => {
    route(`GET /v1/recoveries/${RECOVERY}`, {
      json: { ...shown, status: 'released', release: released('sha256') },
    });
    expect((await escrowctl(release('--out', office.path('key.jwk'), '--format', 'jwk'))).exit).toBe(0);
    expect(JSON.parse(readFileSync(office.path('key.jwk'), 'utf8'))).toEqual(
      privateKey.export({ format: 'jwk' }),
    );
    expect(office.server.posted.filter(({ target }) => !target.endsWith('/confirmation'))).toEqual([]);
  });

  test('is not asked for when it has nowhere to go', async () => {
    writeFileSync(office.path('taken.pem'), 'mine');
    expect((await escrowctl(release('--out', office.path('taken.pem')))).exit).toBe(2);
    expect(office.server.posted).toHaveLength(0);
  });

  test('that is another key is not written, and exits with 5', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    const pem = other.export({ format: 'pem', type: 'spki' });
    const keys = shown.keys.map((key) => ({ ...key, publicKeyPem: pem }));
    route(`GET /v1/recoveries/${RECOVERY}`, { json: { ...shown, keys } });
    expect((await escrowctl(release('--out', office.path('key.pem')))).exit).toBe(5);
    expect(existsSync(office.path('key.pem'))).toBe(false);
  });
});

describe('several released keys', () => {
  const { privateKey } = userPair;
  const both = [KEY, OTHER_KEY];
  const shown = {
    ...honestScene(both).recovery,
    ...{ purpose: 'release', recipient: 'dana', status: 'approved' },
  };
  const answers = (keys: readonly string[]): unknown => ({
    result: { keys: keys.map((key) => ({ key, ...sealedToDana(privateKey) })) },
    entry: 20,
  });
  const release = (...more: string[]): string[] => as('recovery', 'release', RECOVERY, ...more);
  beforeEach(() => {
    route(`GET /v1/recoveries/${RECOVERY}`, { json: shown });
    route(`POST /v1/recoveries/${RECOVERY}/release`, { json: answers(both) });
  });

  test('go into a new directory, each in a file named after it, and their sealed parts beside each other', async () => {
    const out = office.path('olgas-keys');
    const ran = await escrowctl(release('--out', out, '--sealed-out', office.path('olga'), '--json'));
    expect(ran.exit).toBe(0);
    expect(statSync(out).mode & 0o777).toBe(0o700);
    for (const key of both) {
      const file = join(out, `${key}.pem`);
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const pub = execFileSync('openssl', ['pkey', '-in', file, '-pubout'], { encoding: 'utf8' });
      expect(pub).toBe(publicKeyPem);
      expect(existsSync(office.path(`olga.${key}.transfer`))).toBe(true);
      expect(existsSync(office.path(`olga.${key}.wrapped`))).toBe(true);
    }
    expect(jsonOf(ran)).toMatchObject({ keys: both.map((key) => ({ key, out: join(out, `${key}.pem`) })) });
  });

  test.each([
    ['fewer', [KEY]],
    ['others', [KEY, `key_${'5'.repeat(32)}`]],
    ['one twice', [KEY, KEY]],
  ])('that are %s than were asked for are not written, and it exits with 5', async (_what, keys) => {
    route(`POST /v1/recoveries/${RECOVERY}/release`, { json: answers(keys) });
    const out = office.path('none');
    expect((await escrowctl(release('--out', out))).exit).toBe(5);
    expect(existsSync(out)).toBe(false);
  });
});

describe('a request for several keys', () => {
  const third = `key_${'7'.repeat(32)}`;
  const key = (id: string, more: Readonly<Record<string, unknown>> = {}): unknown => ({
    ...{ key: id, owner: 'olga', label: `label of ${id}`, spec: 'ec-p256', use: 'sign' },
    createdAt: '2026-03-01T12:00:00.000Z',
    rule: { name: 'all', policyVersion: 1, policyHash: 'ab'.repeat(32) },
    purposes: [
      { purpose: 'operate', quorums: [['dana', 'dave']], recipients: [] },
      { purpose: 'release', quorums: [['dana', 'dave']], recipients: [] },
    ],
    terms: { requests: { maxValidFor: 'P7D', approvalsHold: 'P7D', distinct: [] } },
    digest: 'cd'.repeat(32),
    ...more,
  });
  const operateOnly = [{ purpose: 'operate', quorums: [['dana']], recipients: [] }];
  const request = (...more: string[]): string[] =>
    as('recovery', 'request', '--purpose', 'release', '--reason', 'Olga has left', ...more);
  const all = ['--all-of', 'olga'];

  beforeEach(() => {
    const items = [
      key(KEY),
      key(third, { purposes: operateOnly }),
      key(OTHER_KEY),
      key(`key_${'8'.repeat(32)}`, { owner: 'oscar' }),
    ];
    route('GET /v1/keys', { json: { items } });
    const result = { ...honestScene([KEY, OTHER_KEY]).recovery, status: 'pending' };
    route('POST /v1/recoveries', { json: { result, entry: 9 }, status: 201 });
  });

  test('names them on the command line', async () => {
    expect((await escrowctl(request(OTHER_KEY, KEY))).exit).toBe(0);
    expect(posted()).toMatchObject({ purpose: 'release', keys: [OTHER_KEY, KEY] });
  });

  test('or is for all keys of an owner that can be asked for so, which it shows with those it leaves out, and asks', async () => {
    const no = await escrowctl(request(...all), { answers: ['no'] });
    expect(no.exit).toBe(2);
    expect(office.server.posted).toHaveLength(0);
    for (const word of [KEY, OTHER_KEY, third, 'Left out', 'its rule allows no release']) {
      expect(no.err).toContain(word);
    }
    expect(no.err).not.toContain(`key_${'8'.repeat(32)}`);
    expect((await escrowctl(request(...all), { answers: ['yes'] })).exit).toBe(0);
    expect(posted()).toMatchObject({ keys: [KEY, OTHER_KEY] });
  });

  test('asks nobody with --yes, but says what it leaves out; and without anybody there sends nothing', async () => {
    expect((await escrowctl(request(...all))).exit).toBe(2);
    expect(office.server.posted).toHaveLength(0);
    const filed = await escrowctl(request(...all, '--yes'));
    expect(filed.exit).toBe(0);
    for (const word of ['Left out', third, 'its rule allows no release']) expect(filed.err).toContain(word);
    expect(posted()).toMatchObject({ keys: [KEY, OTHER_KEY] });
  });

  test.each([
    ['no keys', []],
    ['a key twice', [KEY, KEY]],
    ['keys and all of an owner', [KEY, ...all]],
    ['all of an owner without keys', ['--all-of', 'erika']],
    ['too many', Array.from({ length: 65 }, (_, n) => `key_${String(n).padStart(32, '0')}`)],
  ])('is not sent for %s', async (_what, more) => {
    expect((await escrowctl(request(...more, '--yes'))).exit).toBe(2);
    expect(office.server.posted).toHaveLength(0);
  });

  test('that was filed for other keys is not taken for it, and exits with 5', async () => {
    expect((await escrowctl(request(KEY))).exit).toBe(5);
  });
});

describe('a request that administrators end', () => {
  const shown = { ...honestScene().recovery, requestHash: 'ab'.repeat(32) };
  const stop = (...more: readonly string[]): ReturnType<typeof escrowctl> =>
    escrowctl(as('recovery', 'stop', RECOVERY, ...more));
  const posts = (): number => office.server.posted.filter(({ target }) => target.endsWith('/stop')).length;

  test('is signed by each as it is shown, and ended with all statements', async () => {
    route(`GET /v1/recoveries/${RECOVERY}`, { json: shown });
    const result = { ...shown, status: 'cancelled' };
    const line = `POST /v1/recoveries/${RECOVERY}/stop`;
    office.server.routes.set(line, async ({ body }) => {
      const { statements } = JSON.parse(body.toString()) as { readonly statements: readonly string[] };
      const digest = canonicalHash(statements);
      const entry = { act: 'recovery.stop', actor: 'dana', detail: { status: 'cancelled' }, digest };
      const proof = await office.server.log.prove({ ...entry, subject: { recovery: RECOVERY, keys: [KEY] } });
      return { json: { result, entry: proof.index, proof } };
    });
    const [a, b] = [office.path('stop-a.jws'), office.path('stop-b.jws')];
    const before = posts();
    const signed = await stop('--sign', a, '--reason', 'nobody knows who asked', '--yes');
    expect(signed.out).toContain('Your reason: "nobody knows who asked"');
    await stop('--sign', b, '--reason', 'nor do I', '--yes');
    expect(posts()).toBe(before);
    const done = await stop('--statement', a, '--statement', b);
    expect(done.out).toContain(`Ended ${RECOVERY} (log entry 0).`);
    const { statements } = posted() as { statements: readonly string[] };
    expect(statements).toEqual([a, b].map((path) => readFileSync(path, 'utf8').trim()));
    expect(statements.map((jws) => readStop(jws))).toEqual(
      ['nobody knows who asked', 'nor do I'].map((reason) => ({
        ...{ iss: 'dana', recovery: RECOVERY, requestHash: 'ab'.repeat(32), reason },
      })),
    );
    route(line, { json: { result, entry: 7 } });
    const unproven = await stop('--statement', a, '--statement', b);
    expect(unproven).toMatchObject({ exit: 7, out: '' });
    for (const words of ['not stopped', 'call the depositaries']) expect(unproven.err).toContain(words);
  });

  test.each([
    ['without a statement', [], /there is no --statement/],
    ['in one step', ['--sign', 'x', '--statement', 'y'], /two steps/],
    ['without a reason', ['--sign', 'x', '--yes'], /--reason is missing/],
    ['with a file that is none', ['--statement', 'package.json'], /is not a statement made by/],
  ])('is not, %s', async (_how, more, words) => {
    const before = posts();
    const said = await stop(...more);
    expect([said.exit, posts()]).toEqual([2, before]);
    expect(said.err).toMatch(words);
  });

  test('is not signed once it has ended, nor with a statement about another', async () => {
    route(`GET /v1/recoveries/${RECOVERY}`, { json: { ...shown, status: 'denied' } });
    const late = await stop('--sign', office.path('late.jws'), '--reason', 'r', '--yes');
    expect(late.err).toContain('it is denied');
    const other = `rec_${'9'.repeat(32)}`;
    route(`GET /v1/recoveries/${other}`, { json: { ...shown, recovery: other } });
    const file = office.path('other.jws');
    await escrowctl(as('recovery', 'stop', other, '--sign', file, '--reason', 'r', '--yes'));
    expect((await stop('--statement', file)).err).toContain('about another request');
  });
});

describe('a policy', () => {
  const yaml = (): string => {
    const file = office.path('escrow.yaml');
    writeFileSync(
      file,
      [
        'version: 1',
        'administration: { minimumQuorum: 1 }',
        'principals:',
        '  - { id: dana, kind: person, name: Dana, roles: [admin], keysFrom: dana/public.json }',
        '  - { id: eve, kind: person, name: Eve, roles: [admin, depositary], keysFrom: eve/public.json }',
        'rules:',
        '  - { name: all, depositaries: person:eve, operate: { operations: [sign], maxUses: 1, maxDuration: PT1H } }',
      ].join('\n'),
    );
    return file;
  };

  /** The daemon's word on whatever is planned. */
  const planned = (facts: object): void => {
    office.server.routes.set('POST /v1/policy/plan', () => ({
      json: { hash: policyDocumentHash((posted() as { document: unknown }).document), ...facts },
    }));
  };

  test('that the daemon would not take is not signed, and the plan says why', async () => {
    await createIdentity(office.path('eve'), { id: 'eve', depositary: false, deliveryKey: false });
    const standing = { version: 4, hash: 'ab'.repeat(32), signersNeeded: 2, enrolled: [], deposits: [] };
    route('GET /v1/policy', { json: { version: 4, hash: 'ab'.repeat(32) } });
    route('GET /v1/policy/standing', { json: standing });
    route('POST /v1/policy/plan', problem(422, 'policy-invalid'));
    const out = office.path('a.jws');
    const refused = await escrowctl(as('plan', '-f', yaml(), '--sign', out, '--yes'));
    expect(refused.exit).toBe(3);
    expect(refused.err).toContain('because policy-invalid');
    expect(existsSync(out)).toBe(false);
    // nor is what the daemon reads as another document
    planned({ hash: '00'.repeat(32), base: 4, replaces: 'ab'.repeat(32), signersNeeded: 2 });
    expect((await escrowctl(as('plan', '-f', yaml(), '--sign', out, '--yes'))).exit).toBe(4);
    expect(existsSync(out)).toBe(false);
  });

  test('is signed by two as the plan that was shown, and applied with both signatures over the same document', async () => {
    const eve = office.path('eve');
    await createIdentity(eve, { id: 'eve', depositary: false, deliveryKey: false });
    const { server } = office;
    await pinServer(
      eve,
      { server: server.url, ...parseCeremonyRecord(JSON.stringify(server.record)) },
      server.ca,
    );
    const standing = { version: 4, hash: 'ab'.repeat(32), signersNeeded: 2, enrolled: [], deposits: [] };
    route('GET /v1/policy', { json: { version: 4, hash: 'ab'.repeat(32) } });
    route('GET /v1/policy/standing', { json: standing });
    planned({ base: 4, replaces: 'ab'.repeat(32), signersNeeded: 2 });
    route('POST /v1/policy', { json: { result: { version: 5, hash: 'cd'.repeat(32) }, entry: 3 } });
    const file = yaml();
    const [a, b] = [office.path('a.jws'), office.path('b.jws')];
    const signed = jsonOf(await escrowctl(as('plan', '-f', file, '--sign', a, '--yes', '--json')));
    await escrowctl(['plan', '-f', file, '--sign', b, '--yes', '--as', eve]);
    expect(signed).toMatchObject({ base: 4, signer: 'dana' });
    const done = await escrowctl(as('apply', '-f', file, '--signature', a, '--signature', b));
    expect(done.exit).toBe(0);
    expect(done.out).toContain('Policy version 5 is in force');
    const { document, signatures } = posted() as {
      document: { principals: unknown[] };
      signatures: string[];
    };
    expect(signatures).toHaveLength(2);
    expect(JSON.stringify(document)).not.toContain('keysFrom');
    // changed after it was signed: found here, before anything is sent
    const before = applied();
    writeFileSync(file, readFileSync(file, 'utf8').replace('maxUses: 1', 'maxUses: 1000'));
    const late = await escrowctl(as('apply', '-f', file, '--signature', a, '--signature', b));
    expect(late.exit).toBe(2);
    expect(late.err).toContain('under another document');
    // and so is that another policy is in force than the one that was to be replaced
    writeFileSync(file, readFileSync(file, 'utf8').replace('maxUses: 1000', 'maxUses: 1'));
    route('GET /v1/policy', { json: { version: 4, hash: 'ef'.repeat(32) } });
    const stale = await escrowctl(as('apply', '-f', file, '--signature', a, '--signature', b));
    expect(stale.exit).toBe(2);
    expect(stale.err).toContain('under a plan for version 4');
    expect(applied()).toBe(before);
  });

  test('is checked without a server', async () => {
    await createIdentity(office.path('eve'), { id: 'eve', depositary: false, deliveryKey: false });
    const ran = await escrowctl(['policy', 'check', yaml(), '--json']);
    expect(ran.exit).toBe(0);
    expect(jsonOf(ran)).toMatchObject({ ok: true, principals: 2, rules: 1 });
    writeFileSync(office.path('bad.yaml'), 'version: 2\n');
    expect((await escrowctl(['policy', 'check', office.path('bad.yaml')])).exit).toBe(2);
  });
});

describe('status', () => {
  const says = (changes: object = {}): Answer => ({
    json: {
      ...office.server.record,
      token: {
        profile: 'softhsm-2.6',
        keySpecs: ['ec-p256', 'ml-dsa'],
        mechanisms: ['ES256'],
        oaep: 'RSA-OAEP',
      },
      ...changes,
    },
  });
  const ready = { status: 200, json: { status: 'ready' } };

  test('is 0 when the server can work, also with an empty log', async () => {
    route('GET /v1/server', says());
    route('GET /readyz', ready);
    route('GET /v1/policy/warnings', { json: { warnings: ['dana is not enrolled in the token'] } });
    route('GET /v1/checkpoint', problem(404, 'route-unknown'));
    const ran = await escrowctl(as('status', '--json'));
    expect(ran.exit).toBe(0);
    expect(jsonOf(ran)).toMatchObject({
      ready: true,
      log: null,
      token: { keySpecs: ['ec-p256'] },
      warnings: ['dana is not enrolled in the token'],
    });
  });

  test('is 6 when it is there and cannot work; why, the management listener says', async () => {
    route('GET /v1/server', says());
    route('GET /readyz', { status: 503, json: { status: 'not ready' } });
    const ran = await escrowctl(as('status'));
    expect(ran.exit).toBe(6);
    expect(ran.out).toContain('--management');
    const health: Health = {
      ok: false,
      problems: ['The token does not answer.'],
      notes: ['The witness w.example does not cosign now.'],
      notifications: [{ sink: 'smtp', waiting: 7, next: 3, dropped: 0, fault: 'The receiver answered 503.' }],
      alarms: [{ alarm: 'token-object-twice', message: 'two of them', times: 3, lastAt: new Date(0) }],
      unenforced: ['clulow'],
    };
    const listener = await listenForManagement(
      { host: '127.0.0.1', port: 0 },
      { health: () => health, metrics: () => Promise.reject(new Error('not asked for')) },
    );
    const management = ['--management', `http://127.0.0.1:${listener.port}`];
    const told = await escrowctl(as('status', ...management));
    expect(told.exit).toBe(6);
    for (const line of [
      'The token does not answer.',
      'The witness w.example does not cosign now.',
      'smtp is 7 entries behind: The receiver answered 503.',
      'token-object-twice: two of them (3 times, last at 1970-01-01T00:00:00.000Z)',
    ])
      expect(told.out).toContain(line);
    const json = jsonOf(await escrowctl(as('status', '--json', ...management)));
    expect(json).toMatchObject({
      ready: false,
      report: { problems: health.problems, unenforced: ['clulow'] },
    });
    await listener.close();
    expect((await escrowctl(as('status', ...management))).exit).toBe(4);
  });

  test('is 5 when the server has other keys than those pinned, or has lost its log', async () => {
    route('GET /readyz', ready);
    route('GET /v1/policy/warnings', { json: { warnings: ['dana is not enrolled in the token'] } });
    route('GET /v1/server', says({ identityKey: new FakeServer().record.identityKey }));
    expect((await escrowctl(as('status'))).exit).toBe(5);
    route('GET /v1/server', says());
    office.server.log.fill(3);
    expect((await escrowctl(as('status'))).exit).toBe(0);
    route('GET /v1/policy/warnings', problem(401, 'caller-unknown'));
    expect((await escrowctl(as('status'))).exit).toBe(0);
    route('GET /v1/checkpoint', problem(404, 'route-unknown'));
    expect((await escrowctl(as('status'))).exit).toBe(5);
  });
});

test('the history shows acts, outcomes and refusals', async () => {
  const append = (error?: string): number =>
    office.server.log.append({
      v: 1,
      time: '2026-03-01T12:00:00.000Z',
      act: 'grant.sign',
      id: error === undefined ? 'act_1' : 'act_2',
      phase: error === undefined ? 'done' : 'denied',
      actor: 'mailer',
      subject: { owner: 'dana', key: KEY, grant: GRANT },
      detail: {},
      ...(error === undefined ? { digest: 'ab'.repeat(32) } : { error }),
    });
  append();
  append('grant-exhausted');
  serveHistory(office.server, 'dana', new Date());
  const { out } = await escrowctl(as('history'));
  expect(out).toMatch(/1 .*mailer +grant\.sign +denied: grant-exhausted +grant_3+/);
  expect(out).toMatch(/0 .*mailer +grant\.sign +done/);
});

test('the examples of how an identity is pinned work as they are printed', async () => {
  const { server } = office;
  writeFileSync(office.path('record.json'), JSON.stringify({ ...server.record, origin: undefined }));
  writeFileSync(office.path('ca.pem'), server.ca);
  const examples = identityCommands
    .flatMap((row) => row.examples)
    .filter((example) => example.includes('--record') && !example.includes('--card-module'));
  expect(examples).toHaveLength(2);
  const hereby: Readonly<Record<string, string>> = {
    '~/.escrowd': office.path('example'),
    'ca.pem': office.path('ca.pem'),
    'record.json': office.path('record.json'),
    'ceremony-record.json': office.path('record.json'),
    'https://escrow.example.com:8443': server.url,
  };
  for (const example of examples) {
    const words = example.replace(/\\\n/g, ' ').split(/\s+/);
    const args = words.map((word) => hereby[word] ?? word.replace('escrow.example.com/log', ORIGIN));
    const run = await escrowctl(args);
    expect({ example, exit: run.exit, error: run.err }).toEqual({ example, exit: 0, error: '' });
  }
});

test('an identity is made and pinned in one command, and shown', async () => {
  const { server } = office;
  writeFileSync(office.path('record.json'), JSON.stringify({ ...server.record, origin: undefined }));
  writeFileSync(office.path('ca.crt'), server.ca);
  const pins = [
    '--server',
    server.url,
    '--ca',
    office.path('ca.crt'),
    '--record',
    office.path('record.json'),
  ];
  const without = await escrowctl(['identity', 'new', office.path('olga'), '--id', 'olga', ...pins]);
  expect(without.exit).toBe(2);
  expect(existsSync(office.path('olga'))).toBe(false);
  const made = await escrowctl([
    'identity',
    'new',
    office.path('olga'),
    '--id',
    'olga',
    ...pins,
    '--origin',
    ORIGIN,
  ]);
  expect(made.exit).toBe(0);
  const shown = jsonOf(
    await escrowctl(['identity', 'show', '--json'], {
      variables: { ESCROWCTL_IDENTITY: office.path('olga') },
    }),
  );
  expect(shown).toMatchObject({
    id: 'olga',
    server: server.url,
    origin: ORIGIN,
    logKey: server.log.key.vkey,
  });
});
