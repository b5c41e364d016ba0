/** What bytes can be: a key's value, or that under another key. Ciphertexts are opened with the right key, or not at all. */
export type Term =
  | { readonly form: 'value'; readonly of: string }
  /** RSA-OAEP of a key's value to a public key. */
  | { readonly form: 'oaep'; readonly to: string; readonly of: string }
  /** AES key wrap with padding of a key's value. */
  | { readonly form: 'kwp'; readonly under: string; readonly of: string }
  /** AES-GCM of bytes: opens only under the same associated data. */
  | { readonly form: 'gcm'; readonly under: string; readonly aad: string; readonly inner: Term };

export const value = (of: string): Term => ({ form: 'value', of });
export const oaep = (to: string, of: string): Term => ({ form: 'oaep', to, of });
export const kwp = (under: string, of: string): Term => ({ form: 'kwp', under, of });
export const gcm = (under: string, aad: string, inner: Term): Term => ({ form: 'gcm', under, aad, inner });
/** The private half of a pair, as a value. */
export const privateHalf = (pair: string): string => `private ${pair}`;

/** The same text for the same bytes. */
export function nameOf(term: Term): string {
  switch (term.form) {
    case 'value':
      return term.of;
    case 'oaep':
      return `oaep(${term.to}, ${term.of})`;
    case 'kwp':
      return `kwp(${term.under}, ${term.of})`;
    case 'gcm':
      return `gcm(${term.under}, ${term.aad}, ${nameOf(term.inner)})`;
  }
}

export type Use = 'wrap' | 'unwrap' | 'decrypt' | 'sign' | 'derive';
export const USES: readonly Use[] = ['wrap', 'unwrap', 'decrypt', 'sign', 'derive'];
export type Kind = 'secret' | 'private';

/** CKA_UNWRAP_TEMPLATE: what is named here must be so in whatever is unwrapped; all else is the caller's to choose. */
export interface UnwrapTemplate {
  readonly kind?: Kind;
  readonly isPrivate?: true;
  readonly sensitive?: true;
  readonly extractable?: boolean;
  readonly token?: false;
  readonly wrapWithTrusted?: true;
  /** COPYABLE=F and MODIFIABLE=F. */
  readonly frozen?: true;
  readonly never?: readonly Use[];
}

/** A key in the token, by its attributes. A public key is one that wraps under its pair. */
export interface TokenObject {
  readonly value: string;
  readonly kind: Kind | 'public';
  readonly uses: readonly Use[];
  readonly isPrivate: boolean;
  readonly sensitive: boolean;
  readonly extractable: boolean;
  /** Whether it may lie in the token's storage; one that its maker chose freely counts as both. */
  readonly token: boolean | 'either';
  readonly local: boolean;
  readonly trusted: boolean;
  readonly wrapWithTrusted: boolean;
  readonly frozen: boolean;
  readonly unwrapTemplate?: UnwrapTemplate;
  /** CKA_WRAP_TEMPLATE {LOCAL=T, TOKEN=F}. */
  readonly wrapsLocalOnly?: boolean;
}

/** A key as the ceremony makes one: nothing is allowed that is not said. */
export function object(
  part: Pick<TokenObject, 'value' | 'kind' | 'uses'> & Partial<TokenObject>,
): TokenObject {
  return {
    isPrivate: part.kind !== 'public',
    sensitive: part.kind !== 'public',
    extractable: false,
    token: true,
    local: true,
    trusted: false,
    wrapWithTrusted: false,
    frozen: true,
    ...part,
  };
}
