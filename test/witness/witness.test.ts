import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readKeyFile } from '../../src/witness/key.js';
import { openState } from '../../src/witness/state.js';
import { knownLogs, Witness } from '../../src/witness/witness.js';
import { formatAddCheckpoint } from '../../src/log/note/addCheckpoint.js';
import { cosignaturesOn, parseWitnessKey } from '../../src/log/note/cosignature.js';
import { consistencyProof } from '../../src/log/tree/prover.js';
import { escrowctl, jsonOf, type Ran } from '../cli/commandLine.js';
import { signCheckpoint, testKey } from '../log/noteKeys.js';
import { leafReader, referenceRoot, sampleLeaves } from '../log/sampleTree.js';
import { runTs } from '../support/runTs.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.programs);

const origin = 'escrow.example.com/log';
const logKey = testKey(origin, 'ECDSA-P256');
const leaves = sampleLeaves(40);
const forked = sampleLeaves(40).reverse();
let directory: string;
let vkey: string;
const path = (name: string): string => join(directory, name);

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'witness-'));
  vkey = String(jsonOf(await init())['vkey']);
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

function init(name = 'w.example', key = 'key', state = 'state'): Promise<Ran> {
  return escrowctl(['witness', 'init', '--key', path(key), '--state', path(state), '--name', name, '--json']);
}

function noteOf(size: number, of = leaves): string {
  return signCheckpoint(logKey, { origin, size, root: referenceRoot(of.slice(0, size)) });
}

async function bodyOf(old: number, size: number, of = leaves): Promise<string> {
  const proof = await consistencyProof(leafReader(of), old, size);
  return formatAddCheckpoint({ oldSize: old, proof, note: noteOf(size, of) });
}

interface Answered {
  readonly status: number;
  readonly mediaType: string | undefined;
  readonly body: string;
}

function post(port: number, body: string, target = '/add-checkpoint', method = 'POST'): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path: target, method, agent: false }, (incoming) => {
      let text = '';
      incoming.on('data', (chunk: Buffer) => (text += chunk.toString()));
      incoming.on('end', () => {
        resolve({
          status: incoming.statusCode ?? 0,
          mediaType: incoming.headers['content-type'],
          body: text,
        });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Runs `escrowctl witness serve` for as long as `use` takes. */
async function serving<T>(use: (port: number) => Promise<T>): Promise<T> {
  let stop: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => (stop = resolve));
  let said: (port: number) => void = () => undefined;
  const listening = new Promise<number>((resolve) => (said = resolve));
  const ran = escrowctl(serve(), {
    stopped,
    onOutput: (text) => {
      const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(text);
      if (found !== null) said(Number(found[1]));
    },
  });
  try {
    const port = await Promise.race([
      listening,
      ran.then(({ err }): never => {
        throw new Error(`it ended: ${err}`);
      }),
    ]);
    return await use(port);
  } finally {
    stop();
    await ran;
  }
}

function serve(...more: string[]): string[] {
  const where = ['--key', path('key'), '--state', path('state'), '--listen', '127.0.0.1:0'];
  return ['witness', 'serve', ...where, '--log', logKey.vkey, ...more];
}

function holds(answer: Answered, size: number, of = leaves): boolean {
  const note = noteOf(size, of) + answer.body;
  return answer.status === 200 && cosignaturesOn(note, [parseWitnessKey(vkey)]).length === 1;
}

describe('making a witness', () => {
  test('gives a key that nobody else can read, and a vkey of type 0x04', () => {
    expect(statSync(path('key')).mode & 0o777).toBe(0o600);
    expect(parseWitnessKey(vkey).name).toBe('w.example');
  });

  test('never overwrites a key or a state, and leaves no half of one', async () => {
    const [key, state] = [readFileSync(path('key')), readFileSync(path('state/state.json'))];
    expect((await init()).exit).toBe(2);
    expect((await init('w.example', 'key', 'other')).exit).toBe(2);
    expect((await init('w.example', 'other-key')).exit).toBe(2);
    expect([readFileSync(path('key')), readFileSync(path('state/state.json'))]).toEqual([key, state]);
    expect(() => statSync(path('other-key'))).toThrow('ENOENT');
  });

  test('a name that no note can hold is refused', async () => {
    expect((await init('a name', 'k2', 's2')).exit).toBe(2);
  });
});

describe('a witness over HTTP', () => {
  test('cosigns a log from nothing on, also after it was started again, and says where it stands', async () => {
    await serving(async (port) => {
      expect(holds(await post(port, await bodyOf(0, 7)), 7)).toBe(true);
    });
    await serving(async (port) => {
      expect(await post(port, await bodyOf(0, 33))).toEqual({
        status: 409,
        mediaType: 'text/x.tlog.size',
        body: '7\n',
      });
      expect(holds(await post(port, await bodyOf(7, 33)), 33)).toBe(true);
      expect(holds(await post(port, await bodyOf(33, 33)), 33)).toBe(true);
    });
  });

  test('refuses a fork, what is not signed, what it does not know, and what it does not understand', async () => {
    await serving(async (port) => {
      await post(port, await bodyOf(0, 7));
      expect(await post(port, await bodyOf(7, 33, forked))).toMatchObject({ status: 422 });
      expect(await post(port, await bodyOf(7, 7, forked))).toMatchObject({ status: 422 });
      const another = signCheckpoint(testKey(origin), { origin, size: 9, root: Buffer.alloc(32) });
      const body = formatAddCheckpoint({ oldSize: 7, proof: [], note: another });
      expect(await post(port, body)).toMatchObject({ status: 403 });
      const unknown = testKey('other.example');
      const note = signCheckpoint(unknown, { origin: 'other.example', size: 9, root: Buffer.alloc(32) });
      expect(await post(port, formatAddCheckpoint({ oldSize: 0, proof: [], note }))).toMatchObject({
        status: 404,
      });
      expect(await post(port, 'hello')).toMatchObject({ status: 400 });
      expect(await post(port, '', '/')).toMatchObject({ status: 404 });
      expect(await post(port, '', '/add-checkpoint', 'GET')).toMatchObject({ status: 405 });
      expect(await post(port, 'x'.repeat(200_000))).toMatchObject({ status: 413 });
      expect(holds(await post(port, await bodyOf(7, 33)), 33)).toBe(true);
    });
  });

  test('of many that would extend one size at once, and not alike, one is cosigned', async () => {
    await serving(async (port) => {
      await post(port, await bodyOf(0, 7));
      const bodies = await Promise.all(
        Array.from({ length: 20 }, (_, at) =>
          bodyOf(7, 8 + at, at % 2 === 0 ? leaves : leaves.with(7, Buffer.alloc(32, at))),
        ),
      );
      const statuses = (await Promise.all(bodies.map((body) => post(port, body)))).map(
        ({ status }) => status,
      );
      expect(statuses.filter((status) => status === 200)).toHaveLength(1);
      expect(statuses.filter((status) => status === 409)).toHaveLength(19);
    });
  });

  test('a caller that sends half a request and goes costs nothing', async () => {
    await serving(async (port) => {
      await new Promise<void>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => {
          socket.write('POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nold', () => {
            socket.destroy();
            resolve();
          });
        });
      });
      expect(holds(await post(port, await bodyOf(0, 7)), 7)).toBe(true);
    });
  });
});

describe('the state of a witness', () => {
  test('serves one process at a time', async () => {
    await serving(async () => {
      const ran = await escrowctl(serve('--json'));
      expect(ran.exit).toBe(2);
      expect(JSON.parse(ran.err)).toMatchObject({ error: { code: 'witness-in-use' } });
    });
    expect((await escrowctl(serve())).exit).toBe(0);
  });

  test.each([
    [
      'is gone',
      (file: string) => {
        rmSync(file);
      },
    ],
    [
      'is empty',
      (file: string) => {
        writeFileSync(file, '');
      },
    ],
    [
      'is cut short',
      (file: string) => {
        writeFileSync(file, readFileSync(file).subarray(0, -5));
      },
    ],
    [
      'is of another witness',
      (file: string) => {
        writeFileSync(file, readFileSync(file, 'utf8').replace('w.example', 'v.example'));
      },
    ],
  ])('is not taken for an empty one when it %s, also while the witness runs', async (_what, spoil) => {
    await serving(async (port) => {
      expect((await post(port, await bodyOf(0, 7))).status).toBe(200);
      spoil(path('state/state.json'));
      expect((await post(port, await bodyOf(0, 7, forked))).status).toBe(500);
    });
    const ran = await escrowctl(serve('--json'));
    expect(ran.exit).toBe(2);
    expect(JSON.parse(ran.err)).toMatchObject({ error: { code: 'witness-state' } });
  });

  test('is durable before the cosignature is made: killed between, it cannot be brought to sign a fork', async () => {
    const body = Buffer.from(await bodyOf(0, 7)).toString('base64');
    const child = runTs(join(__dirname, 'killedWitness.ts'), {
      args: [path('state'), vkey, logKey.vkey, body],
    });
    const signal = await new Promise((resolve) =>
      child.once('exit', (_code, by) => {
        resolve(by);
      }),
    );
    expect(signal).toBe('SIGKILL');
    await serving(async (port) => {
      // nobody has a cosignature of the 7; and yet nothing else than what continues them is cosigned from now on
      expect(await post(port, await bodyOf(0, 7, forked))).toMatchObject({ status: 409, body: '7\n' });
      expect(await post(port, await bodyOf(7, 7, forked))).toMatchObject({ status: 422 });
      expect(await post(port, await bodyOf(7, 9, forked))).toMatchObject({ status: 422 });
      expect(holds(await post(port, await bodyOf(7, 7)), 7)).toBe(true);
    });
  });

  test('when it cannot be written, nothing is cosigned', async () => {
    const cosigner = await readKeyFile(path('key'));
    const state = await openState(path('state'), vkey);
    let signed = 0;
    const witness = new Witness({
      cosigner: {
        cosign: (...given) => {
          signed += 1;
          return cosigner.cosign(...given);
        },
      },
      state: { latest: (of) => state.latest(of), remember: () => Promise.reject(new Error('disk full')) },
      logs: knownLogs([logKey.vkey]),
      now: () => new Date(),
    });
    await expect(witness.addCheckpoint(await bodyOf(0, 7))).rejects.toThrow('disk full');
    expect(signed).toBe(0);
    expect(await state.latest(origin)).toBeUndefined();
  });
});

describe('a witness that is not told right', () => {
  test.each([
    ['a log key that is none', ['--log', 'x']],
    ['a log key twice', ['--log', logKey.vkey]],
    ['half of TLS', ['--tls-cert', 'x']],
    ['a place that is none', ['--listen', 'everywhere']],
  ])('%s is refused', async (_what, more) => {
    expect((await escrowctl(serve(...more))).exit).toBe(2);
  });

  test('a key that others can read is refused', async () => {
    writeFileSync(path('open'), readFileSync(path('key')), { mode: 0o644 });
    expect((await escrowctl(serve('--key', path('open')))).exit).toBe(2);
  });
});
