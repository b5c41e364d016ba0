import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** A certificate whose key the other end of a connection has proven to have (RFC 8446 section 4.4.3). Nobody vouches for it. */
export interface PeerCertificate {
  /** `x5t#S256`: base64url SHA-256 of its DER (RFC 8705 section 3.1). */
  readonly thumbprint: string;
  /** From the first instant to the last (RFC 5280 section 4.1.2.5), in milliseconds since the epoch. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** By connection: the certificate of one never changes, because TLS is not renegotiated (see src/http/server.ts). */
const known = new WeakMap<Socket, PeerCertificate>();

/**
 * The client certificate of a connection; undefined when it has none. Read once a connection. What a proxy in between says
 * in a header is not looked at: TLS must end here.
 */
export function peerCertificateOf(socket: Socket): PeerCertificate | undefined {
  const found = known.get(socket) ?? read(socket);
  if (found !== undefined) known.set(socket, found);
  return found;
}

function read(socket: Socket): PeerCertificate | undefined {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  if (certificate === undefined) return undefined;
  return {
    thumbprint: createHash('sha256').update(certificate.raw).digest('base64url'),
    fromMs: Date.parse(certificate.validFrom),
    // the second that it names is the last one
    untilMs: Date.parse(certificate.validTo) + 999,
  };
}
