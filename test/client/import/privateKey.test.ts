import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';

import type { KeyFileFault } from '../../../src/client/import/keyFileError.js';
import { KEY_FILE_FAULTS, KeyFileError } from '../../../src/client/import/keyFileError.js';
import { destroyImportable, readImportable } from '../../../src/client/import/privateKey.js';
import { derValue } from '../../../src/system/der.js';
import {
  EC_OID,
  NULL,
  P256_OID,
  PSS_OID,
  RSA_OID,
  ecAlgorithm,
  ecParts,
  freshEcKey,
  octets,
  oid,
  oneBitOff,
  openssl,
  pem,
  pkcs1,
  pkcs8,
  rsaAlgorithm,
  rsaParts,
  sec1,
  sequence,
  small,
} from '../../support/keyFiles.js';
import { rsaPair } from '../../support/rsaPairs.js';

const RSA = rsaPair(2048).privateKey;
const parts = rsaParts(RSA);
const P256 = freshEcKey('P-256');
const { d, point } = ecParts(P256);
const other = ecParts(freshEcKey('P-256'));
const ZERO = Buffer.of(0);
const PASSPHRASE = 'correct horse battery';

const der = (key = RSA): Buffer => key.export({ format: 'der', type: 'pkcs8' });
const spkiOf = (key: typeof RSA): Buffer => createPublicKey(key).export({ format: 'der', type: 'spki' });
const nobody = (): Promise<Buffer | undefined> => Promise.resolve(undefined);
const gives = (passphrase: string) => (): Promise<Buffer> => Promise.resolve(Buffer.from(passphrase));

/** A private number whose first byte is zero, so that it can be written shorter. */
function withShortScalar(): typeof P256 {
  for (;;) {
    const key = freshEcKey('P-256');
    if (ecParts(key).d[0] === 0) return key;
  }
}

describe('a private key is read, and written anew in one spelling', () => {
  const short = withShortScalar();
  const attributes = derValue(0xa0, sequence(oid('2a864886f70d010914'), derValue(0x31, octets(ZERO))));
  const ORDER_OF_P256 = Buffer.from(
    'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551',
    'hex',
  );
  const largest = Buffer.from(ORDER_OF_P256);
  largest.writeUInt8(0x50, 31);
  const compressed = Buffer.concat([Buffer.of(2 + ((point.at(-1) ?? 0) & 1)), point.subarray(1, 33)]);
  const rows: Readonly<Record<string, { readonly file: Buffer; readonly key?: typeof RSA }>> = {
    'RSA in DER': { file: der() },
    'RSA in PEM': { file: pem('PRIVATE KEY', der()) },
    'PEM with other text and a certificate around it': {
      file: Buffer.concat([
        Buffer.from('Bag Attributes\r\n    friendlyName: mail\r\n'),
        pem('PRIVATE KEY', der()),
        pem('CERTIFICATE', octets(ZERO)),
      ]),
    },
    'PEM with lines that end as on Windows': {
      file: Buffer.from(pem('PRIVATE KEY', der()).toString().replaceAll('\n', '\r\n')),
    },
    'RSA without NULL': { file: pkcs8(sequence(oid(RSA_OID)), pkcs1(parts)) },
    'RSA with attributes': { file: pkcs8(rsaAlgorithm, pkcs1(parts), { more: [attributes] }) },
    'P-256': { file: der(P256), key: P256 },
    'P-384': { ...((key) => ({ file: der(key), key }))(freshEcKey('P-384')) },
    'P-521': { ...((key) => ({ file: der(key), key }))(freshEcKey('P-521')) },
    'EC without a public key': { file: pkcs8(ecAlgorithm(), sec1(d)), key: P256 },
    'EC with a compressed public key': {
      file: pkcs8(ecAlgorithm(), sec1(d, { point: compressed })),
      key: P256,
    },
    'EC that names its curve twice': {
      file: pkcs8(ecAlgorithm(), sec1(d, { parameters: oid(P256_OID), point })),
      key: P256,
    },
    'EC with a number of 31 bytes': {
      file: pkcs8(ecAlgorithm(), sec1(ecParts(short).d.subarray(1))),
      key: short,
    },
    'EC with a number of 33 bytes': { file: pkcs8(ecAlgorithm(), sec1(Buffer.concat([ZERO, d]))), key: P256 },
  };

  test.each(Object.entries(rows))('%s', async (_name, { file, key = RSA }) => {
    const read = await readImportable(file, nobody, Buffer.from(spkiOf(key)));
    const again = createPrivateKey({ key: read.pkcs8, format: 'der', type: 'pkcs8' });
    expect(again.equals(key)).toBe(true);
    expect(read.publicKey).toEqual(spkiOf(key));
    expect(await readImportable(Buffer.from(read.pkcs8), nobody)).toEqual(read);
    if (key === RSA) expect(read.pkcs8).toEqual(der());
  });

  test('the largest private number there is', async () => {
    const { spec } = await readImportable(pkcs8(ecAlgorithm(), sec1(largest)), nobody);
    expect(spec).toBe('ec-p256');
  });

  test.each([2048, 3072, 4096])('RSA of %i bits, by size', async (modulusLength) => {
    const { privateKey } =
      modulusLength === 4096 ? generateKeyPairSync('rsa', { modulusLength }) : rsaPair(modulusLength as 2048);
    expect((await readImportable(der(privateKey), nobody)).spec).toBe(`rsa-${modulusLength}`);
  });

  test('RSA with the exponent 3', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 });
    expect((await readImportable(der(privateKey), nobody)).publicKey).toEqual(spkiOf(privateKey));
  });
});

describe('under a passphrase', () => {
  const by = (...args: readonly string[]): Buffer =>
    openssl(pem('PRIVATE KEY', der()), 'pkcs8', '-topk8', '-passout', `pass:${PASSPHRASE}`, ...args);
  const rows = {
    scrypt: by('-scrypt'),
    'scrypt in DER': by('-scrypt', '-outform', 'DER'),
    'PBKDF2 with SHA-256': by('-v2', 'aes-256-cbc'),
    'PBKDF2 with SHA-512 and AES-128': by('-v2', 'aes-128-cbc', '-v2prf', 'hmacWithSHA512'),
    'PBKDF2 with SHA-1 and AES-192': by('-v2', 'aes-192-cbc', '-v2prf', 'hmacWithSHA1'),
    'PBKDF2 with triple DES': by('-v2', 'des3'),
    'Node.js': Buffer.from(
      RSA.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: PASSPHRASE }),
    ),
  };

  test.each(Object.entries(rows))('%s', async (_name, file) => {
    const given = Buffer.from(PASSPHRASE);
    const read = await readImportable(Buffer.from(file), () => Promise.resolve(given));
    expect(read.pkcs8).toEqual(der());
    expect(given.every((byte) => byte === 0)).toBe(true);
    await expectRefused('passphrase-wrong', file, { passphrase: 'another one' });
    await expectRefused('passphrase-missing', file);
  });

  test('what asks for more work than is done for a file is refused before any', async () => {
    const scheme = (kdf: Buffer): Buffer =>
      sequence(
        sequence(
          oid('2a864886f70d01050d'),
          sequence(kdf, sequence(oid('60864801650304012a'), octets(Buffer.alloc(16)))),
        ),
        octets(Buffer.alloc(32)),
      );
    const number = (value: number): Buffer => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value);
      return derValue(0x02, bytes[0] === 0 ? bytes.subarray(1) : bytes);
    };
    const salt = octets(Buffer.alloc(8));
    const scrypt = sequence(
      oid('2b06010401da47040b'),
      sequence(salt, number(0x0100_0000), small(8), small(1)),
    );
    const pbkdf2 = sequence(oid('2a864886f70d01050c'), sequence(salt, number(0x7fff_ffff)));
    for (const kdf of [scrypt, pbkdf2])
      await expectRefused('encryption-unknown', scheme(kdf), { passphrase: 'any' });
  });
});

interface Refused {
  readonly file: Buffer;
  readonly claimed?: Buffer;
  readonly passphrase?: string;
}

const threePrimes = openssl('', 'genrsa', '-primes', '3', '2048');
const composite = (): Buffer => {
  // two of the three primes taken for one: their product and the third are no two primes, and n is their product
  const text = openssl(threePrimes, 'rsa', '-text', '-noout').toString();
  const number = (name: string): bigint => {
    const [, digits = ''] = new RegExp(`^${name}:\\n((?: {4}[0-9a-f:]+\\n)+)`, 'm').exec(text) ?? [];
    return BigInt(`0x${digits.replaceAll(/[^0-9a-f]/g, '')}`);
  };
  const [p, q, n] = [number('prime1') * number('prime2'), number('prime3'), number('modulus')];
  const [e, phi] = [65_537n, (number('prime1') - 1n) * (number('prime2') - 1n) * (number('prime3') - 1n)];
  const lcm = (p - 1n) * (q - 1n);
  const d = inverse(e, lcm);
  expect(phi).not.toBe(lcm);
  const bytes = (value: bigint): Buffer => {
    const hex = value.toString(16);
    return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  };
  return pkcs8(
    rsaAlgorithm,
    pkcs1({
      ...{ n: bytes(n), e: bytes(e), d: bytes(d), p: bytes(p), q: bytes(q) },
      ...{ dp: bytes(d % (p - 1n)), dq: bytes(d % (q - 1n)), qi: bytes(inverse(q, p)) },
    }),
  );
};

function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (b !== 0n) [a, b, x, y] = [b, a % b, y, x - (a / b) * y];
  return ((x % modulus) + modulus) % modulus;
}

const rsaWith = (changed: Partial<typeof parts>): Buffer =>
  pkcs8(rsaAlgorithm, pkcs1({ ...parts, ...changed }));
const ecKey = (scalar: Buffer, more?: Parameters<typeof sec1>[1]): Buffer =>
  pkcs8(ecAlgorithm(), sec1(scalar, more));
const ORDER = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
const offCurve = Buffer.from(point);
offCurve.writeUInt8((point[40] ?? 0) ^ 1, 40);

/** A row a kind. Each says what is refused, and as what. */
const REFUSED: Readonly<Record<string, Refused & { readonly code: KeyFileFault }>> = {
  nothing: { code: 'file-empty', file: Buffer.alloc(0) },
  'a large file': { code: 'file-too-large', file: Buffer.alloc(65 * 1024, 'a') },
  text: { code: 'not-a-key', file: Buffer.from('hunter2') },
  'PEM that does not end': { code: 'not-a-key', file: pem('PRIVATE KEY', der()).subarray(0, 200) },
  'PEM with letters that are none of base64': {
    code: 'not-a-key',
    file: Buffer.from(pem('PRIVATE KEY', der()).toString().replace('MII', '!!!')),
  },
  'a certificate': { code: 'no-private-key', file: pem('CERTIFICATE', octets(ZERO)) },
  'two keys': {
    code: 'several-keys',
    file: Buffer.concat([pem('PRIVATE KEY', der()), pem('PRIVATE KEY', der(P256))]),
  },
  'bare PKCS#1 in PEM': { code: 'not-pkcs8', file: pem('RSA PRIVATE KEY', pkcs1(parts)) },
  'bare PKCS#1 in DER': { code: 'not-pkcs8', file: pkcs1(parts) },
  'bare SEC 1 in PEM': { code: 'not-pkcs8', file: pem('EC PRIVATE KEY', sec1(d)) },
  'bare SEC 1 in DER': { code: 'not-pkcs8', file: sec1(d) },
  'a key of ssh': { code: 'not-pkcs8', file: pem('OPENSSH PRIVATE KEY', octets(ZERO)) },
  'PKCS#12': { code: 'not-pkcs8', file: sequence(small(3), sequence(oid('2a864886f70d010701'))) },
  'DER in a longer spelling': {
    code: 'der-malformed',
    file: Buffer.concat([Buffer.of(0x30, 0x83, 0), der().subarray(2)]),
  },
  'DER that is cut off': { code: 'der-malformed', file: der().subarray(0, -1) },
  'zeros behind it': { code: 'bytes-behind', file: Buffer.concat([der(), Buffer.alloc(4)]) },
  'rubbish behind it': { code: 'bytes-behind', file: Buffer.concat([der(), Buffer.from('rubbish')]) },
  'RFC 5958, version 1 with a public key': {
    code: 'version-unknown',
    file: pkcs8(rsaAlgorithm, pkcs1(parts), { version: 1, more: [derValue(0x81, Buffer.of(0, 1))] }),
  },
  'a scheme of before PBES2': {
    code: 'encryption-unknown',
    passphrase: PASSPHRASE,
    file: sequence(
      sequence(oid('2a864886f70d010503'), sequence(octets(Buffer.alloc(8)), small(100))),
      octets(Buffer.alloc(16)),
    ),
  },
  'RSASSA-PSS': {
    code: 'algorithm-unsupported',
    file: pkcs8(sequence(oid(PSS_OID), NULL), pkcs1(parts)),
  },
  Ed25519: { code: 'algorithm-unsupported', file: der(generateKeyPairSync('ed25519').privateKey) },
  X25519: { code: 'algorithm-unsupported', file: der(generateKeyPairSync('x25519').privateKey) },
  'RSA-1024': {
    code: 'rsa-size',
    file: der(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey),
  },
  'RSA with an even exponent': { code: 'rsa-exponent', file: rsaWith({ e: Buffer.of(1, 0, 2) }) },
  'RSA with the exponent 1': { code: 'rsa-exponent', file: rsaWith({ e: Buffer.of(1) }) },
  'three primes': {
    code: 'rsa-primes',
    file: openssl(threePrimes, 'pkcs8', '-topk8', '-nocrypt'),
  },
  'two of three primes taken for one': { code: 'rsa-primes', file: composite() },
  'RSA with n, e and d alone': {
    code: 'rsa-incomplete',
    file: rsaWith({ p: ZERO, q: ZERO, dp: ZERO, dq: ZERO, qi: ZERO }),
  },
  'RSA that ends behind d': {
    code: 'rsa-incomplete',
    file: pkcs8(
      rsaAlgorithm,
      sequence(small(0), ...[parts.n, parts.e, parts.d].map((number) => derValue(0x02, signed(number)))),
    ),
  },
  ...Object.fromEntries(
    (['d', 'p', 'q', 'dp', 'dq', 'qi'] as const).map((name) => [
      `RSA whose ${name} is wrong by one bit`,
      { code: 'rsa-inconsistent' as const, file: rsaWith({ [name]: oneBitOff(parts[name]) }) },
    ]),
  ),
  'RSA with its primes exchanged': {
    code: 'rsa-inconsistent',
    file: rsaWith({ p: parts.q, q: parts.p }),
  },
  'a negative number': {
    code: 'der-malformed',
    file: pkcs8(
      rsaAlgorithm,
      sequence(small(0), derValue(0x02, parts.n), ...Array.from({ length: 7 }, () => small(1))),
    ),
  },
  secp256k1: { code: 'curve-unsupported', file: der(freshEcKey('secp256k1')) },
  brainpoolP256r1: { code: 'curve-unsupported', file: der(freshEcKey('brainpoolP256r1')) },
  'EC by the numbers of its curve': {
    code: 'curve-explicit',
    file: openssl(
      openssl('', 'ecparam', '-name', 'prime256v1', '-genkey', '-param_enc', 'explicit'),
      ...['pkcs8', '-topk8', '-nocrypt'],
    ),
  },
  'EC without a curve': { code: 'curve-missing', file: pkcs8(sequence(oid(EC_OID)), sec1(d)) },
  'EC with the curve inside alone': {
    code: 'curve-missing',
    file: pkcs8(sequence(oid(EC_OID)), sec1(d, { parameters: oid(P256_OID) })),
  },
  'EC that names two curves': {
    code: 'curve-unsupported',
    file: ecKey(d, { parameters: oid('2b81040022') }),
  },
  'the private number 0': { code: 'scalar-out-of-range', file: ecKey(Buffer.alloc(32)) },
  'a private number of the order': {
    code: 'scalar-out-of-range',
    file: ecKey(Buffer.from(ORDER, 'hex')),
  },
  'a private number beyond the order': {
    code: 'scalar-out-of-range',
    file: ecKey(Buffer.alloc(32, 0xff)),
  },
  'a private number that is too long': {
    code: 'scalar-out-of-range',
    file: ecKey(Buffer.alloc(33, 1)),
  },
  'the public key of another': {
    code: 'public-key-differs',
    file: ecKey(d, { point: other.point }),
  },
  'a public key that is on no curve': {
    code: 'public-key-differs',
    file: ecKey(d, { point: offCurve }),
  },
  'another public key than was claimed': {
    code: 'claim-differs',
    file: der(),
    claimed: spkiOf(P256),
  },
  'a claim that is no public key': {
    code: 'claim-malformed',
    file: der(),
    claimed: Buffer.from('olga'),
  },
  'a private key for the public one': {
    code: 'claim-malformed',
    file: der(),
    claimed: pem('PRIVATE KEY', der()),
  },
  'nobody to give the passphrase': {
    code: 'passphrase-missing',
    file: openssl(
      pem('PRIVATE KEY', der()),
      ...['pkcs8', '-topk8', '-scrypt', '-passout', `pass:${PASSPHRASE}`],
    ),
  },
  'another passphrase': {
    code: 'passphrase-wrong',
    passphrase: 'wrong',
    file: openssl(
      pem('PRIVATE KEY', der()),
      ...['pkcs8', '-topk8', '-scrypt', '-passout', `pass:${PASSPHRASE}`],
    ),
  },
};

function signed(number: Buffer): Buffer {
  return (number[0] ?? 0) < 0x80 ? number : Buffer.concat([ZERO, number]);
}

describe('what is not such a key is refused by what it is', () => {
  test.each(Object.entries(REFUSED))('%s', async (_name, { code, file, ...given }) => {
    await expectRefused(code, file, given);
  });

  test('every kind of refusal has a row', () => {
    const rows = new Set(Object.values(REFUSED).map(({ code }) => code));
    expect(Object.keys(KEY_FILE_FAULTS).filter((code) => !rows.has(code as KeyFileFault))).toEqual([]);
  });
});

test('the bytes of the file are overwritten, whatever comes of it; those of the key when it is destroyed', async () => {
  for (const file of [der(), rsaWith({ d: oneBitOff(parts.d) }), pem('PRIVATE KEY', der())]) {
    const read = await readImportable(file, nobody).catch(() => undefined);
    expect(file.every((byte) => byte === 0)).toBe(true);
    if (read === undefined) continue;
    destroyImportable(read);
    expect(read.pkcs8.every((byte) => byte === 0)).toBe(true);
  }
});

async function expectRefused(
  code: KeyFileFault,
  file: Buffer,
  { claimed, passphrase }: Omit<Refused, 'file'> = {},
): Promise<void> {
  const ask = passphrase === undefined ? nobody : gives(passphrase);
  const refused: unknown = await readImportable(Buffer.from(file), ask, claimed).catch(
    (error: unknown) => error,
  );
  expect(refused).toBeInstanceOf(KeyFileError);
  expect((refused as KeyFileError).code).toBe(code);
}
