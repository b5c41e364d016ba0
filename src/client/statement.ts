import type { z } from 'zod';

import { parseJws } from '../jose/jws.js';
import type { Signer } from './identity/signingKey.js';

/** For which server something is signed, and for how long. */
export interface Validity {
  /** The C2SP verifier key of the server's log. */
  readonly logKey: string;
  readonly now: Date;
  /** For good, when it is not given. */
  readonly lifetimeMs?: number;
}

/** Signs what is said with `iss` (the signer), `aud` (the log's verifier key), and `iat` and `exp` in seconds since the epoch. */
export function signStatement(
  signer: Signer,
  type: string,
  { logKey, now, lifetimeMs }: Validity,
  said: Readonly<Record<string, unknown>>,
): Promise<string> {
  const exp = lifetimeMs === undefined ? {} : { exp: secondsOf(now.getTime() + lifetimeMs) };
  return signer.sign(type, { iss: signer.id, aud: logKey, iat: secondsOf(now.getTime()), ...exp, ...said });
}

/** What a statement of this type says, unverified: for telling people before the server is asked. Undefined when it is none. */
export function readStatement<T>(jws: string, type: string, schema: z.ZodType<T>): T | undefined {
  const parsed = parseJws(jws);
  return parsed?.header['typ'] === type ? schema.safeParse(parsed.payload).data : undefined;
}

function secondsOf(ms: number): number {
  return Math.floor(ms / 1000);
}
