import type { StatementVerifier } from '../escrow/ports.js';
import type { UnverifiedJws } from './jws.js';
import { isSignedBy, JwsError, readJws } from './jws.js';

/**
 * Checks signed statements with jose: approvals, denials, and administrators' signatures under a policy. One text
 * has one reading: what {@link readJws} does not accept does not verify.
 */
export const statementVerifier: StatementVerifier = {
  async verify(jws, typ, keys) {
    const unverified = read(jws, typ);
    const key = keys.find((candidate) => candidate.thumbprint === unverified?.header.kid);
    if (unverified === undefined || key === undefined) return undefined;
    return (await isSignedBy(unverified, key)) ? { jws, payload: unverified.payload } : undefined;
  },
};

function read(jws: string, typ: string): UnverifiedJws | undefined {
  try {
    return readJws(jws, typ);
  } catch (error) {
    if (error instanceof JwsError) return undefined;
    throw error;
  }
}
