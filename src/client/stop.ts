import { parseJws } from '../jose/jws.js';
import type { Signer } from './identity/signingKey.js';
import { STOP_TYPE } from '../escrow/records/statementTypes.js';

/** Payload of an administrator's statement that a request is to end. */
interface StopPayload {
  readonly iss: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly recovery: string;
  readonly requestHash: string;
  readonly reason: string;
}

/** An administrator's statement that this very request is to end, for this server, for a while. */
export function signStop(
  signer: Signer,
  order: {
    readonly recovery: string;
    /** As the server shows it: the statement is about a request with this hash, or about none. */
    readonly requestHash: string;
    readonly reason: string;
    /** The C2SP verifier key of the server's log. */
    readonly logKey: string;
    readonly now: Date;
    readonly lifetimeMs: number;
  },
): Promise<string> {
  const iat = Math.floor(order.now.getTime() / 1000);
  const payload: StopPayload = {
    iss: signer.id,
    aud: order.logKey,
    iat,
    exp: iat + Math.floor(order.lifetimeMs / 1000),
    recovery: order.recovery,
    requestHash: order.requestHash,
    reason: order.reason,
  };
  return signer.sign(STOP_TYPE, { ...payload });
}

/** What such a statement says, unverified: for telling people before the server is asked. */
export function readStop(
  jws: string,
): Pick<StopPayload, 'iss' | 'recovery' | 'requestHash' | 'reason'> | undefined {
  const parsed = parseJws(jws);
  if (parsed?.header['typ'] !== STOP_TYPE) return undefined;
  const { iss, recovery, requestHash, reason } = parsed.payload;
  const isWhole = typeof iss === 'string' && typeof recovery === 'string' && typeof reason === 'string';
  return isWhole && typeof requestHash === 'string' ? { iss, recovery, requestHash, reason } : undefined;
}
