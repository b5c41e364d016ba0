import { EscrowError } from '../../src/escrow/records/errors.js';
import { IDEMPOTENCY_KEY_KEPT_MS } from '../../src/escrow/records/creation.ts';
import type { ActId } from '../../src/escrow/records/ids.js';
import type { Recovery } from '../../src/escrow/records/recovery.js';
import type { Answer, Outgoing } from './apiClient.js';
import { problemCode } from './apiClient.js';
import { removeKeys } from './boundCertificates.js';
import type { Identity } from './identities.js';
import { NOW, signedRequest } from './identities.js';
import { PEOPLE } from './people.js';
import type { Running } from './runningServer.js';
import { startServer } from './runningServer.js';
import { DEPOSIT, GRANT, KEY, RECOVERY_RECORD } from './world.js';

const { dana, mailer, dave, olga } = PEOPLE;
const ORDER = {
  purpose: 'operate',
  keys: [KEY],
  reason: 'olga is ill',
  validFor: 'PT1H',
  scope: {
    app: 'mailer',
    operations: ['sign'],
    mechanisms: ['ES256'],
    input: 'message',
    maxUses: 10,
    duration: 'PT1H',
  },
};

let running: Running;
/** What was filed. */
let made: Map<string, Recovery>;
beforeEach(async () => {
  running = await startServer();
  made = new Map();
  const { journal, store } = running.world;
  journal.before = ({ changes }) => {
    for (const change of changes)
      if (change.change === 'recovery-saved') made.set(change.recovery.id, change.recovery);
  };
  store.findRecovery = (id) => Promise.resolve(made.get(id));
});
afterEach(() => running.stop());

/** A request with a key, signed at the server's time. */
function named(by: Identity, key: string, content: unknown = ORDER, target = '/v1/recoveries'): Outgoing {
  const body = JSON.stringify(content);
  const iat = Math.floor(running.world.now.getTime() / 1000);
  const claims = { ik: key, iat, exp: iat + 60 };
  return {
    method: 'POST',
    target,
    headers: {
      authorization: `Escrowd-JWS ${signedRequest(by, { method: 'POST', target, body }, { claims })}`,
      'content-type': 'application/json',
      'idempotency-key': `"${key}"`,
    },
    body,
  };
}

const file = (key: string, content: unknown = ORDER, by: Identity = dana): Promise<Answer> =>
  running.client.send(named(by, key, content));

const recorded = (): string[] =>
  running.world.journal.entries.map(({ act, phase, actor, error }) =>
    [act, phase, actor, error ?? ''].join(' ').trim(),
  );
const REPLAYED = 'recovery.request denied dana request-replayed';
const ONCE = ['recovery.request attempted dana', 'recovery.request done dana'];

describe('a creation with an Idempotency-Key', () => {
  test('is answered again to nobody who is listed no more, though nothing is recorded that would claim the policy', async () => {
    expect((await file('one')).status).toBe(201);
    expect((await file('one')).status).toBe(201);
    removeKeys(running.world, 'dana');
    const again = await file('one');
    expect([again.status, problemCode(again)]).toEqual([401, 'caller-unknown']);
    expect(recorded()).toEqual([...ONCE, 'recovery.request denied dana caller-unknown']);
  });

  test('that is asked for again has the same answer, and nothing more is made or recorded', async () => {
    const first = await file('one');
    expect(first.status).toBe(201);
    const again = [await file('one'), await file('one')];
    expect(again.map(({ status, text }) => ({ status, text }))).toEqual([
      { status: 201, text: first.text },
      { status: 201, text: first.text },
    ]);
    expect(made.size).toBe(1);
    expect(recorded()).toEqual(ONCE);
  });

  test('is answered as it was filed, whatever was decided since', async () => {
    const first = await file('one');
    for (const [id, recovery] of made) {
      const denials = [{ depositary: DEPOSIT.owner, statement: 'a.b.c', reason: 'no', at: NOW }];
      made.set(id, { ...recovery, revision: 2, denials });
    }
    expect((await file('one')).text).toBe(first.text);
  });

  test('of the same copy of a request is a replay', async () => {
    const request = named(dana, 'one');
    expect((await running.client.send(request)).status).toBe(201);
    expect(problemCode(await running.client.send(request))).toBe('request-replayed');
    const second = named(dana, 'one');
    expect((await running.client.send(second)).status).toBe(201);
    expect(problemCode(await running.client.send(second))).toBe('request-replayed');
    expect(recorded()).toEqual([...ONCE, REPLAYED, REPLAYED]);
  });

  test('with another body is refused, and recorded', async () => {
    await file('one');
    const other = await file('one', { ...ORDER, reason: 'another' });
    expect([other.status, problemCode(other)]).toEqual([422, 'idempotency-key-reused']);
    expect(recorded()).toEqual([...ONCE, 'recovery.request denied dana idempotency-key-reused']);
    expect(running.world.journal.entries.at(-1)?.subject).toEqual({ keys: [KEY], owner: 'olga' });
  });

  test('of another’s key makes its own', async () => {
    await file('one');
    expect((await file('one', ORDER, dave)).status).toBe(201);
    expect(made.size).toBe(2);
  });

  test('is told to wait while the first is under way, and then has its answer', async () => {
    let finish: () => void = () => undefined;
    let begun: () => void = () => undefined;
    const underWay = new Promise<void>((resolve) => (begun = resolve));
    running.world.verbs.attest = () => {
      begun();
      return new Promise((resolve) => {
        finish = () => {
          resolve(Buffer.from('attested'));
        };
      });
    };
    const first = file('one');
    await underWay;
    const others = await Promise.all(Array.from({ length: 19 }, () => file('one')));
    expect(new Set(others.map((answer) => `${answer.status} ${problemCode(answer)}`))).toEqual(
      new Set(['409 idempotency-in-progress']),
    );
    expect(others[0]?.headers['retry-after']).toBe('1');
    expect(problemCode(await file('one', { ...ORDER, reason: 'another' }))).toBe('idempotency-key-reused');
    finish();
    const { text } = await first;
    expect((await file('one')).text).toBe(text);
    expect(made.size).toBe(1);
  });

  test('that was refused leaves its key free, for another body as well', async () => {
    const refused = await file('one', { ...ORDER, scope: { ...ORDER.scope, maxUses: 1000 } });
    expect(problemCode(refused)).toBe('scope-not-allowed');
    expect((await file('one')).status).toBe(201);
  });

  test('that failed after its attempt leaves its key free', async () => {
    const { verbs } = running.world;
    const attest = verbs.attest;
    verbs.attest = () => Promise.reject(new EscrowError('token-unavailable'));
    expect(problemCode(await file('one'))).toBe('token-unavailable');
    verbs.attest = attest;
    expect((await file('one')).status).toBe(201);
    expect(recorded()).toEqual([
      'recovery.request attempted dana',
      'recovery.request failed dana token-unavailable',
      ...ONCE,
    ]);
  });

  test('whose outcome could not be written is under way until it is closed as interrupted', async () => {
    const { journal, escrow } = running.world;
    journal.broken = 'closes';
    expect(problemCode(await file('one'))).toBe('log-unavailable');
    journal.broken = undefined;
    expect(problemCode(await file('one'))).toBe('idempotency-in-progress');
    const [attempt] = journal.entries;
    if (attempt === undefined) throw new Error('nothing was attempted');
    await escrow.ledger.closeInterrupted(attempt.id as ActId);
    expect((await file('one')).status).toBe(201);
  });

  test('is forgotten after a day', async () => {
    await file('one');
    running.world.now = new Date(NOW.getTime() + IDEMPOTENCY_KEY_KEPT_MS - 1000);
    expect((await file('one')).status).toBe(201);
    expect(made.size).toBe(1);
    running.world.now = new Date(NOW.getTime() + IDEMPOTENCY_KEY_KEPT_MS);
    expect((await file('one')).status).toBe(201);
    expect(made.size).toBe(2);
  });
});

test.each([
  ['that acts', mailer, `/v1/grants/${GRANT}/sign`, { mechanism: 'ES256', messages: ['AAAA'] }],
  ['that decides', olga, `/v1/recoveries/${RECOVERY_RECORD.id}/veto`, { reason: 'no' }],
])('an operation %s takes no key, and says so', async (_what, by, target, content) => {
  const answer = await running.client.send(named(by, 'one', content, target));
  expect(answer.json).toMatchObject({ status: 400, detail: 'This operation takes no Idempotency-Key.' });
  expect(recorded()).toHaveLength(1);
});
