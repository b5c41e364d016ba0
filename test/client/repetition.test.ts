import type { WireAnswer, WireRequest } from '../../src/client/connection.js';
import { ServerUnreachable } from '../../src/client/errors.js';
import { EscrowClient } from '../../src/client/escrowClient.js';
import { parseJws } from '../../src/jose/jws.js';
import { signerOf } from '../../src/client/identity/signingKey.js';
import { newIdentity, NOW, ORIGIN } from '../http/identities.js';

type Reaction = () => WireAnswer;

const problem =
  (code: string, status: number, retryAfterMs?: number): Reaction =>
  () => ({
    status,
    mediaType: 'application/problem+json',
    retryAfterMs,
    body: Buffer.from(JSON.stringify({ type: `urn:escrowd:problem:${code}`, title: code })),
  });
const away =
  (reason: ServerUnreachable['reason']): Reaction =>
  () => {
    throw new ServerUnreachable(reason, reason);
  };
/** No key that the client knows: it has been answered, and looks no further. */
const made: Reaction = problem('forbidden', 403);

/** What a client sends, and how it waits, when it is answered like this in turn. */
async function asked(
  reactions: readonly Reaction[],
  ask: (client: EscrowClient) => Promise<unknown> = (client) =>
    client.generateKey({ owner: 'olga', spec: 'ec-p256', use: 'sign' }),
): Promise<{ sent: readonly WireRequest[]; waitedMs: readonly number[]; end: unknown }> {
  const sent: WireRequest[] = [];
  const waitedMs: number[] = [];
  let elapsed = 0;
  const client = new EscrowClient({
    connection: {
      send: async (request) => {
        sent.push(request);
        return Promise.resolve().then(reactions[sent.length - 1] ?? made);
      },
      close: () => undefined,
    },
    signer: signerOf('olga', newIdentity('olga').privateKey),
    logKey: ORIGIN,
    now: () => NOW,
    repetition: {
      forMs: 20_000,
      elapsedMs: () => elapsed,
      random: () => 1,
      pause: (ms) => {
        waitedMs.push(ms);
        elapsed += ms;
        return Promise.resolve();
      },
    },
  });
  const end = await ask(client).then(
    () => 'answered',
    (error: unknown) =>
      (error as { code?: string; reason?: string }).code ?? (error as { reason: string }).reason,
  );
  return { sent, waitedMs, end };
}

const claims = ({ headers }: WireRequest): Readonly<Record<string, unknown>> =>
  parseJws((headers['authorization'] ?? '').replace('Escrowd-JWS ', ''))?.payload ?? {};

test('a creation is sent again after a lost connection: the same key and body, signed anew', async () => {
  const { sent, waitedMs, end } = await asked([away('broken'), away('refused'), away('broken'), made]);
  expect(end).toBe('forbidden');
  expect(waitedMs).toEqual([250, 500, 1000]);
  expect(sent).toHaveLength(4);
  const keys = sent.map(({ headers }) => headers['idempotency-key'] ?? '');
  expect(new Set(keys).size).toBe(1);
  expect(keys[0]).toMatch(/^"[0-9a-f-]{36}"$/);
  expect(new Set(sent.map(({ body }) => Buffer.from(body).toString())).size).toBe(1);
  expect(sent.map((request) => `"${String(claims(request)['ik'])}"`)).toEqual(keys);
  expect(new Set(sent.map((request) => claims(request)['jti'])).size).toBe(4);
});

test('a creation waits as long as it is told to while the server cannot, or is at it', async () => {
  const reactions = [problem('busy', 503, 3000), problem('idempotency-in-progress', 409, 1000), made];
  expect(await asked(reactions)).toMatchObject({ waitedMs: [3000, 1000], end: 'forbidden' });
});

test('no try begins after the deadline', async () => {
  const busy = problem('token-unavailable', 503, 9000);
  const { sent, waitedMs, end } = await asked([busy, busy, busy, busy]);
  expect([sent.length, waitedMs, end]).toEqual([3, [9000, 9000], 'token-unavailable']);
});

test.each([
  ['a refusal', problem('forbidden', 403)],
  ['a key that was used for something else', problem('idempotency-key-reused', 422)],
  ['a 503 that does not say when', problem('busy', 503)],
  ['a server that is not there', away('refused')],
  ['another server than the pinned one', away('tls')],
  ['an answer that took too long', away('timeout')],
])('%s ends it', async (_what, reaction) => {
  expect((await asked([reaction])).sent).toHaveLength(1);
});

test('another key comes with another creation', async () => {
  const [one, two] = [await asked([made]), await asked([made])];
  expect(one.sent[0]?.headers['idempotency-key']).not.toBe(two.sent[0]?.headers['idempotency-key']);
});

test('what is no creation carries no key, and is sent once', async () => {
  const { sent, end } = await asked([away('broken')], (client) => client.veto('rec_1', 'no'));
  expect([sent.length, end]).toEqual([1, 'broken']);
  for (const request of sent) {
    expect(request.headers).not.toHaveProperty('idempotency-key');
    expect(claims(request)).not.toHaveProperty('ik');
  }
});
