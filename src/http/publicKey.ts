import { createPublicKey } from 'node:crypto';

import { type JWK, calculateJwkThumbprint } from 'jose';

import type { PublicKeyReply } from '../api/replies.js';
import type { Deposit } from '../escrow/records/deposit.js';
import { base64url } from '../escrow/records/digests.js';
import { encodeBase64 } from '../log/note/base64.js';

/** SubjectPublicKeyInfo PEM (RFC 7468 section 13). */
export function spkiPem(der: Uint8Array): string {
  const lines = encodeBase64(der).match(/.{1,64}/g) ?? [];
  return ['-----BEGIN PUBLIC KEY-----', ...lines, '-----END PUBLIC KEY-----', ''].join('\n');
}

/** The public half of a key, in the forms that programs take. */
export async function publicKeyReply({
  key,
  label,
  spec,
  use,
  publicKey: der,
}: Deposit): Promise<PublicKeyReply> {
  const of = { key, label, spec, use };
  if (der === undefined) return of;
  const exported = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
  const { kty, ...members } = exported.export({ format: 'jwk' }) as JWK & { readonly kty: string };
  const kid = await calculateJwkThumbprint({ kty, ...members });
  const jwk = { kty, ...members, kid, use: use === 'sign' ? 'sig' : 'enc' } as const;
  return { ...of, half: { jwk, pem: spkiPem(der), der: base64url(der) } };
}
