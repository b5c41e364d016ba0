import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { openRelease } from '../../src/client/depositary/release.js';
import type { OpenedKey } from '../../src/client/depositary/release.js';
import { wrapFor } from '../../src/client/import/importPair.js';
import { frameSecret } from '../../src/client/import/secretFrame.js';
import type { Opened } from '../../src/escrow/ports/token.js';
import type { ImportId } from '../../src/escrow/records/ids.js';
import { newId } from '../../src/escrow/records/ids.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import type { OpenToken } from '../../src/token/service/openToken.js';
import { freshBytes } from '../support/fresh.js';
import { freshEcKey, oneBitOff } from '../support/keyFiles.js';
import { LIMITS_MS } from '../support/limits.js';
import { makeNss } from '../support/nss.js';
import { rsaPair } from '../support/rsaPairs.js';
import { makeSoftHsm } from '../support/softhsm.js';
import type { TestToken } from '../support/testToken.js';

jest.setTimeout(LIMITS_MS.token);

const VERBS = [
  'unwrapSecret',
  'wrapUnderKek',
  'unwrapForRelease',
  'generateTransferKey',
  'wrapToOwner',
  'wrapUnderTransfer',
] as const;

const SECRETS: Readonly<Record<string, Buffer>> = {
  'one byte': Buffer.of(0x61),
  'a byte that is zero': Buffer.of(0),
  'a passphrase with its line end': Buffer.from('correct horse battery staple\n'),
  'zeros at its end': Buffer.concat([Buffer.from('disk'), Buffer.alloc(7)]),
  'all bytes': Buffer.from(Array.from({ length: 256 }, (_, at) => at)),
  '1,024 bytes': freshBytes(1024),
};

let made: TestToken;
let token: OpenToken;
/** One for all: that it is used once is the act's to see to. */
let pair: { readonly id: ImportId; readonly publicKey: KeyObject };
const owner = rsaPair(3072);

beforeAll(async () => {
  made = await makeSoftHsm('secrets');
  token = await made.open();
  const id = newId('ImportId', freshBytes);
  const { publicKey } = await token.lend(['createImportPair'], (lent) => lent.createImportPair(id));
  pair = { id, publicKey: createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' }) };
});
afterAll(async () => {
  await token.close();
  made.remove();
});

const oaep = (): 'RSA-OAEP' | 'RSA-OAEP-256' =>
  token.abilities.oaep === 'RSA-OAEP' ? 'RSA-OAEP' : 'RSA-OAEP-256';

/** What the token makes of a blob for which this check value is claimed. */
function taken(
  checkValue: Buffer,
  blob: (publicKey: KeyObject) => Buffer,
): Promise<'claimed' | 'another' | 'refused'> {
  return token.lend(VERBS, async (lent) => {
    const wrapped = sealed('import', blob(pair.publicKey));
    const came = await lent.unwrapSecret({ pair: pair.id, wrapped, checkValue });
    if (!('opened' in came)) return 'refused';
    return came.opened.isClaimed ? 'claimed' : 'another';
  });
}

const holding =
  (content: Buffer) =>
  (publicKey: KeyObject): Buffer =>
    wrapFor({ publicKey, oaep: oaep() }, content);

test.each(Object.entries(SECRETS))(
  '%s comes in, is proven, and goes out as it came',
  async (_name, secret) => {
    const { frame, checkValue } = frameSecret(secret);
    const opened = await token.lend(VERBS, async (lent): Promise<OpenedKey> => {
      const wrapped = sealed('import', holding(frame)(pair.publicKey));
      const came = openedOf(await lent.unwrapSecret({ pair: pair.id, wrapped, checkValue }));
      expect(came.isClaimed).toBe(true);
      const kept = await lent.wrapUnderKek(came.key, 'release', { spec: 'secret', use: 'keep' });
      expect(kept.sealed).toHaveLength(frame.length + 8);
      const back = openedOf(await lent.unwrapForRelease({ wrapped: kept, spec: 'secret' }));
      const transfer = await lent.generateTransferKey('owner');
      const spki = owner.publicKey.export({ format: 'der', type: 'spki' });
      const release = {
        transferKey: Buffer.from(await lent.wrapToOwner(transfer, spki)).toString('base64url'),
        wrappedKey: Buffer.from(await lent.wrapUnderTransfer(transfer, back)).toString('base64url'),
        oaep: oaep(),
      };
      const shown = { publicKeyPem: undefined, checkValue: checkValue.toString('base64url') };
      return openRelease(release, owner.privateKey, shown);
    });
    expect(opened).toEqual({ kind: 'kept', bytes: secret });
  },
);

const [one, two] = [frameSecret(Buffer.from('hunter2')), frameSecret(Buffer.from('hunter2'))];
const REFUSED: Readonly<
  Record<string, { readonly blob: (publicKey: KeyObject) => Buffer; readonly comes: string }>
> = {
  'the same secret in another frame': { blob: holding(two.frame), comes: 'another' },
  'a frame without its last eight zeros': { blob: holding(one.frame.subarray(0, -8)), comes: 'another' },
  'an AES key': { blob: holding(freshBytes(32)), comes: 'another' },
  'a private key': {
    blob: holding(freshEcKey('P-256').export({ format: 'der', type: 'pkcs8' })),
    comes: 'another',
  },
  'another byte of the blob': { blob: (key) => oneBitOff(holding(one.frame)(key)), comes: 'refused' },
  'nothing behind the AES key': {
    blob: (key) => holding(one.frame)(key).subarray(0, 384),
    comes: 'refused',
  },
  chance: { blob: () => freshBytes(384 + 136), comes: 'refused' },
};

test.each(Object.entries(REFUSED))('not taken, and the next one is: %s', async (_name, { blob, comes }) => {
  expect(await taken(one.checkValue, blob)).toBe(comes);
  expect(await taken(one.checkValue, holding(one.frame))).toBe('claimed');
  await token.check();
});

test('no deposit is operated: what is under the KEK of releases is no grant', async () => {
  const grant = newId('GrantId', freshBytes);
  const raised = token.lend([...VERBS, 'raiseGrant'], async (lent) => {
    const wrapped = sealed('import', holding(one.frame)(pair.publicKey));
    const came = openedOf(await lent.unwrapSecret({ pair: pair.id, wrapped, checkValue: one.checkValue }));
    const kept = await lent.wrapUnderKek(came.key, 'release', { spec: 'secret', use: 'keep' });
    const order = {
      grant,
      wrapped: kept,
      spec: 'secret',
      use: 'decrypt',
      mechanisms: ['A256GCM'],
    } as const;
    return lent.raiseGrant(order);
  });
  expect(await raised).toEqual({ refused: true });
});

test('a token that does not unwrap the longest of them takes none', async () => {
  const nss = await makeNss('secrets');
  const other = await nss.open();
  try {
    const order = { pair: pair.id, wrapped: sealed('import', freshBytes(520)), checkValue: one.checkValue };
    await expect(other.lend(['unwrapSecret'], (lent) => lent.unwrapSecret(order))).rejects.toMatchObject({
      code: 'key-spec-unsupported',
    });
  } finally {
    await other.close();
    nss.remove();
  }
});

function openedOf<T>(result: Opened<T>): T {
  if (!('opened' in result)) throw new Error('refused');
  return result.opened;
}
