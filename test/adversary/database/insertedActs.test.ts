import { generateKeyPairSync, sign } from 'node:crypto';

import type { Act } from '../../../src/escrow/ledger/means.js';
import { MEANS } from '../../../src/escrow/ledger/means.js';
import { LogState } from '../../../src/escrow/logged/logState.js';
import { leafHash } from '../../../src/log/tree/merkle.js';
import { batchBytes, writerInput } from '../../../src/log/statements/writer.js';
import type { Database } from '../../../src/postgres/database.js';
import { certifier, openOn } from '../../postgres/fixtures.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareCertifier, softwareSigner } from '../../support/signer.js';
import { composeDaemon } from './daemonParts.js';
import { activated, DIGEST, entriesOf, filed, logHappened, type Said, seen, TIME } from './loggedActs.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

/*
 * The database inserts an entry of each act, as the daemon's role can: unsigned, by a writer that nobody has certified, or in the
 * name of a daemon. Two daemons share the database. Neither believes it, whatever the entry would have changed, and no tree is
 * signed over it. The control is a daemon that does not ask who wrote an entry: it takes it for what has happened.
 */

const signer = softwareSigner();
let server: TestServer;
/** What both daemons have followed before anything is inserted. */
let size: number;
let closing: (() => Promise<void>)[];

const onOpen: Said = { subject: { recovery: 'rec_open' } };
const onGrant: Said = { subject: { grant: 'grant_1' } };
const use: Said = {
  subject: { grant: 'grant_1', key: 'key_1' },
  actor: 'mailer',
  detail: { inputs: [DIGEST, DIGEST], mechanism: 'RS256', input: 'message' },
};

/** What is inserted of each act that changes what a daemon decides by. */
const changing = {
  'policy.apply': { outcome: { version: 2, policyHash: DIGEST } },
  'key.generate': { subject: { key: 'key_2' } },
  'key.import': { subject: { key: 'key_2' }, detail: { import: 'imp_1' } },
  'key.drill': {
    subject: { keys: ['key_1'] },
    actor: 'dave',
    detail: { drills: [{ key: 'key_1', purpose: 'operate', generation: 1, preimage: 'A'.repeat(43) }] },
    outcome: { results: [{ key: 'key_1', purpose: 'operate', generation: 1, result: 'opened' }] },
  },
  'import.prepare': {
    detail: { import: 'imp_2', expiresAt: TIME },
    outcome: { import: 'imp_2', expiresAt: TIME },
  },
  'import.expire': { detail: { import: 'imp_1' }, outcome: { import: 'imp_1' } },
  'recovery.request': filed('rec_new'),
  'recovery.approve': {
    subject: { recovery: 'rec_open' },
    actor: 'dave',
    detail: { statement: 'a.b.c' },
    outcome: { releasableAt: TIME },
  },
  'recovery.intend': {
    subject: { recovery: 'rec_open' },
    actor: 'dave',
    detail: { statement: 'a.b.c' },
    outcome: { intendedAt: TIME },
  },
  'recovery.remind': { ...onOpen, outcome: { depositaries: ['dave'] } },
  'recovery.deny': { ...onOpen, actor: 'dora' },
  'recovery.veto': onOpen,
  'recovery.cancel': onOpen,
  'recovery.stop': onOpen,
  'recovery.expire': onOpen,
  'recovery.release': onOpen,
  'recovery.activate': activated('rec_open', 'grant_2'),
  'grant.sign': use,
  'grant.decrypt': use,
  'grant.certify': { ...onGrant, outcome: { certificate: 'a.b.c' } },
  'grant.revoke': onGrant,
  'grant.expire': onGrant,
  'grant.exhaust': onGrant,
} as const satisfies Partial<Record<Act, Said>>;

beforeAll(async () => {
  server = await startTestServer();
  const database = await openOn(server, signer);
  size = await logHappened(database);
  await database.close();
});
beforeEach(() => {
  closing = [];
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  for (const [table, column] of [
    ['log_entry', 'seq'],
    ['log_batch', 'first'],
  ]) {
    await query(server.owner, `alter table ${table} disable trigger all`);
    await query(server.owner, `delete from ${table} where ${column} >= $1`, [size]);
    await query(server.owner, `alter table ${table} enable always trigger append_only`);
  }
  await query(server.owner, 'update log_head set size = $1', [size]);
});
afterAll(() => server.stop());

async function newestCheckpoint(): Promise<number> {
  const [row] = await query<{ size: number }>(
    server.owner,
    'select max(size)::int as size from log_checkpoint',
  );
  return row?.size ?? NaN;
}

async function insert(entries: readonly Uint8Array[]): Promise<void> {
  for (const [at, entry] of entries.entries()) {
    await query(
      server.daemon,
      `insert into log_entry (seq, id, part, entry) values ($1, 'act_0', 'alone', $2)`,
      [size + at, Buffer.from(entry)],
    );
  }
  await query(server.daemon, 'update log_head set size = $1', [size + entries.length]);
}

/** Signs entries with a key that the database has made, as this writer. */
async function signed(writer: string, entries: readonly Uint8Array[], counter: number): Promise<void> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const batch = {
    log: signer.vkey,
    writer,
    counter,
    follows: counter - 1,
    since: 1,
    leaves: entries.map(leafHash),
  };
  await query(
    server.daemon,
    `insert into log_batch (first, count, writer, counter, follows, since, signature) values ($1, $2, $3, $4, $5, $6, $7)`,
    [size, entries.length, writer, counter, counter - 1, 1, sign(null, batchBytes(batch), privateKey)],
  );
  const key = String(publicKey.export({ format: 'jwk' }).x);
  const input = writerInput({ aud: signer.vkey, sub: writer, key, from: 0, iat: 1_770_000_000 });
  const by = await softwareCertifier().attest(Buffer.from(input));
  await query(
    server.daemon,
    'insert into log_writer (id, certificate) values ($1, $2) on conflict do nothing',
    [writer, `${input}.${Buffer.from(by).toString('base64url')}`],
  );
}

/** How the database passes its entries off, and what a daemon says of that. */
const ways = {
  'without a writer': [() => Promise.resolve(), /was not written by a daemon/],
  'by a writer of its own': [
    (entries) => signed('forged', entries, 1),
    /the writer forged has no certificate of this log's/,
  ],
  'in the name of a daemon': [
    (entries, of) => signed(of.instance, entries, 1),
    /are not those that a daemon wrote there/,
  ],
} as const satisfies Record<
  string,
  readonly [(entries: readonly Uint8Array[], of: Database) => Promise<void>, RegExp]
>;
type Way = keyof typeof ways;
const WAYS = Object.keys(ways) as readonly Way[];

interface Inserted {
  readonly way: Way;
  readonly act: string;
  readonly said: Said;
  readonly changes: boolean;
}

/** Each act in one of the ways, and a veto in all of them. */
const rows: readonly (readonly [string, Inserted])[] = [
  ...Object.keys(MEANS).map((act, at): Inserted => {
    const said: Said | undefined = (changing as Partial<Record<string, Said>>)[act];
    const way = WAYS[at % WAYS.length] ?? 'without a writer';
    return { way, act, said: said ?? {}, changes: said !== undefined };
  }),
  ...WAYS.map((way): Inserted => ({ way, act: 'recovery.veto', said: onOpen, changes: true })),
  ...WAYS.map((way): Inserted => ({
    way,
    act: 'recovery.request',
    said: filed('rec_vetoed'),
    changes: true,
  })),
].map((row) => [`${row.act} of ${JSON.stringify(row.said.subject ?? {})}, ${row.way}`, row]);

describe('what the database inserts is believed by neither of two daemons, and is in no tree', () => {
  it.each(rows)('%s', async (_what, { way, act, said, changes }) => {
    const states = [new LogState(), new LogState()];
    const daemons: Database[] = [];
    for (const follow of states) {
      const database = await openOn(server, signer, { follow, checkpointIntervalMs: 20 });
      closing.push(() => database.close());
      daemons.push(database);
    }
    const before = seen(states[0] ?? new LogState());
    const [passOff, found] = ways[way];
    const entries = entriesOf(act, said);
    const [, other] = daemons;
    await insert(entries);
    if (other !== undefined) await passOff(entries, other);
    for (const [at, database] of daemons.entries()) {
      await expect(database.followed.caughtUp()).rejects.toMatchObject({ code: 'log-unavailable' });
      expect((await database.failed).message).toMatch(found);
      expect(seen(states[at] ?? new LogState())).toBe(before);
    }
    expect(await newestCheckpoint()).toBe(size);

    // the control: whoever does not ask who wrote it has it among what has happened
    const believing = new LogState();
    const blind = await composeDaemon(server, { signer, certifier }, 'the signatures of writers', believing);
    closing.push(() => blind.close());
    await blind.followed.through(size + entries.length - 1);
    expect(seen(believing) !== before).toBe(changes);
  });
});

it('a tree is signed over it by a daemon that does not ask who wrote it', async () => {
  await insert(entriesOf('recovery.veto', onOpen));
  const blind = await composeDaemon(server, { signer, certifier }, 'the signatures of writers');
  closing.push(() => blind.close());
  expect(await blind.integrator.covering(size + 2, 2000)).toMatchObject({ size: size + 2 });
});
