import type { Database } from '../../../src/postgres/database.js';
import { journalCases } from '../../escrow/journalCases.js';
import { startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { openOn } from '../fixtures.js';
import { dora } from '../records.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

let server: TestServer;
let database: Database;

beforeAll(async () => {
  server = await startTestServer();
  database = await openOn(server, softwareSigner());
});
afterAll(async () => {
  await database.close();
  await server.stop();
});

describe('the journal in PostgreSQL, by the statement that counts itself wherever that suffices', () => {
  journalCases(() => Promise.resolve(database));
});

describe('the journal in PostgreSQL, by its judge alone', () => {
  const [at, expiresAt] = [new Date(0), new Date('2100-01-01T00:00:00.000Z')];
  journalCases(
    () => Promise.resolve(database),
    (fresh) => [
      {
        ...{ claim: 'idempotency-key-free', principal: dora, key: `beside ${fresh}`, fingerprint: 'cd' },
        ...{ at, expiresAt },
      },
    ],
  );
});
