import { signOrder } from '../../src/api/orders.js';
import { contextOf } from '../../src/agent/useContext.js';

const order = (context: string): boolean =>
  signOrder.safeParse({ mechanism: 'ES256', messages: ['aGk'], context }).success;

test.each([
  ['short', 'a login of deploy'],
  ['long', 'x'.repeat(500)],
  ['cut in the middle of a character', `${'x'.repeat(179)}${'😀'.repeat(40)}`],
  ['of characters that are not seen', 'a\u202eb\u0007c\u200bd\n\te'],
  ['of half a character', 'a\ud800b'],
  ['in NFD', 'u\u0308ber'],
  ['with U+FFFD', 'caf\ufffd'],
  ['of nothing', ''],
])('what a program wanted, %s, is taken as what a use is for', (_what, what) => {
  const context = contextOf({ caller: 'ssh-keygen[1234]', what });
  expect(context).toMatch(/^ssh-keygen\[1234\]:/);
  expect([context.length <= 200, order(context)]).toEqual([true, true]);
});

test('a control: as it is, the server takes none of these', () => {
  for (const what of ['x'.repeat(500), 'a\u202eb', 'a\ud800b', 'u\u0308ber', 'caf\ufffd'])
    expect(order(what)).toBe(false);
});
