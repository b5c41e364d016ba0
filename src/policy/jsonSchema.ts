import { z } from 'zod';

import { policyDocument } from './schema.js';

export type JsonSchema = Readonly<Record<string, unknown>>;

/**
 * The JSON Schema (2020-12) of a policy file, made of the schema that the server reads documents with. In a file
 * `keysFrom` may stand for the keys, and `$schema` may name this schema's place in a comment only.
 */
export function policyFileSchema(): JsonSchema {
  return z.toJSONSchema(policyDocument, {
    io: 'input',
    override: ({ jsonSchema, path }) => {
      if (path.join('.') === '') jsonSchema.title = 'escrowd: directory and rules';
      if (path.slice(-2).join('.') === 'principals.items') addKeysFrom(jsonSchema);
    },
  });
}

/** `keysFrom` stands instead of `keys`: escrowctl puts the keys in before anything is hashed or signed. */
function addKeysFrom(principal: z.core.JSONSchema.BaseSchema): void {
  principal.required = (principal.required ?? []).filter((name) => name !== 'keys');
  principal.oneOf = [{ required: ['keys'] }, { required: ['keysFrom'] }];
  principal.properties = {
    ...principal.properties,
    keysFrom: {
      type: 'string',
      description: 'Path of a public.json, relative to this file: stands for the keys.',
    },
  };
}
