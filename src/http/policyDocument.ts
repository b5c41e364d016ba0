import { EscrowError } from '../escrow/records/errors.js';
import type { PolicyParser } from '../escrow/ports/statements.js';
import type { Json } from '../log/entry/canonical.js';
import { PolicyProblems, policyOf } from '../policy/document.js';
import { JsonError, parseStrictJson } from './limits/strictJson.js';

/**
 * Reads a policy document as it comes over the wire, and as it stands in the database.
 *
 * @throws EscrowError `policy-invalid`, with a sentence that says what is wrong first, and where.
 */
export const parsePolicy: PolicyParser = (text, version) => {
  const document = readJson(text);
  try {
    return policyOf(document, version);
  } catch (error) {
    if (!(error instanceof PolicyProblems)) throw error;
    throw new EscrowError('policy-invalid', `${error.problems[0] ?? 'not as described'}.`, { cause: error });
  }
};

function readJson(text: string): Json {
  try {
    return parseStrictJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new EscrowError('policy-invalid', `The policy document is not JSON: ${error.message}.`, {
      cause: error,
    });
  }
}
