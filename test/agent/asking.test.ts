import { ServerProblem, ServerUnreachable } from '../../src/client/errors.js';
import { until } from '../support/waiting.js';
import { askedServer, type Asked, KEY, use } from './askedServer.js';

/* What becomes of a request that ends otherwise than by a grant that is live, and of one that nobody waits for any more. */

test.each(['denied', 'vetoed', 'cancelled'] as const)('what is %s is not asked for again', async (status) => {
  const { asking, filed } = askedServer(status);
  await expect(asking.granted(use())).rejects.toMatchObject({ code: 'request-denied' });
  await expect(asking.granted(use())).rejects.toMatchObject({ code: 'request-denied' });
  expect(filed).toHaveLength(1);
});

test.each(['exhausted', 'expired', 'revoked', 'failed'] as const)(
  'what is %s is asked for anew',
  async (status) => {
    const { asking, filed } = askedServer(status);
    await expect(asking.granted(use())).rejects.toMatchObject({ code: 'request-over' });
    await expect(asking.granted(use())).rejects.toMatchObject({ code: 'request-over' });
    expect(filed).toHaveLength(2);
  },
);

test.each([
  ['away', new ServerUnreachable('refused', 'cannot connect')],
  ['not able at the moment', new ServerProblem('store-unavailable', 503, 'The database is away.')],
  ['asked too often', new ServerProblem('rate-limited', 429, 'The caller asks too often.')],
])('while the server is %s a tool waits on', async (_name, error) => {
  const asked = askedServer();
  const { calls, asking } = asked;
  let looks = 0;
  const found = calls.recovery;
  calls.recovery = async (id) => {
    looks += 1;
    if (looks <= 3) throw error;
    const reply = await found(id);
    const grant = { grant: 'grant_1', status: 'active', used: 0 } as const;
    return { ...reply, keys: [{ ...reply.keys[0], key: KEY, grant }] } as typeof reply;
  };
  expect(await asking.granted(use())).toBe('grant_1');
});

/** A tool that waits, until it is ended. */
async function waitingTool({ asking, told }: Asked, input = use().input): Promise<Tool> {
  const before = told.length;
  const gone = new AbortController();
  const outcome = asking.granted(use(gone.signal, input)).catch((error: unknown) => error);
  await until(() => told.slice(before).some(({ event }) => event === 'asked'));
  return { gone, outcome };
}

interface Tool {
  readonly gone: AbortController;
  /** The grant, or why there is none. */
  readonly outcome: Promise<unknown>;
}

/** Has cancellations stand until they are let go. */
function holdCancellations({ calls }: Asked): {
  readonly release: () => void;
  readonly isBegun: () => boolean;
} {
  const cancel = calls.cancel;
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  let isBegun = false;
  calls.cancel = async (id, reason) => {
    isBegun = true;
    await released;
    return cancel(id, reason);
  };
  return { release, isBegun: () => isBegun };
}

describe('when the tool that waits has ended', () => {
  test('a tool that is started again at once asks anew, and does not join what is being cancelled', async () => {
    const asked = askedServer();
    const { release, isBegun } = holdCancellations(asked);
    const first = await waitingTool(asked);
    first.gone.abort();
    await until(isBegun);
    const second = await waitingTool(asked);
    release();
    expect(await first.outcome).toMatchObject({ code: 'caller-gone' });
    await until(() => asked.told.some(({ event }) => event === 'withdrawn'));
    expect(asked.filed.map(({ status }) => status)).toEqual(['cancelled', 'pending']);
    second.gone.abort();
    expect(await second.outcome).toMatchObject({ code: 'caller-gone' });
  });

  test('what another agent of the app has withdrawn can be asked for again', async () => {
    const asked = askedServer();
    const other = await waitingTool(asked);
    await asked.calls.cancel('rec_1', 'The program that asked has ended.');
    expect(await other.outcome).toMatchObject({ code: 'request-over' });
    const next = await waitingTool(asked);
    expect(asked.filed).toHaveLength(2);
    next.gone.abort();
    await next.outcome;
  });

  test('a request that another tool waits for, with another form of input, is left open', async () => {
    const asked = askedServer();
    const first = await waitingTool(asked);
    const second = await waitingTool(asked, { kind: 'digest', bytes: Buffer.alloc(32) });
    first.gone.abort();
    expect(await first.outcome).toMatchObject({ code: 'caller-gone' });
    expect(asked.filed.map(({ status }) => status)).toEqual(['pending']);
    second.gone.abort();
    await second.outcome;
    expect(asked.filed.map(({ status }) => status)).toEqual(['cancelled']);
  });

  test('a cancellation that fails is told, and the tool is told that it has gone', async () => {
    const asked = askedServer();
    asked.calls.cancel = () => Promise.reject(new ServerUnreachable('refused', 'cannot connect'));
    const tool = await waitingTool(asked);
    tool.gone.abort();
    expect(await tool.outcome).toMatchObject({ code: 'caller-gone' });
    expect(asked.told.at(-1)).toMatchObject({
      ...{ event: 'refused', code: 'not-withdrawn', recovery: 'rec_1' },
      sentence: 'Nobody waits for rec_1 any more, and it was not cancelled (cannot connect).',
    });
  });

  test('an agent that is ended meanwhile has cancelled it before it is gone', async () => {
    const asked = askedServer();
    const { release, isBegun } = holdCancellations(asked);
    const tool = await waitingTool(asked);
    tool.gone.abort();
    await until(isBegun);
    const closed = asked.asking.close();
    setImmediate(release);
    await closed;
    expect(asked.filed.map(({ status }) => status)).toEqual(['cancelled']);
    await tool.outcome;
  });
});
