import { createHash } from 'node:crypto';

import { DerReader, TAG } from '../../client/import/derReader.js';
import type { OfferedKey } from '../use.js';
import type { AttributeValue } from './attributes.js';
import { CKA, CKK, CKO } from './numbers.js';
import { type PublicPart, publicPartOf } from './publicPart.js';

/** A key that programs see, by all its objects. */
export interface ShownKey {
  readonly key: OfferedKey;
  readonly part: PublicPart;
}

/** An object of PKCS#11. */
export interface KeyObjectShown {
  readonly shown: ShownKey;
  readonly attributes: ReadonlyMap<number, AttributeValue>;
  /** Asked for these, it answers that they are not told. */
  readonly secret: ReadonlySet<number>;
}

type Attributes = readonly (readonly [number, AttributeValue])[];

const NOTHING = Buffer.alloc(0);
/** DESTROYABLE (0x172) is no flag for p11-kit: it travels as bytes. */
const CKA_DESTROYABLE = 0x172;
const SECRET: ReadonlySet<number> = new Set([
  ...[CKA.VALUE, CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2],
  ...[CKA.EXPONENT_1, CKA.EXPONENT_2, CKA.COEFFICIENT],
]);
/** The first of PKCS#11's object handles: 0 is none. */
const FIRST_HANDLE = 1;

/**
 * All objects of the keys, by their handles, which stay the same as long as the agent runs: of each key its certificate, where
 * there is one, a public and a private object, with the same CKA_ID and label.
 */
export function objectsOf(keys: readonly OfferedKey[]): ReadonlyMap<number, KeyObjectShown> {
  const objects = keys.flatMap((key): readonly KeyObjectShown[] => {
    const part = publicPartOf(key.publicKey);
    return part === undefined ? [] : objectsOfKey({ key, part });
  });
  return new Map(objects.map((object, at) => [FIRST_HANDLE + at, object]));
}

function objectsOfKey(shown: ShownKey): readonly KeyObjectShown[] {
  const { key, part } = shown;
  const names = key.certificate === undefined ? undefined : namesOf(key.certificate);
  const subject = names?.subject ?? NOTHING;
  const object = (kind: number, attributes: Attributes, secret: ReadonlySet<number>): KeyObjectShown => ({
    shown,
    secret,
    attributes: new Map([
      ...([
        [CKA.CLASS, kind],
        [CKA.TOKEN, true],
        [CKA.PRIVATE, false],
        [CKA.MODIFIABLE, false],
        [CKA.COPYABLE, false],
        [CKA_DESTROYABLE, Buffer.of(0)],
        [CKA.LABEL, Buffer.from(key.name)],
        [CKA.ID, part.id],
        [CKA.SUBJECT, subject],
        [CKA.PUBLIC_KEY_INFO, part.info],
      ] as const),
      ...attributes,
    ]),
  });
  const certificate =
    key.certificate === undefined || names === undefined
      ? []
      : [object(CKO.CERTIFICATE, certificateAttributes(key.certificate, names), new Set())];
  return [
    ...certificate,
    object(CKO.PUBLIC_KEY, publicAttributes(part), new Set()),
    object(CKO.PRIVATE_KEY, privateAttributes(part), SECRET),
  ];
}

function certificateAttributes(certificate: Buffer, { issuer, serial }: CertificateNames): Attributes {
  return [
    [CKA.CERTIFICATE_TYPE, 0], // CKC_X_509
    [CKA.CERTIFICATE_CATEGORY, 0], // unspecified
    [CKA.TRUSTED, false],
    [CKA.VALUE, certificate],
    [CKA.ISSUER, issuer],
    [CKA.SERIAL_NUMBER, serial],
    // PKCS#11 2.40 section 4.6.3: the first three bytes of the SHA-1
    [CKA.CHECK_VALUE, createHash('sha1').update(certificate).digest().subarray(0, 3)],
    [CKA.START_DATE, NOTHING],
    [CKA.END_DATE, NOTHING],
  ];
}

function publicAttributes(part: PublicPart): Attributes {
  const numbers: Attributes = part.kind === 'RSA' ? [[CKA.MODULUS_BITS, part.modulusBits]] : [];
  return [
    ...keyAttributes(part),
    [CKA.TRUSTED, false],
    [CKA.ENCRYPT, part.kind === 'RSA'],
    [CKA.VERIFY, true],
    [CKA.VERIFY_RECOVER, false],
    [CKA.WRAP, false],
    ...numbers,
  ];
}

/** The point of an EC key as well: openssl makes requests for certificates from the private object alone. */
function privateAttributes(part: PublicPart): Attributes {
  return [
    ...keyAttributes(part),
    [CKA.SENSITIVE, true],
    [CKA.EXTRACTABLE, false],
    // how the key was born is the log's to say
    [CKA.ALWAYS_SENSITIVE, false],
    [CKA.NEVER_EXTRACTABLE, false],
    [CKA.SIGN, true],
    [CKA.SIGN_RECOVER, false],
    [CKA.DECRYPT, part.kind === 'RSA'],
    [CKA.UNWRAP, false],
    [CKA.WRAP_WITH_TRUSTED, false],
    [CKA.ALWAYS_AUTHENTICATE, false],
  ];
}

function keyAttributes(part: PublicPart): Attributes {
  const numbers: Attributes =
    part.kind === 'RSA'
      ? [
          [CKA.KEY_TYPE, CKK.RSA],
          [CKA.MODULUS, part.modulus],
          [CKA.PUBLIC_EXPONENT, part.exponent],
        ]
      : [
          [CKA.KEY_TYPE, CKK.EC],
          [CKA.EC_PARAMS, part.parameters],
          [CKA.EC_POINT, part.point],
        ];
  return [
    ...numbers,
    [CKA.DERIVE, false],
    [CKA.LOCAL, false],
    [CKA.START_DATE, NOTHING],
    [CKA.END_DATE, NOTHING],
  ];
}

/** Names and number of a certificate, each in DER with its tag. */
interface CertificateNames {
  readonly serial: Buffer;
  readonly issuer: Buffer;
  readonly subject: Buffer;
}

/** RFC 5280 section 4.1: version, serial number, algorithm, issuer, validity, subject. */
function namesOf(certificate: Buffer): CertificateNames {
  const reader = new DerReader(certificate).enter(TAG.sequence).enter(TAG.sequence);
  if (reader.next === TAG.context0) reader.any();
  const serial = reader.any();
  reader.any();
  const issuer = reader.any();
  reader.any();
  return { serial, issuer, subject: reader.any() };
}
