import { TAG, DerReader } from './derReader.js';
import { KeyFileError } from './keyFileError.js';

/** What a file of a private key has in it, in DER. */
export interface KeyInFile {
  readonly form: 'plain' | 'encrypted';
  /** PrivateKeyInfo or EncryptedPrivateKeyInfo (RFC 5208 sections 5 and 6), and whatever stands behind it in a DER file. */
  readonly der: Buffer;
}

/** RSA-4096 in PEM has some 3,300 bytes; beside it stand the certificates of a chain at most. */
const MOST_BYTES = 64 * 1024;

const BEGIN = Buffer.from('-----BEGIN ');
const END_OF_LABEL = Buffer.from('-----');

/** Labels of private keys in PEM (RFC 7468 sections 10 and 11) that are of other forms than PKCS#8. */
const OTHER_FORMS = /^(RSA|EC|DSA|DH|OPENSSH|ANY|SSH2 ENCRYPTED|TSS2|[A-Z0-9]+) PRIVATE KEY$/;

/**
 * The private key in a file: PEM, with anything around it, or DER. The bytes are decoded where they stand and never become
 * text, which nobody could overwrite.
 * @throws KeyFileError `file-empty`, `file-too-large`, `not-a-key`, `no-private-key`, `several-keys`, `not-pkcs8`
 */
export function keyInFile(file: Buffer): KeyInFile {
  if (file.length === 0) throw new KeyFileError('file-empty');
  if (file.length > MOST_BYTES) throw new KeyFileError('file-too-large');
  if (file[0] === TAG.sequence) return inDer(Buffer.from(file));
  if (!file.includes(BEGIN)) throw new KeyFileError('not-a-key');
  const found = blocksOf(file).filter(({ label }) => label.endsWith('PRIVATE KEY'));
  const [block, ...others] = found;
  if (block === undefined) throw new KeyFileError('no-private-key');
  if (others.length > 0) throw new KeyFileError('several-keys');
  if (block.label === 'PRIVATE KEY') return { form: 'plain', der: decoded(block.body) };
  if (block.label === 'ENCRYPTED PRIVATE KEY') return { form: 'encrypted', der: decoded(block.body) };
  const isKnown = OTHER_FORMS.test(block.label);
  throw new KeyFileError(isKnown ? 'not-pkcs8' : 'not-a-key');
}

interface PemBlock {
  readonly label: string;
  readonly body: Buffer;
}

function blocksOf(file: Buffer): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  for (let at = file.indexOf(BEGIN); at >= 0; at = file.indexOf(BEGIN, at + 1)) {
    const from = at + BEGIN.length;
    const labelEnd = file.indexOf(END_OF_LABEL, from);
    if (labelEnd < 0) throw new KeyFileError('not-a-key');
    const label = file.toString('latin1', from, labelEnd);
    const start = labelEnd + END_OF_LABEL.length;
    const end = file.indexOf(`-----END ${label}-----`, start);
    if (end < 0) throw new KeyFileError('not-a-key');
    blocks.push({ label, body: file.subarray(start, end) });
  }
  return blocks;
}

const DIGITS = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const VALUES = new Map([...DIGITS].map((digit, value) => [digit, value]));
const SPACE = new Set(Buffer.from(' \t\r\n'));
const PAD = 0x3d;

/** Base64 (RFC 4648 section 4) with white space in it. */
function decoded(base64: Buffer): Buffer {
  const der = Buffer.alloc(Math.ceil(base64.length / 4) * 3);
  let [length, bits, held, pads] = [0, 0, 0, 0];
  for (const byte of base64) {
    if (SPACE.has(byte)) continue;
    if (byte === PAD) {
      pads += 1;
      continue;
    }
    const value = VALUES.get(byte);
    // headers, as those of encryption from before PKCS#8, are none of it
    if (value === undefined || pads > 0) throw new KeyFileError('not-a-key');
    held = ((held << 6) | value) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    der[length] = (held >> bits) & 0xff;
    length += 1;
  }
  if (length === 0 || pads > 2) throw new KeyFileError('not-a-key');
  return der.subarray(0, length);
}

/** By what comes first: PrivateKeyInfo begins with a number and a sequence, EncryptedPrivateKeyInfo with a sequence. */
function inDer(der: Buffer): KeyInFile {
  const value = new DerReader(der).enter(TAG.sequence);
  const first = value.next;
  if (first === TAG.sequence) return { form: 'encrypted', der };
  if (first !== TAG.integer) throw new KeyFileError('not-a-key');
  const version = value.small();
  const second = value.next;
  // RSAPrivateKey and ECPrivateKey have no algorithm; PKCS#12 is version 3 of something else (RFC 7292 section 4)
  if (second !== TAG.sequence || version === 3) throw new KeyFileError('not-pkcs8');
  return { form: 'plain', der };
}
