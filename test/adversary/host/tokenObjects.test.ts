import { createHash, createPublicKey, verify } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import type { GrantId, RecoveryId } from '../../../src/escrow/records/ids.js';
import type {
  RaisedGrant,
  RecordedObjects,
  UnaccountedObject,
  Wrapped,
} from '../../../src/escrow/ports/token.js';
import type { Template } from '../../../src/token/cryptoki/attributes.js';
import { trustedKek } from '../../../src/token/profile/ceremonyTemplates.js';
import { Mechanisms } from '../../../src/token/profile/mechanisms.js';
import { ObjectCheck } from '../../../src/token/objects/objectCheck.js';
import type { OpenToken } from '../../../src/token/service/openToken.js';
import { openToken } from '../../../src/token/service/openToken.js';
import type { TokenPins } from '../../../src/token/objects/ceremonyPins.js';
import { readPins } from '../../../src/token/objects/ceremonyPins.js';
import { CURVES } from '../../../src/token/cryptoki/spki.js';
import { grantKey, unwrappingPair } from '../../../src/token/profile/templates.js';
import type { TestDeposit } from '../../support/escrowChain.js';
import {
  deposit,
  gatherReplies,
  newGrant,
  newRecovery,
  opened,
  OPENING,
  openQuorum,
} from '../../support/escrowChain.js';
import type { RawToken } from '../../support/rawToken.js';
import { openRaw } from '../../support/rawToken.js';
import type { SoftHsm, TestDepositary } from '../../support/softhsm.js';
import { makeSoftHsm } from '../../support/softhsm.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.token);

/*
 * Somebody has the host, the user PIN, and the C of a key that a quorum has opened once. Every kind of object that they can put
 * into the token is a row: it is told, or refused by the token, or it is said here why it is neither.
 */
let hsm: SoftHsm;
let token: OpenToken;
let alice: TestDepositary;
let raw: RawToken;
let kept: TestDeposit;
let wrapped: Wrapped;
/** What the records have: requests that are open, and grants that run. */
const transports = new Set<RecoveryId>();
const grants = new Map<GrantId, RaisedGrant | undefined>();
const SIGNS: RaisedGrant = { spec: 'ec-p256', uses: ['sign'], mechanisms: ['ES256'] };
/** What the record of the ceremony says. */
let pins: TokenPins & { readonly labels: Set<string> };
/** What the operators were told with. */
const said: object[] = [];
let grant: GrantId;
let recovery: RecoveryId;

beforeAll(async () => {
  hsm = await makeSoftHsm();
  alice = await hsm.enrolDepositary('alice');
  const { label } = hsm.place;
  const recordPins = readPins(JSON.stringify(hsm.record()), { label });
  pins = { ...recordPins, labels: new Set(recordPins.labels) };
  token = await openToken({
    ...hsm.place,
    pin: Buffer.from(hsm.userPin),
    pins,
    log: (_level, _message, fields) => said.push({ ...fields }),
  });
  raw = openRaw(hsm, 'as is');
  kept = await deposit(token, 'ec-p256', 'operate', [alice]);
  wrapped = await openedOnce();
  grant = await raise();
  grants.set(grant, SIGNS);
  recovery = newRecovery();
  await token.lend(['createTransport'], (lent) => lent.createTransport(recovery));
  transports.add(recovery);
});
afterAll(async () => {
  raw.close();
  await token.close();
  hsm.remove();
});

/** A quorum has agreed once: C has been in the host's memory. */
async function openedOnce(): Promise<Wrapped> {
  const { recovery: once, replies } = await gatherReplies(token, kept, [alice]);
  return token.lend([...OPENING, 'destroyTransport'], async (lent) => {
    const found = await openQuorum(lent, once, kept, replies);
    await lent.destroyTransport(once);
    return found;
  });
}

async function raise(): Promise<GrantId> {
  const id = newGrant();
  const order = { wrapped, spec: 'ec-p256', use: 'sign', mechanisms: ['ES256'] } as const;
  opened(await token.lend(['raiseGrant'], (lent) => lent.raiseGrant({ grant: id, ...order })));
  return id;
}

const recorded = (): Promise<RecordedObjects> => Promise.resolve({ transports, grants, imports: new Set() });
const look = (): Promise<readonly UnaccountedObject[]> => token.unaccounted(recorded);

const KWP = 0x210a;
const IN_TOKEN: Template = [{ type: pkcs11.CKA_TOKEN, value: true }];
const HIDDEN: Template = [{ type: pkcs11.CKA_PRIVATE, value: true }];
const SEEN: Template = [{ type: pkcs11.CKA_PRIVATE, value: false }];
const labelled = (label: string): Template => [{ type: pkcs11.CKA_LABEL, value: label }];
const one = (label: string): Handle => {
  const [handle] = raw.find([...labelled(label), ...IN_TOKEN]);
  if (handle === undefined) throw new Error(`there is no ${label}`);
  return handle;
};

function makeSecret(label: string, where = [...IN_TOKEN, ...HIDDEN], more: Template = []): void {
  raw.driver.C_GenerateKey(raw.session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    ...where,
    ...labelled(label),
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    ...more,
  ]);
}

function makePair(label: string, mechanism: number, numbers: Template, more: Template = []): void {
  const both = [...labelled(label), ...IN_TOKEN];
  raw.driver.C_GenerateKeyPair(
    raw.session,
    { mechanism },
    [...both, ...numbers],
    [...both, ...HIDDEN, ...more],
  );
}

const P256: Template = [{ type: pkcs11.CKA_EC_PARAMS, value: CURVES.secp256r1.params }];
const RSA: Template = [
  { type: pkcs11.CKA_MODULUS_BITS, value: 2048 },
  { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
];

/** As the daemon raises one, but without the daemon: from the C that it saw. */
function makeShadow(label: string, mechanisms = [pkcs11.CKM_ECDSA]): Handle {
  return raw.driver.C_UnwrapKey(
    raw.session,
    { mechanism: KWP },
    one(wrapped.kek),
    Buffer.from(wrapped.sealed),
    grantKey(label, 'ec-p256', 'sign', mechanisms),
  );
}

/** As the ceremony or the daemon makes one. */
function makeUnwrapping(label: string): void {
  const { publicKey, privateKey } = unwrappingPair(label, new Mechanisms(hsm.place.profile).opening());
  raw.driver.C_GenerateKeyPair(
    raw.session,
    { mechanism: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN },
    publicKey,
    privateKey,
  );
}

function makeData(label: string): void {
  raw.driver.C_CreateObject(raw.session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_DATA },
    ...IN_TOKEN,
    ...HIDDEN,
    ...labelled(label),
    { type: pkcs11.CKA_VALUE, value: Buffer.alloc(32, 1) },
  ]);
}

const foreign = (...what: readonly string[]): readonly UnaccountedObject[] =>
  what.map((each) => ({ alarm: 'token-object-foreign', what: each }));
const twice = (...what: readonly string[]): readonly UnaccountedObject[] =>
  what.map((each) => ({ alarm: 'token-object-twice', what: each }));

const NOBODYS_GRANT = newGrant();
const NOBODYS_REQUEST = newRecovery();

interface Row {
  readonly object: string;
  readonly make: () => void | Promise<void>;
  readonly told: () => readonly UnaccountedObject[];
  /** What finds it: that escrowd calls nothing so, how it is made, that no record has it, or that there are two. */
  readonly by: 'name' | 'make' | 'record' | 'number';
}

const FOUND: readonly Row[] = [
  {
    object: 'an AES key',
    make: () => {
      makeSecret('spare');
    },
    told: () => foreign('secret key "spare"'),
    by: 'name',
  },
  {
    object: 'an AES key that is there for everybody, without a login',
    make: () => {
      makeSecret('public', [...IN_TOKEN, ...SEEN]);
    },
    told: () => foreign('secret key "public"'),
    by: 'name',
  },
  {
    object: 'a secret of their own, brought in',
    make: () =>
      void raw.driver.C_CreateObject(raw.session, [
        { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
        { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_GENERIC_SECRET },
        ...IN_TOKEN,
        ...HIDDEN,
        ...labelled('mine'),
        { type: pkcs11.CKA_VALUE, value: Buffer.alloc(20, 1) },
      ]),
    told: () => foreign('secret key "mine"'),
    by: 'name',
  },
  {
    object: 'an RSA pair',
    make: () => {
      makePair('spare', pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, RSA);
    },
    told: () => foreign('private key "spare"'),
    by: 'name',
  },
  {
    object: 'an EC pair',
    make: () => {
      makePair('spare', pkcs11.CKM_EC_KEY_PAIR_GEN, P256);
    },
    told: () => foreign('private key "spare"'),
    by: 'name',
  },
  {
    object: 'a key without a name',
    make: () => {
      makeSecret('');
    },
    told: () => foreign('secret key ""'),
    by: 'name',
  },
  {
    object: 'a key whose name cannot be told from one of escrowd',
    make: () => {
      makeSecret('identity\u200b');
    },
    told: () => foreign('secret key "identity\\u{200b}"'),
    by: 'name',
  },
  {
    object: 'a key whose name writes over the terminal, at length',
    make: () => {
      makeSecret(`\u001b[2J${'x'.repeat(200)}`);
    },
    told: () => foreign(`secret key "\\u{1b}[2J${'x'.repeat(76)}..."`),
    by: 'name',
  },
  {
    object: 'a shadow of a grant, under another name',
    make: () => void makeShadow('shadow'),
    told: () => foreign('private key "shadow"'),
    by: 'name',
  },
  {
    object: 'a shadow of a grant, under the name of a grant that nobody has',
    make: () => void makeShadow(`grant:${NOBODYS_GRANT}`),
    told: () => foreign(`private key "grant:${NOBODYS_GRANT}"`),
    by: 'record',
  },
  {
    object: 'a shadow of a grant, under its own name',
    make: () => void makeShadow(`grant:${grant}`),
    told: () => twice(`private key "grant:${grant}"`),
    by: 'number',
  },
  {
    object: 'a shadow in the place of a grant, which may do more',
    make: async () => {
      const id = await raise();
      grants.set(id, SIGNS);
      for (const handle of raw.find(labelled(`grant:${id}`))) raw.driver.C_DestroyObject(raw.session, handle);
      makeShadow(`grant:${id}`, [pkcs11.CKM_ECDSA, pkcs11.CKM_ECDSA_SHA1]);
    },
    told: () => foreign(`private key "grant:${[...grants.keys()].at(-1)}"`),
    by: 'make',
  },
  {
    object: 'a key of another class under the name of a grant',
    make: () => {
      makeSecret(`grant:${grant}`);
    },
    told: () => foreign(`secret key "grant:${grant}"`),
    by: 'make',
  },
  {
    object: 'a pair for a request that nobody has made',
    make: () => {
      makeUnwrapping(`transport:${NOBODYS_REQUEST}`);
    },
    told: () => foreign(`private key "transport:${NOBODYS_REQUEST}"`),
    by: 'record',
  },
  {
    object: 'a second pair for a request',
    make: () => {
      makeUnwrapping(`transport:${recovery}`);
    },
    told: () => twice(`private key "transport:${recovery}"`),
    by: 'number',
  },
  {
    object: 'a key that decrypts under the name of the pair of a request',
    make: async () => {
      const id = newRecovery();
      transports.add(id);
      await Promise.resolve();
      makePair(`transport:${id}`, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, RSA);
    },
    told: () => foreign(`private key "transport:${[...transports].at(-1)}"`),
    by: 'make',
  },
  {
    object: "a pair of the server's regarding somebody whom nobody has enrolled",
    make: () => {
      makeUnwrapping('server-for:mallory:v1');
    },
    told: () => foreign('private key "server-for:mallory:v1"'),
    by: 'record',
  },
  {
    object: "a second pair of the server's regarding a depositary",
    make: () => {
      makeUnwrapping('server-for:alice:v1');
    },
    told: () => [
      ...foreign('private key "server-for:alice:v1"'),
      ...twice('private key "server-for:alice:v1"'),
    ],
    by: 'number',
  },
  {
    object: 'a newer KEK',
    make: () => {
      makeSecret('kek:operate:sign:v2', [...IN_TOKEN, ...HIDDEN], kekLike('kek:operate:sign:v2'));
    },
    told: () => foreign('secret key "kek:operate:sign:v2"'),
    by: 'make',
  },
  {
    object: 'a twin of a KEK, which has to be copyable',
    make: () => void raw.driver.C_CopyObject(raw.session, one('kek:operate:sign:v1'), []),
    told: () => twice('secret key "kek:operate:sign:v1"'),
    by: 'number',
  },
  {
    object: 'a rotating handle of a version that there is not',
    make: () => {
      makeSecret('kek-rotate:operate:sign:v2');
    },
    told: () => foreign('secret key "kek-rotate:operate:sign:v2"'),
    by: 'name',
  },
  {
    object: 'bytes in a data object',
    make: () => {
      makeData('loot');
    },
    told: () => foreign('data object "loot"'),
    by: 'name',
  },
];

/** What the ceremony would make, but generated: only the security officer makes a key trusted. */
function kekLike(label: string): Template {
  const OTHERWISE: ReadonlySet<number> = new Set([
    pkcs11.CKA_CLASS,
    pkcs11.CKA_KEY_TYPE,
    pkcs11.CKA_VALUE_LEN,
    pkcs11.CKA_TOKEN,
    pkcs11.CKA_PRIVATE,
    pkcs11.CKA_LABEL,
    pkcs11.CKA_TRUSTED,
  ]);
  return trustedKek('operate:sign', label, KWP).filter(({ type }) => !OTHERWISE.has(type));
}

function copyOf(label: string, name: string): Handle {
  return raw.driver.C_CopyObject(raw.session, one(label), labelled(name));
}

/** Makes the objects of a row, and takes them away afterwards. */
async function withObjects<T>(make: Row['make'], use: () => Promise<T>): Promise<T> {
  const inToken = (): readonly Handle[] => raw.find(IN_TOKEN);
  const before = new Set(inToken().map((handle) => handle.toString('hex')));
  try {
    await make();
    return await use();
  } finally {
    for (const handle of inToken())
      if (!before.has(handle.toString('hex'))) raw.driver.C_DestroyObject(raw.session, handle);
  }
}

test('what the ceremony and the daemon have made is accounted for', async () => {
  expect(await look()).toEqual([]);
});

test('one that is in the making is accounted for by what announces it, and not without', async () => {
  const [id, pair] = [newGrant(), newRecovery()];
  const make = (): void => {
    makeShadow(`grant:${id}`);
    makeUnwrapping(`transport:${pair}`);
  };
  await withObjects(make, async () => {
    const announced = {
      transports: new Set([...transports, pair]),
      imports: new Set<never>(),
      grants: new Map([...grants, [id, undefined] as const]),
    };
    expect(await token.unaccounted(() => Promise.resolve(announced))).toEqual([]);
    const found = foreign(`private key "grant:${id}"`, `private key "transport:${pair}"`);
    expect(await look()).toEqual(expect.arrayContaining([...found]));
  });
});

describe.each(FOUND)('$object', ({ make, told, by }) => {
  test('is told, and no more when it is gone', async () => {
    expect(await withObjects(make, look)).toEqual(told());
    expect(await look()).toEqual([]);
  });

  test('is not seen without what finds it', async () => {
    const before = await token.standing();
    await withObjects(make, async () => {
      switch (by) {
        case 'name':
        case 'number':
          // what the daemon destroys strays by: it knows the names of the records, and no others, and each once
          expect(await token.standing()).toEqual(before);
          return;
        case 'make': {
          const blind = jest.spyOn(ObjectCheck.prototype, 'isAsMade').mockReturnValue(true);
          expect((await look()).filter(({ alarm }) => alarm === 'token-object-foreign')).toEqual([]);
          blind.mockRestore();
          return;
        }
        case 'record': {
          pins.labels.add('server-for:mallory:v1');
          const all = {
            transports: new Set([...transports, NOBODYS_REQUEST]),
            imports: new Set<never>(),
            grants: new Map([...grants, [NOBODYS_GRANT, SIGNS] as const]),
          };
          expect(await token.unaccounted(() => Promise.resolve(all))).toEqual([]);
          pins.labels.delete('server-for:mallory:v1');
        }
      }
    });
  });
});

test('a shadow signs on when its grant is gone, and nobody but this look sees it', async () => {
  const id = await raise();
  await withObjects(
    () => void makeShadow('shadow'),
    async () => {
      const { grants: raised } = await token.standing();
      await token.lend(['destroyGrant'], (lent) => lent.destroyGrant(id));
      const digest = createHash('sha256').update('unlogged').digest();
      raw.driver.C_SignInit(raw.session, { mechanism: pkcs11.CKM_ECDSA }, one('shadow'));
      const signature = raw.driver.C_Sign(raw.session, digest, Buffer.alloc(64));
      const key = createPublicKey({ key: Buffer.from(kept.publicKey ?? []), format: 'der', type: 'spki' });
      expect(verify('sha256', Buffer.from('unlogged'), { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(
        true,
      );
      expect((await token.standing()).grants).toEqual(raised.filter((other) => other !== id));
      expect(await look()).toEqual(foreign('private key "shadow"'));
    },
  );
});

describe('not told', () => {
  test.each([
    {
      object: 'a grant copied under another name: the token refuses',
      make: (): void => {
        expect(() => copyOf(`grant:${grant}`, 'copy')).toThrow(/:27$|ACTION_PROHIBITED/);
      },
    },
    {
      object: 'a KEK copied under another name: the token refuses',
      make: (): void => {
        expect(() => copyOf('kek:operate:sign:v1', 'backup')).toThrow(/READ_ONLY/);
      },
    },
    {
      object: "another key in the place of a grant: what it signs verifies under nobody's key",
      make: async (): Promise<void> => {
        const id = await raise();
        grants.set(id, SIGNS);
        for (const handle of raw.find(labelled(`grant:${id}`)))
          raw.driver.C_DestroyObject(raw.session, handle);
        const asRaised = grantKey(`grant:${id}`, 'ec-p256', 'sign', [pkcs11.CKM_ECDSA]);
        raw.driver.C_GenerateKeyPair(
          raw.session,
          { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
          [...P256, ...SEEN],
          asRaised,
        );
      },
    },
    {
      object: 'a public key, under any name: it opens and signs nothing, and is not trusted',
      make: (): void =>
        void raw.driver.C_CreateObject(raw.session, [
          { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
          { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_RSA },
          ...IN_TOKEN,
          ...SEEN,
          ...labelled('depositary:mallory'),
          { type: pkcs11.CKA_MODULUS, value: Buffer.alloc(256, 0xc1) },
          { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
        ]),
    },
    {
      object: 'an anchor: two stand there at times, and what it says is held against the log',
      make: (): void => {
        makeData('anchor:log');
      },
    },
    {
      object: 'a key in flight: it is of one session, cannot be seen by another process, and dies with it',
      make: (): void => {
        makeSecret('in flight', [{ type: pkcs11.CKA_TOKEN, value: false }, ...HIDDEN]);
      },
    },
  ] satisfies readonly Pick<Row, 'object' | 'make'>[])('$object', async ({ make }) => {
    expect(await withObjects(make, look)).toEqual([]);
  });
});

test('with a second identity key the token is not used at all, and that is its alarm', async () => {
  await withObjects(
    () => {
      makePair('identity', pkcs11.CKM_EC_KEY_PAIR_GEN, P256);
    },
    async () => {
      await expect(look()).rejects.toMatchObject({ code: 'token-unavailable' });
      expect(said).toContainEqual(expect.objectContaining({ alarm: 'token-object-twice' }));
    },
  );
});
