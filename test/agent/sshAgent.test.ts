import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Listener, listen, prepareDirectory } from '../../src/agent/listener.js';
import { sshPublicKey } from '../../src/agent/ssh/publicKeys.js';
import { sshAgent } from '../../src/agent/ssh/sshAgent.js';
import { SshReader, sshString, sshUint32 } from '../../src/agent/ssh/wire.js';
import type { OfferedKey, Told, Use } from '../../src/agent/use.js';
import { chance } from '../support/chance.js';
import { until } from '../support/waiting.js';

/* The SSH agent protocol over a real socket; what is signed is signed by a key of the test's own. */

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const offered: OfferedKey = {
  key: 'key_00000000000000000000000000000001',
  name: 'release',
  publicKey: pair.publicKey,
  certificate: undefined,
  request: undefined,
};
const blob = sshPublicKey(pair.publicKey) ?? Buffer.alloc(0);
const session = createHash('sha256').update('a session').digest();

let directory: string;
let listener: Listener;
const uses: Use[] = [];
const told: Told[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-agent-'));
  await prepareDirectory(directory);
  listener = await listen(
    join(directory, 'ssh'),
    sshAgent({
      keys: [offered],
      tell: (one) => told.push(one),
      uses: {
        sign: (use) => {
          uses.push(use);
          const key = { key: pair.privateKey, dsaEncoding: 'ieee-p1363' } as const;
          return Promise.resolve(sign('sha256', use.input.bytes, key));
        },
      },
    }),
  );
});

afterAll(async () => {
  await listener.close();
  rmSync(directory, { recursive: true });
});

beforeEach(() => {
  uses.length = 0;
  told.length = 0;
});

/** A program that has connected. */
class Program {
  readonly socket: Socket;
  #read = Buffer.alloc(0);
  isClosed = false;

  constructor(path = listener.path) {
    this.socket = connect(path);
    this.socket.on('data', (chunk: Buffer) => (this.#read = Buffer.concat([this.#read, chunk])));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.isClosed = true));
  }

  /** The answer to a message; undefined when the agent closes the connection instead. */
  async ask(...parts: readonly Buffer[]): Promise<Buffer | undefined> {
    const message = Buffer.concat(parts);
    return this.send(Buffer.concat([sshUint32(message.length), message]));
  }

  async send(bytes: Buffer): Promise<Buffer | undefined> {
    this.socket.write(bytes);
    const isWhole = (): boolean =>
      this.#read.length >= 4 && this.#read.length >= 4 + this.#read.readUInt32BE(0);
    await until(() => this.isClosed || isWhole());
    if (!isWhole()) return undefined;
    const end = 4 + this.#read.readUInt32BE(0);
    const answer = this.#read.subarray(4, end);
    this.#read = this.#read.subarray(end);
    return answer;
  }
}

async function withProgram<T>(use: (program: Program) => Promise<T>): Promise<T> {
  const program = new Program();
  try {
    return await use(program);
  } finally {
    program.socket.destroy();
  }
}

const byte = (value: number): Buffer => Buffer.from([value]);
const FAILURE = byte(5);
const signRequest = (data: Buffer, flags = 0, key = blob): Buffer =>
  Buffer.concat([byte(13), sshString(key), sshString(data), sshUint32(flags)]);
const file = Buffer.concat([
  Buffer.from('SSHSIG'),
  ...[sshString('file'), sshString(''), sshString('sha512'), sshString(Buffer.alloc(64, 1))],
]);

interface Login {
  readonly id?: Buffer;
  readonly key?: Buffer;
  readonly algorithm?: string;
  readonly hostKey?: Buffer;
}
function login({ id = session, key = blob, algorithm = 'ecdsa-sha2-nistp256', hostKey }: Login = {}): Buffer {
  const method = hostKey === undefined ? 'publickey' : 'publickey-hostbound-v00@openssh.com';
  return Buffer.concat([
    ...[sshString(id), byte(50), sshString('alice'), sshString('ssh-connection'), sshString(method), byte(1)],
    ...[sshString(algorithm), sshString(key), ...(hostKey === undefined ? [] : [sshString(hostKey)])],
  ]);
}

/** A host that has agreed on a session. */
class Host {
  readonly #key: KeyObject;
  readonly publicKey: Buffer;

  constructor(kind: 'ed25519' | 'ec' | 'rsa' = 'ed25519') {
    const made =
      kind === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : kind === 'ec'
          ? generateKeyPairSync('ec', { namedCurve: 'P-384' })
          : generateKeyPairSync('ed25519');
    this.#key = made.privateKey;
    this.publicKey = sshPublicKey(made.publicKey) ?? Buffer.alloc(0);
  }

  bind(id = session, isForwarded = false, by: (id: Buffer) => Buffer = (each) => this.#signed(each)): Buffer {
    return Buffer.concat([
      ...[byte(27), sshString('session-bind@openssh.com'), sshString(this.publicKey), sshString(id)],
      ...[sshString(by(id)), byte(isForwarded ? 1 : 0)],
    ]);
  }

  #signed(id: Buffer): Buffer {
    if (this.#key.asymmetricKeyType === 'ed25519')
      return Buffer.concat([sshString('ssh-ed25519'), sshString(sign(null, id, this.#key))]);
    if (this.#key.asymmetricKeyType === 'rsa')
      return Buffer.concat([sshString('rsa-sha2-512'), sshString(sign('sha512', id, this.#key))]);
    const jose = sign('sha384', id, { key: this.#key, dsaEncoding: 'ieee-p1363' });
    const number = (at: number): Buffer => sshString(Buffer.concat([byte(0), jose.subarray(at, at + 48)]));
    // a number begins with no zero byte that it does not need
    const least = (bytes: Buffer): Buffer => {
      const value = new SshReader(bytes).string();
      const first = value.findIndex((each, index) => each !== 0 || (value[index + 1] ?? 0) >= 0x80);
      return sshString(value.subarray(first));
    };
    const value = Buffer.concat([least(number(0)), least(number(48))]);
    return Buffer.concat([sshString('ecdsa-sha2-nistp384'), sshString(value)]);
  }
}

test('keys are listed, and what ssh-keygen -Y asks for is signed and named', async () => {
  await withProgram(async (program) => {
    const list = new SshReader((await program.ask(byte(11))) ?? Buffer.alloc(0));
    expect([list.byte(), list.uint32()]).toEqual([12, 1]);
    expect([list.string(), list.text()]).toEqual([blob, 'release']);
    const answer = new SshReader((await program.ask(signRequest(file))) ?? Buffer.alloc(0));
    expect(answer.byte()).toBe(14);
    const signature = new SshReader(answer.string());
    expect(signature.text()).toBe('ecdsa-sha2-nistp256');
    expect(uses[0]).toMatchObject({
      mechanism: 'ES256',
      what: 'a file or commit for "file" (sha512 0101010101010101...)',
    });
  });
});

const refused: readonly (readonly [string, Buffer])[] = [
  ['another key', signRequest(file, 0, sshPublicKey(generateKeyPairSync('ed25519').publicKey))],
  ['bytes that are nothing known', signRequest(Buffer.from('pay 100 to the bearer'))],
  ['nothing', signRequest(Buffer.alloc(0))],
  ['a file with bytes behind it', signRequest(Buffer.concat([file, byte(0)]))],
  [
    'a file for no namespace',
    signRequest(Buffer.concat([file.subarray(0, 6), sshString(''), file.subarray(14)])),
  ],
  ['a login with another key in it', signRequest(login({ key: sshString('ssh-rsa') }))],
  ['a login by another algorithm', signRequest(login({ algorithm: 'ssh-rsa' }))],
  ['a request with bytes behind it', Buffer.concat([signRequest(file), byte(0)])],
  ['a request cut short', signRequest(file).subarray(0, -1)],
  ['adding a key', byte(17)],
  ['removing all keys', byte(19)],
  ['locking', Buffer.concat([byte(22), sshString('secret')])],
  ['an unknown message', byte(255)],
  ['an unknown extension', Buffer.concat([byte(27), sshString('query')])],
];

test.each(refused)('%s: nothing is signed', async (_what, message) => {
  await withProgram(async (program) => {
    expect(await program.ask(message)).toEqual(FAILURE);
    expect(uses).toEqual([]);
    // and the connection serves on
    expect((await program.ask(byte(11)))?.[0]).toBe(12);
  });
});

test('an RSA key signs no SHA-1', async () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = { ...offered, publicKey: rsa.publicKey };
  const other = await listen(
    join(directory, 'rsa'),
    sshAgent({
      keys: [key],
      tell: (one) => told.push(one),
      uses: { sign: () => Promise.reject(new Error('used')) },
    }),
  );
  const program = new Program(other.path);
  expect(await program.ask(signRequest(file, 0, sshPublicKey(rsa.publicKey)))).toEqual(FAILURE);
  expect(told[0]?.sentence).toContain('SHA-1');
  program.socket.destroy();
  await other.close();
});

describe('a login', () => {
  test.each(['ed25519', 'ec', 'rsa'] as const)(
    'to a host that has signed the session (%s) is signed',
    async (kind) => {
      const host = new Host(kind);
      await withProgram(async (program) => {
        expect(await program.ask(host.bind())).toEqual(byte(6));
        expect((await program.ask(signRequest(login({ hostKey: host.publicKey }))))?.[0]).toBe(14);
        expect(uses[0]?.what).toMatch(/^a login as "alice" to the host SHA256:/);
      });
    },
  );

  test('without a session that is bound says that the host is not proven', async () => {
    await withProgram(async (program) => {
      expect((await program.ask(signRequest(login())))?.[0]).toBe(14);
      expect(uses[0]?.what).toBe('a login as "alice" to a host that the program has not proven');
    });
  });

  const other = createHash('sha256').update('another session').digest();
  const bound: readonly (readonly [string, (host: Host) => readonly (readonly [Buffer, number])[], Login])[] =
    [
      ['for another session', (host) => [[host.bind(), 6]], { id: other }],
      ['that names another host', (host) => [[host.bind(), 6]], { hostKey: new Host().publicKey }],
      ['over a connection that was forwarded', (host) => [[host.bind(session, true), 6]], {}],
      [
        'from a host to which it was forwarded',
        (host) => [
          [host.bind(other, true), 6],
          [new Host().bind(), 6],
        ],
        {},
      ],
    ];
  test.each(bound)('%s is refused', async (_what, binds, what) => {
    const host = new Host();
    await withProgram(async (program) => {
      for (const [message, answer] of binds(host)) expect(await program.ask(message)).toEqual(byte(answer));
      expect(await program.ask(signRequest(login(what)))).toEqual(FAILURE);
      expect(uses).toEqual([]);
      expect(told).toMatchObject([{ event: 'refused' }]);
    });
  });

  const unproven: readonly (readonly [string, (host: Host) => Buffer])[] = [
    [
      'signed by another host',
      (host) => host.bind(session, false, () => new Host().bind().subarray(-83 - 1, -1)),
    ],
    ['with a signature of nothing', (host) => host.bind(session, false, () => sshString(''))],
    ['with another session than was signed', (host) => swapped(host.bind(), session, other)],
    ['of no session', (host) => host.bind(Buffer.alloc(0))],
  ];
  test.each(unproven)('is not bound by an extension %s', async (_what, bind) => {
    await withProgram(async (program) => {
      expect([28, 5]).toContain((await program.ask(bind(new Host())))?.[0]);
      // nothing is bound: it is as if nothing had been said
      await program.ask(signRequest(login()));
      expect(uses[0]?.what).toContain('not proven');
    });
  });

  test('nothing is bound after a session that is for logging in', async () => {
    await withProgram(async (program) => {
      expect(await program.ask(new Host().bind())).toEqual(byte(6));
      expect(await program.ask(new Host().bind(other))).toEqual(byte(28));
      expect((await program.ask(signRequest(login())))?.[0]).toBe(14);
      expect(await program.ask(signRequest(login({ id: other })))).toEqual(FAILURE);
    });
  });
});

test('certificates are signed as the authority that they name, and said', async () => {
  const subject = generateKeyPairSync('ed25519');
  const inner = new SshReader(sshPublicKey(subject.publicKey) ?? Buffer.alloc(0));
  expect(inner.text()).toBe('ssh-ed25519');
  const point = inner.string();
  const certificate = (authority: Buffer): Buffer =>
    Buffer.concat([
      ...[sshString('ssh-ed25519-cert-v01@openssh.com'), sshString(Buffer.alloc(32)), sshString(point)],
      ...[Buffer.alloc(7), byte(9), sshUint32(1), sshString('alice@example.com')],
      ...[sshString(sshString('alice')), Buffer.alloc(16), sshString(''), sshString(''), sshString('')],
      sshString(authority),
    ]);
  await withProgram(async (program) => {
    const whole = certificate(blob);
    expect((await program.ask(signRequest(whole)))?.[0]).toBe(14);
    expect(uses[0]?.what).toBe('an SSH certificate of a user, serial 9, id "alice@example.com", for "alice"');
  });
  await withProgram(async (program) => {
    for (const other of [
      certificate(sshPublicKey(subject.publicKey) ?? blob),
      Buffer.concat([certificate(blob), byte(0)]),
    ])
      expect(await program.ask(signRequest(other))).toEqual(FAILURE);
  });
});

test('frames that are too long, or of no length, close their connection and no other', async () => {
  await withProgram(async (steady) => {
    for (const length of [0, 256 * 1024 + 1, 0xffffffff]) {
      await withProgram(async (program) => {
        expect(await program.send(sshUint32(length))).toBeUndefined();
      });
    }
    expect((await steady.ask(byte(11)))?.[0]).toBe(12);
  });
});

test('10,000 mutated messages: the agent lives, others are served, and nothing that was changed is signed unnamed', async () => {
  const drawn = chance('mutated messages');
  const host = new Host();
  const good = [byte(11), signRequest(file), signRequest(login()), host.bind()];
  let program = new Program();
  for (let round = 0; round < 10_000; round += 1) {
    const message = Buffer.from(good[drawn.below(good.length)] ?? byte(11));
    for (let change = 1 + drawn.below(3); change > 0; change -= 1)
      message[drawn.below(message.length)] = drawn.below(256);
    const cut = drawn.below(10) === 0 ? message.subarray(0, drawn.below(message.length)) : message;
    const frame = Buffer.concat([sshUint32(cut.length), cut]);
    if (drawn.below(100) === 0) drawn.bytes(2).copy(frame, drawn.below(3));
    program.socket.write(frame);
    if (round % 500 === 499) {
      program.socket.destroy();
      program = new Program();
      await withProgram(async (other) => {
        expect((await other.ask(byte(11)))?.[0]).toBe(12);
      });
    }
  }
  program.socket.destroy();
  for (const { what } of uses)
    expect(what).toMatch(/^(a file or commit for|a login as|an SSH certificate of)/);
});

/** The same bytes with one part in the place of another of its length. */
function swapped(bytes: Buffer, from: Buffer, to: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  to.copy(copy, copy.indexOf(from));
  return copy;
}
