import { createPublicKey, verify, createHash } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Wrapped } from '../../src/escrow/ports/token.js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import type { KeySpec, KeyUse } from '../../src/escrow/records/keySpecs.js';
import type { Purpose } from '../../src/escrow/records/policy.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import { type CeremonyRecord, type EarlierRecord, readRecord } from '../../src/token/ceremony/record.js';
import { destroyOlderKeks } from '../../src/token/ceremony/destroyKeks.js';
import { requireDestructionMeant } from '../../src/token/ceremony/kekWords.js';
import { show } from '../../src/token/ceremony/show.js';
import { renew } from '../../src/token/ceremony/renew.js';
import { readPins } from '../../src/token/objects/ceremonyPins.js';
import { kekTemplate } from '../../src/token/profile/ceremonyTemplates.js';
import { type OpenToken, openToken } from '../../src/token/service/openToken.js';
import { newGrant, opened } from '../support/escrowChain.js';
import { LIMITS_MS } from '../support/limits.js';
import { type RawToken, openRaw } from '../support/rawToken.js';
import { type SoftHsm, makeSoftHsm } from '../support/softhsm.js';

jest.setTimeout(LIMITS_MS.token);

/* Keys of every kind under the first key-encryption keys of a token, which is then renewed: each test goes on from the one before. */
let hsm: SoftHsm;
let record: CeremonyRecord;

interface Kept {
  readonly purpose: Purpose;
  readonly spec: KeySpec;
  readonly use: KeyUse;
  readonly wrapped: Wrapped;
  readonly publicKey: Uint8Array | undefined;
}
let kept: readonly Kept[];
const of = (purpose: Purpose, spec: KeySpec): Kept => {
  const found = kept.find((one) => one.purpose === purpose && one.spec === spec);
  if (found === undefined) throw new Error('no such key');
  return found;
};

beforeAll(async () => {
  hsm = await makeSoftHsm();
  record = hsm.record();
  kept = await withOpen((token) =>
    token.lend(['generateUserKey', 'wrapUnderKek'], async (lent) => {
      const made: Kept[] = [];
      for (const [spec, use] of KINDS) {
        const { key, publicKey } = await lent.generateUserKey(spec);
        for (const purpose of ['operate', 'release'] as const) {
          const wrapped = await lent.wrapUnderKek(key, purpose, { spec, use });
          made.push({ purpose, spec, use, wrapped, publicKey });
        }
      }
      return made;
    }),
  );
  record = await renew(order());
});
afterEach(() => {
  jest.restoreAllMocks();
});
afterAll(() => {
  hsm.remove();
});

const KINDS = [
  ['ec-p256', 'sign'],
  ['rsa-2048', 'decrypt'],
  ['aes-256', 'decrypt'],
] as const satisfies readonly (readonly [KeySpec, KeyUse])[];
const V1 = ['kek:operate:sign:v1', 'kek:release:private:v1'];

const pins = () => ({ soPin: Buffer.from(hsm.soPin), userPin: Buffer.from(hsm.userPin) });
const before = (): EarlierRecord => readRecord(JSON.stringify(record), hsm.place);
const order = () => ({ ...hsm.place, ...pins(), now: new Date('2030-01-02T03:04:05Z'), before: before() });
const destroyed = (...keks: readonly string[]): Promise<CeremonyRecord> =>
  destroyOlderKeks({ ...order(), keks });

async function withOpen<T>(use: (token: OpenToken) => Promise<T>): Promise<T> {
  const token = await openToken({
    ...hsm.place,
    pin: pins().userPin,
    pins: readPins(JSON.stringify(record), hsm.place),
  });
  try {
    return await use(token);
  } finally {
    await token.close();
  }
}

function raw<T>(work: (raw: RawToken) => T): T {
  const open = openRaw(hsm, 'user');
  try {
    return work(open);
  } finally {
    open.close();
  }
}
const labelled = (label: string): number =>
  raw((open) => open.find([{ type: pkcs11.CKA_LABEL, value: label }]).length);

/** Under another key-encryption key; or with what it ends. */
const rewrapped = (one: Kept, to: string): Promise<Wrapped | string> =>
  withOpen((token) =>
    token.lend(['rewrap'], async (lent) => {
      try {
        const answer = await lent.rewrap({ ...one, to });
        return 'opened' in answer ? answer.opened : 'refused';
      } catch (error) {
        return error instanceof EscrowError ? error.code : String(error);
      }
    }),
  );

const signs = (wrapped: Wrapped, publicKey: Uint8Array): Promise<boolean> =>
  withOpen((token) =>
    token.lend(['raiseGrant', 'sign', 'destroyGrant'], async (lent) => {
      const grant = newGrant();
      opened(await lent.raiseGrant({ grant, wrapped, spec: 'ec-p256', use: 'sign', mechanisms: ['ES256'] }));
      const message = Buffer.from('after the rotation');
      const made: Uint8Array[] = [];
      const digest = createHash('sha256').update(message).digest();
      await lent.sign(grant, 'ec-p256', 'ES256', [digest], (signature) => made.push(signature));
      await lent.destroyGrant(grant);
      const key = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
      const [signature = new Uint8Array()] = made;
      return verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature);
    }),
  );

/** While this renews, the token keeps a second rotating handle of each of these kinds, under another label. */
async function renewedWithHiddenHandles(kinds: readonly string[]): Promise<void> {
  const driver = pkcs11.PKCS11.prototype;
  type Derive = (this: pkcs11.PKCS11, ...given: unknown[]) => pkcs11.Handle;
  const real: unknown = Reflect.get(driver, 'C_DeriveKey');
  const labelIn = (template: pkcs11.Template): string =>
    String(template.find(({ type }) => type === pkcs11.CKA_LABEL)?.value);
  jest.spyOn(driver, 'C_DeriveKey').mockImplementation(function (this: pkcs11.PKCS11, ...given) {
    const [session, mechanism, key, template] = given;
    const derive = (as: pkcs11.Template): pkcs11.Handle =>
      (real as Derive).call(this, session, mechanism, key, as);
    if (kinds.some((kind) => labelIn(template).startsWith(`kek-rotate:${kind}:`)))
      derive(
        template.map((row) =>
          row.type === pkcs11.CKA_LABEL ? { type: row.type, value: `hidden ${labelIn(template)}` } : row,
        ),
      );
    return derive(template);
  });
  record = await renew(order());
  jest.restoreAllMocks();
}

test('a key of each kind goes under the newest key-encryption key, and is what it was', async () => {
  for (const one of kept) {
    const to = one.wrapped.kek.replace(':v1', ':v2');
    const after = await rewrapped(one, to);
    expect(after).toMatchObject({ kek: to });
    if (typeof after === 'string') continue;
    expect(after.sealed).toHaveLength(one.wrapped.sealed.length);
    expect(Buffer.from(after.sealed).equals(one.wrapped.sealed)).toBe(false);
    if (one.purpose === 'operate' && one.publicKey !== undefined && one.use === 'sign')
      expect(await signs(after, one.publicKey)).toBe(true);
  }
  const held = await withOpen((token) => token.keks());
  expect(
    held
      .filter(({ hasRotatingHandle }) => hasRotatingHandle)
      .map(({ label }) => label)
      .sort(),
  ).toEqual(
    [1, 2].flatMap((v) => ['decrypt', 'secret', 'sign'].map((kind) => `kek:operate:${kind}:v${v}`)).sort(),
  );
  expect(held).toHaveLength(10);
});

test('what is no ciphertext under it, or of another kind, is refused', async () => {
  const signing = of('operate', 'ec-p256');
  const damaged = Buffer.from(signing.wrapped.sealed);
  damaged[9] = (damaged[9] ?? 0) ^ 1;
  const to = 'kek:operate:sign:v2';
  const as = (wrapped: Partial<Wrapped>): Kept => ({
    ...signing,
    wrapped: { ...signing.wrapped, ...wrapped },
  });
  expect(await rewrapped(as({ sealed: sealed('kek', damaged) }), to)).toBe('refused');
  expect(await rewrapped(as({ sealed: of('operate', 'aes-256').wrapped.sealed }), to)).toBe('refused');
  expect(await rewrapped(as({ kek: 'kek:release:private:v1' }), to)).toBe('refused');
  expect(await rewrapped(signing, 'kek:operate:decrypt:v2')).toBe('internal');
  expect(await rewrapped(signing, 'kek:operate:sign:v7')).toBe('token-object-missing');
  // the control
  expect(await rewrapped(signing, to)).toMatchObject({ kek: to });
});

test('that the token does not wrap under the new one is no fault of the ciphertext, and ends no request', async () => {
  const driver = pkcs11.PKCS11.prototype;
  const real: unknown = Reflect.get(driver, 'C_WrapKey');
  let wraps = 0;
  jest.spyOn(driver, 'C_WrapKey').mockImplementation(function (this: pkcs11.PKCS11, ...given) {
    const [, , , , room] = given as unknown as readonly [unknown, unknown, unknown, unknown, Buffer];
    // check values of the KEKs are told by 64 bytes
    if (room.length > 64) {
      wraps += 1;
      throw new Error('CKR_GENERAL_ERROR:5');
    }
    return (real as (this: pkcs11.PKCS11, ...all: unknown[]) => Buffer).apply(this, given);
  });
  expect(await rewrapped(of('operate', 'ec-p256'), 'kek:operate:sign:v2')).toBe('token-unavailable');
  expect(wraps).toBe(1);
});

test('what is called a key-encryption key and wraps nothing stops no ceremony unnamed, and is shown', async () => {
  const planted = 'kek:operate:sign:v8';
  raw(({ driver, session }) => {
    const template = kekTemplate('operate:sign', planted, 0x210a);
    driver.C_GenerateKey(
      session,
      { mechanism: pkcs11.CKM_AES_KEY_GEN },
      template.map((row) => (row.type === pkcs11.CKA_WRAP ? { ...row, value: false } : row)),
    );
  });
  try {
    expect(await destroyed('kek:operate:sign:v1').catch(String)).toContain(
      `holds ${planted}, which the record does not have`,
    );
    const shown = await show({ ...hsm.place, userPin: pins().userPin, events: [] });
    expect(shown.objects.find(({ label }) => label === planted)).not.toHaveProperty('checkValue');
    expect(shown.objects.find(({ label }) => label === 'kek:operate:sign:v1')).toHaveProperty('checkValue');
  } finally {
    raw((open) => {
      const { driver, session } = open;
      for (const object of open.find([{ type: pkcs11.CKA_LABEL, value: planted }]))
        driver.C_DestroyObject(session, object);
    });
  }
});

test('by a record without check values nothing is destroyed: what is called the newest may be of anybody', async () => {
  const without = { ...before(), checkValues: new Map<string, string>() };
  await expect(destroyOlderKeks({ ...order(), before: without, keks: V1 })).rejects.toThrow(
    /no check values .*ceremony show --json.* Nothing was destroyed/,
  );
  expect(labelled('kek:operate:sign:v1')).toBe(1);
});

test('nothing goes under a key-encryption key that the security officer has not made trusted, nor one without a record', async () => {
  const planted = 'kek:operate:sign:v9';
  raw(({ driver, session }) => {
    driver.C_GenerateKey(
      session,
      { mechanism: pkcs11.CKM_AES_KEY_GEN },
      kekTemplate('operate:sign', planted, 0x210a),
    );
  });
  try {
    // by what the daemon checks, and by the token: the rotating key goes out under no such key
    expect(await rewrapped(of('operate', 'ec-p256'), planted)).toBe('token-unavailable');
    expect((await withOpen((token) => token.keks())).map(({ label }) => label)).not.toContain(planted);
    expect(await destroyed('kek:operate:sign:v1').catch(String)).toContain('which the record does not have');
  } finally {
    raw((open) => {
      const { driver, session } = open;
      for (const object of open.find([{ type: pkcs11.CKA_LABEL, value: planted }]))
        driver.C_DestroyObject(session, object);
    });
  }
});

test.each([
  ['the newest', ['kek:operate:sign:v2'], /is the newest of its kind: .*ceremony renew/],
  ['one of several that is the newest', ['kek:operate:sign:v1', 'kek:release:secret:v2'], /is the newest/],
  ['what is no label of one', ['identity'], /is not the label of a key-encryption key/],
  ['its rotating handle alone', ['kek-rotate:operate:sign:v1'], /is not the label/],
  ['one that was never there', ['kek:operate:sign:v0x'], /is not the label/],
  [
    'one of no kind that the token has',
    ['kek:operate:v1'],
    /does not hold kek:operate:v1: .*nothing to destroy/,
  ],
])('%s is not destroyed, and nothing else is', async (_what, keks, why) => {
  await expect(destroyed(...keks)).rejects.toThrow(why);
  expect(labelled('kek:operate:sign:v1')).toBe(1);
  expect(labelled('kek-rotate:operate:sign:v1')).toBe(1);
});

test('nor without the PIN of the security officer, nor unless somebody has typed what goes', async () => {
  const wrong = { ...order(), soPin: Buffer.from('another-pin'), keks: V1 };
  await expect(destroyOlderKeks(wrong)).rejects.toThrow('PIN of the security officer');
  expect(labelled('kek:operate:sign:v1')).toBe(1);
  const typing = (text: string | undefined, isSaid = false): Promise<void> =>
    requireDestructionMeant({ ask: () => Promise.resolve(text) }, V1, isSaid);
  await expect(typing('yes')).rejects.toThrow('That is not kek:operate:sign:v1 kek:release:private:v1');
  await expect(typing(undefined)).rejects.toThrow('add --yes');
  await typing(`${V1.join('  ')} `);
  await typing(undefined, true);
});

test('all objects with its value are destroyed, copies as well; killed at any point it goes on, and what lay under it opens no more', async () => {
  // what anybody with the user PIN can make of a trusted key
  raw((open) => {
    const { driver, session } = open;
    const [kek] = open.find([{ type: pkcs11.CKA_LABEL, value: 'kek:operate:sign:v1' }]);
    driver.C_CopyObject(session, kek ?? Buffer.alloc(8), []);
  });
  expect(labelled('kek:operate:sign:v1')).toBe(2);
  const moved = await rewrapped(of('release', 'ec-p256'), 'kek:release:private:v2');
  let kills = 0;
  for (let left = 0; ; left += 1) {
    killedAtDestruction(left);
    const ended = await destroyed(...V1).then(
      (made) => made,
      (error: unknown) => String(error),
    );
    jest.restoreAllMocks();
    if (typeof ended !== 'string') {
      record = ended;
      break;
    }
    expect(ended).toContain('killed');
    kills += 1;
    // a daemon starts with it, whatever there is left
    expect((await withOpen((token) => token.keks())).map(({ label }) => label)).toContain(
      'kek:operate:sign:v2',
    );
  }
  // one object goes before each kill: the key, its copy, its handle, the key for releases
  expect(kills).toBeGreaterThan(1);
  for (const label of [...V1, 'kek-rotate:operate:sign:v1']) expect(labelled(label)).toBe(0);
  expect(record.objects.map(({ label }) => label)).not.toContain('kek:operate:sign:v1');
  expect(record.events.at(-1)?.what).toMatch(/^destroyed: kek:operate:sign:v1 \(check value [0-9a-f]{64}; /);
  await expect(destroyed(...V1)).rejects.toThrow('there is nothing to destroy');
  expect(await rewrapped(of('operate', 'ec-p256'), 'kek:operate:sign:v2')).toBe('token-object-missing');
  expect(await rewrapped(of('release', 'ec-p256'), 'kek:release:private:v2')).toBe('token-object-missing');
  expect(moved).toMatchObject({ kek: 'kek:release:private:v2' });
  expect((await withOpen((token) => token.keks())).map(({ label }) => label)).not.toContain(
    'kek:operate:sign:v1',
  );
});

test('a rotating handle under another label goes with its key-encryption key, and no other does', async () => {
  await renewedWithHiddenHandles(['operate:sign', 'operate:secret']);
  const [signing, secret] = [
    'hidden kek-rotate:operate:sign:v3',
    'hidden kek-rotate:operate:secret:v3',
  ] as const;
  expect([signing, secret].map(labelled)).toEqual([1, 1]);
  // the old one first: what is of the newer one stays
  record = await destroyed('kek:operate:sign:v2');
  expect([signing, secret].map(labelled)).toEqual([1, 1]);
  record = await renew(order());
  record = await destroyed('kek:operate:sign:v3');
  expect([signing, secret].map(labelled)).toEqual([0, 1]);
  expect(record.events.at(-1)?.what).toContain('; 3 objects of this token)');
  record = await destroyed('kek:operate:secret:v3');
  expect([signing, secret].map(labelled)).toEqual([0, 0]);
  for (const kind of ['sign', 'secret'])
    expect([`kek:operate:${kind}:v4`, `kek-rotate:operate:${kind}:v4`].map(labelled)).toEqual([1, 1]);
});

/** The program is killed before it destroys an object that the token keeps for the nth time; nothing follows. */
function killedAtDestruction(nth: number): void {
  let left = nth;
  const driver = pkcs11.PKCS11.prototype;
  const real: unknown = Reflect.get(driver, 'C_DestroyObject');
  jest.spyOn(driver, 'C_DestroyObject').mockImplementation(function (this: pkcs11.PKCS11, session, object) {
    const [kept_] = this.C_GetAttributeValue(session, object, [{ type: pkcs11.CKA_TOKEN }]);
    if (Buffer.isBuffer(kept_?.value) && kept_.value[0] === 1) left -= 1;
    if (left < 0) throw new Error('killed');
    (real as (this: pkcs11.PKCS11, ...given: unknown[]) => void).call(this, session, object);
  });
}
