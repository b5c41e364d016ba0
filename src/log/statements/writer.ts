import { createPublicKey, hash, verify, type KeyObject } from 'node:crypto';
import { canonicalJson } from '../entry/canonical.js';
import { identityInput, isSignedByIdentity, unverifiedPayload } from './identity.js';
import { hashLengthBytes } from '../tree/merkle.js';

/*
 * Who wrote an entry. Each process that appends has a key of its own, which lives as long as it does; the token's identity
 * key certifies it. A batch of adjacent entries carries one signature by that key over what stands in it and what number it
 * has among the writer's batches.
 */

/** The `typ` of a writer's certificate (RFC 7515 section 4.1.9). */
export const WRITER_TYPE = 'escrowd-writer+jwt';

/** What the identity key says of a writer. */
export interface WriterClaims {
  /** The vkey of the log that it writes to, and of no other. */
  readonly aud: string;
  /** The writer's id; another for each process. */
  readonly sub: string;
  /** Its Ed25519 public key: the 32 bytes in base64url. */
  readonly key: string;
  /** Entries before this index have no writer: they were there before there were any. */
  readonly from: number;
  /** Seconds since the epoch. */
  readonly iat: number;
}

/** The JWS signing input (RFC 7515 section 5.1) of a writer's certificate; the identity key signs it by ES256. */
export function writerInput({ aud, sub, key, from, iat }: WriterClaims): string {
  return identityInput(WRITER_TYPE, { aud, from, iat, key, sub });
}

export interface Batch {
  /** The vkey of the log. */
  readonly log: string;
  readonly writer: string;
  /** From 1 on, higher for each batch. Those that were not recorded leave gaps. */
  readonly counter: number;
  /** The writer's batch before this one in the log: the one with counter `follows` (0: none) ... */
  readonly follows: number;
  /** ... or one whose fate was not known yet, with a counter from `since` to below `counter`. */
  readonly since: number;
  /** RFC 6962 leaf hashes of its entries, in the order in which they stand in the log. */
  readonly leaves: readonly Uint8Array[];
}

/** The bytes that a writer signs of a batch: canonical JSON. The leaves are in it by the SHA-256 of all of them in a row. */
export function batchBytes({ log, writer, counter, follows, since, leaves }: Batch): Uint8Array {
  const text = canonicalJson({
    v: 1,
    log,
    writer,
    counter,
    follows,
    since,
    count: leaves.length,
    leaves: hash('sha256', Buffer.concat(leaves, leaves.length * hashLengthBytes), 'hex'),
  });
  return Buffer.from(text);
}

/** A writer whose certificate was checked. */
export interface CertifiedWriter {
  readonly id: string;
  /** See {@link WriterClaims.from}. */
  readonly from: number;
  /** Whether `signature` is its Ed25519 signature of this batch. */
  signed(batch: Batch, signature: Uint8Array): boolean;
}

/**
 * Reads a writer's certificate (compact JWS). Undefined for anything else than what {@link writerInput} makes for this log,
 * with a signature by the identity key (DER SubjectPublicKeyInfo, EC P-256).
 */
export function readWriter(
  certificate: string,
  by: { readonly log: string; readonly identityKey: Uint8Array },
): CertifiedWriter | undefined {
  const claims = readClaims(certificate);
  const key = claims === undefined ? undefined : writerKey(claims.key);
  if (claims === undefined || key === undefined || claims.aud !== by.log) return undefined;
  // One certificate has one spelling: its members are these and no others.
  if (!isSignedByIdentity(certificate, writerInput(claims), by.identityKey)) return undefined;
  return {
    id: claims.sub,
    from: claims.from,
    signed: (batch, signed) =>
      batch.log === claims.aud && batch.writer === claims.sub && verify(null, batchBytes(batch), key, signed),
  };
}

function readClaims(certificate: string): WriterClaims | undefined {
  const { aud, sub, key, from, iat } = unverifiedPayload(certificate) ?? {};
  if (typeof aud !== 'string' || typeof sub !== 'string' || sub === '') return undefined;
  if (typeof key !== 'string' || !isIndex(from) || !isIndex(iat)) return undefined;
  return { aud, sub, key, from, iat };
}

function isIndex(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function writerKey(x: string): KeyObject | undefined {
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  } catch {
    return undefined;
  }
}
