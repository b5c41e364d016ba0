import { spawn } from 'node:child_process';
import { X509Certificate, createPublicKey } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { execFileSync } from 'node:child_process';

import { readPolicyFile } from '../../src/client/policy/policyFile.js';
import { checkPolicyDocument } from '../../src/client/policy/policyDocument.js';
import { readConfig } from '../../src/daemon/config.js';
import { refuseExposedFiles } from '../../src/daemon/exposedFiles.js';
import { EXIT_CODES } from '../../src/daemon/exitCodes.js';
import { readAdministrators } from '../../src/daemon/readFiles.js';
import { readTlsPair } from '../../src/daemon/start/tlsPair.js';
import { selfSigned } from '../support/certificate.js';
import { LIMITS_MS } from '../support/limits.js';
import { until } from '../support/waiting.js';
import { handIn, init, type InitRun } from './people.js';

jest.setTimeout(LIMITS_MS.programs);

let top: string;
let people: readonly string[];
let made = 0;

beforeAll(() => {
  top = mkdtempSync(join(tmpdir(), 'escrowd-init-'));
  const file = (option: string, id: string, isDepositary = false): string[] => [
    `--${option}`,
    handIn(top, id, isDepositary),
  ];
  people = [
    ...file('administrator', 'ann'),
    ...file('administrator', 'bob'),
    ...file('depositary', 'dora', true),
    ...file('depositary', 'dirk', true),
    ...file('owner', 'olga'),
    ...file('app', 'mailer'),
    ...file('auditor', 'ada'),
  ];
});
afterAll(() => {
  rmSync(top, { recursive: true });
});

const fresh = (): string => join(top, `made-${String((made += 1))}`, 'escrowd');
const usual = (): readonly string[] => ['--origin', 'escrow.test/log', '--softhsm', ...people];

/** Everything below a directory, with its permissions. */
function listed(directory: string): Readonly<Record<string, string>> {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    names.map((name) => [name, (statSync(join(directory, name)).mode & 0o777).toString(8)]),
  );
}

async function expectRefusal(args: readonly string[], sentence: RegExp): Promise<InitRun> {
  const run = await init(args);
  expect({ code: run.code, error: run.error }).toEqual({
    code: EXIT_CODES.usage.code,
    error: expect.stringMatching(sentence) as string,
  });
  expect(run.out).toBe('');
  return run;
}

describe('an installation that is made', () => {
  let directory: string;
  let run: InitRun;

  beforeAll(async () => {
    directory = fresh();
    const before = process.umask(0o022);
    run = await init([directory, ...usual()]);
    process.umask(before);
  });

  it('has each file, and what is secret for its owner alone', () => {
    expect(run).toMatchObject({ code: 0, error: '' });
    expect(listed(directory)).toEqual({
      'administrators.json': '644',
      ceremony: '700',
      'escrow.yaml': '644',
      'escrowd.service': '644',
      'escrowd.yaml': '644',
      pins: '700',
      postgres: '700',
      public: '755',
      ...Object.fromEntries(
        ['ada', 'ann', 'bob', 'dirk', 'dora', 'mailer', 'olga'].map((id) => [`public/${id}.json`, '644']),
      ),
      tls: '700',
      'tls/ca.crt': '644',
      'tls/ca.key': '600',
      'tls/server.crt': '644',
      'tls/server.key': '600',
      token: '700',
      'token/softhsm2.conf': '644',
      'token/tokens': '700',
    });
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  it('belongs to the user whom the daemon runs as, where root has made it', () => {
    const owners = new Set(Object.keys(listed(directory)).map((name) => statSync(join(directory, name)).uid));
    const expected =
      process.getuid?.() === 0
        ? Number(execFileSync('id', ['-u', 'escrowd'], { encoding: 'utf8' }))
        : process.getuid?.();
    expect([...owners]).toEqual([expected]);
  });

  it('is what the daemon reads, and finds closed to others', () => {
    const file = join(directory, 'escrowd.yaml');
    const config = readConfig(file, { CREDENTIALS_DIRECTORY: '/run/credentials/escrowd.service' });
    refuseExposedFiles(config, file, { user: statSync(directory).uid });
    expect(config).toMatchObject({
      origin: 'escrow.test/log',
      listen: { host: '127.0.0.1', port: 8443 },
      management: { host: '127.0.0.1', port: 8444 },
      token: {
        pinFile: '/run/credentials/escrowd.service/user-pin',
        record: join(directory, 'ceremony', 'record.json'),
        environment: { SOFTHSM2_CONF: join(directory, 'token', 'softhsm2.conf') },
      },
    });
    expect([...readAdministrators(config.administrators).principals.keys()]).toEqual(['ann', 'bob']);
    expect(readFileSync(config.token.environment['SOFTHSM2_CONF'] ?? '', 'utf8')).toContain(
      `directories.tokendir = ${join(directory, 'token', 'tokens')}\n`,
    );
  });

  it('has a certificate by its CA, for the names of the server, that openssl believes', () => {
    const at = (name: string): string => join(directory, 'tls', name);
    const { cert, key } = readTlsPair(
      readConfig(join(directory, 'escrowd.yaml'), { CREDENTIALS_DIRECTORY: '/' }),
    );
    const shown = new X509Certificate(cert);
    expect(shown.subjectAltName).toBe('IP Address:127.0.0.1, DNS:localhost');
    expect(shown.publicKey.equals(createPublicKey(key))).toBe(true);
    const checks = ['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_ip', '127.0.0.1'];
    expect(
      execFileSync('openssl', [...checks, '-CAfile', at('ca.crt'), at('server.crt')], { encoding: 'utf8' }),
    ).toBe(`${at('server.crt')}: OK\n`);
  });

  it('has a policy that can be signed, with everybody in it', async () => {
    const policy = checkPolicyDocument(await readPolicyFile(join(directory, 'escrow.yaml')));
    expect([...policy.principals.values()].map(({ id, kind, roles }) => [id, kind, ...roles])).toEqual([
      ['ada', 'person', 'auditor'],
      ['ann', 'person', 'admin'],
      ['bob', 'person', 'admin'],
      ['dirk', 'person', 'depositary'],
      ['dora', 'person', 'depositary'],
      ['mailer', 'app', 'app'],
      ['olga', 'person', 'owner'],
    ]);
    expect(policy.rules.map(({ name }) => name)).toEqual(['signing', 'decryption']);
  });

  it('is told with what comes next, in 80 columns', () => {
    const next = run.out.slice(run.out.indexOf('Next, in this order:'));
    const long = next.split('\n').filter((line) => line.length > 80 && /\S\s+\S/.test(line.trim()));
    // a path that is as long as this one stands on a line by itself
    expect(long.filter((line) => !line.includes(top) && !line.includes(process.cwd()))).toEqual([]);
    for (const command of [
      'ceremony init',
      'ceremony challenge dora',
      'ceremony enrol dora',
      'identity pin',
      'systemctl enable',
    ])
      expect(next).toContain(command);
  });

  it('is never made over: nothing of it changes', async () => {
    const before = listed(directory);
    const key = readFileSync(join(directory, 'tls', 'server.key'));
    await expectRefusal(
      [directory, ...usual()],
      /has .*pins.* already, and nothing is made over what is there/,
    );
    expect(listed(directory)).toEqual(before);
    expect(readFileSync(join(directory, 'tls', 'server.key'))).toEqual(key);
  });
});

test.each(['administrators.json', 'tls', 'escrowd.yaml', 'pins'])(
  'where only %s is there, it stays and nothing else is made',
  async (name) => {
    const directory = fresh();
    mkdirSync(directory, { recursive: true });
    if (name.includes('.')) writeFileSync(join(directory, name), 'mine');
    else mkdirSync(join(directory, name));
    writeFileSync(join(directory, 'notes.txt'), 'mine');
    await expectRefusal([directory, ...usual()], new RegExp(`has ${name} already`));
    expect(readdirSync(directory).sort()).toEqual([name, 'notes.txt'].sort());
  },
);

test('beside what is not its own it is made', async () => {
  const directory = fresh();
  mkdirSync(join(directory, 'people'), { recursive: true });
  expect(await init([directory, ...usual()])).toMatchObject({ code: 0 });
  expect(readdirSync(directory)).toContain('people');
});

describe('a program that fails or is ended on the way', () => {
  /** An openssl that does this. */
  function withOpenssl(script: string): NodeJS.ProcessEnv {
    const bin = mkdtempSync(join(top, 'bin-'));
    writeFileSync(join(bin, 'openssl'), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, 'openssl'), 0o755);
    return { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` };
  }
  const started = (directory: string, env: NodeJS.ProcessEnv) =>
    spawn(process.execPath, ['dist/main.js', 'init', directory, ...usual()], { env, stdio: 'ignore' });

  it('leaves nothing, not even the directories above', async () => {
    const directory = fresh();
    const child = started(directory, withOpenssl('echo no >&2; exit 1'));
    expect((await once(child, 'exit')) as unknown[]).toEqual([EXIT_CODES.usage.code, null]);
    expect(readdirSync(top)).not.toContain(`made-${String(made)}`);
  });

  it('when a signal comes while it works', async () => {
    const directory = fresh();
    const flag = join(top, 'reached');
    const child = started(
      directory,
      withOpenssl(
        `touch '${flag}'; while [ -e '${flag}' ]; do sleep 0.05; done\nPATH='${process.env['PATH'] ?? ''}' exec openssl "$@"`,
      ),
    );
    const exit = once(child, 'exit');
    await until(() => statSync(flag, { throwIfNoEntry: false }) !== undefined);
    child.kill('SIGTERM');
    rmSync(flag);
    // the second call of openssl
    await until(() => {
      rmSync(flag, { force: true });
      return child.exitCode !== null;
    });
    expect((await exit) as unknown[]).toEqual([EXIT_CODES.usage.code, null]);
    expect(readdirSync(top)).not.toContain(`made-${String(made)}`);
  });
});

describe('a certificate of another kind', () => {
  it('is asked for: a key and a request with the names, and no CA', async () => {
    const directory = fresh();
    const names = ['--listen', '[::]:8443', '--name', 'escrow.example.com', '--name', '192.0.2.7'];
    const run = await init([directory, ...usual(), ...names, '--tls', 'request']);
    expect(run).toMatchObject({ code: 0 });
    expect(Object.keys(listed(join(directory, 'tls')))).toEqual(['server.csr', 'server.key']);
    const request = execFileSync(
      'openssl',
      ['req', '-in', join(directory, 'tls', 'server.csr'), '-noout', '-text', '-verify'],
      { encoding: 'utf8', stdio: 'pipe' },
    );
    expect(request).toContain('DNS:escrow.example.com, IP Address:192.0.2.7');
    expect(run.out).toContain('server.csr');
  });

  it('is there already, and stays where it is', async () => {
    const { cert, key } = selfSigned();
    const [certFile, keyFile] = [join(top, 'own.crt'), join(top, 'own.key')];
    writeFileSync(certFile, cert);
    writeFileSync(keyFile, key, { mode: 0o600 });
    const directory = fresh();
    const own = ['--tls-cert', certFile, '--tls-key', keyFile];
    expect(await init([directory, ...usual(), ...own])).toMatchObject({ code: 0 });
    expect(readdirSync(directory)).not.toContain('tls');
    const { tls } = readConfig(join(directory, 'escrowd.yaml'), { CREDENTIALS_DIRECTORY: '/' });
    expect(tls).toEqual({ certificate: certFile, key: keyFile });

    writeFileSync(keyFile, selfSigned().key);
    await expectRefusal(
      [fresh(), ...usual(), ...own],
      /--tls-key: .*own\.crt: the certificate .* is not that of the key in .*own\.key/,
    );
    chmodSync(keyFile, 0o644);
    writeFileSync(keyFile, key);
    await expectRefusal([fresh(), ...usual(), ...own], /own\.key can be read by everybody/);
  });
});

test('for a server of PostgreSQL it makes roles, passwords for both sides, and no cluster', async () => {
  const directory = fresh();
  const url = 'postgresql://db.example.com:5433/escrow?sslmode=verify-full&sslrootcert=/etc/ssl/db.crt';
  expect(await init([directory, ...usual(), '--database', url])).toMatchObject({ code: 0 });
  expect(readdirSync(directory)).not.toContain('postgres');
  expect(listed(join(directory, 'database'))).toEqual({
    'daemon.env': '600',
    'owner.env': '600',
    pgpass: '600',
    'roles.sql': '600',
  });
  const read = (name: string): string => readFileSync(join(directory, 'database', name), 'utf8');
  expect(read('daemon.env')).toBe(
    `DATABASE_URL="${url.replace('//', '//escrowd_daemon@')}"\nPGPASSFILE="${directory}/database/pgpass"\n`,
  );
  const passwords = read('pgpass')
    .trimEnd()
    .split('\n')
    .map((line) => line.split(':')[4] ?? '');
  expect(new Set(passwords).size).toBe(2);
  for (const password of passwords) {
    expect(password).toHaveLength(43);
    expect(read('roles.sql') + read('daemon.env') + read('owner.env')).not.toContain(password);
  }
});

test('a quickstart has the PIN in a file, and neither unit nor policy', async () => {
  const directory = fresh();
  const run = await init([directory, ...usual(), '--no-systemd', '--no-policy', '--user', 'root', '--json']);
  expect(run).toMatchObject({ code: 0, error: '' });
  expect(readConfig(join(directory, 'escrowd.yaml'), {}).token.pinFile).toBe(
    join(directory, 'pins', 'user.pin'),
  );
  expect(readdirSync(directory)).not.toContain('escrowd.service');
  expect(readdirSync(directory)).not.toContain('escrow.yaml');
  const told = JSON.parse(run.out) as { readonly made: readonly { readonly path: string }[] };
  for (const { path } of told.made) statSync(join(directory, path));
});

test('what no option says is asked for', async () => {
  const directory = fresh();
  const answers: Readonly<Record<string, string | readonly string[]>> = {
    'Name of the service': 'escrow.test/log',
    'Listen where': '0.0.0.0:9443',
    'Name or address': ['escrow.example.com'],
    'public.json of one administrator': [join(top, 'ann.json'), join(top, 'bob.json')],
    'Token profile': 'softhsm-2.6',
  };
  const asked: string[] = [];
  const answer = (question: string): string | readonly string[] | undefined => {
    asked.push(question);
    return Object.entries(answers).find(([beginning]) => question.startsWith(beginning))?.[1];
  };
  const run = await init([directory], () => ({
    ask: (question, ordinary) => Promise.resolve((answer(question) as string | undefined) ?? ordinary ?? ''),
    askMany: (question) => Promise.resolve((answer(question) as readonly string[] | undefined) ?? []),
    close: () => undefined,
  }));
  expect(run).toMatchObject({ code: 0, error: '' });
  expect(asked).toHaveLength(11);
  expect(readConfig(join(directory, 'escrowd.yaml'), { CREDENTIALS_DIRECTORY: '/' })).toMatchObject({
    origin: 'escrow.test/log',
    listen: { host: '0.0.0.0', port: 9443 },
  });
});

describe('is refused, with what to do, before anything is made', () => {
  const without = (option: string): readonly string[] => {
    const args = [...usual()];
    for (let at = args.indexOf(option); at >= 0; at = args.indexOf(option)) args.splice(at, 2);
    return args;
  };
  const verified = 'sslmode=verify-full';
  test.each<[string, () => readonly string[], RegExp]>([
    ['no origin', () => without('--origin'), /--origin is needed/],
    ['an origin with blanks', () => [...without('--origin'), '--origin', 'a b'], /--origin: "a b" is none/],
    ['no token', () => usual().filter((each) => each !== '--softhsm'), /--softhsm or --profile is needed/],
    [
      'an unknown profile',
      () => [...usual(), '--profile', 'softhsm-9'],
      /there is no token profile .*softhsm-9\.yaml/,
    ],
    ['no module', () => [...usual(), '--module', '/nowhere.so'], /there is no PKCS#11 module \/nowhere\.so/],
    [
      'one administrator',
      () => [...without('--administrator'), '--administrator', join(top, 'ann.json')],
      /two different people/,
    ],
    [
      'an administrator twice',
      () => [
        ...without('--administrator'),
        ...['', ''].flatMap(() => ['--administrator', join(top, 'ann.json')]),
      ],
      /two different people/,
    ],
    [
      'a file that is none',
      () => [...usual(), '--owner', join(top, 'nobody.json')],
      /nobody\.json cannot be read/,
    ],
    [
      'a depositary without a key',
      () => [...usual(), '--depositary', join(top, 'olga.json')],
      /olga has no key that shares go to/,
    ],
    [
      'an app that is a person',
      () => [...usual(), '--owner', join(top, 'mailer.json')],
      /mailer is named as an app/,
    ],
    ['a port that is none', () => [...usual(), '--listen', '127.0.0.1:0'], /--listen wants HOST:PORT/],
    ['everywhere, by no name', () => [...usual(), '--listen', '0.0.0.0:8443'], /--name is needed/],
    ['a name in capitals', () => [...usual(), '--name', 'Escrow'], /"Escrow" is no name/],
    ['half a certificate', () => [...usual(), '--tls-cert', 'x'], /belong together/],
    [
      'a password on the command line',
      () => [...usual(), '--database', `postgresql://me:secret@db/escrow?${verified}`],
      /without user and password/,
    ],
    [
      'a database that anybody may be',
      () => [...usual(), '--database', 'postgresql://db/escrow?sslmode=require'],
      /whoever answers as db would be believed/,
    ],
    [
      'no database',
      () => [...usual(), '--database', 'postgresql:///escrow'],
      /neither a host nor the directory of a socket/,
    ],
    [
      'a user who is not',
      () => [...usual(), '--user', 'nobody-of-that-name'],
      process.getuid?.() === 0 ? /there is no user nobody-of-that-name/ : /./,
    ],
  ])('%s', async (_name, args, sentence) => {
    const directory = fresh();
    if (process.getuid?.() !== 0 && _name === 'a user who is not') return;
    await expectRefusal([directory, ...args()], sentence);
    expect(readdirSync(top)).not.toContain(`made-${String(made)}`);
  });

  it('two people with one key', async () => {
    const twin = join(top, 'twin.json');
    const ann = JSON.parse(readFileSync(join(top, 'ann.json'), 'utf8')) as object;
    writeFileSync(twin, JSON.stringify({ ...ann, id: 'twin' }));
    await expectRefusal(
      [fresh(), ...usual(), '--owner', twin],
      /no policy can be made of these people: .*stands twice/,
    );
  });

  it('a directory that others can write to', async () => {
    const open = mkdtempSync(join(top, 'open-'));
    chmodSync(open, 0o777);
    await expectRefusal(
      [join(open, 'escrowd'), ...usual()],
      /can be written by others than its owner.*chmod go-w/,
    );
    expect(readdirSync(open)).toEqual([]);
  });

  it('a directory whose cluster would have too long a path', async () => {
    await expectRefusal([join(fresh(), 'x'.repeat(90)), ...usual()], /longer than the name of a socket/);
  });
});
