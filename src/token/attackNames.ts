/**
 * What somebody with the host and the user PIN would try, and the token must refuse: the name of each attack, and what
 * it tries, for people. The names are stable: profiles and configurations that live with one of them name it.
 */
export const ATTACKS_TRY = {
  'unwrap-operate-extractable': 'bring a key deposited for operation only out exportable',
  'unwrap-operate-readable': 'bring a key deposited for operation only out as bytes that can be read',
  'unwrap-operate-defaults': 'the same with every attribute left out',
  'unwrap-release-readable': 'bring a key deposited for release out as bytes that can be read',
  'unwrap-reply-extractable': "bring a depositary's recovery secret out exportable",
  'unwrap-reply-readable': "bring a depositary's recovery secret out as bytes that can be read",
  'wrap-share-untrusted': 'encrypt a recovery secret to a key that the security officer has not enrolled',
  'wrap-transfer-untrusted':
    'encrypt the key inside a release to a key that the security officer has not enrolled',
  'trust-as-user': "enrol a key of one's own, as the user",
  'import-as-born-here': 'pass off a key whose bytes are known as one made in the token',
  'read-user-key': 'read a freshly made key',
  'user-key-loses-sensitive': 'make a freshly made key readable',
  'kek-gains-decrypt': 'switch DECRYPT on at the KEK of operation (Clulow)',
  'release-kek-gains-decrypt': 'switch DECRYPT on at the KEK of release (Clulow)',
  'kek-decrypts': 'wrap a key under the KEK of operation, then decrypt it with the same (Clulow)',
  'release-kek-decrypts': 'wrap a key under the KEK of release, then decrypt it with the same (Clulow)',
  'transfer-decrypts': 'wrap a key under the key inside a release, then decrypt it with the same (Clulow)',
  'transport-decrypts': "decrypt a depositary's answer with the transport key, instead of unwrapping it",
  'share-decrypts': 'decrypt with a recovery secret that is made to encrypt',
  'share-wraps': 'wrap a key under a recovery secret',
  'copy-kek': 'copy the KEK of operation with other attributes',
  'copy-release-kek': 'copy the KEK of release with other attributes',
  'copy-grant': 'copy a recovered key with other attributes',
  'wrap-kek': 'wrap one KEK under the other',
  'wrap-grant': 'wrap a recovered key, which is not extractable, under a key at hand',
  'grant-gains-extractable': 'make a recovered key exportable after all',
  'grant-other-mechanism': 'sign with a recovered key by a mechanism that was not granted',
  'grant-other-use': 'agree on a secret (ECDH) with a recovered key that was granted to sign',
} as const;

/** The name of an attack. */
export type AttackName = keyof typeof ATTACKS_TRY;

/** The names of all attacks. */
export const ATTACK_NAMES = Object.keys(ATTACKS_TRY) as readonly AttackName[];
