import koffi from 'koffi';
import pkcs11 from 'pkcs11js';
import type { Mechanism as CkMechanism } from 'pkcs11js';
import { type GeneratedSpec, KEY_SPECS } from '../../escrow/records/keySpecs.js';
import type { DigestName, Mechanism, SignMechanism } from '../../escrow/records/mechanisms.js';
import { DIGEST_BYTES, MECHANISMS } from '../../escrow/records/mechanisms.js';
import type { TokenProfile } from './profile.js';

/** AES-256-GCM everywhere here: 96-bit IV, 128-bit tag (SP 800-38D section 8.2.2). */
export const GCM = { ivBytes: 12, tagBytes: 16 } as const;

const CKZ_DATA_SPECIFIED = 1;

/** The hash of each RSA-OAEP and of its MGF1, by the JOSE name (RFC 7518 section 4.3). */
export const OAEP_HASHES = {
  'RSA-OAEP': { hashAlg: pkcs11.CKM_SHA_1, mgf: pkcs11.CKG_MGF1_SHA1 },
  'RSA-OAEP-256': { hashAlg: pkcs11.CKM_SHA256, mgf: pkcs11.CKG_MGF1_SHA256 },
} as const;

const PSS_HASHES = {
  sha256: { hashAlg: pkcs11.CKM_SHA256, mgf: pkcs11.CKG_MGF1_SHA256 },
  sha384: { hashAlg: pkcs11.CKM_SHA384, mgf: pkcs11.CKG_MGF1_SHA384 },
  sha512: { hashAlg: pkcs11.CKM_SHA512, mgf: pkcs11.CKG_MGF1_SHA512 },
} as const satisfies Record<DigestName, unknown>;

/** DER of DigestInfo up to the digest (RFC 8017 section 9.2, note 1). */
const DIGEST_INFO = {
  sha256: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  sha384: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  sha512: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
} as const satisfies Record<DigestName, Buffer>;

/** The mechanisms of one token, in the driver's form. */
export class Mechanisms {
  constructor(private readonly profile: TokenProfile) {}

  /** The number of a mechanism of the profile. Throws when the profile has none. */
  number(name: keyof TokenProfile['mechanisms']): number {
    const row = this.profile.mechanisms[name];
    if (row === undefined) throw new Error(`the token profile has no ${name}`);
    return row.number;
  }

  /** What unwraps a reply or a layer, and what opens with that. */
  opening(): { readonly oaep: number; readonly gcm: number } {
    return { oaep: this.number('rsaOaep'), gcm: this.number('aesGcm') };
  }

  /** The same, and what unwraps a key that is imported. */
  oneTime(): { readonly oaep: number; readonly gcm: number; readonly kwp: number } {
    return { ...this.opening(), kwp: this.number('keyWrapWithPadding') };
  }

  /** ECDH (PKCS#11 2.40 section 2.3.8) with the point of the other side; the key is the end of the x coordinate, CKD_NULL. */
  ecdh(point: Buffer): CkMechanism {
    const CKD_NULL = 1;
    const parameter = { type: pkcs11.CK_PARAMS_EC_DH, kdf: CKD_NULL, publicData: point };
    return { mechanism: this.number('ecdh'), parameter };
  }

  /** Mechanisms without a parameter: key generation, KWP (RFC 5649), ECDSA, EdDSA, RSASSA-PKCS1-v1_5. */
  plain(
    name: Exclude<keyof TokenProfile['mechanisms'], 'rsaOaep' | 'aesGcm' | 'rsaPss' | 'ecdh'>,
  ): CkMechanism {
    return { mechanism: this.number(name) };
  }

  /** RSAES-OAEP (RFC 8017 section 7.1) with an empty label; `which` is the profile's unless given. */
  oaep(which: TokenProfile['oaep'] = this.profile.oaep): CkMechanism {
    const parameter = { type: pkcs11.CK_PARAMS_RSA_OAEP, source: CKZ_DATA_SPECIFIED, ...OAEP_HASHES[which] };
    return { mechanism: this.number('rsaOaep'), parameter };
  }

  /** AES-GCM. CK_GCM_PARAMS has ulIvBits in the header files of PKCS#11 2.40, and not in its text (section 2.12.3). */
  gcm(iv: Buffer, aad: Buffer): CkMechanism {
    const mechanism = this.number('aesGcm');
    if (this.profile.gcmParameters === 'without-iv-bits') {
      return { mechanism, parameter: gcmWithoutIvBits(iv, aad) };
    }
    const bits = { ivBits: 8 * GCM.ivBytes, tagBits: 8 * GCM.tagBytes };
    const parameter = { type: pkcs11.CK_PARAMS_AES_GCM_v240, iv, aad, ...bits };
    return { mechanism, parameter };
  }

  /** How a JOSE signature is asked of the token: the mechanism, and what it is fed (RFC 7518 section 3). */
  signing(name: SignMechanism, data: Buffer): { readonly mechanism: CkMechanism; readonly input: Buffer } {
    const digest = MECHANISMS[name].digest;
    switch (name) {
      case 'RS256':
      case 'RS384':
      case 'RS512':
        return {
          mechanism: this.plain('rsaPkcs'),
          input: digest === undefined ? data : Buffer.concat([DIGEST_INFO[digest], data]),
        };
      case 'PS256':
      case 'PS384':
      case 'PS512': {
        const hash = MECHANISMS[name].digest;
        const parameter = {
          type: pkcs11.CK_PARAMS_RSA_PSS,
          saltLen: DIGEST_BYTES[hash],
          ...PSS_HASHES[hash],
        };
        return { mechanism: { mechanism: this.number('rsaPss'), parameter }, input: data };
      }
      case 'ES256':
      case 'ES384':
      case 'ES512':
        return { mechanism: this.plain('ecdsa'), input: data };
      case 'EdDSA':
        return { mechanism: this.plain('eddsa'), input: data };
    }
  }

  /** The numbers that CKA_ALLOWED_MECHANISMS of a grant holds. */
  allowed(mechanisms: readonly Mechanism[]): readonly number[] {
    return [...new Set(mechanisms.map((name) => this.number(GRANT_MECHANISMS[name])))];
  }

  /** How a key of this specification is generated. */
  generation(spec: GeneratedSpec): CkMechanism {
    const kind = KEY_SPECS[spec].kind;
    switch (kind) {
      case 'RSA':
        return this.plain('rsaKeyPairGen');
      case 'EC':
        return this.plain('ecKeyPairGen');
      case 'OKP':
        return this.plain('edwardsKeyPairGen');
      case 'AES':
        return this.plain('aesKeyGen');
    }
  }
}

/**
 * CK_GCM_PARAMS { pIv, ulIvLen, pAAD, ulAADLen, ulTagBits }, which pkcs11js cannot build: both of its constants have
 * ulIvBits. IV and AAD stand behind it in the same allocation, so the pointers live as long as what is returned.
 */
function gcmWithoutIvBits(iv: Buffer, aad: Buffer): Buffer {
  const STRUCT_BYTES = 40;
  const whole = Buffer.concat([Buffer.alloc(STRUCT_BYTES), iv, aad]);
  const start = koffi.address(whole);
  const fields = [
    start + BigInt(STRUCT_BYTES),
    BigInt(iv.length),
    start + BigInt(STRUCT_BYTES + iv.length),
    BigInt(aad.length),
    BigInt(8 * GCM.tagBytes),
  ];
  fields.forEach((field, index) => whole.writeBigUInt64LE(field, 8 * index));
  return whole.subarray(0, STRUCT_BYTES);
}

const GRANT_MECHANISMS = {
  RS256: 'rsaPkcs',
  RS384: 'rsaPkcs',
  RS512: 'rsaPkcs',
  PS256: 'rsaPss',
  PS384: 'rsaPss',
  PS512: 'rsaPss',
  ES256: 'ecdsa',
  ES384: 'ecdsa',
  ES512: 'ecdsa',
  EdDSA: 'eddsa',
  'RSA-OAEP': 'rsaOaep',
  'RSA-OAEP-256': 'rsaOaep',
  A256GCM: 'aesGcm',
} as const satisfies Record<Mechanism, keyof TokenProfile['mechanisms']>;
