import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { PolicyDocumentError } from '../../../src/client/errors.js';
import {
  checkPolicyDocument,
  policyDocumentHash,
  readPolicySignature,
  signPolicy,
} from '../../../src/client/policy/policyDocument.js';
import { readPolicyFile } from '../../../src/client/policy/policyFile.js';
import { signerOf } from '../../../src/client/identity/signingKey.js';
import { policyWarnings } from '../../../src/escrow/rules/warnings.js';
import { parsePolicy } from '../../../src/http/policyDocument.js';
import { rsaPair } from '../../support/rsaPairs.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowctl-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

function write(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function publicPart(id: string, more: object = {}): string {
  const key = signerOf(id, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  return JSON.stringify({ id, keys: [key.publicJwk], ...more });
}

const YAML = `
# comments are for people
version: 1
administration: { minimumQuorum: 1 }
principals:
  - { id: ann, kind: person, name: Ann, roles: [admin], keysFrom: ann.json }
  - { id: bob, kind: person, name: Bob, roles: [admin, depositary], keysFrom: bob.json }
  - { id: olga, kind: person, name: Olga, roles: [owner], attributes: { manager: bob }, keysFrom: olga.json }
rules:
  - name: signing
    when: { use: sign, owner.department: finance }
    depositaries: { atLeast: 1, of: [manager, role:security, person:bob] }
    operate: { operations: [sign], maxUses: 3, maxDuration: PT24H }
`;

const delivery = rsaPair(2048).publicKey;

function writeAll(yaml = YAML): string {
  for (const id of ['ann', 'bob']) write(`${id}.json`, publicPart(id));
  write('olga.json', publicPart('olga', { deliveryKey: delivery.export({ format: 'pem', type: 'spki' }) }));
  return write('escrow.yaml', yaml);
}

test('keysFrom is replaced by the keys and the delivery key of that file, before anything is hashed', async () => {
  const document = (await readPolicyFile(writeAll())) as { principals: Record<string, unknown>[] };
  const olga = document.principals[2];
  expect(olga).not.toHaveProperty('keysFrom');
  expect(olga?.['keys']).toHaveLength(1);
  expect(olga?.['deliveryKey']).toContain('BEGIN PUBLIC KEY');
});

test('the server reads the document as it is meant, and hashes it alike', async () => {
  const document = await readPolicyFile(writeAll());
  checkPolicyDocument(document);
  expect(parsePolicy(JSON.stringify(document), 1).hash).toBe(policyDocumentHash(document));
});

test('the hash is SHA-256 of RFC 8785: the order of members and spaces mean nothing', () => {
  const hash = createHash('sha256').update('{"a":[1,"é"],"b":{"c":true,"d":null}}').digest('hex');
  expect(policyDocumentHash({ b: { d: null, c: true }, a: [1, 'é'] })).toBe(hash);
  expect(() => policyDocumentHash({ a: 1.5 })).toThrow(PolicyDocumentError);
});

test('a signature says the hash, the version under it, the server and the time', async () => {
  const ann = signerOf('ann', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  const now = new Date('2026-03-01T12:00:00.000Z');
  const order = {
    hash: 'ab'.repeat(32),
    base: 4,
    replaces: 'cd'.repeat(32),
    logKey: 'o+00000000+AQ',
    now,
    lifetimeMs: 3_600_000,
  };
  const jws = await signPolicy(ann, order);
  expect(readPolicySignature(jws)).toEqual({
    iss: 'ann',
    hash: 'ab'.repeat(32),
    base: 4,
    replaces: 'cd'.repeat(32),
  });
  expect(readPolicySignature('nonsense')).toBeUndefined();
});

describe('a document is refused, with the place, when', () => {
  test.each([
    ['a principal has no id', (yaml: string) => yaml.replace('id: bob, ', ''), /principals/],
    [
      'two have the same id',
      (yaml: string) => yaml.replace(/id: bob(.*)bob\.json/, 'id: ann$1ann.json'),
      /ann stands twice/,
    ],
    ['an unknown member stands in it', (yaml: string) => yaml.replace('rules:', 'rulez:'), /rulez|rules/],
    [
      'a rule allows nothing',
      (yaml: string) => yaml.replace(/ {4}operate.*\n/, ''),
      /rules\[0\].*neither operate nor release/,
    ],
    [
      'a duration is none',
      (yaml: string) => yaml.replace('PT24H', '24h'),
      /rules\[0\]\.operate\.maxDuration/,
    ],
    [
      'an expression is none',
      (yaml: string) => yaml.replace('atLeast: 1', 'atLeast: zero'),
      /rules\[0\]\.depositaries/,
    ],
    [
      'a rule for what is only kept lets it be used',
      (yaml: string) => yaml.replace('use: sign', 'use: keep'),
      /rules\[0\].*has operate, and is for secrets/,
    ],
    [
      'a rule for secrets lets them be used',
      (yaml: string) => yaml.replace('use: sign', 'key.spec: secret'),
      /rules\[0\].*has operate, and is for secrets/,
    ],
    [
      'a condition is none',
      (yaml: string) => yaml.replace('use: sign', 'use: pray'),
      /rules\[0\]\.when\.use/,
    ],
    [
      'a member stands twice',
      (yaml: string) => yaml.replace('name: signing', 'name: signing\n    name: again'),
      /not YAML/,
    ],
    [
      'keysFrom leads nowhere',
      (yaml: string) => yaml.replace('ann.json', 'none.json'),
      /principals\[0\]\.keysFrom.*cannot be read/,
    ],
    [
      'keysFrom holds the keys of another',
      (yaml: string) => yaml.replace('ann.json', 'bob.json'),
      /holds the keys of bob/,
    ],
  ])('%s', async (_name, spoil, message) => {
    const path = writeAll(spoil(YAML));
    await expect(readPolicyFile(path).then(checkPolicyDocument)).rejects.toThrow(message);
  });

  test('a private key stands in it', async () => {
    const path = writeAll();
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
    write('ann.json', JSON.stringify({ id: 'ann', keys: [{ ...key, alg: 'ES256' }] }));
    await expect(readPolicyFile(path)).rejects.toThrow(/private key/);
  });
});

test('a person is told what is allowed and hardly meant', async () => {
  const spoiled = YAML.replace('attributes: { manager: bob }, ', '').replace(
    'rules:',
    '  - { id: gus, kind: person, name: Gus, roles: [gardener], keysFrom: gus.json }\nrules:',
  );
  write('gus.json', publicPart('gus'));
  const hints = policyWarnings(checkPolicyDocument(await readPolicyFile(writeAll(spoiled))), {
    enrolled: undefined,
    deposits: undefined,
  });
  expect(hints).toEqual([
    'no rule is for olga',
    'rule signing matches no owner: nobody has owner.department "finance"',
    expect.stringMatching(/^2 administrators have keys, and 2 must sign: if one leaves/),
    expect.stringMatching(/^gus has none of the roles/),
  ]);
});
