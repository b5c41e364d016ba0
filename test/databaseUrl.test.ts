import type { ConnectionSettings } from '../src/postgres/clusterLock.js';
import type { TestServer } from './support/postgres.js';
import { query, startTestServer } from './support/postgres.js';
import type { System } from './support/system.js';
import { makeSystem } from './support/system.js';

let server: TestServer;
let system: System;

beforeAll(async () => {
  server = await startTestServer();
  const environment = { DATABASE_URL: urlOf(server.daemon), DATABASE_OWNER_URL: urlOf(server.owner) };
  system = await makeSystem({ environment });
});
afterAll(async () => {
  await system.remove();
  await server.stop();
});

function urlOf({ host, port, user, password, database }: ConnectionSettings): string {
  return `postgresql://${user}:${encodeURIComponent(password)}@/${database}?host=${encodeURIComponent(host)}&port=${port}`;
}

it('with DATABASE_URL the daemon keeps its records on that server, as a role that cannot rewrite the log', async () => {
  const { entry } = await system
    .client('admin-1')
    .generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign', label: 'elsewhere' });
  expect(await query(server.owner, 'select key from deposit')).toHaveLength(1);
  expect(await query(server.daemon, 'select seq from log_entry where seq = $1', [entry])).toHaveLength(1);
  await expect(query(server.daemon, 'delete from log_entry')).rejects.toMatchObject({ code: '42501' });
  await expect(query(server.owner, 'delete from log_entry')).rejects.toThrow(/append-only/);
});
