import { unbroken } from '../../src/system/helpText.js';

const LONG = `${'word '.repeat(17)}end`;

test('what was broken for the source is one line, what is a line by itself stays one', () => {
  expect(unbroken(`${LONG}\n${LONG}\nlast`)).toBe(`${LONG} ${LONG} last`);
  expect(unbroken(`short\n${LONG}\n\nnext`)).toBe(`short\n${LONG}\n\nnext`);
  expect(unbroken(`${LONG}\n  a row\n  another\nend`)).toBe(`${LONG}\n  a row\n  another\nend`);
});
