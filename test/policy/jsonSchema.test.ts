import { readFileSync } from 'node:fs';

import { policyFileSchema } from '../../src/policy/jsonSchema.js';

test('docs/escrow.schema.json is what the schema of policies says now (npm run generate)', () => {
  const written: unknown = JSON.parse(readFileSync('docs/escrow.schema.json', 'utf8'));
  expect(written).toEqual(JSON.parse(JSON.stringify(policyFileSchema())));
});

test('keysFrom may stand instead of keys in a file', () => {
  expect(policyFileSchema()).toMatchObject({
    properties: {
      principals: {
        items: {
          additionalProperties: false,
          required: ['id', 'kind', 'name', 'roles'],
          oneOf: [{ required: ['keys'] }, { required: ['keysFrom'] }],
          properties: { keysFrom: { type: 'string' } },
        },
      },
    },
  });
});
