import type { ActId } from '../../src/escrow/ids.js';
import { unaccountedObjects } from '../../src/escrow/inventory.js';
import type { OpenAct } from '../../src/escrow/journal.js';
import type { RecordedObjects, Token, UnaccountedObject } from '../../src/escrow/ports.js';
import { encodeEntry } from '../../src/log/entry.js';
import { approve, ask, worldOf } from './symbolicPeople.js';

const id = (prefix: string, digit: string): string => `${prefix}_${digit.repeat(32)}`;

/** A token that says what the records account for, and finds what it is told to find. */
function askedToken(found: readonly UnaccountedObject[] = []): {
  readonly token: Pick<Token, 'unaccounted'>;
  readonly asked: RecordedObjects[];
} {
  const asked: RecordedObjects[] = [];
  const unaccounted: Token['unaccounted'] = async (records) => {
    asked.push(await records({ transports: [], grants: [] }));
    return found;
  };
  return { token: { unaccounted }, asked };
}

/** What another daemon has begun and not ended. */
function openAct(act: string, subject: OpenAct['about'], detail: Record<string, never> | object): OpenAct {
  const common = { v: 1, time: '2026-03-01T12:00:00.000Z', phase: 'attempted', actor: 'escrowd' } as const;
  const entry = encodeEntry({
    ...common,
    act,
    id: id('act', '1'),
    subject,
    detail: { ...detail },
  });
  return { id: id('act', '1') as ActId, entry, about: subject, by: 'other' };
}

test('the records account for the pair of an open request and for a grant that runs, as it was raised', async () => {
  const { world, keys } = await worldOf({});
  const { escrow, journal } = world;
  const active = await ask({ world, keys });
  for (const by of ['dana', 'dave']) await approve(world, by, active);
  const pending = await ask({ world, keys });
  const { token, asked } = askedToken();
  expect(await unaccountedObjects({ escrow, token, journal })).toEqual([]);
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
  const acts = [
    openAct('recovery.request', { recovery: id('rec', '1') }, {}),
    openAct(
      'recovery.activate',
      { recovery: id('rec', '2') },
      { grants: { [id('key', '1')]: id('grant', '1') } },
    ),
  ];
  const { token, asked } = askedToken();
  await unaccountedObjects({ escrow, token, journal: { openActs: () => Promise.resolve(acts) } });
  await unaccountedObjects({ escrow, token, journal: { openActs: () => Promise.resolve([]) } });
  expect(asked).toEqual([
    {
      transports: new Set([id('rec', '1'), id('rec', '2')]),
      grants: new Map([[id('grant', '1'), undefined]]),
    },
    { transports: new Set(), grants: new Map() },
  ]);
});

test('records of what was begun are read before those of what was done, so that nothing falls between', async () => {
  const { world } = await worldOf({});
  const order: string[] = [];
  const store = new Proxy(world.escrow.store, {
    get: (target, name) => {
      order.push(String(name));
      return Reflect.get(target, name) as unknown;
    },
  });
  const openActs = (): Promise<readonly OpenAct[]> => {
    order.push('openActs');
    return Promise.resolve([]);
  };
  const escrow = { ...world.escrow, store };
  await unaccountedObjects({ escrow, token: askedToken().token, journal: { openActs } });
  expect(order).toEqual(['openActs', 'openRecoveries', 'openGrants']);
});

test('a daemon on another copy of the records tells nobody of objects that are not its own: it stops', async () => {
  const { world } = await worldOf({});
  const { escrow, journal, device } = world;
  device.isForeign = true;
  const found: UnaccountedObject = { alarm: 'token-object-foreign', what: 'private key "grant:1"' };
  const looking = unaccountedObjects({ escrow, token: askedToken([found]).token, journal });
  await expect(looking).rejects.toThrow('another copy');
  device.isForeign = false;
  expect(await unaccountedObjects({ escrow, token: askedToken([found]).token, journal })).toEqual([found]);
});
