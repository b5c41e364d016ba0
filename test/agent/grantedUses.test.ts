import { sign } from 'node:crypto';

import { ServerProblem, ServerUnreachable, type UnreachableReason } from '../../src/client/errors.js';
import { askedServer, type Asked, grant, message, privateKey, use } from './askedServer.js';

/* Which uses the server is asked for, when it, or the configuration, is not as it should be. */

/** With a grant, and a server that answers as it is told; counts how often it was asked to sign. */
function granted(answer: () => Promise<string>): { readonly asked: Asked; readonly signed: () => number } {
  const asked = askedServer();
  let signed = 0;
  asked.calls.grants = () => Promise.resolve({ items: [grant()] });
  asked.calls.sign = async () => {
    signed += 1;
    return { result: { signatures: [await answer()], remaining: 1 }, entry: 1 };
  };
  return { asked, signed: () => signed };
}

const unreachable = (reason: UnreachableReason) => () =>
  Promise.reject(new ServerUnreachable(reason, 'no answer'));
const problem = (code: string, status: number) => () =>
  Promise.reject(new ServerProblem(code, status, 'Not now.'));
const signature = (): Promise<string> =>
  Promise.resolve(
    sign('sha256', Buffer.from('x'), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url'),
  );

test.each([
  // the second try of a tool is not to be a second use
  ['an answer was lost', unreachable('broken'), 'answer-lost', /may have been counted/, 1],
  ['no answer came in time', unreachable('timeout'), 'answer-lost', /may have been counted/, 1],
  ['the server was not reached', unreachable('refused'), 'server-unreachable', /nothing was used/, 2],
  ['another server is there', unreachable('tls'), 'server-unreachable', /nothing was used/, 2],
  ['the grant is used too fast', problem('grant-rate-exceeded', 429), 'grant-rate-exceeded', /Not now/, 2],
  ['the server is busy', problem('busy', 503), 'busy', /Not now/, 2],
  ['the token is away', problem('token-unavailable', 503), 'token-unavailable', /Not now/, 1],
] as const)('where %s, the second try is answered as it must be', async (_name, answer, code, why, tries) => {
  const { asked, signed } = granted(answer);
  for (let at = 0; at < 2; at += 1) {
    const refused = asked.uses.sign(use());
    await expect(refused).rejects.toMatchObject({ code });
    await expect(refused).rejects.toThrow(why);
  }
  expect(signed()).toBe(tries);
});

test('what a use is for goes with it, for the log and the owner', async () => {
  const { asked } = granted(signature);
  const answered = asked.calls.sign;
  const said: unknown[] = [];
  asked.calls.sign = (id, order) => {
    said.push(order.context);
    return answered(id, order);
  };
  const one = use();
  await asked.uses.sign(one);
  expect(said).toEqual([`${one.caller}: ${one.what}`]);
});

test('where grants cannot be listed, nothing is said to have been used', async () => {
  const { asked } = granted(signature);
  asked.calls.grants = unreachable('broken');
  await expect(asked.uses.sign(use())).rejects.toMatchObject({ code: 'server-unreachable' });
});

test('a refusal is repeated for seconds, also when the clock is set back meanwhile', async () => {
  const { asked, signed } = granted(problem('token-unavailable', 503));
  await expect(asked.uses.sign(use())).rejects.toThrow();
  asked.clockAheadMs = -3_600_000;
  await expect(asked.uses.sign(use())).rejects.toThrow();
  expect(signed()).toBe(2);
});

test('a grant that has just begun is used where the clock of the agent is behind', async () => {
  const { asked } = granted(signature);
  asked.clockAheadMs = -30_000;
  const started = [grant({ startsAt: '2026-01-01T00:00:00Z' })];
  asked.calls.grants = () => Promise.resolve({ items: started });
  expect(await asked.uses.sign(use())).toHaveLength(64);
  expect(asked.filed).toHaveLength(0);
});

describe('with a public key that is not that of the key', () => {
  test('of another kind, no use is spent', async () => {
    const { asked, signed } = granted(signature);
    asked.calls.grants = () => Promise.resolve({ items: [grant({ spec: 'rsa-2048' })] });
    await expect(asked.uses.sign(use())).rejects.toMatchObject({ code: 'public-key-wrong' });
    expect(signed()).toBe(0);
  });

  test.each([
    ['a message', message('another text')],
    ['a digest, with a signature of another length', { kind: 'digest', bytes: Buffer.alloc(32) } as const],
  ])('of the same kind, the first signature of %s is the last', async (_name, input) => {
    const isDigest = input.kind === 'digest';
    const { asked, signed } = granted(isDigest ? () => Promise.resolve('AAAA') : signature);
    await expect(asked.uses.sign(use(undefined, input))).rejects.toMatchObject({ code: 'signature-wrong' });
    await expect(asked.uses.sign(use(undefined, message('more')))).rejects.toMatchObject({
      code: 'signature-wrong',
    });
    expect(signed()).toBe(1);
  });
});
