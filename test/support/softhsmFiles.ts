import { createDecipheriv, createHash, createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import type { SoftHsm } from './softhsm.js';

/** An object of a SoftHSM token as its file holds it, with what was encrypted there opened. */
export interface StoredObject {
  readonly label: string;
  readonly objectClass: number;
  readonly bytes: ReadonlyMap<number, Buffer>;
}

/**
 * Reads the objects of a token out of its files, by the user PIN, as SoftHSM 2.6 itself does. No hardware token can be
 * read like this; here it lets a test know the very keys that the token uses and looks for, instead of planted ones
 * (which the daemon refuses: they were not born in the token).
 */
export function readTokenFiles(hsm: SoftHsm): readonly StoredObject[] {
  const tokens = join(hsm.directory, 'tokens');
  return readdirSync(tokens).flatMap((token) => {
    const directory = join(tokens, token);
    const tokenKey = openTokenKey(readAttributes(join(directory, 'token.object')), hsm.userPin);
    return readdirSync(directory)
      .filter((name) => name.endsWith('.object') && name !== 'token.object')
      .map((name) => readObject(join(directory, name), tokenKey));
  });
}

/** The private key of a stored RSA object. */
export function rsaPrivateKey({ bytes }: StoredObject): KeyObject {
  const number = (type: number): string => (bytes.get(type) ?? Buffer.alloc(0)).toString('base64url');
  return createPrivateKey({
    format: 'jwk',
    key: {
      kty: 'RSA',
      n: number(pkcs11.CKA_MODULUS),
      e: number(pkcs11.CKA_PUBLIC_EXPONENT),
      d: number(pkcs11.CKA_PRIVATE_EXPONENT),
      p: number(pkcs11.CKA_PRIME_1),
      q: number(pkcs11.CKA_PRIME_2),
      dp: number(pkcs11.CKA_EXPONENT_1),
      dq: number(pkcs11.CKA_EXPONENT_2),
      qi: number(pkcs11.CKA_COEFFICIENT),
    },
  });
}

type Attributes = ReadonlyMap<number, Buffer | number | boolean>;

const KIND = { boolean: 1, number: 2, bytes: 3, attributes: 4, mechanisms: 5 } as const;
/** Of SoftHSM's own (OSAttributes.h): the token's key, encrypted under the user PIN. */
const CKA_OS_USERPIN = 0x8000_534d;
const PIN_ITERATIONS = 1500;
const MAGIC_BYTES = 3;

/** Big-endian 64-bit numbers: a generation, then for each attribute its type, kind and value. */
function readAttributes(file: string): Attributes {
  const content = readFileSync(file);
  const attributes = new Map<number, Buffer | number | boolean>();
  let at = 8;
  const number = (): number => {
    at += 8;
    return Number(content.readBigUInt64BE(at - 8));
  };
  const bytes = (length: number): Buffer => {
    at += length;
    return content.subarray(at - length, at);
  };
  while (at < content.length) {
    const type = number();
    const kind = number();
    switch (kind) {
      case KIND.boolean:
        attributes.set(type, bytes(1)[0] !== 0);
        break;
      case KIND.number:
        attributes.set(type, number());
        break;
      case KIND.bytes:
      case KIND.attributes:
        attributes.set(type, bytes(number()));
        break;
      case KIND.mechanisms:
        attributes.set(type, bytes(8 * number()));
        break;
      default:
        throw new Error(`${file} has an attribute of unknown kind ${kind}`);
    }
  }
  return attributes;
}

function openTokenKey(token: Attributes, pin: string): Buffer {
  const sealed = token.get(CKA_OS_USERPIN);
  if (!Buffer.isBuffer(sealed)) throw new Error('the token has no user PIN');
  const salt = sealed.subarray(0, 8);
  let key = createHash('sha256').update(salt).update(pin).digest();
  for (let more = PIN_ITERATIONS + (salt[7] ?? 0) - 1; more > 0; more -= 1) {
    key = createHash('sha256').update(key).digest();
  }
  return decrypt(key, sealed.subarray(8)).subarray(MAGIC_BYTES);
}

function readObject(file: string, tokenKey: Buffer): StoredObject {
  const attributes = readAttributes(file);
  const hidden = attributes.get(pkcs11.CKA_PRIVATE) === true;
  const bytes = new Map<number, Buffer>();
  for (const [type, value] of attributes) {
    if (!Buffer.isBuffer(value)) continue;
    const opens = hidden && value.length >= 32 && value.length % 16 === 0 && !isOpen(type);
    bytes.set(type, opens ? decrypt(tokenKey, value) : Buffer.from(value));
  }
  return {
    label: (bytes.get(pkcs11.CKA_LABEL) ?? Buffer.alloc(0)).toString(),
    objectClass: Number(attributes.get(pkcs11.CKA_CLASS)),
    bytes,
  };
}

/** What is not encrypted even in a private object. */
function isOpen(type: number): boolean {
  return type === pkcs11.CKA_ALLOWED_MECHANISMS || type === pkcs11.CKA_UNWRAP_TEMPLATE;
}

/** AES-256-CBC, IV in front. */
function decrypt(key: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-cbc', key, sealed.subarray(0, 16));
  return Buffer.concat([decipher.update(sealed.subarray(16)), decipher.final()]);
}
