import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { RunningWitness } from '../../src/witness/server.js';
import { serveWitness } from '../../src/witness/server.js';
import type { KeptCosignature, WitnessedLog } from '../../src/escrow/ports/log.ts';
import { keyIdHex } from '../../src/log/note/noteKey.js';
import { Cosigning } from '../../src/cosigning/cosigning.js';
import type { WitnessAt } from '../../src/cosigning/submission.js';
import { submissionTo } from '../../src/cosigning/submission.js';
import { startWitnessing } from '../../src/cosigning/witnessing.js';
import { testWitness } from '../log/witnessKeys.js';
import { selfSigned } from '../support/certificate.js';
import { letPass, until } from '../support/waiting.js';
import { chance } from '../support/chance.js';

/*
 * The daemon's side of C2SP tlog-witness before witnesses that lie: nothing of what they say is kept, the operator is told
 * why, and nobody waits for them.
 */
const NOW = new Date('2026-03-01T12:00:00Z');
const SECONDS = NOW.getTime() / 1000;
const HOUR = 3_600;
/** How long a witness that answers may take, and how long one is waited for that never will. */
const [TIMEOUT_MS, SHORT_MS] = [60_000, 200];
const noteOf = (size: number): string => {
  const line = Buffer.concat([Buffer.alloc(4, 1), Buffer.alloc(64, 2)]).toString('base64');
  return `escrow.test/log\n${size}\n${Buffer.alloc(32, size).toString('base64')}\n\n— escrow.test/log ${line}\n`;
};

const NOTE = noteOf(8);
const witness = testWitness('w.example');
const good = (): string => witness.line(NOTE, SECONDS);

/** A log of 8 entries, and what is kept of its witnesses. */
function memoryLog(): WitnessedLog & { readonly kept: KeptCosignature[] } {
  const kept: KeptCosignature[] = [];
  return {
    kept,
    newest: () => Promise.resolve({ size: 8, note: NOTE }),
    cosignedBy: () => Promise.resolve({ size: kept.at(-1)?.size ?? 0, at: kept.at(-1)?.at ?? 0 }),
    consistency: () => Promise.resolve([]),
    keep: (cosignature) => {
      kept.push(cosignature);
      return Promise.resolve();
    },
  };
}

/** Shows the log to this witness until something is told to the operator, and a little longer; what was told and kept. */
async function shownTo(
  at: Omit<WitnessAt, 'key'>,
  timeoutMs = TIMEOUT_MS,
): Promise<{
  readonly told: readonly string[];
  readonly kept: readonly KeptCosignature[];
  readonly silent: readonly string[];
}> {
  const log = memoryLog();
  const told: string[] = [];
  const witnessing = startWitnessing({
    witnesses: [{ key: witness.key, ...at }],
    log,
    now: () => NOW,
    timeoutMs,
    intervalMs: 5,
    tell: { info: (line) => told.push(line), warn: (line) => told.push(line) },
  });
  try {
    await until(() => told.length > 0 || log.kept.length > 0);
    // it is asked again, and the operator is not told the same again
    await letPass(50);
    return { told, kept: [...log.kept], silent: witnessing.silent };
  } finally {
    await witnessing.stop();
  }
}

let server: Server;
let url: string;
/** What the witness answers. */
let answer: (response: ServerResponse) => void;
/** Paths that it was asked for. */
let asked: string[];

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    request.resume();
    request.on('end', () => {
      answer(response);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  asked = [];
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

const says = (body: string | Buffer) => (): void => {
  answer = (response) => response.writeHead(200).end(body);
};

const impostor = testWitness('w.example');
/** A line of the witness's own name and key id, in which `change` has been at the signature. */
const spoiled = (change: (bytes: Buffer) => void): string => {
  const [dash, name, base64 = ''] = good().trimEnd().split(' ');
  const bytes = Buffer.from(base64, 'base64');
  change(bytes);
  return `${dash ?? ''} ${name ?? ''} ${bytes.toString('base64')}\n`;
};

const LIES: readonly (readonly [string, () => void, RegExp])[] = [
  [
    'signs with another key of the same name',
    says(impostor.line(NOTE, SECONDS)),
    /no cosignature by w\.example/,
  ],
  [
    'signs with another key and says the id of its own',
    says(
      spoiled((bytes) =>
        Buffer.from(impostor.line(NOTE, SECONDS).split(' ')[2] ?? '', 'base64').copy(bytes, 4, 4),
      ),
    ),
    /does not hold/,
  ],
  ['cosigns another checkpoint', says(witness.line(noteOf(9), SECONDS)), /does not hold/],
  [
    'changes one bit of its cosignature',
    says(spoiled((bytes) => (bytes[20] = (bytes[20] ?? 0) ^ 1))),
    /does not hold/,
  ],
  [
    'says another time than it signed',
    says(spoiled((bytes) => bytes.writeBigUInt64BE(BigInt(SECONDS + 1), 4))),
    /does not hold/,
  ],
  [
    'cosigned it long ago',
    says(witness.line(NOTE, SECONDS - 2 * HOUR)),
    /is 2 hours or more from now: an old one/,
  ],
  ['cosigns it in the future', says(witness.line(NOTE, SECONDS + 30 * HOUR)), /is 30 hours or more from now/],
  ['answers with nothing', says(''), /is not its cosignature/],
  ['answers with noise', says(chance('noise').bytes(1_000)), /is not its cosignature/],
  ['answers with the whole note instead of its line', says(NOTE + good()), /is not its cosignature/],
  ['answers with more than anybody has to say', says(good().repeat(1_000)), /too long for a witness/],
  [
    'never stops answering',
    () => {
      answer = (response) => {
        response.writeHead(200);
        const more = setInterval(() => response.write('— '), 10);
        response.on('close', () => {
          clearInterval(more);
        });
      };
    },
    /no answer within 200 ms/,
  ],
  ['never answers', () => (answer = (): void => undefined), /no answer within 200 ms/],
  [
    'breaks off in the middle',
    () => {
      answer = (response) => {
        response.writeHead(200, { 'content-length': 1_000 }).write(good(), () => response.destroy());
      };
    },
    /does not cosign/,
  ],
  [
    'sends the daemon elsewhere',
    () => (answer = (response) => response.writeHead(307, { location: `${url}/elsewhere` }).end(good())),
    /answers what no witness answers \(307/,
  ],
  [
    'says yes with another status',
    () => (answer = (response) => response.writeHead(201).end(good())),
    /\(201/,
  ],
  [
    'claims a size that the log does not have',
    () => (answer = (response) => response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end('9\n')),
    /has cosigned 9 entries, and the log here ends at 8/,
  ],
];

test.each(LIES)(
  'of a witness that %s nothing is kept, and the operator is told once',
  async (_, lie, why) => {
    lie();
    const never = why.source.startsWith('no answer');
    const { told, kept, silent } = await shownTo({ url }, never ? SHORT_MS : TIMEOUT_MS);
    expect(told).toEqual([expect.stringMatching(/^the witness w\.example does not cosign: /)]);
    expect(told[0]).toMatch(why);
    expect(kept).toEqual([]);
    expect(silent).toEqual(['w.example']);
    expect(new Set(asked)).toEqual(new Set(['/add-checkpoint']));
  },
);

test('one that lied and then tells the truth is believed again, and by it alone what was not kept is kept', async () => {
  const honest = [false, false, true];
  answer = (response) => response.writeHead(200).end((honest.shift() ?? true) ? good() : 'no\n');
  const log = memoryLog();
  const told: string[] = [];
  const witnessing = startWitnessing({
    witnesses: [{ key: witness.key, url }],
    log,
    now: () => NOW,
    timeoutMs: TIMEOUT_MS,
    intervalMs: 5,
    tell: { info: (line) => told.push(line), warn: (line) => told.push(line) },
  });
  await until(() => told.length >= 2);
  await witnessing.stop();
  expect(told.at(-1)).toBe('the witness w.example cosigns again');
  expect(log.kept).toEqual([
    { size: 8, name: 'w.example', keyId: keyIdHex(witness.key.keyId), line: good(), at: SECONDS },
  ]);
});

describe('over TLS', () => {
  const certificate = selfSigned();
  let honest: RunningWitness;
  beforeAll(async () => {
    honest = await serveWitness(
      {
        tls: certificate,
        witness: {
          addCheckpoint: () =>
            Promise.resolve({
              status: 200,
              mediaType: 'text/plain',
              body: good(),
              told: { origin: undefined, outcome: 'cosigned' },
            }),
        },
        onAnswer: () => undefined,
        onFault: () => undefined,
      },
      { host: '127.0.0.1', port: 0 },
    );
  });
  afterAll(() => honest.stop());

  test('a witness whose authority is configured is believed', async () => {
    const { kept, told } = await shownTo({ url: `https://127.0.0.1:${honest.port}`, ca: certificate.cert });
    expect(kept).toHaveLength(1);
    expect(told).toEqual([]);
  });

  test.each([
    ['no authority is configured', undefined],
    ['another is', selfSigned().cert],
  ])('one of which %s is not even asked', async (_, ca) => {
    const at = { url: `https://127.0.0.1:${honest.port}`, ...(ca === undefined ? {} : { ca }) };
    const { kept, told } = await shownTo(at);
    expect(told).toEqual([expect.stringMatching(/does not cosign: .*(self-signed|certificate)/)]);
    expect(kept).toEqual([]);
  });
});

test('a log that does not grow is cosigned anew, before what was said of it is an hour old', async () => {
  says(good())();
  const kept = { size: 8, name: 'w.example', keyId: keyIdHex(witness.key.keyId), line: good() };
  for (const [ageSeconds, times] of [
    [1199, 0],
    [1200, 1],
  ] as const) {
    asked = [];
    const log = memoryLog();
    log.kept.push({ ...kept, at: SECONDS - ageSeconds });
    const submission = submissionTo({ key: witness.key, url }, TIMEOUT_MS);
    const forgot = (): void => undefined;
    await new Cosigning({ witness: witness.key, log, submission, now: () => NOW, forgot }).bringUpToDate();
    submission.close();
    expect({ ageSeconds, asked: asked.length }).toEqual({ ageSeconds, asked: times });
    expect(log.kept.at(-1)?.at).toBe(times === 0 ? SECONDS - ageSeconds : SECONDS);
  }
});

test('a witness that has forgotten what it cosigned is asked again, and the operator is told, once', async () => {
  const log = memoryLog();
  const keyId = keyIdHex(witness.key.keyId);
  log.kept.push({ size: 7, name: 'w.example', keyId, line: good(), at: SECONDS });
  const forgotten: string[] = [];
  const submission = submissionTo({ key: witness.key, url }, TIMEOUT_MS);
  const forgot = (said: number, kept: number): number => forgotten.push(`${said} of ${kept}`);
  const cosigning = new Cosigning({ witness: witness.key, log, submission, now: () => NOW, forgot });
  const size = (said: number) => (response: ServerResponse) =>
    response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end(`${said}\n`);
  // it says so each time, and does not cosign
  answer = size(0);
  await expect(cosigning.bringUpToDate()).rejects.toThrow('a fork');
  await expect(cosigning.bringUpToDate()).rejects.toThrow('a fork');
  expect(forgotten).toEqual(['0 of 7']);
  // one that says it once cosigns again
  answer = (response) => {
    size(3)(response);
    says(good())();
  };
  await cosigning.bringUpToDate();
  submission.close();
  expect(forgotten).toEqual(['0 of 7', '3 of 7']);
  expect(log.kept.at(-1)).toMatchObject({ size: 8 });
});

test('one that has cosigned more than is kept has forgotten nothing', async () => {
  const log = memoryLog();
  const forgotten: number[] = [];
  const submission = submissionTo({ key: witness.key, url }, TIMEOUT_MS);
  const forgot = (said: number): number => forgotten.push(said);
  answer = (response) => {
    response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end('5\n');
    says(good())();
  };
  await new Cosigning({ witness: witness.key, log, submission, now: () => NOW, forgot }).bringUpToDate();
  submission.close();
  expect(forgotten).toEqual([]);
});
