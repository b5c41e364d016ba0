import { claimBinding } from '../../src/escrow/certificate.js';
import type { CertifiedCall, Escrow } from '../../src/escrow/context.js';
import type { PrincipalId } from '../../src/escrow/ids.js';
import type { Policy } from '../../src/escrow/policy.js';
import type { Principal } from '../../src/escrow/principals.js';

const app = (id: string, ...certificates: string[]): Principal => ({
  id: id as PrincipalId,
  kind: 'app',
  name: id,
  roles: ['app'],
  attributes: {},
  keys: [],
  certificates,
  depositaryKey: undefined,
  deliveryKey: undefined,
  retired: false,
  returns: undefined,
});
const mailer = app('mailer', 'its certificate');
const call: CertifiedCall = {
  caller: mailer,
  request: undefined,
  certificate: 'its certificate',
  policyVersion: 3,
};

/** An escrow with this policy in force, version 4; `undefined` when it may not be asked. */
function withPolicy(...principals: Principal[]): Escrow {
  const policy = {
    version: 4,
    principals: new Map(principals.map((one) => [one.id, one])),
  } as unknown as Policy;
  return { directory: { current: () => Promise.resolve(policy) } } as unknown as Escrow;
}

test('a call by certificate claims the policy by which it was let in, without asking again', async () => {
  const claim = claimBinding({} as Escrow, call);
  expect(await claim()).toEqual([{ claim: 'policy-in-force', version: 3 }]);
});

test('once that policy is gone, it claims the next one if that binds the certificate too', async () => {
  const claim = claimBinding(withPolicy(mailer), call);
  await claim();
  expect(await claim()).toEqual([{ claim: 'policy-in-force', version: 4 }]);
});

test.each([
  ['to nobody', [app('mailer')]],
  ['to another app', [app('mailer'), app('printer', 'its certificate')]],
  ['to an app that is gone', []],
])('once the certificate is bound %s, the call is refused', async (_name, principals) => {
  const claim = claimBinding(withPolicy(...principals), call);
  await claim();
  await expect(claim()).rejects.toMatchObject({ code: 'caller-unknown' });
});

test('a signed call claims nothing', async () => {
  const request = { jws: 'a.b.c', kid: 'k', jti: 'j', expiresAt: new Date() };
  expect(await claimBinding({} as Escrow, { caller: mailer, request })()).toEqual([]);
});
