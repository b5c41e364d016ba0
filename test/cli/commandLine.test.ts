import { readFileSync, writeFileSync } from 'node:fs';

import { EXIT_CODES } from '../../src/cli/exitCodes.js';
import { COMMANDS, GROUPS } from '../../src/cli/commands.js';
import { problem } from '../client/fakeServer.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';

let office: Office;
beforeAll(async () => {
  office = await openOffice();
});
afterAll(() => office.close());
beforeEach(() => {
  office.server.received.length = 0;
});

const KEY = `key_${'1'.repeat(32)}`;
const as = (...argv: string[]): string[] => [...argv, '--as', office.dana];

describe('a command line that is wrong exits with 2, says why in one sentence, and sends nothing:', () => {
  test.each<[string, string[], RegExp]>([
    ['no such command', ['frobnicate'], /unknown command 'frobnicate'/],
    ['no such command in a group', ['key', 'frobnicate'], /unknown command|too many arguments|Usage/],
    ['no such option', ['status', '--frobnicate'], /unknown option/],
    ['an argument is missing', ['key', 'show'], /missing required argument/],
    ['an argument too many', ['key', 'show', KEY, 'more'], /too many arguments/],
    ['an option is missing', ['key', 'generate'], /--spec/],
    ['no such kind of key', ['key', 'generate', '--spec', 'dsa'], /Allowed choices/],
    ['a use is missing', ['key', 'generate', '--spec', 'rsa-2048'], /--use is missing/],
    ['no app', ['recovery', 'request', KEY, '--reason', 'x', '--mechanism', 'ES256'], /--app is missing/],
    ['no mechanism', ['recovery', 'request', KEY, '--reason', 'x', '--app', 'a'], /--mechanism is missing/],
    ['no such mechanism', ['sign', 'f', '--grant', 'g', '--mechanism', 'none'], /Allowed choices/],
    [
      'a duration that is none',
      ['recovery', 'request', KEY, '--reason', 'x', '--app', 'a', '--mechanism', 'ES256', '--for', 'soon'],
      /--for soon is not a duration/,
    ],
    [
      'a count that is none',
      ['recovery', 'request', KEY, '--reason', 'x', '--app', 'a', '--mechanism', 'ES256', '--uses', '0'],
      /--uses 0 is not a number/,
    ],
    [
      'an operation that no mechanism does',
      [
        'recovery',
        'request',
        KEY,
        '--reason',
        'x',
        '--app',
        'a',
        '--mechanism',
        'ES256',
        '--operation',
        'decrypt',
      ],
      /--operation decrypt needs/,
    ],
    [
      'a file that is not there',
      ['sign', '/none/such', '--grant', 'g', '--mechanism', 'ES256'],
      /no such file/,
    ],
    ['a release with nowhere to go', ['recovery', 'release', 'rec_1'], /--out is missing/],
    ['a timeout that is none', ['status', '--timeout', 'never'], /--timeout/],
    ['no topic of help', ['help', 'frobnicate'], /no command frobnicate/],
  ])('%s', async (_name, argv, message) => {
    const ran = await escrowctl(as(...argv));
    expect(ran.exit).toBe(2);
    expect(ran.err).toMatch(message);
    expect(office.server.received).toHaveLength(0);
  });

  test('nobody says who they are', async () => {
    const ran = await escrowctl(['key', 'list']);
    expect(ran).toMatchObject({ exit: 2, out: '' });
    expect(ran.err).toBe(
      'error: who are you?\nnext: add --as DIR, or set ESCROWCTL_IDENTITY to your identity directory\n',
    );
  });

  test('an identity that is not there', async () => {
    const ran = await escrowctl(['key', 'list', '--as', office.path('nobody')]);
    expect(ran.exit).toBe(2);
    expect(ran.err).toContain('identity new');
  });
});

describe('the exit code tells what happened:', () => {
  test.each<[string, number, number]>([
    ['forbidden', 403, 3],
    ['quorum-incomplete', 409, 3],
    ['delay-running', 409, 3],
    ['grant-exhausted', 403, 3],
    ['token-unavailable', 503, 6],
    ['log-unavailable', 503, 6],
    ['store-unavailable', 503, 6],
    ['busy', 503, 6],
    ['internal', 500, 1],
  ])('%s (%i) is %i', async (code, status, exit) => {
    office.server.routes.set('GET /v1/keys', () => problem(status, code));
    const ran = await escrowctl(as('key', 'list'));
    expect(ran.exit).toBe(exit);
    expect(ran.err).toContain(code);
  });

  test('what is not JSON, or not what the interface describes, is 4', async () => {
    for (const answer of [
      { text: '<html>' },
      { json: { items: [{ key: 7 }] } },
      { status: 502, text: 'Bad Gateway' },
    ]) {
      office.server.routes.set('GET /v1/keys', () => answer);
      expect((await escrowctl(as('key', 'list'))).exit).toBe(4);
    }
  });

  test('a server that takes too long is 4, after the time given', async () => {
    office.server.routes.set('GET /v1/keys', () => new Promise(() => undefined));
    const ran = await escrowctl(as('key', 'list', '--timeout', '1s'));
    expect(ran.exit).toBe(4);
    expect(ran.err).toContain('did not answer within 1 s');
  });

  test('a server that another CA vouches for is 4, and hears nothing', async () => {
    const other = await openOffice();
    try {
      const identity = JSON.parse(readFileSync(`${other.dana}/identity.json`, 'utf8')) as object;
      const moved = { ...identity, server: office.server.url };
      const { selfSigned } = await import('../support/certificate.js');
      writeFileSync(`${other.dana}/ca.pem`, selfSigned().cert);
      writeFileSync(`${other.dana}/identity.json`, JSON.stringify(moved));
      const ran = await escrowctl(['key', 'list', '--as', other.dana]);
      expect(ran.exit).toBe(4);
      expect(ran.err).toContain('is not the server that the pinned CA vouches for');
      expect(office.server.received).toHaveLength(0);
    } finally {
      await other.close();
    }
  });

  test('a server that is not there is 4', async () => {
    const gone = await openOffice();
    await gone.server.stop();
    expect((await escrowctl(['key', 'list', '--as', gone.dana])).exit).toBe(4);
    await gone.close().catch(() => undefined);
  });

  test('with --json an error is one JSON value on stderr', async () => {
    office.server.routes.set('GET /v1/keys', () => problem(403, 'forbidden'));
    const ran = await escrowctl(as('key', 'list', '--json'));
    expect(JSON.parse(ran.err)).toEqual({
      error: {
        exit: 3,
        code: 'forbidden',
        detail: 'refused (forbidden): because forbidden',
        next: expect.any(String) as string,
      },
    });
    expect(ran.out).toBe('');
  });
});

describe('help', () => {
  const lines = [
    ...GROUPS.flatMap(({ name, commands }) =>
      commands.map(({ usage }) => [name, usage.split(' ', 1)[0] ?? '']),
    ),
    ...COMMANDS.map(({ usage }) => [usage.split(' ', 1)[0] ?? '']),
  ];
  test.each(lines.map((line) => [line.join(' '), line] as const))(
    '%s has examples and exits with 0',
    async (_name, line) => {
      const ran = await escrowctl([...line, '--help']);
      expect(ran.exit).toBe(0);
      expect(ran.out).toContain('Examples:\n  $ escrowctl ');
      expect((await escrowctl(['help', ...line])).out).toBe(ran.out);
    },
  );

  test('exit-codes tells every code once', async () => {
    const { out, exit } = await escrowctl(['help', 'exit-codes']);
    expect(exit).toBe(0);
    for (const { code, meaning } of Object.values(EXIT_CODES)) expect(out).toContain(`  ${code}  ${meaning}`);
    expect(Object.values(EXIT_CODES).map(({ code }) => code)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
  });

  test('a group without a command shows its commands and exits with 2', async () => {
    const ran = await escrowctl(['recovery']);
    expect(ran.exit).toBe(2);
    expect(ran.err).toContain('approve');
  });
});

test('lists are read over as many pages as it takes, and no further', async () => {
  const grant = (id: number): object => ({
    grant: `grant_${String(id).padStart(32, '0')}`,
    recovery: 'rec_1',
    key: KEY,
    owner: 'olga',
    spec: 'ec-p256',
    scope: {
      app: 'mailer',
      operations: ['sign'],
      mechanisms: ['ES256'],
      input: 'message',
      maxUses: 3,
      duration: 'PT1H',
    },
    used: 1,
    startsAt: '2026-03-01T12:00:00.000Z',
    expiresAt: '2026-03-01T13:00:00.000Z',
    status: 'active',
  });
  office.server.routes.set('GET /v1/grants', ({ target }) => {
    const after = Number(new URL(target, 'https://x').searchParams.get('after') ?? '0');
    return {
      json: { items: [grant(after), grant(after + 1)], ...(after < 8 ? { next: String(after + 2) } : {}) },
    };
  });
  const five = jsonOf(await escrowctl(as('grant', 'list', '--limit', '5', '--json')));
  expect(five['items']).toHaveLength(5);
  expect(five['hasMore']).toBe(true);
  const all = jsonOf(await escrowctl(as('grant', 'list', '--json')));
  expect(all['items']).toHaveLength(10);
  expect(all['hasMore']).toBe(false);
});

test('durations are sent as ISO 8601, and the scope as it was typed', async () => {
  office.server.routes.set('POST /v1/recoveries', () => problem(403, 'forbidden'));
  const scope = [
    '--app',
    'mailer',
    '--operation',
    'sign',
    '--mechanism',
    'ES256',
    '--uses',
    '3',
    '--for',
    '90m',
  ];
  await escrowctl(
    as('recovery', 'request', KEY, '--purpose', 'operate', ...scope, '--valid-for', '7d', '--reason', 'ill'),
  );
  expect(JSON.parse(office.server.posted[0]?.body.toString() ?? '')).toEqual({
    keys: [KEY],
    purpose: 'operate',
    reason: 'ill',
    validFor: 'P7D',
    scope: {
      app: 'mailer',
      operations: ['sign'],
      mechanisms: ['ES256'],
      input: 'message',
      maxUses: 3,
      duration: 'PT1H30M',
    },
  });
});
