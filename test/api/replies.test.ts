import { z } from 'zod';

import { REPLIES, TOLERANT_REPLIES } from '../../src/api/replies.js';

/* What a client takes of a server that is not of its own version. */

type Path = readonly (string | number)[];
interface Sample {
  /** An answer with all of its members, and one item in each list. */
  readonly value: unknown;
  /** Where it has one of a closed set of words or numbers. */
  readonly words: readonly Path[];
  readonly objects: readonly Path[];
  readonly optional: readonly Path[];
}

const TEXTS = [
  'olga',
  '2026-01-31T23:59:59.999Z',
  'P1D',
  'ab'.repeat(32),
  ...['key', 'rec', 'grant', 'ntc', 'imp', 'job'].map((prefix) => `${prefix}_${'0'.repeat(32)}`),
];

/** What this schema of the strict reading takes. */
function sampleOf(schema: z.core.$ZodType, at: Path = []): Sample {
  const leaf = (value: unknown, more: Partial<Sample> = {}): Sample => ({
    ...{ value, words: [], objects: [], optional: [] },
    ...more,
  });
  if (schema instanceof z.ZodObject) {
    const members = Object.entries(schema.shape as Record<string, z.ZodType>).map(
      ([name, member]) => [name, sampleOf(member, [...at, name])] as const,
    );
    return {
      value: Object.fromEntries(members.map(([name, { value }]) => [name, value])),
      words: members.flatMap(([, { words }]) => words),
      objects: [at, ...members.flatMap(([, { objects }]) => objects)],
      optional: members.flatMap(([, { optional }]) => optional),
    };
  }
  if (schema instanceof z.ZodReadonly) return sampleOf(schema.unwrap(), at);
  if (schema instanceof z.ZodExactOptional) {
    const inner = sampleOf(schema.unwrap(), at);
    return { ...inner, optional: [at, ...inner.optional] };
  }
  if (schema instanceof z.ZodArray) {
    const item = sampleOf(schema.element, [...at, 0]);
    return { ...item, value: [item.value] };
  }
  if (schema instanceof z.ZodEnum) return leaf(schema.options[0], { words: [at] });
  if (schema instanceof z.ZodLiteral) return leaf([...schema.values][0], { words: [at] });
  if (schema instanceof z.ZodRecord) return leaf({});
  if (schema instanceof z.ZodNumber) return leaf(1);
  if (schema instanceof z.ZodBoolean) return leaf(true);
  if (schema instanceof z.ZodString) {
    const found = TEXTS.find((text) => schema.safeParse(text).success);
    if (found !== undefined) return leaf(found);
  }
  throw new Error(`no sample of ${schema.constructor.name} at ${at.join('.')}`);
}

function changed(value: unknown, [step, ...rest]: Path, change: (there: unknown) => unknown): unknown {
  if (step === undefined) return change(value);
  if (Array.isArray(value)) return value.map((item) => changed(item, rest, change));
  const members = value as Readonly<Record<string, unknown>>;
  const there = changed(members[step], rest, change);
  const others = Object.entries(members).filter(([name]) => name !== step);
  return Object.fromEntries(there === undefined ? others : [...others, [step, there]]);
}

function found(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((there, step) => (there as Readonly<Record<string, unknown>>)[step], value);
}

const read = (replies: typeof REPLIES): Readonly<Record<string, z.ZodType>> => ({
  ...Object.fromEntries(Object.entries(replies).filter(([, reply]) => reply instanceof z.ZodType)),
  'acted redelivery': replies.acted(replies.redelivery),
  'acted acknowledgement': replies.acted(replies.acknowledgement),
  'proven recovery': replies.proven(replies.recovery),
});
const STRICT = read(REPLIES);
const TOLERANT = read(TOLERANT_REPLIES);
const CASES = Object.entries(STRICT).map(([name, strict]) => ({
  ...{ name, strict, tolerant: TOLERANT[name] ?? z.never(), sample: sampleOf(strict) },
}));
/** What a server can do is read as far as this version can use it. */
const FILTERED = new Set(['server token.keySpecs.0', 'server token.mechanisms.0']);
const NEWER_WORD = 'of a newer server';

test.each(CASES)('$name is read as it is by both', ({ strict, tolerant, sample }) => {
  expect(strict.parse(sample.value)).toEqual(sample.value);
  expect(tolerant.parse(sample.value)).toEqual(sample.value);
});

const wordCases = CASES.flatMap((each) =>
  each.sample.words.map((path) => ({ ...each, path, at: path.join('.') })),
);

test('the closed sets of words in replies are found', () => {
  const places = wordCases.map(({ name, at }) => `${name} ${at}`);
  for (const place of [
    'givenUpPage items.0.kind',
    'recovery status',
    'recovery replies',
    'recovery forDepositary.requestVersion',
    'key terms.requests.distinct.0',
    'share deposit.requesters.0',
    ...FILTERED,
  ])
    expect(places).toContain(place);
});

test.each(wordCases)(
  'a word at $at of $name that a client does not know costs no answer',
  ({ name, strict, tolerant, sample, path, at }) => {
    const newer = changed(sample.value, path, (word) => (typeof word === 'number' ? 99 : NEWER_WORD));
    expect(strict.safeParse(newer).success).toBe(false);
    const taken = found(tolerant.parse(newer), path);
    if (FILTERED.has(`${name} ${at}`)) expect(taken).toBeUndefined();
    else expect([NEWER_WORD, 99]).toContain(taken);
  },
);

const objectCases = CASES.flatMap((each) =>
  each.sample.objects.map((path) => ({ ...each, path, at: path.join('.') })),
);

test.each(objectCases)(
  'a member more in $name, at "$at", is left out by a client, and promised by no server',
  ({ strict, tolerant, sample, path }) => {
    const newer = changed(sample.value, path, (there) => ({ ...(there as object), more: 1 }));
    expect(strict.safeParse(newer).success).toBe(false);
    expect(tolerant.parse(newer)).toEqual(sample.value);
  },
);

test.each([
  ['forDepositary', ['requestVersion']],
  ['share', ['link']],
  ['share', ['deposit']],
  ['share', ['birth']],
] as const)('a server of before sends %s without %p', (name, path) => {
  const { value } = sampleOf(REPLIES[name]);
  const older = changed(value, path, () => undefined);
  expect(REPLIES[name].safeParse(older).success).toBe(false);
  expect(TOLERANT_REPLIES[name].parse(older)).toEqual(older);
});

const optionalCases = CASES.flatMap((each) =>
  each.sample.optional.map((path) => ({ ...each, path, at: path.join('.') })),
);

test.each(optionalCases)('$name may come without $at', ({ strict, tolerant, sample, path }) => {
  const without = changed(sample.value, path, () => undefined);
  expect(strict.parse(without)).toEqual(without);
  expect(tolerant.parse(without)).toEqual(without);
});
