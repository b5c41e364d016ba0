import type { Ran } from './commandLine.js';
import { escrowctl, jsonOf } from './commandLine.js';
import type { Office } from './office.js';
import { openOffice } from './office.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.programs);

let office: Office;
beforeAll(async () => {
  office = await openOffice();
  office.server.routes.set('GET /v1/recoveries', () => ({ json: { items: [] } }));
});
afterAll(() => office.close());

/** A key as the server shows it; of its one purpose what becomes of its key-encryption key, where it says so. */
function keyUnder(kekState: string | undefined): object {
  return {
    ...{ key: `key_${'1'.repeat(32)}`, label: '', owner: 'olga', spec: 'ec-p256', use: 'sign' },
    ...{ createdAt: '2026-02-11T09:30:00.000Z', digest: 'd'.repeat(64) },
    rule: { name: 'finance', policyHash: 'e'.repeat(64), policyVersion: 3 },
    terms: { requests: { maxValidFor: 'P7D', approvalsHold: 'P7D', distinct: [] } },
    purposes: [{ purpose: 'operate', quorums: [['dana', 'dave']], recipients: [] }],
    coverage: {
      ...{ policyVersion: 3, isTokenAsked: kekState !== undefined },
      purposes: [
        {
          ...{ purpose: 'operate', live: [['dana', 'dave']], singlePoints: ['dana', 'dave'], unable: [] },
          ...(kekState === undefined ? {} : { kekState }),
        },
      ],
    },
  };
}

/** Asks for all that can go under newer key-encryption keys, of what is so. */
function olderKeks(kekState: string | undefined, ...more: readonly string[]): Promise<Ran> {
  office.server.routes.set('GET /v1/keys', () => ({ json: { items: [keyUnder(kekState)] } }));
  const asked = ['reseal', '--older-keks', '--reason', 'read', '--yes', '--as', office.dana];
  return escrowctl([...asked, ...more]);
}

test('that no key is left to be put under newer keys is said when it is known, and not while the token is out', async () => {
  const known = await olderKeks('newest');
  expect(known).toMatchObject({ exit: 0, err: '' });
  expect(known.out).toContain('No key that you may see is left to be asked for.');
  const unknown = await olderKeks(undefined);
  expect(unknown.exit).toBe(6);
  expect(unknown.out).not.toContain('left to be asked for.');
  expect(unknown.out).toContain('of 1 key the server does not say');
  expect(jsonOf(await olderKeks(undefined, '--json'))).toMatchObject({ requests: [], unsaid: 1 });
});

test('keys that stay under an older key are counted where none is left to be asked for', async () => {
  const { exit, out } = await olderKeks('not-rotatable');
  expect(exit).toBe(0);
  expect(out).toContain('1 key lies under an older key-encryption key and cannot be rotated');
});
