import { createPublicKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pkcs11 from 'pkcs11js';
import { sha256Hex } from '../../../src/escrow/records/digests.js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import { sealed } from '../../../src/escrow/records/sealing/sealed.js';
import { ceremonyCommands } from '../../../src/token/ceremony/commands.js';
import { enrol } from '../../../src/token/ceremony/enrol.js';
import { type CeremonyRecord, type EarlierRecord, readRecord } from '../../../src/token/ceremony/record.js';
import { renew } from '../../../src/token/ceremony/renew.js';
import { replace } from '../../../src/token/ceremony/replace.js';
import { type Retirement, retire } from '../../../src/token/ceremony/retire.js';
import { readPins } from '../../../src/token/objects/ceremonyPins.js';
import { selfTest } from '../../../src/token/selfTest/selfTest.js';
import { openToken } from '../../../src/token/service/openToken.js';
import type { OpenToken } from '../../../src/token/service/openToken.js';
import {
  type TestDeposit,
  deposit,
  gatherReplies,
  principal,
  raiseFrom,
  reencrypt,
} from '../../support/escrowChain.js';
import { LIMITS_MS } from '../../support/limits.js';
import { openRaw } from '../../support/rawToken.js';
import { type SoftHsm, type TestDepositary, enrolledSoftHsm, makeDepositary } from '../../support/softhsm.js';
import { proofOf } from './proof.js';

jest.setTimeout(LIMITS_MS.token);

/*
 * A depositary gets another key, and leaves. Each test has a token of its own in which alice and bob are enrolled.
 */
let hsm: SoftHsm;
let alice: TestDepositary;
let bob: TestDepositary;
let record: CeremonyRecord;

beforeEach(async () => {
  const made = await enrolledSoftHsm('alice', 'bob');
  hsm = made.hsm;
  [alice] = made.people;
  bob = made.people[1] ?? alice;
  record = hsm.record();
});
afterEach(() => {
  jest.restoreAllMocks();
  hsm.remove();
});

const pins = () => ({ soPin: Buffer.from(hsm.soPin), userPin: Buffer.from(hsm.userPin) });
const before = (): EarlierRecord => readRecord(JSON.stringify(record), hsm.place);
const order = () => ({ ...hsm.place, ...pins(), now: new Date('2030-01-02T03:04:05Z'), before: before() });
const fingerprintOf = ({ publicKeyPem }: TestDepositary): string =>
  sha256Hex(createPublicKey(publicKeyPem).export({ type: 'spki', format: 'der' }));

async function replaced(person: TestDepositary, more: object = {}): Promise<void> {
  record = await replace({ ...order(), ...proofOf(person), ...more });
}
async function retired(id: string, serverKeys: Retirement['serverKeys'] = 'kept', more = {}): Promise<void> {
  record = await retire({ ...order(), id, serverKeys, ...more });
}

/** As the daemon has it open; with the record of the ceremony, unless it is not to be given. */
async function withOpen<T>(
  use: (token: OpenToken) => Promise<T>,
  given: 'with record' | 'without' = 'with record',
) {
  const pinned = readPins(JSON.stringify(record), hsm.place);
  const token = await openToken({
    ...hsm.place,
    pin: pins().userPin,
    ...(given === 'with record' ? { pins: pinned } : {}),
  });
  try {
    return await use(token);
  } finally {
    await token.close();
  }
}

const deposited = (...people: readonly TestDepositary[]): Promise<TestDeposit> =>
  withOpen((token) => deposit(token, 'ec-p256', 'operate', people));

/** Whether these people open a deposit: `opens`, or with what it ends. */
async function opening(kept: TestDeposit, ...people: readonly TestDepositary[]): Promise<string> {
  return withOpen(async (token) => {
    const gathered = await gatherReplies(token, kept, people);
    try {
      const grant = await raiseFrom(token, kept, 'sign', gathered);
      await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(grant));
      return 'opens';
    } catch (error) {
      if (!(error instanceof EscrowError)) throw error;
      await token.lend(['destroyTransport'], (lent) => lent.destroyTransport(gathered.recovery));
      return `${error.code}: ${error.detail}`;
    }
  });
}

const enrolledNow = (): Promise<Readonly<Record<string, string>>> =>
  withOpen(async (token) =>
    Object.fromEntries((await token.enrolled()).map(({ id, fingerprint }) => [id, fingerprint])),
  );

/** What stands in the token of somebody: labels, the trusted ones with a star. */
function standing(id: string): readonly string[] {
  const raw = openRaw(hsm, 'user');
  try {
    const read = (objects: ReturnType<typeof raw.find>, mark: string): readonly string[] =>
      objects
        .map((handle) => raw.driver.C_GetAttributeValue(raw.session, handle, [{ type: pkcs11.CKA_LABEL }]))
        .map(([label]) => String(label?.value))
        .filter((label) => label.includes(`:${id}`))
        .map((label) => `${label}${mark}`);
    return [
      ...read(raw.find([{ type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY }]), ''),
      ...read(raw.find([{ type: pkcs11.CKA_TRUSTED, value: true }]), '*'),
    ].sort();
  } finally {
    raw.close();
  }
}

/** Nothing that the token holds is foreign to the daemon. */
async function expectSound(): Promise<void> {
  const nothing = {
    transports: new Set<never>(),
    imports: new Set<never>(),
    grants: new Map<never, never>(),
  };
  for (const given of ['with record', 'without'] as const) {
    const odd = await withOpen((token) => token.unaccounted(() => Promise.resolve(nothing)), given);
    expect(odd).toEqual([]);
  }
}

/** The program is killed before it changes what the token keeps for the nth time. */
function killedBefore(nth: number): void {
  let left = nth;
  const driver = pkcs11.PKCS11.prototype;
  type Call = (this: pkcs11.PKCS11, ...given: unknown[]) => never;
  const dying = (
    name: 'C_CreateObject' | 'C_DestroyObject' | 'C_GenerateKeyPair',
    isKept: (driver: pkcs11.PKCS11, given: readonly unknown[]) => boolean,
  ): void => {
    const real: unknown = Reflect.get(driver, name);
    jest.spyOn(driver, name).mockImplementation(function (this: pkcs11.PKCS11, ...given: unknown[]) {
      if (isKept(this, given)) left -= 1;
      // nothing is taken back either: who is dead does nothing more
      if (left < 0) throw new Error('killed');
      return (real as Call).apply(this, given);
    });
  };
  dying('C_GenerateKeyPair', () => true);
  dying('C_CreateObject', (_driver, [, template]) =>
    (template as pkcs11.Template).some(({ type, value }) => type === pkcs11.CKA_TOKEN && value === true),
  );
  dying('C_DestroyObject', (of, [session, object]) => {
    const asked = [{ type: pkcs11.CKA_TOKEN }];
    const [kept] = of.C_GetAttributeValue(session as pkcs11.Handle, object as pkcs11.Handle, asked);
    return Buffer.isBuffer(kept?.value) && kept.value[0] === 1;
  });
}

/** Runs what is killed at each change in turn, until it is not; says after each how often it was killed. */
async function killedEverywhere(
  run: () => Promise<unknown>,
  after: (changes: number) => Promise<void>,
): Promise<number> {
  for (let changes = 0; ; changes += 1) {
    killedBefore(changes);
    const ended = await run().then(
      () => 'done',
      (error: unknown) => String(error),
    );
    jest.restoreAllMocks();
    if (ended === 'done') return changes;
    expect(ended).toContain('killed');
    await after(changes);
  }
}

describe('a key is replaced', () => {
  test('and what was sealed before opens by the old one, what is sealed then by the new one', async () => {
    const old = await deposited(alice, bob);
    const was = fingerprintOf(alice);
    const next = makeDepositary('alice');
    await replaced(next);
    expect(standing('alice')).toEqual([
      'depositary:alice*',
      'server-for:alice:v1',
      'server-for:alice:v2',
      'server-for:alice:v2*',
    ]);
    expect(await enrolledNow()).toEqual({ alice: fingerprintOf(next), bob: fingerprintOf(bob) });
    expect(record.events.at(-1)?.what).toBe(
      `replaced: alice, whose key is ${fingerprintOf(next)}, was ${was}`,
    );
    expect(record.events).toHaveLength(hsm.record().events.length + 1);
    expect(await opening(old, alice, bob)).toBe('opens');
    const fresh = await deposited(next, bob);
    expect(fresh.members.map(({ version }) => version)).toEqual([2, 1]);
    expect(await opening(fresh, next, bob)).toBe('opens');
    const [{ share } = { share: sealed('depositary', Buffer.alloc(0)) }] = fresh.members;
    const anyKey = createPublicKey(bob.publicKeyPem).export({ type: 'spki', format: 'der' });
    expect(reencrypt(next, share, anyKey)).toHaveLength(256);
    expect(() => reencrypt(alice, share, anyKey)).toThrow();
    await expectSound();
  });

  test('killed at any point the token works, and run again it goes on to the end', async () => {
    let current = alice;
    let next = makeDepositary('alice');
    let old = await deposited(alice, bob);
    const kills = await killedEverywhere(
      () => replace({ ...order(), ...proofOf(next) }),
      async () => {
        expect(await opening(old, current, bob)).toBe('opens');
        const enrolled = await enrolledNow();
        expect(enrolled['bob']).toBe(fingerprintOf(bob));
        // one of the two keys or, while there are both, neither
        expect([fingerprintOf(current), fingerprintOf(next), undefined]).toContain(enrolled['alice']);
        await replaced(next);
        expect(await enrolledNow()).toEqual({ alice: fingerprintOf(next), bob: fingerprintOf(bob) });
        expect(standing('alice').filter((label) => label.endsWith('*'))).toHaveLength(2);
        expect(record.events.at(-1)?.what).toContain(`was ${fingerprintOf(current)}`);
        expect(await opening(old, current, bob)).toBe('opens');
        current = next;
        next = makeDepositary('alice');
        old = await deposited(current, bob);
      },
    );
    // a pair, its untrusted half away, two trusted keys, two that were trusted away
    expect(kills).toBe(6);
    // killed before the record was written
    await replaced(next);
    expect(record.events.at(-1)?.what).toContain(`was ${fingerprintOf(current)}`);
    await expect(replaced(next)).rejects.toThrow('there is nothing to replace');
    await expectSound();
  });

  test.each<[string, () => Promise<void>, RegExp]>([
    ['by the key that they have', () => replaced(alice), /^This is the key of alice .* nothing to replace/],
    [
      'by the key of somebody else',
      () => replaced({ ...bob, id: 'alice' }),
      /^The key of alice is enrolled already, as that of bob\./,
    ],
    [
      'of somebody who is not enrolled',
      () => replaced(makeDepositary('carol')),
      /^carol is not enrolled: .* ceremony enrol carol\.$/,
    ],
    [
      'with another PIN of the security officer',
      () => replaced(makeDepositary('alice'), { soPin: Buffer.from('another-pin') }),
      /refused the PIN of the security officer/,
    ],
    [
      'with another PIN of the user',
      () => replaced(makeDepositary('alice'), { userPin: Buffer.from('another-pin') }),
      /refused the PIN of the user/,
    ],
    [
      'with the answer of another key',
      () => replaced(makeDepositary('alice'), { answer: proofOf(alice).answer }),
      /does not hold the private key/,
    ],
  ])('not %s', async (_what, replacing, why) => {
    const stood = [...standing('alice'), ...standing('bob')];
    const logins = jest.spyOn(pkcs11.PKCS11.prototype, 'C_Login');
    await expect(replacing()).rejects.toThrow(why);
    const failed = logins.mock.results.filter(({ type }) => type === 'throw').length;
    expect(failed).toBe(why.source.includes('refused the PIN') ? 1 : 0);
    jest.restoreAllMocks();
    expect([...standing('alice'), ...standing('bob')]).toEqual(stood);
  });
});

describe('a depositary is retired', () => {
  test('and nothing is sealed to them any more; what was opens until the keys of the server are destroyed', async () => {
    const kept = await deposited(alice, bob);
    await retired('alice');
    expect(standing('alice')).toEqual(['server-for:alice:v1']);
    expect(await enrolledNow()).toEqual({ bob: fingerprintOf(bob) });
    expect(record.events.at(-1)?.what).toBe(
      `retired: alice, whose key was ${fingerprintOf(alice)}; the server's private keys regarding them stay (v1)`,
    );
    await expect(deposited(alice, bob)).rejects.toMatchObject({ code: 'depositary-not-enrolled' });
    expect(await opening(kept, alice, bob)).toBe('opens');
    await expectSound();
    await expect(retired('alice')).rejects.toThrow(/nothing to retire.*--destroy-server-keys destroys these/);
    await retired('alice', 'destroyed');
    expect(standing('alice')).toEqual([]);
    expect(record.events.at(-1)?.what).toBe(
      "retired: alice, who was before; the server's private keys regarding them were destroyed (v1)",
    );
    expect(await opening(kept, alice, bob)).toBe(
      "token-object-missing: The token does not hold the server's key regarding alice that this was sealed to.",
    );
    expect(await opening(await deposited(bob), bob)).toBe('opens');
    await expectSound();
    const { trips } = await withOpen((token) => selfTest(token, 'quick'));
    expect(trips.filter(({ outcome }) => outcome === 'fails')).toEqual([]);
    await expect(retired('alice', 'destroyed')).rejects.toThrow('the token holds nothing of theirs');
  });

  test('and enrolled again has a next pair, beside the private half of before', async () => {
    const kept = await deposited(alice, bob);
    await retired('alice');
    const back = makeDepositary('alice');
    record = await enrol({ ...order(), ...proofOf(back) });
    expect(standing('alice')).toEqual([
      'depositary:alice*',
      'server-for:alice:v1',
      'server-for:alice:v2',
      'server-for:alice:v2*',
    ]);
    expect(await opening(kept, alice, bob)).toBe('opens');
    expect(await opening(await deposited(back, bob), back, bob)).toBe('opens');
    await expectSound();
  });

  test('and comes back with another key and another pair once the keys of the server were destroyed: the old share is not taken for one that opens', async () => {
    const kept = await deposited(alice, bob);
    const proven = (version: number): Promise<string> =>
      withOpen((token) =>
        token
          .lend(['proveServerFor'], (lent) =>
            lent.proveServerFor({ depositary: principal('alice'), version }),
          )
          .then(
            (answer) => ('opened' in answer ? 'opens' : 'refused'),
            (error: unknown) => (error instanceof EscrowError ? error.code : String(error)),
          ),
      );
    expect(await proven(1)).toBe('opens');
    const recordBefore = record;
    await retired('alice', 'destroyed');
    const enrolled = (person: TestDepositary) => enrol({ ...order(), ...proofOf(person) });
    const refused = /^alice had this key before, and private keys of the server .* makes a new one first/;
    await expect(enrolled(alice)).rejects.toThrow(refused);
    // likewise when the record of the retirement was not written any more
    const written = record;
    record = recordBefore;
    await expect(enrolled(alice)).rejects.toThrow(refused);
    record = written;
    const back = makeDepositary('alice');
    record = await enrolled(back);
    expect(standing('alice')).toEqual(['depositary:alice*', 'server-for:alice:v2', 'server-for:alice:v2*']);
    expect(await proven(1)).toBe('token-object-missing');
    expect(await proven(2)).toBe('opens');
    expect(await opening(kept, alice, bob)).toContain('token-object-missing');
    await expect(replaced(alice)).rejects.toThrow(refused);
    // the control: the key of since then is no such one
    await expect(replaced(back)).rejects.toThrow('there is nothing to replace');
    await expectSound();
  });

  test('the pairs that only open are proven as well: after a replacement and a renewal the old shares are drilled', async () => {
    const kept = await deposited(alice, bob);
    await replaced(makeDepositary('alice'));
    record = await renew(order());
    for (const given of ['with record', 'without'] as const)
      await withOpen(
        (token) =>
          token.lend(['proveServerFor'], async (lent) => {
            for (const [id, version] of [
              ['alice', 1],
              ['alice', 2],
              ['alice', 3],
              ['bob', 1],
              ['bob', 2],
            ] as const)
              expect(await lent.proveServerFor({ depositary: principal(id), version })).toEqual({
                opened: undefined,
              });
            const none = lent.proveServerFor({ depositary: principal('bob'), version: 3 });
            await expect(none).rejects.toMatchObject({ code: 'token-object-missing' });
          }),
        given,
      );
    expect(await opening(kept, alice, bob)).toBe('opens');
  });

  test('killed at any point, and run again: nothing of theirs stays, and others are as they were', async () => {
    const kept = await deposited(bob);
    const kills = await killedEverywhere(
      () => retire({ ...order(), id: 'alice', serverKeys: 'destroyed' }),
      async () => {
        expect(await opening(kept, bob)).toBe('opens');
        await retired('alice', 'destroyed');
        expect(standing('alice')).toEqual([]);
        record = await enrol({ ...order(), ...proofOf(makeDepositary('alice')) });
      },
    );
    expect(kills).toBe(3);
    // the record was not written any more
    await retired('alice', 'destroyed');
    expect(record.events.at(-1)?.what).toContain('regarding them are gone');
    await expect(retired('alice', 'destroyed')).rejects.toThrow('there is nothing to retire');
    await expectSound();
  });

  test.each<[string, () => Promise<void>, RegExp]>([
    ['whom nobody has enrolled', () => retired('carol'), /^carol is not enrolled, .* nothing to retire\.$/],
    ['of no name', () => retired('Carol!'), /is no name for a depositary/],
    [
      'with another PIN of the security officer',
      () => retired('alice', 'destroyed', { soPin: Buffer.from('another-pin') }),
      /refused the PIN of the security officer/,
    ],
  ])('not one %s', async (_what, retiring, why) => {
    const stood = standing('alice');
    await expect(retiring()).rejects.toThrow(why);
    expect(standing('alice')).toEqual(stood);
  });
});

describe('on the command line', () => {
  let directory: string;
  const at = (name: string): string => join(directory, name);
  const file = (name: string, text: string): string => {
    writeFileSync(at(name), text, { mode: 0o600 });
    return at(name);
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'escrowd-changed-keys-'));
    file('record.json', JSON.stringify(record));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  /** Runs a command with both PINs in files; what was said and printed, in order. */
  async function run(typed: string | undefined, ...argv: readonly string[]): Promise<readonly string[]> {
    const told: string[] = [];
    const terminal = {
      say: (text: string) => told.push(text),
      ask: (question: string) => {
        told.push(question);
        return Promise.resolve(typed);
      },
    };
    const program = ceremonyCommands(join(process.cwd(), 'hsm-config'), (text) => told.push(text), terminal);
    const place = ['--profile', 'softhsm-2.6', '--label', hsm.place.label];
    const conf = ['--token-conf', hsm.place.environment.SOFTHSM2_CONF, '--record', at('record.json')];
    const both = ['--so-pin-file', file('so', hsm.soPin), '--user-pin-file', file('user', hsm.userPin)];
    await program.parseAsync([...argv, ...place, ...conf, ...both], { from: 'user' });
    record = JSON.parse(readFileSync(at('record.json'), 'utf8')) as CeremonyRecord;
    return told;
  }

  test('what a replacement does is said before, and what comes next after it', async () => {
    const next = makeDepositary('alice');
    const { challenge, answer } = proofOf(next);
    const proof = ['--challenge', file('challenge', challenge), '--answer', file('answer', answer)];
    const [said = '', printed = ''] = await run(undefined, 'replace', 'alice', ...proof);
    expect(said).toContain('THIS CANNOT BE UNDONE');
    expect(said).toContain('escrowctl plan -f POLICY');
    expect(printed).toContain(`alice has another key. The record ${at('record.json')} is up to date.`);
    expect(printed).toContain(fingerprintOf(next));
    expect(await enrolledNow()).toMatchObject({ alice: fingerprintOf(next) });
  });

  test('it is said before a PIN is asked for', async () => {
    const told: string[] = [];
    const terminal = { say: (text: string) => told.push(text), ask: () => Promise.resolve(undefined) };
    const program = ceremonyCommands(join(process.cwd(), 'hsm-config'), () => undefined, terminal);
    const argv = ['retire', 'alice', '--profile', 'softhsm-2.6', '--label', hsm.place.label];
    const conf = ['--token-conf', hsm.place.environment.SOFTHSM2_CONF, '--record', at('record.json')];
    const none = ['--so-pin-file', at('none'), '--user-pin-file', at('none')];
    await expect(program.parseAsync([...argv, ...conf, ...none], { from: 'user' })).rejects.toThrow(
      'cannot be read',
    );
    expect(told.join('')).toContain('escrowctl reseal --leaving alice');
  });

  test.each<[string | undefined, readonly string[], RegExp | undefined]>([
    [undefined, [], /Nobody is there to be asked .* add --yes/],
    ['yes', [], /That is not alice/],
    ['alice', [], undefined],
    [undefined, ['--yes'], undefined],
  ])('private keys are destroyed when their name is typed: %s %s', async (typed, more, refused) => {
    const retiring = run(typed, 'retire', 'alice', '--destroy-server-keys', ...more);
    if (refused !== undefined) {
      await expect(retiring).rejects.toThrow(refused);
      expect(standing('alice')).toHaveLength(3);
      return;
    }
    const told = await retiring;
    expect(told[0]).toContain('IS LOST');
    expect(told.filter((text) => text.includes('type alice'))).toHaveLength(more.length === 0 ? 1 : 0);
    expect(told.at(-1)).toContain('destroy those before');
    expect(standing('alice')).toEqual([]);
  });

  test.each(['replace', 'retire'])('the help of %s says what it does to which keys', (name) => {
    const help: string[] = [];
    const command = ceremonyCommands('', () => undefined).commands.find((one) => one.name() === name);
    command?.configureOutput({ writeOut: (text) => help.push(text) }).outputHelp();
    expect(help.join('')).toMatch(/THIS CANNOT BE UNDONE/);
    expect(help.join('')).toMatch(/escrowctl coverage/);
    expect(help.join('')).toMatch(/run it again/);
  });
});
