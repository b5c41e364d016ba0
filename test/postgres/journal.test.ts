import { softwareSigner } from '../support/signer.js';
import { startTestServer, type TestServer } from '../support/postgres.js';
import { openOn, writeOf } from './fixtures.js';

let server: TestServer;
const signer = softwareSigner();
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

it('appends', async () => {
  const database = await openOn(server, signer);
  const writes = Array.from({ length: 300 }, () => writeOf('alone'));
  const t = performance.now();
  const answers = await Promise.all(writes.map((write) => database.journal.append(write)));
  console.log('took', performance.now() - t);
  expect(answers.map(({ index }) => index)).toEqual(writes.map((_, at) => at));
  console.log(await database.log.inclusion(299));
  console.log(await database.health());
  await database.close();
});
