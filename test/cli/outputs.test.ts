import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { honestScene, KEY, OTHER_KEY, RECOVERY } from '../client/scene.js';
import { reserveOutputs } from '../../src/system/outputFile.js';
import { escrowctl, type Ran, type World } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.commands);

const GRANT = `grant_${'3'.repeat(32)}`;
const SIGNATURE = Buffer.alloc(64, 7);
let office: Office;
let uses = 0;
beforeAll(async () => {
  office = await openOffice();
  office.server.routes.set(`POST /v1/grants/${GRANT}/sign`, () => {
    uses += 1;
    return { json: { result: { signatures: [SIGNATURE.toString('base64url')], remaining: 2 }, entry: 12 } };
  });
});
afterAll(() => office.close());
beforeEach(() => {
  uses = 0;
  writeFileSync(office.path('letter.txt'), 'Pay 100 to the bearer.\n');
});

const sign = (out: string | undefined, more: readonly string[] = [], world: World = {}): Promise<Ran> =>
  escrowctl(
    [
      ...['sign', office.path('letter.txt'), '--as', office.dana, '--grant', GRANT, '--mechanism', 'ES256'],
      ...(out === undefined ? [] : ['--out', out]),
      ...more,
    ],
    world,
  );
const drafts = (): readonly string[] => readdirSync(office.root).filter((name) => name.endsWith('.new'));

describe('no use is spent', () => {
  test.each<[why: string, out: (path: Office['path']) => string, RegExp]>([
    ['into a directory that is not there', (path) => path('nodir/l.sig'), /nodir: there is no such file/],
    ['over the letter that is signed', (path) => path('letter.txt'), /does not write over it/],
    ['over it by another name', (path) => path('same.txt'), /does not write over it/],
    ['over the own key', () => join(office.dana, 'signing-key.pem'), /does not write over it/],
    ['over what is there', (path) => path('there'), /it exists already.*\n.*--force/],
    ['over what a link leads to', (path) => path('link'), /it exists already/],
    ['onto a directory', (path) => path('dana'), /it is a directory/],
    ['onto links that lead nowhere', (path) => path('loop'), /lead nowhere/],
    ['to a name that is empty', () => '', /empty/],
  ])('%s', async (_why, out, said) => {
    for (const name of ['there', 'real']) writeFileSync(office.path(name), 'old');
    const links = { link: 'real', 'same.txt': 'letter.txt', loop: 'loop' };
    for (const [name, to] of Object.entries(links))
      if (!readdirSync(office.root).includes(name)) symlinkSync(office.path(to), office.path(name));
    const force = said.source.includes('does not write over') ? ['--force'] : [];
    const ran = await sign(
      out((name) => office.path(name)),
      force,
    );
    expect({ exit: ran.exit, uses }).toEqual({ exit: 2, uses: 0 });
    expect(ran.err).toMatch(said);
    expect(readFileSync(office.path('there'), 'utf8')).toBe('old');
    expect(readFileSync(office.path('letter.txt'), 'utf8')).toContain('Pay 100');
    expect(drafts()).toEqual([]);
  });

  test('of a message that is longer than a use takes, and --digest signs it', async () => {
    writeFileSync(office.path('letter.txt'), Buffer.alloc(300_000));
    const ran = await sign(undefined);
    expect({ exit: ran.exit, uses }).toEqual({ exit: 2, uses: 0 });
    expect(ran.err).toMatch(/has 300000 bytes: one use takes 262144 at most\nnext: sign --digest/);
    expect((await sign(undefined, ['--digest'])).exit).toBe(0);
  });
});

describe('a signature is written', () => {
  test('over what is there with --force, and a link stays one', async () => {
    writeFileSync(office.path('real-2'), 'old');
    symlinkSync(office.path('real-2'), office.path('link-2'));
    expect((await sign(office.path('link-2'), ['--force'])).exit).toBe(0);
    expect(lstatSync(office.path('link-2')).isSymbolicLink()).toBe(true);
    expect(readFileSync(office.path('real-2'))).toEqual(SIGNATURE);
    expect(drafts()).toEqual([]);
  });

  test('where a link leads to that leads to nothing yet', async () => {
    symlinkSync(office.path('later'), office.path('link-3'));
    expect((await sign(office.path('link-3'))).exit).toBe(0);
    expect(readFileSync(office.path('later'))).toEqual(SIGNATURE);
  });

  test('into a pipe, which stays one', async () => {
    const pipe = office.path('pipe');
    execFileSync('mkfifo', [pipe]);
    const [ran, read] = await Promise.all([sign(pipe), readFile(pipe)]);
    expect(ran.exit).toBe(0);
    expect(read).toEqual(SIGNATURE);
    expect(lstatSync(pipe).isFIFO()).toBe(true);
  });

  test('to standard output as bytes with -', async () => {
    expect((await sign('-')).bytes).toEqual(SIGNATURE);
  });

  test.each<[why: string, out: string | undefined, World]>([
    ['a device that is full', '/dev/full', {}],
    ['a full standard output', undefined, { flush: () => Promise.reject(fault('ENOSPC')) }],
    ['a closed standard output', undefined, { flush: () => Promise.reject(fault('EPIPE')) }],
  ])('beside the keys, where %s does not take it, and exit 9 says so', async (_why, out, world) => {
    const ran = await sign(out, [], world);
    expect({ exit: ran.exit, uses }).toEqual({ exit: 9, uses: 1 });
    const [, kept = ''] = /the signature is kept in (\S+)/.exec(ran.err) ?? [];
    expect(readFileSync(kept)).toEqual(SIGNATURE);
    expect(statSync(kept).mode & 0o777).toBe(0o600);
  });
});

describe('what a command says, and nobody takes', () => {
  const list = (code: string): Promise<Ran> =>
    escrowctl(['key', 'list', '--as', office.dana], { flush: () => Promise.reject(fault(code)) });
  beforeAll(() => {
    office.server.routes.set('GET /v1/keys', () => ({ json: { items: [] } }));
  });

  test('is no fault where the reader has gone', async () => {
    expect(await list('EPIPE')).toMatchObject({ exit: 0, err: '' });
  });

  test('is one, with its reason, where the disk is full', async () => {
    expect(await list('ENOSPC')).toMatchObject({
      exit: 9,
      err: expect.stringContaining('the disk is full') as string,
    });
  });
});

describe('keys that are released together', () => {
  const { recovery } = honestScene([KEY, OTHER_KEY]);
  let released = 0;
  beforeEach(() => {
    released = 0;
    const shown = { ...recovery, purpose: 'release', recipient: 'dana', status: 'approved' };
    const [first, second] = shown.keys;
    const keys = [first, { ...second, publicKeyPem: undefined, spec: 'aes-256', use: 'decrypt' }];
    office.server.routes.set(`GET /v1/recoveries/${RECOVERY}`, () => ({ json: { ...shown, keys } }));
    office.server.routes.set(`POST /v1/recoveries/${RECOVERY}/release`, () => {
      released += 1;
      const none = { transferKey: 'AAAA', wrappedKey: 'AAAA', oaep: 'RSA-OAEP' };
      return { json: { result: { keys: [KEY, OTHER_KEY].map((key) => ({ key, ...none })) }, entry: 20 } };
    });
  });
  const release = (out: string, ...more: string[]): Promise<Ran> =>
    escrowctl(['recovery', 'release', RECOVERY, '--as', office.dana, '--out', office.path(out), ...more]);

  test('are not asked for in a form that one of them does not have', async () => {
    const ran = await release('kk', '--format', 'pem');
    expect({ exit: ran.exit, released }).toEqual({ exit: 2, released: 0 });
    expect(existsSync(office.path('kk'))).toBe(false);
  });

  test('are not asked for where their directory is there, and stand nowhere when one does not open', async () => {
    mkdirSync(office.path('taken'));
    expect((await release('taken')).exit).toBe(2);
    expect(released).toBe(0);
    expect((await release('kk')).exit).toBe(5);
    expect({ released, isThere: existsSync(office.path('kk')) }).toEqual({ released: 1, isThere: false });
  });
});

describe('a set of files', () => {
  test('appears whole or not at all, and what one of them replaces comes back', async () => {
    const [old, taken] = [office.path('set-1'), office.path('set-2')];
    writeFileSync(old, 'old');
    const order = { mode: 0o600, roomBytes: 10 };
    const orders = [old, taken].map((path) => ({ path, ...order }));
    const outputs = await reserveOutputs(orders, { replaces: true, inputs: [] });
    mkdirSync(taken);
    await expect(outputs.write(['new', 'new'])).rejects.toThrow();
    expect(readFileSync(old, 'utf8')).toBe('old');
    expect(readdirSync(taken)).toEqual([]);
    expect(drafts()).toEqual([]);
  });

  test('is not written over what came there meanwhile', async () => {
    const path = office.path('meanwhile');
    const outputs = await reserveOutputs([{ path, mode: 0o600, roomBytes: 10 }], {
      replaces: false,
      inputs: [],
    });
    writeFileSync(path, 'mine');
    await expect(outputs.write(['new'])).rejects.toThrow(/exists/);
    expect(readFileSync(path, 'utf8')).toBe('mine');
  });
});

function fault(code: string): Error {
  return Object.assign(new Error(code), { code });
}
