import { createHash, type Hash } from 'node:crypto';

import { DIGEST_BYTES, type DigestName, type SignMechanism } from '../../escrow/records/mechanisms.js';
import type { SignUse } from '../use.js';
import type { ShownKey } from './keyObjects.js';
import type { WantedMechanism } from './mechanisms.js';
import { CKR, Pkcs11Error } from './numbers.js';
import type { CurveName } from './publicPart.js';

/** What is to be signed, as a grant allows it, and in words. */
export type ToSign = Pick<SignUse, 'mechanism' | 'input' | 'what'>;

/** What is not signed with any grant; the sentence is for the person who runs the agent. */
export class NotSigned extends Pkcs11Error {
  constructor(
    code: number,
    readonly sentence: string,
  ) {
    super(code);
  }
}

/** Longer messages go to the server as their digest, which only grants for digests allow. */
const MOST_MESSAGE_BYTES = 64 * 1024;
/** Of what is not hashed here: more than any modulus has. */
const MOST_RAW_BYTES = 1024;
/** The shortest hash that ECDSA is fed: that of SHA-1. */
const LEAST_DIGEST_BYTES = 20;

/** RFC 8017 section 9.2, note 1: the DigestInfo of a hash, without the hash. */
const DIGEST_INFOS = {
  sha256: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  sha384: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  sha512: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
} as const satisfies Record<DigestName, Buffer>;
const DIGEST_NAMES = Object.keys(DIGEST_INFOS) as readonly DigestName[];

const OF_CURVE = {
  'P-256': { mechanism: 'ES256', digest: 'sha256', signatureBytes: 64 },
  'P-384': { mechanism: 'ES384', digest: 'sha384', signatureBytes: 96 },
  'P-521': { mechanism: 'ES512', digest: 'sha512', signatureBytes: 132 },
} as const satisfies Record<
  CurveName,
  { mechanism: SignMechanism; digest: DigestName; signatureBytes: number }
>;
const OF_PADDING = {
  PKCS1: { sha256: 'RS256', sha384: 'RS384', sha512: 'RS512' },
  PSS: { sha256: 'PS256', sha384: 'PS384', sha512: 'PS512' },
} as const satisfies Record<'PKCS1' | 'PSS', Record<DigestName, SignMechanism>>;

/** A signature that a session has begun. It takes the data in parts, and holds at most 64 KiB of it. */
export class SignOperation {
  /** Whether the data comes in parts. */
  isInParts = false;
  readonly #hash: Hash | undefined;
  #parts: Buffer[] = [];
  #length = 0;

  /** @throws Pkcs11Error when the mechanism is not one of the key's kind */
  constructor(
    readonly shown: ShownKey,
    private readonly wanted: WantedMechanism,
  ) {
    if (wanted.kind !== shown.part.kind) throw new Pkcs11Error(CKR.KEY_TYPE_INCONSISTENT);
    if (wanted.hashed !== undefined) this.#hash = createHash(wanted.hashed);
  }

  get signatureBytes(): number {
    const { part } = this.shown;
    return part.kind === 'RSA' ? part.modulus.length : OF_CURVE[part.curve].signatureBytes;
  }

  /** @throws Pkcs11Error when it is more than the mechanism can sign */
  add(data: Buffer): void {
    this.#length += data.length;
    if (this.#hash === undefined) {
      if (this.#length > MOST_RAW_BYTES) throw new Pkcs11Error(CKR.DATA_LEN_RANGE);
    } else {
      this.#hash.update(data);
    }
    if (this.#length > MOST_MESSAGE_BYTES) this.#parts = [];
    else if (data.length > 0) this.#parts.push(Buffer.from(data));
  }

  /** All that was added. To be called once. @throws NotSigned when no grant can allow it */
  toSign(): ToSign {
    const bytes = Buffer.concat(this.#parts);
    const { wanted } = this;
    const { part } = this.shown;
    const { hashed } = wanted;
    if (this.#hash !== undefined && hashed !== undefined) {
      const digest = this.#hash.digest();
      const message = this.#length > MOST_MESSAGE_BYTES ? undefined : bytes;
      const what = `a message of ${this.#length} bytes (${nameOf(hashed, digest)})`;
      return part.kind === 'EC' && OF_CURVE[part.curve].digest !== hashed
        ? { ...digestFor(part.curve, digest), what }
        : { ...whole(mechanismOf(wanted, part, hashed), message, digest), what };
    }
    if (wanted.kind === 'EC') {
      if (part.kind !== 'EC') throw new Pkcs11Error(CKR.KEY_TYPE_INCONSISTENT);
      return {
        ...digestFor(part.curve, bytes),
        what: `a digest of ${bytes.length} bytes (${bytes.toString('hex')})`,
      };
    }
    const { name, digest } =
      wanted.named === undefined ? readDigestInfo(bytes) : checkedDigest(wanted.named, bytes);
    const mechanism = OF_PADDING[wanted.padding][name];
    return {
      mechanism,
      input: { kind: 'digest', bytes: digest },
      what: `a digest (${nameOf(name, digest)})`,
    };
  }
}

function mechanismOf(wanted: WantedMechanism, part: ShownKey['part'], hashed: DigestName): SignMechanism {
  if (wanted.kind === 'RSA') return OF_PADDING[wanted.padding][hashed];
  if (part.kind !== 'EC') throw new Pkcs11Error(CKR.KEY_TYPE_INCONSISTENT);
  return OF_CURVE[part.curve].mechanism;
}

function whole(
  mechanism: SignMechanism,
  message: Buffer | undefined,
  digest: Buffer,
): Pick<ToSign, 'mechanism' | 'input'> {
  return message === undefined
    ? { mechanism, input: { kind: 'digest', bytes: digest } }
    : { mechanism, input: { kind: 'message', bytes: message } };
}

/**
 * A digest of any hash in the length that the curve's mechanism takes. ECDSA signs the number that the leftmost bits make, as many as
 * the order has (FIPS 186-5 section 6.4.1): what is shorter is the same number with zeros before it.
 */
function digestFor(curve: CurveName, digest: Buffer): Pick<ToSign, 'mechanism' | 'input'> {
  const { mechanism, digest: name } = OF_CURVE[curve];
  const length = DIGEST_BYTES[name];
  if (digest.length < LEAST_DIGEST_BYTES || digest.length > DIGEST_BYTES.sha512)
    throw new NotSigned(
      CKR.DATA_LEN_RANGE,
      `ECDSA signs digests of ${LEAST_DIGEST_BYTES} to ${DIGEST_BYTES.sha512} bytes, and these are ${digest.length}.`,
    );
  const zeros = Buffer.alloc(Math.max(0, length - digest.length));
  return {
    mechanism,
    input: { kind: 'digest', bytes: Buffer.concat([zeros, digest.subarray(0, length)]) },
  };
}

/** CKM_RSA_PKCS pads whatever it is fed: only the DigestInfo of a hash is a signature's (RFC 8017 section 9.2). */
function readDigestInfo(bytes: Buffer): { readonly name: DigestName; readonly digest: Buffer } {
  for (const name of DIGEST_NAMES) {
    const head = DIGEST_INFOS[name];
    if (bytes.length !== head.length + DIGEST_BYTES[name]) continue;
    if (bytes.subarray(0, head.length).equals(head)) return { name, digest: bytes.subarray(head.length) };
  }
  throw new NotSigned(
    CKR.DATA_INVALID,
    'What is signed by CKM_RSA_PKCS is a DigestInfo of SHA-256, SHA-384 or SHA-512, and these bytes are none.',
  );
}

function checkedDigest(
  name: DigestName,
  bytes: Buffer,
): { readonly name: DigestName; readonly digest: Buffer } {
  if (bytes.length === DIGEST_BYTES[name]) return { name, digest: bytes };
  throw new NotSigned(
    CKR.DATA_LEN_RANGE,
    `PSS was to sign a digest of ${DIGEST_BYTES[name]} bytes, and these are ${bytes.length}.`,
  );
}

function nameOf(hash: DigestName, digest: Buffer): string {
  return `${hash.replace('sha', 'SHA-')} ${digest.toString('hex')}`;
}
