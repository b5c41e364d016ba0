import { createPublicKey } from 'node:crypto';

import { compactVerify, errors } from 'jose';

import type { IdentityVerifier } from '../../escrow/ports/signers.js';
import type { StatementVerifier } from '../../escrow/ports/statements.js';
import type { UnverifiedJws } from './jws.js';
import { isSignedBy, JwsError, readJws } from './jws.js';
import { JsonError, parseStrictJson } from '../limits/strictJson.js';
import { isJsonObject } from '../../log/entry/canonical.js';

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
  signerOf: (jws, typ) => read(jws, typ)?.header.kid,
};

/** Checks what the key with this DER SubjectPublicKeyInfo (EC P-256), the token's identity, has signed. */
export function identityVerifier(spki: Uint8Array): IdentityVerifier {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  return {
    async verify(jws, typ) {
      try {
        const { payload, protectedHeader } = await compactVerify(jws, key, { algorithms: ['ES256'] });
        if (protectedHeader.typ !== typ || Object.keys(protectedHeader).length !== 2) return undefined;
        const said = parseStrictJson(payload);
        return isJsonObject(said) ? said : undefined;
      } catch (error) {
        if (error instanceof errors.JOSEError || error instanceof JsonError) return undefined;
        throw error;
      }
    },
  };
}

function read(jws: string, typ: string): UnverifiedJws | undefined {
  try {
    return readJws(jws, typ);
  } catch (error) {
    if (error instanceof JwsError) return undefined;
    throw error;
  }
}
