import { X509Certificate } from 'node:crypto';

import { z } from 'zod';

import { noteVerifier } from '../log/noteKey.js';
import { parseServerUrl } from './connection.js';
import { IdentityError } from './errors.js';
import type { Jwk } from './jws.js';
import { importJwk } from './jws.js';

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

const recordSchema = z.object({
  origin: z.string().min(1),
  identityKey: z.record(z.string(), z.string()),
  logKey: z.string().min(1),
});

/**
 * Reads the ceremony's record (JSON).
 * @throws IdentityError `record-malformed` when it lacks the origin or a key, or a key is not what it must be.
 */
export function parseCeremonyRecord(text: string): CeremonyRecord {
  const record = recordSchema.safeParse(jsonOrUndefined(text));
  if (!record.success) {
    const where = record.error.issues[0]?.path.join('.') ?? '';
    throw malformed(
      `the ceremony's record is not JSON with origin, identityKey and logKey (${where || 'all of it'})`,
    );
  }
  const { origin, identityKey, logKey } = record.data;
  checkPinnedKeys(identityKey, logKey, origin);
  return { origin, identityKey: publicMembersOf(identityKey), logKey };
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

/** Refuses an address or a CA that could never be reached or believed. @throws IdentityError, ServerUnreachable */
export function checkAddress(server: string, ca: string): void {
  parseServerUrl(server);
  try {
    new X509Certificate(ca);
  } catch (error) {
    throw new IdentityError('record-malformed', 'the CA file is not a PEM certificate', { cause: error });
  }
}

function publicMembersOf(jwk: Jwk): Jwk {
  const names = ['kty', 'crv', 'x', 'y'];
  return Object.fromEntries(Object.entries(jwk).filter(([name]) => names.includes(name)));
}

function malformed(message: string, cause?: unknown): IdentityError {
  return new IdentityError('record-malformed', message, { cause });
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
