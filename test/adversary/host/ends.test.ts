import type { End } from '../../../src/client/errors.js';
import { NotProven, ServerProblem, ServerUnreachable } from '../../../src/client/errors.js';
import { cancelProven, denyProven, revokeProven, stopProven, vetoProven } from '../../../src/client/ends.js';
import type { EscrowClient } from '../../../src/client/escrowClient.js';
import { Identity } from '../../../src/client/identity/identity.js';
import { LogView } from '../../../src/client/log/logView.js';
import { TAKING_AWAY } from '../../../src/escrow/ledger/means.js';
import { canonicalHash, sha256Hex } from '../../../src/escrow/records/digests.js';
import type { Acted, GrantReply, ProofReply, RecoveryReply } from '../../../src/api/replies.js';
import { openCheckpoint } from '../../../src/log/note/checkpoint.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import { decodeEntry } from '../../../src/log/entry/entry.js';
import { noteVerifier } from '../../../src/log/note/noteKey.js';
import { FakeLog, FakeServer, ORIGIN, problem } from '../../client/fakeServer.js';
import { TestMemory } from '../../client/memory.js';
import { honestScene, KEY, NOW, RECOVERY } from '../../client/scene.js';
import { escrowctl } from '../../cli/commandLine.js';
import type { Office } from '../../cli/office.js';
import { openOffice } from '../../cli/office.js';
import { testWitness } from '../../log/witnessKeys.js';

/*
 * A host that would rather not have something taken away, and tells whoever does it that it was done: each act of that kind, and
 * each way to say so without its being in the log. The controls are a client that takes the answer for it, and one that looks at the entry
 * that is shown, and asks no log for it.
 */

const GRANT = `grant_${'3'.repeat(32)}`;
const OTHER = '9'.repeat(32);
const CALLER = 'olga';
const DENIAL = { statement: 'a.b.c' };
const STOP = { statements: ['a.b.c', 'd.e.f'] };

type Answer = Acted<RecoveryReply> | Acted<GrantReply>;
type Log = Pick<LogView, 'believeEntry'>;

/** An act that takes something away, and the entry that records it. */
interface TakingAway {
  readonly act: string;
  readonly subject: Entry['subject'];
  /** What is said of it, where its entry says so. */
  readonly detail: Entry['detail'];
  readonly digest: string;
  /** Whether the entry is of exactly what the caller has signed. */
  readonly isSigned?: true;
  /** How it is asked for, of a server that answers this. */
  readonly ask: (log: Log, answered: Promise<Answer>) => Promise<Answer>;
}

const subject = { keys: [KEY], owner: CALLER, recovery: RECOVERY };
const ofRecovery = (answered: Promise<Answer>): Promise<Acted<RecoveryReply>> =>
  answered as Promise<Acted<RecoveryReply>>;
const SOME_DIGEST = 'ab'.repeat(32);

const acts: Readonly<Record<End, TakingAway>> = {
  vetoed: {
    ...{ act: 'recovery.veto', subject, detail: { status: 'vetoed' }, digest: SOME_DIGEST },
    ask: (log, answered) =>
      vetoProven({ caller: CALLER, veto: () => ofRecovery(answered) }, log, RECOVERY, 'I am here'),
  },
  denied: {
    ...{ act: 'recovery.deny', subject, detail: { status: 'pending' }, isSigned: true },
    digest: sha256Hex(DENIAL.statement),
    ask: (log, answered) =>
      denyProven({ caller: CALLER, sendDenial: () => ofRecovery(answered) }, log, RECOVERY, DENIAL),
  },
  cancelled: {
    ...{ act: 'recovery.cancel', subject, detail: { status: 'cancelled' }, digest: SOME_DIGEST },
    ask: (log, answered) =>
      cancelProven({ caller: CALLER, cancel: () => ofRecovery(answered) }, log, RECOVERY, 'not needed'),
  },
  stopped: {
    ...{ act: 'recovery.stop', subject, detail: { status: 'cancelled' }, isSigned: true },
    digest: canonicalHash(STOP.statements),
    ask: (log, answered) =>
      stopProven({ caller: CALLER, stop: () => ofRecovery(answered) }, log, RECOVERY, STOP),
  },
  revoked: {
    act: 'grant.revoke',
    subject: { key: KEY, owner: CALLER, recovery: RECOVERY, grant: GRANT },
    ...{ detail: { status: 'revoked' }, digest: SOME_DIGEST },
    ask: (log, answered) =>
      revokeProven(
        { caller: CALLER, revoke: () => answered as Promise<Acted<GrantReply>> },
        log,
        GRANT,
        'I am here',
      ),
  },
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

/** Takes the entry that is shown for one that is in the log. */
const unasked: Log = {
  believeEntry: ({ entry }) =>
    Promise.resolve({
      entry: decodeEntry(Buffer.from(entry)),
      checkpoint: openCheckpoint(server.log.checkpoint(), noteVerifier(server.log.key.vkey), ORIGIN),
    }),
};

type Done = Parameters<FakeLog['prove']>[0];

function recordOf({ act, subject: about, detail, digest }: TakingAway): Done {
  return { act, actor: CALLER, subject: about, detail, digest };
}

/** The proof of an entry that stands in this log. */
const proofOf = (entry: Done, log: FakeLog = server.log): Promise<ProofReply> => log.prove(entry);

function answer(proof: ProofReply | undefined, entry = proof?.index ?? 3): Acted<RecoveryReply> {
  return { result: honestScene().recovery, entry, ...(proof === undefined ? {} : { proof }) };
}

/** What is said of this answer by the client: the end, or that it is not. */
async function said(
  end: End,
  answered: Promise<Acted<RecoveryReply>>,
  log: Log = logView(),
): Promise<string> {
  try {
    await acts[end].ask(log, answered);
    return end;
  } catch (error) {
    if (error instanceof NotProven) return `not ${error.end}`;
    throw error;
  }
}

const ENDS = Object.keys(acts) as readonly End[];

test('every act that takes something away is here', () => {
  expect(
    Object.values(acts)
      .map(({ act }) => act)
      .sort(),
  ).toEqual([...TAKING_AWAY].sort());
});

/** How the entry that is shown differs from the one that would prove it. */
const changed: Readonly<Record<string, (of: TakingAway) => Partial<Entry> | undefined>> = {
  'an attempt': () => ({ phase: 'attempted' }),
  'an act that was refused': () => ({ phase: 'denied', error: 'busy' }),
  'another act': () => ({ act: 'recovery.approve' }),
  'another request or grant': ({ subject: about }) => ({
    subject:
      about.grant === undefined
        ? { ...about, recovery: `rec_${OTHER}` }
        : { ...about, grant: `grant_${OTHER}` },
  }),
  'what somebody else did': () => ({ actor: 'oscar' }),
  'what ended nothing': ({ act }) =>
    act === 'recovery.deny' ? undefined : { detail: { status: 'pending' } },
  'something else than was signed': ({ isSigned }) =>
    isSigned === true ? { digest: sha256Hex('another statement') } : undefined,
};

/** What is shown that stands in no log, or in another one. */
const elsewhere: Readonly<Record<string, (of: TakingAway) => Promise<ProofReply>>> = {
  'an entry that is not in the log': async (of) => {
    const proof = await proofOf({ ...recordOf(of), act: 'grant.expire' });
    return { ...proof, entry: proof.entry.replace('grant.expire', of.act) };
  },
  'a log of another key': (of) => {
    const log = new FakeLog();
    log.fill(3);
    return proofOf(recordOf(of), log);
  },
};

describe.each(ENDS)('what is %s', (end) => {
  const of = acts[end];

  test('is that when it is in the log', async () => {
    expect(await said(end, Promise.resolve(answer(await proofOf(recordOf(of)))))).toBe(end);
  });

  test('is not by an answer without a proof, nor by what is no entry', async () => {
    expect(await said(end, Promise.resolve(answer(undefined)))).toBe(`not ${end}`);
    const shown = { ...(await proofOf(recordOf(of))), entry: end };
    expect(await said(end, Promise.resolve(answer(shown)))).toBe(`not ${end}`);
  });

  test.each(Object.entries(changed))('is not by the proof of %s', async (_what, change) => {
    const more = change(of);
    if (more === undefined) return;
    const { digest, ...record } = recordOf(of);
    const ofDone = more.phase === undefined && digest !== undefined ? { digest } : {};
    const shown = await proofOf({ ...record, ...ofDone, ...more });
    expect(await said(end, Promise.resolve(answer(shown)))).toBe(`not ${end}`);
    // nor does it hold for who asks no log: what it says is not that
    expect(await said(end, Promise.resolve(answer(shown)), unasked)).toBe(`not ${end}`);
  });

  test.each(Object.entries(elsewhere))('is not by %s', async (_what, show) => {
    const shown = await show(of);
    expect(await said(end, Promise.resolve(answer(shown)))).toBe(`not ${end}`);
    // the control: who asks no log believes it
    expect(await said(end, Promise.resolve(answer(shown)), unasked)).toBe(end);
  });

  test('is not by another entry than the answer names', async () => {
    const shown = await proofOf(recordOf(of));
    expect(await said(end, Promise.resolve(answer(shown, shown.index + 1)))).toBe(`not ${end}`);
  });

  test('is not under a log that the pinned witnesses have not seen', async () => {
    const shown = answer(await proofOf(recordOf(of)));
    expect(await said(end, Promise.resolve(shown), logView(true))).toBe(`not ${end}`);
    expect(await said(end, Promise.resolve(shown), unasked)).toBe(end);
  });

  test('is not where no answer comes, or one that says nothing, or that it is refused, whatever for', async () => {
    const { ask } = of;
    for (const error of [
      new ServerUnreachable('timeout', 'no answer'),
      new ServerProblem('store-unavailable', 503, 'later'),
      new ServerProblem('forbidden', 403, 'no'),
      new ServerProblem('recovery-ended', 409, 'no'),
      new ServerProblem('grant-unknown', 404, 'no'),
    ]) {
      expect(await said(end, Promise.reject(error))).toBe(`not ${end}`);
    }
    // what is not the server's word is told as it is
    await expect(ask(logView(), Promise.reject(new TypeError('a fault here')))).rejects.toThrow(TypeError);
  });
});

describe('the command line', () => {
  let office: Office;
  beforeEach(async () => {
    office = await openOffice();
    server = office.server;
    server.log.fill(3);
  });
  afterEach(() => office.close());

  interface Command {
    readonly argv: readonly string[];
    readonly route: string;
    readonly result: unknown;
    readonly advice: string;
    /** The client library's method alone. */
    readonly unchecked: (client: EscrowClient) => Promise<Answer>;
  }
  const { scope } = honestScene().recovery;
  const grant = {
    ...{ grant: GRANT, recovery: RECOVERY, key: KEY, owner: CALLER, spec: 'ec-p256', scope, used: 1 },
    ...{ startsAt: NOW.toISOString(), expiresAt: NOW.toISOString(), status: 'revoked' },
  };
  const commands: readonly (readonly [End, Command])[] = [
    [
      'vetoed',
      {
        argv: ['recovery', 'veto', RECOVERY, '--reason', 'no'],
        route: `POST /v1/recoveries/${RECOVERY}/veto`,
        result: honestScene().recovery,
        advice: 'call the depositaries',
        unchecked: (client) => client.veto(RECOVERY, 'no'),
      },
    ],
    [
      'cancelled',
      {
        argv: ['recovery', 'cancel', RECOVERY, '--reason', 'no'],
        route: `POST /v1/recoveries/${RECOVERY}/cancel`,
        result: honestScene().recovery,
        advice: 'call the depositaries',
        unchecked: (client) => client.cancel(RECOVERY, 'no'),
      },
    ],
    [
      'revoked',
      {
        argv: ['grant', 'revoke', GRANT, '--reason', 'no'],
        route: `POST /v1/grants/${GRANT}/revoke`,
        result: grant,
        advice: 'call the security team',
        unchecked: (client) => client.revoke(GRANT, 'no'),
      },
    ],
  ];

  test.each(commands)(
    'says what is not %s, and what to do, and has an exit of its own for it',
    async (end, { argv: command, route, result, advice, unchecked }) => {
      const argv = [...command, '--as', office.dana];
      server.routes.set(route, () => ({ json: { result, entry: 3 } }));
      const { exit, out, err } = await escrowctl(argv);
      expect({ exit, out }).toEqual({ exit: 7, out: '' });
      for (const words of [`not ${end}`, advice]) expect(err).toContain(words);
      // the control: who leaves the check out is told that it was done
      const identity = await Identity.open(office.dana);
      const client = await identity.connect({ deadlineMs: 5_000, now: () => new Date() });
      expect(await unchecked(client)).toMatchObject({ entry: 3 });
      client.close();
      server.routes.set(route, () => problem(409, 'recovery-ended'));
      const refused = await escrowctl(argv);
      expect(refused.exit).toBe(7);
      for (const words of [`not ${end}`, 'recovery-ended', advice, 'if it is as the server says'])
        expect(refused.err).toContain(words);
      const proof = await proofOf({ ...recordOf(acts[end]), actor: 'dana' });
      server.routes.set(route, () => ({ json: { result, entry: proof.index, proof } }));
      expect(await escrowctl(argv)).toMatchObject({ exit: 0, err: '' });
    },
  );
});
