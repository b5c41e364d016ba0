import { statementVerifier } from '../../../src/http/caller/statements.js';
import type { Identity } from '../identities.js';
import { jwsOver, newIdentity, statement } from '../identities.js';

const TYPE = 'escrowd-approval+jwt';
const keyOf = ({ jwk, alg, kid }: Identity) => ({ jwk, alg, thumbprint: kid });

describe('a statement', () => {
  const dana = newIdentity('dana');
  const second = newIdentity('dana', 'PS256');
  const keys = [keyOf(dana), keyOf(second)];

  test('signed by any of the keys is given back with what it says', async () => {
    for (const identity of [dana, second]) {
      const jws = statement(identity, TYPE, { iss: 'dana', scope: { deep: [1, null] } });
      expect(await statementVerifier.verify(jws, TYPE, keys)).toEqual({
        jws,
        payload: { iss: 'dana', scope: { deep: [1, null] } },
      });
    }
  });

  test.each<readonly [string, () => string]>([
    ['of another type', () => statement(dana, 'escrowd-request+jwt', {})],
    ['by somebody else', () => statement(newIdentity('eve'), TYPE, {})],
    [
      'by somebody else in the name of the key',
      () => statement({ ...newIdentity('eve'), kid: dana.kid }, TYPE, {}),
    ],
    ['by one key in the name of the other', () => statement({ ...dana, kid: second.kid }, TYPE, {})],
    ['without a kid', () => jwsOver(JSON.stringify({ alg: 'ES256', typ: TYPE }), '{}', dana)],
    [
      'that brings its own key',
      () => jwsOver(JSON.stringify({ alg: 'ES256', kid: dana.kid, typ: TYPE, jwk: dana.jwk }), '{}', dana),
    ],
    [
      'that names a member twice',
      () => jwsOver(JSON.stringify({ alg: 'ES256', kid: dana.kid, typ: TYPE }), '{"a":1,"a":2}', dana),
    ],
    ['in non-canonical base64url', () => `${statement(dana, TYPE, {})}=`],
    ['that is none', () => 'statement'],
  ])('%s does not verify', async (_what, make) => {
    expect(await statementVerifier.verify(make(), TYPE, keys)).toBeUndefined();
  });
});
