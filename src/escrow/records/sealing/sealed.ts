/**
 * Key material has no type. What passes through the host is ciphertext, and its type says who can open it.
 * `By` is one of {@link Opener}; the bytes are opaque to everything but the token and the depositary's client.
 */
export type Opener =
  | 'kek' // AES key wrap with padding under a key-encryption key of the token (RFC 5649)
  | 'depositary' // RSA-OAEP to a depositary's public key (RFC 8017 section 7.1)
  | 'owner' // RSA-OAEP to an owner's delivery key
  | 'server-for' // RSA-OAEP to the server's own key regarding one depositary
  | 'transport' // RSA-OAEP to the one-time key of one recovery request
  | 'import' // RSA-OAEP of an AES key to a one-time import key, and a private key under that (RFC 5649)
  | 'share-key' // AES-256-GCM under R, the recovery secret of one depositary
  | 'layer-key' // AES-256-GCM under L, one layer of a quorum
  | 'transfer-key'; // AES key wrap with padding under X, the key inside a release (RFC 5649)

declare const opener: unique symbol;

/** Ciphertext that only `By` can open. */
export type Sealed<By extends Opener> = Uint8Array & { readonly [opener]: By };

/** Marks bytes that came from the token, the database or a depositary as ciphertext for `by`. */
export function sealed<By extends Opener>(_by: By, bytes: Uint8Array): Sealed<By> {
  return bytes as Sealed<By>;
}

/**
 * A key that lives in the token for the length of one loan of verbs (see `Token.lend`) and is destroyed with it.
 * The host holds only this reference.
 */
export interface Held<Kind extends 'user-key' | 'share-key' | 'layer-key' | 'transfer-key'> {
  readonly held: Kind;
  readonly reference: number;
}
