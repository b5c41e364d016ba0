import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import { type GrantId, newId, type RecoveryId } from '../../../src/escrow/records/ids.js';
import type { ObjectName } from '../../../src/token/objects/objectNames.js';
import { objectNames } from '../../../src/token/objects/objectNames.js';
import type { TokenGeneration } from '../../../src/token/service/openToken.js';
import { withWorkbench } from '../../../src/token/service/openToken.js';
import {
  deposit,
  keyOf,
  newGrant,
  newRecovery,
  raiseGrant,
  type TestDeposit,
} from '../../support/escrowChain.js';
import { freshBytes } from '../../support/fresh.js';
import { openRaw } from '../../support/rawToken.js';
import { runTs } from '../../support/runTs.js';
import { signOne } from '../../support/signOne.js';
import type { SoftHsm, TestDepositary } from '../../support/softhsm.js';
import { enrolledSoftHsm } from '../../support/softhsm.js';
import { LIMITS_MS } from '../../support/limits.js';
import type { OfficersOrder } from './officer.js';

jest.setTimeout(LIMITS_MS.token);

/*
 * A token that holds many objects, in which a search takes long: once they were listed, what is used, made, ended and asked all
 * the time is not searched for. And nobody is deceived by that.
 */

/** More than what a search holds nobody up for. */
const MANY = 150;
const DIGEST = createHash('sha256').update('an invoice').digest();

let hsm: SoftHsm;
let alice: TestDepositary;
let token: TokenGeneration;
let key: TestDeposit;

beforeAll(async () => {
  const made = await enrolledSoftHsm('alice');
  hsm = made.hsm;
  [alice] = made.people;
  const raw = openRaw(hsm, 'user');
  for (let at = 0; at < MANY; at += 1)
    raw.driver.C_GenerateKey(raw.session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, plainKey(`filler ${at}`));
  raw.close();
});
beforeEach(async () => {
  token = await hsm.open({});
  key = await deposit(token, 'ec-p256', 'operate', [alice]);
});
afterEach(async () => {
  jest.restoreAllMocks();
  await token.close();
});
afterAll(() => {
  hsm.remove();
});

function plainKey(label: string) {
  return [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_PRIVATE, value: true },
    { type: pkcs11.CKA_LABEL, value: label },
  ];
}

/** How often the objects of the token are searched from now on. */
async function searches(of: TokenGeneration = token): Promise<() => number> {
  const spy = await withWorkbench(of, ({ objects }) => Promise.resolve(jest.spyOn(objects, 'search')));
  return () => spy.mock.calls.splice(0).length;
}

/** Holds the clock by which what was found grows old. Returns how to let time pass. */
function heldClock(): (ms: number) => void {
  let nowMs = performance.now();
  jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
  return (ms) => {
    nowMs += ms;
  };
}

const sign = (of: TokenGeneration, grant: Parameters<typeof signOne>[1]): Promise<Uint8Array> =>
  of.lend(['sign'], (lent) => signOne(lent, grant, 'ec-p256', 'ES256', DIGEST));
const destroyGrant = (of: TokenGeneration, grant: Parameters<typeof signOne>[1]): Promise<void> =>
  of.lend(['destroyGrant'], (lent) => lent.destroyGrant(grant));
const transport = (recovery: RecoveryId): Promise<unknown> =>
  token.lend(['createTransport'], (lent) => lent.createTransport(recovery));

/** Destroys what is called so, behind the back of the token that is open. */
function destroyed(name: ObjectName): void {
  const raw = openRaw(hsm, 'as is');
  const found = raw.find(name.template);
  expect(found.length).toBeGreaterThan(0);
  for (const handle of found) raw.driver.C_DestroyObject(raw.session, handle);
  raw.close();
}

test('a grant raised, used and ended, a deposit, the depositaries and the probe search nothing', async () => {
  const recovery = newRecovery();
  await transport(recovery);
  await token.standing();
  const pass = heldClock();
  // what was found before the clock was held is of some age or other
  pass(2 * MANY);
  await token.enrolled();
  await token.check();
  const count = await searches();
  expect((await token.enrolled()).map(({ id }) => id)).toEqual(['alice']);
  await token.check();
  expect(count()).toBe(0);
  // as many milliseconds as there are objects, and both are looked for again
  pass(MANY - 1);
  await token.enrolled();
  await token.check();
  expect(count()).toBe(0);
  pass(2 * MANY);
  await token.enrolled();
  expect(count()).toBe(2);
  await token.check();
  expect(count()).toBe(1);
  await deposit(token, 'ec-p256', 'operate', [alice]);
  expect(count()).toBe(0);
  await token.lend(['destroyTransport'], (lent) => lent.destroyTransport(recovery));
  expect(count()).toBe(0);
  const grant = await raiseGrant(token, key, 'sign', [alice]);
  // the search for the pair that another process may have made, and what opens the deposit the first time
  count();
  const again = await raiseGrant(token, key, 'sign', [alice]);
  const raised = count();
  expect(raised).toBe(0);
  for (const each of [grant, again]) {
    await sign(token, each);
    await destroyGrant(token, each);
  }
  expect(count()).toBe(0);
  expect((await token.standing()).grants).toEqual([]);
});

test('what was there when the token was opened is listed once, and then used and destroyed without a search', async () => {
  const grant = await raiseGrant(token, key, 'sign', [alice]);
  const recovery = newRecovery();
  await transport(recovery);
  const imported = newId('ImportId', freshBytes);
  await token.lend(['createImportPair'], (lent) => lent.createImportPair(imported));
  await token.close();
  token = await hsm.open({});
  expect(await token.standing()).toEqual({ transports: [recovery], grants: [grant], imports: [imported] });
  const count = await searches();
  await sign(token, grant);
  await destroyGrant(token, grant);
  await token.lend(['destroyTransport'], (lent) => lent.destroyTransport(recovery));
  await token.lend(['destroyImportPair'], (lent) => lent.destroyImportPair(imported));
  expect(count()).toBe(0);
  expect(await token.standing()).toEqual({ transports: [], grants: [], imports: [] });
});

test('a listed grant that somebody else has destroyed is missing, and its end is no error', async () => {
  const grant = await raiseGrant(token, key, 'sign', [alice]);
  await token.close();
  token = await hsm.open({});
  await token.standing();
  destroyed(objectNames.grant(grant, 'ec-p256'));
  await expect(sign(token, grant)).rejects.toMatchObject({ code: 'token-object-missing' });
  await destroyGrant(token, grant);
  const other = await raiseGrant(token, key, 'sign', [alice]);
  destroyed(objectNames.grant(other, 'ec-p256'));
  await expect(sign(token, other)).rejects.toMatchObject({ code: 'token-object-missing' });
  // what another daemon has ended is not remembered for ever
  const third = objectNames.grant(await raiseGrant(token, key, 'sign', [alice]), 'ec-p256');
  const isAbsent = (): Promise<boolean> =>
    withWorkbench(token, ({ objects }) => objects.alone((session) => objects.isAbsent(session, third)));
  expect(await isAbsent()).toBe(false);
  destroyed(third);
  expect(await isAbsent()).toBe(false);
  await token.standing();
  expect(await isAbsent()).toBe(true);
});

/** Puts a second grant of this name into the token, as anybody with the PIN could. */
function twinOf(grant: GrantId, as: 'user' | 'as is'): void {
  const raw = openRaw(hsm, as);
  raw.driver.C_GenerateKeyPair(
    raw.session,
    { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
    [{ type: pkcs11.CKA_EC_PARAMS, value: Buffer.from('06082a8648ce3d030107', 'hex') }],
    [
      { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY },
      { type: pkcs11.CKA_TOKEN, value: true },
      { type: pkcs11.CKA_PRIVATE, value: true },
      { type: pkcs11.CKA_SIGN, value: true },
      { type: pkcs11.CKA_LABEL, value: `grant:${grant}` },
    ],
  );
  raw.close();
}

test('a second grant of a name is told from the listing, and neither is used', async () => {
  const grant = await raiseGrant(token, key, 'sign', [alice]);
  await token.close();
  twinOf(grant, 'user');
  token = await hsm.open({});
  await token.standing();
  const count = await searches();
  await expect(sign(token, grant)).rejects.toMatchObject({ code: 'token-unavailable' });
  expect(count()).toBe(0);
  // both go
  await destroyGrant(token, grant);
  expect((await token.standing()).grants).toEqual([]);
});

test('a second grant of a name that was put there since the first was raised, and is listed, goes with it', async () => {
  await token.standing();
  const grant = await raiseGrant(token, key, 'sign', [alice]);
  twinOf(grant, 'as is');
  expect((await token.standing()).grants).toEqual([grant]);
  const count = await searches();
  await destroyGrant(token, grant);
  expect(count()).toBe(0);
  expect((await token.standing()).grants).toEqual([]);
});

test('the handle of another object in the place of a listed one is not used: the label is read', async () => {
  const [grant, other] = [newGrant(), await raiseGrant(token, key, 'sign', [alice])];
  await token.standing();
  await withWorkbench(token, async ({ objects }) => {
    const { handle } = (await objects.find(objectNames.grant(other, 'ec-p256'))) ?? {};
    if (handle === undefined) throw new Error('the grant is there');
    objects.forget(objectNames.grant(other, 'ec-p256'));
    const listed = { handle, objectClass: pkcs11.CKO_PRIVATE_KEY, label: `grant:${grant}` };
    objects.learn(
      Array.from({ length: MANY }, () => listed)
        .slice(0, 1)
        .concat(fillers(MANY)),
    );
  });
  await expect(sign(token, grant)).rejects.toMatchObject({ code: 'token-object-missing' });
  await destroyGrant(token, grant);
  await sign(token, other);
});

function fillers(count: number) {
  return Array.from({ length: count }, (_, at) => ({
    handle: Buffer.alloc(8, 255),
    objectClass: pkcs11.CKO_SECRET_KEY,
    label: `filler ${at}`,
  }));
}

test('a token whose storage is gone does not answer the probe', async () => {
  await token.standing();
  heldClock();
  await token.check();
  const count = await searches();
  await token.check();
  expect(count()).toBe(0);
  const tokens = join(hsm.directory, 'tokens');
  renameSync(tokens, `${tokens}.away`);
  await expect(token.check()).rejects.toMatchObject({ code: 'token-unavailable' });
  renameSync(`${tokens}.away`, tokens);
});

test('nothing is wrapped under a key that the security officer has destroyed since the depositaries were looked for', async () => {
  await token.standing();
  // by the clock nobody would look again
  heldClock();
  await token.enrolled();
  await deposit(token, 'ec-p256', 'operate', [alice]);
  const label = 'depositary:alice';
  await officer({ label });
  await expect(
    token.lend(['generateShareKey', 'wrapToDepositary'], async (lent) =>
      lent.wrapToDepositary(await lent.generateShareKey(), keyOf(alice)),
    ),
  ).rejects.toMatchObject({ code: 'depositary-not-enrolled' });
  // and from then on they are looked for
  expect(await token.enrolled()).toEqual([]);
  await officer({ label, publicKey: alice.publicKeyPem });
});

/** Another process of the security officer's, beside the token that is open here. */
async function officer(order: Omit<OfficersOrder, 'token'>): Promise<void> {
  const { place, userPin, soPin } = hsm;
  const whole: OfficersOrder = { token: { place, userPin, soPin }, ...order };
  const program = join(process.cwd(), 'test', 'token', 'objects', 'officer.ts');
  const child = runTs(program, { args: [JSON.stringify(whole)] });
  const [code] = (await once(child, 'exit')) as [number | null];
  expect(code).toBe(0);
}

/** The last: nothing of the token is of use from then on. */
test('a token that has lost its identity does not answer the probe', async () => {
  await token.standing();
  await token.check();
  await token.check();
  destroyed(objectNames.signing('identity'));
  await expect(token.check()).rejects.toMatchObject({ code: 'token-unavailable' });
});
