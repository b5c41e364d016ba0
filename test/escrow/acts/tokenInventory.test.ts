import type { GrantId, RecoveryId } from '../../../src/escrow/records/ids.js';
import { unaccountedObjects } from '../../../src/escrow/acts/tokenInventory.js';
import type { GrantFacts, LogFacts } from '../../../src/escrow/logged/logFacts.js';
import { LogState } from '../../../src/escrow/logged/logState.js';
import type { RecordedObjects, Token, UnaccountedObject } from '../../../src/escrow/ports/token.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import { decodeEntry, encodeEntry } from '../../../src/log/entry/entry.js';
import { approve, ask, worldOf } from '../symbolicPeople.js';

const id = (prefix: string, digit: string): string => `${prefix}_${digit.repeat(32)}`;

/** A token that says what the records account for, and finds what it is told to find. */
function askedToken(found: readonly UnaccountedObject[] = []): {
  readonly token: Pick<Token, 'unaccounted'>;
  readonly asked: RecordedObjects[];
} {
  const asked: RecordedObjects[] = [];
  const unaccounted: Token['unaccounted'] = async (records) => {
    asked.push(await records({ transports: [], grants: [], imports: [] }));
    return found;
  };
  return { token: { unaccounted }, asked };
}

/** What another daemon has begun and not ended. */
function attempt(act: string, subject: Entry['subject'], detail: Entry['detail']): Uint8Array {
  const common = { v: 1, time: '2026-03-01T12:00:00.000Z', phase: 'attempted', actor: 'escrowd' } as const;
  return encodeEntry({ ...common, act, id: `${id('act', '1')}${act}`, subject, detail });
}

test('the records account for the pair of an open request and for a grant that runs, as it was raised', async () => {
  const { world, keys } = await worldOf({});
  const { escrow } = world;
  const active = await ask({ world, keys });
  for (const by of ['dana', 'dave']) await approve(world, by, active);
  const pending = await ask({ world, keys });
  const { token, asked } = askedToken();
  expect(await unaccountedObjects({ escrow, token })).toEqual([]);
  const [records] = asked;
  const [grant] = world.raised;
  expect([...(records?.transports ?? [])]).toEqual([pending.id]);
  expect([...(records?.grants ?? [])]).toEqual([
    [
      grant,
      expect.objectContaining({
        uses: expect.any(Array) as unknown,
        mechanisms: expect.any(Array) as unknown,
      }),
    ],
  ]);
});

test('what another daemon makes is accounted for from its attempt on, and no more when that has come to nothing', async () => {
  const { world } = await worldOf({});
  const { escrow } = world;
  const log = new LogState();
  world.facts = log;
  const attempts = [
    attempt('recovery.request', { recovery: id('rec', '1') }, {}),
    attempt(
      'recovery.activate',
      { recovery: id('rec', '2') },
      { grants: { [id('key', '1')]: id('grant', '1') } },
    ),
  ];
  attempts.forEach((entry, index) => {
    log.take(index, entry);
  });
  const { token, asked } = askedToken();
  await unaccountedObjects({ escrow, token });
  attempts.forEach((entry, index) => {
    log.take(
      index,
      encodeEntry({ ...decodeEntry(entry), phase: 'failed', error: 'interrupted', detail: {} }),
    );
  });
  await unaccountedObjects({ escrow, token });
  expect(asked).toEqual([
    {
      transports: new Set([id('rec', '1'), id('rec', '2')]),
      imports: new Set(),
      grants: new Map([[id('grant', '1'), undefined]]),
    },
    { transports: new Set(), grants: new Map(), imports: new Set() },
  ]);
});

test('the log is followed to its head when the list of the token was made, so that nothing falls between', async () => {
  const { world } = await worldOf({});
  const order: string[] = [];
  const caughtUp = (): Promise<void> => {
    order.push('followed');
    return Promise.resolve();
  };
  const { followed } = world.escrow;
  const escrow = { ...world.escrow, followed: { ...followed, facts: world.facts, caughtUp } };
  const token: Pick<Token, 'unaccounted'> = {
    unaccounted: async (records) => {
      order.push('listed');
      await records({ transports: [], grants: [], imports: [] });
      return [];
    },
  };
  await unaccountedObjects({ escrow, token });
  expect(order).toEqual(['listed', 'followed']);
});

test('no row accounts for an object, and none takes away what accounts for one', async () => {
  const { world, keys } = await worldOf({});
  const active = await ask({ world, keys });
  for (const by of ['dana', 'dave']) await approve(world, by, active);
  const pending = await ask({ world, keys });
  const [grant] = world.grants.values();
  const row = world.recoveries.get(pending.id);
  if (grant === undefined || row === undefined) throw new Error('there are records');
  const forged = { request: id('rec', '7') as RecoveryId, grant: id('grant', '7') as GrantId };
  world.recoveries.set(forged.request, { ...row, id: forged.request });
  world.grants.set(forged.grant, { ...grant, id: forged.grant });
  world.recoveries.delete(pending.id);
  world.grants.set(grant.id, { ...grant, status: 'revoked', spec: 'rsa-3072' });
  expect(grant.spec).not.toBe('rsa-3072');
  const { token, asked } = askedToken();
  await unaccountedObjects({ escrow: world.escrow, token });
  const { operations: uses, mechanisms } = grant.scope;
  expect(asked).toEqual([
    {
      transports: new Set([pending.id]),
      grants: new Map([[grant.id, { spec: grant.spec, uses, mechanisms }]]),
      imports: new Set(),
    },
  ]);
});

test('of a grant whose request did not say what its key is, how it was raised is asked of the record, which is held against the log', async () => {
  const { world, keys } = await worldOf({});
  const active = await ask({ world, keys });
  for (const by of ['dana', 'dave']) await approve(world, by, active);
  const [grant] = world.grants.values();
  if (grant === undefined) throw new Error('there is a grant');
  const { facts } = world;
  const { operations: uses, mechanisms } = grant.scope;
  world.facts = withGrants(facts, { spec: undefined });
  const { token, asked } = askedToken();
  await unaccountedObjects({ escrow: world.escrow, token });
  world.grants.set(grant.id, { ...grant, owner: 'otto' as typeof grant.owner });
  await unaccountedObjects({ escrow: world.escrow, token });
  expect(asked.map(({ grants }) => grants.get(grant.id))).toEqual([
    { spec: grant.spec, uses, mechanisms },
    undefined,
  ]);
});

/** The same facts, with these in place of what they say of each grant. */
function withGrants(facts: LogFacts, other: Partial<GrantFacts>): LogFacts {
  const grant = (id: string): GrantFacts | undefined => {
    const said = facts.grant(id);
    return said && { ...said, ...other };
  };
  return new Proxy(facts, {
    get: (target, name) => {
      if (name === 'grant') return grant;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}

test('a daemon on another copy of the records tells nobody of objects that are not its own: it stops', async () => {
  const { world } = await worldOf({});
  const { escrow, device } = world;
  device.isForeign = true;
  const found: UnaccountedObject = { alarm: 'token-object-foreign', what: 'private key "grant:1"' };
  const looking = unaccountedObjects({ escrow, token: askedToken([found]).token });
  await expect(looking).rejects.toThrow('another copy');
  device.isForeign = false;
  expect(await unaccountedObjects({ escrow, token: askedToken([found]).token })).toEqual([found]);
});
