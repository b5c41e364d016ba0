import {
  decodeText,
  decodeUtf8,
  isPlainText,
  TextError,
  unclearText,
} from '../../../src/log/entry/plainText.js';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const nfd = (text: string): string => text.normalize('NFD');

/** Why bytes are refused: the code, and the message. */
function refusalOf(bytes: Buffer): { readonly code: string; readonly message: string } {
  try {
    decodeText(bytes, 'escrow.yaml');
  } catch (error) {
    if (error instanceof TextError) return error;
    throw error;
  }
  throw new Error('was taken');
}

describe('bytes of a text', () => {
  test('are UTF-8, or refused: two departments do not become one', () => {
    const [one, other] = ['B\u00fcro', 'B\u00e4ro'].map(latin1);
    // what guessing would make of them
    expect(one?.toString('utf8')).toBe(other?.toString('utf8'));
    for (const bytes of [one, other]) {
      expect(refusalOf(bytes ?? Buffer.alloc(0))).toMatchObject({
        code: 'text-not-utf8',
        message: expect.stringContaining('escrow.yaml') as string,
      });
      expect(() => decodeUtf8(bytes ?? Buffer.alloc(0), 'x')).toThrow('UTF-8');
    }
  });

  test.each([
    ['NFD', Buffer.from(`a\n${nfd('B\u00fcro')}\n`)],
    ['what a decoder lost', Buffer.from('a\nB\uFFFDro\n')],
  ])('are in NFC, or refused with the line: not %s', (_what, bytes) => {
    expect(refusalOf(bytes)).toMatchObject({
      code: 'text-not-nfc',
      message: expect.stringContaining('line 2') as string,
    });
  });

  test('are taken as they are when they are both; a byte order mark is left out', () => {
    expect(decodeText(Buffer.from('\uFEFFB\u00fcro\n'), 'x')).toBe('B\u00fcro\n');
  });
});

test.each([
  ['B\u00fcro', true],
  [nfd('B\u00fcro'), false],
  ['\u212B', false], // the angstrom sign, which NFC makes a letter
  ['\ud800', false],
  ['B\uFFFDro', false],
])('%j is a plain text: %s', (text, plain) => {
  expect(isPlainText(text)).toBe(plain);
});

test.each([
  [{ a: [{ b: nfd('\u00e9') }] }, 'a[0].b'],
  [{ when: { 'owner.department': '\uFFFD' } }, 'when.owner.department'],
  [{ a: { [nfd('\u00e9')]: 1 } }, 'a, the name of a member'],
  [{ a: ['\u00e9', 1, null, true] }, undefined],
])('in a document it is said where an unclear text stands: %j', (document, where) => {
  expect(unclearText(document)).toBe(where);
});
