import fc from 'fast-check';

/** A JSON Schema, or a part of one. */
export type Schema = Readonly<Record<string, unknown>>;

/**
 * Values that a JSON Schema of this project's OpenAPI document allows, and ids that exist more often than not. It knows
 * the keywords that the document uses, and throws at a schema that it cannot make anything of.
 */
export class SchemaArbitraries {
  readonly #document: Schema;
  readonly #pool: readonly string[];

  /** @param pool texts that exist: ids of keys, people and so on, for where their form is asked for */
  constructor(document: Schema, pool: readonly string[]) {
    this.#document = document;
    this.#pool = pool;
  }

  of(schema: Schema, depth = 0): fc.Arbitrary<unknown> {
    const { $ref, oneOf, anyOf, enum: choices, type } = schema;
    if (typeof $ref === 'string') return this.of(this.#resolve($ref), depth);
    if (schema['const'] !== undefined) return fc.constant(schema['const']);
    if (Array.isArray(choices)) return fc.constantFrom(...(choices as unknown[]));
    const either = (oneOf ?? anyOf) as readonly Schema[] | undefined;
    if (either !== undefined) return fc.oneof(...either.map((one) => this.of(one, depth + 1)));
    switch (type) {
      case 'string':
        return this.#text(schema);
      case 'integer':
        return fc.integer({
          min: Number(schema['minimum']),
          max: Math.min(Number(schema['maximum']), Number(schema['minimum']) + 100_000),
        });
      case 'boolean':
        return fc.boolean();
      case 'null':
        return fc.constant(null);
      case 'array':
        return fc.array(this.of(schema['items'] as Schema, depth + 1), {
          minLength: Number(schema['minItems'] ?? 0),
          maxLength: Math.min(Number(schema['maxItems']), Number(schema['minItems'] ?? 0) + 2),
        });
      case 'object':
        return this.#object(schema, depth);
      case undefined:
        return fc.jsonValue({ maxDepth: 2 });
      default:
        throw new Error(`no arbitrary for ${JSON.stringify(schema)}`);
    }
  }

  #text(schema: Schema): fc.Arbitrary<string> {
    const { pattern: source } = schema;
    const pattern = new RegExp(typeof source === 'string' ? source : '^[ -~]*$');
    const max = Number(schema['maxLength'] ?? 64);
    const made = fc
      .stringMatching(pattern, { maxLength: Math.min(max, 80) })
      .map((text) => text.slice(0, max));
    const known = this.#pool.filter((text) => pattern.test(text) && text.length <= max);
    return known.length === 0
      ? made
      : fc.oneof({ arbitrary: fc.constantFrom(...known), weight: 4 }, { arbitrary: made, weight: 1 });
  }

  #object(schema: Schema, depth: number): fc.Arbitrary<unknown> {
    const properties = (schema['properties'] ?? {}) as Readonly<Record<string, Schema>>;
    const members = Object.fromEntries(
      Object.entries(properties).map(([name, one]) => [name, this.of(one, depth + 1)]),
    );
    const requiredKeys = ((schema['required'] ?? []) as string[]).filter((name) => name in members);
    if (Object.keys(members).length === 0)
      return depth > 4
        ? fc.constant({})
        : fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 1 }), {
            maxKeys: schema['additionalProperties'] === false ? 0 : 2,
          });
    return fc.record(members, { requiredKeys });
  }

  #resolve(ref: string): Schema {
    return ref
      .slice(2)
      .split('/')
      .reduce<unknown>((found, name) => (found as Schema)[name], this.#document) as Schema;
  }
}
