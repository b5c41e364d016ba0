import { constants, createPublicKey, generateKeyPairSync, publicEncrypt } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import pkcs11 from 'pkcs11js';

import { wrapFor } from '../../src/client/import/importPair.js';
import { openRelease } from '../../src/client/depositary/release.js';
import type { ImportId } from '../../src/escrow/records/ids.js';
import { newId } from '../../src/escrow/records/ids.js';
import type { ImportableSpec } from '../../src/escrow/records/keySpecs.js';
import { IMPORTABLE_SPECS } from '../../src/escrow/records/keySpecs.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import type { Template } from '../../src/token/cryptoki/attributes.js';
import { objectNames } from '../../src/token/objects/objectNames.js';
import { importingKey } from '../../src/token/profile/templates.js';
import type { OpenToken } from '../../src/token/service/openToken.js';
import { withWorkbench } from '../../src/token/service/openToken.js';
import {
  ecAlgorithm,
  ecParts,
  freshEcKey,
  oneBitOff,
  openssl,
  pem,
  pkcs1,
  pkcs8,
  rsaAlgorithm,
  rsaParts,
  sec1,
} from '../support/keyFiles.js';
import { freshBytes } from '../support/fresh.js';
import { LIMITS_MS } from '../support/limits.js';
import { makeNss } from '../support/nss.js';
import { rsaPair } from '../support/rsaPairs.js';
import { makeSoftHsm } from '../support/softhsm.js';
import type { TestToken } from '../support/testToken.js';

jest.setTimeout(LIMITS_MS.token);

const P256 = freshEcKey('P-256');
const RSA = rsaPair(2048).privateKey;

const spkiOf = (key: KeyObject): Buffer => createPublicKey(key).export({ format: 'der', type: 'spki' });
const pkcs8Of = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'pkcs8' });
const newImport = (): ImportId => newId('ImportId', freshBytes);

function keyOf(spec: ImportableSpec): KeyObject {
  const curve = /^ec-p(\d+)$/.exec(spec)?.[1];
  if (curve !== undefined) return freshEcKey(`P-${curve}`);
  if (spec === 'rsa-4096') return generateKeyPairSync('rsa', { modulusLength: 4096 }).privateKey;
  return rsaPair(spec === 'rsa-2048' ? 2048 : 3072).privateKey;
}

describe.each([
  { name: 'SoftHSM 2.6', make: (): Promise<TestToken> => makeSoftHsm('importing'), specs: IMPORTABLE_SPECS },
  {
    name: 'NSS softokn 3',
    make: (): Promise<TestToken> => makeNss('importing'),
    specs: ['rsa-2048', 'rsa-3072', 'rsa-4096'] as const,
  },
])('$name', ({ name, make, specs }) => {
  let made: TestToken;
  let token: OpenToken;
  const owner = rsaPair(3072);

  beforeAll(async () => {
    made = await make();
    await made.enrolDepositary('alice');
    token = await made.open();
  });
  afterAll(async () => {
    await token.close();
    made.remove();
  });

  /** Makes an import pair, has `use` do something under it, and destroys it. */
  async function underPair<T>(
    use: (pair: { readonly id: ImportId; readonly publicKey: KeyObject }) => Promise<T>,
  ): Promise<T> {
    const id = newImport();
    const { publicKey } = await token.lend(['createImportPair'], (lent) => lent.createImportPair(id));
    const key = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
    try {
      return await use({ id, publicKey: key });
    } finally {
      await token.lend(['destroyImportPair'], (lent) => lent.destroyImportPair(id));
    }
  }

  const oaep = (): 'RSA-OAEP' | 'RSA-OAEP-256' =>
    token.abilities.oaep === 'RSA-OAEP' ? 'RSA-OAEP' : 'RSA-OAEP-256';

  /** What the token makes of a blob: whether it is the key that is claimed, or that it is none. */
  function takenIn(
    spec: ImportableSpec,
    claimed: Buffer,
    blob: (publicKey: KeyObject) => Buffer,
  ): Promise<'claimed' | 'another' | 'refused'> {
    return underPair(async ({ id, publicKey }) =>
      token.lend(['unwrapImported'], async (lent) => {
        const wrapped = sealed('import', blob(publicKey));
        const came = await lent.unwrapImported({ pair: id, wrapped, spec, claimed });
        if (!('opened' in came)) return 'refused';
        return came.opened.isClaimed ? 'claimed' : 'another';
      }),
    );
  }

  const holding =
    (der: Buffer) =>
    (publicKey: KeyObject): Buffer =>
      wrapFor({ publicKey, oaep: oaep() }, der);

  test.each<ImportableSpec>(specs)('%s comes in, is proven, and goes out as it came', async (spec) => {
    expect(token.abilities.keySpecs).toContain(spec);
    const key = keyOf(spec);
    const claimed = spkiOf(key);
    const answer = await underPair(async ({ id, publicKey }) =>
      token.lend(
        [
          'unwrapImported',
          'wrapUnderKek',
          'unwrapForRelease',
          'generateTransferKey',
          'wrapToOwner',
          'wrapUnderTransfer',
        ],
        async (lent) => {
          const wrapped = sealed('import', wrapFor({ publicKey, oaep: oaep() }, pkcs8Of(key)));
          const came = await lent.unwrapImported({ pair: id, wrapped, spec, claimed });
          if (!('opened' in came) || !came.opened.isClaimed) throw new Error('not taken in');
          const of = { spec, use: 'sign' } as const;
          const kept = await lent.wrapUnderKek(came.opened.key, 'release', of);
          const back = await lent.unwrapForRelease({ wrapped: kept, spec });
          if (!('opened' in back)) throw new Error('not brought back');
          const transfer = await lent.generateTransferKey('owner');
          const spki = owner.publicKey.export({ format: 'der', type: 'spki' });
          return {
            transferKey: Buffer.from(await lent.wrapToOwner(transfer, spki)).toString('base64url'),
            wrappedKey: Buffer.from(await lent.wrapUnderTransfer(transfer, back.opened)).toString(
              'base64url',
            ),
            oaep: oaep(),
          };
        },
      ),
    );
    const publicKeyPem = createPublicKey(key).export({ format: 'pem', type: 'spki' }).toString();
    const released = openRelease(answer, owner.privateKey, { publicKeyPem });
    expect(released.kind === 'pair' && released.privateKey.equals(key)).toBe(true);
  });

  test('the pair unwraps nothing when it is gone, and what is in flight is gone with the loan', async () => {
    const blob = await underPair(({ publicKey }) => Promise.resolve(holding(pkcs8Of(P256))(publicKey)));
    const order = { pair: newImport(), wrapped: sealed('import', blob), spec: 'ec-p256' } as const;
    await expect(
      token.lend(['unwrapImported'], (lent) => lent.unwrapImported({ ...order, claimed: spkiOf(P256) })),
    ).rejects.toMatchObject({ code: 'token-object-missing' });
    expect((await token.standing()).imports).toEqual([]);
  });

  test('a blob for one pair is nothing to another', async () => {
    const blob = await underPair(({ publicKey }) => Promise.resolve(holding(pkcs8Of(P256))(publicKey)));
    expect(await takenIn('ec-p256', spkiOf(P256), () => blob)).toBe('refused');
  });

  const withLength = (bytes: number) => (publicKey: KeyObject) => {
    const transfer = freshBytes(bytes);
    const hash = token.abilities.oaep === 'RSA-OAEP' ? 'sha1' : 'sha256';
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const sent = publicEncrypt({ key: publicKey, padding, oaepHash: hash }, transfer);
    return Buffer.concat([sent, Buffer.alloc(96, 7)]);
  };
  const parts = rsaParts(RSA);
  const { d } = ecParts(P256);
  const zero = Buffer.of(0);
  const malformed: Readonly<
    Record<
      string,
      {
        readonly spec?: ImportableSpec;
        readonly blob: (publicKey: KeyObject) => Buffer;
        readonly comes?: readonly string[];
      }
    >
  > = {
    'nothing behind the AES key': { blob: (key) => holding(pkcs8Of(P256))(key).subarray(0, 384) },
    'a block too few': { blob: (key) => holding(pkcs8Of(P256))(key).subarray(0, -8) },
    'another byte': { blob: (key) => oneBitOff(holding(pkcs8Of(P256))(key)) },
    chance: { blob: () => freshBytes(384 + 96) },
    'an AES key of 20 bytes': { blob: withLength(20) },
    'OAEP with another hash': {
      blob: (publicKey) =>
        wrapFor({ publicKey, oaep: oaep() === 'RSA-OAEP' ? 'RSA-OAEP-256' : 'RSA-OAEP' }, pkcs8Of(P256)),
    },
    PEM: { blob: holding(pem('PRIVATE KEY', pkcs8Of(P256))) },
    'SEC 1': { blob: holding(sec1(d)) },
    'PKCS#1': { spec: 'rsa-2048', blob: holding(pkcs1(parts)) },
    'a key of another kind': { spec: 'rsa-2048', blob: holding(pkcs8Of(P256)) },
    'a key on another curve': { blob: holding(pkcs8Of(freshEcKey('P-384'))) },
    'a key of another length': { spec: 'rsa-3072', blob: holding(pkcs8Of(RSA)) },
    'explicit parameters': {
      blob: holding(
        openssl(
          openssl('', 'ecparam', '-name', 'prime256v1', '-genkey', '-param_enc', 'explicit'),
          ...['pkcs8', '-topk8', '-nocrypt', '-outform', 'DER'],
        ),
      ),
    },
    'another key of the same kind': { blob: holding(pkcs8Of(freshEcKey('P-256'))), comes: ['another'] },
    'another RSA key': {
      spec: 'rsa-2048',
      blob: holding(pkcs8Of(rsaPair(2048).privateKey)),
      comes: ['another'],
    },
    'a number beyond the order': {
      blob: holding(pkcs8(ecAlgorithm(), sec1(Buffer.alloc(32, 0xff)))),
      comes: ['another', 'refused'],
    },
    'n, e and d alone': {
      spec: 'rsa-2048',
      blob: holding(pkcs8(rsaAlgorithm, pkcs1({ ...parts, p: zero, q: zero, dp: zero, dq: zero, qi: zero }))),
      // what has no CRT may decrypt, and cannot be wrapped
      comes: ['claimed', 'another', 'refused'],
    },
  };

  test.each(Object.entries(malformed))(
    'refused, and the next one comes in: %s',
    async (_name, { spec = 'ec-p256', blob, comes = ['refused'] }) => {
      const claimed = spkiOf(spec === 'ec-p256' ? P256 : RSA);
      expect(comes).toContain(await takenIn(spec, claimed, blob));
      expect(await takenIn('ec-p256', spkiOf(P256), holding(pkcs8Of(P256)))).toBe('claimed');
      await token.check();
    },
  );

  // NSS keeps no template for what is unwrapped
  if (name.startsWith('SoftHSM'))
    test('what the pair unwraps can unwrap and nothing else, whoever has the PIN', async () => {
      await underPair(({ id, publicKey }) =>
        withWorkbench(token, async (parts) => {
          const { driver, mechanisms, objects, pool, dialect } = parts;
          const blob = holding(pkcs8Of(P256))(publicKey).subarray(0, 384);
          const usual = importingKey(mechanisms.number('keyWrapWithPadding'));
          const unwrap = async (template: Template): Promise<string> =>
            objects.using(
              objectNames.importing(id),
              () => Promise.reject(new Error('gone')),
              async (pair) => {
                const slot = await pool.acquire();
                try {
                  const session = slot.session();
                  const x = driver.C_UnwrapKey(
                    session,
                    mechanisms.oaep(),
                    pair,
                    blob,
                    dialect.unwrapping(template),
                  );
                  driver.C_DestroyObject(session, x);
                  return 'unwrapped';
                } catch (error) {
                  return error instanceof Error ? error.message : 'refused';
                } finally {
                  slot.release();
                }
              },
            );
          const changed = (type: number, value: boolean | number): Template =>
            usual.map((attribute) => (attribute.type === type ? { type, value } : attribute));
          expect(await unwrap(usual)).toBe('unwrapped');
          for (const attack of [
            changed(pkcs11.CKA_EXTRACTABLE, true),
            changed(pkcs11.CKA_DECRYPT, true),
            changed(pkcs11.CKA_SENSITIVE, false),
            changed(pkcs11.CKA_TOKEN, true),
            changed(pkcs11.CKA_COPYABLE, true),
            changed(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
          ])
            expect(await unwrap(attack)).toMatch(/TEMPLATE_INCONSISTENT/);
        }),
      );
    });

  test('a private key that was in the token is not kept there', async () => {
    const before = await token.unaccounted(() =>
      Promise.resolve({ transports: new Set(), grants: new Map(), imports: new Set() }),
    );
    expect(await takenIn('ec-p256', spkiOf(P256), holding(pkcs8Of(P256)))).toBe('claimed');
    const after = await token.unaccounted(() =>
      Promise.resolve({ transports: new Set(), grants: new Map(), imports: new Set() }),
    );
    expect([before, after]).toEqual([[], []]);
  });
});
