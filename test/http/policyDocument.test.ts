import { generateKeyPairSync } from 'node:crypto';

import { canonicalHash } from '../../src/escrow/records/digests.js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import type { PrincipalId } from '../../src/escrow/records/ids.js';
import type { Json } from '../../src/log/entry/canonical.js';
import { usualRequestTerms } from '../../src/escrow/records/policy.js';
import { parsePolicy } from '../../src/http/policyDocument.js';
import { newIdentity } from './identities.js';
import type { PolicyDocument } from './people.js';
import { DELIVERY_PEM, PEOPLE, policyDocument } from './people.js';

/** Why the document is refused, after `spoil` has been at it. */
function refusal(spoil: (document: Mutable) => void): string {
  const document = policyDocument() as Mutable;
  spoil(document);
  try {
    parsePolicy(JSON.stringify(document), 1);
  } catch (error) {
    expect(error).toBeInstanceOf(EscrowError);
    expect((error as EscrowError).code).toBe('policy-invalid');
    return (error as EscrowError).detail;
  }
  throw new Error('was accepted');
}
type Mutable = PolicyDocument & Record<string, unknown>;
const person = (document: Mutable, id: string): Record<string, unknown> =>
  document.principals.find((one) => one['id'] === id) ?? {};
const rule = (document: Mutable, index = 0): Record<string, unknown> => document.rules[index] ?? {};
const accepted = (spoil: (document: Mutable) => void): ReturnType<typeof parsePolicy> => {
  const document = policyDocument() as Mutable;
  spoil(document);
  return parsePolicy(JSON.stringify(document), 3);
};

describe('a policy document', () => {
  test('means its principals and rules', () => {
    const { version, principals, rules } = accepted(() => undefined);
    expect(version).toBe(3);
    expect(principals.get('olga' as PrincipalId)).toEqual({
      id: 'olga',
      kind: 'person',
      name: 'OLGA',
      roles: ['owner'],
      attributes: { department: 'finance', manager: 'dave' },
      keys: [{ jwk: PEOPLE.olga.jwk, alg: 'ES384', thumbprint: PEOPLE.olga.kid }],
      deliveryKey: expect.any(Uint8Array) as Uint8Array,
      retired: false,
      certificates: [],
      depositaryKey: undefined,
      returns: undefined,
    });
    expect(rules).toEqual([
      {
        name: 'finance',
        when: { owner: { department: 'finance' }, use: 'sign', spec: undefined },
        depositaries: { atLeast: 2, of: [{ attribute: 'manager' }, { person: 'dana' }] },
        requesters: ['depositary'],
        deliver: true,
        requests: usualRequestTerms(4 * 3_600_000),
        operate: {
          operations: ['sign'],
          maxUses: 100,
          maxDurationMs: 7 * 86_400_000,
          rate: undefined,
          mechanisms: undefined,
          input: 'digest',
          delayMs: 0,
          ownerMayVeto: false,
        },
        release: { delayMs: 4 * 3_600_000, ownerMayVeto: true },
      },
      {
        name: 'others',
        when: { owner: {}, use: undefined, spec: undefined },
        depositaries: { anyOf: [{ role: 'security-officer' }, { person: 'dave' }] },
        requesters: ['depositary', 'admin'],
        deliver: false,
        requests: usualRequestTerms(0),
        operate: undefined,
        release: { delayMs: 0, ownerMayVeto: false },
      },
    ]);
  });

  test('is hashed in its canonical form: spaces and the order of members mean nothing', () => {
    const document = policyDocument();
    const { principals, rules, version, administration } = document;
    const expected = canonicalHash(document as unknown as Json);
    const reordered = JSON.stringify({ rules, version, administration, principals }, undefined, 2);
    expect(parsePolicy(reordered, 1).hash).toBe(expected);
    expect(parsePolicy(JSON.stringify({ ...document, rules: [] }), 1).hash).not.toBe(expected);
  });

  test('may have no rules at all', () => {
    expect(accepted((document) => document.rules.splice(0)).rules).toEqual([]);
  });

  test('may ask for several of one role, as a role stands for each of its members', () => {
    const { rules } = accepted((document) => {
      rule(document)['depositaries'] = { atLeast: 2, of: ['role:security-officer'] };
    });
    expect(rules[0]?.depositaries).toEqual({ atLeast: 2, of: [{ role: 'security-officer' }] });
  });

  test('may nest who must agree', () => {
    const { rules } = accepted((document) => {
      rule(document)['depositaries'] = {
        allOf: ['manager', { anyOf: ['role:a', { atLeast: 1, of: ['person:dana'] }] }],
      };
    });
    expect(rules[0]?.depositaries).toEqual({
      allOf: [{ attribute: 'manager' }, { anyOf: [{ role: 'a' }, { atLeast: 1, of: [{ person: 'dana' }] }] }],
    });
  });

  test('that is no strict JSON is refused', () => {
    for (const text of ['', '{', '{"version":1,"version":1}', '[]', 'null']) {
      expect(() => parsePolicy(text, 1)).toThrow(EscrowError);
    }
  });

  test.each<readonly [string, (document: Mutable) => void, RegExp]>([
    ['another version of the format', (d) => Object.assign(d, { version: 2 }), /^version/],
    ['an unknown member', (d) => Object.assign(d, { extra: 1 }), /extra/],
    [
      'an unknown member of a principal',
      (d) => (person(d, 'ann')['admin'] = true),
      /^principals\[0\].*admin/,
    ],
    ['an id that is none', (d) => (person(d, 'ann')['id'] = 'Ann'), /^principals\[0\]\.id/],
    [
      'an id that stands twice',
      (d) => (person(d, 'bob')['id'] = 'ann'),
      /^principals\[1\]\.id: ann stands twice/,
    ],
    [
      'a client certificate of a person',
      (d) => (person(d, 'ann')['certificates'] = ['A'.repeat(43)]),
      /^principals\[0\]\.certificates: are for apps only/,
    ],
    [
      'a client certificate that is no SHA-256 in base64url',
      (d) => (person(d, 'mailer')['certificates'] = ['ab'.repeat(32)]),
      /certificates\[0\]: is not a SHA-256/,
    ],
    [
      'a client certificate that stands twice',
      (d) => (person(d, 'mailer')['certificates'] = ['A'.repeat(43), 'A'.repeat(43)]),
      /certificates\[1\]: stands twice/,
    ],
    [
      'a role that stands twice',
      (d) => (person(d, 'ann')['roles'] = ['admin', 'admin']),
      /^principals\[0\]\.roles/,
    ],
    ['a role that is none', (d) => (person(d, 'ann')['roles'] = ['Admin']), /^principals\[0\]\.roles\[0\]/],
    ['a kind that is none', (d) => (person(d, 'ann')['kind'] = 'robot'), /^principals\[0\]\.kind/],
    [
      'an attribute that is no text',
      (d) => (person(d, 'ann')['attributes'] = { a: 1 }),
      /^principals\[0\]\.attributes/,
    ],
    [
      'a name with control characters',
      (d) => (person(d, 'ann')['name'] = 'a\u0007'),
      /^principals\[0\]\.name/,
    ],
    ['one administrator', (d) => (person(d, 'bob')['roles'] = []), /two administrators/],
    ['an administrator without keys', (d) => (person(d, 'bob')['keys'] = []), /two administrators/],
    ['a retired administrator', (d) => (person(d, 'bob')['retired'] = true), /two administrators/],
    ['a rule name that stands twice', (d) => (rule(d, 1)['name'] = 'finance'), /^rules\[1\]\.name: finance/],
    ['an unknown member of a rule', (d) => (rule(d)['delay'] = 'PT1H'), /^rules\[0\].*delay/],
    ['a rule without depositaries', (d) => delete rule(d)['depositaries'], /^rules\[0\]\.depositaries/],
    ['a rule that allows nothing', (d) => delete rule(d, 1)['release'], /^rules\[1\]: has neither/],
    ['a person that is not there', (d) => (rule(d)['depositaries'] = 'person:eve'), /no principal eve/],
    [
      'a person that is not there, deep inside',
      (d) => (rule(d)['depositaries'] = { allOf: ['manager', { anyOf: ['person:eve'] }] }),
      /no principal eve/,
    ],
    ['no choices', (d) => (rule(d)['depositaries'] = { anyOf: [] }), /^rules\[0\]\.depositaries/],
    ['at least none', (d) => (rule(d)['depositaries'] = { atLeast: 0, of: ['manager'] }), /^rules\[0\]/],
    [
      'more than there are',
      (d) => (rule(d)['depositaries'] = { atLeast: 2, of: ['manager'] }),
      /^rules\[0\]/,
    ],
    ['half a person', (d) => (rule(d)['depositaries'] = { atLeast: 1.5, of: ['manager'] }), /safe integer/],
    [
      'two shapes in one',
      (d) => (rule(d)['depositaries'] = { allOf: ['manager'], anyOf: ['manager'] }),
      /^rules/,
    ],
    ['an unknown kind of name', (d) => (rule(d)['depositaries'] = 'group:x'), /^rules\[0\]\.depositaries/],
    ['a person’s name with a colon', (d) => (rule(d)['depositaries'] = 'person:dana:x'), /^rules\[0\]/],
    [
      'an unknown condition',
      (d) => (rule(d)['when'] = { department: 'finance' }),
      /department: is not a condition/,
    ],
    [
      'an unknown condition beside a known one of the same attribute',
      (d) => (rule(d)['when'] = { 'owner.department': 'a', department: 'a' }),
      /department: is not a condition/,
    ],
    [
      'a condition that objects inherit',
      (d) => (rule(d)['when'] = { constructor: 'x' }),
      /is not a condition/,
    ],
    ['a use that is none', (d) => (rule(d)['when'] = { use: 'wrap' }), /use: is not a condition/],
    [
      'a key spec that is none',
      (d) => (rule(d)['when'] = { 'key.spec': 'rsa-512' }),
      /key\.spec: is not a condition/,
    ],
    ['a requester that is none', (d) => (rule(d)['requesters'] = ['owner']), /^rules\[0\]\.requesters/],
    ['no requester', (d) => (rule(d)['requesters'] = []), /^rules\[0\]\.requesters/],
    ['a duration in months', (d) => (rule(d)['release'] = { delay: 'P1M' }), /^rules\[0\]\.release\.delay/],
    ['a duration as number', (d) => (rule(d)['release'] = { delay: 4 }), /^rules\[0\]\.release\.delay/],
    [
      'no uses',
      (d) => (rule(d)['operate'] = { operations: ['sign'], maxUses: 0, maxDuration: 'P1D' }),
      /^rules\[0\]\.operate\.maxUses/,
    ],
  ])('with %s is refused, and told where', (_what, spoil, where) => {
    expect(refusal(spoil)).toMatch(where);
  });
});

describe('a signing key', () => {
  const withKey = (key: object) => (document: Mutable) => {
    person(document, 'gus')['keys'] = [key];
  };
  const { jwk, kid } = newIdentity('gus');
  const rsa = (modulusLength: number): object =>
    generateKeyPairSync('rsa', { modulusLength }).publicKey.export({ format: 'jwk' });
  const privateJwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

  test('may carry the kid that it has', () => {
    const { principals } = accepted(withKey({ ...jwk, alg: 'ES256', kid, use: 'sig' }));
    expect(principals.get('gus' as PrincipalId)?.keys).toEqual([{ jwk, alg: 'ES256', thumbprint: kid }]);
  });

  test.each<readonly [string, object]>([
    ['with another kid', { ...jwk, alg: 'ES256', kid: PEOPLE.ann.kid }],
    ['with its private half', { ...privateJwk, alg: 'ES256' }],
    ['without an algorithm', jwk],
    ['with an algorithm of another kind', { ...jwk, alg: 'PS256' }],
    ['with an algorithm of another curve', { ...jwk, alg: 'ES384' }],
    ['with an algorithm that is not accepted', { ...jwk, alg: 'RS256' }],
    ['that is symmetric', { kty: 'oct', k: 'AAAA', alg: 'HS256' }],
    ['for encryption', { ...jwk, alg: 'ES256', use: 'enc' }],
    ['with a certificate', { ...jwk, alg: 'ES256', x5c: [] }],
    ['whose point is not on its curve', { ...jwk, alg: 'ES256', y: jwk['x'] }],
    ['whose coordinate has stray bits', { ...jwk, alg: 'ES256', x: `${(jwk['x'] ?? '').slice(0, -1)}_` }],
    ['whose coordinate has padding', { ...jwk, alg: 'ES256', x: `${jwk['x'] ?? ''}=` }],
    ['of 1024 bits RSA', { ...rsa(1024), alg: 'PS256' }],
    ['with another exponent', { ...rsa(2048), e: 'Aw', alg: 'PS256' }],
    ['with a leading zero in its modulus', { ...withLeadingZero(rsa(2048)), alg: 'PS256' }],
  ])('%s is refused', (_what, key) => {
    expect(refusal(withKey(key))).toMatch(/^principals\[8\]\.keys\[0\]/);
  });

  test('belongs to one principal, once', () => {
    const shared = { ...PEOPLE.ann.jwk, alg: 'ES256' };
    expect(refusal(withKey(shared))).toMatch(/^principals\[8\]\.keys\[0\]: stands twice/);
    const twice = (document: Mutable): void => {
      person(document, 'ann')['keys'] = [shared, shared];
    };
    expect(refusal(twice)).toMatch(/^principals\[0\]\.keys\[1\]: stands twice/);
  });
});

describe('a delivery key', () => {
  const pem = (options: { readonly label?: 'private' | 'ec' | 'pkcs1'; readonly bits?: number }): string => {
    if (options.label === 'ec')
      return generateKeyPairSync('ec', { namedCurve: 'P-256' })
        .publicKey.export({ format: 'pem', type: 'spki' })
        .toString();
    const pair = generateKeyPairSync('rsa', { modulusLength: options.bits ?? 2048 });
    if (options.label === 'private')
      return pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    return pair.publicKey
      .export({ format: 'pem', type: options.label === 'pkcs1' ? 'pkcs1' : 'spki' })
      .toString();
  };

  test.each([
    ['that is a private key', pem({ label: 'private' })],
    ['that is no RSA key', pem({ label: 'ec' })],
    ['in another format', pem({ label: 'pkcs1' })],
    ['of 1024 bits', pem({ bits: 1024 })],
    ['with something before it', `x\n${DELIVERY_PEM.toString()}`],
    ['with something behind it', `${DELIVERY_PEM.toString()}x`],
    ['that is none', 'AAAA'],
  ])('%s is refused', (_what, text) => {
    const spoil = (document: Mutable): void => {
      person(document, 'olga')['deliveryKey'] = text;
    };
    expect(refusal(spoil)).toMatch(/^principals\[2\]\.deliveryKey/);
  });
});

function withLeadingZero(key: object): object {
  const modulus = Buffer.from((key as { readonly n: string }).n, 'base64url');
  return { ...key, n: Buffer.concat([Buffer.from([0]), modulus]).toString('base64url') };
}
