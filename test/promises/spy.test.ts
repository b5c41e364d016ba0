import { constants, createCipheriv, generateKeyPairSync, publicEncrypt } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import winston from 'winston';
import type { WireAnswer, WireRequest } from '../../src/client/connection.js';
import { HttpsConnection } from '../../src/client/connection.js';
import { exportOpened } from '../../src/client/depositary/release.js';
import type { OperatorLog } from '../../src/daemon/operatorLog.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import type * as NativeFunctions from '../../src/token/cryptoki/nativeFunction.js';
import type { LoadedModule } from '../../src/token/cryptoki/module.js';
import { findModule, loadModule } from '../../src/token/cryptoki/module.js';
import { newId } from '../../src/escrow/records/ids.js';
import { openSession } from '../../src/token/cryptoki/sessions.js';
import { findSlot } from '../../src/token/service/findLongLived.js';
import { byteStringsIn } from '../support/byteStrings.js';
import type { DatabaseDump } from '../support/databaseDump.js';
import { dumpDatabase } from '../support/databaseDump.js';
import type { Life } from '../support/life.js';
import { agree, liveThrough } from '../support/life.js';
import type { OpenedDeposit, TokenKeys } from '../support/openedDeposit.js';
import { openDeposit, openOaep, partsOfUser, tokenKeys, unwrapPadded } from '../support/openedDeposit.js';
import { runTs } from '../support/runTs.js';
import type { SpyLog } from '../support/spyLog.js';
import { readSpyLog } from '../support/spyLog.js';
import { copySpyModule } from '../support/spyModule.js';
import type { System } from '../support/system.js';
import { DEPOSITARIES, makeSystem, RULES } from '../support/system.js';
import type { Secrets } from '../support/windows.js';
import { WindowSearch } from '../support/windows.js';
import { freshBytes } from '../support/fresh.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

// pkcs11-spy writes a call piece by piece from whatever thread calls: here from one, so what goes beside the driver waits as well
jest.mock('../../src/token/cryptoki/nativeFunction.js', () => {
  const actual = jest.requireActual<typeof NativeFunctions>('../../src/token/cryptoki/nativeFunction.js');
  const nativeCall: (typeof NativeFunctions)['nativeCall'] = (...where) => {
    const call = actual.nativeFunction(...where);
    return (...given) => Promise.resolve(call(...given) as number);
  };
  return { ...actual, nativeCall };
});

/*
 * Every buffer that crosses the PKCS#11 interface while keys are made, used and released is written down by
 * pkcs11-spy, and looked through for every secret there was. The secrets are opened from the database by the
 * depositaries' own keys and the keys in the token's files, so they are the real ones.
 */
let system: System;
let life: Life;
/** A key that was imported, and what it came under. */
let imported: { readonly key: string; readonly der: Buffer; readonly x: Buffer; readonly wrapped: Buffer };
let spyFile: string;
let spying: LoadedModule;
let spied: SpyLog;
let dump: DatabaseDump;
let token: TokenKeys;
let opened: readonly OpenedDeposit[];
let secrets: Secrets;
const rotated: string[] = [];
const wire: Buffer[] = [];
const operatorLines: Buffer[] = [];

beforeAll(async () => {
  listenToTheWire();
  system = await makeSystem({
    operatorLog: loudLog(),
    config: ({ place }, directory) => {
      spyFile = join(directory, 'spy.log');
      const spy = copySpyModule(directory);
      const environment = {
        ...place.environment,
        PKCS11SPY: findModule(place.profile, undefined),
        PKCS11SPY_OUTPUT: spyFile,
      };
      spying = loadModule(spy, environment);
      callOnOneThread(spying.driver);
      const where = { profile: 'softhsm-2.6', label: place.label, pinFile: 'user.pin' };
      return { token: { ...where, module: spy, environment, allowSpy: true, selfTest: 'quick' } };
    },
  });
  life = await liveThrough(system);
  imported = await importOneKey();
  await rotateTwoKeys();
  spied = readSpyLog(spyFile);
  dump = await dumpDatabase(system);
  token = tokenKeys(system.hsm);
  const people = new Map(
    await Promise.all(
      DEPOSITARIES.map(async (id) => [id, await system.identity(id).depositaryKey()] as const),
    ),
  );
  opened = dump.deposits.flatMap((deposit) => openDeposit(deposit, people, token));
  secrets = new Map([
    ...token.secrets,
    ...secretsOf(opened),
    ...(await transferKeys()),
    ...partsOfUser(`imported ${imported.key}`, imported.der),
    ['X of the import', imported.x],
  ]);
});

/** New key-encryption keys are made, by a module that is not spied upon; and the daemon puts keys of both purposes under them. */
async function rotateTwoKeys(): Promise<void> {
  const { place, soPin, userPin } = system.hsm;
  await system.stopDaemon();
  const file = (name: string, content: string): string => {
    const path = join(system.directory, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const pins = ['--so-pin-file', file('renew.so', soPin), '--user-pin-file', file('renew.user', userPin)];
  const record = file('renew.json', JSON.stringify(system.hsm.record()));
  // a process of its own: the spy has the module of this one
  const ceremony = runTs(join('src', 'token', 'ceremony', 'main.ts'), {
    args: ['renew', '--profile', 'softhsm-2.6', '--label', place.label, '--record', record, ...pins],
    environment: place.environment,
  });
  expect(await once(ceremony, 'exit')).toEqual([0, null]);
  await system.startDaemon();
  const { items } = await system.client('admin-1').keys();
  const released = items.find(({ purposes }) => purposes.length === 2);
  for (const key of [imported.key, released?.key ?? '']) {
    const { result } = await system.client('admin-1').requestRecovery({
      ...{ purpose: 'reseal', keys: [key], job: newId('JobId', freshBytes) },
      ...{ reason: 'the server was read', validFor: 'PT1H' },
    });
    rotated.push(key);
    await agree(system, result.recovery);
  }
}

afterAll(async () => {
  await system.remove();
  spying.release();
});

test('the secrets looked for are the real ones: what was released is what the deposits hold', () => {
  expect(opened.map(({ purpose }) => purpose).sort()).toEqual(
    // of the imported key as well
    ['operate', 'operate', 'operate', 'operate', 'release', 'release'].sort(),
  );
  for (const release of life.releases) {
    const users = opened.filter(({ key }) => key === release.key).map(({ user }) => user.toString('hex'));
    const bytes =
      release.opened.kind === 'pair'
        ? release.opened.privateKey.export({ type: 'pkcs8', format: 'der' })
        : exportOpened(release.opened, 'raw');
    const [first] = users;
    expect(users).toEqual([first, first]);
    expect(partsOfUser('', bytes).get('d of ')).toEqual(
      partsOfUser('', Buffer.from(first ?? '', 'hex')).get('d of '),
    );
    if (release.opened.kind === 'secret') expect(bytes.toString('hex')).toBe(first);
  }
  const distinct = new Set(opened.flatMap(({ r, l }) => [...r.values(), ...l.values()].map(String)));
  expect(distinct.size).toBe(opened.length * 2 * DEPOSITARIES.length);
});

test('what was imported is what is deposited, and it crossed wrapped alone', () => {
  const [deposit, ...others] = opened.filter(({ key }) => key === imported.key);
  expect(others).toEqual([]);
  const parts = partsOfUser('', imported.der);
  expect(parts.size).toBeGreaterThan(0);
  expect(partsOfUser('', deposit?.user ?? Buffer.alloc(0)).get('d of ')).toEqual(parts.get('d of '));
  const crossed = new Set(spied.buffers.map(({ bytes }) => bytes.toString('hex')));
  expect(crossed).toContain(hex(imported.wrapped.subarray(0, 384)));
  expect(crossed).toContain(hex(imported.wrapped.subarray(384)));
});

test('keys of both purposes were rotated meanwhile', () => {
  const under = dump.deposits
    .filter(({ key }) => rotated.includes(key))
    .flatMap(({ purposes }) => purposes.map(({ purpose, kek }) => `${purpose} ${kek.split(':').at(-1)}`));
  expect(under.sort()).toEqual(['operate v2', 'operate v2', 'release v2']);
  // out of the old and back, and out of the new to see that it is the same
  const unwrapped = spied.calls.filter(
    ({ name, returned }) => name === 'C_UnwrapKey' && returned === 'CKR_OK',
  );
  expect(unwrapped.length).toBeGreaterThan(6);
});

test('every buffer that crosses the PKCS#11 interface is read, in and out', () => {
  const used = new Set(spied.calls.map(({ name }) => name));
  for (const call of ['C_GenerateKeyPair', 'C_WrapKey', 'C_UnwrapKey', 'C_Encrypt', 'C_Decrypt', 'C_Sign']) {
    expect(used).toContain(call);
  }
  const unread = spied.buffers.filter(({ bytes, length }) => bytes.length !== length);
  expect(unread.filter(({ length }) => length > 1)).toEqual([]);
  const crossed = new Set(spied.buffers.map(({ bytes }) => bytes.toString('hex')));
  for (const deposit of dump.deposits) {
    for (const { shares, quorums } of deposit.purposes) {
      for (const { share } of shares) expect(crossed).toContain(hex(share));
      for (const { sealed } of quorums) expect(crossed).toContain(hex(sealed.subarray(12)));
    }
  }
  for (const { wrapped } of opened) expect(crossed).toContain(hex(wrapped));
  for (const { approvals } of dump.recoveries)
    for (const { reply } of approvals.flatMap(({ replies }) => replies))
      expect(crossed).toContain(hex(reply));
});

test('every secret or private key that comes to be in the token is sensitive and hidden from the first', () => {
  const made = spied.calls.filter(
    ({ name, returned }) => returned === 'CKR_OK' && Object.hasOwn(TEMPLATE_OF_WHAT_IS_MADE, name),
  );
  expect(made.length).toBeGreaterThan(80);
  for (const { name, given } of made) {
    const template = TEMPLATE_OF_WHAT_IS_MADE[name] ?? '';
    // neither a public key nor the anchor of the log, which is a data object, is a secret
    if (['CKO_PUBLIC_KEY', 'CKO_DATA'].includes(given.get(`${template} CKA_CLASS`) ?? '')) continue;
    const word = (attribute: string): string | undefined => given.get(`${template} ${attribute}`);
    expect([name, word('CKA_PRIVATE'), word('CKA_SENSITIVE')]).toEqual([name, 'True', 'True']);
  }
});

const TEMPLATE_OF_WHAT_IS_MADE: Readonly<Record<string, string>> = {
  C_GenerateKey: 'pTemplate',
  C_GenerateKeyPair: 'pPrivateKeyTemplate',
  C_UnwrapKey: 'pTemplate',
  C_CreateObject: 'pTemplate',
  C_CopyObject: 'pTemplate',
};

test('no part of any user key, R, L, X or key of the token crosses the PKCS#11 interface', () => {
  const search = new WindowSearch(secrets);
  expect(secrets.size).toBeGreaterThan(60);
  expect(search.findInAll(spied.buffers.map(({ bytes }) => bytes))).toEqual([]);
});

test('the same search finds each kind of secret when it does cross', () => {
  const [first] = opened;
  const r = first?.r.get('manager');
  const body = [...secretsOf(opened)].find(([name]) => name.startsWith('body of'))?.[1];
  if (r === undefined || body === undefined) throw new Error('nothing was opened');
  const search = new WindowSearch(secrets);
  const before = readSpyLog(spyFile).buffers.length;
  withSpiedSession((driver, session) => {
    leak(driver, session, pkcs11.CKK_AES, r);
    leak(driver, session, pkcs11.CKK_GENERIC_SECRET, Buffer.concat([Buffer.alloc(5), body.subarray(20, 36)]));
    leak(driver, session, pkcs11.CKK_GENERIC_SECRET, Buffer.concat([Buffer.alloc(5), body.subarray(20, 35)]));
  });
  const leaked = readSpyLog(spyFile).buffers.slice(before);
  const found = leaked.flatMap(({ call, direction, bytes }) =>
    search.findIn(bytes).map((name) => `${call} ${direction} ${name.split(' ')[0] ?? ''}`),
  );
  expect(found.sort()).toEqual([
    'C_CreateObject in R',
    'C_CreateObject in body',
    'C_GetAttributeValue out R',
    'C_GetAttributeValue out body',
  ]);
});

test('none of the secrets is in the database, in any column or encoding', () => {
  const all = [
    ...secrets,
    ...opened.map(({ key, purpose, wrapped }) => [`C of ${key} ${purpose}`, wrapped] as const),
  ];
  const search = new WindowSearch(new Map(all));
  const rows = dump.rows.map(({ text }) => Buffer.from(text));
  expect(new Set(dump.rows.map(({ table }) => table)).size).toBeGreaterThan(8);
  expect(search.findInAll(rows.flatMap((row) => byteStringsIn(row, 'anywhere')))).toEqual([]);
});

test('none of the secrets is in what the operator is told or in what goes over the wire', () => {
  const search = new WindowSearch(secrets);
  expect(operatorLines.length).toBeGreaterThan(3);
  expect(wire.length).toBeGreaterThan(60);
  const heard = [...operatorLines, ...wire].flatMap((bytes) => byteStringsIn(bytes, 'anywhere'));
  expect(search.findInAll(heard)).toEqual([]);
});

test('the search of text finds a part of a secret in hexadecimal, base64 and base64url, inside others', () => {
  const [first] = opened;
  const r = first?.r.get('manager') ?? Buffer.alloc(0);
  const search = new WindowSearch(secrets);
  const hidden = (text: string): readonly string[] =>
    search.findInAll(byteStringsIn(Buffer.from(text), 'anywhere'));
  const part = r.subarray(3, 28);
  for (const text of [
    `{"a":"${part.toString('hex')}"}`,
    `zz0${part.toString('hex').toUpperCase()}`,
    `a${part.toString('base64')}`,
    `ab${part.toString('base64url')}`,
    `abc${part.toString('base64url')}`,
    `x.${Buffer.from(JSON.stringify({ inner: part.toString('base64') })).toString('base64url')}.y`,
    `"\\\\x${Buffer.from(`{"jws":"h.${Buffer.from(part.toString('hex')).toString('base64url')}.s"}`).toString('hex')}"`,
  ]) {
    expect(hidden(text)).toEqual([expect.stringMatching(/^R of /)]);
  }
});

/** As a client of somebody's own imports it, who knows what it is wrapped under. */
async function importOneKey(): Promise<typeof imported> {
  await system.applyRules(RULES.map((rule) => ({ ...(rule as object), import: true })));
  const client = system.client('admin-1');
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = privateKey.export({ format: 'der', type: 'pkcs8' });
  const { result: pair } = await client.prepareImport({ validFor: 'PT5M' });
  const x = freshBytes(32);
  const cipher = createCipheriv('id-aes256-wrap-pad', x, Buffer.from('a65959a6', 'hex'));
  const key = { key: Buffer.from(pair.publicKey, 'base64url'), format: 'der', type: 'spki' } as const;
  const wrapped = Buffer.concat([
    publicEncrypt({ ...key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, x),
    cipher.update(der),
    cipher.final(),
  ]);
  const { result } = await client.importKey(pair.import, {
    ...{ owner: 'owner', spec: 'ec-p256', use: 'sign' },
    publicKey: publicKey.export({ format: 'der', type: 'spki' }).toString('base64url'),
    wrapped: wrapped.toString('base64url'),
  });
  return { key: result.key, der, x, wrapped };
}

function secretsOf(deposits: readonly OpenedDeposit[]): Secrets {
  const found = new Map<string, Buffer>();
  for (const { key, purpose, r, l, user } of deposits) {
    for (const [person, secret] of r) found.set(`R of ${person} for ${key} ${purpose}`, secret);
    for (const [person, secret] of l) found.set(`L of ${person} for ${key} ${purpose}`, secret);
    for (const [name, part] of partsOfUser(`U ${key}`, user)) found.set(name, part);
  }
  return found;
}

/** X of every release, and of the owner's copies. */
async function transferKeys(): Promise<Secrets> {
  const managers = await system.identity('manager').depositaryKey();
  const owners = await system.identity('owner').deliveryKey();
  const found = new Map<string, Buffer>();
  for (const { id, state } of dump.recoveries) {
    if (state.status !== 'released' || state.answers === undefined) continue;
    for (const { key, transferKey, wrappedKey } of state.answers) {
      const x = openOaep(managers, transferKey);
      expect(unwrapPadded(x, wrappedKey)).toBeDefined();
      found.set(`X of ${id} for ${key}`, x);
    }
  }
  for (const { key, ownersCopy } of dump.deposits) {
    if (ownersCopy === undefined) continue;
    const x = openOaep(owners, ownersCopy.transferKey);
    expect(unwrapPadded(x, ownersCopy.key)).toBeDefined();
    found.set(`X of the owner's copy of ${key}`, x);
  }
  expect(found.size).toBe(4);
  return found;
}

/** The driver's own calls on other threads as well. */
function callOnOneThread(driver: PKCS11): void {
  for (const name of ['C_GenerateKeyPair', 'C_Sign', 'C_Decrypt']) {
    const call: unknown = Reflect.get(driver, name);
    if (typeof call !== 'function') throw new Error(`the driver has no ${name}`);
    const inThisThread = (...given: unknown[]): Promise<unknown> =>
      Promise.resolve(Reflect.apply(call, driver, given));
    Object.assign(driver, { [`${name}Async`]: inThisThread });
  }
}

/** Both directions, as the clients see them: what TLS protects. */
function listenToTheWire(): void {
  const send: unknown = Reflect.get(HttpsConnection.prototype, 'send');
  if (typeof send !== 'function') throw new Error('nothing is sent');
  Object.assign(HttpsConnection.prototype, {
    send: async function (this: HttpsConnection, request: WireRequest): Promise<WireAnswer> {
      wire.push(Buffer.from(JSON.stringify(request.headers)), Buffer.from(request.body));
      const answer = (await Reflect.apply(send, this, [request])) as WireAnswer;
      wire.push(answer.body);
      return answer;
    },
  });
}

/** Everything that the daemon could tell its operator. */
function loudLog(): OperatorLog {
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      operatorLines.push(Buffer.from(chunk));
      done();
    },
  });
  const log = createOperatorLog('silly', false);
  log.clear();
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's own transport, by its own types
  return log.add(new winston.transports.Stream({ stream }));
}

function withSpiedSession(use: (driver: PKCS11, session: Handle) => void): void {
  const { driver } = spying;
  const session = openSession(driver, findSlot(driver, system.hsm.place.label));
  try {
    use(driver, session);
  } finally {
    driver.C_CloseSession(session);
  }
}

function leak(driver: PKCS11, session: Handle, keyType: number, value: Buffer): void {
  const object = driver.C_CreateObject(session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: keyType },
    { type: pkcs11.CKA_TOKEN, value: false },
    { type: pkcs11.CKA_SENSITIVE, value: false },
    { type: pkcs11.CKA_EXTRACTABLE, value: true },
    { type: pkcs11.CKA_VALUE, value },
  ]);
  driver.C_GetAttributeValue(session, object, [{ type: pkcs11.CKA_VALUE }]);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
