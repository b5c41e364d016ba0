/** What a key can be for. `decrypt` covers key agreement as well. */
export const KEY_USES = ['sign', 'decrypt'] as const;
/** One of {@link KEY_USES}. */
export type KeyUse = (typeof KEY_USES)[number];

/** The kinds of user keys, by name. Lengths in bits; curves by their SEC 2 / RFC 8410 names. */
export const KEY_SPECS = {
  'rsa-2048': { kind: 'RSA', modulusBits: 2048, uses: ['sign', 'decrypt'] },
  'rsa-3072': { kind: 'RSA', modulusBits: 3072, uses: ['sign', 'decrypt'] },
  'rsa-4096': { kind: 'RSA', modulusBits: 4096, uses: ['sign', 'decrypt'] },
  'ec-p256': { kind: 'EC', curve: 'secp256r1', orderBytes: 32, uses: ['sign'] },
  'ec-p384': { kind: 'EC', curve: 'secp384r1', orderBytes: 48, uses: ['sign'] },
  'ec-p521': { kind: 'EC', curve: 'secp521r1', orderBytes: 66, uses: ['sign'] },
  ed25519: { kind: 'OKP', curve: 'Ed25519', uses: ['sign'] },
  'aes-256': { kind: 'AES', keyBits: 256, uses: ['decrypt'] },
} as const satisfies Record<
  string,
  {
    readonly kind: 'RSA' | 'EC' | 'OKP' | 'AES';
    readonly uses: readonly KeyUse[];
    readonly [more: string]: unknown;
  }
>;

/** The name of a key specification. */
export type KeySpec = keyof typeof KEY_SPECS;

/** Those of which a key can come from outside: their public halves prove in the token that it is the right one. */
export type ImportableSpec = Extract<KeySpec, `rsa-${string}` | `ec-${string}`>;

export const IMPORTABLE_SPECS = [
  'rsa-2048',
  'rsa-3072',
  'rsa-4096',
  'ec-p256',
  'ec-p384',
  'ec-p521',
] as const satisfies readonly ImportableSpec[];

export const KEY_SPEC_NAMES = Object.keys(KEY_SPECS) as readonly KeySpec[];

/** Whether keys of this specification can be used this way. */
export function specAllows(spec: KeySpec, use: KeyUse): boolean {
  return (KEY_SPECS[spec].uses as readonly KeyUse[]).includes(use);
}
