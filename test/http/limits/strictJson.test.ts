import fc from 'fast-check';

import { JsonError, MAX_DEPTH, parseStrictJson } from '../../../src/http/limits/strictJson.js';

/** What strict JSON can hold. */
const strictValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger().map((number) => (Object.is(number, -0) ? 0 : number)),
    fc.string({ unit: 'grapheme' }),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      fc.string({ unit: 'grapheme' }).filter((name) => name !== '__proto__'),
      tie('value'),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).value;

describe('strict JSON', () => {
  test('reads what JSON.stringify writes, spaced or not', () => {
    fc.assert(
      fc.property(strictValue, fc.constantFrom(undefined, 1, '\t', '\r\n '), (value, space) => {
        const text = JSON.stringify(value, undefined, space);
        expect(parseStrictJson(text)).toEqual(value);
        expect(parseStrictJson(Buffer.from(text))).toEqual(value);
      }),
    );
  });

  test('accepts nothing that JSON.parse refuses, and reads what it accepts alike', () => {
    const pieces = [
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '"a"',
      '\\',
      '\\u0041',
      '0',
      '-',
      '1',
      '.',
      'e',
      ' ',
      '\n',
    ];
    const text = fc
      .array(fc.constantFrom(...pieces, 'true', 'false', 'null', '\u0000', '\ufeff', '€'), { maxLength: 9 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (candidate) => {
        const strict = attempt(() => parseStrictJson(candidate));
        if (strict.error === undefined) expect(strict.value).toEqual(JSON.parse(candidate));
        else expect(strict.error).toBeInstanceOf(JsonError);
      }),
      { numRuns: 5000 },
    );
  });

  test('refuses every text with a character taken out of its grammar', () => {
    fc.assert(
      fc.property(strictValue, fc.nat(), (value, position) => {
        const text = JSON.stringify([value]);
        const spoiled = text.slice(0, position % text.length) + text.slice((position % text.length) + 1);
        const strict = attempt(() => parseStrictJson(spoiled));
        if (strict.error === undefined) expect(strict.value).toEqual(JSON.parse(spoiled));
      }),
    );
  });

  test.each([
    ['a member twice', '{"a":1,"b":2,"a":1}'],
    ['a member twice, spelled differently', '{"a":1,"\\u0061":1}'],
    ['a member twice, deep inside', '[[{"x":{"a":1,"a":2}}]]'],
    ['__proto__', '{"__proto__":{"admin":true}}'],
    ['__proto__, spelled differently', '{"\\u005f_proto__":1}'],
    ['an integer beyond 2^53 - 1', '9007199254740992'],
    ['an integer below -(2^53 - 1)', '-9007199254740992'],
    ['an integer of many digits', '1'.repeat(400)],
    ['a fraction', '1.5'],
    ['an exponent', '1e2'],
    ['minus zero', '-0'],
    ['a leading zero', '01'],
    ['a plus sign', '+1'],
    ['NaN', 'NaN'],
    ['a lone surrogate', '"\\ud800"'],
    ['a byte order mark', '\ufeff1'],
    ['a comment', '1 // one'],
    ['a trailing comma', '[1,]'],
    ['two values', '1 1'],
    ['no value', ''],
    ['only spaces', '  '],
    ['a no-break space', '\u00a01'],
    ['a control character in a string', '"\u0001"'],
    ['a string without end', '"abc'],
    ['a string that ends in a backslash', '"abc\\'],
    ['an object without end', '{"a":1'],
    ['a name without quotes', '{a:1}'],
  ])('refuses %s', (_what, text) => {
    expect(() => parseStrictJson(text)).toThrow(JsonError);
  });

  test('keeps members that objects inherit as what they are', () => {
    const value = parseStrictJson('{"constructor":1,"toString":2,"hasOwnProperty":3}');
    expect(Object.entries(value as object)).toEqual([
      ['constructor', 1],
      ['toString', 2],
      ['hasOwnProperty', 3],
    ]);
  });

  test('refuses bytes that are not UTF-8', () => {
    for (const bytes of [
      [0x22, 0xff, 0x22],
      [0x22, 0xc0, 0xaf, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
    ]) {
      expect(() => parseStrictJson(Uint8Array.from(bytes))).toThrow(JsonError);
    }
  });

  test('bounds the depth, and does not break on what is far deeper', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(() => parseStrictJson(nested(MAX_DEPTH))).not.toThrow();
    expect(() => parseStrictJson(nested(MAX_DEPTH + 1))).toThrow(JsonError);
    expect(() => parseStrictJson('['.repeat(200_000))).toThrow(JsonError);
    expect(() => parseStrictJson('{"a":'.repeat(50_000))).toThrow(JsonError);
  });

  test('reads a large string in time that grows with its length', () => {
    const text = JSON.stringify('\\"'.repeat(100_000));
    expect(parseStrictJson(text)).toHaveLength(200_000);
    expect(() => parseStrictJson(text.slice(0, -1))).toThrow(JsonError);
  });
});

function attempt(act: () => unknown): { readonly value?: unknown; readonly error?: unknown } {
  try {
    return { value: act() };
  } catch (error) {
    return { error };
  }
}
