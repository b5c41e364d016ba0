import { actFits, ACTS_BY_CERTIFICATE, ACTS_OF_CALLERS } from '../../src/audit/askedActs.js';
import { routesOf } from '../../src/http/routes/index.js';
import type { Entry } from '../../src/log/entry/entry.js';

const subject = { key: 'key_1', recovery: 'rec_1', grant: 'grant_1' } as unknown as Entry['subject'];
const acts = routesOf({ identityKey: {}, logKey: '' }).flatMap(
  ({ method, path, access, takesCertificate }) =>
    access === 'public' || !access.isLedgered ? [] : [{ method, path, act: access.act, takesCertificate }],
);
const filled = (path: string, id = '1'): string =>
  path.replace(/:(\w+)/g, (_, of: string) => `${ids[of]}_${id}`);
const ids: Readonly<Record<string, string>> = { key: 'key', recovery: 'rec', grant: 'grant', import: 'imp' };
const fits = (act: string, method: string, target: string, spec = 'ec-p256'): boolean =>
  actFits(
    { act, subject, detail: { import: 'imp_1', spec } } as unknown as Entry,
    { method, target },
    labelOf,
  );
const labelOf = (grant: string): string | undefined => (grant === 'grant_1' ? 'mail' : undefined);

test('there are acts with routes', () => {
  expect(acts.length).toBeGreaterThan(15);
});

test.each([
  { what: 'the label of the key of its grant', target: '/v1/keys/mail/sign', expected: true },
  { what: 'another label', target: '/v1/keys/post/sign', expected: false },
  { what: 'the label, to decrypt', target: '/v1/keys/mail/decrypt', expected: false },
  { what: 'a label where its grant is named', target: '/v1/grants/mail/sign', expected: false },
])('a request to sign by $what: $expected', ({ target, expected }) => {
  expect(fits('grant.sign', 'POST', target)).toBe(expected);
});

test('of a grant that is remembered no more, any label fits what was refused, and nothing that was begun', () => {
  const target = { method: 'POST', target: '/v1/keys/mail/sign' };
  const of = (phase: string): Entry =>
    ({
      act: 'grant.sign',
      phase,
      subject: { key: 'key_1', grant: 'grant_2' },
      detail: {},
    }) as unknown as Entry;
  expect(actFits(of('denied'), target, labelOf)).toBe(true);
  expect(actFits(of('attempted'), target, labelOf)).toBe(false);
});

test.each([
  ['key', 'secret'],
  ['secret', 'ec-p256'],
])('a request to /v1/imports/{import}/%s is none to import a %s', (route, spec) => {
  expect(fits('key.import', 'POST', `/v1/imports/imp_1/${route}`, spec)).toBe(false);
});

describe.each(acts)(
  '$act, which the server does at $method $path',
  ({ act, method, path, takesCertificate }) => {
    test('is asked for by a signed request to that route alone, on that thing', () => {
      const spec = path.endsWith('/secret') ? 'secret' : 'ec-p256';
      expect(fits(act, method, filled(path), spec)).toBe(true);
      expect(fits(act, 'GET', filled(path), spec)).toBe(false);
      expect(fits(act, method, `${filled(path)}/`, spec)).toBe(false);
      if (path.includes(':')) expect(fits(act, method, filled(path, '2'), spec)).toBe(false);
      for (const other of acts.filter((each) => each.act !== act))
        expect(fits(act, other.method, filled(other.path))).toBe(false);
    });

    test('is not recorded without one, unless the daemon does it as well, or the route takes a certificate', () => {
      expect(ACTS_OF_CALLERS.has(act)).toBe(act !== 'recovery.activate' && act !== 'recovery.reseal');
      expect(ACTS_BY_CERTIFICATE.has(act)).toBe(takesCertificate);
    });
  },
);
