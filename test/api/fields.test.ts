import fc from 'fast-check';

import { decodeBase64url } from '../../src/log/note/base64.js';
import { decryptOrder, keyOrder, pageQuery, recoveryOrder, signOrder } from '../../src/api/orders.js';

describe('base64url', () => {
  test('has one text for each value', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.string({ maxLength: 4 }), (bytes, other) => {
        const text = Buffer.from(bytes).toString('base64url');
        expect(decodeBase64url(text)).toEqual(Buffer.from(bytes));
        const found = decodeBase64url(text + other);
        if (found !== undefined) expect(Buffer.from(found).toString('base64url')).toBe(text + other);
      }),
    );
    for (const text of ['AA==', 'AB', 'A', 'A+', 'A A', 'AA\n'])
      expect(decodeBase64url(text)).toBeUndefined();
  });
});

describe('an order', () => {
  const key = { owner: 'olga', spec: 'ec-p256', use: 'sign' };
  const recovery = { keys: [`key_${'0'.repeat(32)}`], reason: 'r', validFor: 'P1D', purpose: 'release' };
  const scope = {
    app: 'mailer',
    operations: ['sign'],
    mechanisms: ['ES256'],
    input: 'message',
    maxUses: 1,
    duration: 'PT1H',
  };

  test('has defaults where the interface says so', () => {
    expect(keyOrder.parse(key)).toEqual({ ...key, label: '', deliver: false });
    expect(pageQuery.parse({})).toEqual({ after: undefined, limit: 50 });
  });

  test('comes out in the units of the core', () => {
    expect(recoveryOrder.parse({ ...recovery, purpose: 'operate', scope })).toMatchObject({
      validFor: 86_400_000,
      scope: { app: 'mailer', durationMs: 3_600_000 },
    });
    expect(signOrder.parse({ mechanism: 'ES256', messages: ['AAA'] })).toEqual({
      mechanism: 'ES256',
      messages: [Buffer.from([0, 0])],
    });
  });

  test.each<
    readonly [string, { readonly safeParse: (value: unknown) => { readonly success: boolean } }, unknown]
  >([
    ['with an unknown member', keyOrder, { ...key, extractable: true }],
    ['without an owner', keyOrder, { ...key, owner: undefined }],
    ['of an unknown kind', keyOrder, { ...key, spec: 'rsa-1024' }],
    ['with a label that is too long', keyOrder, { ...key, label: 'x'.repeat(201) }],
    ['with a label of control characters', keyOrder, { ...key, label: '\u001b[2J' }],
    ['with a truthy text for a boolean', keyOrder, { ...key, deliver: 'true' }],
    ['for a release with a scope', recoveryOrder, { ...recovery, scope }],
    ['to operate without a scope', recoveryOrder, { ...recovery, purpose: 'operate' }],
    ['without a reason', recoveryOrder, { ...recovery, reason: '' }],
    ['for ever', recoveryOrder, { ...recovery, validFor: 'P91D' }],
    ['for no time', recoveryOrder, { ...recovery, validFor: 'PT0S' }],
    ['for another kind of thing', recoveryOrder, { ...recovery, key: `rec_${'0'.repeat(32)}` }],
    [
      'that names a mechanism twice',
      recoveryOrder,
      { ...recovery, purpose: 'operate', scope: { ...scope, mechanisms: ['ES256', 'ES256'] } },
    ],
    [
      'with unlimited uses',
      recoveryOrder,
      { ...recovery, purpose: 'operate', scope: { ...scope, maxUses: 1e10 } },
    ],
    ['with messages and digests', signOrder, { mechanism: 'ES256', messages: ['AA'], digests: ['AA'] }],
    ['with nothing to sign', signOrder, { mechanism: 'ES256', messages: [] }],
    ['with too much to sign', signOrder, { mechanism: 'ES256', messages: Array<string>(257).fill('AA') }],
    ['with a digest that is none', signOrder, { mechanism: 'ES256', digests: ['AA'] }],
    ['with a mechanism that is none', signOrder, { mechanism: 'none', messages: ['AA'] }],
    ['with padding', signOrder, { mechanism: 'ES256', messages: ['AA=='] }],
    [
      'with an IV of another length',
      decryptOrder,
      { mechanism: 'A256GCM', ciphertexts: [{ ciphertext: 'AA', iv: 'AA' }] },
    ],
    ['with an empty ciphertext', decryptOrder, { mechanism: 'A256GCM', ciphertexts: [{ ciphertext: '' }] }],
    ['for a page that is too long', pageQuery, { limit: '201' }],
    ['for a page of text', pageQuery, { limit: '1e2' }],
  ])('%s is refused', (_what, schema, value) => {
    expect(schema.safeParse(value).success).toBe(false);
  });
});
