import { newIdentity, NOW } from '../identities.js';
import { problemCode } from '../apiClient.js';
import { PEOPLE } from '../people.js';
import type { Running } from '../runningServer.js';
import { startServer } from '../runningServer.js';
import { GRANT, KEY } from '../world.js';

const { mailer, olga } = PEOPLE;
const SIGN = `/v1/grants/${GRANT}/sign`;
const signing = { mechanism: 'ES256', messages: ['AAAA'] };

let running: Running;
const LIMITS = {
  perCaller: { perSecond: 1, burst: 5, atOnce: 2 },
  perAddress: { perSecond: 1, burst: 3 },
};
beforeEach(async () => {
  running = await startServer(LIMITS);
});
afterEach(() => running.stop());

const sign = (): Promise<string> =>
  running.client.call(mailer, 'POST', SIGN, signing).then((answer) => problemCode(answer));
const read = (): Promise<number> =>
  running.client.call(olga, 'GET', `/v1/keys/${KEY}`).then(({ status }) => status);

describe('a greedy caller', () => {
  test('is told to wait, and a modest one is served all the while', async () => {
    const codes: string[] = [];
    for (let request = 0; request < 8; request += 1) codes.push(await sign());
    expect(codes.slice(5)).toEqual(Array.from({ length: 3 }, () => 'rate-limited'));
    expect(codes.slice(0, 5)).not.toContain('rate-limited');
    expect(await read()).toBe(200);
    // and is served again when it has waited
    running.world.now = new Date(NOW.getTime() + 1000);
    expect([await sign(), await sign()]).toEqual(['no problem', 'rate-limited']);
  });

  test('is told when to come back, and what it was refused is not in the log', async () => {
    for (let request = 0; request < 5; request += 1) await sign();
    const logged = running.world.journal.entries.length;
    const refused = await running.client.call(mailer, 'POST', SIGN, signing);
    expect([refused.status, refused.headers['retry-after']]).toEqual([429, '1']);
    expect(running.world.journal.entries).toHaveLength(logged);
  });

  test('has so many requests under way, and a modest one has room', async () => {
    let goOn = (): void => undefined;
    const released = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    let begun = 0;
    running.world.verbs.sign = async () => {
      begun += 1;
      await released;
      return Buffer.from('late');
    };
    const underWay = [sign(), sign()];
    while (begun < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(await sign()).toBe('rate-limited');
    expect(await read()).toBe(200);
    goOn();
    await Promise.all(underWay);
    expect(await sign()).toBe('no problem');
  });
});

describe('those whom nobody knows', () => {
  test('are limited by address, and known callers from there are not', async () => {
    const eve = newIdentity('eve');
    const codes: string[] = [];
    for (let request = 0; request < 5; request += 1)
      codes.push(problemCode(await running.client.call(eve, 'GET', '/v1/keys')));
    expect(codes).toEqual([
      ...Array.from({ length: 3 }, () => 'caller-unknown'),
      'rate-limited',
      'rate-limited',
    ]);
    expect((await running.client.send({ method: 'GET', target: '/v1/checkpoint' })).status).toBe(429);
    expect((await running.client.send({ method: 'GET', target: '/healthz' })).status).toBe(200);
    expect(await read()).toBe(200);
  });
});

test('a request that takes too long is answered, and what it began is recorded', async () => {
  await running.stop();
  running = await startServer({ ...LIMITS, answerTimeoutMs: 500 });
  let goOn = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  running.world.verbs.sign = async () => {
    await released;
    return Buffer.from('late');
  };
  const answer = await running.client.call(mailer, 'POST', SIGN, signing);
  expect([answer.status, problemCode(answer)]).toEqual([503, 'deadline-exceeded']);
  goOn();
  while (running.world.journal.entries.length < 2) await new Promise((resolve) => setImmediate(resolve));
  expect(running.world.journal.entries.map(({ phase }) => phase)).toEqual(['attempted', 'done']);
});
