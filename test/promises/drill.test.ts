import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';

import type { DrillOrder } from '../../src/api/orders.js';
import type { DrillPageReply, KeyReply } from '../../src/api/replies.js';
import { believeDrills, findShare, signDrills } from '../../src/client/depositary/drill.js';
import type { DrillTrust, FoundShare } from '../../src/client/depositary/drill.js';
import { drillAll } from '../../src/client/depositary/drillJob.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import type { Deposit } from '../../src/escrow/records/deposit.js';
import { chainNext } from '../../src/escrow/records/drills/drilling.js';
import type { Drill } from '../../src/escrow/records/drills/drilling.js';
import { type DepositRow, toDeposit, toDocument } from '../../src/postgres/rows.js';
import { type Ran, escrowctl, jsonOf } from '../cli/commandLine.js';
import { ClosureAttack } from '../support/closure.js';
import { type DatabaseDump, dumpDatabase, ownerOf } from '../support/databaseDump.js';
import { agree, makeKey } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import { openDeposit, tokenKeys } from '../support/openedDeposit.js';
import { query } from '../support/postgres.js';
import type { PersonName, System } from '../support/system.js';
import { DEPOSITARIES, makeSystem } from '../support/system.js';
import { newId } from '../../src/escrow/records/ids.js';
import { freshBytes } from '../support/fresh.js';
import { filed, toOperate } from './recoveries.js';
import { refusalOf } from './refusals.js';
import { entriesFrom, expectLogHolds } from './wholeLog.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Promise 11: what was deposited is drilled before it is needed. A drill finds what does not open, by name; and it gives nobody
 * anything.
 */
let system: System;
const keys: KeyReply[] = [];

beforeAll(async () => {
  const operatorLog = createOperatorLog('error', true);
  operatorLog.silent = true; // rows that are damaged on purpose, which it would tell
  system = await makeSystem({ operatorLog });
  for (let made = 0; made < 3; made += 1) {
    keys.push(await makeKey(system, { spec: 'ec-p256', use: 'sign' }));
    // of both purposes
    keys.push(await makeKey(system, { spec: 'aes-256', use: 'decrypt' }));
  }
});
afterAll(() => system.remove());
afterEach(async () => {
  await expectLogHolds(system);
});

function run(by: PersonName, ...argv: readonly string[]): Promise<Ran> {
  return escrowctl([...argv, '--as', join(system.directory, 'people', by)]);
}

function trustOf(by: PersonName): DrillTrust {
  const identity = system.identity(by);
  const { identityKey } = identity.pins;
  const log = identity.logView(system.client(by));
  return { identityKey, depositary: identity.id, log, generations: identity.generations };
}

/** What the client of somebody finds of what the server shows them. */
async function foundBy(by: PersonName, page: DrillPageReply): Promise<readonly FoundShare[]> {
  const trust = trustOf(by);
  const opener = await system.identity(by).depositaryOpener();
  const found: FoundShare[] = [];
  for (const share of await believeDrills(page, trust)) found.push(await findShare(share, opener, trust));
  return found;
}

/** A drill of one share of theirs as it is right, or changed. */
async function orderOf(
  by: PersonName,
  { key }: Pick<KeyReply, 'key'>,
  change: (drill: Drill) => Partial<Drill> = () => ({}),
  at = new Date(),
): Promise<DrillOrder> {
  const [found] = await foundBy(by, await system.client(by).drills({ key }));
  if (found?.drill === undefined) throw new Error('nothing to drill');
  const drill = { ...found.drill, ...change(found.drill) };
  const { logKey } = system.identity(by).pins;
  return signDrills([drill], found.checkpoint, system.identity(by).signer, { logKey, now: at });
}

const namesIn = (ran: Ran): readonly (readonly [string, string])[] =>
  (jsonOf(ran)['failed'] as { key: string; result: string }[]).map(
    ({ key, result }) => [key, result] as const,
  );

/** Changes the record of a key as the owner of the database can; returns what puts it back. */
async function damaged(key: string, change: (deposit: Deposit) => void): Promise<() => Promise<unknown>> {
  const owner = await ownerOf(system);
  const [row] = await query<DepositRow>(
    owner,
    'select key, created_at, document from deposit where key = $1',
    [key],
  );
  if (row === undefined) throw new Error('there is no such key');
  const before = JSON.stringify(row.document);
  const deposit = toDeposit(row);
  change(deposit);
  const put = (document: string): Promise<unknown> =>
    query(owner, 'update deposit set document = $2 where key = $1', [key, document]);
  await put(toDocument(deposit));
  return () => put(before);
}

const flipped = (bytes: Uint8Array | undefined): void => {
  if (bytes === undefined) throw new Error('nothing to damage');
  bytes[20] = (bytes[20] ?? 0) ^ 1;
};
const shareOf = (deposit: Deposit, depositary: string): Deposit['purposes'][number]['shares'][number] => {
  const share = deposit.purposes[0]?.shares.find((one) => one.depositary === depositary);
  if (share === undefined) throw new Error('there is no such share');
  return share;
};

const opened: unknown = expect.objectContaining({ result: 'opened', isProven: true });

test('the inbox asks for drills, each depositary does theirs, and nothing is due after that', async () => {
  for (const by of DEPOSITARIES) {
    expect((await run(by, 'inbox')).out).toContain('escrowctl drill');
    const drilled = await run(by, 'drill', '--json');
    expect(drilled).toMatchObject({ exit: 0, err: '' });
    const { shares, failed, unlisted } = jsonOf(drilled) as Record<string, unknown[]>;
    // one of each signing key, two of each that is for both purposes
    expect([shares?.length, failed, unlisted]).toEqual([9, [], 0]);
    expect(shares).toEqual(shares?.map(() => opened));
    expect((await run(by, 'inbox')).out).not.toContain('escrowctl drill');
    expect((await run(by, 'drill')).out).toContain('No drill is due.');
  }
  const done = (await entriesFrom(system, 0)).filter(
    ({ act, phase }) => act === 'key.drill' && phase === 'done',
  );
  expect(done.every(({ subject }) => subject.owner === 'owner')).toBe(true);
  const covered = await system.client('owner').coverage();
  for (const { purposes } of covered.items) {
    for (const { live, drilled } of purposes) expect(drilled).toEqual(live);
  }
});

test('one byte of a share, a link or a sealed copy: the drill names exactly these keys, and why', async () => {
  const [share, link, sealed, row] = keys as [KeyReply, KeyReply, KeyReply, KeyReply];
  const back = [
    await damaged(share.key, (deposit) => {
      flipped(shareOf(deposit, 'manager').share);
    }),
    await damaged(link.key, (deposit) => {
      flipped(shareOf(deposit, 'manager').link);
    }),
    await damaged(sealed.key, (deposit) => {
      flipped(deposit.purposes[0]?.quorums[1]?.sealed);
    }),
  ];
  const own = await run('manager', 'drill', '--all', '--json');
  expect(own.exit).toBe(1);
  expect([...namesIn(own)].sort()).toEqual(
    [
      [share.key, 'share-mismatch'],
      [link.key, 'link-unopened'],
      // the record of the key is damaged, for whatever purpose
      [link.key, 'record-mismatch'],
      [sealed.key, 'record-mismatch'],
    ].sort(),
  );
  const told = await run('manager', 'drill', '--all');
  expect(told.exit).toBe(1);
  for (const { key } of [share, link, sealed]) expect(told.out).toContain(key);
  expect(told.out).not.toContain(row.key);
  // the others' shares open; that the record is damaged the server says
  const others = await run('officer-1', 'drill', '--all', '--json');
  expect(others.exit).toBe(1);
  expect([...new Set(namesIn(others).map(([key, why]) => `${key} ${why}`))].sort()).toEqual(
    [share, link, sealed].map(({ key }) => `${key} record-mismatch`).sort(),
  );
  for (const restore of back) await restore();
  // what failed is due, and nothing else
  const again = await run('manager', 'drill', '--json');
  expect(again).toMatchObject({ exit: 0, err: '' });
  expect((jsonOf(again)['shares'] as { key: string }[]).map(({ key }) => key).sort()).toEqual(
    [share.key, link.key, link.key, sealed.key].sort(),
  );
  expect((await run('officer-1', 'drill')).exit).toBe(0);
  expect((await system.client('auditor').grants()).items).toEqual([]);
});

test('a record that is gone is missed: the log knows that there is a share', async () => {
  const owner = await ownerOf(system);
  await query(owner, `update deposit set depositaries = '{officer-1}' where key = $1`, [keys[5]?.key]);
  const drilled = await run('manager', 'drill', '--all', '--json');
  expect([drilled.exit, jsonOf(drilled)['unlisted']]).toEqual([1, 1]);
  await query(owner, `update deposit set depositaries = '{manager,officer-1,officer-2}' where key = $1`, [
    keys[5]?.key,
  ]);
  expect((await run('manager', 'drill', '--all')).exit).toBe(0);
});

test('a key that is named is missed as well, and one of which there is no share is said', async () => {
  const [kept, lost] = [firstKey().key, secondKey().key];
  const owner = await ownerOf(system);
  const renamed = 'update deposit set key = $2 where key = $1';
  const elsewhere = `key_${'f'.repeat(32)}`;
  await query(owner, renamed, [lost, elsewhere]);
  const drilled = await run('manager', 'drill', lost, kept, '--json');
  await query(owner, renamed, [elsewhere, lost]);
  expect([drilled.exit, jsonOf(drilled)]).toEqual([
    1,
    expect.objectContaining({ unlisted: 1, notShown: [lost], failed: [] }),
  ]);
  const nobodys = `key_${'0'.repeat(32)}`;
  const none = await run('manager', 'drill', nobodys, kept, '--json');
  expect([none.exit, jsonOf(none)]).toEqual([
    1,
    expect.objectContaining({ notShown: [nobodys], unlisted: 0 }),
  ]);
  expect((await run('manager', 'drill', nobodys)).out).toContain(nobodys);
});

test('what another device has drilled meanwhile keeps none of the others out of the log', async () => {
  const client = system.client('manager');
  const shown = await client.drills();
  const between = await orderOf('manager', firstKey());
  await client.sendDrill(between);
  const report = await drillAll(
    {
      client: { drills: () => Promise.resolve(shown), sendDrill: (order) => client.sendDrill(order) },
      trust: trustOf('manager'),
      signer: system.identity('manager').signer,
      depositaryKey: await system.identity('manager').depositaryOpener(),
      now: () => new Date(),
      progress: () => undefined,
    },
    'all',
  );
  expect(report.refused.map(({ keys, problem }) => [keys, problem.code])).toEqual([
    [[firstKey().key], 'drill-out-of-turn'],
  ]);
  const others = report.shares.filter(({ key }) => key !== firstKey().key);
  expect(others.length).toBeGreaterThan(5);
  expect(others.every(({ entry }) => entry !== undefined)).toBe(true);
});

/** A hash of the chain that is shown before its turn, or after it. */
const later = ({ preimage }: Drill): Partial<Drill> => ({
  preimage: chainNext(Buffer.from(preimage ?? '', 'base64url')).toString('base64url'),
});
const REFUSED: readonly (readonly [name: string, order: () => Promise<DrillOrder>, code: string])[] = [
  ['a hash that was shown before', () => orderOf('manager', firstKey(), later), 'drill-out-of-turn'],
  [
    'a hash of nothing',
    () => orderOf('manager', firstKey(), () => ({ preimage: 'A'.repeat(43) })),
    'drill-out-of-turn',
  ],
  ['no hash', () => orderOf('manager', firstKey(), () => ({ preimage: null })), 'drill-out-of-turn'],
  ['another deposit', () => orderOf('manager', firstKey(), () => ({ generation: 2 })), 'drill-mismatch'],
  ['another purpose', () => orderOf('manager', firstKey(), () => ({ purpose: 'release' })), 'forbidden'],
  [
    'the hash of another key',
    async () => {
      const { drills } = await orderOf('manager', secondKey());
      return orderOf('manager', firstKey(), () => ({ preimage: drills[0]?.preimage ?? null }));
    },
    'drill-out-of-turn',
  ],
  [
    'another share',
    () => orderOf('manager', firstKey(), () => ({ share: 'ab'.repeat(32) })),
    'drill-mismatch',
  ],
  ['another link', () => orderOf('manager', firstKey(), () => ({ link: 'ab'.repeat(32) })), 'drill-mismatch'],
  [
    'a hash of what did not open',
    () => orderOf('manager', firstKey(), () => ({ result: 'link-unopened' })),
    'drill-mismatch',
  ],
  ['the word of somebody else', () => orderOf('officer-1', firstKey()), 'drill-signature-invalid'],
  [
    'a word of yesterday',
    () => orderOf('manager', firstKey(), undefined, new Date(Date.now() - 86_400_000)),
    'drill-expired',
  ],
  [
    'a word about something else',
    async () => ({
      ...(await orderOf('manager', firstKey())),
      drills: (await orderOf('manager', secondKey())).drills,
    }),
    'drill-mismatch',
  ],
];

const firstKey = (): KeyReply => signingKey(0);
const secondKey = (): KeyReply => signingKey(2);
function signingKey(at: number): KeyReply {
  const key = keys[at];
  if (key === undefined) throw new Error('there is no such key');
  return key;
}

test.each(REFUSED)('%s is refused, and uses nothing up', async (_name, order, code) => {
  const before = await system.client('manager').drills({ key: firstKey().key });
  expect(await refusalOf(system.client('manager').sendDrill(await order()))).toBe(code);
  const after = await system.client('manager').drills({ key: firstKey().key });
  expect(after.items).toEqual(before.items);
});

test('the same drill twice, and two at once: one counts', async () => {
  const order = await orderOf('manager', firstKey());
  const answers = await Promise.allSettled([1, 2, 3].map(() => system.client('manager').sendDrill(order)));
  expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(await refusalOf(system.client('manager').sendDrill(order))).toBe('drill-out-of-turn');
});

test('who has no share drills none, and the next deposit has a chain of its own', async () => {
  const fresh = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  const old = await orderOf('manager', fresh);
  const { result } = await system.client('admin-1').requestRecovery({
    ...{ purpose: 'reseal', keys: [fresh.key], reason: 'a new rule', validFor: 'PT1H' },
    job: newId('JobId', freshBytes),
  });
  expect((await agree(system, result.recovery)).status).toBe('resealed');
  expect(await refusalOf(system.client('manager').sendDrill(old))).toBe('drill-mismatch');
  // a reseal ends with the drill of those whom the key was sealed to
  expect((await run('officer-2', 'inbox')).out).toContain('escrowctl drill');
  for (const by of DEPOSITARIES) {
    expect(await run(by, 'drill', fresh.key, '--json')).toMatchObject({ exit: 0, err: '' });
  }
});

test('the host keeps all that the drills of everybody gave it, with the PIN, and opens nothing; replies would have opened all', async () => {
  // one of each kind: what is tried grows with the third power of them
  const tried = keys.slice(0, 2);
  const token = tokenKeys(system.hsm);
  const people = new Map<string, KeyObject>();
  for (const id of DEPOSITARIES) people.set(id, await system.identity(id).depositaryKey());
  const sent: { readonly table: string; readonly text: string }[] = [];
  const hashes: Buffer[] = [];
  for (const by of DEPOSITARIES) {
    for (const key of tried) {
      const found = await foundBy(by, await system.client(by).drills({ key: key.key }));
      const drills = found.flatMap(({ drill }) => drill ?? []);
      const [first] = found;
      if (first === undefined) throw new Error('nothing to drill');
      const { logKey } = system.identity(by).pins;
      const at = { logKey, now: new Date() };
      const order = await signDrills(drills, first.checkpoint, system.identity(by).signer, at);
      sent.push({ table: 'sent', text: JSON.stringify(order) });
      hashes.push(...drills.map(({ preimage }) => Buffer.from(preimage ?? '', 'base64url')));
      await system.client(by).sendDrill(order);
    }
  }
  expect(hashes).toHaveLength(9);
  const dump = await dumpDatabase(system);
  const named = new Set(tried.map(({ key }) => key));
  const wanted = dump.deposits.filter(({ key }) => named.has(key));
  const rows = dump.rows.filter(({ text }) => tried.some(({ key }) => text.includes(key)));
  const opened = (more: DatabaseDump['rows']): readonly string[] => {
    const loot = new ClosureAttack({ ...dump, deposits: wanted, rows: [...rows, ...more] }).lootOf({
      rsa: [...token.serverFor.values(), ...tokenKeys(system.hsm).transports.values()],
      aes: [...token.keks.values(), ...hashes],
    });
    return wanted
      .flatMap((deposit) => openDeposit(deposit, people, token))
      .filter(({ user }) => loot.has(user.toString('hex')))
      .map(({ key }) => key);
  };
  expect([...new Set(opened(sent))]).toEqual([]);
  // the control: the same by replies to a key of the host
  const replies: { readonly table: string; readonly text: string }[] = [];
  for (const key of tried) {
    const scope =
      key.spec === 'aes-256' ? ({ operations: ['decrypt'], mechanisms: ['A256GCM'] } as const) : {};
    const { recovery } = await filed(system, toOperate(key, scope));
    for (const by of ['manager', 'officer-1'] as const) {
      replies.push({ table: 'sent', text: JSON.stringify(await system.makeApproval(by, recovery)) });
    }
  }
  expect([...new Set(opened(replies))].sort()).toEqual([...named].sort());
});
