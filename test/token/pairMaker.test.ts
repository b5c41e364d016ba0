import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import type { GrantId, RecoveryId } from '../../src/escrow/records/ids.js';
import { attributeLength } from '../../src/token/cryptoki/attributeLength.js';
import { NESTED } from '../../src/token/profile/dialect.js';
import { Mechanisms } from '../../src/token/profile/mechanisms.js';
import { readAttribute } from '../../src/token/objects/objectCheck.js';
import type { OpenToken, TokenGeneration } from '../../src/token/service/openToken.js';
import { withWorkbench } from '../../src/token/service/openToken.js';
import type { NewPair } from '../../src/token/cryptoki/keyPairs.js';
import type { PairMaker, StartPairMaker } from '../../src/token/objects/pairMaker.js';
import { pairProcess } from '../../src/token/objects/pairMaker.js';
import type { SupervisedToken } from '../../src/token/service/supervisedToken.js';
import { superviseToken } from '../../src/token/service/supervisedToken.js';
import { opening, openingKey } from '../../src/token/profile/templates.js';
import type { Gathered, TestDeposit } from '../support/escrowChain.js';
import {
  deposit,
  gatherReplies,
  newRecovery,
  raiseFrom,
  raiseGrant,
  reencrypt,
  releaseFrom,
} from '../support/escrowChain.js';
import { makeNss } from '../support/nss.js';
import type { RawToken } from '../support/rawToken.js';
import { openRaw } from '../support/rawToken.js';
import { programOf, runTs } from '../support/runTs.js';
import type { SoftHsm, TestDepositary } from '../support/softhsm.js';
import { enrolledSoftHsm, makeSoftHsm, SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';
import type { TestToken } from '../support/testToken.js';
import { until } from '../support/waiting.js';
import { LIMITS_MS } from '../support/limits.js';
import { signOne } from '../support/signOne.js';

jest.setTimeout(LIMITS_MS.token);

const PROGRAM = programOf(join(process.cwd(), 'src', 'pairProgram.ts'));
const DIGEST = createHash('sha256').update('an invoice').digest();
const lines: string[] = [];
const log = (_level: string, message: string): void => void lines.push(message);
const apart = pairProcess(PROGRAM, { deadlineMs: 60_000, log });

const createTransport = (token: OpenToken, recovery: RecoveryId): Promise<Uint8Array> =>
  token.lend(['createTransport'], async (lent) => (await lent.createTransport(recovery)).publicKey);
const destroyTransport = (token: OpenToken, recovery: RecoveryId): Promise<void> =>
  token.lend(['destroyTransport'], (lent) => lent.destroyTransport(recovery));

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

/** A promise that is settled from outside. */
function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

/** Does something else, or more, where a pair is made. */
function making(make: (label: string, real: PairMaker) => Promise<void>): StartPairMaker {
  return (place, pin) => {
    const real = apart(place, pin);
    return {
      get isAtWork() {
        return real.isAtWork;
      },
      make: (label) => make(label, real),
      close: () => real.close(),
    };
  };
}

describe('while a pair is in the making', () => {
  const LONGEST_WAIT_MS = 2_000;
  let token: TokenGeneration;
  let supervised: SupervisedToken;
  let forRelease: TestDeposit;
  let forGrant: TestDeposit;
  let grant: GrantId;
  let gathered: readonly [Gathered, Gathered];

  async function prepare(startPairs?: StartPairMaker): Promise<void> {
    token = await hsm.open({
      waitMs: LONGEST_WAIT_MS,
      ...(startPairs === undefined ? {} : { startPairs }),
    });
    const open = (): Promise<TokenGeneration> => Promise.reject(new Error('it was not gone'));
    const supervision = { open, probeMs: 50, waitMs: LONGEST_WAIT_MS, recycleAfterObjects: 0, log };
    supervised = superviseToken(token, supervision);
    forRelease = await deposit(supervised, 'ec-p256', 'release', [alice]);
    forGrant = await deposit(supervised, 'ec-p256', 'operate', [alice]);
    grant = await raiseGrant(supervised, forGrant, 'sign', [alice]);
    gathered = [
      await gatherReplies(supervised, forRelease, [alice]),
      await gatherReplies(supervised, forGrant, [alice]),
    ];
  }

  test('a birth, a signature, a release, a grant and its end, the probe, the anchor and the inventory do not wait for it', async () => {
    const begun = gate();
    const held = gate();
    let isHeld = false;
    await prepare(
      making(async (label, real) => {
        if (isHeld) {
          begun.open();
          await held.passed;
        }
        await real.make(label);
      }),
    );
    try {
      isHeld = true;
      let isMade = false;
      const recovery = newRecovery();
      const pending = createTransport(supervised, recovery).then(() => (isMade = true));
      await begun.passed;
      await deposit(supervised, 'ec-p384', 'release', [alice]);
      await supervised.lend(['sign'], (lent) => signOne(lent, grant, 'ec-p256', 'ES256', DIGEST));
      await releaseFrom(supervised, forRelease, alice, gathered[0]);
      const another = await raiseFrom(supervised, forGrant, 'sign', gathered[1]);
      await supervised.lend(['sign'], (lent) => signOne(lent, another, 'ec-p256', 'ES256', DIGEST));
      for (const id of [another, grant])
        await supervised.lend(['destroyGrant'], (lent) => lent.destroyGrant(id));
      await supervised.check();
      await supervised.readAnchor();
      expect(await supervised.standing()).toEqual({ transports: [], grants: [], imports: [] });
      expect(isMade).toBe(false);
      held.open();
      await pending;
      expect(await supervised.standing()).toEqual({ transports: [recovery], grants: [], imports: [] });
      await destroyTransport(supervised, recovery);
      expect(await supervised.standing()).toEqual({ transports: [], grants: [], imports: [] });
    } finally {
      held.open();
      await supervised.close();
    }
  });

  test('control: made in the queue of token objects, it keeps all of them waiting that need that queue', async () => {
    await prepare();
    const begun = gate();
    const held = gate();
    await withWorkbench(token, (parts) => {
      const { generatePair } = parts;
      Object.assign(parts, {
        generatePair: async (...given: Parameters<typeof generatePair>) => {
          begun.open();
          await held.passed;
          return generatePair(...given);
        },
      });
      return Promise.resolve();
    });
    try {
      const recovery = newRecovery();
      const pending = createTransport(supervised, recovery);
      await begun.passed;
      const waited = { code: 'token-unavailable' };
      await expect(releaseFrom(supervised, forRelease, alice, gathered[0])).rejects.toMatchObject(waited);
      held.open();
      await pending;
      await destroyTransport(supervised, recovery);
      for (const { recovery: each } of gathered) await destroyTransport(supervised, each);
      await supervised.lend(['destroyGrant'], (lent) => lent.destroyGrant(grant));
    } finally {
      held.open();
      await supervised.close();
    }
  });

  test('the inventory takes what is half made for what it will be, if a record has it', async () => {
    const half = gate();
    const held = gate();
    let raw: RawToken | undefined;
    token = await hsm.open({
      startPairs: making(async (label, real) => {
        const begun = rawPair(raw, label);
        half.open();
        await held.passed;
        for (const handle of [begun.privateKey, begun.publicKey])
          raw?.driver.C_DestroyObject(raw.session, handle);
        await real.make(label);
      }),
    });
    try {
      raw = openRaw(hsm, 'as is');
      const { driver, session } = raw;
      const recovery = newRecovery();
      const foreign = [
        { alarm: 'token-object-foreign', what: `private key "transport:${recovery}"` },
      ] as const;
      const recorded = (...ids: RecoveryId[]) =>
        token.unaccounted(() =>
          Promise.resolve({ transports: new Set(ids), grants: new Map(), imports: new Set() }),
        );
      const pending = createTransport(token, recovery);
      await half.passed;
      expect(await recorded(recovery)).toEqual([]);
      expect(await recorded()).toEqual(foreign);
      for (const [what, planted] of [
        ['data object', { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_DATA }],
        ['secret key', undefined],
      ] as const) {
        const named = [
          { type: pkcs11.CKA_LABEL, value: `transport:${recovery}` },
          { type: pkcs11.CKA_TOKEN, value: true },
        ];
        const aes = { mechanism: pkcs11.CKM_AES_KEY_GEN };
        const handle =
          planted === undefined
            ? driver.C_GenerateKey(session, aes, [...named, { type: pkcs11.CKA_VALUE_LEN, value: 32 }])
            : driver.C_CreateObject(session, [planted, ...named]);
        const alarm = { alarm: 'token-object-foreign', what: `${what} "transport:${recovery}"` };
        expect(await recorded(recovery)).toEqual([alarm]);
        driver.C_DestroyObject(session, handle);
      }
      held.open();
      await pending;
      expect(await recorded(recovery)).toEqual([]);
      await destroyTransport(token, recovery);
      const planted = rawPair(raw, `transport:${recovery}`);
      expect(await recorded(recovery)).toEqual(foreign);
      for (const handle of [planted.privateKey, planted.publicKey])
        raw.driver.C_DestroyObject(raw.session, handle);
    } finally {
      held.open();
      raw?.close();
      await token.close();
    }
  });
});

/** Whether a process runs; one that has ended may wait to be reaped (proc(5), the state is behind the name in parentheses). */
function isAlive(pid: string): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !/\) [ZX] /.test(readFileSync(file, 'utf8'));
}

/** A pair under this label that is not as the daemon makes them. */
function rawPair(raw: RawToken | undefined, label: string): NewPair {
  if (raw === undefined) throw new Error('the token is not open');
  const both = [
    { type: pkcs11.CKA_LABEL, value: label },
    { type: pkcs11.CKA_TOKEN, value: true },
  ];
  const numbers = [
    { type: pkcs11.CKA_MODULUS_BITS, value: 2048 },
    { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
  ];
  const mechanism = { mechanism: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN };
  return raw.driver.C_GenerateKeyPair(raw.session, mechanism, [...both, ...numbers], both);
}

describe.each([
  { name: 'SoftHSM 2.6', make: () => makeSoftHsm('pairs') },
  { name: 'NSS softokn 3', make: () => makeNss('pairs') },
])('$name', ({ make }) => {
  let made: TestToken;

  beforeAll(async () => {
    made = await make();
    await made.enrolDepositary('alice');
  });
  afterAll(() => {
    made.remove();
  });

  test('a pair made by the process of its own has every attribute of one made in the queue, and insists on as much', async () => {
    const token = await made.open({ startPairs: apart });
    const raw = openRaw(made, 'as is');
    try {
      const [outside, inside] = [newRecovery(), newRecovery()];
      await createTransport(token, outside);
      await withWorkbench(token, (parts) => {
        Object.assign(parts, { pairMaker: undefined });
        return Promise.resolve();
      });
      await createTransport(token, inside);
      for (const objectClass of [pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY]) {
        const [one, other] = [outside, inside].map((recovery) => {
          const found = raw.find([
            { type: pkcs11.CKA_CLASS, value: objectClass },
            { type: pkcs11.CKA_LABEL, value: `transport:${recovery}` },
          ]);
          expect(found).toHaveLength(1);
          return attributesOf(raw, found[0]);
        });
        expect(Object.keys(one ?? {}).length).toBeGreaterThan(15);
        expect(one).toEqual(other);
      }
      const { profile } = made.place;
      if (!profile.absentAttributes.includes('CKA_UNWRAP_TEMPLATE'))
        for (const recovery of [outside, inside]) expectInsists(raw, made, recovery);
      for (const recovery of [outside, inside]) await destroyTransport(token, recovery);
    } finally {
      raw.close();
      await token.close();
    }
  });
});

/** Every attribute that an object shows, by its number; of nested templates the length. What no two pairs share is left out. */
function attributesOf(raw: RawToken, object: Handle | undefined): Readonly<Record<number, string | number>> {
  if (object === undefined) throw new Error('there is no such object');
  const { driver, session } = raw;
  const own = new Set<number>([pkcs11.CKA_LABEL, pkcs11.CKA_MODULUS, pkcs11.CKA_ID, pkcs11.CKA_CHECK_VALUE]);
  const types = Object.entries(pkcs11).flatMap(([name, number]) =>
    name.startsWith('CKA_') && typeof number === 'number' && !own.has(number) ? [number] : [],
  );
  const shown: Record<number, string | number> = {};
  for (const type of types) {
    const length = lengthOf(raw, object, type);
    if (length === undefined) continue;
    shown[type] =
      NESTED.has(type) || length === 0
        ? length
        : (readAttribute(driver, session, object, type)?.toString('hex') ?? 'hidden');
  }
  return shown;
}

/** Undefined for what this object does not have, or shows nobody. */
function lengthOf({ driver, session }: RawToken, object: Handle, type: number): number | undefined {
  try {
    return attributeLength(driver, session, object, type);
  } catch {
    return undefined;
  }
}

/** What it unwraps may open, and must be nothing more. */
function expectInsists(raw: RawToken, { place }: TestToken, recovery: RecoveryId): void {
  const { driver, session } = raw;
  const mechanisms = new Mechanisms(place.profile);
  const [pair] = [pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY].map((value) =>
    raw.find([
      { type: pkcs11.CKA_CLASS, value },
      { type: pkcs11.CKA_LABEL, value: `transport:${recovery}` },
    ]),
  );
  const [privateKey] = raw.find([
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY },
    { type: pkcs11.CKA_LABEL, value: `transport:${recovery}` },
  ]);
  const publicKey = pair?.[0];
  if (publicKey === undefined || privateKey === undefined) throw new Error('there is no pair');
  const secret = driver.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    { type: pkcs11.CKA_EXTRACTABLE, value: true },
  ]);
  const wrapped = Buffer.from(
    driver.C_WrapKey(session, mechanisms.oaep(), publicKey, secret, Buffer.alloc(384)),
  );
  const gcm = mechanisms.number('aesGcm');
  const unwrap = (template: Parameters<typeof driver.C_UnwrapKey>[4]): Handle =>
    driver.C_UnwrapKey(session, mechanisms.oaep(), privateKey, wrapped, template);
  driver.C_DestroyObject(session, unwrap(openingKey(gcm)));
  for (const [index, { type, value }] of opening(gcm).entries()) {
    if (typeof value !== 'boolean') continue;
    const changed = opening(gcm).with(index, { type, value: !value });
    expect(() => unwrap(changed)).toThrow(/CKR_TEMPLATE_INCONSISTENT|CKR_ATTRIBUTE_READ_ONLY/);
  }
  driver.C_DestroyObject(session, secret);
}

describe('the process that makes pairs', () => {
  const programs = mkdtempSync(join(tmpdir(), 'escrowd-programs-'));
  const objects = (token: OpenToken, recovery: RecoveryId): Promise<number> =>
    withWorkbench(token, ({ objects: all, driver }) =>
      all.alone((session) => {
        driver.C_FindObjectsInit(session, [{ type: pkcs11.CKA_LABEL, value: `transport:${recovery}` }]);
        const found = driver.C_FindObjects(session, 10).length;
        driver.C_FindObjectsFinal(session);
        return found;
      }),
    );
  afterAll(() => {
    rmSync(programs, { recursive: true, force: true });
  });

  /** A process that does `text` when it is to make a pair. */
  function program(text: string): string {
    const file = join(programs, `${createHash('sha256').update(text).digest('hex')}.cjs`);
    writeFileSync(file, `process.on('message', ({ order }) => { if (order === 'make') { ${text} } });\n`);
    return file;
  }

  test('eight pairs beside births, grants and their ends: none fails, each opens what was sent to it, and nothing is left', async () => {
    const token = await hsm.open({ startPairs: apart, waitMs: 60_000 });
    try {
      const kept = await deposit(token, 'ec-p256', 'operate', [alice]);
      let isOver = false;
      const others = async (): Promise<number> => {
        let done = 0;
        for (; !isOver; done += 1) {
          const again = await deposit(token, 'ec-p256', 'operate', [alice]);
          expect(again.members).toHaveLength(1);
          await token.unaccounted(async (named) => {
            await Promise.resolve();
            return { transports: new Set(named.transports), grants: new Map(), imports: new Set() };
          });
        }
        return done;
      };
      const beside = others();
      const requests = async (): Promise<void> => {
        for (let index = 0; index < 2; index += 1) {
          const id = await raiseGrant(token, kept, 'sign', [alice]);
          await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(id));
        }
      };
      await Promise.all(Array.from({ length: 4 }, requests));
      isOver = true;
      expect(await beside).toBeGreaterThan(0);
      expect(await token.standing()).toEqual({ transports: [], grants: [], imports: [] });
    } finally {
      await token.close();
    }
  });

  test('a pair that was made and is not seen is made again, and there is one in the end', async () => {
    let isFirst = true;
    const startPairs = making(async (label, real) => {
      await real.make(label);
      if (isFirst) await real.make(label);
      isFirst = false;
    });
    const token = await hsm.open({ startPairs });
    try {
      const recovery = newRecovery();
      await createTransport(token, recovery);
      expect(await objects(token, recovery)).toBe(2);
      await destroyTransport(token, recovery);
      expect(await objects(token, recovery)).toBe(0);
    } finally {
      await token.close();
    }
    let made = 0;
    const never = await hsm.open({ startPairs: making(() => Promise.resolve(void (made += 1))) });
    try {
      await expect(createTransport(never, newRecovery())).rejects.toMatchObject({
        code: 'token-unavailable',
      });
      expect(made).toBe(5);
    } finally {
      await never.close();
    }
  });

  test.each([
    { what: 'ends in the middle', text: 'process.exit(3)', deadlineMs: 60_000, fails: false },
    {
      what: 'answers a fault of the token',
      text: 'process.send({ answer: 0x101 })',
      deadlineMs: 60_000,
      fails: false,
    },
    { what: 'does not come back', text: '', deadlineMs: 100, fails: true },
  ])(
    'when it $what the operator is told and pairs are made in the queue; that of the request under way: it fails $fails',
    async ({ text, deadlineMs, fails }) => {
      lines.splice(0);
      const token = await hsm.open({ startPairs: pairProcess(program(text), { deadlineMs, log }) });
      try {
        const first = newRecovery();
        const made = createTransport(token, first);
        if (fails) await expect(made).rejects.toMatchObject({ code: 'token-unavailable' });
        else {
          await made;
          expect(await objects(token, first)).toBe(2);
          await destroyTransport(token, first);
        }
        expect(lines).toContainEqual(expect.stringContaining('the process that makes key pairs has ended'));
        const recovery = newRecovery();
        const publicKey = await createTransport(token, recovery);
        const kept = await deposit(token, 'ec-p256', 'release', [alice]);
        const replies = kept.members.map(({ share }) => reencrypt(alice, share, publicKey));
        await releaseFrom(token, kept, alice, { recovery, replies });
        expect(await token.standing()).toEqual({ transports: [], grants: [], imports: [] });
      } finally {
        await token.close();
      }
    },
  );

  test('what it had made before it met a fault is replaced by the pair that is made in the queue', async () => {
    const startPairs = making(async (label, real) => {
      await real.make(label);
      await real.close();
      await real.make(label);
    });
    const token = await hsm.open({ startPairs });
    try {
      const recovery = newRecovery();
      await createTransport(token, recovery);
      expect(await objects(token, recovery)).toBe(2);
      await destroyTransport(token, recovery);
    } finally {
      await token.close();
    }
  });

  test('it ends with the process that started it, however that ends', async () => {
    const { profile, label, environment } = hsm.place;
    expect(profile.profile).toContain('softhsm');
    const parent = runTs(join(process.cwd(), 'test', 'token', 'pairParent.ts'), {
      args: [PROGRAM, SOFTHSM_PROFILE_FILE, label, environment.SOFTHSM2_CONF, hsm.userPin],
    });
    const { stdout, pid } = parent;
    if (stdout === null || pid === undefined) throw new Error('it was not started');
    await once(createInterface({ input: stdout }), 'line');
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    expect(child).toMatch(/^[0-9]+$/);
    // it has asked for the next by now
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    await until(() => !isAlive(child ?? ''));
    const raw = openRaw(hsm, 'user');
    const left = raw.find([{ type: pkcs11.CKA_LABEL, value: 'transport:0' }]);
    expect(left).toHaveLength(2);
    for (const name of ['transport:0', 'transport:1'])
      for (const handle of raw.find([{ type: pkcs11.CKA_LABEL, value: name }]))
        raw.driver.C_DestroyObject(raw.session, handle);
    raw.close();
  });
});
