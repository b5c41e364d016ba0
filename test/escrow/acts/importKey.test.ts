import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import type { ImportOrder } from '../../../src/escrow/acts/imports/importKey.js';
import { importKey } from '../../../src/escrow/acts/imports/importKey.js';
import type { ImportPair } from '../../../src/escrow/acts/imports/prepareImport.js';
import { MAX_IMPORT_PAIRS, prepareImport } from '../../../src/escrow/acts/imports/prepareImport.js';
import { sha256Hex } from '../../../src/escrow/records/digests.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import { type PrincipalId, parseId } from '../../../src/escrow/records/ids.js';
import type { Rule } from '../../../src/escrow/records/policy.js';
import { sealed } from '../../../src/escrow/records/sealing/sealed.js';
import { callIn, HOUR_MS, MINUTE_MS, policyOf, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { LOG_KEY, ORIGIN, strayLongAgo, wrappedTo } from '../symbolicWorld.js';
import { DAMAGED, expectDamageFound, expectDone, expectRefused } from './actCases.js';

const SECRET = 'the private key of olga';

/** A world whose only rule allows imports. */
async function importing(): Promise<SymbolicWorld> {
  const { world } = await worldOf({});
  world.policy = withRule({ import: true });
  return world;
}

function withRule(changed: Partial<Rule>): SymbolicWorld['policy'] {
  const policy = policyOf({});
  return { ...policy, version: 2, rules: policy.rules.map((rule) => ({ ...rule, ...changed })) };
}

async function prepared(world: SymbolicWorld, by = 'ann', validForMs = HOUR_MS): Promise<ImportPair> {
  return (await prepareImport(world.escrow, callIn(world, by), { validForMs })).answer;
}

/** The order for a key, not for a secret. */
type KeyOrder = Extract<ImportOrder, { readonly publicKey: unknown }>;

function orderOf({ id }: Pick<ImportPair, 'id'>, more: Partial<KeyOrder> = {}): KeyOrder {
  return {
    ...{ owner: 'olga' as PrincipalId, spec: 'rsa-2048', use: 'sign', label: 'old letters', deliver: false },
    pair: id,
    publicKey: Buffer.from(`SPKI of ${SECRET}`),
    wrapped: sealed('import', wrappedTo(id, SECRET)),
    ...more,
  };
}

const importing1 = (world: SymbolicWorld, order: ImportOrder, by = 'ann'): Promise<unknown> =>
  importKey(world.escrow, callIn(world, by), order);

/** Each refusal before anything is used up: by whom, and what is changed before. */
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
  'a kind of key that the token does not take': {
    ...{ code: 'key-spec-unsupported', order: { spec: 'ec-p256' } },
  },
  'a key whose rule says nothing of imports': {
    code: 'import-not-allowed',
    before: (world) => {
      world.policy = { ...withRule({}), version: 3 };
    },
  },
  'a copy for the owner that the rule does not allow': {
    ...{ code: 'delivery-not-allowed', order: { deliver: true } },
  },
  'an import key that there never was': {
    code: 'import-key-gone',
    order: { pair: parseId('ImportId', `imp_${'0'.repeat(32)}`) ?? ('' as never) },
  },
  'an import key that was made for somebody else': { code: 'import-key-gone', by: 'olga' },
  'an import key that is too old': {
    code: 'import-key-gone',
    before: (world) => {
      world.now = new Date(world.now.getTime() + HOUR_MS);
    },
  },
};

test.each(Object.entries(REFUSED))(
  'is refused, and the import key stands still: %s',
  async (_what, { code, by = 'ann', order, before }) => {
    const world = await importing();
    const pair = await prepared(world);
    before?.(world);
    await expectRefused(world, 'key.import', code, () => importing1(world, orderOf(pair, order), by));
    expect(world.facts.importPair(pair.id)).toBeDefined();
  },
);

test('the key is deposited as one that is made, and is said to be born outside, in entry, record and terms', async () => {
  const world = await importing();
  const pair = await prepared(world);
  const [attempted, done] = await expectDone(world, 'key.import', () => importing1(world, orderOf(pair)));
  const deposit = [...world.deposits.values()].find(({ bornOutside }) => bornOutside);
  expect(deposit).toMatchObject({ owner: 'olga', label: 'old letters', publicKey: orderOf(pair).publicKey });
  expect(attempted).toMatchObject({
    actor: 'ann',
    subject: { key: deposit?.key, owner: 'olga' },
    detail: {
      ...{ spec: 'rsa-2048', use: 'sign', rule: 'all', policyVersion: 2, quorums: [['dana', 'dave']] },
      ...{ import: pair.id, bornOutside: true, publicKey: sha256Hex(`SPKI of ${SECRET}`) },
    },
  });
  expect(done).toMatchObject({ digest: deposit?.digest, detail: { delivered: false } });
  expect(world.facts.deposit(deposit?.key ?? '')?.digest).toBe(deposit?.digest);
  expect(world.device.imports.has(pair.id)).toBe(false);
});

test('what the token attests of an import key is exactly this', async () => {
  const world = await importing();
  const { id, attestation, expiresAt } = await prepared(world, 'olga');
  const [header, payload] = attestation
    .split('.')
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as unknown);
  expect(header).toEqual({ alg: 'ES256', typ: 'escrowd-import+jwt' });
  expect(payload).toEqual({
    ...{ iss: ORIGIN, aud: LOG_KEY, import: id, for: 'olga', key: sha256Hex(id), oaep: 'RSA-OAEP' },
    iat: world.now.getTime() / 1000,
    exp: expiresAt.getTime() / 1000,
  });
});

describe('an import key is used up by the first import that the token is asked for, whatever comes of it', () => {
  const blob = (id: string, secret: string): ImportOrder['wrapped'] =>
    sealed('import', wrappedTo(id, secret));
  const ways: Readonly<Record<string, readonly [ErrorCode | 'done', (pair: ImportPair) => ImportOrder]>> = {
    'it is imported': ['done', (pair) => orderOf(pair)],
    'it does not open': ['import-malformed', (pair) => orderOf(pair, { wrapped: blob('another', SECRET) })],
    'it is another key': [
      'import-mismatch',
      (pair) => orderOf(pair, { wrapped: blob(pair.id, 'some other key') }),
    ],
  };

  test.each(Object.entries(ways))('%s', async (_what, [outcome, made]) => {
    const world = await importing();
    const before = world.deposits.size;
    const pair = await prepared(world);
    const came = await importing1(world, made(pair)).then(
      () => 'done',
      (error: unknown) => (error instanceof EscrowError ? error.code : error),
    );
    expect(came).toBe(outcome);
    expect(world.device.imports.has(pair.id)).toBe(false);
    expect(world.deposits.size).toBe(before + (outcome === 'done' ? 1 : 0));
    if (outcome !== 'done')
      expect(world.entries.at(-1)).toMatchObject({ act: 'key.import', phase: 'failed', error: outcome });
    await expectRefused(world, 'key.import', 'import-key-gone', () => importing1(world, orderOf(pair)));
  });

  test('of two imports at once one is done', async () => {
    const world = await importing();
    const pair = await prepared(world);
    const both = await Promise.allSettled([1, 2].map(() => importing1(world, orderOf(pair))));
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect([...world.deposits.values()].filter(({ bornOutside }) => bornOutside)).toHaveLength(1);
  });
});

test('a key that is not whole under its KEK is not deposited', async () => {
  const world = await importing();
  const usual = world.verbs['wrapUnderKek'];
  // SoftHSM writes two of three primes: 1,008 bytes
  world.verbs['wrapUnderKek'] = async (...given: never[]) => {
    const made = (await usual?.(...given)) as { sealed: Uint8Array };
    return { ...made, sealed: made.sealed.subarray(0, 1008) };
  };
  const before = world.deposits.size;
  const pair = await prepared(world);
  await expect(importing1(world, orderOf(pair))).rejects.toMatchObject({ code: 'import-malformed' });
  expect(world.deposits.size).toBe(before);
});

describe('when the token goes in the middle, there is no key and no deposit, and the import key is gone', () => {
  test.each([
    ...['unwrapImported', 'wrapUnderKek', 'generateShareKey', 'generateLayerKey', 'wrapToServerFor'],
    ...['wrapToDepositary', 'sealUnder'],
  ])('at %s', async (verb) => {
    const world = await importing();
    const before = world.deposits.size;
    const pair = await prepared(world);
    world.device.before = (name) => {
      if (name === verb) world.device.isOut = true;
    };
    await expect(importing1(world, orderOf(pair))).rejects.toMatchObject({ code: 'token-unavailable' });
    expect(world.entries.at(-1)).toMatchObject({ phase: 'failed', error: 'token-unavailable' });
    expect(world.device.imports.has(pair.id)).toBe(true);
    world.device.isOut = false;
    await keepHouse(world.escrow, world.journal, strayLongAgo(world));
    expect(world.device.imports.has(pair.id)).toBe(false);
    expect(world.deposits.size).toBe(before);
    await expectRefused(world, 'key.import', 'import-key-gone', () => importing1(world, orderOf(pair)));
  });
});

test('an import key that nobody uses goes when it is too old, and the log says so', async () => {
  const world = await importing();
  const pair = await prepared(world, 'ann', MINUTE_MS);
  expect(await keepHouse(world.escrow, world.journal)).toMatchObject({ expiredImports: 0, missing: [] });
  world.now = new Date(world.now.getTime() + MINUTE_MS);
  expect(await keepHouse(world.escrow, world.journal)).toMatchObject({ expiredImports: 1 });
  expect(world.device.imports.has(pair.id)).toBe(false);
  expect(world.entries.filter(({ act }) => act === 'import.expire')).toMatchObject([
    { phase: 'attempted', detail: { import: pair.id } },
    { phase: 'done' },
  ]);
  expect(await keepHouse(world.escrow, world.journal)).toMatchObject({ expiredImports: 0, strays: 0 });
});

test('an import key that is gone from the token is missed', async () => {
  const world = await importing();
  const pair = await prepared(world);
  world.device.imports.clear();
  const { missing } = await keepHouse(world.escrow, world.journal);
  expect(missing).toContain(`import:${pair.id}`);
});

test('so many import keys stand at once, of one person and of all; one that was used makes room', async () => {
  const world = await importing();
  const pairs: ImportPair[] = [];
  for (let made = 0; made < MAX_IMPORT_PAIRS.own; made += 1) pairs.push(await prepared(world));
  await expect(prepared(world)).rejects.toMatchObject({ code: 'imports-too-many' });
  expect(world.device.imports.size).toBe(MAX_IMPORT_PAIRS.own);
  await prepared(world, 'olga');
  const [first] = pairs;
  if (first === undefined) throw new Error('none was made');
  await importing1(world, orderOf(first));
  await prepared(world);
});

test('where no rule allows imports there are no import keys', async () => {
  const { world } = await worldOf({});
  await expectRefused(world, 'import.prepare', 'import-not-allowed', () => prepared(world));
});

test.each(Object.entries(DAMAGED))('finds damage before there is a deposit: %s', async (_what, row) => {
  const world = await importing();
  const pair = await prepared(world);
  const deposits = [...world.deposits.keys()];
  await expectDamageFound(world, 'key.import', row, async () => {
    try {
      await importing1(world, orderOf(pair));
    } finally {
      // the attempt has used it up, and it is put back for the records to be compared
      world.device.imports.add(pair.id);
    }
  });
  expect([...world.deposits.keys()]).toEqual(deposits);
});
