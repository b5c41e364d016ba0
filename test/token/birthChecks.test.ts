import type { Escrow } from '../../src/escrow/escrow.js';
import type { DepositPlan, KeyOrder } from '../../src/escrow/acts/deposits/planDeposit.js';
import { overwritten, sealDeposit, sealPurpose } from '../../src/escrow/acts/deposits/sealDeposit.js';
import { MEANS } from '../../src/escrow/ledger/means.js';
import type { Opened, Wrapped } from '../../src/escrow/ports/token.js';
import type { KeyId } from '../../src/escrow/records/ids.js';
import { GENERATED_SPECS, KEY_SPECS } from '../../src/escrow/records/keySpecs.js';
import type { Purpose } from '../../src/escrow/records/policy.js';
import { layersFor } from '../../src/escrow/records/sealing/layers.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import { readProfile } from '../../src/token/profile/profile.js';
import { type OpenToken, withWorkbench } from '../../src/token/service/openToken.js';
import { principal } from '../support/escrowChain.js';
import { oneBitOff } from '../support/keyFiles.js';
import { LIMITS_MS } from '../support/limits.js';
import { makeNss, NSS_PROFILE_FILE } from '../support/nss.js';
import { makeSoftHsm, SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';
import type { TestToken } from '../support/testToken.js';

jest.setTimeout(LIMITS_MS.token);

/* Before a deposit is recorded the token opens again what it has made: on real tokens, whose driver damages one thing at a time. */
describe.each([
  { name: 'SoftHSM 2.6', file: SOFTHSM_PROFILE_FILE, make: () => makeSoftHsm('births') },
  { name: 'NSS softokn 3', file: NSS_PROFILE_FILE, make: () => makeNss('births') },
])('$name', ({ file, make }) => {
  const specs = GENERATED_SPECS.filter((spec) => readProfile(file).keySpecs.includes(spec));
  let made: TestToken;
  let token: OpenToken;

  beforeAll(async () => {
    made = await make();
    for (const id of ['alice', 'bob']) await made.enrolDepositary(id);
    token = await made.open();
  });
  afterEach(() => {
    jest.restoreAllMocks();
  });
  afterAll(async () => {
    await token.close();
    made.remove();
  });

  // longer RSA keys take the same way, and long to make
  test.each(specs.filter((spec) => spec !== 'rsa-3072' && spec !== 'rsa-4096'))(
    '%s: comes back as the key, for each use and purpose, and no other does',
    async (spec) => {
      await token.lend(['generateUserKey', 'wrapUnderKek', 'proveWrapped'], async (lent) => {
        const one = await lent.generateUserKey(spec);
        const other = await lent.generateUserKey(spec);
        const REFUSED = { refused: true };
        const ways = KEY_SPECS[spec].uses.flatMap((use) =>
          (['operate', 'release'] as const).map((purpose) => ({ use, purpose })),
        );
        for (const { use, purpose } of ways) {
          const wrapped = await lent.wrapUnderKek(one.key, purpose, { spec, use });
          const proven = (more: object, of = wrapped): Promise<Opened<void>> =>
            lent.proveWrapped({ wrapped: of, purpose, spec, use, publicKey: one.publicKey, ...more });
          expect(await proven({})).toEqual({ opened: undefined });
          expect(await proven({ made: one.key })).toEqual({ opened: undefined });
          const damaged = sealed('kek', oneBitOff(Buffer.from(wrapped.sealed)));
          expect(await proven({}, { ...wrapped, sealed: damaged })).toEqual(REFUSED);
          expect(await proven({ made: other.key })).toEqual(REFUSED);
          // of an AES key nothing is known outside of the token
          if (spec !== 'aes-256') expect(await proven({ publicKey: other.publicKey })).toEqual(REFUSED);
          const otherKind: Purpose = purpose === 'operate' ? 'release' : 'operate';
          expect(await proven({ purpose: otherKind })).toEqual(REFUSED);
        }
      });
    },
  );

  // NSS has no curves here
  const kind = specs.includes('ec-p256')
    ? ({ spec: 'ec-p256', use: 'sign' } as const)
    : ({ spec: 'aes-256', use: 'decrypt' } as const);
  const ORDER: KeyOrder = { owner: principal('olga'), ...kind, label: '', deliver: false };
  const escrow = (): Escrow =>
    ({ token, tokenId: 'ab'.repeat(32), clock: { now: () => new Date(0) } }) as unknown as Escrow;
  const plan = async (): Promise<DepositPlan> =>
    ({
      key: `key_${'0'.repeat(32)}` as KeyId,
      policy: { version: 1, hash: '00'.repeat(32) },
      rule: { name: 'all', requesters: [], requests: {}, operate: { delayMs: 0, ownerMayVeto: false } },
      quorums: [[principal('alice'), principal('bob')]],
      depositaries: [...(await token.enrolled())].sort((a, b) => (a.id < b.id ? -1 : 1)),
      deliveryKey: undefined,
    }) as unknown as DepositPlan;

  /** What came of the last birth under its key-encryption key. */
  let born: Wrapped | undefined;
  const birth = async (): Promise<unknown> => {
    const planned = await plan();
    return token.lend(MEANS['key.generate'], async (lent) => {
      const user = { ...(await lent.generateUserKey(kind.spec)), born: 'inside' } as const;
      const wrapUnderKek: typeof lent.wrapUnderKek = async (...given) =>
        (born = await lent.wrapUnderKek(...given));
      return sealDeposit(escrow(), { ...lent, wrapUnderKek }, { order: ORDER, plan: planned, user });
    });
  };
  const isOverwritten = (wrapped = born): boolean => wrapped?.sealed.every((byte) => byte === 0) === true;

  /** As a key is sealed anew: under its key-encryption key it stays what it is. */
  const reseal = async (wrapped: Wrapped): Promise<unknown> => {
    const planned = await plan();
    const { key } = planned;
    const binding = { version: 2, generation: 2, token: 'ab'.repeat(32) } as const;
    const { rule } = planned;
    const deposit = { ...ORDER, ...rule, key, binding, publicKey: undefined, rule: undefined };
    const of = layersFor(deposit as never, 'operate', {
      quorums: planned.quorums,
      recipients: planned.depositaries,
    });
    return token.lend(MEANS['recovery.reseal'], (lent) =>
      overwritten(wrapped, () => sealPurpose(of, escrow(), lent, wrapped, planned)),
    );
  };

  const keptKey = (): Promise<Wrapped> =>
    token.lend(['generateUserKey', 'wrapUnderKek'], async (lent) => {
      const { key } = await lent.generateUserKey(kind.spec);
      return lent.wrapUnderKek(key, 'operate', kind);
    });

  /** The nth output of this call of the driver has one bit off. */
  async function damaging(call: 'C_WrapKey' | 'C_Encrypt', nth: number): Promise<void> {
    const driver = await withWorkbench(token, (parts) => Promise.resolve(parts.driver));
    const real = driver[call].bind(driver) as (...given: unknown[]) => Buffer;
    let calls = 0;
    jest.spyOn(driver, call).mockImplementation((...given: unknown[]) => {
      const output = real(...given);
      calls += 1;
      return calls === nth ? oneBitOff(output) : output;
    });
  }

  // wraps of a birth: C, C once more as its proof, L and R of alice, L and R of bob; of a reseal the first two are not there
  test.each([
    ['the key under its key-encryption key', 'C_WrapKey', 1, /the key under kek:operate:/],
    ['L of alice, to the server', 'C_WrapKey', 3, /the layer of alice|the copy sealed for/],
    ['L of bob, to the server', 'C_WrapKey', 5, /the layer of bob|the copy sealed for/],
    ['the link of alice', 'C_Encrypt', 1, /the link of alice/],
    ['the link of bob', 'C_Encrypt', 2, /the link of bob/],
    ['the inner layer', 'C_Encrypt', 3, /the copy sealed for alice and bob/],
    ['the outer layer', 'C_Encrypt', 4, /the copy sealed for alice and bob/],
  ] as const)(
    'damage of %s is found, at birth and when a key is sealed anew',
    async (_w, call, nth, said) => {
      const refusal = { code: 'token-unavailable', detail: expect.stringMatching(said) as unknown };
      await damaging(call, nth);
      await expect(birth()).rejects.toMatchObject(refusal);
      expect(isOverwritten()).toBe(true);
      jest.restoreAllMocks();
      const wraps = call === 'C_WrapKey';
      if (wraps && nth === 1) return;
      const wrapped = await keptKey();
      await damaging(call, wraps ? nth - 2 : nth);
      await expect(reseal(wrapped)).rejects.toMatchObject(refusal);
      expect(isOverwritten(wrapped)).toBe(true);
    },
  );

  test.each([4, 6])(
    'a share that is damaged (wrap %d) is not seen by the token: a drill shows it',
    async (nth) => {
      await damaging('C_WrapKey', nth);
      await expect(birth()).resolves.toBeDefined();
    },
  );

  test('without damage both are done, and the key under its key-encryption key is overwritten', async () => {
    await expect(birth()).resolves.toMatchObject({ deposit: { purposes: [{ purpose: 'operate' }] } });
    expect(isOverwritten()).toBe(true);
    const wrapped = await keptKey();
    await expect(reseal(wrapped)).resolves.toBeDefined();
    expect(isOverwritten(wrapped)).toBe(true);
  });
});
