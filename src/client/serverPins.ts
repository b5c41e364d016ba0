import { X509Certificate } from 'node:crypto';

import { z } from 'zod';

import { noteVerifier, vkeyFor } from '../log/note/noteKey.js';
import { parseServerUrl } from './connection.js';
import { IdentityError } from './errors.js';
import { type Jwk, importJwk } from '../jose/jws.js';
import { jsonOrUndefined } from '../system/json.js';

/** What a client knows of its server from people it trusts, and never from the server itself. */
export interface ServerPins {
  /** `https://host[:port]` */
  readonly server: string;
  /** The log's origin: the name of this escrow service in everything that is signed. */
  readonly origin: string;
  /** Public JWK of the token's identity key, EC P-256, which signs attestations. */
  readonly identityKey: Jwk;
  /** C2SP verifier key of the log. */
  readonly logKey: string;
}

/** The public part of the ceremony's record that a client needs. */
export type CeremonyRecord = Omit<ServerPins, 'server'>;

const jwkSchema = z.record(z.string(), z.unknown()).transform((jwk) => publicMembersOf(jwk));
const recordSchema = z.object({
  origin: z.string().min(1).optional(),
  identityKey: jwkSchema,
  logKey: z.union([z.string().min(1), jwkSchema]),
});

/**
 * Reads the ceremony's record (JSON): `identityKey` and `logKey` as public JWKs, the latter also as a C2SP verifier
 * key. The origin is that of the record, or the one given where the ceremony did not know it.
 *
 * @throws IdentityError `record-malformed` when it lacks a key or the origin, or a key is not what it must be.
 */
export function parseCeremonyRecord(text: string, givenOrigin?: string): CeremonyRecord {
  const record = recordSchema.safeParse(jsonOrUndefined(text));
  if (!record.success) throw malformed('the record of the ceremony is not JSON with identityKey and logKey');
  const { identityKey, logKey } = record.data;
  const origin = givenOrigin ?? record.data.origin;
  if (origin === undefined)
    throw malformed(
      'the record does not say the origin of the log: give the origin of its configuration, --origin NAME',
    );
  if (record.data.origin !== undefined && record.data.origin !== origin) {
    throw malformed(`the record is for the origin ${record.data.origin}, not ${origin}`);
  }
  const vkey = typeof logKey === 'string' ? logKey : vkeyOf(logKey, origin);
  checkPinnedKeys(identityKey, vkey, origin);
  return { origin, identityKey, logKey: vkey };
}

function vkeyOf(jwk: Jwk, origin: string): string {
  const spkiDer = importJwk(jwk)?.export({ format: 'der', type: 'spki' });
  if (spkiDer === undefined) throw malformed('the log key is not a public key');
  try {
    const algorithm = jwk['kty'] === 'OKP' ? 'Ed25519' : 'ECDSA-P256';
    return vkeyFor({ name: origin, algorithm, spkiDer });
  } catch (error) {
    throw malformed('the log key is neither Ed25519 nor EC P-256, or the origin cannot name it', error);
  }
}

/** Refuses pins that could never verify anything. @throws IdentityError `record-malformed` */
export function checkPinnedKeys(identityKey: Jwk, logKey: string, origin: string): void {
  const key = importJwk(identityKey);
  if (key?.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw malformed('the identity key is not an EC P-256 public key');
  }
  try {
    if (noteVerifier(logKey).name !== origin) throw malformed('the log key is for another origin');
  } catch (error) {
    if (error instanceof IdentityError) throw error;
    throw malformed('the log key is not a C2SP verifier key', error);
  }
}

/** Refuses an address or a CA that could never be reached or believed. @throws IdentityError */
export function checkAddress(server: string, ca: string): void {
  parseServerUrl(server);
  try {
    new X509Certificate(ca);
  } catch (error) {
    throw new IdentityError('record-malformed', 'the CA file is not a PEM certificate', { cause: error });
  }
}

function publicMembersOf(jwk: Readonly<Record<string, unknown>>): Jwk {
  const names = ['kty', 'crv', 'x', 'y'];
  return Object.fromEntries(
    Object.entries(jwk).filter(
      (member): member is [string, string] => names.includes(member[0]) && typeof member[1] === 'string',
    ),
  );
}

function malformed(message: string, cause?: unknown): IdentityError {
  return new IdentityError('record-malformed', message, { cause });
}
