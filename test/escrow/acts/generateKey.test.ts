import type { KeyOrder } from '../../../src/escrow/acts/generateKey.js';
import { generateKey } from '../../../src/escrow/acts/generateKey.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import type { PrincipalId } from '../../../src/escrow/records/ids.js';
import { callIn, callOf, policyOf, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { DAMAGED, expectDamageFound, expectDone, expectNothingLeftAt, expectRefused } from './actCases.js';

const ORDER: KeyOrder = {
  ...{ owner: 'olga' as PrincipalId, spec: 'rsa-2048', use: 'sign', label: 'letters', deliver: false },
};

/** Each refusal: what is ordered by whom, and what is changed before. */
const REFUSED: Readonly<
  Record<
    string,
    {
      readonly code: ErrorCode;
      readonly by?: string;
      readonly order?: Partial<KeyOrder>;
      readonly before?: (world: SymbolicWorld) => void;
    }
  >
> = {
  'who is neither an administrator nor the owner': { code: 'forbidden', by: 'dana' },
  'an owner for somebody else': {
    ...{ code: 'forbidden', by: 'olga', order: { owner: 'mailer' as PrincipalId } },
  },
  'a key of nobody that is listed': { code: 'owner-unknown', order: { owner: 'otto' as PrincipalId } },
  'a use that the kind of key does not have': {
    ...{ code: 'key-use-unsupported', order: { spec: 'aes-256', use: 'sign' } },
  },
  'a kind of key that the token does not make': {
    ...{ code: 'key-spec-unsupported', order: { spec: 'ec-p256', use: 'sign' } },
  },
  'a key that no rule is for': {
    code: 'rule-missing',
    before: (world) => {
      world.policy = { ...policyOf({}), rules: [] };
    },
  },
  'a depositary whom the token does not trust': {
    code: 'depositary-not-enrolled',
    before: ({ escrow }) => {
      escrow.token.enrolled = () => Promise.resolve([]);
    },
  },
  'a depositary of whom the policy lists another key': {
    code: 'depositary-not-enrolled',
    before: (world) => {
      const { principals, ...policy } = policyOf({});
      const dana = principals.get('dana' as PrincipalId);
      if (dana === undefined) throw new Error('dana is not listed');
      world.policy = {
        ...policy,
        principals: new Map([...principals, [dana.id, { ...dana, depositaryKey: 'ab'.repeat(32) }]]),
      };
    },
  },
  'a copy for the owner that the rule does not allow': {
    ...{ code: 'delivery-not-allowed', order: { deliver: true } },
  },
  'a copy for an owner without a key for it': {
    code: 'delivery-key-missing',
    order: { deliver: true },
    before: (world) => {
      const policy = policyOf({});
      world.policy = { ...policy, rules: policy.rules.map((rule) => ({ ...rule, deliver: true })) };
    },
  },
};

test.each(Object.entries(REFUSED))('is refused: %s', async (_what, { code, by = 'ann', order, before }) => {
  const { world } = await worldOf({});
  before?.(world);
  await expectRefused(world, 'key.generate', code, () =>
    generateKey(world.escrow, callIn(world, by), { ...ORDER, ...order }),
  );
});

test.each(['ann', 'olga'])('makes one deposit, which its entries are about, for %s', async (by) => {
  const { world } = await worldOf({ people: ['dana', 'dave'], atLeast: 2 });
  const [known] = world.deposits.keys();
  const [attempted, done] = await expectDone(world, 'key.generate', () =>
    generateKey(world.escrow, callOf(by), ORDER),
  );
  const made = [...world.deposits.values()].filter(({ key }) => key !== known);
  expect(made).toMatchObject([{ owner: 'olga', label: 'letters', ownersCopy: undefined }]);
  const [deposit] = made;
  expect(attempted).toMatchObject({
    actor: by,
    subject: { key: deposit?.key, owner: 'olga' },
    detail: { spec: 'rsa-2048', use: 'sign', rule: 'all', policyVersion: 1, quorums: [['dana', 'dave']] },
  });
  const recipients = [{ depositary: 'dana' }, { depositary: 'dave' }];
  expect(done).toMatchObject({
    digest: deposit?.digest,
    detail: { delivered: false, shares: [{ purpose: 'operate', recipients }] },
  });
});

test.each([
  ...['generateUserKey', 'wrapUnderKek', 'generateShareKey', 'generateLayerKey', 'wrapToServerFor'],
  ...['wrapToDepositary', 'sealUnder', 'proveWrapped', 'proveSealed', 'unwrapLayer', 'openUnder'],
])('leaves no deposit when the token goes at %s', async (verb) => {
  const { world } = await worldOf({});
  await expectNothingLeftAt(world, 'key.generate', verb, () =>
    generateKey(world.escrow, callOf('ann'), ORDER),
  );
});

test.each(Object.entries(DAMAGED))('finds damage before there is a deposit: %s', async (_what, row) => {
  const { world } = await worldOf({});
  await expectDamageFound(world, 'key.generate', row, () => generateKey(world.escrow, callOf('ann'), ORDER));
});
