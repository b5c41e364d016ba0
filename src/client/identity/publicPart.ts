import { z } from 'zod';

import { IdentityError } from '../errors.js';
import type { Jwk } from '../../jose/jws.js';
import { jsonOrUndefined } from '../../system/json.js';

/** What a principal hands to the administrators: its part of the policy document. Nothing in it is secret. */
export interface PublicPart {
  readonly id: string;
  readonly keys: readonly Jwk[];
  /** Of a depositary: SHA-256 (hex) of the DER SubjectPublicKeyInfo of the key that the token is to enrol. */
  readonly depositaryKey?: string;
  /** SPKI PEM, RSA-3072. */
  readonly deliveryKey?: string;
}

const schema: z.ZodType<PublicPart> = z.object({
  id: z.string(),
  keys: z.array(z.record(z.string(), z.string())).min(1).readonly(),
  depositaryKey: z.exactOptional(z.string()),
  deliveryKey: z.exactOptional(z.string()),
});

/**
 * Reads a `public.json`.
 * @throws IdentityError `record-malformed` when it is none, or holds a private key.
 */
export function parsePublicPart(text: string): PublicPart {
  const part = schema.safeParse(jsonOrUndefined(text));
  if (!part.success) throw new IdentityError('record-malformed', 'not a public.json: {id, keys}');
  // RFC 7518 sections 6.2.2, 6.3.2: `d` is the private part of every kind of key pair
  if (part.data.keys.some((key) => 'd' in key)) {
    throw new IdentityError('record-malformed', 'it holds a private key; hand out public keys only');
  }
  return part.data;
}

/**
 * Reads one `public.json`, or several in an array, such as the file of the first administrators.
 * @throws IdentityError `record-malformed`
 */
export function parsePublicParts(text: string): readonly PublicPart[] {
  const value = jsonOrUndefined(text);
  return Array.isArray(value)
    ? value.map((part) => parsePublicPart(JSON.stringify(part)))
    : [parsePublicPart(text)];
}
