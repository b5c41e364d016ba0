import fc from 'fast-check';
import { canonicalJson, maximumDepth, parseCanonicalJson } from '../../../src/log/entry/canonical.js';

/** A value `depth` arrays deep. */
const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);

/** Values of the restricted form, with the member names and strings that JSON makes hard. */
const { value: anyJson } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.string({ unit: 'binary' }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string({ unit: 'binary' }), fc.constant('__proto__')), tie('value'), {
      maxKeys: 4,
    }),
  ),
}));

describe('canonical JSON', () => {
  test('members are in the order of their UTF-16 code units: the example of RFC 8785 section 3.2.3', () => {
    const value = JSON.parse(
      '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",' +
        '"\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}',
    ) as Record<string, string>;
    const order = [...canonicalJson(value).matchAll(/:"([^"]+)"/g)].map(([, name]) => name);
    expect(order).toEqual([
      'Carriage Return',
      'One',
      'Control',
      'Latin Small Letter O With Diaeresis',
      'Euro Sign',
      'Emoji: Grinning Face',
      'Hebrew Letter Dalet With Dagesh',
    ]);
  });

  test('strings are escaped as in RFC 8785 section 3.2.2.2, and no more than that', () => {
    expect(canonicalJson('\u20ac$\u000f\nA\'B"\\\\"/\u2028')).toBe(
      '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u2028"',
    );
  });

  test('every single character is written as JSON.stringify writes it, but for surrogates', () => {
    for (let unit = 0; unit <= 0xffff; unit += 1) {
      const text = `a${String.fromCharCode(unit)}b`;
      if (unit >= 0xd800 && unit <= 0xdfff) expect(() => canonicalJson(text)).toThrow(TypeError);
      else if (canonicalJson(text) !== JSON.stringify(text)) throw new Error(`U+${unit.toString(16)}`);
    }
  });

  test('there are no spaces, and members of members are sorted as well', () => {
    expect(canonicalJson({ b: [1, { d: true, c: null }], a: -0 })).toBe(
      '{"a":0,"b":[1,{"c":null,"d":true}]}',
    );
  });

  test.each([
    ['undefined', undefined],
    ['an undefined member', { a: undefined }],
    ['a hole in an array', Array(1)],
    ['a fraction', 0.5],
    ['an integer beyond 2^53 - 1', 2 ** 53],
    ['NaN', NaN],
    ['a bigint', 1n],
    ['a function', () => 1],
    ['a symbol', Symbol('a')],
    ['a member named by a symbol', { [Symbol('a')]: 1 }],
    ['a date', new Date(0)],
    ['a map', new Map()],
    ['bytes', Buffer.from('a')],
    ['a lone surrogate', '\ud800'],
    ['a lone surrogate in a name', { '\udc00': 1 }],
    ['too deep a nest', nested(maximumDepth + 1)],
  ])('%s has no canonical form', (_name, value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError);
  });

  test('a value that contains itself is refused', () => {
    const value: unknown[] = [];
    value.push(value);
    expect(() => canonicalJson(value)).toThrow(TypeError);
  });

  test('what is written is read back as the same value, and written the same again', () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(parseCanonicalJson(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test('the order in which members were set makes no difference', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.integer()), (value) => {
        expect(canonicalJson(Object.fromEntries(Object.entries(value).reverse()))).toBe(canonicalJson(value));
      }),
    );
  });

  test.each([
    '{"a":1,"a":1}',
    '{"b":1,"a":1}',
    '{"a": 1}',
    '[1.0]',
    '[1e2]',
    '"\\u0041"',
    '[-0]',
    '"\\ud800"',
    ' 1',
    '[',
  ])('another spelling is not read: %s', (text) => {
    expect(() => parseCanonicalJson(text)).toThrow();
  });

  test('a text is read if it is what is written for its value, and else refused', () => {
    const alike = (text: string): boolean => {
      try {
        return canonicalJson(JSON.parse(text)) === text;
      } catch {
        return false;
      }
    };
    const reads = (text: string): boolean => {
      try {
        parseCanonicalJson(text);
        return true;
      } catch {
        return false;
      }
    };
    const anyText = fc.oneof(
      fc.json({ maxDepth: 3 }),
      fc
        .tuple(anyJson, fc.nat(), fc.constantFrom('0', '9', '"', '\\', 'u', 'd', ',', ' ', '{', 'a'))
        .map(([value, at, unit]) => {
          const text = canonicalJson(value);
          const place = at % (text.length + 1);
          return `${text.slice(0, place)}${unit}${text.slice(place + (at % 2))}`;
        }),
      // members whose order in an object is not that of their names, and a surrogate spelled out
      fc.constantFrom(
        '{"10":1,"9":1}',
        '{"9":1,"10":1}',
        '{"a":{"2":0,"1":0}}',
        '["\\ud83d\\ude00"]',
        '["\\udead"]',
      ),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        expect([text, reads(text)]).toEqual([text, alike(text)]);
      }),
      { numRuns: 2000 },
    );
  });

  test('a text that nests without end is refused, not a stack overflow', () => {
    expect(() => parseCanonicalJson(`${'['.repeat(30_000)}${']'.repeat(30_000)}`)).toThrow('canonical form');
  });
});
