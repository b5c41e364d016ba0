import { DIGEST_BYTES, type DigestName } from '../../escrow/records/mechanisms.js';
import type { MessageReader } from './messageReader.js';
import { CKF, CKG, CKM, CKR, CKZ_DATA_SPECIFIED, Pkcs11Error } from './numbers.js';

/** How a program wants a key used. */
export type WantedMechanism =
  | {
      readonly kind: 'RSA';
      readonly padding: 'PKCS1' | 'PSS';
      /** Of a message that is hashed here; undefined: the hash comes from the program. */
      readonly hashed: DigestName | undefined;
      /** Of PSS: the hash that it names. */
      readonly named: DigestName | undefined;
    }
  | { readonly kind: 'EC'; readonly hashed: DigestName | undefined };

/** How a program wants something decrypted. */
export type WantedDecryption = 'RSA-OAEP' | 'RSA-OAEP-256';

/** Why the parameters of a mechanism are refused, for the person who runs the agent. */
export class ParameterRefused extends Pkcs11Error {
  constructor(readonly sentence: string) {
    super(CKR.MECHANISM_PARAM_INVALID);
  }
}

const HASHES = [
  { name: 'sha256', hash: CKM.SHA256, mgf: CKG.MGF1_SHA256 },
  { name: 'sha384', hash: CKM.SHA384, mgf: CKG.MGF1_SHA384 },
  { name: 'sha512', hash: CKM.SHA512, mgf: CKG.MGF1_SHA512 },
] as const satisfies readonly { readonly name: DigestName; readonly hash: number; readonly mgf: number }[];

const SIGNING: ReadonlyMap<number, { readonly of: 'PKCS1' | 'PSS' | 'EC'; readonly hashed?: DigestName }> =
  new Map([
    [CKM.RSA_PKCS, { of: 'PKCS1' }],
    [CKM.SHA256_RSA_PKCS, { of: 'PKCS1', hashed: 'sha256' }],
    [CKM.SHA384_RSA_PKCS, { of: 'PKCS1', hashed: 'sha384' }],
    [CKM.SHA512_RSA_PKCS, { of: 'PKCS1', hashed: 'sha512' }],
    [CKM.RSA_PKCS_PSS, { of: 'PSS' }],
    [CKM.SHA256_RSA_PKCS_PSS, { of: 'PSS', hashed: 'sha256' }],
    [CKM.SHA384_RSA_PKCS_PSS, { of: 'PSS', hashed: 'sha384' }],
    [CKM.SHA512_RSA_PKCS_PSS, { of: 'PSS', hashed: 'sha512' }],
    [CKM.ECDSA, { of: 'EC' }],
    [CKM.ECDSA_SHA256, { of: 'EC', hashed: 'sha256' }],
    [CKM.ECDSA_SHA384, { of: 'EC', hashed: 'sha384' }],
    [CKM.ECDSA_SHA512, { of: 'EC', hashed: 'sha512' }],
  ]);

/** CK_MECHANISM_INFO: sizes of keys in bits. */
export interface MechanismInfo {
  readonly leastBits: number;
  readonly mostBits: number;
  readonly flags: number;
}

const RSA_SIZES = { leastBits: 2048, mostBits: 4096 };
const EC_SIZES = { leastBits: 256, mostBits: 521 };

/** What the token says that it can do. */
export const MECHANISM_INFOS: ReadonlyMap<number, MechanismInfo> = new Map([
  ...[...SIGNING].map(
    ([type, { of }]) =>
      [
        type,
        of === 'EC'
          ? { ...EC_SIZES, flags: CKF.SIGN | CKF.EC_F_P | CKF.EC_NAMEDCURVE | CKF.EC_UNCOMPRESS }
          : { ...RSA_SIZES, flags: CKF.SIGN },
      ] as const,
  ),
  [CKM.RSA_PKCS_OAEP, { ...RSA_SIZES, flags: CKF.DECRYPT }] as const,
]);

/**
 * `M`, of C_SignInit. One that is not known has a form that is not known either: nothing behind it can be read.
 * @throws Pkcs11Error, ParameterRefused, MalformedMessage
 */
export function readSigning(reader: MessageReader): WantedMechanism {
  const type = reader.uint32();
  const row = SIGNING.get(type);
  if (row === undefined) throw new Pkcs11Error(CKR.MECHANISM_INVALID);
  const { of, hashed } = row;
  if (of === 'PSS') return { kind: 'RSA', padding: 'PSS', hashed, named: readPss(reader, hashed) };
  // no parameters: NULL, or none
  const parameters = reader.bytesOrNull();
  if (parameters !== undefined && parameters.length > 0) throw new Pkcs11Error(CKR.MECHANISM_PARAM_INVALID);
  return of === 'EC' ? { kind: 'EC', hashed } : { kind: 'RSA', padding: 'PKCS1', hashed, named: undefined };
}

/** `M`, of C_DecryptInit. @throws Pkcs11Error, ParameterRefused, MalformedMessage */
export function readDecryption(reader: MessageReader): WantedDecryption {
  if (reader.uint32() !== CKM.RSA_PKCS_OAEP) throw new Pkcs11Error(CKR.MECHANISM_INVALID);
  const [hash, mgf, source] = [reader.ulong(), reader.ulong(), reader.ulong()];
  const label = reader.bytesOrNull();
  if (label !== undefined && label.length > 0)
    throw new ParameterRefused('OAEP with a label is not decrypted.');
  // CK_RSA_PKCS_OAEP_PARAMS: source 0 where there is no label
  if (source !== 0 && source !== CKZ_DATA_SPECIFIED) throw new Pkcs11Error(CKR.MECHANISM_PARAM_INVALID);
  if (hash === CKM.SHA_1 && mgf === CKG.MGF1_SHA1) return 'RSA-OAEP';
  if (hash === CKM.SHA256 && mgf === CKG.MGF1_SHA256) return 'RSA-OAEP-256';
  throw new ParameterRefused('OAEP is decrypted with SHA-1 or SHA-256, the same for the mask.');
}

/** CK_RSA_PKCS_PSS_PARAMS. */
function readPss(reader: MessageReader, hashed: DigestName | undefined): DigestName {
  const [hash, mgf, saltBytes] = [reader.ulong(), reader.ulong(), reader.ulong()];
  const row = HASHES.find((one) => one.hash === hash);
  if (row?.mgf !== mgf || (hashed !== undefined && row.name !== hashed))
    throw new ParameterRefused('PSS is signed with SHA-256, SHA-384 or SHA-512, the same for the mask.');
  if (saltBytes !== DIGEST_BYTES[row.name])
    throw new ParameterRefused(
      `The salt of PSS is as long as the hash here (${DIGEST_BYTES[row.name]} bytes), and ${Number.isSafeInteger(saltBytes) ? saltBytes : 'more'} were asked for.`,
    );
  return row.name;
}
