/** Why a file is not a private key that can be imported: one closed set of stable codes. */
export const KEY_FILE_FAULTS = {
  // the file
  'file-empty': 'The file is empty.',
  'file-too-large': 'The file is larger than any private key.',
  'not-a-key': 'The file is neither PEM nor DER of a private key.',
  'no-private-key': 'There is no private key in the file.',
  'several-keys': 'There is more than one private key in the file.',
  'not-pkcs8': 'The private key is not in PKCS#8.',
  'der-malformed': 'The file is not well-formed DER.',
  'bytes-behind': 'There are bytes behind the private key.',
  'version-unknown': 'The private key is of another version of PKCS#8 than 0.',
  'encryption-unknown':
    'The file is encrypted in another way than PBES2 with scrypt or PBKDF2, and AES or triple DES.',
  'passphrase-missing': 'The file is under a passphrase, and nobody gave it.',
  'passphrase-wrong': 'The passphrase does not open the file, or the file is damaged.',
  // what is in it
  'algorithm-unsupported': 'The private key is of another algorithm than RSA and ECDSA.',
  'rsa-size': 'The modulus has another length than 2048, 3072 or 4096 bits.',
  'rsa-exponent': 'The public exponent is not an odd number of at least 3.',
  'rsa-primes': 'The RSA key does not have exactly two primes.',
  'rsa-incomplete': 'The RSA key lacks the numbers of the Chinese remainder theorem.',
  'rsa-inconsistent': 'The numbers of the RSA key do not belong together.',
  'curve-missing': 'The key does not say on which curve it is.',
  'curve-explicit': 'The curve is given by its numbers and not by its name.',
  'curve-unsupported': 'The curve is another than P-256, P-384 and P-521.',
  'scalar-out-of-range': 'The private number is not between 0 and the order of the curve.',
  'public-key-differs': 'The public key in the file is not that of the private key.',
  // what was said of it
  'claim-differs': 'The private key is not that of the public key that was given.',
  'claim-malformed': 'What was given as the public key is none.',
} as const satisfies Record<string, string>;

/** A code of {@link KEY_FILE_FAULTS}. */
export type KeyFileFault = keyof typeof KEY_FILE_FAULTS;

/** What openssl makes of such a file, where it can make something of it. */
const MENDED_BY: Partial<Record<KeyFileFault, string>> = {
  'not-pkcs8':
    'openssl pkcs8 -topk8 -scrypt -in FILE -out NEW (of PKCS#12: openssl pkcs12 -in FILE -nocerts first)',
  'version-unknown': 'openssl pkcs8 -topk8 -scrypt -in FILE -out NEW',
  'encryption-unknown': 'openssl pkcs8 -in FILE | openssl pkcs8 -topk8 -scrypt -out NEW',
  'curve-explicit': 'openssl ec -in FILE -param_enc named_curve | openssl pkcs8 -topk8 -scrypt -out NEW',
  'bytes-behind': 'openssl pkcs8 -topk8 -scrypt -inform DER -in FILE -out NEW',
};

/** A file that is not imported. Nothing of it was sent. The message says nothing of what is in it. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';

  constructor(
    readonly code: KeyFileFault,
    readonly detail: string = KEY_FILE_FAULTS[code],
    options?: ErrorOptions,
  ) {
    super(detail, options);
  }

  /** A command that makes another file of it; undefined where none does. */
  get mendedBy(): string | undefined {
    return MENDED_BY[this.code];
  }
}
