import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import type { OpenTokenOptions } from '../../src/token/openToken.js';
import { openToken } from '../../src/token/openToken.js';
import { deposit } from '../support/escrowChain.js';
import { openRaw } from '../support/rawToken.js';
import type { SoftHsm, TestDepositary } from '../support/softhsm.js';
import { makeSoftHsm } from '../support/softhsm.js';

let hsm: SoftHsm;
let alice: TestDepositary;

beforeAll(async () => {
  hsm = await makeSoftHsm();
  alice = await hsm.enrolDepositary('alice');
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
    message: 'There is no token called "another". Run the ceremony (scripts/ceremony init) first.',
  });
  const modulePath = '/nonexistent/module.so';
  await expect(openToken(options({ modulePath }))).rejects.toMatchObject({ reason: 'module-missing' });
});

test('something that is no PKCS#11 module is refused', async () => {
  const modulePath = join(hsm.directory, 'module.so');
  writeFileSync(modulePath, 'not a library');
  await expect(openToken(options({ modulePath }))).rejects.toMatchObject({ reason: 'module-refused' });
});

test.each(['kek:operate:v1', 'kek:release:v1', 'identity', 'log'])(
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
    const label = { type: pkcs11.CKA_LABEL, value: 'kek:operate:v1' };
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
