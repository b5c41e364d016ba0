import { errorReferenceOf } from './errorReference.js';
import { openApiOf } from '../../src/http/description/openapi.js';
import { routesOf } from '../../src/http/routes/index.js';
import { policyFileSchema } from '../../src/policy/jsonSchema.js';
import { supportTable } from '../token/supportTable.js';

/** What is made from the rows of the routes, the schema of policies and the token profiles: file by file, as it must be. */
export function generatedDocuments(): Readonly<Record<string, string>> {
  const routes = routesOf({ identityKey: {}, logKey: '' });
  return {
    'docs/openapi.json': `${JSON.stringify(openApiOf(routes), null, 2)}\n`,
    'docs/escrow.schema.json': `${JSON.stringify(policyFileSchema(), null, 2)}\n`,
    'docs/errors.md': errorReferenceOf(routes),
    'hsm-config/supported.md': supportTable('hsm-config'),
  };
}
