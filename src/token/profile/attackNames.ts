import type { KekKind } from '../../escrow/records/sealing/keks.js';

/**
 * What somebody with the host and the user PIN would try, and the token must refuse: the name of each attack, and what
 * it tries, for people. The names are stable: profiles and configurations that live with one of them name it.
 */
export const ATTACKS_TRY = {
  'unwrap-operate-extractable': 'bring a key deposited for operation only out exportable',
  'unwrap-operate-readable': 'bring a key deposited for operation only out as bytes that can be read',
  'unwrap-operate-defaults': 'the same with every attribute left out',
  'unwrap-operate-public': "put a key deposited for operation only on the token's disk in the clear",
  'unwrap-operate-derive': 'agree on a secret (ECDH) with a key deposited to sign',
  'unwrap-operate-signs': 'sign with a key deposited to decrypt',
  'unwrap-operate-other-type': 'bring a private key deposited for operation only out as a secret of no kind',
  'unwrap-operate-copyable': 'bring a key deposited for operation only out so that copies can do more',
  'unwrap-operate-modifiable':
    'bring a key deposited for operation only out so that it can be made to do more',
  'unwrap-secret-wraps': 'wrap other keys with a secret key deposited to decrypt',
  'unwrap-release-public': "put a key deposited for release on the token's disk in the clear",
  'unwrap-release-token': 'keep a key deposited for release in the token',
  'unwrap-release-used': 'sign with a key deposited for release',
  'unwrap-release-readable': 'bring a key deposited for release out as bytes that can be read',
  'unwrap-reply-extractable': "bring a depositary's recovery secret out exportable",
  'unwrap-reply-readable': "bring a depositary's recovery secret out as bytes that can be read",
  'unwrap-reply-public': "put what a depositary's answer brings on the token's disk in the clear",
  'unwrap-reply-token': "keep what a depositary's answer brings in the token",
  'unwrap-reply-unwraps': "unwrap other keys with what a depositary's answer brings",
  'unwrap-reply-other-mechanism':
    "decrypt block by block with what a depositary's answer brings, which unwraps as well",
  'unwrap-reply-copyable': "bring in a depositary's answer so that copies can do more",
  'unwrap-reply-modifiable': "bring in a depositary's answer so that it can be made to do more",
  'rotate-to-release':
    'bring a key deposited for operation only out by its rotating handle, under the KEK of release',
  'rotate-to-depositary':
    'bring a key deposited for operation only out by its rotating handle, under the key of a depositary',
  'rotate-to-own':
    "bring a key deposited for operation only out by its rotating handle, under a key of one's own",
  'rotate-used': 'sign with a key that came out of a rotating handle',
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

export type AttackName = keyof typeof ATTACKS_TRY;

/**
 * What key-encryption keys of an older ceremony do not refuse, since one of them was for all keys of a purpose and insisted on
 * less: with the kind of KEK whose newest decides.
 */
export const NEEDS_NEWER_KEK = {
  'unwrap-operate-public': 'operate:sign',
  'unwrap-operate-derive': 'operate:sign',
  'unwrap-operate-signs': 'operate:decrypt',
  'unwrap-operate-other-type': 'operate:sign',
  'unwrap-operate-copyable': 'operate:sign',
  'unwrap-operate-modifiable': 'operate:sign',
  'unwrap-secret-wraps': 'operate:secret',
  'unwrap-release-public': 'release:private',
  'unwrap-release-token': 'release:private',
  'unwrap-release-used': 'release:private',
} as const satisfies Partial<Record<AttackName, KekKind>>;

export const ATTACK_NAMES = Object.keys(ATTACKS_TRY) as readonly AttackName[];
