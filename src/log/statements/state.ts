import { identityInput, isSignedByIdentity, unverifiedPayload } from './identity.js';

/** The `typ` of a statement about the state that entries make (RFC 7515 section 4.1.9). */
export const STATE_TYPE = 'escrowd-state+jwt';

/** What the identity key says of a state: it is what this release has made of all entries of this tree. */
export interface StateClaims {
  /** The vkey of the log. */
  readonly aud: string;
  /** Seconds since the epoch. */
  readonly iat: number;
  /** Which program made it, by version and code: another may have another form of it, or come to another one. */
  readonly release: string;
  /** The tree: its size and its root (base64). */
  readonly size: number;
  readonly root: string;
  /** SHA-256 (lower-case hexadecimal) of the state. */
  readonly state: string;
}

/** The JWS signing input (RFC 7515 section 5.1) of a statement about a state; the identity key signs it by ES256. */
export function stateInput({ aud, iat, release, root, size, state }: StateClaims): string {
  return identityInput(STATE_TYPE, { aud, iat, release, root, size, state });
}

/**
 * Reads a statement about a state (compact JWS). Undefined for anything else than what {@link stateInput} makes for this log,
 * with a signature by the identity key (DER SubjectPublicKeyInfo, EC P-256).
 */
export function readState(
  statement: string,
  by: { readonly log: string; readonly identityKey: Uint8Array },
): StateClaims | undefined {
  const { aud, iat, release, root, size, state } = unverifiedPayload(statement) ?? {};
  if (aud !== by.log || typeof release !== 'string' || typeof root !== 'string' || typeof state !== 'string')
    return undefined;
  if (!isCount(iat) || !isCount(size)) return undefined;
  const claims = { aud, iat, release, root, size, state };
  // One statement has one spelling: its members are these and no others.
  return isSignedByIdentity(statement, stateInput(claims), by.identityKey) ? claims : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
