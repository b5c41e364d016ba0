import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { frameOf } from '../../../src/agent/pkcs11/frames.js';
import { CKA, CKG, CKM, CKO } from '../../../src/agent/pkcs11/numbers.js';
import { chance } from '../../support/chance.js';
import { LIMITS_MS } from '../../support/limits.js';
import { callBody, GET_INFO, INITIALIZE, OPEN_SESSION, RpcClient } from './rpcClient.js';
import { EC_KEY, RSA_KEY, serve, type Served } from './served.js';

jest.setTimeout(LIMITS_MS.drawn);

/*
 * Whatever comes over a connection is answered, or closes that connection: the agent goes on, others are served meanwhile, and what
 * is kept of what was sent is little. `npm run mutated` sends 200,000.
 */

const FRAMES = Number(process.env['ESCROWD_TEST_MUTATED_FRAMES'] ?? '10000');
const AT_ONCE = 16;
const SESSION = 1;

/** A call of each form, as p11-kit's client makes them, in a session that is open. */
const CALLS: readonly Buffer[] = [
  INITIALIZE,
  callBody(2, '', () => undefined),
  GET_INFO,
  callBody(4, 'yfu', (to) => to.byte(1).uint32(4)),
  callBody(6, 'u', (to) => to.ulong(1)),
  callBody(7, 'ufu', (to) => to.ulong(1).uint32(64)),
  callBody(8, 'uu', (to) => to.ulong(1).ulong(CKM.ECDSA)),
  OPEN_SESSION,
  callBody(12, 'u', (to) => to.ulong(1)),
  callBody(13, 'u', (to) => to.ulong(SESSION)),
  callBody(18, 'uuay', (to) => to.ulong(SESSION).ulong(1).byteArray(Buffer.from('1234'))),
  callBody(24, 'uufA', (to) =>
    to
      .ulong(SESSION)
      .ulong(EC_KEY)
      .uint32(3)
      .uint32(CKA.ID)
      .uint32(64)
      .uint32(CKA.VALUE)
      .uint32(0)
      .uint32(CKA.SIGN)
      .uint32(1),
  ),
  callBody(26, 'uaA', (to) =>
    to
      .ulong(SESSION)
      .uint32(3)
      .uint32(CKA.CLASS)
      .byte(1)
      .uint32(8)
      .ulong(CKO.PRIVATE_KEY)
      .uint32(CKA.SIGN)
      .byte(1)
      .uint32(1)
      .byte(1)
      .uint32(CKA.LABEL)
      .byte(1)
      .uint32(2)
      .bytesOrNull(Buffer.from('ec')),
  ),
  callBody(27, 'ufu', (to) => to.ulong(SESSION).uint32(20)),
  callBody(42, 'uMu', (to) => to.ulong(SESSION).uint32(CKM.ECDSA).bytesOrNull(undefined).ulong(EC_KEY)),
  callBody(42, 'uMu', (to) =>
    to
      .ulong(SESSION)
      .uint32(CKM.RSA_PKCS_PSS)
      .ulong(CKM.SHA256)
      .ulong(CKG.MGF1_SHA256)
      .ulong(32)
      .ulong(RSA_KEY),
  ),
  callBody(43, 'uayfy', (to) => to.ulong(SESSION).byteArray(Buffer.alloc(32, 7)).uint32(256)),
  callBody(44, 'uay', (to) => to.ulong(SESSION).byteArray(Buffer.alloc(100, 7))),
  callBody(45, 'ufy', (to) => to.ulong(SESSION).uint32(256)),
  callBody(33, 'uMu', (to) =>
    to
      .ulong(SESSION)
      .uint32(CKM.RSA_PKCS_OAEP)
      .ulong(CKM.SHA_1)
      .ulong(CKG.MGF1_SHA1)
      .ulong(1)
      .bytesOrNull(undefined)
      .ulong(RSA_KEY),
  ),
  callBody(34, 'uayfy', (to) => to.ulong(SESSION).byteArray(Buffer.alloc(256, 7)).uint32(256)),
  callBody(35, 'uayfy', (to) => to.ulong(SESSION).byteArray(Buffer.alloc(256, 7)).uint32(256)),
  callBody(65, 'ufy', (to) => to.ulong(SESSION).uint32(32)),
];

const { below, bytes } = chance('frames of p11-kit that are changed');
const BORDERS = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff] as const;

type Mutation = (frame: Buffer) => Buffer;
/** Each changes the frame in one place. */
const MUTATIONS: readonly Mutation[] = [
  (frame) => {
    frame[below(frame.length)] = below(256);
    return frame;
  },
  (frame) => {
    const at = below(frame.length);
    frame[at] = (frame[at] ?? 0) ^ (1 << below(8));
    return frame;
  },
  (frame) => {
    frame.writeUInt32BE(BORDERS[below(BORDERS.length)] ?? 0, below(frame.length - 3));
    return frame;
  },
  (frame) => frame.subarray(0, below(frame.length)),
  (frame) => Buffer.concat([frame, bytes(1 + below(40))]),
  (frame) => {
    const at = below(frame.length);
    return Buffer.concat([frame.subarray(0, at), bytes(1 + below(8)), frame.subarray(at)]);
  },
  (frame) => {
    const from = below(frame.length);
    return Buffer.concat([
      frame.subarray(0, from),
      frame.subarray(Math.min(frame.length, from + 1 + below(16))),
    ]);
  },
  (frame) => bytes(frame.length),
];

/** A frame that is changed in one to three places; in half of them only what is in the frame, so that all of it is read. */
function mutated(): Buffer {
  const body = CALLS[below(CALLS.length)] ?? GET_INFO;
  const change = (of: Buffer): Buffer => {
    let changed: Buffer = Buffer.from(of);
    for (let left = 1 + below(3); left > 0 && changed.length > 3; left -= 1)
      changed = MUTATIONS[below(MUTATIONS.length)]?.(changed) ?? changed;
    return changed;
  };
  const tag = 16 + below(1000);
  return below(2) === 0 ? frameOf({ tag, body: change(body) }) : change(frameOf({ tag, body }));
}

let served: Served;
beforeAll(async () => {
  served = await serve();
});
afterAll(() => served.stop());

/** Connects, opens a session, sends the frames, ends; resolves when the agent has closed. */
async function send(frames: readonly Buffer[]): Promise<void> {
  const client = await RpcClient.connect(served.path);
  client.socket.resume();
  const opening = [INITIALIZE, OPEN_SESSION].map((body, at) => frameOf({ tag: 8 + at, body }));
  client.socket.end(Buffer.concat([...opening, ...frames]));
  await client.closed();
}

test('changed frames are answered or close their connection, and others are served meanwhile', async () => {
  const other = await RpcClient.connect(served.path);
  await other.results(INITIALIZE);
  const before = heldBytes();
  let sent = 0;
  const sender = async (): Promise<void> => {
    while (sent < FRAMES) {
      const frames = Array.from({ length: 5 }, mutated);
      sent += frames.length;
      await send(frames);
      const info = await other.results(GET_INFO);
      expect(info.byte()).toBe(2);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, sender));
  expect(heldBytes() - before).toBeLessThan(48 * 1024 * 1024);
  expect(served.told.filter(({ code }) => code === 'agent-failed')).toEqual([]);
  other.socket.destroy();
});

test('the frames are good before they are changed', async () => {
  for (const body of CALLS.slice(2)) {
    const client = await RpcClient.connect(served.path);
    await client.session();
    await expect(client.call(body)).resolves.toBeDefined();
    client.socket.destroy();
  }
});

test('a length beyond its bound closes the connection, and one that is not kept costs what has come', async () => {
  for (const [options, length] of [
    [1025, 0],
    [0, 8 * 1024 * 1024 + 1],
    [0xffff_ffff, 0xffff_ffff],
  ] as const) {
    const client = await RpcClient.connect(served.path);
    client.socket.write(header(16, options, length));
    await client.closed();
  }
  const before = heldBytes();
  const clients = await Promise.all(Array.from({ length: 100 }, () => RpcClient.connect(served.path)));
  for (const { socket } of clients) socket.write(Buffer.concat([header(16, 0, 8 * 1024 * 1024), bytes(100)]));
  const other = await RpcClient.connect(served.path);
  await other.results(INITIALIZE);
  expect(heldBytes() - before).toBeLessThan(100 * 1024 * 1024);
  for (const { socket } of [...clients, other]) socket.destroy();
});

function header(tag: number, optionBytes: number, bodyBytes: number): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32BE(tag, 0);
  head.writeUInt32BE(optionBytes, 4);
  head.writeUInt32BE(bodyBytes, 8);
  return head;
}

// a collection that is asked for leaves what is held, and not what was left behind
setFlagsFromString('--expose-gc');
const collect: unknown = runInNewContext('gc');

/** What the process holds, in bytes, after a collection. */
function heldBytes(): number {
  if (typeof collect !== 'function') throw new Error('there is no gc');
  Reflect.apply(collect, undefined, []);
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
