import { recordLoss } from '../../../src/escrow/acts/recordLoss.js';
import { redeliver } from '../../../src/escrow/acts/redeliverNotices.js';
import { recordRefusal } from '../../../src/escrow/acts/refuse.js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import { ask, callOf, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { expectDone, expectRefused } from './actCases.js';

/** Has the sink `mail` given up these. */
function givenUp({ escrow }: SymbolicWorld, ...given: readonly (readonly [string, number])[]): void {
  const found = given.map(([notice, entry]) => ({ notice, entry }));
  Object.assign(escrow.store, {
    findGivenUp: (sink: string, notices: readonly string[]) =>
      Promise.resolve(found.filter(({ notice }) => sink === 'mail' && notices.includes(notice))),
  });
}

describe('to have notices sent again', () => {
  const again = (
    world: SymbolicWorld,
    by: string,
    sink: string,
    notices: readonly string[],
  ): Promise<unknown> => redeliver(world.escrow, callOf(by), { sink, notices });

  test('is an entry that names each with the entry that it is about', async () => {
    const { world } = await worldOf();
    givenUp(world, ['n1', 4], ['n2', 7]);
    const [attempted, done] = await expectDone(world, 'notification.redeliver', () =>
      again(world, 'ann', 'mail', ['n2', 'n1']),
    );
    const notices = [
      { notice: 'n2', entry: 7 },
      { notice: 'n1', entry: 4 },
    ];
    expect(attempted).toMatchObject({ actor: 'ann', detail: { sink: 'mail', notices } });
    expect(done).toMatchObject({ detail: { sink: 'mail', notices } });
  });

  test.each(['dana', 'olga', 'mailer'])('is refused to %s, who is no administrator', async (by) => {
    const { world } = await worldOf();
    givenUp(world, ['n1', 4]);
    await expectRefused(world, 'notification.redeliver', 'forbidden', () => again(world, by, 'mail', ['n1']));
  });

  test.each([
    ['mail', ['n1', 'n3']],
    ['hook', ['n1']],
  ])('is refused of one that the sink %s has not given up, of %j', async (sink, notices) => {
    const { world } = await worldOf();
    givenUp(world, ['n1', 4]);
    await expectRefused(world, 'notification.redeliver', 'notice-unknown', () =>
      again(world, 'ann', sink, notices),
    );
  });
});

test('what was lost is said by the daemon, with size and root of the tree that was', async () => {
  const { world } = await worldOf();
  const root = Buffer.alloc(32, 7);
  const [attempted, done] = await expectDone(world, 'log.loss', () =>
    recordLoss(world.escrow, { size: 12, root }),
  );
  for (const entry of [attempted, done])
    expect(entry).toMatchObject({ actor: 'escrowd', detail: { size: 12, root: root.toString('base64') } });
});

describe('a refusal that was decided before any act', () => {
  const error = new EscrowError('forbidden');

  test('has one entry, which is about the owner of what the request names', async () => {
    const made = await worldOf({});
    const { world, keys } = made;
    const recovery = await ask(made);
    const [key = ''] = keys;
    for (const said of [{ recovery: recovery.id }, { key }, { keys }]) {
      const from = world.entries.length;
      await recordRefusal(world.escrow, 'recovery.approve', callOf('mailer'), said, error);
      expect(world.entries.slice(from)).toMatchObject([
        {
          act: 'recovery.approve',
          phase: 'denied',
          error: 'forbidden',
          actor: 'mailer',
          subject: { ...said, owner: 'olga' },
        },
      ]);
    }
  });

  test('is about what the request says where nothing of it is known', async () => {
    const { world } = await worldOf({});
    for (const said of [{}, { key: 'nothing' }, { recovery: `rec_${'0'.repeat(32)}` }]) {
      await recordRefusal(world.escrow, 'recovery.approve', callOf('mailer'), said, error);
      expect(world.entries.at(-1)?.subject).toEqual(said);
    }
  });

  test('uses its request up: the same once more is a replay', async () => {
    const { world } = await worldOf({});
    const call = callOf('mailer');
    await recordRefusal(world.escrow, 'recovery.approve', call, {}, error);
    const again = recordRefusal(world.escrow, 'recovery.approve', call, {}, error);
    await expect(again).rejects.toMatchObject({ code: 'request-replayed' });
  });
});
