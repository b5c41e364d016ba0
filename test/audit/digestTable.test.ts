import fc from 'fast-check';

import { DigestTable } from '../../src/audit/digestTable.js';

describe('a table of digests', () => {
  test('says what a map says, whatever is set and forgotten', () => {
    const step = fc.oneof(
      {
        weight: 9,
        arbitrary: fc.tuple(fc.constant<'set'>('set'), fc.nat(60), fc.integer({ min: 1, max: 0xffff_ffff })),
      },
      {
        weight: 1,
        arbitrary: fc.tuple(fc.constant<'retain'>('retain'), fc.nat(3), fc.integer({ min: 1, max: 4 })),
      },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const table = new DigestTable();
        const map = new Map<string, number>();
        for (const [what, at, value] of steps) {
          if (what === 'set') {
            table.set(`name ${at}`, value);
            map.set(`name ${at}`, value);
          } else {
            const isKept = (one: number): boolean => one % value <= at;
            table.retain(isKept);
            for (const [name, one] of map) if (!isKept(one)) map.delete(name);
          }
        }
        expect(table.size).toBe(map.size);
        for (let at = 0; at <= 60; at += 1) expect(table.get(`name ${at}`)).toBe(map.get(`name ${at}`));
      }),
    );
  });

  test('finds each of many, and no other', () => {
    const table = new DigestTable();
    for (let at = 1; at <= 20_000; at += 1) table.set(`key_${at}`, at);
    for (let at = 1; at <= 20_000; at += 1) if (table.get(`key_${at}`) !== at) throw new Error(`key_${at}`);
    for (let at = 20_001; at <= 30_000; at += 1)
      if (table.get(`key_${at}`) !== undefined) throw new Error(`key_${at}`);
  });

  test.each([0, -1, 0.5, 2 ** 32, NaN])('does not take %d for a number', (value) => {
    expect(() => {
      new DigestTable().set('name', value);
    }).toThrow(RangeError);
  });
});
