import { generateKeyPairSync, sign } from 'node:crypto';
import { canonicalJson, type Json } from '../../../src/log/entry/canonical.js';
import { leafHash } from '../../../src/log/tree/merkle.js';
import {
  batchBytes,
  readWriter,
  WRITER_TYPE,
  writerInput,
  type Batch,
} from '../../../src/log/statements/writer.js';
import { softwareCertifier } from '../../support/signer.js';

const identity = softwareCertifier();
const log = 'escrow.test/log+00000000+AQ==';
const by = { log, identityKey: identity.publicKey };
const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const claims = {
  aud: log,
  sub: 'instance_1',
  key: String(publicKey.export({ format: 'jwk' }).x),
  from: 7,
  iat: 1_800_000_000,
};

async function signed(input: string, certifier = identity): Promise<string> {
  return `${input}.${Buffer.from(await certifier.attest(Buffer.from(input))).toString('base64url')}`;
}

const part = (value: Json): string => Buffer.from(canonicalJson(value)).toString('base64url');
const spaced = (value: Json): string => Buffer.from(`${canonicalJson(value)} `).toString('base64url');
const header = { alg: 'ES256', typ: WRITER_TYPE };

test('a certificate says who the writer is, and where entries without one end', async () => {
  const writer = readWriter(await signed(writerInput(claims)), by);
  expect(writer).toMatchObject({ id: 'instance_1', from: 7 });
});

describe('a certificate is none', () => {
  it.each<[string, () => Promise<string>]>([
    ['by another identity key', () => signed(writerInput(claims), softwareCertifier())],
    ['of another log', () => signed(writerInput({ ...claims, aud: 'other.test/log+00000000+AQ==' }))],
    [
      'with a type of another statement',
      () => signed(`${part({ ...header, typ: 'escrowd-history+jwt' })}.${part(claims)}`),
    ],
    ['without its type', () => signed(`${part({ alg: 'ES256' })}.${part(claims)}`)],
    ['with a member more', () => signed(`${part(header)}.${part({ ...claims, admin: true })}`)],
    ['in another spelling', () => signed(`${part(header)}.${spaced(claims)}`)],
    ['with an index below none', () => signed(writerInput({ ...claims, from: -1 }))],
    ['with a key that is none', () => signed(writerInput({ ...claims, key: 'AAAA' }))],
    ['without a name', () => signed(writerInput({ ...claims, sub: '' }))],
    [
      'whose signature is over another one',
      async () => {
        const [, , signature] = (await signed(writerInput({ ...claims, from: 8 }))).split('.');
        return `${writerInput(claims)}.${signature ?? ''}`;
      },
    ],
    ['with something behind it', async () => `${await signed(writerInput(claims))}.x`],
    ['with a signature spelt otherwise', async () => `${await signed(writerInput(claims))}=`],
    ['that is empty', () => Promise.resolve('')],
  ])('%s', async (_what, make) => {
    expect(readWriter(await make(), by)).toBeUndefined();
  });
});

describe('a signature of a batch', () => {
  const leaves = ['a', 'b', 'c'].map((text) => leafHash(Buffer.from(text)));
  const batch: Batch = { log, writer: 'instance_1', counter: 5, follows: 3, since: 4, leaves };
  const signature = sign(null, batchBytes(batch), privateKey);
  const [a, b, c] = leaves;

  it('is over exactly this batch', async () => {
    const writer = readWriter(await signed(writerInput(claims)), by);
    expect(writer?.signed(batch, signature)).toBe(true);
  });

  it.each<[string, Partial<Batch>]>([
    ['of another log', { log: 'other.test/log+00000000+AQ==' }],
    ['of another writer', { writer: 'instance_2' }],
    ['with another number', { counter: 6 }],
    ['behind another one', { follows: 2 }],
    ['behind others whose fate is not known', { since: 3 }],
    ['with its entries in another order', { leaves: [b, a, c].flatMap((leaf) => leaf ?? []) }],
    ['with an entry less', { leaves: leaves.slice(1) }],
    ['with an entry more', { leaves: [...leaves, leafHash(Buffer.from('d'))] }],
    ['with another entry', { leaves: [...leaves.slice(1), leafHash(Buffer.from('d'))] }],
    ['without entries', { leaves: [] }],
  ])('is not one of a batch %s', async (_what, change) => {
    const writer = readWriter(await signed(writerInput(claims)), by);
    expect(writer?.signed({ ...batch, ...change }, signature)).toBe(false);
  });

  it('is not one by another key', async () => {
    const writer = readWriter(await signed(writerInput(claims)), by);
    const other = sign(null, batchBytes(batch), generateKeyPairSync('ed25519').privateKey);
    expect(writer?.signed(batch, other)).toBe(false);
  });
});
