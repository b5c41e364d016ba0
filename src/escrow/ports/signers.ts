/* ------------------------------------------------------------------- others */
/** Signs checkpoints with the token's `log` key. */
export interface CheckpointSigner {
  /** The log's origin: the name in its checkpoints and of its key. */
  readonly origin: string;
  /** The C2SP verifier key: `origin+keyid+base64`. */
  readonly vkey: string;
  /** The signature over the note's text, as C2SP signed-note wants it (Ed25519: 64 bytes; ECDSA: ASN.1 DER). */
  sign(text: Uint8Array): Promise<Uint8Array>;
}

/** The token's `identity` key, as what certifies the processes that append to the log. */
export interface Certifier {
  /** DER SubjectPublicKeyInfo (EC P-256). */
  readonly publicKey: Uint8Array;
  /** ES256 (r || s) over these bytes. Throws EscrowError `token-unavailable`. */
  attest(signingInput: Uint8Array): Promise<Uint8Array>;
}

/** Checks what the token's identity key has signed (JWS, RFC 7515; ES256, and no header but `alg` and `typ`). */
export interface IdentityVerifier {
  /** The payload, when `jws` has this `typ` and the identity key signed it. */
  verify(jws: string, typ: string): Promise<Readonly<Record<string, unknown>> | undefined>;
}
