import { z } from 'zod';

import type { ServerKeys } from '../../src/http/routes/index.js';
import { routesOf } from '../../src/http/routes/index.js';

/** Texts that nobody is to be shown, or that two programs could read as different ones. */
const BAD: Readonly<Record<string, string>> = {
  'in NFD': 'u\u0308ber',
  'of blanks': ' \t ',
  'of blanks that are not the space': '\u00a0\u2003',
  'with a control character': 'a\u0007b',
  'with a character that turns what follows': 'a\u202eb',
  'with a character that is not seen': 'a\u200bb',
  'with U+FFFD': 'a\ufffdb',
  'with half a character': 'a\ud800b',
};

/** Every text in a schema, with where it stands. What is read as something else is one with what reads it. */
function textsIn(schema: z.core.$ZodType, at: string): readonly (readonly [string, z.core.$ZodType])[] {
  if (schema instanceof z.ZodString) return [[at, schema]];
  if (schema instanceof z.ZodObject)
    return Object.entries(schema.shape).flatMap(([name, member]) =>
      textsIn(member as z.core.$ZodType, `${at}.${name}`),
    );
  if (schema instanceof z.ZodArray) return textsIn(schema.element, `${at}[]`);
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => textsIn(option, at));
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodExactOptional ||
    schema instanceof z.ZodPrefault
  )
    return textsIn(schema.unwrap(), at);
  if (schema instanceof z.ZodPipe) {
    const read = schema.in;
    return read instanceof z.ZodString ? [[at, schema]] : textsIn(read, at);
  }
  return [];
}

const routes = routesOf({ identityKey: {}, logKey: '' } satisfies ServerKeys);
const texts = routes.flatMap(({ method, path, schemas }) =>
  Object.entries(schemas).flatMap(([part, schema]) =>
    schema === undefined
      ? []
      : textsIn(schema, `${method} ${path} ${part}`).map(([at, text]) => ({ at, text })),
  ),
);

test('the texts of all routes are looked at, those that people write among them', () => {
  const places = texts.map(({ at }) => at);
  expect(places.length).toBeGreaterThan(60);
  for (const free of [
    'POST /v1/keys body.label',
    'POST /v1/recoveries body.reason',
    'POST /v1/recoveries/:recovery/veto body.reason',
    'POST /v1/recoveries/:recovery/cancel body.reason',
    'POST /v1/grants/:grant/revoke body.reason',
  ])
    expect(places).toContain(free);
});

test.each(Object.entries(BAD))('none takes a text %s', (_what, bad) => {
  const taken = texts.filter(({ text }) => z.safeParse(text, bad).success).map(({ at }) => at);
  // the path of a tile is looked for, and not kept: what is none is not there
  expect(taken.filter((at) => !at.endsWith('*tile path.tile'))).toEqual([]);
});

test('those that people write take what they write, in any language, on several lines', () => {
  const reasons = texts.filter(({ at }) => /(reason|label)$/.test(at));
  expect(reasons.length).toBeGreaterThan(4);
  for (const { at, text } of reasons)
    for (const good of ['Urlaub über Ostern,\n\tsiehe Ticket „12“', '休暇', 'e\u0301'.normalize('NFC')])
      expect({ at, taken: z.safeParse(text, good).success }).toEqual({ at, taken: true });
});
