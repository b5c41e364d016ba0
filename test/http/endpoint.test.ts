import { bindCertificates } from './boundCertificates.js';
import { PEOPLE } from './people.js';
import type { Running } from './runningServer.js';
import { startServer } from './runningServer.js';
import { GRANT } from './world.js';

let running: Running;
/** The policies that attempts have claimed, recorded or not. */
let claimed: number[];
beforeEach(async () => {
  running = await startServer();
  claimed = [];
  running.world.journal.before = ({ role, claims }) => {
    for (const claim of claims)
      if (role === 'opens' && claim.claim === 'policy-in-force') claimed.push(claim.version);
  };
});
afterEach(() => running.stop());

const sign = async (): Promise<number> => {
  const order = { mechanism: 'ES256', messages: ['AAAA'] };
  return (await running.client.call(PEOPLE.mailer, 'POST', `/v1/grants/${GRANT}/sign`, order)).status;
};
test('a signature asks the database for no policy: the one that the caller is known by is a claim of the attempt', async () => {
  expect(await sign()).toBe(200);
  const { store } = running.world;
  const asked = jest.spyOn(store, 'policyVersion').mockRejectedValue(new Error('the database was asked'));
  expect(await sign()).toBe(200);
  expect(asked).not.toHaveBeenCalled();
  expect(claimed.slice(-1)).toEqual([1]);
});

test('when another policy is in force, the attempt does not hold, and the caller acts by that one', async () => {
  bindCertificates(running.world, {});
  expect(await sign()).toBe(200);
  claimed = [];
  bindCertificates(running.world, {});
  expect(await sign()).toBe(200);
  expect(claimed).toEqual([1, 2]);
  expect(running.world.journal.entries.map(({ phase }) => phase)).toEqual([
    ...['attempted', 'done'],
    ...['attempted', 'done'],
  ]);
});

test('who only reads is looked up in the policy in force', async () => {
  expect((await running.client.call(PEOPLE.mailer, 'GET', '/v1/grants')).status).toBe(200);
  const { store } = running.world;
  const asked = jest.spyOn(store, 'policyVersion');
  expect((await running.client.call(PEOPLE.mailer, 'GET', '/v1/grants')).status).toBe(200);
  expect(asked).toHaveBeenCalled();
});
