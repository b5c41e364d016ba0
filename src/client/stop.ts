import { z } from 'zod';

import type { Signer } from './identity/signingKey.js';
import { readStatement, signStatement, type Validity } from './statement.js';
import { STOP_TYPE } from '../escrow/records/statementTypes.js';

const STOP = z.object({ iss: z.string(), recovery: z.string(), requestHash: z.string(), reason: z.string() });

/** What such a statement says, unverified; undefined when it is none. */
export function readStop(jws: string): z.infer<typeof STOP> | undefined {
  return readStatement(jws, STOP_TYPE, STOP);
}

/** An administrator's statement that this very request is to end, for this server, for a while. */
export function signStop(
  signer: Signer,
  {
    recovery,
    requestHash,
    reason,
    ...validity
  }: Required<Validity> & {
    readonly recovery: string;
    /** As the server shows it: the statement is about a request with this hash, or about none. */
    readonly requestHash: string;
    readonly reason: string;
  },
): Promise<string> {
  return signStatement(signer, STOP_TYPE, validity, { recovery, requestHash, reason });
}
