import { hash } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';

import type { SavedState } from '../../../src/escrow/logged/logState.js';
import { LogState } from '../../../src/escrow/logged/logState.js';
import type { Certifier } from '../../../src/escrow/ports/signers.ts';
import type { Anchor } from '../../../src/log/anchor.js';
import { encodeBase64 } from '../../../src/log/note/base64.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import { identityInput } from '../../../src/log/statements/identity.js';
import { STATE_TYPE } from '../../../src/log/statements/state.js';
import type { Database } from '../../../src/postgres/database.js';
import { anchorage, certifier, openOn } from '../../postgres/fixtures.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareCertifier, softwareSigner } from '../../support/signer.js';
import { composeDaemon } from './daemonParts.js';
import { entriesOf, filed, followOf, logAct, logHappened, seen } from './loggedActs.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

/*
 * The state that a start goes on from is kept in the database, which may be written by whoever has the daemon's role. It is
 * believed by the identity key's signature and by the tree that it is of, or every entry is read. The control is a start that
 * takes what stands there.
 */
const signer = softwareSigner();
let server: TestServer;
let closing: (() => Promise<void>)[];
/** What a daemon that has read every entry decides by, and how many there are. */
let truth: string;
let size: number;

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  closing = [];
  await server.reset();
  const facts = new LogState();
  const database = await openOn(server, signer, { follow: followOf(facts) });
  size = await logHappened(database);
  truth = seen(facts);
  await database.close();
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
});
afterAll(() => server.stop());

interface Started {
  readonly database: Database;
  readonly facts: LogState;
  /** How many entries it was given to make its state. */
  readonly read: number;
}

async function started(options: Parameters<typeof openOn>[2] = {}, release?: string): Promise<Started> {
  const facts = new LogState();
  const follow = followOf(facts, release);
  const database = await openOn(server, signer, { follow, ...options });
  closing.push(() => database.close());
  return { database, facts, read: follow.taken() };
}

interface Row {
  readonly statement: string;
  readonly state: Buffer;
}

async function kept(): Promise<Row> {
  const [row] = await query<Row>(server.daemon, 'select statement, state from log_state');
  if (row === undefined) throw new Error('no state is kept');
  return row;
}

/** What the daemon's own role can do. */
async function replace({ statement, state }: Row): Promise<void> {
  await query(
    server.daemon,
    `insert into log_state (id, statement, state) values (1, $1, $2)
     on conflict (id) do update set statement = excluded.statement, state = excluded.state`,
    [statement, state],
  );
}

/** A statement with other members, or of another kind, signed by this key. */
async function restated(
  { statement }: Row,
  change: Readonly<Record<string, Json>>,
  { by = certifier, typ = STATE_TYPE }: { readonly by?: Certifier; readonly typ?: string } = {},
): Promise<string> {
  const said = JSON.parse(Buffer.from(statement.split('.')[1] ?? '', 'base64url').toString()) as object;
  const input = identityInput(typ, { ...said, ...change });
  return `${input}.${Buffer.from(await by.attest(Buffer.from(input))).toString('base64url')}`;
}

/** A state in which the veto has not happened, nor the newest policy. */
function untrue({ state }: Row): Buffer {
  const saved = deserialize(state) as SavedState;
  const open = new Map(saved.requests.open);
  const facts = open.get('rec_open');
  if (facts !== undefined) open.set('rec_vetoed', facts);
  return serialize({ ...saved, policy: undefined, requests: { ...saved.requests, open } });
}

const digestOf = (state: Uint8Array): string => hash('sha256', state, 'hex');

it('a start goes on from the state that was kept at the end, and reads what came since', async () => {
  const first = await started();
  expect(first.read).toBe(0);
  expect(seen(first.facts)).toBe(truth);
  await logAct(first.database, 'recovery.request', filed('rec_new'));
  const other = await started(); // it is not kept yet
  expect(other.read).toBe(2);
  expect(seen(other.facts)).toBe(seen(first.facts));
  await first.database.close();
  expect((await started()).read).toBe(0);
});

it('an act that was begun before the state was kept is under way after it', async () => {
  const { database } = await started();
  const [attempt, outcome] = entriesOf('recovery.veto', { subject: { recovery: 'rec_open' } });
  const write = (entry: Uint8Array | undefined, role: 'opens' | 'closes') =>
    database.journal.append({
      ...{ id: 'act_1' as never, role, entry: entry ?? new Uint8Array(), about: {}, claims: [], changes: [] },
    });
  await write(attempt, 'opens');
  await database.close();
  const { facts, read, database: next } = await started();
  expect(read).toBe(0);
  expect(facts.save().attempts.size).toBe(1);
  expect(facts.request('rec_open')).toBeDefined();
  closing.pop();
  await next.journal.append({
    ...{ id: 'act_1' as never, role: 'closes', entry: outcome ?? new Uint8Array(), about: {} },
    ...{ claims: [], changes: [] },
  });
  await next.followed.caughtUp();
  expect(facts.save().attempts.size).toBe(0);
  expect(facts.request('rec_open')).toBeUndefined();
  await next.close();
});

describe('a state that is not believed: every entry is read', () => {
  const other = softwareCertifier();
  const rows: readonly (readonly [string, (row: Row) => Promise<Row>])[] = [
    ['another state under the same statement', (row) => Promise.resolve({ ...row, state: untrue(row) })],
    [
      'signed by another key',
      async (row) => {
        const state = untrue(row);
        return { state, statement: await restated(row, { state: digestOf(state) }, { by: other }) };
      },
    ],
    [
      'signed by the identity key as something else',
      async (row) => {
        const state = untrue(row);
        const typ = 'escrowd-history+jwt';
        return { state, statement: await restated(row, { state: digestOf(state) }, { typ }) };
      },
    ],
    ['of another log', async (row) => ({ ...row, statement: await restated(row, { aud: 'other' }) })],
    ['that says more', async (row) => ({ ...row, statement: await restated(row, { also: 1 }) })],
    ['of another release', async (row) => ({ ...row, statement: await restated(row, { release: '0.9.0' }) })],
    ['without a size', async (row) => ({ ...row, statement: await restated(row, { size: 'all' }) })],
    ['without a root', async (row) => ({ ...row, statement: await restated(row, { root: '-' }) })],
    [
      'without a signature',
      ({ statement, state }) => Promise.resolve({ statement: statement.replace(/[^.]*$/, ''), state }),
    ],
    ['that is none', ({ state }) => Promise.resolve({ statement: 'x', state })],
  ];

  it.each(rows)('%s', async (_what, change) => {
    await replace(await change(await kept()));
    const { read, facts } = await started();
    expect(read).toBe(size);
    expect(seen(facts)).toBe(truth);
  });

  it('one that was taken away', async () => {
    await query(server.owner, 'delete from log_state');
    expect((await started()).read).toBe(size);
  });

  it('and has a row for every column', async () => {
    const columns = await query<{ name: string }>(
      server.owner,
      `select column_name as name from information_schema.columns where table_name = 'log_state' order by 1`,
    );
    expect(columns.map(({ name }) => name)).toEqual(['id', 'state', 'statement']);
  });

  it('is followed by a start that takes what stands there', async () => {
    const row = await kept();
    const facts = new LogState();
    const blind = await composeDaemon(server, { signer, certifier }, 'nothing', followOf(facts), {
      ...{ size, root: rootIn(row) },
      state: untrue(row),
    });
    closing.push(() => blind.close());
    expect(seen(facts)).not.toBe(truth);
    expect([facts.request('rec_vetoed') !== undefined, facts.policy]).toEqual([true, undefined]);
  });
});

describe('a state from before the anchor, as a daemon leaves it that is killed when it has moved the one and not kept the other', () => {
  /** What is kept, and then a veto, with the anchor behind it. */
  async function left(): Promise<{ readonly row: Row; readonly anchor: Anchor; readonly now: string }> {
    const row = await kept();
    const token = anchorage();
    const { database, facts } = await started({ anchorage: token });
    await logAct(database, 'recovery.veto', { subject: { recovery: 'rec_open' } });
    const now = seen(facts);
    expect(now).not.toBe(truth);
    await database.close();
    closing.pop();
    expect(token.anchor.size).toBe(size + 2);
    await replace(row);
    return { row, anchor: token.anchor, now };
  }

  it('is gone on from, to the same state', async () => {
    const { row, anchor, now } = await left();
    const { read, facts, database } = await started({ anchorage: anchorage(anchor) });
    expect([read, seen(facts)]).toEqual([2, now]);
    await database.close();
    // as it is where the token remembers less, and where every entry is read
    await replace(row);
    const early = await started({ anchorage: anchorage() });
    expect([early.read, seen(early.facts)]).toEqual([2, now]);
    await early.database.close();
    await query(server.owner, 'delete from log_state');
    const all = await started({ anchorage: anchorage(anchor) });
    expect([all.read, seen(all.facts)]).toEqual([size + 2, now]);
  });

  it('of another history stops the start', async () => {
    const { row, anchor } = await left();
    const other = await restated(row, { root: encodeBase64(anchor.root) });
    await replace({ ...row, statement: other });
    await expect(started({ anchorage: anchorage(anchor) })).rejects.toMatchObject({
      name: 'LogDamaged',
      message: expect.stringMatching(/are not those whose state was signed/) as string,
    });
  });

  it('is not gone on from through another tree than the token remembers', async () => {
    const { row, anchor } = await left();
    const snapshot = { size, root: rootIn(row), state: row.state };
    const compose = async (remembered: Anchor): Promise<LogState> => {
      const facts = new LogState();
      const by = { signer, certifier };
      const daemon = await composeDaemon(server, by, 'nothing', followOf(facts), snapshot, remembered);
      closing.push(() => daemon.close());
      return facts;
    };
    for (const at of [size, size + 1, size + 2]) {
      const elsewhere = { ...anchor, size: at, root: Buffer.alloc(32, 1) };
      await expect(compose(elsewhere)).rejects.toMatchObject({
        name: 'LogDamaged',
        message: `the first ${at} entries are not those that the token remembers`,
      });
    }
    // the control: who does not ask for it on the way
    expect((await compose({ ...anchor, size: size - 1, root: Buffer.alloc(32, 1) })).policy).toBeDefined();
    expect((await compose(anchor)).policy).toBeDefined();
  });
});

/** The root of the tree that a statement is about. */
function rootIn({ statement }: Row): Buffer {
  const said = Buffer.from(statement.split('.')[1] ?? '', 'base64url').toString();
  return Buffer.from((JSON.parse(said) as { readonly root: string }).root, 'base64');
}

describe('a state that the identity key has signed, of entries that are not here, stops the start', () => {
  it('also where the rows are others only by the time that the entries behind it are read', async () => {
    const { state } = await kept();
    const other = { size, root: Buffer.alloc(32, 1), state };
    await expect(
      composeDaemon(server, { signer, certifier }, 'nothing', followOf(new LogState()), other),
    ).rejects.toMatchObject({ name: 'LogDamaged', message: expect.stringMatching(/whose state/) as string });
  });

  /** The log again, from the start, with other entries: the token and its keys are the same. */
  async function anew(more: number): Promise<void> {
    await server.reset();
    const database = await openOn(server, signer, { follow: followOf(new LogState()) });
    await logHappened(database);
    for (let at = 0; at < more; at += 1) await logAct(database, 'log.read', {});
    await database.close();
  }

  it.each<[string, number, RegExp]>([
    [
      'more than there are',
      0,
      /the newest checkpoint in the database is over 16 entries, and there was one over 18/,
    ],
    [
      'others than there are',
      2,
      /the first 18 of the 20 entries in the database are not those whose state was signed/,
    ],
  ])('%s', async (_what, more, found) => {
    const { database } = await started();
    await logAct(database, 'log.read', {});
    await database.close();
    const row = await kept();
    await anew(more);
    // the control: with the state of its own it starts
    expect((await started()).read).toBe(0);
    for (const close of closing.splice(0)) await close();
    await replace(row);
    await expect(started()).rejects.toMatchObject({
      name: 'LogDamaged',
      message: expect.stringMatching(found) as string,
    });
  });
});
