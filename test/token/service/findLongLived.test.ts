import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import type { Template } from '../../../src/token/cryptoki/attributes.js';
import { kekTemplate } from '../../../src/token/profile/ceremonyTemplates.js';
import { Mechanisms } from '../../../src/token/profile/mechanisms.js';
import type { OpenTokenOptions } from '../../../src/token/service/openToken.js';
import { openToken } from '../../../src/token/service/openToken.js';
import { readPins } from '../../../src/token/objects/ceremonyPins.js';
import { deposit } from '../../support/escrowChain.js';
import type { RawToken } from '../../support/rawToken.js';
import { openRaw } from '../../support/rawToken.js';
import type { SoftHsm, TestDepositary } from '../../support/softhsm.js';
import { enrolledSoftHsm, makeSoftHsm } from '../../support/softhsm.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

let hsm: SoftHsm;
let alice: TestDepositary;

beforeAll(async () => {
  const made = await enrolledSoftHsm('alice');
  hsm = made.hsm;
  [alice] = made.people;
});
afterAll(() => {
  hsm.remove();
});

const options = (more: Partial<OpenTokenOptions> = {}): OpenTokenOptions => ({
  ...hsm.place,
  pin: Buffer.from(hsm.userPin),
  ...more,
});

test('a wrong PIN is tried once, and said to be refused', async () => {
  const logins = jest.spyOn(pkcs11.PKCS11.prototype, 'C_Login');
  const pin = Buffer.from('wrong-pin');
  const opening = openToken(options({ pin }));
  await expect(opening).rejects.toMatchObject({ name: 'TokenNotReady', reason: 'pin-refused' });
  expect(logins).toHaveBeenCalledTimes(1);
  logins.mockRestore();
  expect(pin).toEqual(Buffer.alloc(9));
  const token = await hsm.open();
  await token.close();
});

test('the PIN is zeroed once the token is open', async () => {
  const pin = Buffer.from(hsm.userPin);
  const token = await openToken(options({ pin }));
  expect(pin.every((byte) => byte === 0)).toBe(true);
  await token.close();
});

test('a label that no token has, and a module that is not there, are said to be missing', async () => {
  await expect(openToken(options({ label: 'another' }))).rejects.toMatchObject({
    reason: 'token-missing',
    message: expect.stringMatching(
      `^There is no token called "another"; the module shows "${hsm.place.label}". Correct the label`,
    ) as string,
  });
  const modulePath = '/nonexistent/module.so';
  await expect(openToken(options({ modulePath }))).rejects.toMatchObject({ reason: 'module-missing' });
});

test('something that is no PKCS#11 module is refused', async () => {
  const modulePath = join(hsm.directory, 'module.so');
  writeFileSync(modulePath, 'not a library');
  await expect(openToken(options({ modulePath }))).rejects.toMatchObject({ reason: 'module-refused' });
});

test.each(['kek:operate:sign:v1', 'kek:release:secret:v1', 'identity', 'log'])(
  'without %s the token is not ready, and nothing is made in its place',
  async (label) => {
    const other = await makeSoftHsm('without-one');
    try {
      const raw = openRaw(other, 'user');
      for (const object of raw.find([{ type: pkcs11.CKA_LABEL, value: label }])) {
        raw.driver.C_DestroyObject(raw.session, object);
      }
      const before = raw.find([]).length;
      raw.close();
      await expect(other.open()).rejects.toMatchObject({
        reason: 'objects-missing',
        message: `The token does not hold ${label}. Run the ceremony (scripts/ceremony init) first.`,
      });
      const after = openRaw(other, 'user');
      expect(after.find([])).toHaveLength(before);
      after.close();
    } finally {
      other.remove();
    }
  },
);

test('a KEK that was not born in the token is not used', async () => {
  const other = await makeSoftHsm('imported-kek');
  try {
    const raw = openRaw(other, 'user');
    const label = { type: pkcs11.CKA_LABEL, value: 'kek:release:private:v1' };
    for (const object of raw.find([label])) raw.driver.C_DestroyObject(raw.session, object);
    raw.driver.C_CreateObject(raw.session, [
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
      { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
      { type: pkcs11.CKA_TOKEN, value: true },
      { type: pkcs11.CKA_PRIVATE, value: true },
      { type: pkcs11.CKA_SENSITIVE, value: true },
      { type: pkcs11.CKA_EXTRACTABLE, value: false },
      { type: pkcs11.CKA_WRAP, value: true },
      { type: pkcs11.CKA_UNWRAP, value: true },
      { type: pkcs11.CKA_VALUE, value: Buffer.alloc(32, 1) },
      label,
    ]);
    raw.close();
    await expect(other.open()).rejects.toMatchObject({ name: 'TokenNotReady', reason: 'objects-wrong' });
  } finally {
    other.remove();
  }
});

describe('somebody with the user PIN plants a newer KEK', () => {
  type Planted = (raw: RawToken) => void;
  const kwp = (): number => new Mechanisms(hsm.place.profile).number('keyWrapWithPadding');
  const V1 = 'kek:release:private:v1';
  const V2 = 'kek:release:private:v2';
  const generate = (raw: RawToken, template: Template): Handle =>
    raw.driver.C_GenerateKey(raw.session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, template);
  const without = (template: Template, ...types: number[]): Template =>
    template.filter(({ type }) => !types.includes(type));
  const first = (template: Template, ...more: Template): Template => [
    ...more,
    ...without(template, ...more.map(({ type }) => type)),
  ];
  const genuine = (): Template => kekTemplate('release:private', V2, kwp());

  /** A token of its own, and what it says when it is opened. */
  async function planted(
    plant: Planted,
    pinned: 'record' | 'no record',
    label = 'planted',
  ): Promise<{ readonly outcome: unknown; readonly alarms: readonly unknown[] }> {
    const other = await makeSoftHsm(label);
    const alarms: unknown[] = [];
    try {
      const pins = readPins(JSON.stringify(other.record()), { label });
      const raw = openRaw(other, 'user');
      try {
        plant(raw);
      } finally {
        raw.close();
      }
      const token = await openToken({
        ...other.place,
        pin: Buffer.from(other.userPin),
        ...(pinned === 'record' ? { pins } : {}),
        log: (level, _message, fields) => alarms.push({ level, ...fields }),
      });
      try {
        const wrapped = await token.lend(['generateUserKey', 'wrapUnderKek'], async (lent) =>
          lent.wrapUnderKek((await lent.generateUserKey('ec-p256')).key, 'release', {
            spec: 'ec-p256',
            use: 'sign',
          }),
        );
        return { outcome: wrapped.kek, alarms };
      } finally {
        await token.close();
      }
    } catch (error) {
      return { outcome: error, alarms };
    } finally {
      other.remove();
    }
  }

  const deviating: readonly (readonly [string, string, () => Template])[] = [
    ['may decrypt', 'CKA_DECRYPT', () => first(genuine(), { type: pkcs11.CKA_DECRYPT, value: true })],
    [
      'can be changed',
      'CKA_MODIFIABLE',
      () => first(genuine(), { type: pkcs11.CKA_MODIFIABLE, value: true }),
    ],
    ['can be copied', 'CKA_COPYABLE', () => first(genuine(), { type: pkcs11.CKA_COPYABLE, value: true })],
    [
      'has no template for what it unwraps',
      'CKA_UNWRAP_TEMPLATE',
      () => without(genuine(), pkcs11.CKA_UNWRAP_TEMPLATE),
    ],
    [
      'may do any mechanism',
      'CKA_ALLOWED_MECHANISMS',
      () => without(genuine(), pkcs11.CKA_ALLOWED_MECHANISMS),
    ],
    ['is shorter', 'CKA_VALUE_LEN', () => first(genuine(), { type: pkcs11.CKA_VALUE_LEN, value: 16 })],
    [
      'is seen by everybody',
      'CKA_PRIVATE',
      () => first(genuine(), { type: pkcs11.CKA_PRIVATE, value: false }),
    ],
  ];
  test.each(deviating)(
    'that %s: it is not used, and an alarm names %s',
    async (_how, attribute, template) => {
      const { outcome, alarms } = await planted((raw) => generate(raw, template()), 'no record');
      expect(outcome).toMatchObject({ name: 'TokenNotReady', reason: 'objects-wrong' });
      const what = expect.stringContaining(attribute) as string;
      expect(alarms).toContainEqual({ level: 'error', alarm: 'token-object-differs', what });
    },
  );

  test('that cannot be told by its attributes: the record of the ceremony does not have it, and it is not used', async () => {
    const perfect: Planted = (raw) => generate(raw, genuine());
    const unpinned = await planted(perfect, 'no record');
    expect(unpinned).toEqual({ outcome: V2, alarms: [] });
    const { outcome, alarms } = await planted(perfect, 'record');
    expect(outcome).toBe(V1);
    expect(alarms).toEqual([
      { level: 'error', alarm: 'token-object-unrecorded', what: expect.stringContaining(V2) as string },
    ]);
  });

  test('in the place of the one of the ceremony: it has another check value, and it is not used', async () => {
    const swap: Planted = (raw) => {
      const label = { type: pkcs11.CKA_LABEL, value: 'kek:release:private:v1' };
      for (const object of raw.find([label])) raw.driver.C_DestroyObject(raw.session, object);
      generate(raw, kekTemplate('release:private', V1, kwp()));
    };
    const { outcome, alarms } = await planted(swap, 'record');
    expect(outcome).toMatchObject({ name: 'TokenNotReady', reason: 'objects-wrong' });
    expect(alarms).toContainEqual(expect.objectContaining({ alarm: 'token-object-unrecorded' }));
  });

  test('beside the one of the ceremony, under its label: neither is used', async () => {
    const beside: Planted = (raw) => generate(raw, first(genuine(), { type: pkcs11.CKA_LABEL, value: V1 }));
    const { outcome, alarms } = await planted(beside, 'record');
    expect(outcome).toMatchObject({ name: 'TokenNotReady', reason: 'objects-wrong' });
    expect(alarms).toContainEqual(expect.objectContaining({ alarm: 'token-object-twice' }));
  });

  test.each(['identity', 'log'] as const)(
    'and a second %s that is no secret: neither is used',
    async (label) => {
      const { outcome, alarms } = await planted((raw) => {
        const params = { type: pkcs11.CKA_EC_PARAMS, value: Buffer.from('06082a8648ce3d030107', 'hex') };
        raw.driver.C_GenerateKeyPair(
          raw.session,
          { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
          [{ type: pkcs11.CKA_TOKEN, value: false }, params],
          [
            { type: pkcs11.CKA_TOKEN, value: true },
            { type: pkcs11.CKA_PRIVATE, value: false },
            { type: pkcs11.CKA_LABEL, value: label },
          ],
        );
      }, 'no record');
      expect(outcome).toMatchObject({ name: 'TokenNotReady', reason: 'objects-wrong' });
      expect(alarms).toContainEqual(expect.objectContaining({ alarm: 'token-object-twice' }));
    },
  );

  test('and the keys of another ceremony: the record is of others', async () => {
    const other = await makeSoftHsm('other');
    const pins = readPins(JSON.stringify(other.record()), { label: 'other' });
    other.remove();
    await expect(openToken(options({ pins }))).rejects.toMatchObject({ reason: 'objects-wrong' });
  });
});

test('a record is read for its own token only, and when it has check values', () => {
  const record = hsm.record();
  expect([...readPins(JSON.stringify(record), hsm.place).keks.keys()]).toEqual([
    'kek:operate:decrypt:v1',
    'kek:operate:secret:v1',
    'kek:operate:sign:v1',
    'kek:release:private:v1',
    'kek:release:secret:v1',
  ]);
  expect(() => readPins('{}', hsm.place)).toThrow('not the record of a ceremony');
  expect(() => readPins(JSON.stringify(record), { label: 'x' })).toThrow('of the token "escrowd-test"');
  const objects = record.objects.map(({ label }) => ({ label }));
  expect(() => readPins(JSON.stringify({ ...record, objects }), hsm.place)).toThrow(
    'no check value of a kek:operate:sign',
  );
});

test('an identity key with another public half is not ready', async () => {
  const other = await makeSoftHsm('swapped');
  try {
    const raw = openRaw(other, 'user');
    const template = [
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
      { type: pkcs11.CKA_LABEL, value: 'identity' },
    ];
    for (const object of raw.find(template)) raw.driver.C_DestroyObject(raw.session, object);
    raw.driver.C_GenerateKeyPair(
      raw.session,
      { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
      [
        { type: pkcs11.CKA_TOKEN, value: true },
        { type: pkcs11.CKA_PRIVATE, value: false },
        { type: pkcs11.CKA_LABEL, value: 'identity' },
        { type: pkcs11.CKA_EC_PARAMS, value: Buffer.from('06082a8648ce3d030107', 'hex') },
      ],
      [{ type: pkcs11.CKA_TOKEN, value: false }],
    );
    raw.close();
    await expect(other.open()).rejects.toMatchObject({ name: 'TokenNotReady', reason: 'objects-wrong' });
  } finally {
    other.remove();
  }
});

test('two daemons of one process share the module, and closing one leaves the other at work', async () => {
  const first = await hsm.open();
  const second = await hsm.open();
  await first.close();
  await second.check();
  await deposit(second, 'ec-p256', 'operate', [alice]);
  await second.close();
});

test('a module in use is not opened with another environment', async () => {
  const token = await hsm.open();
  mkdirSync(join(hsm.directory, 'elsewhere'));
  const environment = { SOFTHSM2_CONF: join(hsm.directory, 'elsewhere', 'softhsm2.conf') };
  await expect(openToken(options({ environment }))).rejects.toMatchObject({ reason: 'module-refused' });
  await token.close();
});

test('closing waits for what is under way, takes nothing new, and may be done twice', async () => {
  const token = await hsm.open();
  const order: string[] = [];
  const working = token
    .lend(['generateUserKey'], (lent) => lent.generateUserKey('rsa-2048'))
    .then(() => order.push('worked'));
  const closing = token.close().then(() => order.push('closed'));
  await expect(token.check()).rejects.toMatchObject({ code: 'shutting-down' });
  await Promise.all([working, closing]);
  expect(order).toEqual(['worked', 'closed']);
  await token.close();
});

test('a token that does not come to rest in time is left open, and the log says so', async () => {
  const messages: string[] = [];
  const token = await hsm.open({ log: (_level, message) => messages.push(message) });
  let finish = (): void => undefined;
  const working = token.lend(['attest'], async (lent) => {
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    return lent.attest(Buffer.from('still here'));
  });
  await token.close(10);
  expect(messages).toContain('the token is still at work and is left without being closed');
  finish();
  await expect(working).resolves.toHaveLength(64);
  // It was given back when the work ended: another environment is welcome again.
  const next = await makeSoftHsm('next');
  next.remove();
});
