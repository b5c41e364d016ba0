import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';

import { SshReader, sshMpint, sshString, SshWireError } from './wire.js';

/** Curves by their SSH names (RFC 5656 section 6.2.1), with the JWK name, the length of a coordinate and the hash. */
const CURVES = {
  nistp256: { crv: 'P-256', bytes: 32, digest: 'sha256', mechanism: 'ES256' },
  nistp384: { crv: 'P-384', bytes: 48, digest: 'sha384', mechanism: 'ES384' },
  nistp521: { crv: 'P-521', bytes: 66, digest: 'sha512', mechanism: 'ES512' },
} as const;
type CurveName = keyof typeof CURVES;
const CURVE_NAMES = Object.keys(CURVES) as readonly CurveName[];

/**
 * The public key in SSH form (RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4); undefined for a kind of key
 * that SSH does not have.
 */
export function sshPublicKey(key: KeyObject): Buffer | undefined {
  const jwk = key.export({ format: 'jwk' });
  const part = (name: 'n' | 'e' | 'x' | 'y'): Buffer => Buffer.from(jwk[name] ?? '', 'base64url');
  if (jwk.kty === 'RSA')
    return Buffer.concat([sshString('ssh-rsa'), sshMpint(part('e')), sshMpint(part('n'))]);
  if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519')
    return Buffer.concat([sshString('ssh-ed25519'), sshString(part('x'))]);
  const curve = curveOf(jwk);
  if (curve === undefined) return undefined;
  const point = Buffer.concat([Buffer.from([4]), part('x'), part('y')]);
  return Buffer.concat([sshString(`ecdsa-sha2-${curve}`), sshString(curve), sshString(point)]);
}

/** The SSH name of the curve of a key; undefined when it has none. */
export function sshCurve(key: KeyObject): CurveName | undefined {
  return curveOf(key.export({ format: 'jwk' }));
}

/** By what a key on this curve signs. */
export function mechanismOfCurve(curve: CurveName): 'ES256' | 'ES384' | 'ES512' {
  return CURVES[curve].mechanism;
}

/**
 * Whether an SSH signature (RFC 4253 section 6.6) by a host is one of the key in SSH form over these bytes. RSA with SHA-1 is none.
 * @throws SshWireError when the key is none of RSA, ECDSA or Ed25519
 */
export function isSignedBy(publicKey: Buffer, signature: Buffer, signed: Buffer): boolean {
  const key = readPublicKey(publicKey);
  const reader = new SshReader(signature);
  const algorithm = reader.text();
  const value = reader.string();
  reader.end();
  const type = new SshReader(publicKey).text();
  if (type === 'ssh-rsa') {
    const digest = { 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512' }[algorithm];
    return digest !== undefined && verify(digest, signed, key, value);
  }
  if (algorithm !== type) return false;
  if (type === 'ssh-ed25519') return verify(null, signed, key, value);
  const curve = CURVE_NAMES.find((name) => type === `ecdsa-sha2-${name}`);
  if (curve === undefined) return false;
  const numbers = new SshReader(value);
  const { bytes, digest } = CURVES[curve];
  const [r, s] = [numbers.mpint(), numbers.mpint()];
  numbers.end();
  if (r.length > bytes || s.length > bytes) return false;
  const padded = [r, s].map((number) => Buffer.concat([Buffer.alloc(bytes - number.length), number]));
  return verify(digest, signed, { key, dsaEncoding: 'ieee-p1363' }, Buffer.concat(padded));
}

function readPublicKey(blob: Buffer): KeyObject {
  const reader = new SshReader(blob);
  const type = reader.text();
  const jwk = jwkOf(type, reader);
  reader.end();
  if (jwk === undefined) throw new SshWireError(`${type} is no kind of key that is known here`);
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch (cause) {
    throw new SshWireError('a public key is not one', { cause });
  }
}

function jwkOf(type: string, reader: SshReader): JsonWebKey | undefined {
  const encoded = (bytes: Buffer): string => bytes.toString('base64url');
  if (type === 'ssh-rsa') {
    const [e, n] = [reader.mpint(), reader.mpint()];
    return { kty: 'RSA', e: encoded(e), n: encoded(n) };
  }
  if (type === 'ssh-ed25519') return { kty: 'OKP', crv: 'Ed25519', x: encoded(reader.string()) };
  const curve = CURVE_NAMES.find((name) => type === `ecdsa-sha2-${name}`);
  if (curve === undefined) return undefined;
  const { crv, bytes } = CURVES[curve];
  const named = reader.text();
  const point = reader.string();
  if (named !== curve || point.length !== 1 + 2 * bytes || point[0] !== 4)
    throw new SshWireError('a point is not one of its curve');
  return { kty: 'EC', crv, x: encoded(point.subarray(1, 1 + bytes)), y: encoded(point.subarray(1 + bytes)) };
}

function curveOf(jwk: JsonWebKey): CurveName | undefined {
  return jwk.kty === 'EC' ? CURVE_NAMES.find((name) => CURVES[name].crv === jwk.crv) : undefined;
}
