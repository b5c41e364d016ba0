import { NotHeld } from '../../src/escrow/ports/journal.js';
import type { Database } from '../../src/postgres/database.js';
import { composeDaemon } from '../adversary/database/daemonParts.js';
import { query, startTestServer, type TestServer } from '../support/postgres.js';
import { softwareSigner } from '../support/signer.js';
import { until } from '../support/waiting.js';
import { certifier, openOn } from './fixtures.js';
import { writeOf } from './records.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

/*
 * A daemon whose clock is apart from the database's decides nothing by either, whatever it is that time decides about; what was
 * begun before is concluded. Another whose clock agrees goes on, and does not take the first for gone.
 */

const OFF = { '6 seconds ahead': 6, '6 seconds behind': -6, '12 minutes ahead': 720, 'a day ahead': 86_400 };
const WITHIN = { '4 seconds ahead': 4, '4 seconds behind': -4 };

const signer = softwareSigner();
let server: TestServer;
let aheadMs: number;
let told: (number | undefined)[];
let off: Database;
let other: Database;

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  aheadMs = 0;
  told = [];
  await server.reset();
  const ownClock = { now: (): Date => new Date(Date.now() + aheadMs) };
  const onClocks = (apart: number | undefined): void => void told.push(apart);
  off = await openOn(server, signer, { ownClock, onClocks });
  other = await openOn(server, signer);
});
afterEach(async () => {
  await off.close();
  await other.close();
});
afterAll(() => server.stop());

async function entries(): Promise<number> {
  const [row] = await query<{ count: number }>(server.owner, 'select count(*)::int as count from log_entry');
  return row?.count ?? NaN;
}

let jti = 0;
const request = (): Parameters<typeof writeOf>[1] => ({
  claims: [
    { claim: 'request-unused', kid: 'k', jti: `j${(jti += 1)}`, expiresAt: new Date(Date.now() + 60_000) },
  ],
});
const order = (): Parameters<typeof writeOf>[1] => {
  const [at, expiresAt] = [new Date(), new Date(Date.now() + 60_000)];
  const key = { principal: 'ann', key: `k${(jti += 1)}`, fingerprint: 'f', at, expiresAt } as never as {
    principal: never;
    key: string;
    fingerprint: string;
    at: Date;
    expiresAt: Date;
  };
  return { claims: [{ claim: 'idempotency-key-free', ...key }] };
};

/** What time decides about. */
const DECISIONS: Readonly<Record<string, () => Promise<unknown>>> = {
  'an act of the daemon begins': () => off.journal.append(writeOf('opens')),
  'a signed request is used': () => off.journal.append(writeOf('opens', request())),
  'an Idempotency-Key is free': () => off.journal.append(writeOf('opens', order())),
  'the act of another daemon was cut short': () => off.journal.openActs(),
};

describe.each(Object.entries(OFF))('a clock that is %s', (_how, seconds) => {
  test.each(Object.entries(DECISIONS))('does not decide whether %s', async (_what, decide) => {
    await decide();
    const size = await entries();
    aheadMs = seconds * 1000;
    const error = await decide().catch((refusal: unknown) => refusal);
    expect(error instanceof NotHeld ? error.what : (error as { code?: string }).code).toMatch(
      /^clock(?:s-agree|-differs)$/,
    );
    expect(await entries()).toBe(size);
    expect(off.clocksApartMs()).toBeDefined();
    expect(told).toHaveLength(1);
    expect(Math.sign(told[0] ?? 0)).toBe(Math.sign(seconds));

    // who agrees goes on, and nobody is taken for gone
    await other.journal.append(writeOf('opens', request()));
    expect((await other.journal.openActs()).filter(({ by }) => by === 'gone')).toEqual([]);

    aheadMs = 0;
    await decide();
    expect(told.at(-1)).toBeUndefined();
    expect(off.clocksApartMs()).toBeUndefined();
  });

  test('keeps no act from being concluded that was begun before', async () => {
    const begun = writeOf('opens');
    await off.journal.append(begun);
    aheadMs = seconds * 1000;
    await off.journal.append(writeOf('closes', { id: begun.id }));
    expect(await other.journal.openActs()).toEqual([]);
  });

  test('makes nobody forget a request', async () => {
    const { claims = [] } = request() ?? {};
    await other.journal.append(writeOf('opens', { claims }));
    aheadMs = seconds * 1000;
    const seen = async (): Promise<number> => {
      const rows = await query(server.owner, 'select from request_seen');
      return rows.length;
    };
    const before = await seen();
    await off.journal.append(writeOf('opens')).catch(() => undefined);
    await expect(other.journal.append(writeOf('opens', { claims }))).rejects.toThrow('request-unused');
    expect(await seen()).toBe(before);
  });

  test('the control: a journal that does not compare them takes everything', async () => {
    const daemon = await composeDaemon(server, { signer, certifier }, 'nothing');
    try {
      aheadMs = seconds * 1000;
      await daemon.journal.append(writeOf('opens', request()));
    } finally {
      await daemon.close();
    }
  });
});

test.each(Object.entries(WITHIN))('a clock that is %s decides', async (_how, seconds) => {
  aheadMs = seconds * 1000;
  for (const decide of Object.values(DECISIONS)) await decide();
  expect(told).toEqual([]);
});

test('twenty at once are refused, or recorded, each as the clocks are then', async () => {
  const append = (): Promise<unknown>[] =>
    Array.from({ length: 20 }, (_, at) =>
      off.journal.append(writeOf('opens', at % 2 === 0 ? request() : order())),
    );
  await Promise.all(append());
  aheadMs = 86_400_000;
  const refused = await Promise.allSettled(append());
  expect(refused.map(({ status }) => status)).toEqual(Array<string>(20).fill('rejected'));
  aheadMs = 0;
  await Promise.all(append());
  expect(await entries()).toBe(40);
  await until(async () => (await off.log.checkpoint())?.size === 40);
});
