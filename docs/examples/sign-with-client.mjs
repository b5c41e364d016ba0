// Asks escrowd for a signature with its client library.
//
//   node docs/examples/sign-with-client.mjs IDENTITY_DIR GRANT FILE SIGNATURE_OUT
//
// IDENTITY_DIR is what `escrowctl identity new` and `escrowctl identity pin` made.
import { readFileSync, writeFileSync } from 'node:fs';

import { ServerProblem } from 'escrowd/client/errors';
import { Identity } from 'escrowd/client/identity';

const [directory, grant, file, out] = process.argv.slice(2);
const identity = await Identity.open(directory);
const client = await identity.connect({ deadlineMs: 30_000, now: () => new Date() });
try {
  const messages = [readFileSync(file).toString('base64url')];
  const { result, entry } = await client.sign(grant, { mechanism: 'ES256', messages });
  // JOSE form: r || s
  writeFileSync(out, Buffer.from(result.signatures[0], 'base64url'));
  console.log(`signed; entry ${entry} of the log; ${result.remaining} uses left`);
} catch (error) {
  // the codes are those of docs/errors.md; whatever else is thrown is not the server's word
  if (!(error instanceof ServerProblem)) throw error;
  console.error(`refused: ${error.code}: ${error.detail}`);
  process.exitCode = 3;
} finally {
  client.close();
}
