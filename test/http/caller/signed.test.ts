import type { SigningKey } from '../../../src/escrow/records/principals.js';
import type { Authentication } from '../authenticate.js';
import { authenticate } from '../authenticate.js';
import type { Identity } from '../identities.js';
import {
  claimsFor,
  jwsOver,
  LOG_KEY,
  newIdentity,
  NOW,
  ORIGIN,
  signatureOf,
  signedRequest,
} from '../identities.js';
import { PEOPLE, policy } from '../people.js';

const { ann, bob, dana, olga } = PEOPLE;
const TARGET = { method: 'POST', target: '/v1/keys?limit=5', body: '{"a":1}' };
const trust = { policy: policy(), logKey: LOG_KEY, now: NOW };

function authenticateField(
  authorization: readonly string[],
  received = TARGET,
  now = NOW,
  idempotencyKey: readonly string[] = [],
): Promise<Authentication> {
  const { method, target, body } = received;
  return authenticate(
    { method, target, authorization, idempotencyKey, body: Buffer.from(body) },
    { ...trust, now },
  );
}
const authenticateJws = (jws: string, received = TARGET, now = NOW): Promise<Authentication> =>
  authenticateField([`Escrowd-JWS ${jws}`], received, now);

/** The code of a refusal, and whose the request was, where that is known. */
function refusal(found: Authentication): readonly [code: string, whose: string | undefined] {
  if (found.outcome === 'accepted') throw new Error('was accepted');
  return [found.error.code, found.call?.caller.id];
}

const header = (by: Identity, changes: object = {}): string =>
  JSON.stringify({ alg: by.alg, kid: by.kid, typ: 'escrowd-request+jwt', ...changes });
const claims = (by: Identity, changes: object = {}): string => JSON.stringify(claimsFor(by, TARGET, changes));

describe('a request', () => {
  test.each([ann, bob, olga, dana].map((person) => [person.alg, person] as const))(
    'signed with %s is accepted as its signer’s',
    async (_alg, person) => {
      const jws = signedRequest(person, TARGET);
      const found = await authenticateJws(jws);
      expect(found.outcome).toBe('accepted');
      expect(found.call?.caller.id).toBe(person.id);
      expect(found.call?.request).toMatchObject({ jws, kid: person.kid });
    },
  );

  test('is to be remembered until it could no longer be accepted', async () => {
    const { call } = await authenticateJws(signedRequest(ann, TARGET));
    const expiresAt = call?.request.expiresAt ?? NOW;
    const again = signedRequest(ann, TARGET);
    expect(refusal(await authenticateJws(again, TARGET, expiresAt))).toEqual(['request-expired', 'ann']);
    const justBefore = new Date(expiresAt.getTime() - 1);
    expect((await authenticateJws(again, TARGET, justBefore)).outcome).toBe('accepted');
  });

  describe('with an Idempotency-Key', () => {
    const named = (field: readonly string[], ik?: string): Promise<Authentication> =>
      authenticateField(
        [`Escrowd-JWS ${signedRequest(ann, TARGET, { claims: { ik } })}`],
        TARGET,
        NOW,
        field,
      );

    test.each([
      ['a', '"a"'],
      ['x'.repeat(128), `"${'x'.repeat(128)}"`],
      ['a "b" \\ c~', '"a \\"b\\" \\\\ c~"'],
    ])('that is signed as well carries it: %s', async (key, field) => {
      const { call } = await named([field], key);
      expect(call?.idempotency?.key).toBe(key);
      expect(call?.idempotency?.fingerprint).toMatch(/^[0-9a-f]{64}$/);
    });

    test.each([
      ['none is sent', [], 'a'],
      ['none is signed', ['"a"'], undefined],
      ['another is signed', ['"a"'], 'b'],
    ])('is refused where %s', async (_what, field, ik) => {
      expect(refusal(await named(field, ik))).toEqual(['request-signature-invalid', 'ann']);
    });

    test.each([
      ['a token', ['a']],
      ['an empty one', ['""']],
      ['an open one', ['"a']],
      ['a quote inside', ['"a"b"']],
      ['a lone backslash', ['"a\\b"']],
      ['parameters', ['"a";p=1']],
      ['other characters', ['"\u00e4"']],
      ['a list', ['"a", "b"']],
      ['two fields', ['"a"', '"a"']],
      ['too long a one', [`"${'x'.repeat(129)}"`]],
    ])('is malformed with %s', async (_what, field) => {
      expect(refusal(await named(field, 'a'))).toEqual(['request-malformed', 'ann']);
    });

    test('is for this method, target and body, whoever asks and whenever', async () => {
      const of = async (changes: Partial<typeof TARGET>): Promise<string | undefined> => {
        const target = { ...TARGET, ...changes };
        const jws = signedRequest(ann, target, { claims: { ik: 'a' } });
        const { call } = await authenticateField([`Escrowd-JWS ${jws}`], target, NOW, ['"a"']);
        return call?.idempotency?.fingerprint;
      };
      const prints = [
        await of({}),
        await of({}),
        await of({ body: '{"a":2}' }),
        await of({ target: '/v1/keys' }),
        await of({ method: 'GET' }),
      ];
      expect(new Set(prints).size).toBe(4);
      expect(prints[0]).toBe(prints[1]);
    });
  });

  test('without a signature is unsigned', async () => {
    expect(refusal(await authenticateField([]))).toEqual(['request-unsigned', undefined]);
    expect(refusal(await authenticateField(['Bearer abc']))).toEqual(['request-unsigned', undefined]);
  });

  test('with two Authorization fields is malformed', async () => {
    const field = `Escrowd-JWS ${signedRequest(ann, TARGET)}`;
    expect(refusal(await authenticateField([field, field]))).toEqual(['request-malformed', undefined]);
  });

  test('is refused outside its time window, as its signer’s', async () => {
    const seconds = NOW.getTime() / 1000;
    const signedAt = (iat: number): string => signedRequest(ann, TARGET, { claims: { iat, exp: iat + 60 } });
    expect(refusal(await authenticateJws(signedAt(seconds - 120)))).toEqual(['request-expired', 'ann']);
    expect(refusal(await authenticateJws(signedAt(seconds + 61)))).toEqual(['request-expired', 'ann']);
    expect((await authenticateJws(signedAt(seconds - 119))).outcome).toBe('accepted');
    expect((await authenticateJws(signedAt(seconds + 60))).outcome).toBe('accepted');
  });

  test.each([
    ['for another method', { claims: { htm: 'GET' } }],
    ['for another path', { claims: { htu: '/v1/policy?limit=5' } }],
    ['for another query', { claims: { htu: '/v1/keys?limit=6' } }],
    ['for another body', { claims: { cd: 'A'.repeat(43) } }],
    ['for another server', { claims: { aud: 'other.example.com/log' } }],
    ['for a server of this name with another log key', { claims: { aud: `${ORIGIN}+00000000+AR` } }],
    ['for a part of the log key', { claims: { aud: LOG_KEY.slice(0, -1) } }],
    ['for the name and what parts it from the key', { claims: { aud: `${ORIGIN}+` } }],
    ['in another’s name', { claims: { iss: 'bob' } }],
  ])('%s is refused as its signer’s', async (_what, changes) => {
    const found = await authenticateJws(signedRequest(ann, TARGET, changes));
    expect(refusal(found)).toEqual(['request-signature-invalid', 'ann']);
  });

  test('is refused when the body is changed on its way', async () => {
    const found = await authenticateJws(signedRequest(ann, TARGET), { ...TARGET, body: '{"a":2}' });
    expect(refusal(found)).toEqual(['request-signature-invalid', 'ann']);
  });
});

describe('a signature', () => {
  test('by a key that nobody has is nobody’s', async () => {
    const stranger = newIdentity('ann');
    expect(refusal(await authenticateJws(signedRequest(stranger, TARGET)))).toEqual([
      'caller-unknown',
      undefined,
    ]);
  });

  test('by another key than it names is not the named person’s', async () => {
    const forged = signedRequest({ ...newIdentity('ann'), kid: ann.kid }, TARGET);
    expect(refusal(await authenticateJws(forged))).toEqual(['request-signature-invalid', undefined]);
  });

  test.each(['none', 'HS256', 'ES384', 'RS256', 'PS384', 'Ed25519'])(
    'with the algorithm %s, for which the key is not registered, is refused',
    async (alg) => {
      const found = await authenticateJws(signedRequest(ann, TARGET, { header: { alg } }));
      expect(refusal(found)).toEqual(['request-signature-invalid', undefined]);
    },
  );

  test('by the same key with another algorithm than the registered one is refused', async () => {
    const keys: SigningKey[] = [{ jwk: bob.jwk, alg: 'PS256', thumbprint: bob.kid }];
    const principals = new Map(trust.policy.principals);
    for (const [id, person] of principals) if (id === 'bob') principals.set(id, { ...person, keys });
    const found = await authenticate(
      {
        ...TARGET,
        authorization: [`Escrowd-JWS ${signedRequest(bob, TARGET)}`],
        idempotencyKey: [],
        body: Buffer.from(TARGET.body),
      },
      { ...trust, policy: { ...trust.policy, principals } },
    );
    expect(refusal(found)).toEqual(['request-signature-invalid', undefined]);
  });

  test.each(['JWT', 'escrowd-approval+jwt', 'Escrowd-Request+JWT', undefined])(
    'of type %s is no request',
    async (typ) => {
      const found = await authenticateJws(signedRequest(ann, TARGET, { header: { typ } }));
      expect(refusal(found)).toEqual(['request-malformed', undefined]);
    },
  );

  test.each([
    ['jwk', { jwk: newIdentity('eve').jwk }],
    ['jku', { jku: 'https://evil.example.com/keys' }],
    ['x5c', { x5c: ['MIIB'] }],
    ['x5u', { x5u: 'https://evil.example.com/cert' }],
    ['crit', { crit: ['exp'] }],
    ['b64', { b64: false, crit: ['b64'] }],
    ['zip', { zip: 'DEF' }],
    ['an unknown member', { note: 'x' }],
    ['a kid that is no text', { kid: 7 }],
    ['an alg that is no text', { alg: ['ES256'] }],
  ])('with %s in its header is malformed', async (_what, changes) => {
    const found = await authenticateJws(signedRequest(ann, TARGET, { header: changes }));
    expect(refusal(found)).toEqual(['request-malformed', undefined]);
  });

  test('whose header or claims name a member twice is malformed', async () => {
    const twiceInHeader = header(ann).replace('{', '{"alg":"none",');
    const twiceInClaims = claims(ann).replace('{', '{"iss":"bob",');
    for (const jws of [jwsOver(twiceInHeader, claims(ann), ann), jwsOver(header(ann), twiceInClaims, ann)]) {
      expect(refusal(await authenticateJws(jws))).toEqual(['request-malformed', undefined]);
    }
  });

  test.each([
    ['an unknown claim', { nbf: 1 }],
    ['no issuer', { iss: undefined }],
    ['no audience', { aud: undefined }],
    ['two audiences', { aud: [ORIGIN, 'x'] }],
    ['no method', { htm: undefined }],
    ['no target', { htu: undefined }],
    ['no body digest', { cd: undefined }],
    ['no jti', { jti: undefined }],
    ['a short jti', { jti: 'A'.repeat(21) }],
    ['a long jti', { jti: 'A'.repeat(129) }],
    ['a jti of other characters', { jti: `${'A'.repeat(22)}=` }],
    ['no expiry', { exp: undefined }],
    ['a life of more than a minute', { exp: NOW.getTime() / 1000 + 61 }],
    ['an expiry before its beginning', { exp: NOW.getTime() / 1000 - 1 }],
    ['a fraction of a second', { iat: NOW.getTime() / 1000 + 0.5 }],
    ['a time as text', { iat: String(NOW.getTime() / 1000) }],
    ['a time that no clock shows', { iat: 9e15, exp: 9e15 + 60 }],
  ])('with %s is malformed', async (_what, changes) => {
    const found = await authenticateJws(signedRequest(ann, TARGET, { claims: changes }));
    expect(refusal(found)).toEqual(['request-malformed', undefined]);
  });

  test.each<readonly [string, (jws: string) => string]>([
    ['padding', (jws) => `${jws}=`],
    ['a space', (jws) => jws.replace('.', ' .')],
    ['a leading space', (jws) => ` ${jws}`],
    ['a trailing space', (jws) => `${jws} `],
    ['a question mark', (jws) => `${jws.slice(0, -1)}?${jws.slice(-1)}`],
    ['the other base64 alphabet', (jws) => `${jws.slice(0, -2)}+/`],
    ['stray bits in the last character', withStrayBits],
    ['no signature', (jws) => `${jws.split('.').slice(0, 2).join('.')}.`],
    ['two parts', (jws) => jws.split('.').slice(0, 2).join('.')],
    ['four parts', (jws) => `${jws}.AA`],
    ['a part that is no JSON', (jws) => `AAAA.${jws.split('.').slice(1).join('.')}`],
    [
      'a part that is no object',
      (jws) => `${Buffer.from('[]').toString('base64url')}.${jws.split('.').slice(1).join('.')}`,
    ],
    ['more characters than anybody needs', (jws) => `${jws}${'A'.repeat(8192)}`],
  ])('with %s is malformed, though a library might take it', async (_what, spoil) => {
    const found = await authenticateJws(spoil(signedRequest(ann, TARGET)));
    expect(refusal(found)).toEqual(['request-malformed', undefined]);
  });

  test('over something else, or cut short, is refused', async () => {
    const bytes = signatureOf('ES256', ann.privateKey, Buffer.from('x'));
    const jws = signedRequest(ann, TARGET);
    const input = jws.slice(0, jws.lastIndexOf('.'));
    const found = await authenticateJws(`${input}.${bytes.toString('base64url')}`);
    expect(refusal(found)).toEqual(['request-signature-invalid', undefined]);
    const cut = await authenticateJws(`${input}.${bytes.subarray(1).toString('base64url')}`);
    expect(refusal(cut)).toEqual(['request-signature-invalid', undefined]);
  });
});

/** 64 bytes leave four bits of the last character unused (RFC 4648 section 3.5). */
function withStrayBits(jws: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(jws.slice(-1));
  return `${jws.slice(0, -1)}${alphabet.charAt(last + 1)}`;
}
