import { Agenda } from '../../../src/escrow/logged/agenda.js';
import { chance } from '../../support/chance.js';

test('after any changes what is due is what a list of all says, the earliest first', () => {
  const { below } = chance('agenda');
  for (let life = 0; life < 20; life += 1) {
    const agenda = new Agenda();
    const all = new Map<string, number>();
    for (let step = 0; step < 150; step += 1) {
      const id = `id_${below(40)}`;
      const atMs = below(1000);
      if (below(3) === 0) {
        agenda.delete(id);
        all.delete(id);
      } else {
        agenda.set(id, atMs);
        all.set(id, atMs);
      }
      const nowMs = below(1100);
      const due = agenda.due(nowMs);
      const times = due.map((one) => all.get(one) ?? NaN);
      expect(times).toEqual([...all.values()].filter((at) => at <= nowMs).sort((a, b) => a - b));
      expect(new Set(due).size).toBe(due.length);
    }
  }
});

test('what has no instant is never due, and takes out the one before', () => {
  const agenda = new Agenda();
  for (const never of [undefined, Infinity, NaN]) {
    agenda.set('one', 1);
    agenda.set('one', never);
    expect(agenda.due(Number.MAX_VALUE)).toEqual([]);
  }
});

test('to ask what is due costs what is due: of many that are not, few are looked at', () => {
  const agenda = new Agenda();
  const MANY = 100_000;
  for (let at = 0; at < MANY; at += 1) agenda.set(`id_${at}`, MANY - at);
  let looked = 0;
  const counting = { valueOf: () => ((looked += 1), 3) } as unknown as number;
  expect(agenda.due(counting)).toEqual([`id_${MANY - 1}`, `id_${MANY - 2}`, `id_${MANY - 3}`]);
  expect(looked).toBeLessThanOrEqual(7);
});
