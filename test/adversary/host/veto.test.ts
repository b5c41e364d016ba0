import { NotVetoed, ServerProblem, ServerUnreachable } from '../../../src/client/errors.js';
import { LogView } from '../../../src/client/logView.js';
import { vetoProven } from '../../../src/client/veto.js';
import type { Acted, WireProof, WireRecovery } from '../../../src/escrow/wire.js';
import type { Entry } from '../../../src/log/entry.js';
import { FakeLog, FakeServer, ORIGIN } from '../../client/fakeServer.js';
import { TestMemory } from '../../client/memory.js';
import { honestScene, KEY, RECOVERY } from '../../client/scene.js';
import { escrowctl } from '../../cli/commandLine.js';
import { openOffice } from '../../cli/office.js';
import { testWitness } from '../../log/witnessKeys.js';

/* A host that would rather not have a request vetoed, and tells its owner that it was. */

const VETO: Entry = {
  v: 1,
  time: '2026-03-01T12:00:00.000Z',
  act: 'recovery.veto',
  id: 'act_veto',
  phase: 'done',
  actor: 'olga',
  subject: { keys: [KEY], owner: 'olga', recovery: RECOVERY },
  detail: { status: 'vetoed' },
  digest: 'ab'.repeat(32),
};

let server: FakeServer;
beforeEach(() => {
  server = new FakeServer();
  server.log.fill(3);
});

function logView(witnesses = false): LogView {
  const witness = testWitness('w1.example');
  return new LogView({
    origin: ORIGIN,
    logKey: server.log.key.vkey,
    memory: new TestMemory(),
    consistency: async (oldSize, newSize) =>
      (await server.log.consistency(oldSize, newSize)).map((hash) => Buffer.from(hash, 'base64')),
    ...(witnesses ? { witnesses: { keys: [witness.key], require: 1 } } : {}),
    witnessed: () => Promise.resolve(undefined),
    patience: { totalMs: 0, retryMs: 1 },
  });
}

/** The proof of an entry that stands in this log. */
async function proofOf(entry: Entry, log: FakeLog = server.log): Promise<WireProof> {
  const index = log.append(entry);
  log.fill(2);
  const proof = await log.inclusion(index);
  return { index, entry: log.entries[index] ?? '', proof, checkpoint: log.checkpoint() };
}

function answer(vetoed: WireProof | undefined, entry = vetoed?.index ?? 3): Acted<WireRecovery> {
  const proven = vetoed === undefined ? {} : { vetoed };
  return { result: { ...honestScene().recovery, status: 'vetoed', ...proven }, entry };
}

/** What the owner's client says of this answer. */
async function said(answered: Promise<Acted<WireRecovery>>, log = logView()): Promise<string> {
  try {
    const client = { caller: 'olga', veto: () => answered };
    return (await vetoProven(client, log, RECOVERY, 'I am here')).result.status;
  } catch (error) {
    if (error instanceof NotVetoed) return 'not vetoed';
    throw error;
  }
}

test('a veto that is in the log is one', async () => {
  expect(await said(Promise.resolve(answer(await proofOf(VETO))))).toBe('vetoed');
});

const changed = (change: Partial<Entry>) => (): Promise<WireProof> => proofOf({ ...VETO, ...change });
test.each<[string, () => Promise<WireProof | undefined>]>([
  ['nothing', () => Promise.resolve(undefined)],
  ['an attempt', changed({ phase: 'attempted', digest: undefined } as never)],
  ['a veto that was refused', changed({ phase: 'denied', error: 'busy', digest: undefined } as never)],
  ['another act', changed({ act: 'recovery.cancel' })],
  ['a veto of another request', changed({ subject: { ...VETO.subject, recovery: `rec_${'9'.repeat(32)}` } })],
  ['somebody else’s veto', changed({ actor: 'oscar' })],
  ['one that ended nothing', changed({ detail: { status: 'pending' } })],
  [
    'an entry that is not in the log',
    async () => {
      const proof = await proofOf({ ...VETO, act: 'grant.expire' });
      return { ...proof, entry: proof.entry.replace('grant.expire', 'recovery.veto') };
    },
  ],
  [
    'a log of another key',
    () => {
      const log = new FakeLog();
      log.fill(3);
      return proofOf(VETO, log);
    },
  ],
  ['what is no entry', async () => ({ ...(await proofOf(VETO)), entry: 'vetoed' })],
])('by %s nothing is vetoed', async (_what, prove) => {
  const vetoed = await prove().catch(() => undefined);
  expect(await said(Promise.resolve(answer(vetoed)))).toBe('not vetoed');
});

test('nor by another entry than the answer names', async () => {
  const vetoed = await proofOf(VETO);
  expect(await said(Promise.resolve(answer(vetoed, vetoed.index + 1)))).toBe('not vetoed');
});

test('nor under a log that the pinned witnesses have not seen', async () => {
  expect(await said(Promise.resolve(answer(await proofOf(VETO))), logView(true))).toBe('not vetoed');
});

test('nor where no answer comes, or one that says nothing, or that it is refused, whatever for', async () => {
  expect(await said(Promise.reject(new ServerUnreachable('timeout', 'no answer')))).toBe('not vetoed');
  expect(await said(Promise.reject(new ServerProblem('store-unavailable', 503, 'later')))).toBe('not vetoed');
  for (const [code, status] of [
    ['veto-not-allowed', 403],
    ['recovery-ended', 409],
    ['recovery-unknown', 404],
  ] as const) {
    expect(await said(Promise.reject(new ServerProblem(code, status, 'no')))).toBe('not vetoed');
  }
});

test('the command line says so, and what to do, and has an exit of its own for it', async () => {
  const office = await openOffice();
  try {
    const argv = ['recovery', 'veto', RECOVERY, '--reason', 'no', '--as', office.dana];
    office.server.routes.set(`POST /v1/recoveries/${RECOVERY}/veto`, () => ({ json: answer(undefined) }));
    const { exit, out, err } = await escrowctl(argv);
    expect({ exit, out }).toEqual({ exit: 7, out: '' });
    for (const words of ['not vetoed', 'call the depositaries']) expect(err).toContain(words);
    office.server.routes.set(`POST /v1/recoveries/${RECOVERY}/veto`, () => ({
      status: 409,
      json: { type: 'urn:escrowd:problem:recovery-ended', title: 'no', status: 409, detail: 'It has ended.' },
    }));
    const refused = await escrowctl(argv);
    expect(refused.exit).toBe(7);
    for (const words of ['not vetoed', 'recovery-ended', 'call the depositaries'])
      expect(refused.err).toContain(words);
    server = office.server;
    const vetoed = await proofOf({ ...VETO, actor: 'dana' });
    office.server.routes.set(`POST /v1/recoveries/${RECOVERY}/veto`, () => ({ json: answer(vetoed) }));
    expect(await escrowctl(argv)).toMatchObject({ exit: 0, err: '' });
  } finally {
    await office.close();
  }
});
