import { Directory, PolicyNotSigned } from '../../src/escrow/directory.js';
import type { Policy } from '../../src/escrow/records/policy.js';
import type { PolicyParser } from '../../src/escrow/ports/statements.ts';
import type { StoredPolicy } from '../../src/escrow/ports/store.ts';
import { principal } from '../support/escrowChain.js';

/* Signatures here are JSON that says who signed what; which keys they were checked by is the verifier's part. */
const ORIGIN = 'escrow.test/log';

/** A policy document is the list of its administrators. */
const parse: PolicyParser = (document, version): Policy => ({
  version,
  hash: `hash of ${document}`,
  administration: { quorum: document.startsWith('three') ? 3 : 2, floor: 2, minimumQuorum: 1 },
  principals: new Map(
    document.split(' ').map((name) => {
      const id = principal(name);
      const person = { kind: 'person', name, roles: ['admin'], attributes: {}, retired: false } as const;
      return [
        id,
        {
          id,
          ...person,
          keys: [],
          certificates: [],
          depositaryKey: undefined,
          deliveryKey: undefined,
          returns: undefined,
        },
      ];
    }),
  ),
  rules: [],
});

function signed(version: number, document: string, ...signers: readonly string[]): StoredPolicy {
  const hash = `hash of ${document}`;
  const signatures = signers.map((iss) =>
    JSON.stringify({ iss, aud: ORIGIN, hash, base: version - 1, exp: 0 }),
  );
  return { version, hash, document, signatures, appliedAt: undefined };
}

function directoryOf(stored: readonly StoredPolicy[]): Directory {
  const store = {
    policyVersion: () => Promise.resolve(stored.at(-1)?.version ?? 0),
    policies: (after: number, limit: number) =>
      Promise.resolve(stored.filter(({ version }) => version > after).slice(0, limit)),
  };
  // a signature is on top of the version before, unless it says otherwise
  const before = ['ann bob', ...stored.map(({ document }) => document)].map((name) => `hash of ${name}`);
  const verify = (jws: string): Promise<{ jws: string; payload: Readonly<Record<string, unknown>> }> => {
    const payload = JSON.parse(jws) as Readonly<Record<string, unknown>>;
    return Promise.resolve({ jws, payload: { replaces: before[Number(payload['base'])], ...payload } });
  };
  return new Directory(store, parse, parse('ann bob', 0), { statements: { verify }, logKey: ORIGIN });
}

const names = async (stored: readonly StoredPolicy[]): Promise<string> =>
  [...(await directoryOf(stored).current()).principals.keys()].join(' ');

test('the first administrators are in force until they have signed a policy', async () => {
  expect(await names([])).toBe('ann bob');
  expect(await names([signed(1, 'ann bob cleo', 'ann', 'bob')])).toBe('ann bob cleo');
});

test('a policy is followed when two administrators of the one before it have signed it', async () => {
  const first = signed(1, 'cleo dan', 'ann', 'bob');
  expect(await names([first, signed(2, 'eve fay', 'cleo', 'dan')])).toBe('eve fay');
  await expect(names([first, signed(2, 'eve fay', 'ann', 'bob')])).rejects.toThrow(PolicyNotSigned);
});

test.each<[string, StoredPolicy]>([
  ['nobody has signed', signed(1, 'mallory mel')],
  ['one administrator has signed, once or twice', signed(1, 'mallory mel', 'ann', 'ann')],
  ['those have signed whom it makes administrators', signed(1, 'mallory mel', 'mallory', 'mel')],
  ['was signed for another place', { ...signed(2, 'mallory mel', 'ann', 'bob'), version: 1 }],
  [
    'is not the document that was signed',
    { ...signed(1, 'cleo dan', 'ann', 'bob'), document: 'mallory mel' },
  ],
  [
    'was signed for another server',
    {
      ...signed(1, 'cleo dan'),
      signatures: ['ann', 'bob'].map((iss) =>
        JSON.stringify({ iss, aud: 'another/log', hash: 'hash of cleo dan', base: 0, exp: 0 }),
      ),
    },
  ],
  ['comes without those before it', signed(2, 'mallory mel', 'ann', 'bob')],
])('a policy that %s is not followed', async (_what, policy) => {
  await expect(names([policy])).rejects.toThrow(PolicyNotSigned);
});

test('a policy in the middle that was changed later is found, though the last one is signed', async () => {
  const last = signed(2, 'eve fay', 'mallory', 'mel');
  const changed = { ...signed(1, 'cleo dan', 'ann', 'bob'), document: 'mallory mel' };
  await expect(names([changed, last])).rejects.toThrow(PolicyNotSigned);
});

test('a policy that was taken back under a daemon is not forgotten', async () => {
  const stored = [signed(1, 'cleo dan', 'ann', 'bob'), signed(2, 'eve fay', 'cleo', 'dan')];
  const directory = directoryOf(stored);
  expect((await directory.current()).version).toBe(2);
  stored.pop();
  await expect(directory.current()).rejects.toThrow(PolicyNotSigned);
});

test('a version that was signed on top of another policy of the same number is not followed', async () => {
  const [first, second] = [signed(1, 'ann bob', 'ann', 'bob'), signed(2, 'ann bob cleo', 'ann', 'bob')];
  const elsewhere = second.signatures.map((jws) =>
    JSON.stringify({ ...(JSON.parse(jws) as object), replaces: 'hash of ann eve' }),
  );
  expect(await names([first, second])).toBe('ann bob cleo');
  await expect(names([first, { ...second, signatures: elsewhere }])).rejects.toThrow(PolicyNotSigned);
});

test('a policy that asks for three signatures is followed by one with three', async () => {
  const first = signed(1, 'three ann bob cleo', 'ann', 'bob');
  await expect(names([first, signed(2, 'ann bob', 'ann', 'bob')])).rejects.toThrow(PolicyNotSigned);
  expect(await names([first, signed(2, 'ann bob', 'ann', 'bob', 'cleo')])).toBe('ann bob');
});

describe('what is shown of policies is what was signed:', () => {
  const signedOnes = (): StoredPolicy[] => [
    signed(1, 'cleo dan', 'ann', 'bob'),
    signed(2, 'eve fay', 'cleo', 'dan'),
  ];
  const shown = async (
    directory: Directory,
    rows: readonly StoredPolicy[],
  ): Promise<readonly (readonly [number, string])[]> =>
    (await directory.signedAmong(rows)).map(({ version, signers }) => [version, signers.join(' ')] as const);

  test('each with those who signed it, whatever the row says of them', async () => {
    const stored = signedOnes();
    const directory = directoryOf(stored);
    expect((await directory.inForce()).document).toBe('eve fay');
    const others = stored.map((policy) => ({ ...policy, signatures: ['of somebody'] }));
    expect(await shown(directory, others)).toEqual([
      [1, 'ann bob'],
      [2, 'cleo dan'],
    ]);
  });

  test('not one that stands in the database only', async () => {
    const stored = signedOnes();
    const directory = directoryOf(stored);
    await directory.current();
    const rows = [...stored, signed(3, 'mallory mel')];
    expect((await shown(directory, rows)).map(([version]) => version)).toEqual([1, 2]);
  });

  test('and another in its place is found', async () => {
    const stored = signedOnes();
    const directory = directoryOf(stored);
    await directory.current();
    stored[1] = signed(2, 'mallory mel', 'cleo', 'dan');
    await expect(directory.inForce()).rejects.toMatchObject({ code: 'record-mismatch' });
    await expect(shown(directory, stored)).rejects.toMatchObject({ code: 'record-mismatch' });
  });
});
